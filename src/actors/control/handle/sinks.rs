//! The sinks of log events on all nodes, and the inputs of this host, as the API sees them.

use super::{Handle, not_found};
use crate::actors::agent::logging;
use crate::actors::control::nodes::table::Node;
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::NodeName;
use crate::domain::log::Stamp;
use crate::domain::view::{InputView, SinkView, SinksReloaded};
use crate::link::message::{FailureKind, Reply, Request};
use crate::logging::pipe::pipeline::SinkEntry;
use crate::logging::pipe::{Command, To};
use crate::ports::control::{Caller, ControlError, SinkAction};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How long a sink may take to answer an operator.
const MOST: Duration = Duration::from_secs(20);
/// How long a node may take to answer for one of its sinks.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

impl Handle {
    /// All sinks, by name and node; none where logging is switched off.
    pub(super) fn list_sinks(&self) -> Vec<SinkView> {
        let mut views = self
            .shared
            .pipeline()
            .map(|p| p.views())
            .unwrap_or_default();
        for node in self.others() {
            views.extend(node.sinks());
        }
        views.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
        views
    }

    fn others(&self) -> impl Iterator<Item = Arc<Node>> {
        self.shared.nodes.all().into_iter().filter(|n| !n.local)
    }

    /// All inputs; none where logging is switched off.
    pub(super) fn list_inputs(&self) -> Vec<InputView> {
        self.shared
            .pipeline()
            .map(|p| p.input_views())
            .unwrap_or_default()
    }

    /// Does what an operator asks, with audit.
    pub(super) async fn act_on(
        &self,
        name: &str,
        node: Option<NodeName>,
        action: SinkAction,
        caller: &Caller,
    ) -> Result<Vec<SinkView>, ControlError> {
        let word = match action {
            SinkAction::Test => "test_sink",
            SinkAction::Pause => "pause_sink",
            SinkAction::Resume => "resume_sink",
            SinkAction::Rewind(_) | SinkAction::Skip | SinkAction::Resend(_) => "rewind_sink",
        };
        let detail = node.as_ref().map(|n| format!("on node {n}"));
        let outcome = self.everywhere(name, node.as_ref(), action).await;
        self.audit(caller, word, name, detail.unwrap_or_default(), outcome)
    }

    /// On each node that has the sink, at the same time. One that fails is named; the others have done it.
    async fn everywhere(
        &self,
        name: &str,
        node: Option<&NodeName>,
        action: SinkAction,
    ) -> Result<Vec<SinkView>, ControlError> {
        let wanted = |of: &str| node.is_none_or(|node| node.as_str() == of);
        let views = self.list_sinks();
        let has = |of: &str| views.iter().any(|v| v.name == name && v.node == of);
        let here = self.shared.settings.node.as_str();
        let mut asked = Vec::new();
        if has(here) && wanted(here) {
            asked.push(None);
        }
        for node in self.others() {
            if has(node.name.as_str()) && wanted(node.name.as_str()) {
                asked.push(Some(node));
            }
        }
        if asked.is_empty() {
            let names = views.iter().map(|view| view.name.clone());
            return Err(not_found("sink", name, names));
        }
        let asked = asked.into_iter().map(|node| async move {
            match node {
                None => act_on_sink(&self.shared, name, action).await,
                Some(node) => ask_for_sink(&node, name, action).await,
            }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Reads the configuration of the sinks again, with audit.
    pub(super) async fn reload(&self, caller: &Caller) -> Result<SinksReloaded, ControlError> {
        let outcome = reload(&self.shared).await;
        let detail = outcome.as_ref().map(said).unwrap_or_default();
        let mut outcome = self.audit(caller, "reload_sinks", "sinks", detail, outcome)?;
        let connected = self.others().filter(|node| node.link().is_some());
        outcome.nodes = connected.map(|node| node.name.to_string()).collect();
        Ok(outcome)
    }
}

/// Reads the configuration of this process's sinks again and carries out what changed; nodes are told by their
/// links. Called by the API and on SIGHUP.
///
/// # Errors
/// What is wrong with the configuration, with its place: nothing has changed then.
pub async fn reload(shared: &Shared) -> Result<SinksReloaded, ControlError> {
    let routes = shared
        .routes()
        .ok_or_else(|| ControlError::Conflict("logging is switched off".to_owned()))?;
    routes.reload().map_err(ControlError::Conflict)?;
    let changes = logging::change(shared).await;
    let changes = changes.map_err(ControlError::Internal)?;
    let names = |entries: &[Arc<SinkEntry>]| entries.iter().map(|e| e.spec.name.clone()).collect();
    let reloaded = SinksReloaded {
        added: names(&changes.added),
        changed: names(&changes.changed),
        removed: changes.removed,
        kept: changes.kept,
        nodes: Vec::new(),
    };
    let text = format!(
        "the configuration of log sinks was read: {}",
        said(&reloaded)
    );
    shared
        .hub
        .emit(Event::new("sinks_reloaded", Level::Info, text));
    Ok(reloaded)
}

fn said(reloaded: &SinksReloaded) -> String {
    let parts = [
        ("added", &reloaded.added),
        ("changed", &reloaded.changed),
        ("removed", &reloaded.removed),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    match parts.is_empty() {
        true => "nothing changed here".to_owned(),
        false => parts.join("; "),
    }
}

/// Acts on a sink of this node. Called for the API, and by the agent for its control host.
///
/// # Errors
/// That there is none, or what is in the way.
pub async fn act_on_sink(
    shared: &Shared,
    name: &str,
    action: SinkAction,
) -> Result<SinkView, ControlError> {
    let found = shared.pipeline().and_then(|p| p.sink(name).map(|s| (p, s)));
    let Some((pipeline, sink)) = found else {
        return Err(not_found("sink", name, std::iter::empty()));
    };
    let answer = match action {
        SinkAction::Pause => sink.pause(&pipeline).map_err(|e| e.to_string()),
        SinkAction::Resume => sink.resume(&pipeline).map_err(|e| e.to_string()),
        SinkAction::Test => sink.ask(Command::Check, MOST).await,
        SinkAction::Rewind(to) => {
            let to = to.map_or(To::Oldest, |at| To::At(Stamp::from(at)));
            sink.ask(move |answer| Command::Rewind(to, answer), MOST)
                .await
        }
        SinkAction::Resend(at) => {
            let to = To::BackTo(Stamp::from(at));
            sink.ask(move |answer| Command::Rewind(to, answer), MOST)
                .await
        }
        SinkAction::Skip => {
            sink.ask(move |answer| Command::Rewind(To::Now, answer), MOST)
                .await
        }
    };
    let node = &shared.settings.node;
    answer.map_err(|reason| {
        ControlError::Conflict(format!("sink {name} on node {node}: {reason}"))
    })?;
    Ok(sink.view(&pipeline))
}

/// Acts on a sink of another node.
///
/// # Errors
/// As [`act_on_sink`], or that the node does not answer.
pub async fn ask_for_sink(
    node: &Node,
    sink: &str,
    action: SinkAction,
) -> Result<SinkView, ControlError> {
    let request = Request::Sink {
        sink: sink.to_owned(),
        action,
    };
    let mut asked = node.ask(request).await.map_err(ControlError::Unavailable)?;
    match tokio::time::timeout(ANSWER_WITHIN, asked.next()).await {
        Ok(Some(Reply::Sink(view))) => Ok(*view),
        Ok(Some(Reply::Failed(failure))) => Err(match failure.kind {
            FailureKind::NotFound => ControlError::NotFound {
                kind: "sink",
                name: format!("{sink} on node {}", node.name),
                hint: String::new(),
            },
            _ => ControlError::Conflict(failure.reason),
        }),
        Ok(_) | Err(_) => Err(ControlError::Unavailable(format!(
            "without an answer of node {}",
            node.name
        ))),
    }
}
