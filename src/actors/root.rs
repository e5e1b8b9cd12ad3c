//! The root of the tree: its children in start order, and the observer that turns lifecycle into events.
//!
//! rest_for_one: whoever reads what the store keeper loaded is rebuilt after it. Made by the roles.

use crate::actors::agent::engine::Engine;
use crate::actors::agent::{cell::Phase, logging as node_logging, paths as agent_paths};
use crate::actors::control::instance::{Instance, Look};
use crate::actors::control::nodes as control_nodes;
use crate::actors::control::nodes::balance::Balance;
use crate::actors::control::nodes::listener::{self, Listener};
use crate::actors::control::nodes::table::Node;
use crate::actors::control::schedule::Schedule;
use crate::actors::control::{app, paths};
use crate::actors::hub::{Event, Level};
use crate::actors::logging;
use crate::actors::recorder::StoreKeeper;
use crate::actors::shared::Shared;
use crate::actors::supervise::{
    ChildSpec, EventKind, ExitReason, Flags, LifecycleEvent, Observer, Strategy, SupervisorInit,
    SupervisorSpec, Tree,
};
use crate::ports::agent::NodeRecord;
use std::sync::Arc;
use std::time::Duration;

/// Restarts of lain's own top actors that are borne before lain itself gives up.
pub const INTENSITY: u32 = 10;
/// The window of [`INTENSITY`].
pub const PERIOD: Duration = Duration::from_secs(60);
/// Restarts within `containers` and `apps` that are borne: their children fail independently.
const BROAD: u32 = 100;

/// Starts the tree of one host; `web` is the child that serves the API.
///
/// # Errors
/// Why the first child that could not start could not: most likely the store's or the web server's words.
pub async fn start(
    shared: &Arc<Shared>,
    hosts: Hosts,
    web: impl Fn() -> ChildSpec + Send + Sync + 'static,
) -> Result<Tree, ExitReason> {
    let poked = Arc::clone(shared);
    // Weak, or the environment would keep itself alive through the cells that hold the function.
    let poked = Arc::downgrade(&poked);
    shared.set_poke(Arc::new(move |id| {
        if let Some(shared) = poked.upgrade() {
            shared.world.touch_endpoints();
            shared.tell::<Instance, _>(&paths::instance(id), Look);
        }
    }));
    if hosts.local {
        let record = NodeRecord {
            name: shared.settings.node.clone(),
            labels: Default::default(),
            cordoned: None,
            draining: false,
            joined_at: shared.started_at,
            certificates: Vec::new(),
            facts: None,
        };
        let now = shared.clock.monotonic();
        shared.nodes.insert(Node::new(record, true, now));
    }
    let observer = Watcher::new(shared);
    let root = Arc::clone(shared);
    let web = Arc::new(web);
    let init = move || std::future::ready(Ok(SupervisorInit::Run(children(&root, &hosts, web()))));
    Tree::builder()
        .name("root")
        .observer(observer)
        .start_root(init)
        .await
}

/// Which hosts run containers.
#[derive(Clone)]
pub struct Hosts {
    /// This process runs some itself.
    pub local: bool,
    /// Where agents of other hosts connect.
    pub listener: Option<listener::Args>,
}

fn children(shared: &Arc<Shared>, hosts: &Hosts, web: ChildSpec) -> SupervisorSpec {
    let flags = Flags::new(Strategy::RestForOne).intensity(INTENSITY, PERIOD);
    let mut spec = SupervisorSpec::new(flags)
        .child(ChildSpec::worker::<StoreKeeper>(
            "store",
            Arc::clone(shared),
        ))
        .child(nodes(shared, hosts))
        .child(apps(shared));
    spec.children.extend(logging::spec(shared, hosts.local));
    spec.child(ChildSpec::worker::<Schedule>("time", Arc::clone(shared)))
        .child(web)
}

fn nodes(shared: &Arc<Shared>, hosts: &Hosts) -> ChildSpec {
    let (shared, hosts) = (Arc::clone(shared), hosts.clone());
    ChildSpec::supervisor_with("nodes", move || {
        let flags = Flags::new(Strategy::OneForOne).intensity(BROAD, PERIOD);
        let mut children = Vec::new();
        if hosts.local {
            children.push(local_node(&shared));
        }
        for node in shared.nodes.all().iter().filter(|n| !n.local) {
            children.push(control_nodes::spec(&shared, &node.name));
        }
        if let Some(args) = &hosts.listener {
            let balance = ChildSpec::worker::<Balance>("balance", Arc::clone(&shared));
            children.push(balance);
            children.push(ChildSpec::worker::<Listener>("listener", args.clone()));
        }
        std::future::ready(Ok(SupervisorInit::Run(SupervisorSpec { flags, children })))
    })
}

/// The supervisor of this very host as a node.
pub fn local_node(shared: &Arc<Shared>) -> ChildSpec {
    let wide = Flags::new(Strategy::OneForOne).intensity(BROAD, PERIOD);
    let containers = ChildSpec::supervisor("containers", SupervisorSpec::new(wide));
    let flags = Flags::new(Strategy::RestForOne).intensity(INTENSITY, PERIOD);
    let mut node = SupervisorSpec::new(flags)
        .child(ChildSpec::worker::<Engine>("engine", Arc::clone(shared)))
        .child(containers);
    // Last: its crash restarts nobody else.
    if let Some(pipeline) = shared.pipeline() {
        node = node.child(node_logging::spec(shared, &pipeline));
    }
    let id = control_nodes::node_id(&shared.settings.node);
    ChildSpec::supervisor(id, node)
}

fn apps(shared: &Arc<Shared>) -> ChildSpec {
    let shared = Arc::clone(shared);
    ChildSpec::supervisor_with("apps", move || {
        let flags = Flags::new(Strategy::OneForOne).intensity(BROAD, PERIOD);
        let children = shared
            .world
            .apps()
            .iter()
            .map(|(name, _)| app::spec(&shared, name))
            .collect();
        std::future::ready(Ok(SupervisorInit::Run(SupervisorSpec { flags, children })))
    })
}

/// Turns what supervisors tell into events, and tells an instance when its node gave up.
pub struct Watcher {
    shared: Arc<Shared>,
}

impl Watcher {
    /// An observer of a tree with this environment.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl Observer for Watcher {
    fn event(&self, event: &LifecycleEvent) {
        let path = event.path.as_ref();
        match &event.kind {
            EventKind::GaveUp { intensity, period } => {
                self.gave_up(&event.supervisor, *intensity, *period);
            }
            EventKind::RestartScheduled { r#in, .. } => self.scheduled(path, *r#in),
            _ => {}
        }
        if let Some((kind, level, text)) = describe(event) {
            let told = Event::new(kind, level, text).path(path);
            self.shared.hub.emit(self.belongs(told, path));
        }
    }
}

impl Watcher {
    /// Says of which instance, proc or app the actor at a path is, so that what happens to it is found among its
    /// lines.
    fn belongs(&self, told: Event, path: &str) -> Event {
        if let Some(name) = agent_paths::within_container(&self.shared, path)
            && let Some(cell) = self.shared.node.get(name)
        {
            let node = &self.shared.settings.node;
            return told.instance(cell.instance()).node(node);
        }
        let Some(below) = path.strip_prefix("apps/app/") else {
            return told;
        };
        let mut parts = below.split('/');
        let app = parts.next().unwrap_or_default();
        let (proc, no) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("proc"), Some(proc), Some("instance"), no) => (Some(proc), no),
            (Some("proc"), Some(proc), ..) => (Some(proc), None),
            _ => (None, None),
        };
        let Some(proc) = proc else {
            return told.app(app);
        };
        match no.and_then(|no| format!("{app}.{proc}.i{no}").parse().ok()) {
            Some(instance) => told.instance(&instance),
            None => told.app(app).proc(proc),
        }
    }

    /// The supervisor of a container has spent its budget: the node has given up on it.
    fn gave_up(&self, supervisor: &str, intensity: u32, period: Duration) {
        let Some(name) = agent_paths::container_of(&self.shared, supervisor) else {
            return;
        };
        let Some(cell) = self.shared.node.get(&name) else {
            return;
        };
        cell.change(|o| {
            let last = o
                .last_crash
                .as_ref()
                .map(|c| format!(", the last one: {}", c.cause))
                .unwrap_or_default();
            o.phase = Phase::GaveUp(format!(
                "more than {intensity} restarts within {}s{last}",
                period.as_secs()
            ));
        });
    }

    fn scheduled(&self, path: &str, pause: Duration) {
        let Some(name) = path
            .strip_suffix("/process")
            .and_then(|p| agent_paths::container_of(&self.shared, p))
        else {
            return;
        };
        let due = (!pause.is_zero()).then(|| self.shared.clock.now_utc() + pause);
        if let Some(cell) = self.shared.node.get(&name) {
            cell.note(|o| o.restart_at = due);
        }
    }
}

/// A lifecycle event in words; `None` for those that would only be noise.
fn describe(event: &LifecycleEvent) -> Option<(&'static str, Level, String)> {
    let path = &event.path;
    Some(match &event.kind {
        EventKind::Started { .. } => ("actor_started", Level::Info, format!("{path} started")),
        EventKind::Restarted { took, attempt } => {
            let text = format!(
                "{path} restarted in {}µs, attempt {attempt}",
                took.as_micros()
            );
            ("actor_restarted", Level::Info, text)
        }
        EventKind::StartFailed { reason } => (
            "actor_start_failed",
            Level::Warn,
            format!("{path} could not start: {reason}"),
        ),
        EventKind::Exited { reason } if reason.is_clean() => (
            "actor_exited",
            Level::Info,
            format!("{path} ended: {reason}"),
        ),
        EventKind::Exited { reason } => (
            "actor_crashed",
            Level::Warn,
            format!("{path} crashed: {reason}"),
        ),
        EventKind::RestartScheduled { r#in, attempt } if !r#in.is_zero() => {
            let text = format!(
                "{path} is restarted in {}ms, attempt {attempt}",
                r#in.as_millis()
            );
            ("actor_restart_scheduled", Level::Info, text)
        }
        EventKind::Stopped { reason } => (
            "actor_stopped",
            Level::Info,
            format!("{path} stopped: {reason}"),
        ),
        EventKind::GaveUp { intensity, period } => {
            let who = if event.supervisor.is_empty() {
                "root"
            } else {
                &event.supervisor
            };
            let text = format!(
                "{who} gave up over {path}: more than {intensity} restarts within {}s",
                period.as_secs()
            );
            ("actor_gave_up", Level::Error, text)
        }
        EventKind::Stuck { info } => (
            "actor_stuck",
            Level::Error,
            format!("{path} is stuck: {info}"),
        ),
        EventKind::Abandoned => (
            "actor_abandoned",
            Level::Error,
            format!("{path} stays down: its own budget is spent"),
        ),
        EventKind::Added
        | EventKind::Starting
        | EventKind::Ignored
        | EventKind::RestartScheduled { .. }
        | EventKind::Stopping
        | EventKind::Cancelled
        | EventKind::Unstuck
        | EventKind::Removed => return None,
    })
}
