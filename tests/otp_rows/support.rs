//! What the rows share: a worker that does as it is told, and a paused clock.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use lain::actors::supervise::{
    Birth, CallError, Child, ChildSpec, ChildState, Cleanup, Context, Counts, EventKind,
    ExitReason, Flags, Init, LifecycleEvent, Observer, Pid, Progress, Report, ReportContext,
    Started, Strategy, SupervisorRef, SupervisorSpec, Tree,
};

/// Runs a test in an actix system whose clock jumps over waiting times.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime for the test")
    };
    actix_rt::System::with_tokio_rt(runtime).block_on(test)
}

/// How the next start of a worker goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    Run,
    Ignore,
    Fail(ExitReason),
    Panic,
    Hang(Duration),
    HangThenFail(Duration),
    Inform(u32),
}

/// How a worker takes an order to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stopping {
    #[default]
    AtOnce,
    After(Duration),
    Deaf,
}

#[derive(Default)]
struct Notes {
    begin: HashMap<String, Vec<Begin>>,
    always: HashMap<String, Begin>,
    starts: Vec<String>,
    ends: Vec<(String, ExitReason)>,
}

/// Steers the workers of one test and remembers what they did.
#[derive(Clone, Default)]
pub struct Stage(Arc<Mutex<Notes>>);

impl Stage {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next start of `id` goes like this; several calls queue.
    pub fn next_start(&self, id: &str, begin: Begin) {
        self.notes()
            .begin
            .entry(id.to_owned())
            .or_default()
            .push(begin);
    }

    /// Every start of `id` from now on goes like this, unless one is queued.
    pub fn every_start(&self, id: &str, begin: Begin) {
        self.notes().always.insert(id.to_owned(), begin);
    }

    fn begin(&self, id: &str) -> Begin {
        let mut notes = self.notes();
        notes.starts.push(id.to_owned());
        let queued = notes
            .begin
            .get_mut(id)
            .filter(|queue| !queue.is_empty())
            .map(|queue| queue.remove(0));
        queued
            .or_else(|| notes.always.get(id).cloned())
            .unwrap_or(Begin::Run)
    }

    /// The starts so far, in order, and forgets them.
    pub fn take_starts(&self) -> Vec<String> {
        std::mem::take(&mut self.notes().starts)
    }

    /// The workers that were told to end, in order, and forgets them.
    pub fn take_ends(&self) -> Vec<(String, ExitReason)> {
        std::mem::take(&mut self.notes().ends)
    }

    /// The specification of a permanent worker on this stage.
    pub fn worker(&self, id: &str) -> ChildSpec {
        self.stubborn(id, Stopping::AtOnce)
    }

    /// One that takes orders to stop in its own way.
    pub fn stubborn(&self, id: &str, stopping: Stopping) -> ChildSpec {
        ChildSpec::worker::<Actor>(
            id,
            Part {
                id: id.to_owned(),
                stage: self.clone(),
                stopping,
            },
        )
    }

    /// The template of instances; each is started as `i<number>`.
    pub fn template(&self) -> ChildSpec {
        self.template_of(Stopping::AtOnce)
    }

    /// The same, whose instances do not stop when asked.
    pub fn deaf_template(&self) -> ChildSpec {
        self.template_of(Stopping::Deaf)
    }

    fn template_of(&self, stopping: Stopping) -> ChildSpec {
        let stage = self.clone();
        ChildSpec::template::<Actor, u32, _>("template", move |number| Part {
            id: format!("i{number}"),
            stage: stage.clone(),
            stopping,
        })
    }
}

/// What a worker is made from.
#[derive(Clone)]
pub struct Part {
    pub id: String,
    pub stage: Stage,
    pub stopping: Stopping,
}

/// A worker that does as it is told.
pub struct Actor {
    part: Part,
}

impl actix::Actor for Actor {
    type Context = Context<Self>;
}

impl Child for Actor {
    type Args = Part;

    async fn init(part: Part, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        match part.stage.begin(&part.id) {
            Begin::Run => Ok(Init::Ready(Self { part })),
            Begin::Ignore => Ok(Init::Ignore),
            Begin::Fail(reason) => Err(reason),
            Begin::Panic => panic!("start of {} crashed", part.id),
            Begin::Hang(time) => {
                tokio::time::sleep(time).await;
                Ok(Init::Ready(Self { part }))
            }
            Begin::HangThenFail(time) => {
                tokio::time::sleep(time).await;
                Err(boom())
            }
            Begin::Inform(number) => Ok(Init::ReadyWith(Self { part }, Arc::new(number))),
        }
    }

    fn terminate(&mut self, reason: &ExitReason, _: &mut Self::Context) -> Cleanup {
        self.part
            .stage
            .notes()
            .ends
            .push((self.part.id.clone(), reason.clone()));
        match self.part.stopping {
            Stopping::AtOnce => None,
            Stopping::After(time) => Some(Box::pin(tokio::time::sleep(time))),
            Stopping::Deaf => Some(Box::pin(std::future::pending())),
        }
    }
}

/// End with this reason.
#[derive(Message)]
#[rtype(result = "()")]
pub struct End(pub ExitReason);

impl Handler<End> for Actor {
    type Result = ();

    fn handle(&mut self, End(reason): End, ctx: &mut Self::Context) {
        ctx.exit(reason);
    }
}

/// Panic.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Crash;

impl Handler<Crash> for Actor {
    type Result = ();

    fn handle(&mut self, Crash: Crash, _: &mut Self::Context) {
        panic!("told to crash");
    }
}

/// Whoever watches a tree in a test.
#[derive(Clone, Default)]
pub struct Watcher(Arc<Mutex<Seen>>);

/// Everything that a tree told, in order.
type Seen = (Vec<LifecycleEvent>, Vec<Report>, Vec<Progress>);

impl Watcher {
    pub fn events(&self) -> Vec<LifecycleEvent> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone()
    }

    pub fn reports(&self) -> Vec<Report> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .clone()
    }

    pub fn progress(&self) -> Vec<Progress> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .2
            .clone()
    }
}

impl Observer for Watcher {
    fn event(&self, event: &LifecycleEvent) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .push(event.clone());
    }

    fn report(&self, report: &Report) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .push(report.clone());
    }

    fn progress(&self, progress: &Progress) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .2
            .push(progress.clone());
    }
}

/// A tree whose root watches one supervisor, `s`, that it never restarts.
pub struct Rig {
    pub tree: Tree,
    pub s: SupervisorRef,
    pub stage: Stage,
    pub watcher: Watcher,
}

impl Rig {
    /// Starts `s` with these flags and children, which must go well.
    pub async fn start(flags: Flags, children: impl FnOnce(&Stage) -> Vec<ChildSpec>) -> Self {
        let stage = Stage::default();
        let children = children(&stage);
        let (rig, started) = Self::try_start(stage, SupervisorSpec { flags, children }).await;
        started.expect("s starts");
        rig
    }

    /// Starts `s` and tells how that went.
    pub async fn try_start(
        stage: Stage,
        spec: SupervisorSpec,
    ) -> (Self, Result<Started, CallError>) {
        Self::try_start_child(stage, ChildSpec::supervisor("s", spec)).await
    }

    /// Starts `s` from any specification and tells how that went.
    pub async fn try_start_child(stage: Stage, s: ChildSpec) -> (Self, Result<Started, CallError>) {
        let watcher = Watcher::default();
        let root = SupervisorSpec::new(Flags::default());
        let tree = Tree::builder()
            .observer(watcher.clone())
            .start(root)
            .await
            .expect("the root starts");
        let started = tree.root().start_child(s.temporary()).await;
        let s = tree.supervisor("s");
        (
            Self {
                tree,
                s,
                stage,
                watcher,
            },
            started,
        )
    }

    /// How `s` ended, if it has.
    pub fn exit(&self) -> Option<ExitReason> {
        self.ends("s").pop()
    }

    /// How the processes at a path ended, in order.
    pub fn ends(&self, path: &str) -> Vec<ExitReason> {
        let end = |event: LifecycleEvent| match event.kind {
            EventKind::Exited { reason } | EventKind::Stopped { reason } => Some(reason),
            _ => None,
        };
        self.watcher
            .events()
            .into_iter()
            .filter(|event| &*event.path == path)
            .filter_map(end)
            .collect()
    }

    /// The parent of `s` asks it to end.
    pub async fn shut_down(&self) -> ExitReason {
        self.tree
            .root()
            .terminate_child("s")
            .await
            .expect("the root answers");
        self.exit().expect("s has ended")
    }

    pub fn pid(&self, id: &str) -> Pid {
        self.running(id).unwrap_or_else(|| panic!("{id} runs"))
    }

    pub fn running(&self, id: &str) -> Option<Pid> {
        self.tree.whereis(&format!("s/{id}"))
    }

    pub async fn crash(&self, id: &str) {
        let told = self.s.actor::<Actor>(id).do_send(Crash);
        assert_eq!(told, Ok(()), "{id} runs");
        settle().await;
    }

    pub async fn end(&self, id: &str, reason: ExitReason) {
        let told = self.s.actor::<Actor>(id).do_send(End(reason));
        assert_eq!(told, Ok(()), "{id} runs");
        settle().await;
    }

    pub async fn kill(&self, id: &str) {
        assert!(self.tree.kill(&format!("s/{id}")), "{id} runs");
        settle().await;
    }

    /// Specs, active, supervisors, workers.
    pub async fn counts(&self) -> (usize, usize, usize, usize) {
        let Counts {
            specs,
            active,
            supervisors,
            workers,
        } = self.s.count_children().await.expect("s answers");
        (specs, active, supervisors, workers)
    }

    /// Ids and states, newest first.
    pub async fn listed(&self) -> Vec<(String, ChildState)> {
        let children = self.s.which_children().await.expect("s answers");
        children
            .into_iter()
            .map(|child| {
                (
                    child.id.map_or_else(String::new, |id| id.to_string()),
                    child.state,
                )
            })
            .collect()
    }

    /// Ids, newest first.
    pub async fn ids(&self) -> Vec<String> {
        self.listed().await.into_iter().map(|(id, _)| id).collect()
    }

    pub async fn state(&self, id: &str) -> Option<ChildState> {
        self.listed()
            .await
            .into_iter()
            .find(|(listed, _)| listed == id)
            .map(|(_, state)| state)
    }

    /// The instances of a template: id in the tree and pid, oldest first.
    pub fn instances(&self) -> Vec<(String, Pid)> {
        let tree = self.tree.snapshot("s", 1).expect("s is there");
        tree.children
            .into_iter()
            .filter_map(|child| Some((child.id.to_string(), child.pid?)))
            .collect()
    }

    /// Contexts of the reports so far.
    pub fn contexts(&self) -> Vec<ReportContext> {
        self.watcher
            .reports()
            .into_iter()
            .map(|report| report.context)
            .collect()
    }
}

/// Flags with an intensity within five seconds.
pub fn flags(strategy: Strategy, intensity: u32) -> Flags {
    Flags::new(strategy).intensity(intensity, Duration::from_secs(5))
}

/// The error of a call that must fail.
pub fn error<T: std::fmt::Debug>(result: Result<T, CallError>) -> CallError {
    result.expect_err("the call fails")
}

/// A made-up crash.
pub fn boom() -> ExitReason {
    ExitReason::error("boom")
}

/// Waits until every task has come to rest.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
