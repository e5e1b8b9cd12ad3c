//! `lain sim --scale`: how long the control host takes to place very many instances, and to re-place those of very
//! many nodes that are lost at once; and how much memory that takes.
//!
//! In real time, with the real actors on this thread and the nodes on another one, so that the CPU time of this
//! thread is the control host's. The nodes say that whatever is assigned to them runs.

use super::control::{certificate, settings};
use crate::actors::control::handle::Handle;
use crate::actors::control::nodes::balance::Balance;
use crate::actors::control::nodes::listener;
use crate::actors::control::nodes::table::Presence;
use crate::actors::root;
use crate::actors::shared::Shared;
use crate::actors::supervise::{ChildSpec, Tree};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::Screen;
use crate::cli::output::document::Document;
use crate::cli::sim::SimArgs;
use crate::domain::id::{AppName, NodeName};
use crate::domain::record::{Placement, keys};
use crate::domain::view::DeployRequest;
use crate::drivers::memory::MemoryStore;
use crate::drivers::none::NoRuntime;
use crate::link::frame::split;
use crate::link::message::{ToAgent, ToControl};
use crate::ports::agent::NodeRecord;
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::control::{Caller, Control, Precondition};
use crate::ports::store::{Change, Store};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Nodes and instances where nothing else is said.
const DEFAULT: (u32, u32) = (1000, 100_000);
/// Instances of each app.
const APP: u32 = 100;
/// Bytes under way between the control host and a node.
const WINDOW: usize = 32 << 10;
/// Memory that an instance reserves, in MiB.
const MEMORY: u64 = 16;
/// How long each part may take.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often it is looked at how far it is.
const LOOK: Duration = Duration::from_millis(20);

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    nodes: u32,
    instances: u32,
    apps: u32,
    nodes_lost: u32,
    instances_lost: u32,
    /// From the first deploy until every instance had a node, durable.
    placed: Cost,
    /// From the first deploy until every instance was told to run.
    running: Cost,
    /// From the loss until every instance of the lost nodes had another node, durable.
    moved: Cost,
    /// From the loss until all of them ran there, as their nodes said.
    moved_running: Cost,
    /// Resident memory of the whole process at the end, in MiB; the simulated nodes are in it.
    resident_mib: u64,
    /// The most that it ever was.
    peak_mib: u64,
}

/// Real time, and CPU time of the control host's thread, in seconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    seconds: f64,
    cpu_seconds: f64,
}

/// Measures and prints.
///
/// # Errors
/// What went wrong.
pub fn run(args: &SimArgs, screen: &Screen) -> Result<Exit> {
    let nodes = args.nodes.unwrap_or(DEFAULT.0);
    let instances = args.instances.unwrap_or(DEFAULT.1);
    let measured = actix_rt::System::new()
        .block_on(measure(nodes, instances, screen))
        .map_err(CliError::failed)?;
    if !screen.is_table() {
        let document = Document::of(&measured).map_err(|e| CliError::failed(e.to_string()))?;
        screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    screen.line(&format!(
        "{} nodes, {} instances in {} apps; {} nodes with {} instances lost",
        measured.nodes,
        measured.instances,
        measured.apps,
        measured.nodes_lost,
        measured.instances_lost
    ))?;
    for (what, cost) in [
        ("all placed", measured.placed),
        ("all running", measured.running),
        ("lost ones re-placed", measured.moved),
        ("lost ones running", measured.moved_running),
    ] {
        screen.line(&format!(
            "{what:<20} {:>8.2} s, {:>8.2} s of the control host's CPU",
            cost.seconds, cost.cpu_seconds
        ))?;
    }
    screen.line(&format!(
        "memory               {} MiB resident, {} MiB at most",
        measured.resident_mib, measured.peak_mib
    ))?;
    Ok(Exit::Ok)
}

/// Since when something is measured.
struct Watch {
    begun: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn cost(&self) -> Cost {
        Cost {
            seconds: self.begun.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu,
        }
    }
}

/// CPU time of this thread.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanos.unwrap_or_default() / 1e9
}

/// A line of `/proc/self/status`, in MiB.
fn memory(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(field));
    let kib = line.and_then(|l| {
        l.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or_default() >> 10
}

struct Cluster {
    shared: Arc<Shared>,
    handle: Handle,
    tree: Tree,
    /// To the thread of the nodes.
    nodes: mpsc::UnboundedSender<Order>,
}

/// What the thread of the nodes is told.
enum Order {
    /// A node begins, with this connection.
    Begin(NodeName, DuplexStream, u32),
    /// A node loses its power: it says nothing any more, and its connection stays open.
    Lose(NodeName),
}

async fn measure(
    nodes: u32,
    instances: u32,
    screen: &Screen,
) -> std::result::Result<Measured, String> {
    let per_node = instances.div_ceil(nodes).max(1);
    let cluster = begin(nodes, per_node).await?;
    screen.note(&format!("{nodes} nodes are ready\n"));
    let apps = instances.div_ceil(APP);
    let watch = Watch::start();
    for number in 0..apps {
        let count = APP.min(instances - number * APP);
        deploy(&cluster.handle, number, count).await?;
    }
    let all = usize::try_from(instances).unwrap_or(usize::MAX);
    until(|| count(&cluster.shared, |_| true) >= all).await?;
    let placed = watch.cost();
    screen.note(&format!("all placed after {:.1} s\n", placed.seconds));
    until(|| running(&cluster.shared) >= all).await?;
    let running_cost = watch.cost();
    screen.note(&format!(
        "all running after {:.1} s\n",
        running_cost.seconds
    ));
    // What was begun comes to its end.
    until(|| {
        let apps = cluster.shared.world.apps();
        apps.iter().all(|(_, a)| a.record.operation.is_none())
    })
    .await?;
    let lost: Vec<NodeName> = cluster
        .shared
        .nodes
        .all()
        .iter()
        .map(|n| n.name.clone())
        .collect();
    let lost: Vec<NodeName> = lost
        .into_iter()
        .take(usize::try_from(nodes / 10).unwrap_or(1).max(1))
        .collect();
    let on_lost = || count(&cluster.shared, |p| lost.binary_search(&p.node).is_ok());
    let instances_lost = on_lost();
    let watch = Watch::start();
    for name in &lost {
        let told = cluster.nodes.send(Order::Lose(name.clone()));
        told.map_err(|_| "the nodes are gone".to_owned())?;
    }
    until(|| on_lost() == 0).await?;
    let moved = watch.cost();
    until(|| running(&cluster.shared) >= all).await?;
    let moved_running = watch.cost();
    let measured = Measured {
        nodes,
        instances,
        apps,
        nodes_lost: u32::try_from(lost.len()).unwrap_or(u32::MAX),
        instances_lost: u32::try_from(instances_lost).unwrap_or(u32::MAX),
        placed,
        running: running_cost,
        moved,
        moved_running,
        resident_mib: memory("VmRSS"),
        peak_mib: memory("VmHWM"),
    };
    cluster.tree.stop().await;
    Ok(measured)
}

/// Placements that are so; copies none.
fn count(shared: &Shared, so: impl Fn(&Placement) -> bool) -> usize {
    let mut found = 0;
    for (app, _) in shared.world.apps() {
        let world = &shared.world;
        world.each_placement(&app, |placement, _| found += usize::from(so(placement)));
    }
    found
}

fn running(shared: &Shared) -> usize {
    let all = shared.node.all();
    let runs = |c: &&Arc<crate::actors::agent::cell::ContainerCell>| c.look(|o| o.is_ready());
    all.iter().filter(runs).count()
}

async fn until(mut done: impl FnMut() -> bool) -> std::result::Result<(), String> {
    let begun = Instant::now();
    // Looking costs CPU of the thread that is measured: the more there is, the more seldom.
    let mut pause = LOOK;
    loop {
        let looked = Instant::now();
        if done() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("not done within {} s", PATIENCE.as_secs()));
        }
        pause = pause.max(looked.elapsed() * 50).min(Duration::from_secs(1));
        tokio::time::sleep(pause).await;
    }
}

async fn begin(nodes: u32, per_node: u32) -> std::result::Result<Cluster, String> {
    let store = Arc::new(MemoryStore::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let names: Vec<NodeName> = (1..=nodes)
        .filter_map(|n| NodeName::new(format!("n{n:05}")).ok())
        .collect();
    let mut changes = Vec::new();
    for name in &names {
        let record = NodeRecord {
            name: name.clone(),
            labels: BTreeMap::new(),
            cordoned: None,
            draining: false,
            joined_at: clock.now_utc(),
            certificates: vec![certificate(name)],
            facts: None,
        };
        let json = serde_json::to_vec(&record).map_err(|e| e.to_string())?;
        changes.push(Change::Put(keys::node(name), json));
    }
    let joined = store.transact(Vec::new(), changes).await;
    joined.map_err(|e| e.to_string())?;
    let control = NodeName::new("control").map_err(|e| e.to_string())?;
    let shared = Shared::new(store, Arc::new(NoRuntime), clock, settings(&control));
    let hosts = root::Hosts {
        local: false,
        listener: None,
    };
    let tree = root::start(&shared, hosts, crate::actors::no_web::spec);
    let tree = tree.await.map_err(|e| e.to_string())?;
    let balance = ChildSpec::worker::<Balance>("balance", Arc::clone(&shared));
    let begun = tree.supervisor("nodes").start_child(balance).await;
    begun.map_err(|e| e.to_string())?;
    shared.settle();
    let orders = nodes_on_a_thread();
    for name in names {
        let (ours, theirs) = tokio::io::duplex(WINDOW);
        let told = orders.send(Order::Begin(name.clone(), theirs, per_node));
        told.map_err(|_| "the nodes are gone".to_owned())?;
        let shared = Arc::clone(&shared);
        actix_rt::spawn(async move {
            let (mut receiver, sender) = split::<ToControl, ToAgent>(ours);
            if let Ok(Some(hello @ ToControl::Hello { .. })) = receiver.next().await {
                let certificate = Some(certificate(&name));
                let attached = listener::attach(&shared, certificate, hello, receiver, sender);
                if let Err(reason) = attached.await {
                    tracing::warn!(%name, reason, "a node was refused");
                }
            }
        });
    }
    until(|| {
        let all = shared.nodes.all();
        all.iter().all(|n| n.presence() == Presence::Up)
    })
    .await?;
    Ok(Cluster {
        handle: Handle::new(Arc::clone(&shared)),
        shared,
        tree,
        nodes: orders,
    })
}

async fn deploy(handle: &Handle, number: u32, count: u32) -> std::result::Result<(), String> {
    let app = AppName::new(format!("app{number}")).map_err(|e| e.to_string())?;
    let request = DeployRequest {
        lain_yaml: format!(
            "appname: {app}\nweb:\n  image: web:1\n  cmd: serve\n  port: 80\n  memory: {MEMORY}m\n  num_instances: {count}\n"
        ),
        file_name: "lain.yaml".to_owned(),
        meta_version: None,
        image: None,
        canary: None,
    };
    let caller = Caller {
        name: "operator".to_owned(),
        from: "127.0.0.1".to_owned(),
    };
    let asked = handle.deploy(&app, request, Precondition::Any, false, caller);
    asked.await.map(drop).map_err(|e| e.to_string())
}

/// The nodes, all on one thread of their own; it ends when nobody is left to order anything.
fn nodes_on_a_thread() -> mpsc::UnboundedSender<Order> {
    let (sender, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let mut all = BTreeMap::new();
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Begin(name, wire, per_node) => {
                        let of = name.clone();
                        let lost = Arc::new(tokio::sync::Notify::new());
                        all.insert(name, Arc::clone(&lost));
                        actix_rt::spawn(super::scale_node::live(of, wire, per_node, MEMORY, lost));
                    }
                    Order::Lose(name) => {
                        if let Some(lost) = all.get(&name) {
                            lost.notify_one();
                        }
                    }
                }
            }
        });
    });
    sender
}
