//! A worker that runs closures, and ways to start one.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::{Actor, Handler, Message, ResponseFuture, Running};

use crate::actors::supervise::sync::lock;
use crate::actors::supervise::*;

/// What a worker does at the turns of its life; nothing unless set.
#[derive(Clone, Default)]
pub(super) struct Script {
    pub(super) started: Option<fn(&mut Context<Doer>)>,
    pub(super) stopping: Option<fn() -> Running>,
    pub(super) terminate: Option<fn() -> Cleanup>,
    pub(super) dropped: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(super) init: Option<fn()>,
    pub(super) log: Log,
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    pub(super) fn note(&self, what: &'static str) {
        lock(&self.0).push(what);
    }

    pub(super) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut lock(&self.0))
    }
}

pub(super) struct Doer {
    script: Script,
}

impl Drop for Doer {
    fn drop(&mut self) {
        self.script.log.note("dropped");
        if let Some(dropped) = &self.script.dropped {
            dropped();
        }
    }
}

impl Actor for Doer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(started) = self.script.started {
            started(ctx);
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.script.log.note("stopping");
        self.script
            .stopping
            .map_or(Running::Stop, |stopping| stopping())
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.script.log.note("stopped");
    }
}

impl Child for Doer {
    type Args = Script;

    async fn init(script: Script, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        if let Some(init) = script.init {
            init();
        }
        Ok(Init::Ready(Self { script }))
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Self::Context) -> Cleanup {
        self.script.log.note("terminate");
        self.script.terminate.and_then(|terminate| terminate())
    }
}

/// Run this in the handler.
#[derive(Message)]
#[rtype(result = "u32")]
pub(super) struct Do(pub(super) fn(&mut Context<Doer>) -> u32);

impl Handler<Do> for Doer {
    type Result = u32;

    fn handle(&mut self, Do(what): Do, ctx: &mut Self::Context) -> u32 {
        what(ctx)
    }
}

/// Answer with this future, as handlers with asynchronous answers do.
#[derive(Message)]
#[rtype(result = "u32")]
pub(super) struct Answer(pub(super) fn() -> Pin<Box<dyn Future<Output = u32> + Send>>);

impl Handler<Answer> for Doer {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, Answer(answer): Answer, _: &mut Self::Context) -> ResponseFuture<u32> {
        answer()
    }
}

/// Everything that observers were told.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) events: Arc<Mutex<Vec<LifecycleEvent>>>,
    pub(super) reports: Arc<Mutex<Vec<Report>>>,
}

impl Observer for Seen {
    fn event(&self, event: &LifecycleEvent) {
        lock(&self.events).push(event.clone());
    }

    fn report(&self, report: &Report) {
        lock(&self.reports).push(report.clone());
    }
}

impl Seen {
    /// How the processes at a path ended, in order.
    pub(super) fn ends(&self, path: &str) -> Vec<ExitReason> {
        let end = |event: &LifecycleEvent| match &event.kind {
            EventKind::Exited { reason }
            | EventKind::Stopped { reason }
            | EventKind::StartFailed { reason } => Some(reason.clone()),
            _ => None,
        };
        lock(&self.events)
            .iter()
            .filter(|event| &*event.path == path)
            .filter_map(end)
            .collect()
    }

    /// The panic with which the process at a path ended last.
    pub(super) fn panic(&self, path: &str) -> PanicInfo {
        let end = self.ends(path).pop().expect("it ended");
        end.panic()
            .unwrap_or_else(|| panic!("{end} is no panic"))
            .clone()
    }

    pub(super) fn saw(&self, path: &str, wanted: impl Fn(&EventKind) -> bool) -> bool {
        lock(&self.events)
            .iter()
            .any(|event| &*event.path == path && wanted(&event.kind))
    }
}

pub(super) fn flags() -> Flags {
    Flags::new(Strategy::OneForOne).intensity(100, Duration::from_secs(5))
}

/// Runs a test under a clock that jumps over waiting times.
pub(super) fn run<F: Future>(test: F) -> F::Output {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime for the test")
    };
    actix_rt::System::with_tokio_rt(runtime).block_on(test)
}

/// Runs a test under the clock on the wall.
pub(super) fn run_in_real_time<F: Future>(test: F) -> F::Output {
    actix_rt::System::new().block_on(test)
}

/// A tree with the worker `a`, made by this script, and its neighbour `b`.
pub(super) async fn pair(script: Script) -> (Tree, Seen) {
    let seen = Seen::default();
    let root = SupervisorSpec::new(flags())
        .child(ChildSpec::worker::<Doer>("a", script))
        .child(ChildSpec::worker::<Doer>("b", Script::default()));
    let tree = Tree::builder()
        .observer(seen.clone())
        .start(root)
        .await
        .expect("the tree starts");
    (tree, seen)
}

pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Makes `a` do something that crashes it; tells the panic once it is back.
pub(super) async fn crash_by(what: fn(&mut Context<Doer>) -> u32) -> PanicInfo {
    let (tree, seen) = pair(Script::default()).await;
    let (a, b) = (tree.whereis("a"), tree.whereis("b"));
    // The handler itself may answer; what it began crashes later.
    let _ = tree.actor::<Doer>("a").send(Do(what)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        tree.whereis("a").is_some() && tree.whereis("a") != a,
        "a is back, as another"
    );
    assert_eq!(tree.whereis("b"), b, "b is unharmed");
    let reported = lock(&seen.reports).first().map(|report| report.context);
    assert_eq!(
        reported,
        Some(ReportContext::ChildTerminated),
        "it counts as a crash"
    );
    seen.panic("a")
}
