//! `…/logging/events`: what happens in lain, among the lines of the apps.
//!
//! Reads the event hub, but for what other hosts report, which they log themselves. Crash reports come from where
//! they are completed (`agent/crash.rs`).

use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::view::EventView;
use crate::logging::event::own;
use crate::logging::pipe::Pipeline;
use crate::ports::control::EventStream;
use actix::prelude::*;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// The pause before a stream that ended is taken up again.
const RETRY: Duration = Duration::from_millis(100);

/// What an [`Events`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
}

/// The actor.
pub struct Events {
    args: Args,
}

impl Actor for Events {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Args { shared, pipeline } = self.args.clone();
        ctx.spawn(async move { follow_for_ever(&shared, &pipeline).await }.into_actor(self));
    }
}

impl Child for Events {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self { args }))
    }
}

async fn follow_for_ever(shared: &Shared, pipeline: &Pipeline) {
    // After what the incarnation before this one told; at first, all that the hub has kept since its start.
    let oldest = || {
        shared
            .hub
            .recent(usize::MAX)
            .first()
            .map(|event| event.seq.saturating_sub(1))
    };
    let mut after = pipeline.last_event().or_else(oldest);
    loop {
        let stream = match shared.hub.subscribe_own(after) {
            EventStream::Events(stream) => stream,
            // Too many at once: what the hub has let go of is gone here too.
            EventStream::TooOld => {
                tracing::warn!(
                    "some of lain's own events are missing from the logs: too many at once"
                );
                after = oldest();
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let mut stream: futures_util::stream::BoxStream<'_, EventView> = stream;
        while let Some(event) = stream.next().await {
            after = Some(event.seq);
            pipeline.note_event(event.seq);
            pipeline.emit(&own::lifecycle(
                &event,
                &pipeline.host.host,
                &pipeline.host.node,
            ));
        }
        tokio::time::sleep(RETRY).await;
    }
}
