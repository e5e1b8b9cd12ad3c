//! `…/logging/input/<name>`: drives one input, on a thread of its own.
//!
//! Its crash costs connections, which their senders open again; what was taken is in the spool.

use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::logging::inputs::InputEntry;
use actix::prelude::*;
use std::sync::Arc;

/// The actor.
pub struct InputWorker {
    entry: Arc<InputEntry>,
}

impl Actor for InputWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let entry = Arc::clone(&self.entry);
        // It ends with the actor, and with it all that is open.
        let running = async move { entry.run().await }.into_actor(self);
        ctx.spawn(running.map(|ended, _, ctx| {
            let reason = ended.err().unwrap_or_else(|| "it ended".to_owned());
            ctx.exit(ExitReason::Error(reason));
        }));
    }
}

impl Child for InputWorker {
    type Args = Arc<InputEntry>;

    async fn init(entry: Self::Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self { entry }))
    }
}
