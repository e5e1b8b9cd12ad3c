//! `…/logging/spool`: makes the spool durable, and removes what every sink has.
//!
//! Appending is the sources' own doing; this actor only syncs in groups, so that no source waits for a disk.

use crate::actors::supervise::{Birth, Child, Cleanup, Context, ExitReason, Init};
use crate::logging::pipe::Pipeline;
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// How often the spool is synced: at most this much is read again after a power cut.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// The actor.
pub struct SpoolKeeper {
    pipeline: Arc<Pipeline>,
}

impl Actor for SpoolKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let pipeline = Arc::clone(&self.pipeline);
        ctx.spawn(async move { keep_for_ever(&pipeline).await }.into_actor(self));
    }
}

impl Child for SpoolKeeper {
    type Args = Arc<Pipeline>;

    async fn init(pipeline: Arc<Pipeline>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self { pipeline }))
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) -> Cleanup {
        let pipeline = Arc::clone(&self.pipeline);
        Some(Box::pin(async move {
            if let Err(error) = keep(&pipeline).await {
                tracing::warn!(%error, "the log spool could not be synced at the end");
            }
        }))
    }
}

async fn keep_for_ever(pipeline: &Arc<Pipeline>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(SYNC_EVERY).await;
        match keep(pipeline).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "log events are not durable; will be tried again");
                }
                failing = true;
            }
        }
    }
}

async fn keep(pipeline: &Arc<Pipeline>) -> Result<(), String> {
    let pipeline = Arc::clone(pipeline);
    let work = tokio::task::spawn_blocking(move || {
        pipeline.spool.sync()?;
        pipeline.trim()
    });
    work.await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())
}
