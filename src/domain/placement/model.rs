//! The words of placement: what nodes offer, what instances need, what was decided and why.
//!
//! Plain data, made by the control actors from records and from what agents report.

pub use crate::domain::spec::model::AntiAffinity;

use crate::domain::id::{AppName, InstanceId, NodeName, ProcName, ProcType};
use crate::domain::placement::reason::{Rejections, Why};
use crate::domain::spec::filter::Filter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a node may be asked, as far as placement is concerned.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Takes new instances.
    #[default]
    Ready,
    /// Has not been heard of for a while: takes nothing new, loses nothing yet.
    Suspect,
    /// Its lease has ended: its instances are re-placed.
    Down,
    /// Takes nothing new, keeps what it has.
    Cordoned,
    /// Takes nothing new, and what it has is being moved away.
    Draining,
}

impl NodeState {
    /// The word used in the API and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Ready => "ready",
            NodeState::Suspect => "suspect",
            NodeState::Down => "down",
            NodeState::Cordoned => "cordoned",
            NodeState::Draining => "draining",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A node as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: NodeName,
    /// Whether it takes instances.
    pub state: NodeState,
    /// CPU that may be reserved, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory that may be reserved, in bytes.
    pub memory: u64,
    /// Its labels, which constraints and spreading look at.
    pub labels: BTreeMap<String, String>,
}

/// LAIN's pod group: one proc of one app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The app.
    pub app: AppName,
    /// The proc's type.
    pub proc_type: ProcType,
    /// The proc's name.
    pub proc: ProcName,
}

impl Group {
    /// The group of an instance.
    pub fn of(instance: &InstanceId) -> Self {
        Self {
            app: instance.app.clone(),
            proc_type: instance.proc_type,
            proc: instance.proc.clone(),
        }
    }

    /// One of its instances.
    pub fn instance(&self, no: u32) -> InstanceId {
        InstanceId {
            app: self.app.clone(),
            proc_type: self.proc_type,
            proc: self.proc.clone(),
            no,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.app, self.proc_type, self.proc)
    }
}

/// What all instances of a proc at one version need. Shared, so that a hundred thousand demands are small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Whose needs.
    pub group: Group,
    /// CPU to reserve for each, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory to reserve for each, in bytes.
    pub memory: u64,
    /// `constraint:` and `affinity:` filters of `lain.yaml`.
    pub filters: Vec<Filter>,
    /// The container labels, which other procs' affinities look at.
    pub labels: BTreeMap<String, String>,
    /// The image, which affinities may look at.
    pub image: Option<String>,
    /// How they keep away from each other.
    pub anti_affinity: AntiAffinity,
    /// The node label across whose values they spread; `None`: the policy's.
    pub spread: Option<String>,
    /// Never moved by lain on its own, nor preempted.
    pub stateful: bool,
    /// At most one at any moment: the old one stops before the new one starts.
    pub exclusive: bool,
    /// Higher goes first, and may preempt lower where the policy allows that.
    pub priority: i32,
}

impl Needs {
    /// Needs of a proc that asks for nothing but these resources.
    pub fn new(group: Group, cpu_millis: u64, memory: u64) -> Self {
        Self {
            group,
            cpu_millis,
            memory,
            filters: Vec::new(),
            labels: BTreeMap::new(),
            image: None,
            anti_affinity: AntiAffinity::default(),
            spread: None,
            stateful: false,
            exclusive: false,
            priority: 0,
        }
    }
}

/// One instance that needs a node. With `version` and `drift` it names one container: LAIN's
/// `<group>.v<version>-i<instance>-d<drift>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What it needs.
    pub needs: Arc<Needs>,
    /// The instance number, from 1.
    pub no: u32,
    /// The version of the proc that it runs.
    pub version: u64,
    /// Counts re-placements of the instance.
    pub drift: u64,
    /// The only node that it may run on, since its volumes or its state are there.
    pub pin: Option<NodeName>,
    /// Nodes to avoid, and how often it failed on each.
    pub avoid: BTreeMap<NodeName, u32>,
}

impl Demand {
    /// A first demand for an instance, free to go anywhere.
    pub fn new(needs: Arc<Needs>, no: u32, version: u64) -> Self {
        Self {
            needs,
            no,
            version,
            drift: 0,
            pin: None,
            avoid: BTreeMap::new(),
        }
    }

    /// The instance.
    pub fn instance(&self) -> InstanceId {
        self.needs.group.instance(self.no)
    }

    /// The container that it asks for.
    pub fn copy(&self) -> CopyId {
        CopyId {
            instance: self.instance(),
            version: self.version,
            drift: self.drift,
        }
    }
}

/// Names one container of an instance: while it is updated or moved, an instance has two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyId {
    /// The instance.
    pub instance: InstanceId,
    /// Its version.
    pub version: u64,
    /// Its re-placement.
    pub drift: u64,
}

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            version,
            drift,
        } = self;
        write!(
            f,
            "{}.v{version}-i{}-d{drift}",
            instance.group(),
            instance.no
        )
    }
}

/// A demand that has a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What was asked for.
    pub demand: Demand,
    /// Where it is.
    pub node: NodeName,
    /// Whether it serves. A group with one that does not is left alone by [`super::Cluster::rebalance`]
    /// and counts against the limit of [`super::Cluster::drain`].
    pub available: bool,
}

/// What makes one possible node better than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The emptiest node.
    #[default]
    Spread,
    /// The fullest node that has room.
    BinPack,
}

/// The cluster's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which node of several.
    pub strategy: Strategy,
    /// The node label, such as `zone`, across whose values a group spreads before it spreads across nodes.
    pub spread_label: Option<String>,
    /// Whether a demand may take the place of instances with a lower priority.
    pub preemption: bool,
    /// By how many percent of a node's capacity two nodes' loads must differ before
    /// [`super::Cluster::rebalance`] moves anything for it.
    pub rebalance_gap: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Spread,
            spread_label: None,
            preemption: false,
            rebalance_gap: 20,
        }
    }
}

/// What became of a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It goes to a node.
    Place {
        /// Which.
        node: NodeName,
        /// Why that one.
        why: Why,
        /// What must leave that node first: they have lower priority. To be demanded anew by the caller.
        evicts: Vec<CopyId>,
    },
    /// No node takes it now.
    Nowhere(Arc<Rejections>),
}

impl Decision {
    /// The node, where there is one.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Decision::Place { node, .. } => Some(node),
            Decision::Nowhere(_) => None,
        }
    }
}

/// In which order the two copies of a moved instance change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOrder {
    /// The new one serves before the old one is stopped.
    StartFirst,
    /// The old one is gone before the new one starts.
    StopFirst,
}

/// An instance changes its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The container that goes.
    pub from: CopyId,
    /// Its node.
    pub from_node: NodeName,
    /// What takes its place; its drift is one higher.
    pub demand: Demand,
    /// On which node.
    pub to_node: NodeName,
    /// In which order.
    pub order: MoveOrder,
    /// What it is good for.
    pub cause: MoveCause,
    /// Why that node.
    pub why: Why,
}

/// Why an instance moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveCause {
    /// Its node is being emptied.
    Drain,
    /// Too many of its proc are in one part of the cluster (a zone).
    Domain,
    /// Too many of its proc are on one node.
    Peers,
    /// Its node is much fuller than another.
    Load,
}

impl fmt::Display for MoveCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MoveCause::Drain => "its node is being drained",
            MoveCause::Domain => "too many instances of its proc are in one zone",
            MoveCause::Peers => "too many instances of its proc are on one node",
            MoveCause::Load => "its node is much fuller than another",
        })
    }
}
