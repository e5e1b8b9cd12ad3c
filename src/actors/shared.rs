//! What every actor of one lain shares: ports, settings, and the state that is kept for reading.
//!
//! Holds no logic of its own beyond look-ups. Made by a role, handed to actors as `Arc<Shared>`.

use crate::actors::agent::assigned::Assigned;
use crate::actors::agent::cell::Poke;
use crate::actors::control::kept::Kept;
use crate::actors::control::moves::Moves;
use crate::actors::control::nodes::table::Nodes;
use crate::actors::control::render::Site;
use crate::actors::control::world::World;
use crate::actors::hub::EventHub;
use crate::actors::node_table::NodeTable;
use crate::actors::recorder::Recorder;
use crate::actors::supervise::{ActorRef, Child, SupervisorRef, Tree};
use crate::domain::id::NodeName;
use crate::domain::labels;
use crate::domain::node_state;
use crate::domain::node_state::lease::Times;
use crate::domain::placement::Policy;
use crate::logging::pipe::Pipeline;
use crate::logging::routes::Routes;
use crate::ports::clock::Clock;
use crate::ports::log_index::{LogIndex, LogsPort};
use crate::ports::runtime::{EngineInfo, Runtime, RuntimeError};
use crate::ports::store::Store;
use actix::dev::ToEnvelope;
use actix::{Handler, Message};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What a role decides once, from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `dev` or `server`.
    pub role: &'static str,
    /// This node.
    pub node: NodeName,
    /// What goes into containers.
    pub site: Site,
    /// Host ports that may be published, both ends included.
    pub port_range: (u16, u16),
    /// How often the engine is compared with what is wanted.
    pub reconcile_every: Duration,
    /// The first pause before a given-up instance is tried again; doubles up to `degraded_retry_max`.
    pub degraded_retry: Duration,
    /// The longest such pause.
    pub degraded_retry_max: Duration,
    /// An instance that was ready for this long has recovered.
    pub recovered_after: Duration,
    /// Crash reports kept for each app.
    pub crashes_kept: usize,
    /// Revisions kept of each app.
    pub revisions_kept: usize,
    /// Engine calls that make or start containers at the same time.
    pub concurrent_starts: usize,
    /// Whether idle spares are frozen where the engine can: they cost no CPU, and answer some 20 ms later.
    pub freeze_spares: bool,
    /// Where the data is, for `doctor`.
    pub data_dir: std::path::PathBuf,
    /// How the presence of nodes on other hosts is judged.
    pub lease: Lease,
    /// Which node of several.
    pub policy: Policy,
    /// How long nodes must have been calm before instances are moved for the sake of an even load; zero: never.
    pub rebalance_after: Duration,
}

/// How the presence of nodes on other hosts is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Beats, and what their absence means.
    pub times: Times,
    /// How long a node is waited for that said it would be back, and all nodes after a start of lain.
    pub patience: Duration,
}

impl Lease {
    /// The rules for one node.
    pub fn monitor(&self) -> node_state::Settings {
        node_state::Settings {
            times: self.times,
            ..node_state::Settings::default()
        }
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            times: Times::default(),
            patience: Duration::from_secs(10),
        }
    }
}

/// Where agents connect, and how they know that it is the right place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// `host:port`, as other hosts reach it.
    pub address: String,
    /// The authority's fingerprint.
    pub fingerprint: String,
}

/// Whether the engine answers, and what it said of itself.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Up(EngineInfo),
    /// It does not, and why.
    Down(String),
}

/// The log index of the control host.
#[derive(Clone)]
pub struct Logs {
    /// Takes events: the sink's end. `None` where another server is searched.
    pub index: Option<Arc<dyn LogIndex>>,
    /// Answers queries: the API's end.
    pub port: LogsPort,
}

/// The environment of the actors.
pub struct Shared {
    /// The durable store.
    pub store: Arc<dyn Store>,
    /// The container runtime of this node.
    pub runtime: Arc<dyn Runtime>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// What the role decided.
    pub settings: Settings,
    /// Everything that happens.
    pub hub: EventHub,
    /// Desired state, placements and operations, kept for reading.
    pub world: World,
    /// The containers of this node, and those of other hosts as their agents report them.
    pub node: NodeTable,
    /// The nodes.
    pub nodes: Nodes,
    /// Drains and drifts.
    pub moves: Moves,
    /// Held from the choice of a node to the placement that the next choice looks at.
    pub placing: tokio::sync::Mutex<()>,
    /// The cluster as the last choice of a node saw it.
    pub cluster: Kept,
    /// Held shared while a placement is committed and mirrored, alone while placements are read from the mirror and
    /// written: an older one never takes the place of a newer one in the store.
    pub keeping: tokio::sync::RwLock<()>,
    /// Held shared while placements are given up: who plans waits until it is known which there are.
    pub dropping: Arc<tokio::sync::RwLock<()>>,
    /// What an agent was told to run; empty on a control host.
    pub assigned: Assigned,
    /// What is kept of the past goes here.
    pub recorder: Recorder,
    /// Bounds how many containers are made or started at once.
    pub starts: Semaphore,
    /// Whether the engine answers.
    pub engine: watch::Sender<EngineState>,
    /// When this process started.
    pub started_at: chrono::DateTime<chrono::Utc>,
    /// A client for health probes: no redirects followed, no connections kept.
    pub http: reqwest::Client,
    listening: OnceLock<Listening>,
    api: OnceLock<std::net::SocketAddr>,
    tree: OnceLock<Tree>,
    poke: OnceLock<Poke>,
    settled: watch::Sender<bool>,
    logs: OnceLock<Logs>,
    pipeline: OnceLock<Arc<Pipeline>>,
    routes: OnceLock<Arc<Routes>>,
}

impl Shared {
    /// A fresh environment; nothing is loaded yet.
    pub fn new(
        store: Arc<dyn Store>,
        runtime: Arc<dyn Runtime>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        let started_at = clock.now_utc();
        Arc::new(Self {
            hub: EventHub::new(Arc::clone(&clock)),
            world: World::default(),
            node: NodeTable::default(),
            nodes: Nodes::default(),
            assigned: Assigned::default(),
            moves: Moves::default(),
            placing: tokio::sync::Mutex::default(),
            cluster: Kept::default(),
            keeping: tokio::sync::RwLock::default(),
            dropping: Arc::default(),
            recorder: Recorder::default(),
            starts: Semaphore::new(settings.concurrent_starts.max(1)),
            engine: watch::channel(EngineState::Unknown).0,
            http: PROBES.clone(),
            listening: OnceLock::new(),
            api: OnceLock::new(),
            tree: OnceLock::new(),
            poke: OnceLock::new(),
            settled: watch::channel(false).0,
            logs: OnceLock::new(),
            pipeline: OnceLock::new(),
            routes: OnceLock::new(),
            store,
            runtime,
            clock,
            settings,
            started_at,
        })
    }

    /// Says where the API is served; set once it is.
    pub fn set_api_address(&self, address: std::net::SocketAddr) {
        let _ = self.api.set(address);
    }

    /// Where the API is served.
    pub fn api_address(&self) -> Option<std::net::SocketAddr> {
        self.api.get().copied()
    }

    /// Says where agents connect; set once, by the role that has them.
    pub fn set_listening(&self, listening: Listening) {
        // A second role in one process would be a defect; the first one stays.
        let _ = self.listening.set(listening);
    }

    /// Where agents connect, where they may.
    pub fn listening(&self) -> Option<Listening> {
        self.listening.get().cloned()
    }

    /// Gives the tree its log index; once, before the tree is built.
    pub fn set_logs(&self, logs: Logs) {
        // A second one would be a defect; the first one stays.
        let _ = self.logs.set(logs);
    }

    /// The log index, if there is one.
    pub fn logs(&self) -> Option<&Logs> {
        self.logs.get()
    }

    /// How containers tell their instance's actor to look; set once, when the tree is built.
    pub fn set_poke(&self, poke: Poke) {
        // A second tree over one environment would be a defect; the first one stays.
        let _ = self.poke.set(poke);
    }

    /// The function set by [`Shared::set_poke`].
    pub fn poke(&self) -> Poke {
        self.poke.get().cloned().unwrap_or_else(|| Arc::new(|_| {}))
    }

    /// Gives the node its log pipeline; set once, before the tree is built. Without one, output is only followed.
    pub fn set_pipeline(&self, pipeline: Arc<Pipeline>) {
        // A second one over the same spool would be a defect; the first one stays.
        let _ = self.pipeline.set(pipeline);
    }

    /// Says where log events go; set once, before the tree is built.
    pub fn set_routes(&self, routes: Arc<Routes>) {
        // A second one would be a defect; the first one stays.
        let _ = self.routes.set(routes);
    }

    /// Where log events go, of this node or of the nodes of this control host.
    pub fn routes(&self) -> Option<&Arc<Routes>> {
        self.routes.get()
    }

    /// The node's log pipeline.
    pub fn pipeline(&self) -> Option<Arc<Pipeline>> {
        self.pipeline.get().cloned()
    }

    /// The tree, once its first child begins; set by that child.
    pub fn set_tree(&self, tree: &Tree) {
        // A second incarnation of the first child finds it set.
        let _ = self.tree.set(tree.clone());
    }

    /// The tree that these actors live in.
    ///
    /// # Panics
    /// Never for an actor: the first child sets it before any other begins.
    pub fn tree(&self) -> &Tree {
        self.tree
            .get()
            .expect("the first child of the root has set the tree")
    }

    /// The actor at a path.
    pub fn actor<A: Child>(&self, path: &str) -> ActorRef<A> {
        self.tree().actor(path)
    }

    /// Sends a message and forgets it. Nobody there is no error: who is started later looks for itself.
    pub fn tell<A, M>(&self, path: &str, message: M)
    where
        A: Child + Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if let Some(tree) = self.tree.get()
            && let Err(error) = tree.actor::<A>(path).do_send(message)
        {
            tracing::trace!(path, %error, "message had no receiver");
        }
    }

    /// The supervisor at a path.
    pub fn supervisor(&self, path: &str) -> SupervisorRef {
        self.tree().supervisor(path)
    }

    /// All that is wanted is known: from now on what is not wanted may be removed.
    pub fn settle(&self) {
        self.settled.send_replace(true);
    }

    /// Wakes when [`Shared::settle`] is called.
    pub fn settled_signal(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// Whether [`Shared::settle`] was called.
    pub fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// The labels that mark this installation's containers.
    pub fn owner_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(
            labels::OWNER.to_owned(),
            self.settings.site.owner.to_string(),
        )])
    }

    /// Whether what may run only once may run here now: always next to the control host; on an agent, while
    /// its beats are answered.
    pub fn may_run_exclusive(&self) -> bool {
        if self.settings.role != "agent" {
            return true;
        }
        self.assigned.lease().may_start(self.clock.monotonic())
    }

    /// Resolves once the engine answers.
    pub async fn engine_up(&self) {
        let mut state = self.engine.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = state.wait_for(|s| matches!(s, EngineState::Up(_))).await;
    }

    /// Notes that a call found no engine; the engine actor notices and announces.
    pub fn engine_lost(&self, error: &RuntimeError) {
        let reason = error.to_string();
        self.engine.send_if_modified(|state| match state {
            EngineState::Down(_) => false,
            EngineState::Up(_) | EngineState::Unknown => {
                *state = EngineState::Down(reason);
                true
            }
        });
    }
}

/// One for all environments of this process: it keeps no connections, and making it reads the system's roots.
static PROBES: LazyLock<reqwest::Client> = LazyLock::new(probe_client);

fn probe_client() -> reqwest::Client {
    // A probe asks the instance itself, never a proxy; a redirect counts as healthy, so it is not followed.
    let builder = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0);
    builder
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap_or_default()
}
