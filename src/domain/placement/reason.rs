//! Why a node was chosen, and why it was not: what `lain why` prints.

use crate::domain::id::NodeName;
use crate::domain::placement::model::NodeState;
use crate::domain::record::size_text;
use std::collections::BTreeMap;
use std::fmt;

/// Why a node does not take an instance now. The first obstacle found, in the order of the variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The instance may only run elsewhere: that is where its volumes or its state are.
    Pinned(NodeName),
    /// It takes nothing new.
    NotReady(NodeState),
    /// A constraint does not hold.
    Constraint {
        /// As it is written in `lain.yaml`, or the implied `constraint:group==default`.
        filter: String,
        /// What the node has instead.
        found: Option<String>,
    },
    /// An affinity does not hold for what runs there.
    Affinity {
        /// As it is written in `lain.yaml`.
        filter: String,
    },
    /// Another instance of the proc is there, and they must be apart.
    AntiAffinity {
        /// How many are there.
        peers: u32,
    },
    /// Not enough CPU, in thousandths of a core.
    Cpu {
        /// What the instance reserves.
        wanted: u64,
        /// What is not yet reserved.
        free: u64,
        /// What the node has.
        total: u64,
    },
    /// Not enough memory, in bytes.
    Memory {
        /// What the instance reserves.
        wanted: u64,
        /// What is not yet reserved.
        free: u64,
        /// What the node has.
        total: u64,
    },
}

/// A [`Reason`] without its particulars, to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonKind {
    /// [`Reason::Pinned`]
    Pinned,
    /// [`Reason::NotReady`]
    NotReady,
    /// [`Reason::Constraint`]
    Constraint,
    /// [`Reason::Affinity`]
    Affinity,
    /// [`Reason::AntiAffinity`]
    AntiAffinity,
    /// [`Reason::Cpu`]
    Cpu,
    /// [`Reason::Memory`]
    Memory,
}

impl ReasonKind {
    /// All of them, in their order.
    pub const ALL: [ReasonKind; 7] = [
        ReasonKind::Pinned,
        ReasonKind::NotReady,
        ReasonKind::Constraint,
        ReasonKind::Affinity,
        ReasonKind::AntiAffinity,
        ReasonKind::Cpu,
        ReasonKind::Memory,
    ];
}

impl Reason {
    /// What kind of reason it is.
    pub fn kind(&self) -> ReasonKind {
        match self {
            Reason::Pinned(_) => ReasonKind::Pinned,
            Reason::NotReady(_) => ReasonKind::NotReady,
            Reason::Constraint { .. } => ReasonKind::Constraint,
            Reason::Affinity { .. } => ReasonKind::Affinity,
            Reason::AntiAffinity { .. } => ReasonKind::AntiAffinity,
            Reason::Cpu { .. } => ReasonKind::Cpu,
            Reason::Memory { .. } => ReasonKind::Memory,
        }
    }
}

/// Cores, as people write them.
fn cores(millis: u64) -> String {
    match millis % 1000 {
        0 => format!("{}", millis / 1000),
        part => format!("{}.{part:03}", millis / 1000)
            .trim_end_matches('0')
            .to_owned(),
    }
}

/// Bytes with one unit, rounded down, so that what is shown as free is free.
fn bytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        b if b >= 10 * MIB => size_text(b / MIB * MIB),
        b => size_text(b),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Pinned(node) => write!(f, "its volumes or its state are on {node}"),
            Reason::NotReady(state) => write!(f, "the node is {state}"),
            Reason::Constraint {
                filter,
                found: Some(found),
            } => write!(f, "{filter} does not hold: it is {found}"),
            Reason::Constraint {
                filter,
                found: None,
            } => write!(
                f,
                "{filter} does not hold: the node does not have that label"
            ),
            Reason::Affinity { filter } => write!(f, "{filter} does not hold for what runs there"),
            Reason::AntiAffinity { peers: 1 } => {
                write!(f, "another instance of the proc is there")
            }
            Reason::AntiAffinity { peers } => {
                write!(f, "{peers} other instances of the proc are there")
            }
            Reason::Cpu {
                wanted,
                free,
                total,
            } => write!(
                f,
                "not enough CPU: {} of {} cores are free, {} needed",
                cores(*free),
                cores(*total),
                cores(*wanted)
            ),
            Reason::Memory {
                wanted,
                free,
                total,
            } => write!(
                f,
                "not enough memory: {} of {} are free, {} needed",
                bytes(*free),
                bytes(*total),
                bytes(*wanted)
            ),
        }
    }
}

impl fmt::Display for ReasonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReasonKind::Pinned => "not where its volumes or its state are",
            ReasonKind::NotReady => "not ready",
            ReasonKind::Constraint => "against a constraint",
            ReasonKind::Affinity => "against an affinity",
            ReasonKind::AntiAffinity => "with another instance of the proc",
            ReasonKind::Cpu => "without enough free CPU",
            ReasonKind::Memory => "without enough free memory",
        })
    }
}

/// Why no node took an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejections {
    /// How many nodes each kind of reason rules out.
    pub counts: BTreeMap<ReasonKind, u32>,
    /// Each node's reason, by name. Empty where one call rejected more than
    /// [`super::MAX_REASONS`]; [`super::Cluster::rejections`] has them then.
    pub nodes: Vec<(NodeName, Reason)>,
}

impl Rejections {
    /// From the number of nodes for each kind, in the order of the kinds, and what is told of each node.
    pub(super) fn new(
        counts: [u32; ReasonKind::ALL.len()],
        nodes: Vec<(NodeName, Reason)>,
    ) -> Self {
        let counts = ReasonKind::ALL.into_iter().zip(counts);
        Self {
            counts: counts.filter(|(_, count)| *count > 0).collect(),
            nodes,
        }
    }
}

/// `no node of 5 takes it: 3 without enough free memory, 2 not ready`
impl fmt::Display for Rejections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u32 = self.counts.values().sum();
        if total == 0 {
            return f.write_str("there is no node");
        }
        write!(f, "no node of {total} takes it: ")?;
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), **kind));
        for (i, (kind, count)) in counts.into_iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {kind}")?;
        }
        Ok(())
    }
}

/// Why a node was chosen: what was compared, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Nodes that could have taken it.
    pub possible: u32,
    /// Of so many.
    pub of: u32,
    /// It could go nowhere else: its volumes or its state are there.
    pub pinned: bool,
    /// How often it failed on this node before.
    pub failures: u32,
    /// Soft filters that do not hold there.
    pub soft: u32,
    /// Label and value of the part of the cluster that the node is in, and other instances of the proc there.
    pub domain: Option<(String, String, u32)>,
    /// Other instances of the proc on the node.
    pub peers: u32,
    /// The node's load with the instance, in percent of what it has.
    pub load: u32,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pinned {
            return f.write_str("its volumes or its state are there");
        }
        write!(f, "{} of {} nodes could take it; ", self.possible, self.of)?;
        if self.failures > 0 {
            write!(f, "failed {} times there, fewest of all; ", self.failures)?;
        }
        if self.soft > 0 {
            write!(f, "{} soft filters do not hold, fewest of all; ", self.soft)?;
        }
        if let Some((label, value, count)) = &self.domain {
            write!(f, "{count} others of the proc in {label} {value:?}, ")?;
        }
        write!(
            f,
            "{} on the node; load with it {} %",
            self.peers, self.load
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_sentences() {
        let table = [
            (
                Reason::NotReady(NodeState::Cordoned),
                "the node is cordoned",
            ),
            (
                Reason::Cpu {
                    wanted: 1500,
                    free: 250,
                    total: 4000,
                },
                "not enough CPU: 0.25 of 4 cores are free, 1.5 needed",
            ),
            (
                Reason::Memory {
                    wanted: 1 << 30,
                    free: (100 << 20) + 1,
                    total: 4 << 30,
                },
                "not enough memory: 100m of 4g are free, 1g needed",
            ),
            (
                Reason::Constraint {
                    filter: "constraint:disk==ssd".into(),
                    found: None,
                },
                "constraint:disk==ssd does not hold: the node does not have that label",
            ),
            (
                Reason::AntiAffinity { peers: 1 },
                "another instance of the proc is there",
            ),
        ];
        for (reason, text) in table {
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn rejections_name_the_commonest_reason_first() {
        assert_eq!(Rejections::default().to_string(), "there is no node");
        let rejections = Rejections::new([0, 1, 0, 0, 2, 0, 0], Vec::new());
        assert_eq!(
            rejections.to_string(),
            "no node of 3 takes it: 2 with another instance of the proc, 1 not ready"
        );
    }
}
