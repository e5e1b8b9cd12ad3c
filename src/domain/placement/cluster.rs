//! The cluster as placement sees it: nodes, what is placed on them, and running totals of both.
//!
//! Kept by the control actors and fed by every change, or made anew from facts: the same facts give the
//! same decisions whatever the order in which they came.

use crate::domain::id::{InstanceId, NodeName};
use crate::domain::placement::model::{CopyId, Demand, Group, Needs, NodeFacts, Placed, Policy};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What an instance weighs at least when loads are compared, so that instances that reserve nothing are
/// spread too: thousandths of a core.
const MIN_WEIGHT_CPU: u64 = 10;
/// As [`MIN_WEIGHT_CPU`], in bytes.
const MIN_WEIGHT_MEMORY: u64 = 16 << 20;
/// Loads are in millionths of a node's capacity.
pub(super) const FULL: u64 = 1_000_000;

/// Nodes and placements, with running totals.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    pub(super) policy: Policy,
    /// By name: a node's index is its rank.
    pub(super) nodes: Vec<Node>,
    pub(super) groups: Vec<GroupState>,
    ids: BTreeMap<Group, u32>,
    /// The copies of an instance, by version and drift: the last is the live one, which others compare with.
    copies: HashMap<Instance, Vec<Held>>,
}

/// An instance by its group's index and its number.
pub(super) type Instance = (u32, u32);

/// A node and its totals.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub facts: NodeFacts,
    pub used_cpu: u64,
    pub used_memory: u64,
    /// What live copies weigh.
    weight: Weight,
    /// Millionths of the node for each thousandth of a core, and for each byte.
    per_cpu: f64,
    per_memory: f64,
    /// The copies on it.
    pub copies: BTreeSet<(u32, u32, u64, u64)>,
}

/// What a copy adds to a node's load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    cpu: u64,
    memory: u64,
}

impl Weight {
    pub fn of(needs: &Needs) -> Self {
        Self {
            cpu: needs.cpu_millis.max(MIN_WEIGHT_CPU),
            memory: needs.memory.max(MIN_WEIGHT_MEMORY),
        }
    }
}

/// A group's totals.
#[derive(Debug, Clone)]
pub(super) struct GroupState {
    pub group: Group,
    /// Live copies by node index.
    pub peers: BTreeMap<usize, u32>,
    /// Live copies that do not serve.
    pub waiting: u32,
}

/// A copy and where it is.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub demand: Demand,
    pub node: usize,
    pub available: bool,
}

impl Held {
    fn age(&self) -> (u64, u64) {
        (self.demand.version, self.demand.drift)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "loads are compared, not added up; amounts are far below 2^52 of their units"
)]
impl Node {
    fn new(facts: NodeFacts) -> Self {
        let mut node = Self {
            used_cpu: 0,
            used_memory: 0,
            weight: Weight::default(),
            per_cpu: 0.0,
            per_memory: 0.0,
            copies: BTreeSet::new(),
            facts,
        };
        node.measure();
        node
    }

    fn measure(&mut self) {
        self.per_cpu = FULL as f64 / self.facts.cpu_millis.max(1) as f64;
        self.per_memory = FULL as f64 / self.facts.memory.max(1) as f64;
    }

    /// The load with `added` on top: of CPU or of memory, whichever is the larger part of the node.
    pub fn load_with(&self, added: Weight) -> u64 {
        let cpu = (self.weight.cpu + added.cpu) as f64 * self.per_cpu;
        let memory = (self.weight.memory + added.memory) as f64 * self.per_memory;
        cpu.max(memory) as u64
    }

    pub fn load(&self) -> u64 {
        self.load_with(Weight::default())
    }

    /// CPU and memory that are not reserved; none where it is over-committed.
    pub fn free(&self) -> (u64, u64) {
        match self.facts.cpu_millis.checked_sub(self.used_cpu) {
            Some(cpu) => (cpu, self.facts.memory.saturating_sub(self.used_memory)),
            None => (0, 0),
        }
    }

    /// Whether there is room; never on top of what is over-committed already.
    pub fn fits(&self, needs: &Needs) -> bool {
        self.used_cpu.saturating_add(needs.cpu_millis) <= self.facts.cpu_millis
            && self.used_memory.saturating_add(needs.memory) <= self.facts.memory
    }
}

impl Cluster {
    /// A cluster from facts. Placements on nodes that are not there are left out.
    pub fn new(
        policy: Policy,
        nodes: impl IntoIterator<Item = NodeFacts>,
        placed: impl IntoIterator<Item = Placed>,
    ) -> Self {
        let mut nodes: Vec<Node> = nodes.into_iter().map(Node::new).collect();
        nodes.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
        nodes.dedup_by(|a, b| a.facts.name == b.facts.name);
        let mut cluster = Self {
            policy,
            nodes,
            groups: Vec::new(),
            ids: BTreeMap::new(),
            copies: HashMap::new(),
        };
        for placed in placed {
            cluster.put(placed);
        }
        cluster
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Changes the rules for later decisions.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeFacts> {
        self.nodes.iter().map(|n| &n.facts)
    }

    /// CPU (thousandths of a core) and memory (bytes) that are reserved on a node.
    pub fn reserved(&self, node: &NodeName) -> Option<(u64, u64)> {
        let node = &self.nodes[self.rank(node)?];
        Some((node.used_cpu, node.used_memory))
    }

    /// How many copies are placed.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|n| n.copies.len()).sum()
    }

    /// Whether nothing is placed.
    pub fn is_empty(&self) -> bool {
        self.nodes.iter().all(|n| n.copies.is_empty())
    }

    /// Adds a node, or changes what is known of it. A new node costs a pass over all placements.
    pub fn set_node(&mut self, facts: NodeFacts) {
        if let Some(rank) = self.rank(&facts.name) {
            let node = &mut self.nodes[rank];
            node.facts = facts;
            node.measure();
            return;
        }
        let placed = self.placed();
        let nodes = self.nodes.drain(..).map(|n| n.facts);
        let nodes: Vec<NodeFacts> = nodes.chain(std::iter::once(facts)).collect();
        *self = Self::new(self.policy.clone(), nodes, placed);
    }

    /// Forgets a node and what is placed on it, which is returned.
    pub fn remove_node(&mut self, name: &NodeName) -> Vec<Placed> {
        let gone = self.on(name);
        let placed = self.placed().into_iter().filter(|p| &p.node != name);
        let placed: Vec<Placed> = placed.collect();
        let nodes = self.nodes.drain(..).map(|n| n.facts);
        let nodes: Vec<NodeFacts> = nodes.filter(|f| &f.name != name).collect();
        *self = Self::new(self.policy.clone(), nodes, placed);
        gone
    }

    /// Adds a placement, or changes it; `false` when its node is not there.
    pub fn put(&mut self, placed: Placed) -> bool {
        let Some(node) = self.rank(&placed.node) else {
            return false;
        };
        self.hold(Held {
            demand: placed.demand,
            node,
            available: placed.available,
        });
        true
    }

    /// Removes a placement.
    pub fn remove(&mut self, copy: &CopyId) -> Option<Placed> {
        let group = *self.ids.get(&Group::of(&copy.instance))?;
        let held = self.release((group, copy.instance.no), (copy.version, copy.drift))?;
        Some(self.placed_of(held))
    }

    /// Removes every copy of an instance.
    pub fn remove_instance(&mut self, id: &InstanceId) {
        let Some(group) = self.known_group(&Group::of(id)) else {
            return;
        };
        let instance = (group, id.no);
        while let Some(age) = self.live(instance).map(Held::age) {
            self.release(instance, age);
        }
    }

    /// Whether a node is there.
    pub fn has_node(&self, name: &NodeName) -> bool {
        self.rank(name).is_some()
    }

    /// Notes whether a copy serves; `false` when it is not placed.
    pub fn set_available(&mut self, copy: &CopyId, available: bool) -> bool {
        let Some(mut placed) = self.get(copy) else {
            return false;
        };
        placed.available = available;
        self.put(placed)
    }

    /// A placement.
    pub fn get(&self, copy: &CopyId) -> Option<Placed> {
        let group = *self.ids.get(&Group::of(&copy.instance))?;
        let copies = self.copies.get(&(group, copy.instance.no))?;
        let held = copies
            .iter()
            .find(|h| h.age() == (copy.version, copy.drift))?;
        Some(self.placed_of(held.clone()))
    }

    /// What is placed on a node, by instance.
    pub fn on(&self, node: &NodeName) -> Vec<Placed> {
        let Some(rank) = self.rank(node) else {
            return Vec::new();
        };
        let mut all: Vec<Placed> = self
            .copies_on(rank)
            .map(|held| self.placed_of(held.clone()))
            .collect();
        all.sort_by(|a, b| order(&a.demand).cmp(&order(&b.demand)));
        all
    }

    /// All placements, by node.
    pub fn placed(&self) -> Vec<Placed> {
        self.nodes
            .iter()
            .flat_map(|n| self.on(&n.facts.name))
            .collect()
    }

    pub(super) fn rank(&self, node: &NodeName) -> Option<usize> {
        self.nodes.binary_search_by(|n| n.facts.name.cmp(node)).ok()
    }

    /// The index of a group, made where it is new.
    pub(super) fn group_id(&mut self, group: &Group) -> u32 {
        if let Some(id) = self.ids.get(group) {
            return *id;
        }
        let id = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.groups.push(GroupState {
            group: group.clone(),
            peers: BTreeMap::new(),
            waiting: 0,
        });
        self.ids.insert(group.clone(), id);
        id
    }

    /// The index of a group that has been seen.
    pub(super) fn known_group(&self, group: &Group) -> Option<u32> {
        self.ids.get(group).copied()
    }

    /// The live copy of an instance.
    pub(super) fn live(&self, instance: Instance) -> Option<&Held> {
        self.copies.get(&instance)?.last()
    }

    /// The copies on a node, in no order that means anything.
    pub(super) fn copies_on(&self, rank: usize) -> impl Iterator<Item = &Held> + Clone {
        self.nodes[rank]
            .copies
            .iter()
            .filter_map(|&(group, no, version, drift)| {
                let copies = self.copies.get(&(group, no))?;
                copies.iter().find(|h| h.age() == (version, drift))
            })
    }

    /// The live copies on a node, in the order of their names.
    pub(super) fn live_on(&self, rank: usize) -> Vec<(Instance, &Held)> {
        let copies = self.nodes[rank].copies.iter();
        let mut live: Vec<(Instance, &Held)> = copies
            .filter_map(|&(group, no, version, drift)| {
                let held = self.live((group, no))?;
                (held.age() == (version, drift)).then_some(((group, no), held))
            })
            .collect();
        live.sort_by(|a, b| order(&a.1.demand).cmp(&order(&b.1.demand)));
        live
    }

    /// The live copies of one group on a node, by number.
    pub(super) fn live_of(&self, rank: usize, group: u32) -> impl Iterator<Item = &Held> {
        let all = (group, 0, 0, 0)..=(group, u32::MAX, u64::MAX, u64::MAX);
        let copies = self.nodes[rank].copies.range(all);
        copies.filter_map(|&(group, no, version, drift)| {
            let held = self.live((group, no))?;
            (held.age() == (version, drift)).then_some(held)
        })
    }

    /// Every instance's copies, in no order that means anything.
    pub(super) fn all_copies(&self) -> &HashMap<Instance, Vec<Held>> {
        &self.copies
    }

    /// Adds a copy, in place of one of the same name.
    pub(super) fn hold(&mut self, held: Held) {
        let group = self.group_id(&held.demand.needs.group);
        let instance = (group, held.demand.no);
        self.release(instance, held.age());
        let (age, rank) = (held.age(), held.node);
        let node = &mut self.nodes[rank];
        node.used_cpu += held.demand.needs.cpu_millis;
        node.used_memory += held.demand.needs.memory;
        node.copies.insert((group, held.demand.no, age.0, age.1));
        self.count_live(instance, false);
        let copies = self.copies.entry(instance).or_default();
        let at = copies.partition_point(|h| h.age() < age);
        copies.insert(at, held);
        self.count_live(instance, true);
    }

    /// Takes a copy away.
    pub(super) fn release(&mut self, instance: Instance, age: (u64, u64)) -> Option<Held> {
        let copies = self.copies.get(&instance)?;
        let at = copies.iter().position(|h| h.age() == age)?;
        self.count_live(instance, false);
        let copies = self.copies.get_mut(&instance)?;
        let held = copies.remove(at);
        if copies.is_empty() {
            self.copies.remove(&instance);
        }
        self.count_live(instance, true);
        let node = &mut self.nodes[held.node];
        node.used_cpu -= held.demand.needs.cpu_millis;
        node.used_memory -= held.demand.needs.memory;
        node.copies.remove(&(instance.0, instance.1, age.0, age.1));
        Some(held)
    }

    /// Adds what the live copy of an instance weighs to the totals, or takes it away.
    fn count_live(&mut self, instance: Instance, add: bool) {
        let Some(held) = self.copies.get(&instance).and_then(|copies| copies.last()) else {
            return;
        };
        let weight = Weight::of(&held.demand.needs);
        let node = &mut self.nodes[held.node];
        let group = &mut self.groups[instance.0 as usize];
        let peers = group.peers.entry(held.node).or_default();
        if add {
            node.weight.cpu += weight.cpu;
            node.weight.memory += weight.memory;
            *peers += 1;
            group.waiting += u32::from(!held.available);
        } else {
            node.weight.cpu -= weight.cpu;
            node.weight.memory -= weight.memory;
            *peers -= 1;
            group.waiting -= u32::from(!held.available);
            if *peers == 0 {
                group.peers.remove(&held.node);
            }
        }
    }

    fn placed_of(&self, held: Held) -> Placed {
        Placed {
            node: self.nodes[held.node].facts.name.clone(),
            demand: held.demand,
            available: held.available,
        }
    }
}

/// The order of copies by name.
pub(super) fn order(demand: &Demand) -> (&Group, u32, u64, u64) {
    (&demand.needs.group, demand.no, demand.version, demand.drift)
}
