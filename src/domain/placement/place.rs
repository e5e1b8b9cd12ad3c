//! Placing many demands: in which order, and each on the best node.
//!
//! Demands with the same needs are placed one after another from a heap of their nodes, so that a hundred
//! thousand of them cost little more than the heaps. Demands that are special (pinned, with failures behind
//! them, updated, with affinities) look at every node that is open to them.

use crate::domain::placement::arrange::MAX_STEPS;
use crate::domain::placement::cluster::{Cluster, FULL, Held};
use crate::domain::placement::filters::Filters;
use crate::domain::placement::model::{CopyId, Decision, Demand, Group, Needs};
use crate::domain::placement::reason::{Rejections, Why};
use crate::domain::placement::view::{Key, Seeker, Shared, View};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// One call lists the reasons of at most so many pairs of an instance and a node one by one; beyond that,
/// [`Rejections`] only counts them.
pub const MAX_REASONS: usize = 1_000_000;
/// How many times one call may try to make room by moving what it has just placed itself.
const MAX_ATTEMPTS: u32 = 20_000;

impl Cluster {
    /// Decides on each of `demands`, in their order, and enters what is placed as not yet available.
    ///
    /// Higher priorities are served first, then what is bound to a node, then what few nodes can take, then
    /// what is large. A demand of a copy that is placed already moves it; of two equal ones the last counts.
    pub fn place(&mut self, demands: &[Demand]) -> Vec<Decision> {
        for demand in demands {
            if let Some(group) = self.known_group(&demand.needs.group) {
                self.release((group, demand.no), (demand.version, demand.drift));
            }
        }
        let mut placer = Placer::new(self, demands);
        placer.run();
        placer.finish()
    }
}

/// The state of one call.
#[derive(Debug)]
pub(super) struct Placer<'a> {
    pub cluster: &'a mut Cluster,
    pub demands: &'a [Demand],
    pub shared: Shared,
    decisions: Vec<Option<Decision>>,
    /// What this call has placed on each node.
    pub fresh: Vec<Vec<usize>>,
    /// Attempts to make room that are left.
    pub attempts: u32,
    /// Steps of arranging anew that are left.
    pub steps: u32,
    /// Whether some demand of this call would or must be beside others, or far from them.
    pub has_affinities: bool,
    /// CPU and memory of the whole cluster.
    total: (u64, u64),
    reasons: usize,
}

/// Where a class of equal needs stands in the order of placing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'d> {
    /// They come after those that they may want to be beside.
    affinities: bool,
    /// How many nodes are open to them.
    open: usize,
    /// Their part of the whole cluster.
    size: Reverse<u64>,
    group: &'d Group,
    /// The least version and number that asks for them.
    first: (u64, u32),
}

impl<'a> Placer<'a> {
    fn new(cluster: &'a mut Cluster, demands: &'a [Demand]) -> Self {
        let facts = || cluster.nodes.iter().map(|n| &n.facts);
        let total = (
            facts().map(|f| f.cpu_millis).sum(),
            facts().map(|f| f.memory).sum(),
        );
        Self {
            fresh: vec![Vec::new(); cluster.nodes.len()],
            cluster,
            demands,
            shared: Shared::default(),
            decisions: vec![None; demands.len()],
            attempts: MAX_ATTEMPTS,
            steps: MAX_STEPS,
            has_affinities: false,
            total,
            reasons: 0,
        }
    }

    fn run(&mut self) {
        let order = self.order();
        let mut later = Vec::new();
        for run in runs(self.demands, &order) {
            later.extend(self.place_run(&order[run]));
        }
        // What had no neighbour to be beside may have one now.
        loop {
            let before = later.len();
            let again = std::mem::take(&mut later);
            for index in again {
                later.extend(self.place_run(&[index]));
            }
            if later.is_empty() || later.len() == before {
                break;
            }
        }
        for index in later {
            let view = self.view(&self.demands[index].needs);
            let rejections = self.reject(&view, &self.demands[index]);
            self.decisions[index] = Some(Decision::Nowhere(Arc::new(rejections)));
        }
    }

    fn finish(self) -> Vec<Decision> {
        let nowhere = || Decision::Nowhere(Arc::new(Rejections::default()));
        let decisions = self.decisions.into_iter();
        decisions.map(|d| d.unwrap_or_else(nowhere)).collect()
    }

    pub fn view(&mut self, needs: &Arc<Needs>) -> View {
        let mut view = View::new(self.cluster, &mut self.shared, needs);
        if !view.is_uniform() {
            view.count(self.cluster);
        }
        view
    }

    /// The demands in the order in which they are placed, which is not that in which they were given.
    fn order(&mut self) -> Vec<usize> {
        let demands = self.demands;
        let (member, classes) = classes(demands);
        let mut places: Vec<(Place<'_>, usize)> = Vec::with_capacity(classes.len());
        for (number, class) in classes.iter().enumerate() {
            let needs = &demands[class.demand].needs;
            places.push((self.place_of(needs, class.first), number));
        }
        places.sort();
        let mut rank = vec![0; classes.len()];
        for (i, (_, class)) in places.iter().enumerate() {
            rank[*class] = i;
        }
        let mut order: Vec<usize> = (0..demands.len()).collect();
        order.sort_by_key(|&i| {
            let demand = &demands[i];
            let free = demand.pin.is_none();
            let priority = Reverse(demand.needs.priority);
            (
                priority,
                free,
                rank[member[i]],
                demand.version,
                demand.no,
                demand.drift,
            )
        });
        order
    }

    fn place_of<'d>(&mut self, needs: &'d Arc<Needs>, first: (u64, u32)) -> Place<'d> {
        let filters = Filters::of(needs);
        self.has_affinities |= filters.look_at_neighbours();
        Place {
            affinities: filters.have_affinities(),
            open: self.shared.open(self.cluster, &filters).len(),
            size: Reverse(part_of(needs, self.total)),
            group: &needs.group,
            first,
        }
    }

    /// Places demands with the same needs; returns those that should be tried again.
    fn place_run(&mut self, run: &[usize]) -> Vec<usize> {
        let Some(&first) = run.first() else {
            return Vec::new();
        };
        let mut view = self.view(&self.demands[first].needs);
        let special = |placer: &Self, index: usize| {
            let demand = &placer.demands[index];
            let instance = (view.group, demand.no);
            demand.pin.is_some()
                || !demand.avoid.is_empty()
                || placer.cluster.live(instance).is_some()
        };
        let (one_by_one, uniform): (Vec<usize>, Vec<usize>) = match view.is_uniform() {
            true => run.iter().partition(|&&i| special(self, i)),
            false => (run.to_vec(), Vec::new()),
        };
        let mut left = Vec::new();
        for index in one_by_one {
            if !self.place_best(&mut view, index) {
                left.push(index);
            }
        }
        match uniform.as_slice() {
            [] => {}
            [only] => {
                if !self.place_best(&mut view, *only) {
                    left.push(*only);
                }
            }
            several => {
                let placed = self.place_uniform(&mut view, several);
                left.extend(&several[placed..]);
            }
        }
        self.place_left(view, left)
    }

    /// Places one demand on the node that is best for it now.
    fn place_best(&mut self, view: &mut View, index: usize) -> bool {
        let demand = &self.demands[index];
        let Some((key, possible)) = view.best(self.cluster, demand, |_| false) else {
            return false;
        };
        let why = view.why(self.cluster, &key, possible, demand.pin.is_some());
        self.settle(view, index, key.rank, why, Vec::new());
        true
    }

    /// Places demands that all see the same nodes, as long as there is room; returns how many.
    ///
    /// One heap for each part of the cluster, since a placement changes how all nodes of its part compare
    /// with others, but not how they compare with each other.
    fn place_uniform(&mut self, view: &mut View, run: &[usize]) -> usize {
        let domains = view.domains.clone();
        let part_of = |rank: usize| domains.as_ref().map_or(0, |d| d.of[rank]);
        let parts = domains.as_ref().map_or(1, |d| d.values.len());
        let mut heaps: Vec<BinaryHeap<Reverse<Key>>> = vec![BinaryHeap::new(); parts];
        let mut possible = 0;
        for &rank in view.open.iter() {
            if view.has_room(self.cluster, rank, None) {
                possible += 1;
                let key = view.key(self.cluster, rank, &Seeker::default());
                heaps[part_of(rank)].push(Reverse(Key { domain: 0, ..key }));
            }
        }
        for (done, &index) in run.iter().enumerate() {
            let tops = heaps.iter().enumerate().filter_map(|(part, heap)| {
                let domain = view.in_domain.get(part).copied().unwrap_or(0);
                heap.peek().map(|top| Key { domain, ..top.0 })
            });
            let Some(key) = tops.min() else {
                return done;
            };
            let heap = &mut heaps[part_of(key.rank)];
            heap.pop();
            let why = view.why(self.cluster, &key, possible, false);
            self.settle(view, index, key.rank, why, Vec::new());
            if view.has_room(self.cluster, key.rank, None) {
                let key = view.key(self.cluster, key.rank, &Seeker::default());
                heap.push(Reverse(Key { domain: 0, ..key }));
            } else {
                possible -= 1;
            }
        }
        run.len()
    }

    /// What found no room: makes some, by moving what this call has placed or, where that is allowed, by
    /// evicting what matters less. Returns what should be tried again.
    fn place_left(&mut self, mut view: View, left: Vec<usize>) -> Vec<usize> {
        if view.filters.have_affinities() {
            return left;
        }
        // Demands that are not special fail for the same reasons.
        let mut shared: Option<Arc<Rejections>> = None;
        for index in left {
            let demand = &self.demands[index];
            let updated = self.cluster.live((view.group, demand.no)).is_some();
            let special = demand.pin.is_some() || updated;
            let refused = match shared.clone().filter(|_| !special) {
                Some(refused) => refused,
                None if self.place_best(&mut view, index)
                    || self.make_room(&mut view, index)
                    || self.rearrange(&mut view, index)
                    || self.preempt(&mut view, index) =>
                {
                    continue;
                }
                None => Arc::new(self.reject(&view, demand)),
            };
            if !special && shared.is_none() {
                shared = Some(Arc::clone(&refused));
            }
            self.decisions[index] = Some(Decision::Nowhere(refused));
        }
        Vec::new()
    }

    fn reject(&mut self, view: &View, demand: &Demand) -> Rejections {
        let detailed = self.reasons < MAX_REASONS;
        let rejections = view.rejections(self.cluster, demand, detailed);
        self.reasons += rejections.nodes.len();
        rejections
    }

    /// Enters a placement.
    pub fn settle(
        &mut self,
        view: &mut View,
        index: usize,
        rank: usize,
        why: Why,
        evicts: Vec<CopyId>,
    ) {
        let demand = &self.demands[index];
        let updated = self.cluster.live((view.group, demand.no)).is_some();
        self.enter(index, rank);
        let group = self.cluster.group_id(&demand.needs.group);
        if updated || group != view.group {
            view.group = group;
            view.count(self.cluster);
        } else {
            view.placed(rank, demand.no);
        }
        self.decide(index, rank, why, evicts);
    }

    /// Notes a decision without entering anything.
    pub fn decide(&mut self, index: usize, rank: usize, why: Why, evicts: Vec<CopyId>) {
        let node = self.cluster.nodes[rank].facts.name.clone();
        self.decisions[index] = Some(Decision::Place { node, why, evicts });
    }

    /// Whether the placement of a demand costs others theirs.
    pub fn evicts(&self, index: usize) -> bool {
        matches!(&self.decisions[index], Some(Decision::Place { evicts, .. }) if !evicts.is_empty())
    }

    /// Puts a demand on a node.
    pub fn enter(&mut self, index: usize, rank: usize) {
        self.cluster.hold(Held {
            demand: self.demands[index].clone(),
            node: rank,
            available: false,
        });
        self.fresh[rank].push(index);
    }

    /// Takes a demand from the node where this call has put it.
    pub fn leave(&mut self, index: usize, rank: usize) {
        let demand = &self.demands[index];
        if let Some(group) = self.cluster.known_group(&demand.needs.group) {
            let age = (demand.version, demand.drift);
            self.cluster.release((group, demand.no), age);
        }
        self.fresh[rank].retain(|&i| i != index);
    }
}

/// How large a part of the cluster's CPU or memory an instance takes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are compared, not added up"
)]
fn part_of(needs: &Needs, (cpu, memory): (u64, u64)) -> u64 {
    let part = |amount: u64, of: u64| amount as f64 / of.max(1) as f64;
    let larger = part(needs.cpu_millis, cpu).max(part(needs.memory, memory));
    (larger * (FULL * FULL) as f64) as u64
}

/// Demands with equal needs.
#[derive(Debug, Clone, Copy)]
struct Class {
    /// One of them.
    demand: usize,
    /// The least version and number among them.
    first: (u64, u32),
}

/// The class of equal needs that each demand is of, and the classes. Equal needs are one class also where they are different objects.
fn classes(demands: &[Demand]) -> (Vec<usize>, Vec<Class>) {
    let mut by_object: HashMap<*const Needs, usize> = HashMap::new();
    let mut by_group: HashMap<&Group, Vec<usize>> = HashMap::new();
    let mut classes: Vec<Class> = Vec::new();
    let mut member = Vec::with_capacity(demands.len());
    for (index, demand) in demands.iter().enumerate() {
        let needs = &demand.needs;
        let class = *by_object.entry(Arc::as_ptr(needs)).or_insert_with(|| {
            let of_group = by_group.entry(&needs.group).or_default();
            let equal = |class: &&usize| *demands[classes[**class].demand].needs == **needs;
            if let Some(class) = of_group.iter().find(equal) {
                return *class;
            }
            classes.push(Class {
                demand: index,
                first: (demand.version, demand.no),
            });
            of_group.push(classes.len() - 1);
            classes.len() - 1
        });
        let first = &mut classes[class].first;
        *first = (*first).min((demand.version, demand.no));
        member.push(class);
    }
    (member, classes)
}

/// The stretches of `order` in which needs and pinning are the same.
fn runs(demands: &[Demand], order: &[usize]) -> Vec<Range<usize>> {
    let alike = |a: usize, b: usize| {
        let (a, b) = (&demands[a], &demands[b]);
        a.pin.is_some() == b.pin.is_some()
            && (Arc::ptr_eq(&a.needs, &b.needs) || a.needs == b.needs)
    };
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in 0..order.len() {
        match runs.last_mut() {
            Some(run) if alike(order[run.start], order[at]) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}
