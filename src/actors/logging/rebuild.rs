//! `rebuild`: has the nodes send again what they still have of a damaged day of the log index.
//!
//! Child of `logging`. Which days, and which nodes have been told, is the index's to know, over restarts; this
//! actor only carries it out, and says what cannot be had any more.

use crate::actors::control::handle::{act_on_sink, ask_for_sink};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::view::SinkView;
use crate::logging::sinks::index::NAME;
use crate::ports::control::{ControlError, SinkAction};
use crate::ports::log_index::{LogIndex, MissingDay};
use actix::prelude::*;
use chrono::{DateTime, NaiveTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(2);

/// The actor.
pub struct Rebuilder {
    shared: Arc<Shared>,
}

impl Actor for Rebuilder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { look_for_ever(&shared).await }.into_actor(self));
    }
}

impl Child for Rebuilder {
    type Args = Arc<Shared>;

    async fn init(shared: Arc<Shared>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self { shared }))
    }
}

async fn look_for_ever(shared: &Arc<Shared>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(index) = shared.logs().and_then(|logs| logs.index.clone()) else {
            continue;
        };
        for missing in index.missing() {
            rebuild(shared, &*index, &missing).await;
        }
    }
}

async fn rebuild(shared: &Arc<Shared>, index: &dyn LogIndex, missing: &MissingDay) {
    let begins = missing.day.and_time(NaiveTime::MIN).and_utc();
    let mut all = true;
    for node in shared.nodes.all() {
        let name = node.name.as_str();
        if missing.nodes.iter().any(|done| done == name) {
            continue;
        }
        let action = SinkAction::Resend(begins);
        let outcome = match node.local {
            true => act_on_sink(shared, NAME, action).await,
            false => ask_for_sink(&node, NAME, action).await,
        };
        let (level, text) = match outcome {
            Ok(sink) => said(missing, name, begins, &sink),
            // Logging is switched off there: there was never anything of it.
            Err(ControlError::NotFound { .. }) => (Level::Info, String::new()),
            Err(error) => {
                tracing::debug!(node = name, %error, "will be asked again for a day of the log index");
                all = false;
                continue;
            }
        };
        if let Err(error) = index.sent_again(missing.day, name) {
            tracing::warn!(%error, "the node may be asked twice");
        }
        if !text.is_empty() {
            shared
                .hub
                .emit(Event::new("log_index_rebuilt", level, text).node(&node.name));
        }
    }
    if all && let Err(error) = index.rebuilt(missing.day) {
        tracing::warn!(%error, "will be tried again");
    }
}

/// What a node can still send, in words.
fn said(
    missing: &MissingDay,
    node: &str,
    begins: DateTime<Utc>,
    sink: &SinkView,
) -> (Level, String) {
    let day = missing.day;
    match sink.oldest_at {
        Some(oldest) if oldest <= begins => (
            Level::Info,
            format!("log index: {day} is built again from the spool of node {node}, all of it"),
        ),
        Some(oldest) if oldest.date_naive() == day => (
            Level::Warn,
            format!(
                "log index: {day} is built again from the spool of node {node} from {} on, the oldest that it has; what was older is lost to the index",
                oldest.format("%H:%M:%S UTC")
            ),
        ),
        _ => (
            Level::Warn,
            format!(
                "log index: the spool of node {node} has nothing of {day} any more; its events of that day are lost to the index"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said() {
        let missing = MissingDay {
            day: "2025-03-01".parse().unwrap(),
            nodes: Vec::new(),
        };
        let begins = "2025-03-01T00:00:00Z".parse().unwrap();
        let said = |oldest: Option<&str>| {
            let sink = SinkView {
                oldest_at: oldest.map(|at| at.parse().unwrap()),
                ..SinkView::default()
            };
            said(&missing, "n1", begins, &sink)
        };
        let whole = said(Some("2025-02-28T23:00:00Z"));
        assert!(whole.0 == Level::Info && whole.1.ends_with("all of it"));
        let part = said(Some("2025-03-01T08:00:00Z"));
        assert!(part.0 == Level::Warn && part.1.contains("from 08:00:00 UTC on,"));
        for nothing in [said(None), said(Some("2025-03-02T00:00:00Z"))] {
            assert!(nothing.1.contains("nothing of 2025-03-01"));
        }
    }
}
