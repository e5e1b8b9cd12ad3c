//! The supervision tree as the API shows it, and what operators do to its children.

use super::Handle;
use crate::actors::agent::process::{Process, Retire};
use crate::actors::agent::put_away::Removal;
use crate::actors::agent::{node, paths};
use crate::actors::control::census::word;
use crate::actors::control::nodes::table::Node;
use crate::actors::shared::Shared;
use crate::actors::supervise::{
    CallError, ChildType, Restart, Shutdown, State, Strategy, Supervises, TreeNode, Work,
};
use crate::domain::id::InstanceId;
use crate::domain::spec::model::duration_text;
use crate::domain::view::{ActorCrash, ActorView, MailboxView, RestartRecord};
use crate::link::message::{FailureKind, Reply, Request};
use crate::ports::control::{ChildAction, ControlError};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Message counts are compared over at least this long for a rate.
const RATE_OVER: Duration = Duration::from_secs(10);
/// As deep as trees of lain are, and deeper.
const WHOLE: usize = 64;
/// How long a node may take to answer for one of its actors.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What is remembered of each actor to tell its message rate.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<String, Sample>>);

#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    handled: u64,
    rate: f64,
}

impl Rates {
    /// Messages a second: between the last two looks that were far enough apart, or since its start.
    fn rate(&self, path: &str, handled: u64, uptime: Duration, now: Duration) -> f64 {
        let average = handled as f64 / uptime.as_secs_f64().max(0.001);
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = samples.entry(path.to_owned()).or_insert(Sample {
            at: now,
            handled,
            rate: average,
        });
        let passed = now.saturating_sub(sample.at);
        if handled < sample.handled {
            *sample = Sample {
                at: now,
                handled,
                rate: average,
            };
        } else if passed >= RATE_OVER {
            let rate = (handled - sample.handled) as f64 / passed.as_secs_f64();
            *sample = Sample {
                at: now,
                handled,
                rate,
            };
        }
        sample.rate
    }
}

impl Handle {
    pub(super) fn read_tree(
        &self,
        path: &str,
        depth: Option<u32>,
    ) -> Result<ActorView, ControlError> {
        let depth = depth.map_or(WHOLE, |d| usize::try_from(d).unwrap_or(WHOLE));
        let path = path.trim_matches('/');
        if let Some(node) = self.snapshot(path, depth) {
            return Ok(node);
        }
        // Perhaps an actor of another host: as its agent last told.
        let found = nodes_of(&self.shared)
            .filter(|node| path.starts_with(&paths::node(&node.name)))
            .find_map(|node| find(&*node.tree()?, path).cloned());
        let mut view = found.ok_or_else(|| super::not_found("actor", path, std::iter::empty()))?;
        prune(&mut view, depth);
        Ok(view)
    }

    /// The tree of this process from `path` on, with those of other hosts under their nodes.
    fn snapshot(&self, path: &str, depth: usize) -> Option<ActorView> {
        let node = self.shared.tree().snapshot(path, depth)?;
        let mut view = self.view(node);
        for node in nodes_of(&self.shared) {
            if let Some(tree) = node.tree() {
                graft(&mut view, &tree, depth);
            }
        }
        Some(view)
    }

    pub(super) async fn read_actor(&self, path: &str) -> Result<ActorView, ControlError> {
        let path = path.trim_matches('/');
        if let Some(node) = self.host_of(path) {
            let path = path.to_owned();
            return ask_for_actor(&node, Request::Actor { path }).await;
        }
        self.local_actor(path)
    }

    /// An actor of this process in detail.
    fn local_actor(&self, path: &str) -> Result<ActorView, ControlError> {
        let mut view = self.read_tree(path, Some(0))?;
        view.detail = detail(&self.shared, &view.path);
        Ok(view)
    }

    /// The other host that an actor lives on.
    fn host_of(&self, path: &str) -> Option<Arc<Node>> {
        nodes_of(&self.shared).find(|node| {
            path.strip_prefix(&paths::node(&node.name))
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    fn view(&self, node: TreeNode) -> ActorView {
        let now = self.shared.clock.now_utc();
        let running = node.state == State::Running;
        let mailbox = node.work.as_ref().map(|work| self.mailbox(&node, work));
        let supervises = node.supervises.as_ref();
        let chars = |s: &Supervises| {
            (
                u32::try_from(s.used).unwrap_or(u32::MAX),
                s.intensity,
                s.period,
            )
        };
        let budget = supervises.map(chars);
        ActorView {
            kind: match node.child_type {
                ChildType::Worker => "worker",
                ChildType::Supervisor => "supervisor",
            }
            .to_owned(),
            strategy: supervises.map(|s| strategy(s.strategy).to_owned()),
            restart: restart(node.restart).to_owned(),
            shutdown: shutdown(node.shutdown),
            significant: node.significant,
            state: word(node.state).to_owned(),
            note: note(&self.shared, &node.path),
            incarnation: node.incarnation,
            started_at: running.then(|| now - node.for_time),
            restarts: node.restarts,
            restarts_in_window: budget.map(|b| b.0),
            intensity: budget.map(|b| b.1),
            period_ms: budget.map(|b| u64::try_from(b.2.as_millis()).unwrap_or(u64::MAX)),
            restart_at: node.retry_in.map(|pause| now + pause),
            awaiting: supervises
                .and_then(|s| s.awaiting.as_ref())
                .map(|a| format!("{} for {}ms", a.id, a.for_time.as_millis())),
            mailbox,
            history: node.history.iter().rev().map(record).collect(),
            last_crash: node
                .last_crash
                .as_ref()
                .map(|crash| self.crash_of(&node.path, crash)),
            detail: None,
            child_count: u32::try_from(supervises.map_or(0, |s| s.children)).unwrap_or(u32::MAX),
            id: if node.path.is_empty() {
                "root".to_owned()
            } else {
                node.id.to_string()
            },
            path: node.path.to_string(),
            children: node
                .children
                .into_iter()
                .map(|child| self.view(child))
                .collect(),
        }
    }

    fn mailbox(&self, node: &TreeNode, work: &Work) -> MailboxView {
        let now = self.shared.clock.monotonic();
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        MailboxView {
            length: u64::try_from(work.mailbox).unwrap_or(u64::MAX),
            oldest_age_ms: (work.mailbox > 0).then(|| millis(work.oldest)),
            handled: work.handled,
            rate: self
                .rates
                .rate(&node.path, work.handled, node.for_time, now),
            current: work.current.as_ref().map(|c| c.message.clone()),
            current_ms: work.current.as_ref().map(|c| millis(c.for_time)),
            handler_max_us: micros(work.slowest),
            handler_p99_us: micros(work.p99),
        }
    }

    fn crash_of(&self, path: &str, crash: &crate::actors::supervise::Crash) -> ActorCrash {
        let panic = crash.reason.panic();
        let name = path
            .strip_suffix("/process")
            .and_then(|p| paths::container_of(&self.shared, p));
        let report = name
            .and_then(|n| self.shared.node.get(&n))
            .and_then(|c| c.look(|o| o.last_crash.clone()));
        ActorCrash {
            at: DateTime::<Utc>::from(crash.at),
            reason: crash.reason.to_string(),
            message_type: panic.map(|p| p.message_type.to_string()),
            location: panic.and_then(|p| p.location.clone()),
            crash: report.map(|r| r.id.to_string()),
        }
    }

    /// Restarts or terminates one child. An operator who ends a `process` means its container.
    pub(super) async fn act(
        &self,
        path: &str,
        action: ChildAction,
    ) -> Result<ActorView, ControlError> {
        let path = path.trim_matches('/');
        if let Some(node) = self.host_of(path) {
            let restart = action == ChildAction::Restart;
            let path = path.to_owned();
            return ask_for_actor(&node, Request::Act { path, restart }).await;
        }
        let view = self.read_tree(path, Some(0))?;
        if matches!(path, "" | "web" | "store") {
            return Err(ControlError::Conflict(format!(
                "{} is needed to answer this very request: restart lain itself instead",
                if path.is_empty() { "the root" } else { path }
            )));
        }
        if action == ChildAction::Terminate && self.carries_apps(path) {
            return Err(ControlError::Conflict(format!(
                "without {path} no app can be changed or kept alive: it can be restarted, not terminated"
            )));
        }
        if let Some(name) = paths::container_of(&self.shared, path)
            && let Some(cell) = self.shared.node.get(&name)
        {
            match action {
                ChildAction::Restart => {
                    node::restart(&self.shared, &cell, "asked for by an operator")
                }
                ChildAction::Terminate => node::retire(&self.shared, &cell, Removal::Stop).await?,
            }
            return self.read_tree(path, Some(0)).or(Ok(view));
        }
        let (parent, id) = self.parent_of(path)?;
        if paths::container_of(&self.shared, &parent).is_some() && id == "process" {
            let process = self.shared.actor::<Process>(path);
            process
                .send(Retire(Removal::Stop))
                .await
                .map_err(|e| ControlError::Conflict(e.to_string()))??;
        }
        let supervisor = self.shared.supervisor(&parent);
        supervisor
            .terminate_child(id.clone())
            .await
            .map_err(|e| refused(path, &e))?;
        if action == ChildAction::Restart {
            supervisor
                .restart_child(id)
                .await
                .map_err(|e| refused(path, &e))?;
        }
        self.read_tree(path, Some(0)).or(Ok(view))
    }

    /// Whether all apps need the actor at a path: nobody is helped by an operator's leaving it down.
    fn carries_apps(&self, path: &str) -> bool {
        let containers = paths::containers(&self.shared);
        // The node, its engine and what is above them.
        let above = containers
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let node = containers.rsplit_once('/').map_or("", |(node, _)| node);
        above || path == "apps" || path == format!("{node}/engine")
    }

    /// The supervisor of an actor and the actor's id in it. Ids may hold slashes: the longest prefix that is a
    /// supervisor is the parent.
    fn parent_of(&self, path: &str) -> Result<(String, String), ControlError> {
        let cuts = path
            .rmatch_indices('/')
            .map(|(at, _)| (path[..at].to_owned(), path[at + 1..].to_owned()));
        let with_root = cuts.chain(std::iter::once((String::new(), path.to_owned())));
        with_root
            .into_iter()
            .find(|(prefix, _)| self.shared.tree().snapshot(prefix, 0).is_some())
            .ok_or_else(|| super::not_found("actor", path, std::iter::empty()))
    }
}

/// Nodes on other hosts.
fn nodes_of(shared: &Shared) -> impl Iterator<Item = Arc<Node>> + use<> {
    shared.nodes.all().into_iter().filter(|n| !n.local)
}

/// The actor at a path below `view`.
fn find<'v>(view: &'v ActorView, path: &str) -> Option<&'v ActorView> {
    if view.path == path {
        return Some(view);
    }
    let mut children = view.children.iter();
    children.find_map(|child| match path.starts_with(&child.path) {
        true => find(child, path),
        false => None,
    })
}

/// Puts what an agent told under its node, as deep as was asked for.
fn graft(view: &mut ActorView, tree: &ActorView, depth: usize) {
    if view.path == tree.path {
        view.child_count = tree.child_count;
        view.children = tree.children.clone();
        prune(view, depth);
        return;
    }
    for child in &mut view.children {
        if child.path.is_empty() || tree.path.starts_with(&child.path) {
            graft(child, tree, depth.saturating_sub(1));
        }
    }
}

fn prune(view: &mut ActorView, depth: usize) {
    if depth == 0 {
        view.children.clear();
    }
    for child in &mut view.children {
        prune(child, depth - 1);
    }
}

async fn ask_for_actor(node: &Node, request: Request) -> Result<ActorView, ControlError> {
    let unavailable = ControlError::Unavailable;
    let mut asked = node.ask(request).await.map_err(unavailable)?;
    let answer = tokio::time::timeout(ANSWER_WITHIN, asked.next()).await;
    match answer {
        Ok(Some(Reply::Actor(view))) => Ok(*view),
        Ok(Some(Reply::Failed(failure))) => Err(match failure.kind {
            FailureKind::NotFound => ControlError::NotFound {
                kind: "actor",
                name: failure.reason,
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

/// The tree from a path on, as the API shows it; `None`: nobody is there. For an agent to tell its own.
pub fn tree_of(shared: &Arc<Shared>, path: &str) -> Option<ActorView> {
    Handle::new(Arc::clone(shared)).read_tree(path, None).ok()
}

/// One actor in detail. For an agent to tell its own.
///
/// # Errors
/// [`ControlError::NotFound`].
pub fn actor_of(shared: &Arc<Shared>, path: &str) -> Result<ActorView, ControlError> {
    Handle::new(Arc::clone(shared)).local_actor(path)
}

/// Restarts or terminates an actor. For an agent to do it to its own.
///
/// # Errors
/// As the API has them.
pub async fn act_on(
    shared: &Arc<Shared>,
    path: &str,
    action: ChildAction,
) -> Result<ActorView, ControlError> {
    Handle::new(Arc::clone(shared)).act(path, action).await
}

fn refused(path: &str, error: &CallError) -> ControlError {
    match error {
        CallError::NotFound => super::not_found("actor", path, std::iter::empty()),
        other => ControlError::Conflict(format!("{path}: {other}")),
    }
}

fn record(past: &crate::actors::supervise::PastRestart) -> RestartRecord {
    RestartRecord {
        at: DateTime::<Utc>::from(past.at),
        reason: past.reason.to_string(),
        took_us: past
            .took
            .map_or(0, |t| u64::try_from(t.as_micros()).unwrap_or(u64::MAX)),
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "one_for_one",
        Strategy::OneForAll => "one_for_all",
        Strategy::RestForOne => "rest_for_one",
        Strategy::SimpleOneForOne => "simple_one_for_one",
    }
}

fn restart(restart: Restart) -> &'static str {
    match restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}

fn shutdown(shutdown: Shutdown) -> String {
    match shutdown {
        Shutdown::BrutalKill => "brutal_kill".to_owned(),
        Shutdown::Timeout(limit) => duration_text::render(limit),
        Shutdown::Infinity => "infinity".to_owned(),
    }
}

/// What an actor is about, in a few words.
fn note(shared: &Shared, path: &str) -> Option<String> {
    if let Some(id) = instance_of(path) {
        let app = shared.world.app(&id.app)?;
        let placement = shared.world.placement(&id)?;
        let view = crate::actors::control::views::instance(shared, &app.record, &placement);
        let word = serde_json::to_value(view.state)
            .ok()?
            .as_str()
            .unwrap_or_default()
            .to_owned();
        return Some(match view.reason {
            Some(reason) => format!("{word}: {reason}"),
            None => word,
        });
    }
    let (container, child) = path.rsplit_once('/')?;
    if let ("rollout", Some(app)) = (child, container.strip_prefix("apps/app/")) {
        return operation_of(shared, app);
    }
    let cell = shared.node.get(&paths::container_of(shared, container)?)?;
    let seen = cell.seen();
    match child {
        "process" => seen.pid.map(|pid| format!("pid {pid}")),
        "health" => Some(seen.health.as_str().to_owned()),
        "logs" => Some(format!("{} lines", seen.lines_seen)),
        _ => None,
    }
}

/// What an app's rollout is at.
fn operation_of(shared: &Shared, app: &str) -> Option<String> {
    let app = shared.world.app(&app.parse().ok()?)?;
    let id = app.record.operation.as_ref()?;
    let operation = shared.world.operation(id)?;
    let how = ["in progress", "canary waits"][usize::from(operation.waiting.is_some())];
    Some(format!("{}: {how}", operation.kind))
}

/// The instance that a path names, if it names one.
fn instance_of(path: &str) -> Option<InstanceId> {
    let rest = path.strip_prefix("apps/app/")?;
    let (app, rest) = rest.split_once("/proc/")?;
    let (proc, no) = rest.split_once("/instance/")?;
    let (kind, name) = proc.split_once('.')?;
    format!("{app}.{kind}.{name}.i{no}").parse().ok()
}

/// An actor's own state as JSON, where it offers one.
fn detail(shared: &Shared, path: &str) -> Option<serde_json::Value> {
    if let Some(id) = instance_of(path) {
        let app = shared.world.app(&id.app)?;
        let placement = shared.world.placement(&id)?;
        let view = crate::actors::control::views::instance(shared, &app.record, &placement);
        return serde_json::to_value(view).ok();
    }
    let (container, _) = path.rsplit_once('/')?;
    let cell = shared.node.get(&paths::container_of(shared, container)?)?;
    let seen = cell.seen();
    Some(serde_json::json!({
        "container": cell.name(),
        "container_id": seen.id,
        "phase": format!("{:?}", seen.phase),
        "health": seen.health.as_str(),
        "pid": seen.pid,
        "restarts": seen.restarts,
        "last_exit": seen.last_exit,
        "last_crash": seen.last_crash.map(|c| c.id.to_string()),
        "last_lines": seen.lines,
        "probes": seen.probes,
    }))
}
