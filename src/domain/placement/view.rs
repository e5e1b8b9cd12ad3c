//! What one group sees of the cluster while its instances are placed: the nodes that are open to it, how
//! they compare, and why the others are closed.

use crate::domain::id::NodeName;
use crate::domain::placement::affinity::Affinity;
use crate::domain::placement::cluster::{Cluster, FULL, Held, Weight};
use crate::domain::placement::filters::{Filters, Neighbour, takes_everyone};
use crate::domain::placement::model::{AntiAffinity, Demand, Needs, Strategy};
use crate::domain::placement::reason::{Reason, ReasonKind, Rejections, Why};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The index of a group of which nothing is placed yet.
const UNSEEN: u32 = u32::MAX;

/// The parts that a label divides the nodes into. Nodes without the label are one part.
#[derive(Debug)]
pub struct Domains {
    pub label: String,
    /// The value of each part.
    pub values: Vec<String>,
    /// The part of each node.
    pub of: Vec<usize>,
}

impl Domains {
    fn new(cluster: &Cluster, label: &str) -> Self {
        let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut domains = Self {
            label: label.to_owned(),
            values: Vec::new(),
            of: Vec::with_capacity(cluster.nodes.len()),
        };
        for node in &cluster.nodes {
            let value = node.facts.labels.get(label).map_or("", String::as_str);
            let next = domains.values.len();
            let part = *parts.entry(value).or_insert(next);
            if part == next {
                domains.values.push(value.to_owned());
            }
            domains.of.push(part);
        }
        domains
    }
}

/// What all views of one call share.
#[derive(Debug, Default)]
pub struct Shared {
    plain: Option<Rc<[usize]>>,
    domains: BTreeMap<String, Rc<Domains>>,
}

impl Shared {
    /// The nodes that nothing but room and neighbours can close to a proc with these filters.
    pub fn open(&mut self, cluster: &Cluster, filters: &Filters) -> Rc<[usize]> {
        let nodes = cluster.nodes.iter().enumerate();
        if !filters.are_plain() {
            let open = nodes.filter(|(_, n)| filters.obstacle(&n.facts).is_none());
            return open.map(|(rank, _)| rank).collect();
        }
        let plain = self.plain.get_or_insert_with(|| {
            let open = nodes.filter(|(_, n)| takes_everyone(&n.facts));
            open.map(|(rank, _)| rank).collect()
        });
        Rc::clone(plain)
    }

    /// The parts that a label divides the nodes into.
    pub fn domains(&mut self, cluster: &Cluster, label: &str) -> Rc<Domains> {
        if let Some(domains) = self.domains.get(label) {
            return Rc::clone(domains);
        }
        let domains = Rc::new(Domains::new(cluster, label));
        self.domains.insert(label.to_owned(), Rc::clone(&domains));
        domains
    }
}

/// How good a node is for a demand: the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// How often it failed there.
    pub failures: u32,
    /// Soft filters that do not hold.
    pub soft: u32,
    /// Others of the group in that part of the cluster.
    pub domain: u32,
    /// Others of the group on the node.
    pub peers: u32,
    /// It would leave the node of the copy that it replaces.
    pub away: bool,
    /// The node's load with it, or how empty it would be, by strategy.
    pub load: u64,
    /// The node.
    pub rank: usize,
}

/// The instance that looks for a node, where it matters which of its group it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seeker<'c> {
    demand: Option<&'c Demand>,
    /// Its copies, the live one last.
    own: &'c [Held],
}

impl<'c> Seeker<'c> {
    /// Where its live copy is.
    fn home(&self) -> Option<usize> {
        self.own.last().map(|held| held.node)
    }

    fn failures(&self, node: &NodeName) -> u32 {
        let avoid = self.demand.map(|demand| &demand.avoid);
        let avoid = avoid.filter(|avoid| !avoid.is_empty());
        avoid
            .and_then(|avoid| avoid.get(node))
            .copied()
            .unwrap_or(0)
    }
}

/// One group's view.
#[derive(Debug)]
pub struct View {
    pub needs: Arc<Needs>,
    pub group: u32,
    pub filters: Filters,
    /// The nodes that nothing but room and neighbours can close.
    pub open: Rc<[usize]>,
    pub domains: Option<Rc<Domains>>,
    pub weight: Weight,
    bin_pack: bool,
    /// Live copies of the group by node, and by part.
    pub peers: Vec<u32>,
    pub in_domain: Vec<u32>,
    /// What its affinities look at; empty where nobody has looked around.
    affinities: Vec<Affinity>,
}

impl View {
    pub fn new(cluster: &Cluster, shared: &mut Shared, needs: &Arc<Needs>) -> Self {
        let group = cluster.known_group(&needs.group).unwrap_or(UNSEEN);
        let filters = Filters::of(needs);
        let open = shared.open(cluster, &filters);
        let label = needs
            .spread
            .as_ref()
            .or(cluster.policy.spread_label.as_ref());
        let label = label.filter(|label| !label.is_empty());
        let domains = label.map(|label| shared.domains(cluster, label));
        let mut view = Self {
            needs: Arc::clone(needs),
            group,
            filters,
            open,
            domains,
            weight: Weight::of(needs),
            bin_pack: cluster.policy.strategy == Strategy::BinPack,
            peers: Vec::new(),
            in_domain: Vec::new(),
            affinities: Vec::new(),
        };
        view.count_peers(cluster);
        view
    }

    /// One of the group's instances that looks for a node.
    pub fn seeker<'c>(&self, cluster: &'c Cluster, demand: &'c Demand) -> Seeker<'c> {
        Seeker {
            demand: Some(demand),
            own: cluster.copies_of((self.group, demand.no)),
        }
    }

    /// Counts what changes while instances are placed anew.
    pub fn count(&mut self, cluster: &Cluster) {
        self.count_peers(cluster);
        let affinities = self.filters.affinities();
        self.affinities = affinities
            .map(|(filter, hard)| Affinity::count(filter, hard, cluster))
            .collect();
    }

    fn count_peers(&mut self, cluster: &Cluster) {
        self.peers.clear();
        self.peers.resize(cluster.nodes.len(), 0);
        self.in_domain.clear();
        let parts = self.domains.as_ref().map_or(0, |d| d.values.len());
        self.in_domain.resize(parts, 0);
        let peers = cluster.groups.get(self.group as usize).map(|g| &g.peers);
        for (&rank, &count) in peers.into_iter().flatten() {
            self.add(rank, count);
        }
    }

    /// One of the group's instances has been placed.
    pub fn placed(&mut self, rank: usize, no: u32) {
        self.add(rank, 1);
        let needs = Arc::clone(&self.needs);
        let placed = Neighbour { needs: &needs, no };
        for affinity in &mut self.affinities {
            affinity.add(rank, &placed);
        }
    }

    fn add(&mut self, rank: usize, count: u32) {
        self.peers[rank] += count;
        if let Some(domains) = &self.domains {
            self.in_domain[domains.of[rank]] += count;
        }
    }

    /// Whether each of its demands sees the same nodes in the same order, whatever runs on them.
    pub fn is_uniform(&self) -> bool {
        !self.filters.look_at_neighbours()
    }

    /// Others of the group on a node and in its part, from the view of an instance whose live copy is at `home`.
    fn others(&self, rank: usize, home: Option<usize>) -> (u32, u32) {
        let peers = self.peers[rank] - u32::from(home == Some(rank));
        let domain = self.domains.as_ref().map_or(0, |domains| {
            let part = domains.of[rank];
            self.in_domain[part] - u32::from(home.is_some_and(|home| domains.of[home] == part))
        });
        (peers, domain)
    }

    /// Whether there is room, and no peer where peers must be apart.
    pub fn has_room(&self, cluster: &Cluster, rank: usize, home: Option<usize>) -> bool {
        cluster.nodes[rank].fits(&self.needs)
            && (self.needs.anti_affinity != AntiAffinity::Require || self.others(rank, home).0 == 0)
    }

    /// The first hard affinity that does not hold on a node.
    fn broken_affinity(&self, rank: usize, own: &[Held]) -> Option<&Affinity> {
        let mut hard = self.affinities.iter().filter(|a| a.hard);
        hard.find(|affinity| !affinity.holds(rank, own))
    }

    fn soft_broken(&self, cluster: &Cluster, rank: usize, own: &[Held]) -> u32 {
        let constraints = self
            .filters
            .soft_constraints_broken(&cluster.nodes[rank].facts);
        let mut soft = self.affinities.iter().filter(|a| !a.hard);
        let affinities = soft.by_ref().filter(|a| !a.holds(rank, own)).count();
        constraints + u32::try_from(affinities).unwrap_or(u32::MAX)
    }

    /// How good a node is, for one instance of the group.
    pub fn key(&self, cluster: &Cluster, rank: usize, seeker: &Seeker<'_>) -> Key {
        let node = &cluster.nodes[rank];
        let home = seeker.home();
        let (peers, domain) = self.others(rank, home);
        let load = node.load_with(self.weight);
        Key {
            failures: seeker.failures(&node.facts.name),
            soft: self.soft_broken(cluster, rank, seeker.own),
            domain,
            peers: match self.needs.anti_affinity {
                AntiAffinity::None => 0,
                AntiAffinity::Prefer | AntiAffinity::Require => peers,
            },
            away: home.is_some_and(|home| home != rank),
            load: if self.bin_pack { u64::MAX - load } else { load },
            rank,
        }
    }

    /// The best node for a demand and how many could take it; `closed` nodes are not looked at.
    pub fn best(
        &self,
        cluster: &Cluster,
        demand: &Demand,
        closed: impl Fn(usize) -> bool,
    ) -> Option<(Key, u32)> {
        let seeker = self.seeker(cluster, demand);
        let pin = match &demand.pin {
            Some(node) => Some(cluster.rank(node)?),
            None => None,
        };
        let home = seeker.home();
        let (mut best, mut possible): (Option<Key>, u32) = (None, 0);
        for &rank in self.open.iter() {
            let wanted = pin.is_none_or(|pin| pin == rank);
            if !wanted || closed(rank) || !self.has_room(cluster, rank, home) {
                continue;
            }
            if self.broken_affinity(rank, seeker.own).is_some() {
                continue;
            }
            possible += 1;
            let key = self.key(cluster, rank, &seeker);
            if best.is_none_or(|b| key < b) {
                best = Some(key);
            }
        }
        Some((best?, possible))
    }

    /// What speaks for a node.
    pub fn why(&self, cluster: &Cluster, key: &Key, possible: u32, pinned: bool) -> Why {
        let load = if self.bin_pack {
            u64::MAX - key.load
        } else {
            key.load
        };
        Why {
            possible,
            of: u32::try_from(cluster.nodes.len()).unwrap_or(u32::MAX),
            pinned,
            failures: key.failures,
            soft: key.soft,
            domain: self.domains.as_ref().map(|domains| {
                let value = domains.values[domains.of[key.rank]].clone();
                (domains.label.clone(), value, key.domain)
            }),
            peers: key.peers,
            load: u32::try_from(load / (FULL / 100)).unwrap_or(u32::MAX),
        }
    }

    /// Why a node does not take a demand; `None` when it does.
    pub fn obstacle(&self, cluster: &Cluster, rank: usize, demand: &Demand) -> Option<Reason> {
        let node = &cluster.nodes[rank];
        let seeker = self.seeker(cluster, demand);
        if let Some(pin) = demand.pin.as_ref().filter(|pin| **pin != node.facts.name) {
            return Some(Reason::Pinned(pin.clone()));
        }
        if let Some(reason) = self.filters.obstacle(&node.facts) {
            return Some(reason);
        }
        if let Some(broken) = self.broken_affinity(rank, seeker.own) {
            return Some(Reason::Affinity {
                filter: broken.filter.to_string(),
            });
        }
        let (peers, _) = self.others(rank, seeker.home());
        if self.needs.anti_affinity == AntiAffinity::Require && peers > 0 {
            return Some(Reason::AntiAffinity { peers });
        }
        let free = node.facts.cpu_millis.saturating_sub(node.used_cpu);
        if self.needs.cpu_millis > free || node.used_cpu > node.facts.cpu_millis {
            return Some(Reason::Cpu {
                wanted: self.needs.cpu_millis,
                free,
                total: node.facts.cpu_millis,
            });
        }
        let free = node.facts.memory.saturating_sub(node.used_memory);
        (self.needs.memory > free || node.used_memory > node.facts.memory).then_some(
            Reason::Memory {
                wanted: self.needs.memory,
                free,
                total: node.facts.memory,
            },
        )
    }

    /// Why no node takes a demand.
    pub fn rejections(&self, cluster: &Cluster, demand: &Demand, detailed: bool) -> Rejections {
        let mut counts = [0; ReasonKind::ALL.len()];
        let mut nodes = Vec::new();
        for (rank, node) in cluster.nodes.iter().enumerate() {
            if let Some(reason) = self.obstacle(cluster, rank, demand) {
                counts[reason.kind() as usize] += 1;
                if detailed {
                    nodes.push((node.facts.name.clone(), reason));
                }
            }
        }
        Rejections::new(counts, nodes)
    }
}

impl Cluster {
    /// Whether a node takes `demand` now.
    pub fn takes(&self, demand: &Demand, node: &NodeName) -> bool {
        let mut view = View::new(self, &mut Shared::default(), &demand.needs);
        view.count(self);
        self.rank(node)
            .is_some_and(|rank| view.obstacle(self, rank, demand).is_none())
    }

    /// Why each node that does not take `demand` now does not; nodes that are left out would take it.
    pub fn rejections(&self, demand: &Demand) -> Rejections {
        let mut view = View::new(self, &mut Shared::default(), &demand.needs);
        view.count(self);
        view.rejections(self, demand, true)
    }
}
