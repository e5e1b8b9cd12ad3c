//! `…/container/<container>/logs`: this instance's log stream.
//!
//! Parent: the container's supervisor. Follows the output from where it is, keeps the last lines for crash
//! reports, counts the rest. Losing it loses nothing: the engine keeps the output.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::ports::runtime::LogsRequest;
use actix::prelude::*;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// The pause before a broken stream is taken up again.
const RETRY: Duration = Duration::from_secs(1);

/// What a [`LogStream`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// The container.
    pub cell: Arc<ContainerCell>,
}

/// The actor.
pub struct LogStream {
    args: Args,
}

impl Actor for LogStream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let args = self.args.clone();
        ctx.spawn(async move { follow_for_ever(&args).await }.into_actor(self));
    }
}

impl Child for LogStream {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self { args }))
    }
}

async fn follow_for_ever(args: &Args) {
    let mut changed = args.cell.subscribe();
    loop {
        let id = loop {
            let running = args
                .cell
                .look(|o| (o.phase == Phase::Running).then(|| o.id.clone()).flatten());
            if let Some(id) = running {
                break id;
            }
            if changed.changed().await.is_err() {
                return;
            }
        };
        let since = args.cell.look(|o| o.started_at);
        let request = LogsRequest {
            since,
            follow: true,
            ..LogsRequest::default()
        };
        let mut lines = args.shared.runtime.logs(&id, request);
        while let Some(Ok(line)) = lines.next().await {
            args.cell.note(|o| o.push_line(line.line));
        }
        tokio::time::sleep(RETRY).await;
    }
}
