//! The cluster as placement sees it, kept from one choice of a node to the next: what has changed since is put into
//! it, so that a choice costs by what it is about, not by all that is placed.
//!
//! Called by `placing`, under the lock of `Shared::placing`. Whether copies serve is not kept up to date in it: those
//! who count that (drains, the balance) make a cluster anew.

use crate::actors::control::placing;
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::placement::{Cluster, Decision, Demand};
use crate::domain::record::Placement;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// See the module.
#[derive(Default)]
pub struct Kept(Mutex<Option<Known>>);

struct Known {
    cluster: Cluster,
    /// How often each node had changed when it was last looked at; by name, as the nodes are.
    nodes: Vec<(NodeName, u64)>,
    /// How often any of them had changed then.
    changes: u64,
    /// One of them is in this very process.
    local: bool,
    /// Instances that a choice has put elsewhere than where they are.
    tentative: BTreeSet<InstanceId>,
    /// Where instances of a lost node go, decided together: each still asks, and finds its answer here.
    rehomed: HashMap<InstanceId, (NodeName, Demand, Decision)>,
}

/// What is decided of an instance whose node is lost.
pub enum OfLost {
    /// It waits for its node.
    Stays,
    /// It is not among those that were on the node.
    NotThere,
    /// It goes there, or nowhere.
    Decided(Decision),
}

fn with<T>(shared: &Shared, act: impl FnOnce(&mut Known) -> T) -> T {
    let kept = shared.cluster.0.lock();
    let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
    if !kept.as_mut().is_some_and(|known| catch_up(shared, known)) {
        *kept = None;
    }
    act(kept.get_or_insert_with(|| anew(shared)))
}

fn anew(shared: &Shared) -> Known {
    // What changes from here on is caught up with at the next choice.
    shared.world.take_changed();
    shared.node.take_changed();
    let changes = shared.nodes.changes();
    let nodes = shared.nodes.all();
    Known {
        changes,
        local: nodes.iter().any(|n| n.local),
        nodes: nodes
            .iter()
            .map(|n| (n.name.clone(), n.changes()))
            .collect(),
        cluster: placing::cluster(shared),
        tentative: BTreeSet::new(),
        rehomed: HashMap::new(),
    }
}

/// Puts in what has changed; `false` where it has to be made anew.
fn catch_up(shared: &Shared, known: &mut Known) -> bool {
    let (Some(mut changed), Some(mut cells)) =
        (shared.world.take_changed(), shared.node.take_changed())
    else {
        return false;
    };
    changed.append(&mut cells);
    changed.append(&mut known.tentative);
    if !nodes_as_known(shared, known) {
        return false;
    }
    let mut needs = placing::KnownNeeds::default();
    for id in changed {
        known.cluster.remove_instance(&id);
        if let Some(placement) = shared.world.placement(&id) {
            let app = shared.world.app(&id.app);
            let record = app.as_ref().map(|app| &*app.record);
            for placed in placing::placed_of(shared, record, &placement, &mut needs) {
                known.cluster.put(placed);
            }
        }
    }
    true
}

/// Puts in what has changed of the nodes; `false` where the cluster has to be made anew.
fn nodes_as_known(shared: &Shared, known: &mut Known) -> bool {
    let changes = shared.nodes.changes();
    if changes == known.changes && !known.local {
        return true;
    }
    known.changes = changes;
    let nodes = shared.nodes.all();
    if nodes.len() != known.nodes.len() {
        return false;
    }
    for (node, (name, seen)) in nodes.iter().zip(&mut known.nodes) {
        let now = node.changes();
        if node.name != *name {
            return false;
        }
        // What is known of a node in this very process changes without its doing.
        if *seen == now && !node.local {
            continue;
        }
        *seen = now;
        match placing::facts_of(shared, node) {
            Some(facts) if known.cluster.has_node(name) => known.cluster.set_node(facts),
            None if !known.cluster.has_node(name) => {}
            Some(_) | None => return false,
        }
    }
    true
}

/// Chooses nodes in the cluster as it is now. What the choice enters is taken out again before the next one: only
/// what is committed counts.
pub fn decide(
    shared: &Shared,
    demands: &[Demand],
    choose: impl FnOnce(&mut Cluster) -> Vec<Decision>,
) -> Vec<Decision> {
    with(shared, |known| {
        let decisions = choose(&mut known.cluster);
        note(known, demands, &decisions);
        decisions
    })
}

fn note(known: &mut Known, demands: &[Demand], decisions: &[Decision]) {
    let touched = demands.iter().map(Demand::instance);
    known.tentative.extend(touched);
    for decision in decisions {
        if let Decision::Place { evicts, .. } = decision {
            let evicted = evicts.iter().map(|copy| copy.instance.clone());
            known.tentative.extend(evicted);
        }
    }
}

/// Where an instance goes whose node is lost: decided together with all others that were there, so that they do not
/// get into each other's way.
pub fn of_lost(shared: &Shared, placement: &Placement) -> OfLost {
    let (id, node) = (&placement.instance, &placement.node);
    with(shared, |known| {
        if let Some((from, demand, decision)) = known.rehomed.remove(id)
            && from == *node
            && demand.version == placement.version
            && demand.drift == placement.drift + 1
            && let Decision::Place { node: to, .. } = &decision
        {
            known.cluster.remove_instance(id);
            known.tentative.insert(id.clone());
            if known.cluster.takes(&demand, to) {
                return OfLost::Decided(decision);
            }
        }
        let lost = known.cluster.lost(node);
        let stays = lost.stays.iter().any(|copy| &copy.instance == id);
        let at = lost.demands.iter().position(|d| &d.instance() == id);
        let decisions = known.cluster.place(&lost.demands);
        note(known, &lost.demands, &decisions);
        match at.map(|at| decisions[at].clone()) {
            _ if stays => OfLost::Stays,
            None => OfLost::NotThere,
            Some(decision) => {
                let all = lost.demands.into_iter().zip(decisions);
                known.rehomed.extend(all.map(|(demand, decision)| {
                    (demand.instance(), (node.clone(), demand, decision))
                }));
                known.rehomed.remove(id);
                OfLost::Decided(decision)
            }
        }
    })
}
