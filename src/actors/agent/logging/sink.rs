//! `…/logging/sink/<name>`: drives one sink.
//!
//! On a thread of its own, so that neither its disk nor its receiver delays anything else. Its crash costs what
//! was on the way: the next incarnation goes on at the sink's cursor.

use crate::actors::supervise::{Birth, Child, Cleanup, Context, ExitReason, Init};
use crate::logging::pipe::Pipeline;
use crate::logging::pipe::pipeline::SinkEntry;
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// What a [`SinkWorker`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The sink.
    pub entry: Arc<SinkEntry>,
}

/// The actor.
pub struct SinkWorker {
    args: Args,
    pump: Option<tokio::task::JoinHandle<Result<(), String>>>,
    abort: Option<tokio::task::AbortHandle>,
}

/// How long a pump may take to settle before it is ended where it stands: two on one cursor must never be.
const SETTLE: Duration = Duration::from_secs(4);

impl Actor for SinkWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Args { pipeline, entry } = self.args.clone();
        // A task of its own: it still runs while `terminate` waits for it to settle.
        let pump = actix_rt::spawn(async move { entry.run(&pipeline).await });
        self.abort = Some(pump.abort_handle());
        let (sender, ended) = tokio::sync::oneshot::channel();
        self.pump = Some(actix_rt::spawn(async move {
            let outcome = pump.await.unwrap_or_else(|e| Err(e.to_string()));
            // Nobody listens once the actor has ended.
            let _ = sender.send(outcome.clone());
            outcome
        }));
        ctx.spawn(ended.into_actor(self).map(|outcome, actor, ctx| {
            let reason = match outcome {
                // It was told to stop, by the actor's own end.
                Ok(Ok(())) => ExitReason::Normal,
                Ok(Err(reason)) => ExitReason::Error(reason),
                Err(_) => ExitReason::Error("its pump vanished".to_owned()),
            };
            let text = reason.to_string();
            actor.args.entry.cell.change(|view| {
                "failed".clone_into(&mut view.state);
                view.last_error = Some(text);
            });
            ctx.exit(reason);
        }));
    }
}

impl Child for SinkWorker {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self {
            args,
            pump: None,
            abort: None,
        }))
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) -> Cleanup {
        let (entry, pump) = (Arc::clone(&self.args.entry), self.pump.take());
        let abort = self.abort.take();
        let running = pump.is_some_and(|pump| !pump.is_finished());
        running.then(|| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(async move {
                // A receiver that hangs: what it has not acknowledged is sent again.
                if tokio::time::timeout(SETTLE, entry.stop()).await.is_err()
                    && let Some(abort) = abort
                {
                    abort.abort();
                }
            })
        })
    }
}
