//! What holds for every cluster and every set of demands; small ones are compared with all that is possible.

use crate::domain::id::NodeName;
use crate::domain::placement::fixtures::{filter, needs, node};
use crate::domain::placement::{
    AntiAffinity, Cluster, CopyId, Decision, Demand, Group, Needs, NodeFacts, NodeState, Placed,
    Policy, Stay, Strategy as Choice,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const LABELS: [&str; 3] = ["red", "green", "blue"];

fn any_node(index: usize) -> impl Strategy<Value = NodeFacts> {
    let state = prop_oneof![
        6 => Just(NodeState::Ready),
        1 => Just(NodeState::Cordoned),
        1 => Just(NodeState::Suspect),
        1 => Just(NodeState::Draining),
        1 => Just(NodeState::Down),
    ];
    (state, 0..8u64, 0..8u64, 0..3usize, 0..3usize).prop_map(
        move |(state, cpu, memory, colour, zone)| {
            let mut node = node(&format!("n{index}"), cpu * 100, memory * 100);
            node.state = state;
            node.labels.insert("colour".into(), LABELS[colour].into());
            if zone > 0 {
                node.labels.insert("zone".into(), format!("z{zone}"));
            }
            node
        },
    )
}

fn nodes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<NodeFacts>> {
    count.prop_flat_map(|n| (0..n).map(any_node).collect::<Vec<_>>())
}

fn any_needs() -> impl Strategy<Value = Needs> {
    let filters = prop_oneof![
        4 => Just(None),
        1 => Just(Some("constraint:colour==red")),
        1 => Just(Some("constraint:colour!=red")),
        1 => Just(Some("constraint:colour==~blue")),
        1 => Just(Some("affinity:container!=a1*")),
        1 => Just(Some("affinity:container==a0*")),
        1 => Just(Some("affinity:container!=~a2*")),
    ];
    let apart = prop_oneof![
        3 => Just(AntiAffinity::Prefer),
        1 => Just(AntiAffinity::None),
        1 => Just(AntiAffinity::Require),
    ];
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    (0..4usize, 0..4u64, 0..4u64, filters, apart, 0..3i32, flags).prop_map(
        |(app, cpu, memory, filters, apart, priority, (zone, stateful, exclusive))| {
            let mut needs = needs(&format!("a{app}"), cpu * 100, memory * 100);
            needs.filters = filters.into_iter().map(filter).collect();
            needs.anti_affinity = apart;
            needs.priority = priority;
            needs.spread = zone.then(|| "zone".to_owned());
            needs.stateful = stateful;
            needs.exclusive = exclusive;
            needs
        },
    )
}

/// Demands without two of one name: instance numbers are counted through.
fn any_demands(most: usize) -> impl Strategy<Value = Vec<Demand>> {
    let one = (
        any_needs(),
        1..5u32,
        prop::option::weighted(0.1, 0..6usize),
        0..6usize,
    );
    prop::collection::vec(one, 1..most).prop_map(|all| {
        let mut next: BTreeMap<Group, u32> = BTreeMap::new();
        let mut demands = Vec::new();
        for (needs, count, pin, avoid) in all {
            let needs = Arc::new(needs);
            for _ in 0..count {
                let no = next.entry(needs.group.clone()).or_default();
                *no += 1;
                let mut demand = Demand::new(Arc::clone(&needs), *no, 1);
                demand.pin = pin.map(|n| NodeName::new(format!("n{n}")).unwrap());
                if avoid < 2 {
                    let avoided = NodeName::new(format!("n{avoid}")).unwrap();
                    demand.avoid.insert(avoided, 1);
                }
                demands.push(demand);
            }
        }
        demands
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 0..50u32).prop_map(
        |(pack, zone, preemption, rebalance_gap)| Policy {
            strategy: if pack {
                Choice::BinPack
            } else {
                Choice::Spread
            },
            spread_label: zone.then(|| "zone".to_owned()),
            preemption,
            rebalance_gap,
        },
    )
}

/// Totals that are kept are those that the placements add up to, and no node holds more than it has.
fn check_totals(cluster: &Cluster) {
    for node in cluster.nodes() {
        let on = cluster.on(&node.name);
        let cpu: u64 = on.iter().map(|p| p.demand.needs.cpu_millis).sum();
        let memory: u64 = on.iter().map(|p| p.demand.needs.memory).sum();
        assert_eq!(cluster.reserved(&node.name), Some((cpu, memory)));
        assert!(
            cpu <= node.cpu_millis && memory <= node.memory,
            "{node:?} holds {on:?}"
        );
    }
    let anew = Cluster::new(
        cluster.policy().clone(),
        cluster.nodes().cloned(),
        cluster.placed(),
    );
    assert_eq!(anew.placed(), cluster.placed());
}

fn facts<'c>(cluster: &'c Cluster, name: &NodeName) -> &'c NodeFacts {
    cluster.nodes().find(|n| n.name == *name).unwrap()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn nothing_is_over_committed_and_every_rule_holds(
        policy in policies(), nodes in nodes(0..7), demands in any_demands(8),
    ) {
        let mut cluster = Cluster::new(policy, nodes, []);
        let decisions = cluster.place(&demands);
        check_totals(&cluster);
        let mut evicted = Vec::new();
        for decision in &decisions {
            if let Decision::Place { evicts, .. } = decision {
                evicted.extend(evicts.iter().cloned());
            }
        }
        for (demand, decision) in demands.iter().zip(&decisions) {
            let placed = cluster.get(&demand.copy());
            match decision {
                Decision::Place { node, .. } => {
                    if evicted.contains(&demand.copy()) {
                        continue;
                    }
                    prop_assert_eq!(&placed.unwrap().node, node);
                    let facts = facts(&cluster, node);
                    prop_assert_eq!(facts.state, NodeState::Ready);
                    prop_assert!(demand.pin.as_ref().is_none_or(|pin| pin == node));
                    let colour = facts.labels["colour"].as_str();
                    for filter in &demand.needs.filters {
                        match filter.to_string().as_str() {
                            "constraint:colour==red" => prop_assert_eq!(colour, "red"),
                            "constraint:colour!=red" => prop_assert_ne!(colour, "red"),
                            _ => {}
                        }
                    }
                    let peers = cluster.on(node).into_iter();
                    let peers = peers.filter(|p| p.demand.needs.group == demand.needs.group);
                    let others = peers.filter(|p| p.demand.no != demand.no).count();
                    // Others of the proc may care less than this one does: they came later.
                    let all_care = demands.iter()
                        .filter(|d| d.needs.group == demand.needs.group)
                        .all(|d| d.needs.anti_affinity == AntiAffinity::Require);
                    prop_assert!(others == 0 || !all_care);
                }
                Decision::Nowhere(why) => {
                    prop_assert!(placed.is_none());
                    let nodes = u32::try_from(cluster.nodes().len()).unwrap();
                    prop_assert_eq!(why.counts.values().sum::<u32>(), nodes);
                    prop_assert_eq!(why.nodes.len(), cluster.nodes().len());
                }
            }
        }
    }

    /// The same facts and demands give the same answer, in whatever order they come.
    #[test]
    fn the_order_of_the_demands_and_the_history_do_not_matter(
        policy in policies(), nodes in nodes(1..7), before in any_demands(5),
        demands in any_demands(6), seed in any::<u64>(),
    ) {
        let mut straight = Cluster::new(policy.clone(), nodes.clone(), []);
        straight.place(&before);
        let later: Vec<Demand> = demands.into_iter().map(|mut d| { d.no += 100; d }).collect();
        let placed = straight.placed();
        let expected = straight.place(&later);

        let shuffle = |n: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by_key(|&i| (i as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            order
        };
        let nodes = shuffle(nodes.len()).into_iter().map(|i| nodes[i].clone()).collect::<Vec<_>>();
        let shuffled = shuffle(placed.len()).into_iter().map(|i| placed[i].clone());
        let mut other = Cluster::new(policy, nodes, shuffled);
        let order = shuffle(later.len());
        let again = other.place(&order.iter().map(|&i| later[i].clone()).collect::<Vec<_>>());
        for (at, &i) in order.iter().enumerate() {
            prop_assert_eq!(&again[at], &expected[i]);
        }
        prop_assert_eq!(other.placed(), straight.placed());
    }

    /// Placing moves nothing that was there, but for what it says that it evicts.
    #[test]
    fn what_runs_stays_where_it_is(
        policy in policies(), nodes in nodes(1..7), before in any_demands(5), demands in any_demands(5),
    ) {
        let mut cluster = Cluster::new(policy, nodes, []);
        cluster.place(&before);
        let placed = cluster.placed();
        let later: Vec<Demand> = demands.into_iter().map(|mut d| { d.no += 100; d }).collect();
        let decisions = cluster.place(&later);
        let evicted: Vec<CopyId> = decisions.iter().flat_map(|d| match d {
            Decision::Place { evicts, .. } => evicts.clone(),
            Decision::Nowhere(_) => Vec::new(),
        }).collect();
        for old in placed {
            let copy = old.demand.copy();
            if evicted.contains(&copy) {
                prop_assert!(!old.demand.needs.stateful && cluster.policy().preemption);
            } else {
                prop_assert_eq!(cluster.get(&copy), Some(old));
            }
        }
    }

    /// Rebalancing comes to an end, makes nothing worse, and then leaves everything alone.
    #[test]
    fn rebalancing_comes_to_rest(
        mut policy in policies(), nodes in nodes(1..7), demands in any_demands(8),
        budget in 1..4usize, at in prop::collection::vec(0..6usize, 40),
    ) {
        policy.preemption = false;
        let mut cluster = Cluster::new(policy, nodes, []);
        // Put anywhere with room, as after a loss.
        for (demand, at) in demands.iter().zip(&at) {
            let Some(node) = cluster.nodes().nth(*at).cloned() else { continue };
            let (cpu, memory) = cluster.reserved(&node.name).unwrap();
            if cpu + demand.needs.cpu_millis <= node.cpu_millis
                && memory + demand.needs.memory <= node.memory
            {
                cluster.put(Placed { demand: demand.clone(), node: node.name, available: true });
            }
        }
        let count = cluster.len();
        let mut rounds = 0;
        loop {
            let moves = cluster.rebalance(budget);
            prop_assert!(moves.len() <= budget);
            check_totals(&cluster);
            if moves.is_empty() {
                break;
            }
            for moved in &moves {
                let needs = &moved.demand.needs;
                prop_assert!(!needs.stateful && !needs.exclusive && moved.demand.pin.is_none());
                prop_assert_ne!(&moved.from_node, &moved.to_node);
                cluster.set_available(&moved.demand.copy(), true);
                prop_assert!(cluster.remove(&moved.from).is_some());
            }
            prop_assert_eq!(cluster.len(), count);
            rounds += 1;
            prop_assert!(rounds < 200, "does not come to rest");
        }
    }

    /// A drain empties a node but for what is bound to it or has no other place.
    #[test]
    fn a_drain_empties_the_node(
        policy in policies(), nodes in nodes(2..7), demands in any_demands(8), most in 1..3u32,
    ) {
        let mut cluster = Cluster::new(policy, nodes, []);
        cluster.place(&demands);
        for placed in cluster.placed() {
            cluster.set_available(&placed.demand.copy(), true);
        }
        let node = cluster.nodes().next().unwrap().name.clone();
        let before = cluster.on(&node).len();
        for round in 0.. {
            prop_assert!(round <= before, "does not end");
            let drained = cluster.drain(&node, most);
            let mut groups: BTreeMap<Group, u32> = BTreeMap::new();
            for moved in &drained.moves {
                *groups.entry(moved.demand.needs.group.clone()).or_default() += 1;
            }
            prop_assert!(groups.values().all(|&n| n <= most));
            if drained.moves.is_empty() {
                let waits = |stay: &Stay| matches!(stay, Stay::Budget | Stay::Moving);
                prop_assert!(!drained.stays.iter().any(|(_, s)| waits(s)), "{:?}", drained.stays);
                prop_assert_eq!(drained.stays.len(), cluster.on(&node).len());
                break;
            }
            for moved in &drained.moves {
                cluster.set_available(&moved.demand.copy(), true);
                cluster.remove(&moved.from);
            }
        }
    }
}

/// The most demands that can be placed at all, by trying everything.
fn most_placed(nodes: &[NodeFacts], demands: &[Demand]) -> usize {
    fn go(
        free: &mut [(u64, u64, bool)],
        demands: &[(u64, u64, bool)],
        best: usize,
        done: usize,
    ) -> usize {
        let Some((&(cpu, memory, red), rest)) = demands.split_first() else {
            return best.max(done);
        };
        let mut best = best;
        if done + demands.len() <= best {
            return best;
        }
        for i in 0..free.len() {
            if free[i].0 >= cpu && free[i].1 >= memory && (!red || free[i].2) {
                free[i].0 -= cpu;
                free[i].1 -= memory;
                best = go(free, rest, best, done + 1);
                free[i].0 += cpu;
                free[i].1 += memory;
            }
        }
        go(free, rest, best, done)
    }
    let red = |n: &NodeFacts| n.labels.get("colour").is_some_and(|c| c == "red");
    let mut free: Vec<(u64, u64, bool)> = nodes
        .iter()
        .map(|n| (n.cpu_millis, n.memory, red(n)))
        .collect();
    let wants: Vec<(u64, u64, bool)> = demands
        .iter()
        .map(|d| {
            (
                d.needs.cpu_millis,
                d.needs.memory,
                !d.needs.filters.is_empty(),
            )
        })
        .collect();
    go(&mut free, &wants, 0, 0)
}

/// Small clusters in which something may not fit.
fn small(sizes: std::ops::Range<u64>) -> impl Strategy<Value = (Vec<NodeFacts>, Vec<Demand>)> {
    let nodes = prop::collection::vec((1..5u64, any::<bool>()), 1..5);
    let demands = prop::collection::vec((sizes, any::<bool>()), 1..9);
    (nodes, demands).prop_map(|(nodes, demands)| {
        let nodes = nodes.into_iter().enumerate().map(|(i, (size, red))| {
            let mut node = node(&format!("n{i}"), size * 100, size * 100);
            node.labels
                .insert("colour".into(), if red { "red" } else { "blue" }.into());
            node
        });
        let demands = demands.into_iter().enumerate().map(|(i, (size, red))| {
            let mut needs = needs(&format!("a{i}"), size * 100, size * 100);
            needs.filters = red
                .then(|| filter("constraint:colour==red"))
                .into_iter()
                .collect();
            Demand::new(Arc::new(needs), 1, 1)
        });
        (nodes.collect(), demands.collect())
    })
}

fn placed_by(policy: Policy, nodes: &[NodeFacts], demands: &[Demand]) -> usize {
    let mut cluster = Cluster::new(policy, nodes.to_vec(), []);
    let decisions = cluster.place(demands);
    decisions.iter().filter(|d| d.node().is_some()).count()
}

proptest! {
    #![proptest_config(cases(1500))]

    /// Of demands of one size, as many are placed as can be.
    #[test]
    fn equal_demands_are_placed_as_well_as_can_be((nodes, demands) in small(1..2), pack in any::<bool>()) {
        let policy = Policy {
            strategy: if pack { Choice::BinPack } else { Choice::Spread },
            ..Policy::default()
        };
        prop_assert_eq!(placed_by(policy, &nodes, &demands), most_placed(&nodes, &demands));
    }

    /// Where demands of different sizes all fit in some way, all are placed.
    #[test]
    fn demands_of_all_sizes_are_placed_where_they_fit((nodes, demands) in small(1..4), pack in any::<bool>()) {
        let policy = Policy {
            strategy: if pack { Choice::BinPack } else { Choice::Spread },
            ..Policy::default()
        };
        let placed = placed_by(policy, &nodes, &demands);
        if most_placed(&nodes, &demands) == demands.len() {
            prop_assert_eq!(placed, demands.len());
        }
    }

    /// Loads of equal nodes differ by no more than the largest instance, and a proc's instances by one.
    #[test]
    fn equal_nodes_are_loaded_evenly(
        count in 1..9usize, sizes in prop::collection::vec((1..6u64, 1..6u32), 1..8),
    ) {
        let nodes = (0..count).map(|i| node(&format!("n{i}"), 100_000, 100_000 << 20));
        let mut cluster = Cluster::new(Policy::default(), nodes, []);
        let mut demands = Vec::new();
        for (i, (size, instances)) in sizes.iter().enumerate() {
            let needs = Arc::new(needs(&format!("a{i}"), size * 100, size << 24));
            demands.extend((1..=*instances).map(|no| Demand::new(Arc::clone(&needs), no, 1)));
        }
        let decisions = cluster.place(&demands);
        prop_assert!(decisions.iter().all(|d| d.node().is_some()));
        let loads: Vec<u64> = cluster.nodes().map(|n| cluster.reserved(&n.name).unwrap().0).collect();
        let largest = sizes.iter().map(|(size, _)| size * 100).max().unwrap();
        // Each proc is spread evenly over nodes before loads count, so each may add one of its own.
        let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
        prop_assert!(spread <= 2 * largest, "{loads:?}");
        for (i, (_, instances)) in sizes.iter().enumerate() {
            let per_node = cluster.nodes().map(|n| {
                let on = cluster.on(&n.name).into_iter();
                on.filter(|p| p.demand.needs.group.app.as_str() == format!("a{i}")).count()
            });
            let counts: Vec<usize> = per_node.collect();
            let difference = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(difference <= 1, "{instances} as {counts:?}");
        }
    }
}
