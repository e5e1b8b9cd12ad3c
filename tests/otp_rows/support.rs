//! What the rows share: a worker that does as it is told, and a paused clock.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use lain::actors::supervise::{
    Birth, Child, ChildSpec, Cleanup, Context, ExitReason, Init, LifecycleEvent, Observer, Pid,
    Progress, Report, Tree,
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
        let stage = self.clone();
        ChildSpec::template::<Actor, u32, _>("template", move |number| Part {
            id: format!("i{number}"),
            stage: stage.clone(),
            stopping: Stopping::AtOnce,
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
pub struct Watcher(Arc<Mutex<(Vec<LifecycleEvent>, Vec<Report>, Vec<Progress>)>>);

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

/// Waits until every task has come to rest.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Tells a worker to end with this reason and waits for what follows.
pub async fn end(tree: &Tree, path: &str, reason: ExitReason) {
    let told = tree.actor::<Actor>(path).do_send(End(reason));
    assert_eq!(told, Ok(()), "{path} runs");
    settle().await;
}

/// Makes a worker panic and waits for what follows.
pub async fn crash(tree: &Tree, path: &str) {
    let told = tree.actor::<Actor>(path).do_send(Crash);
    assert_eq!(told, Ok(()), "{path} runs");
    settle().await;
}

/// The process at a path that must run.
pub fn pid(tree: &Tree, path: &str) -> Pid {
    tree.whereis(path).unwrap_or_else(|| panic!("{path} runs"))
}
