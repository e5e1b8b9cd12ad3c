//! The state machine as a brain of the world.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::machine::{
    Effect, Event, Incarnation, Key, Machine, Payload, Reply, Request, StartResult,
};
use lain::actors::supervise::{
    CallError, ChildInfo, ChildSpec, ChildState, ChildType, Counts, Flags,
};

use crate::letters::{Action, Answer, Ask, Brain, CallerId, Letter, Shown, StartEnd};
use crate::plan::{ChildPlan, Kind, SupPlan};

#[derive(Debug)]
struct Simulated;

impl Payload for Simulated {
    type Start = Arc<ChildPlan>;
    type Extra = u32;
    /// Whom to answer, and whether the pid that was asked about is alive.
    type Caller = (CallerId, bool);

    fn forget(start: &Arc<ChildPlan>) -> Arc<ChildPlan> {
        start.clone()
    }
}

struct Subject {
    machine: Machine<Simulated>,
    keys: HashMap<Incarnation, Key>,
}

pub fn subject(plan: &Arc<SupPlan>, seed: u64) -> Box<dyn Brain> {
    let specs = plan.children.iter().map(spec).collect();
    let machine = Machine::new(plan.flags, specs, seed).expect("plans are valid");
    Box::new(Subject {
        machine,
        keys: HashMap::new(),
    })
}

fn spec(plan: &Arc<ChildPlan>) -> ChildSpec<Arc<ChildPlan>> {
    let child_type = match plan.kind {
        Kind::Worker { .. } => ChildType::Worker,
        Kind::Supervisor(_) => ChildType::Supervisor,
    };
    let mut spec = ChildSpec::new(&*plan.id, child_type, plan.clone())
        .restart(plan.restart)
        .significant(plan.significant)
        .shutdown(plan.shutdown);
    spec.backoff = plan.backoff;
    spec.budget = plan.budget;
    spec
}

impl Brain for Subject {
    fn boot(&mut self, now: Duration) -> Vec<Action> {
        let mut effects = Vec::new();
        self.machine.boot(now, &mut effects);
        self.actions(effects)
    }

    fn deliver(&mut self, letter: Letter, now: Duration) -> Vec<Action> {
        let place = |keys: &HashMap<Incarnation, Key>, token| {
            keys.get(&token).copied().expect("a known start")
        };
        let event = match letter {
            Letter::Call(caller, ask) => {
                let alive = matches!(ask, Ask::TerminatePid(_, true));
                Event::Call((caller, alive), request(ask))
            }
            Letter::Exited(token, reason) => Event::Exited(place(&self.keys, token), token, reason),
            Letter::Started(token, end) => {
                let result = match end {
                    StartEnd::Ok(pid) => StartResult::Ok(pid, None),
                    StartEnd::Ignore => StartResult::Ignore,
                    StartEnd::Err(reason) => StartResult::Err(reason),
                };
                Event::Started(place(&self.keys, token), token, result)
            }
            Letter::Retry(token) => Event::Retry(place(&self.keys, token), token),
            Letter::ParentExit(reason) => Event::ParentExit(reason),
        };
        self.feed(event, now)
    }

    fn wake(&mut self, now: Duration) -> Vec<Action> {
        self.feed(Event::Tick, now)
    }

    fn deadline(&self) -> Option<Duration> {
        self.machine.deadline()
    }
}

impl Subject {
    fn feed(&mut self, event: Event<Simulated>, now: Duration) -> Vec<Action> {
        let mut effects = Vec::new();
        self.machine.handle(event, now, &mut effects);
        self.actions(effects)
    }

    fn actions(&mut self, effects: Vec<Effect<Simulated>>) -> Vec<Action> {
        effects
            .into_iter()
            .filter_map(|effect| self.action(effect))
            .collect()
    }

    fn action(&mut self, effect: Effect<Simulated>) -> Option<Action> {
        Some(match effect {
            Effect::Start {
                key,
                incarnation,
                start,
                extra,
                ..
            } => {
                self.keys.insert(incarnation, key);
                Action::Start(incarnation, start, extra)
            }
            Effect::Terminate(_, incarnation) => Action::Terminate(incarnation),
            Effect::Kill(_, incarnation) => Action::Kill(incarnation),
            Effect::Retry(_, incarnation) => Action::Retry(incarnation),
            Effect::Reply((caller, alive), reply) => Action::Reply(caller, answer(reply, alive)),
            Effect::Report(report) => Action::Report(report.context, report.reason),
            Effect::Ready => Action::Ready,
            Effect::Exit(reason) => Action::Exit(reason),
            Effect::Note(..) | Effect::Flags(_) | Effect::Spent | Effect::Reordered(_) => {
                return None;
            }
        })
    }
}

fn request(ask: Ask) -> Request<Simulated> {
    let change = |flags: Flags, plans: Vec<Arc<ChildPlan>>| {
        Request::Change(flags, plans.iter().map(spec).collect())
    };
    match ask {
        Ask::StartChild(plan) => Request::StartChild(Box::new(spec(&plan))),
        Ask::StartInstance(number) => Request::StartInstance(Some(number)),
        Ask::Terminate(id) => Request::Terminate((&*id).into()),
        Ask::TerminatePid(pid, _) => Request::TerminatePid(pid),
        Ask::Restart(id) => Request::Restart((&*id).into()),
        Ask::Delete(id) => Request::Delete((&*id).into()),
        Ask::Which => Request::Which,
        Ask::Count => Request::Count,
        Ask::Change(flags, plans) => change(flags, plans),
    }
}

fn answer(reply: Result<Reply<Simulated>, CallError>, alive: bool) -> Answer {
    match reply {
        Ok(Reply::Done | Reply::Spec(_)) => Answer::Done,
        Ok(Reply::Stranger) if alive => Answer::NotFound,
        Ok(Reply::Stranger) => Answer::Done,
        Ok(Reply::Started(pid, _)) => Answer::Started(pid),
        Ok(Reply::Children(children)) => {
            Answer::Children(children.into_iter().map(shown).collect())
        }
        Ok(Reply::Counts(Counts {
            specs,
            active,
            supervisors,
            workers,
        })) => Answer::Counts(specs, active, supervisors, workers),
        Err(CallError::AlreadyStarted(pid)) => Answer::AlreadyStarted(pid),
        Err(CallError::AlreadyPresent) => Answer::AlreadyPresent,
        Err(CallError::NotFound) => Answer::NotFound,
        Err(CallError::Running) => Answer::Running,
        Err(CallError::Restarting) => Answer::Restarting,
        Err(CallError::SimpleOneForOne) => Answer::Simple,
        Err(CallError::NotSimpleOneForOne) => Answer::NotSimple,
        Err(CallError::StartFailed { reason, .. } | CallError::Start(reason)) => {
            Answer::StartFailed(reason)
        }
        Err(CallError::Spec(_) | CallError::Init(_)) => Answer::Invalid,
        Err(CallError::Exited(reason)) => Answer::Exited(reason),
        Err(CallError::NoProc) => Answer::NoProc,
    }
}

pub fn shown(child: ChildInfo) -> (Option<Arc<str>>, Shown) {
    let state = match child.state {
        ChildState::Running(pid) => Shown::Running(pid),
        ChildState::Restarting { .. } => Shown::Restarting,
        ChildState::Undefined => Shown::Undefined,
    };
    (child.id.map(|id| id.as_str().into()), state)
}
