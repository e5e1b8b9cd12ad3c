//! The control host under test: the real actors over a store, a network and clocks that are simulated.

use super::Plant;
use super::clock::SimClock;
use super::store::{Disk, SimStore};
use super::truth::{Ground, Invariant};
use super::wire::{End, Net};
use crate::actors::control::handle::Handle;
use crate::actors::control::nodes::balance::Balance;
use crate::actors::control::nodes::listener;
use crate::actors::control::render::Site;
use crate::actors::no_web;
use crate::actors::root;
use crate::actors::shared::{Settings, Shared};
use crate::actors::supervise::{ChildSpec, ExitReason, Tree};
use crate::domain::id::NodeName;
use crate::domain::view::EventView;
use crate::drivers::none::NoRuntime;
use crate::link::frame::split;
use crate::link::message::{ToAgent, ToControl};
use crate::ports::control::EventStream;
use futures_util::StreamExt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long a stranger may take to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// The pause before a control host that could not start is started again, as systemd would.
const AGAIN: Duration = Duration::from_millis(500);

/// What outlives a control host, and what it is made from.
#[derive(Clone)]
pub struct Home {
    /// The store.
    pub disk: Arc<Disk>,
    /// The network.
    pub net: Net,
    /// Its clocks.
    pub clock: Arc<SimClock>,
    /// The truth that it reports to.
    pub ground: Ground,
    /// A bug to be found.
    pub plant: Option<Plant>,
}

/// A running control host.
pub struct ControlHost {
    /// The environment of its actors.
    pub shared: Arc<Shared>,
    /// Its API.
    pub handle: Arc<Handle>,
    tree: Tree,
    alive: Arc<AtomicBool>,
    work: Vec<JoinHandle<()>>,
    net: Net,
    ground: Ground,
}

/// What the configuration of a simulated control host says: the defaults, but that what was given up is tried again
/// soon, so that a schedule need not wait for minutes.
pub fn settings(name: &NodeName) -> Settings {
    Settings {
        role: "server",
        node: name.clone(),
        site: Site {
            owner: "simulation".into(),
            domain: "lain.local".into(),
            volumes: "/volumes".to_owned(),
            cpus: 4,
            publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
            registry: String::new(),
        },
        port_range: (20_000, 29_999),
        reconcile_every: Duration::from_secs(30),
        degraded_retry: Duration::from_secs(2),
        degraded_retry_max: Duration::from_secs(5),
        recovered_after: Duration::from_secs(5),
        crashes_kept: 1000,
        concurrent_starts: 8,
        freeze_spares: false,
        data_dir: std::env::temp_dir(),
        lease: Default::default(),
        rebalance_after: Duration::ZERO,
        policy: Default::default(),
        revisions_kept: 10,
    }
}

impl ControlHost {
    /// Starts one; tried again until it starts.
    pub async fn start(site: &Home, name: &NodeName) -> Self {
        loop {
            match Self::try_start(site, name).await {
                Ok(host) => return host,
                Err(reason) => {
                    site.ground
                        .note(format!("the control host cannot start: {reason}"));
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn try_start(site: &Home, name: &NodeName) -> Result<Self, ExitReason> {
        let alive = Arc::new(AtomicBool::new(true));
        let store = SimStore::new(Arc::clone(&site.disk), Arc::clone(&alive));
        let shared = Shared::new(
            Arc::new(store),
            Arc::new(NoRuntime),
            site.clock.clone(),
            settings(name),
        );
        let telling = tell(&shared, site.ground.clone());
        let hosts = root::Hosts {
            local: false,
            listener: None,
        };
        let tree = root::start(&shared, hosts, no_web::spec).await;
        let tree = match tree {
            Ok(tree) => tree,
            Err(reason) => {
                alive.store(false, Ordering::Release);
                telling.abort();
                return Err(reason);
            }
        };
        let balance = ChildSpec::worker::<Balance>("balance", Arc::clone(&shared));
        tree.supervisor("nodes")
            .start_child(balance)
            .await
            .map_err(|e| ExitReason::Error(e.to_string()))?;
        shared.settle();
        let accepting = actix_rt::spawn(accept(Arc::clone(&shared), site.net.listen()));
        site.ground.note("the control host is up");
        site.ground.with(super::truth::Truth::control_is_back);
        let mut host = Self {
            handle: Arc::new(Handle::new(Arc::clone(&shared))),
            shared,
            tree,
            alive,
            work: vec![telling, accepting],
            net: site.net.clone(),
            ground: site.ground.clone(),
        };
        if site.plant == Some(Plant::ResumeRestarts) {
            host.work
                .push(actix_rt::spawn(restart_all(Arc::clone(&host.shared))));
        }
        Ok(host)
    }

    /// Ends it as SIGKILL would: nothing of it says farewell, and nothing that it had begun goes on.
    pub async fn kill(&self) {
        self.ground.note("the control host is killed");
        self.ground.with(super::truth::Truth::control_is_away);
        self.alive.store(false, Ordering::Release);
        self.net.close();
        for work in &self.work {
            work.abort();
        }
        self.tree.kill("");
        self.tree.wait().await;
    }

    /// Whether its tree still stands.
    pub fn has_ended(&self) -> bool {
        self.tree.has_ended()
    }
}

/// A planted bug: whatever runs is restarted once its control host is there again.
async fn restart_all(shared: Arc<Shared>) {
    // Once nothing excuses it any more.
    tokio::time::sleep(Duration::from_secs(20)).await;
    for cell in shared.node.all() {
        crate::actors::agent::node::restart(&shared, &cell, "a planted bug");
    }
}

/// Writes what happens into the trace.
fn tell(shared: &Arc<Shared>, ground: Ground) -> JoinHandle<()> {
    let stream = shared.hub.subscribe(None);
    actix_rt::spawn(async move {
        let EventStream::Events(mut events) = stream else {
            return;
        };
        while let Some(event) = events.next().await {
            ground.with(|truth| {
                if event.kind == "actor_crashed" && event.message.contains("panic") {
                    truth.violated(Invariant::NoPanic, event.message.clone());
                }
                if let Some(line) = line(&event) {
                    truth.trace.note(line);
                }
            });
        }
    })
}

/// An event as the trace has it; the times that actors took are real, and left out.
fn line(event: &EventView) -> Option<String> {
    match event.kind.as_str() {
        "actor_crashed" | "actor_start_failed" | "actor_gave_up" => {
            Some(format!("control: {} {}", event.kind, event.message))
        }
        kind if kind.starts_with("actor_") => None,
        kind => Some(format!("control: {kind}: {}", event.message)),
    }
}

async fn accept(shared: Arc<Shared>, mut listening: mpsc::UnboundedReceiver<(NodeName, End)>) {
    while let Some((node, end)) = listening.recv().await {
        let shared = Arc::clone(&shared);
        actix_rt::spawn(async move {
            // Who is refused is told so, and tries again.
            let _ = tokio::time::timeout(GREETING, greet(&shared, node, end)).await;
        });
    }
}

/// As the listener greets, without TLS: the node's name stands for its certificate.
async fn greet(shared: &Arc<Shared>, node: NodeName, end: End) -> Result<(), String> {
    let (mut receiver, sender) = split::<ToControl, ToAgent>(end);
    match receiver.next().await.map_err(|e| e.to_string())? {
        Some(hello @ ToControl::Hello { .. }) => {
            let certificate = Some(certificate(&node));
            listener::attach(shared, certificate, hello, receiver, sender).await
        }
        _ => Err("no greeting".to_owned()),
    }
}

/// What stands for the fingerprint of a node's certificate.
pub fn certificate(node: &NodeName) -> String {
    format!("sim:{node}")
}
