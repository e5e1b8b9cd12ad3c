//! Random schedules on real actors, beside the reference model.
//!
//! Here each stimulus finds a tree at rest, so that the outcome does not hang
//! on which of two things that happen at once comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::{CallError, ExitReason, Pid, Shutdown, Started, SupervisorRef, Tree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::letters::{Answer, Ask, Blow, Deed};
use crate::plan::{ChildPlan, Kind, Plan, Stop, SupPlan, plan};
use crate::real_worker::{EndWith, Shared, Worker, child, spec, supervisor};
use crate::reference_brain::reference;
use crate::world::World;

const CASES: u32 = 400;
/// Between stimuli: longer than anything takes, and than any period.
const REST: u32 = 10_000;

/// What is compared of an answer: its kind, with pids and reasons left out.
fn kind(answer: &Answer) -> String {
    match answer {
        Answer::Started(pid) => format!("started {}", pid.is_some()),
        Answer::Children(children) => {
            let state = |state: &crate::letters::Shown| {
                format!("{state:?}").chars().take(4).collect::<String>()
            };
            let shown = children
                .iter()
                .map(|(id, shown)| format!("{id:?} {}", state(shown)));
            format!("children {:?}", shown.collect::<Vec<_>>())
        }
        Answer::Counts(..) => format!("{answer:?}"),
        other => format!("{other:?}")
            .split('(')
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn error(error: &CallError) -> String {
    use Answer::{
        AlreadyPresent, Invalid, NoProc, NotFound, NotSimple, Restarting, Running, Simple,
    };
    kind(&match error {
        CallError::AlreadyStarted(pid) => Answer::AlreadyStarted(*pid),
        CallError::AlreadyPresent => AlreadyPresent,
        CallError::NotFound => NotFound,
        CallError::Running => Running,
        CallError::Restarting => Restarting,
        CallError::SimpleOneForOne => Simple,
        CallError::NotSimpleOneForOne => NotSimple,
        CallError::StartFailed { reason, .. } | CallError::Start(reason) => {
            Answer::StartFailed(reason.clone())
        }
        CallError::Spec(_) | CallError::Init(_) => Invalid,
        CallError::Exited(reason) => Answer::Exited(reason.clone()),
        CallError::NoProc => NoProc,
    })
}

fn told<T>(result: Result<T, CallError>, kind: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|failure| error(&failure), kind)
}

fn started(result: Result<Started, CallError>) -> String {
    told(result, |started| kind(&Answer::Started(started.pid)))
}

fn done(result: Result<(), CallError>) -> String {
    told(result, |()| kind(&Answer::Done))
}

struct Real {
    tree: Tree,
    shared: Shared,
}

impl Real {
    async fn ask(&self, path: &str, ask: Ask, of: Option<String>) -> String {
        let s: SupervisorRef = self.tree.supervisor(path);
        match ask {
            Ask::StartChild(plan) => started(s.start_child(spec(&plan, path, &self.shared)).await),
            Ask::StartInstance(number) => started(s.start_instance(number).await),
            Ask::Terminate(id) => done(s.terminate_child(&*id).await),
            Ask::TerminatePid(..) => {
                let living = of.and_then(|path| self.tree.whereis(&path));
                done(
                    s.terminate_pid(living.unwrap_or(Pid::from_u64(u64::MAX)))
                        .await,
                )
            }
            Ask::Restart(id) => started(s.restart_child(&*id).await),
            Ask::Delete(id) => done(s.delete_child(&*id).await),
            Ask::Which => told(s.which_children().await, |children| {
                let children = children.into_iter().map(crate::subject::shown).collect();
                kind(&Answer::Children(children))
            }),
            Ask::Count => told(s.count_children().await, |counts| {
                kind(&Answer::Counts(
                    counts.specs,
                    counts.active,
                    counts.supervisors,
                    counts.workers,
                ))
            }),
            Ask::Change(flags, plans) => {
                let simple = flags.strategy == lain::actors::supervise::Strategy::SimpleOneForOne;
                let specs = plans
                    .iter()
                    .map(|plan| child(plan, simple, path, &self.shared))
                    .collect();
                done(s.change(flags, specs).await)
            }
        }
    }

    async fn strike(&self, blow: Blow, answers: &mut Vec<String>) {
        match blow {
            Blow::End(path, end) => {
                let told = self.tree.actor::<Worker>(&*path).do_send(EndWith(end));
                assert_eq!(told, Ok(()), "the reference has a worker there");
            }
            Blow::Kill(path) => assert!(
                self.tree.kill(&path),
                "the reference has somebody at {path}"
            ),
            Blow::ParentExit(path) => {
                let stopped = self
                    .tree
                    .supervisor(&*path)
                    .stop(ExitReason::Shutdown)
                    .await;
                assert_eq!(stopped, Ok(()), "the reference has a supervisor at {path}");
            }
            Blow::Ask(path, ask, of) => answers.push(self.ask(&path, ask, of).await),
        }
        tokio::time::sleep(Duration::from_millis(REST.into())).await;
    }
}

/// What is compared in the end.
#[derive(Debug, PartialEq)]
struct Ending {
    alive: BTreeSet<String>,
    starts: BTreeMap<String, u32>,
    answers: Vec<String>,
    ended: bool,
}

async fn live(plan: &Plan) -> Result<Real, Shared> {
    let shared = Shared::default();
    let root = supervisor(&plan.root, "", &shared);
    match Tree::builder().stuck_after(None).start(root).await {
        Ok(tree) => Ok(Real { tree, shared }),
        Err(_) => Err(shared),
    }
}

fn seen(shared: &Shared, answers: Vec<String>, ended: bool) -> Result<Ending, TestCaseError> {
    let register = shared.lock();
    let mut alive = BTreeSet::new();
    for (path, count) in &register.alive {
        match count {
            0 => {}
            1 => drop(alive.insert(path.clone())),
            more => {
                return Err(TestCaseError::fail(format!(
                    "{more} of {path} live at once"
                )));
            }
        }
    }
    Ok(Ending {
        alive,
        starts: register.starts.clone(),
        answers,
        ended,
    })
}

/// The same schedule with nothing left to chance: short, and far apart.
fn calm(mut plan: Plan) -> Plan {
    plan.stimuli.truncate(9);
    for stimulus in &mut plan.stimuli {
        stimulus.after = REST;
    }
    plan.root = Arc::new(calm_below(&plan.root));
    plan
}

fn calm_below(plan: &SupPlan) -> SupPlan {
    let calm_child = |child: &Arc<ChildPlan>| {
        let mut child = (**child).clone();
        child.backoff = None;
        if let Shutdown::Timeout(limit) = child.shutdown {
            child.shutdown = Shutdown::Timeout(Duration::from_millis(5) + limit / 20);
        }
        child.kind = match child.kind {
            Kind::Worker {
                starts,
                start_takes,
                stop,
            } => {
                let quick = |millis: u32| 1 + millis / 40;
                let stop = match stop {
                    Stop::Within(millis) => Stop::Within(quick(millis)),
                    Stop::WithError(millis) => Stop::WithError(quick(millis)),
                    Stop::Normal(millis) => Stop::Normal(quick(millis)),
                    Stop::Deaf => Stop::Deaf,
                };
                Kind::Worker {
                    starts,
                    start_takes: start_takes / 40,
                    stop,
                }
            }
            Kind::Supervisor(below) => Kind::Supervisor(Arc::new(calm_below(&below))),
        };
        Arc::new(child)
    };
    SupPlan {
        flags: plan.flags,
        children: plan.children.iter().map(calm_child).collect(),
    }
}

/// What the reference model makes of the schedule.
fn expected(plan: &Plan) -> (Ending, Vec<Blow>) {
    let outcome = World::live(plan, reference);
    let mut answers: Vec<_> = outcome
        .trace
        .iter()
        .filter_map(|(_, deed)| match deed {
            Deed::Reply(caller, answer) => Some((*caller, kind(answer))),
            _ => None,
        })
        .collect();
    answers.sort_by_key(|(caller, _)| *caller);
    let end = Ending {
        alive: outcome.alive,
        starts: outcome.starts,
        answers: answers.into_iter().map(|(_, kind)| kind).collect(),
        ended: outcome.exit.is_some(),
    };
    (end, outcome.blows)
}

async fn compare(plan: &Plan) -> Result<(), TestCaseError> {
    let (expected, blows) = expected(plan);
    let real = match live(plan).await {
        Ok(real) => real,
        Err(shared) => {
            tokio::time::sleep(Duration::from_millis(REST.into())).await;
            return same(seen(&shared, Vec::new(), true)?, expected);
        }
    };
    let mut answers = Vec::new();
    tokio::time::sleep(Duration::from_millis(REST.into())).await;
    for blow in blows {
        real.strike(blow, &mut answers).await;
    }
    let ended = real.tree.has_ended();
    same(seen(&real.shared, answers, ended)?, expected)?;
    real.tree.stop().await;
    tokio::time::sleep(Duration::from_millis(REST.into())).await;
    let left = seen(&real.shared, Vec::new(), true)?.alive;
    if left.is_empty() {
        Ok(())
    } else {
        Err(TestCaseError::fail(format!("{left:?} outlive the tree")))
    }
}

fn same(real: Ending, reference: Ending) -> Result<(), TestCaseError> {
    if real == reference {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "the actors came to\n  {real:?}\nthe reference to\n  {reference:?}"
    )))
}

#[test]
fn real_actors_do_as_the_reference() {
    let seed = crate::number("SUPERVISE_SEED").unwrap_or_else(crate::random_seed);
    let cases =
        crate::number("SUPERVISE_REAL").map_or(CASES, |n| u32::try_from(n).unwrap_or(u32::MAX));
    println!("{cases} schedules on real actors, SUPERVISE_SEED={seed}");
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &crate::seed_bytes(seed, 99));
    let ran = TestRunner::new_with_rng(config, rng).run(&plan(), |plan| {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime for the test")
        };
        let plan = calm(plan);
        actix_rt::System::with_tokio_rt(runtime).block_on(compare(&plan))
    });
    if let Err(error) = ran {
        panic!("SUPERVISE_SEED={seed}: {error}");
    }
}
