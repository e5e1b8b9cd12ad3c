//! Which node an instance goes to: from the mirrors to `domain::placement`, and its answer back.
//!
//! Called by rollouts (new instances), by `instance` actors (nodes that are lost or gave up) and by drains.
//! Decisions are made one after another: what one decided, the next one reckons with.

use crate::actors::agent::cell::ContainerCell;
use crate::actors::control::evict::Eviction;
use crate::actors::control::kept;
use crate::actors::control::nodes::table::{Node, Presence};
use crate::actors::control::render::{self, Site};
use crate::actors::shared::{EngineState, Shared};
use crate::domain::id::{AppName, InstanceId, NodeName};
use crate::domain::labels;
use crate::domain::placement::{
    Cluster, Decision, Demand, Group, Needs, NodeFacts, Placed, Rejections,
};
use crate::domain::record::{AppRecord, Placement};
use crate::domain::spec::model::ProcSpec;
use crate::ports::control::ControlError;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// What one level of `cpu` reserves, in thousandths of a core. LAIN's levels are eighths of half a node;
/// a node of two cores is the measure. A proc that names no level reserves no CPU, only shares it.
const CPU_OF_LEVEL: u64 = 125;

/// Memory of a node that has not said how much it has, in bytes.
const UNKNOWN: u64 = 1 << 50;

/// A node as placement sees it; `None` while it has not said how large it is.
pub fn facts_of(shared: &Shared, node: &Node) -> Option<NodeFacts> {
    if node.local {
        let (cpus, memory) = match &*shared.engine.borrow() {
            EngineState::Up(info) => (info.cpus, info.memory),
            // Its size is not known yet, and it is all there is: the engine decides.
            EngineState::Down(_) | EngineState::Unknown => (shared.settings.site.cpus, UNKNOWN),
        };
        return Some(NodeFacts {
            name: node.name.clone(),
            state: node.state(),
            cpu_millis: u64::from(cpus) * 1000,
            memory,
            labels: node.record().all_labels(),
        });
    }
    let facts = node.facts()?;
    Some(NodeFacts {
        name: node.name.clone(),
        state: node.state(),
        cpu_millis: u64::from(facts.cpus) * 1000,
        memory: facts.memory,
        labels: node.record().all_labels(),
    })
}

/// What the instances of a proc need.
pub fn needs(app: &AppName, proc: &ProcSpec) -> Needs {
    let group = Group {
        app: app.clone(),
        proc_type: proc.proc_type,
        proc: proc.name.clone(),
    };
    let cpu = u64::from(proc.cpu) * CPU_OF_LEVEL;
    Needs {
        filters: proc.filters.clone(),
        labels: proc.labels.clone(),
        image: proc.image.clone(),
        stateful: proc.stateful || !proc.volumes.is_empty(),
        exclusive: proc.exclusive,
        priority: proc.priority,
        anti_affinity: proc.anti_affinity,
        ..Needs::new(group, cpu, proc.memory)
    }
}

/// The needs of each proc of each app as placements were made, so that equal ones are shared.
#[derive(Default)]
pub struct KnownNeeds(HashMap<(Group, u32, u64), Arc<Needs>>);

impl KnownNeeds {
    fn of(&mut self, record: Option<&AppRecord>, placement: &Placement) -> Arc<Needs> {
        let group = Group::of(&placement.instance);
        let (cpu, memory) = placement.resources;
        let known = self.0.entry((group.clone(), cpu, memory));
        let fresh = || {
            let proc = record.and_then(|r| r.proc(&placement.instance.proc));
            let needs = match proc {
                Some(proc) => Needs {
                    cpu_millis: u64::from(cpu) * CPU_OF_LEVEL,
                    memory,
                    ..needs(&placement.instance.app, &proc)
                },
                None => Needs::new(group, u64::from(cpu) * CPU_OF_LEVEL, memory),
            };
            Arc::new(needs)
        };
        Arc::clone(known.or_insert_with(fresh))
    }
}

/// The cluster as placement sees it now.
pub fn cluster(shared: &Shared) -> Cluster {
    let nodes = shared.nodes.all();
    let facts: Vec<NodeFacts> = nodes.iter().filter_map(|n| facts_of(shared, n)).collect();
    let records: BTreeMap<AppName, Arc<AppRecord>> = shared
        .world
        .apps()
        .into_iter()
        .map(|(name, app)| (name, app.record))
        .collect();
    let mut known = KnownNeeds::default();
    let mut placed = Vec::new();
    for placement in shared.world.all_placements() {
        let record = records.get(&placement.instance.app).map(|r| &**r);
        placed.extend(placed_of(shared, record, &placement, &mut known));
    }
    Cluster::new(shared.settings.policy.clone(), facts, placed)
}

/// What an instance takes up: its own place, and where it is being tried elsewhere.
pub fn placed_of(
    shared: &Shared,
    record: Option<&AppRecord>,
    placement: &Placement,
    known: &mut KnownNeeds,
) -> Vec<Placed> {
    let needs = known.of(record, placement);
    let cells = shared.node.of(&placement.instance);
    let name = render::name_of(placement);
    // What is being tried elsewhere has its place there, and serves once it is ready.
    let tried = cells
        .iter()
        .filter(|c| c.name() != name && c.node() != &placement.node);
    let mut placed: Vec<Placed> = tried
        .filter_map(|cell| {
            let drift = drift_of(cell).filter(|drift| *drift > placement.drift)?;
            let mut demand = demand_of(placement, Arc::clone(&needs));
            (demand.version, demand.drift) = (cell.assignment.version, drift);
            Some(Placed {
                demand,
                available: cell.look(|o| o.is_ready()),
                node: cell.node().clone(),
            })
        })
        .collect();
    if placement.evicted {
        // Its place is another one's.
        return placed;
    }
    let own = cells.iter().find(|c| c.name() == name);
    let idle = !is_to_run(record, placement);
    placed.push(Placed {
        demand: demand_of(placement, needs),
        available: idle || own.is_some_and(|c| c.look(|o| o.is_ready())),
        node: placement.node.clone(),
    });
    placed
}

/// LAIN's drift count of a container.
fn drift_of(cell: &ContainerCell) -> Option<u64> {
    let labels = &cell.assignment.container.labels;
    labels.get(labels::DRIFT)?.parse().ok()
}

/// Whether an instance is to serve: one that was stopped, has ended, or whose turn has not come is missed by
/// nobody.
pub fn is_to_run(record: Option<&AppRecord>, placement: &Placement) -> bool {
    let id = &placement.instance;
    let stopped = record.is_some_and(|r| r.is_stopped(&id.full_name(), id.no));
    !stopped && placement.finished.is_none() && !placement.waits
}

/// A placed instance as a demand.
pub fn demand_of(placement: &Placement, needs: Arc<Needs>) -> Demand {
    let mut demand = Demand::new(needs, placement.instance.no, placement.version);
    demand.drift = placement.drift;
    demand.avoid = placement.failed_on.iter().cloned().collect();
    demand
}

/// Nodes for new instances, in their order, and who has to leave for them.
///
/// # Errors
/// A sentence for the first one that no node takes, with each node's reason.
pub fn place_new(
    shared: &Shared,
    wanted: &[(InstanceId, Arc<ProcSpec>, u64)],
) -> Result<(Vec<Arc<Node>>, Vec<Eviction>), String> {
    let mut known: HashMap<Group, Arc<Needs>> = HashMap::new();
    let demands: Vec<Demand> = wanted
        .iter()
        .map(|(id, proc, version)| {
            let needs = known
                .entry(Group::of(id))
                .or_insert_with(|| Arc::new(needs(&id.app, proc)));
            Demand::new(Arc::clone(needs), id.no, *version)
        })
        .collect();
    let decisions = kept::decide(shared, &demands, |cluster| cluster.place(&demands));
    let mut nodes = Vec::with_capacity(decisions.len());
    let mut evictions = Vec::new();
    for ((id, ..), decision) in wanted.iter().zip(decisions) {
        let (node, evicts) = node_of(shared, id, &decision)?;
        nodes.push(node);
        evictions.extend(evicts);
    }
    Ok((nodes, evictions))
}

/// Another node for an instance whose node is lost, chosen together with all others that were there, so that they
/// do not get into each other's way.
///
/// # Errors
/// A sentence with each node's reason, or that it waits for its node.
pub fn place_lost(
    shared: &Shared,
    record: &AppRecord,
    placement: &Placement,
) -> Result<(Arc<Node>, Vec<Eviction>), String> {
    let id = &placement.instance;
    match kept::of_lost(shared, placement) {
        kept::OfLost::Stays => {
            let node = &placement.node;
            Err(format!("its data is on node {node}, which is down"))
        }
        // It was on its way elsewhere, or its node is gone from the cluster.
        kept::OfLost::NotThere => place_again(shared, record, placement),
        kept::OfLost::Decided(decision) => node_of(shared, id, &decision),
    }
}

/// Another node for an instance that cannot stay where it is.
///
/// # Errors
/// A sentence with each node's reason.
pub fn place_again(
    shared: &Shared,
    record: &AppRecord,
    placement: &Placement,
) -> Result<(Arc<Node>, Vec<Eviction>), String> {
    let proc = record
        .proc(&placement.instance.proc)
        .ok_or_else(|| format!("proc {} is gone", placement.instance.proc))?;
    let needs = Arc::new(needs(&placement.instance.app, &proc));
    let mut demand = demand_of(placement, needs);
    let before = demand.copy();
    demand.drift += 1;
    demand.avoid.entry(placement.node.clone()).or_insert(1);
    let demands = [demand];
    let decided = kept::decide(shared, &demands, |cluster| {
        cluster.remove(&before);
        cluster.place(&demands)
    });
    let decision = decided.into_iter().next();
    let decision = decision.unwrap_or_else(|| Decision::Nowhere(Arc::new(Rejections::default())));
    node_of(shared, &placement.instance, &decision)
}

/// Why each node does or does not take an instance, for `lain why`.
pub fn rejections(shared: &Shared, record: &AppRecord, placement: &Placement) -> Rejections {
    let mut cluster = cluster(shared);
    let proc = record.proc(&placement.instance.proc);
    let needs = proc.map(|p| Arc::new(needs(&placement.instance.app, &p)));
    match needs {
        Some(needs) => {
            let demand = demand_of(placement, needs);
            cluster.remove(&demand.copy());
            cluster.rejections(&demand)
        }
        None => Rejections::default(),
    }
}

fn node_of(
    shared: &Shared,
    id: &InstanceId,
    decision: &Decision,
) -> Result<(Arc<Node>, Vec<Eviction>), String> {
    match decision {
        Decision::Place { node, evicts, .. } => {
            let node = shared.nodes.get(node);
            let node = node.ok_or_else(|| format!("the node of {id} is gone"))?;
            let evictions = evicts.iter().map(|copy| Eviction {
                victim: copy.instance.clone(),
                by: id.clone(),
            });
            Ok((node, evictions.collect()))
        }
        Decision::Nowhere(why) => Err(format!("no node takes {id}: {why}")),
    }
}

/// What goes into containers on a node.
pub fn site_of(shared: &Shared, node: &NodeName) -> Site {
    let site = shared.settings.site.clone();
    match shared
        .nodes
        .get(node)
        .filter(|n| !n.local)
        .and_then(|n| n.facts())
    {
        Some(facts) => Site {
            volumes: facts.volumes.clone(),
            cpus: facts.cpus,
            publish: facts.publish,
            ..site
        },
        None => site,
    }
}

/// Where clients reach what is published on a node.
pub fn address_of(shared: &Shared, node: &NodeName) -> Option<IpAddr> {
    let node = shared.nodes.get(node).filter(|n| !n.local)?;
    node.facts().map(|f| f.address)
}

/// The host ports that may be published on a node.
pub fn ports_of(shared: &Shared, node: &Node) -> (u16, u16) {
    match node.facts().filter(|_| !node.local) {
        Some(facts) => facts.ports,
        None => shared.settings.port_range,
    }
}

/// A node for a one-off container: where one of the proc's instances is, else as for a new instance.
///
/// # Errors
/// [`ControlError::Conflict`] when no node takes it.
pub fn node_for_one_off(
    shared: &Shared,
    app: &AppName,
    proc: &ProcSpec,
) -> Result<NodeName, ControlError> {
    let placed = shared.world.placements(app);
    let near = placed.iter().find(|p| p.instance.proc == proc.name);
    let up = near.and_then(|p| shared.nodes.get(&p.node));
    if let Some(node) = up.filter(|n| n.presence() == Presence::Up) {
        return Ok(node.name.clone());
    }
    let id = InstanceId {
        app: app.clone(),
        proc_type: proc.proc_type,
        proc: proc.name.clone(),
        no: 0,
    };
    let chosen =
        place_new(shared, &[(id, Arc::new(proc.clone()), 0)]).map_err(ControlError::Conflict)?;
    let (nodes, evictions) = chosen;
    if let Some(Eviction { victim, .. }) = evictions.first() {
        // Who runs something by hand has no priority over what serves.
        let why = format!("no node has room for it, unless {victim} leaves");
        return Err(ControlError::Conflict(why));
    }
    let node = nodes.first().map(|n| n.name.clone());
    node.ok_or_else(|| ControlError::Conflict("there is no node".to_owned()))
}
