//! Where the matches of an affinity run: counted once for a group and a call, and kept up while the group's
//! instances are placed.

use crate::domain::placement::cluster::{Cluster, Held, Instance};
use crate::domain::placement::filters::{Neighbour, matches, meets, wants_equal};
use crate::domain::spec::filter::Filter;

/// One affinity and what it looks at.
#[derive(Debug)]
pub struct Affinity {
    pub filter: Filter,
    pub hard: bool,
    /// Copies that match, by node.
    found: Vec<u32>,
}

/// Which copies of a group match an affinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    All,
    /// Each has to be looked at.
    Some,
}

impl Affinity {
    pub fn count(filter: &Filter, hard: bool, cluster: &Cluster) -> Self {
        let mut found = vec![0; cluster.nodes.len()];
        let groups = cluster.groups.iter();
        let parts: Vec<Part> = groups.map(|g| part(filter, &g.group)).collect();
        for ((group, _), copies) in cluster.all_copies() {
            let part = parts.get(*group as usize).copied().unwrap_or(Part::Some);
            if part == Part::None {
                continue;
            }
            for held in copies {
                if part == Part::All || meets(filter, &neighbour(held)) {
                    found[held.node] += 1;
                }
            }
        }
        Self {
            filter: filter.clone(),
            hard,
            found,
        }
    }

    /// A copy has been placed.
    pub fn add(&mut self, rank: usize, placed: &Neighbour<'_>) {
        self.found[rank] += u32::from(meets(&self.filter, placed));
    }

    /// Whether it holds on a node for an instance whose own copies are `own`: those do not count.
    pub fn holds(&self, rank: usize, own: &[Held]) -> bool {
        let own = own
            .iter()
            .filter(|held| held.node == rank && meets(&self.filter, &neighbour(held)));
        let others = self.found[rank] as usize > own.count();
        others == wants_equal(&self.filter)
    }
}

fn neighbour(held: &Held) -> Neighbour<'_> {
    Neighbour {
        needs: &held.demand.needs,
        no: held.demand.no,
    }
}

/// Spares looking at each copy where the name of the group decides.
fn part(filter: &Filter, group: &crate::domain::placement::model::Group) -> Part {
    if filter.key != "container" {
        return Part::Some;
    }
    let name = group.to_string();
    let value = filter.value.as_str();
    if matches(value, &name) || matches(value, group.app.as_str()) {
        return Part::All;
    }
    // An instance's name is the group's and a number.
    let stem = format!("{name}.i");
    let (fixed, star) = value
        .split_once('*')
        .map_or((value, false), |(f, _)| (f, true));
    let possible = fixed.starts_with(&stem) || (star && stem.starts_with(fixed));
    if possible { Part::Some } else { Part::None }
}

impl Cluster {
    /// The copies of one instance.
    pub(super) fn copies_of(&self, instance: Instance) -> &[Held] {
        self.all_copies().get(&instance).map_or(&[], Vec::as_slice)
    }
}
