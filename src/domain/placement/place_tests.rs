//! Placing, case by case.

use crate::domain::id::NodeName;
use crate::domain::placement::fixtures::{demands, filter, labelled, needs, node};
use crate::domain::placement::*;
use std::sync::Arc;

const G: u64 = 1 << 30;

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn cluster(nodes: Vec<NodeFacts>) -> Cluster {
    Cluster::new(Policy::default(), nodes, [])
}

fn with_policy(policy: Policy, nodes: Vec<NodeFacts>) -> Cluster {
    Cluster::new(policy, nodes, [])
}

/// The nodes that were chosen; `-` for nowhere.
fn chosen(decisions: &[Decision]) -> String {
    let names = decisions
        .iter()
        .map(|d| d.node().map_or("-", |n| n.as_str()));
    names.collect::<Vec<_>>().join(" ")
}

fn refused(decision: &Decision) -> Vec<(String, String)> {
    match decision {
        Decision::Nowhere(why) => why
            .nodes
            .iter()
            .map(|(node, reason)| (node.to_string(), reason.to_string()))
            .collect(),
        placed => panic!("{placed:?}"),
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split(' ').collect();
    words.sort_unstable();
    words
}

#[test]
fn instances_spread_over_nodes_before_they_share_one() {
    let mut c = cluster(vec![
        node("a", 4000, 4 * G),
        node("b", 4000, 4 * G),
        node("c", 8000, 8 * G),
    ]);
    let d = c.place(&demands(needs("hello", 100, G / 4), 5));
    let all = chosen(&d);
    // Three on three nodes, then the two roomier halves again.
    assert_eq!(sorted(&chosen(&d[..3])), ["a", "b", "c"]);
    assert_eq!(chosen(&d[3..4]), "c", "{all}");
    assert_ne!(chosen(&d[4..]), "c", "{all}");
}

#[test]
fn zones_come_before_nodes() {
    let policy = Policy {
        spread_label: Some("zone".into()),
        ..Policy::default()
    };
    let nodes = vec![
        labelled("a1", 4000, 4 * G, "zone", "a"),
        labelled("a2", 4000, 4 * G, "zone", "a"),
        labelled("a3", 4000, 4 * G, "zone", "a"),
        labelled("b1", 4000, 4 * G, "zone", "b"),
    ];
    let mut c = with_policy(policy, nodes);
    let d = c.place(&demands(needs("hello", 100, G / 8), 4));
    let at = chosen(&d);
    assert_eq!(at.matches("b1").count(), 2, "{at}");
    let Decision::Place { why, .. } = &d[3] else {
        panic!("{d:?}")
    };
    assert!(
        why.to_string().contains("1 others of the proc in zone"),
        "{why}"
    );
}

#[test]
fn a_full_zone_leaves_the_rest_to_the_others() {
    let mut apart = needs("hello", 1000, G);
    apart.spread = Some("zone".into());
    let mut c = cluster(vec![
        labelled("a1", 4000, 4 * G, "zone", "a"),
        labelled("b1", 1000, 4 * G, "zone", "b"),
    ]);
    let at = chosen(&c.place(&demands(apart, 5)));
    assert_eq!(sorted(&at), ["a1", "a1", "a1", "a1", "b1"]);
}

#[test]
fn bin_packing_fills_the_fullest_node_with_room() {
    let policy = Policy {
        strategy: Strategy::BinPack,
        ..Policy::default()
    };
    let mut c = with_policy(
        policy,
        vec![
            node("a", 4000, 4 * G),
            node("b", 4000, 4 * G),
            node("c", 4000, 4 * G),
        ],
    );
    let mut packed = needs("hello", 1000, G);
    packed.anti_affinity = AntiAffinity::None;
    let at = chosen(&c.place(&demands(packed, 5)));
    assert_eq!(sorted(&at), ["a", "a", "a", "a", "b"]);
    let mut other = needs("other", 1000, G);
    other.anti_affinity = AntiAffinity::None;
    let at = chosen(&c.place(&demands(other, 1)));
    assert_eq!(at, "b");
}

#[test]
fn each_obstacle_is_named_for_each_node() {
    let mut nodes = vec![
        node("cpu", 400, 8 * G),
        node("memory", 8000, G / 2),
        labelled("special", 8000, 8 * G, "group", "special"),
        node("constraint", 8000, 8 * G),
    ];
    for node in &mut nodes {
        if node.name.as_str() != "constraint" {
            node.labels.insert("disk".into(), "ssd".into());
        }
    }
    for (name, state) in [
        ("down", NodeState::Down),
        ("suspect", NodeState::Suspect),
        ("cordoned", NodeState::Cordoned),
        ("draining", NodeState::Draining),
    ] {
        let mut node = node(name, 8000, 8 * G);
        node.state = state;
        nodes.push(node);
    }
    let mut wants = needs("hello", 500, G);
    wants.filters = vec![filter("constraint:disk==ssd")];
    let mut c = cluster(nodes);
    let decisions = c.place(&demands(wants, 1));
    let expected = [
        (
            "constraint",
            "constraint:disk==ssd does not hold: the node does not have that label",
        ),
        ("cordoned", "the node is cordoned"),
        (
            "cpu",
            "not enough CPU: 0.4 of 0.4 cores are free, 0.5 needed",
        ),
        ("down", "the node is down"),
        ("draining", "the node is draining"),
        (
            "memory",
            "not enough memory: 512m of 512m are free, 1g needed",
        ),
        (
            "special",
            "constraint:group==default does not hold: it is special",
        ),
        ("suspect", "the node is suspect"),
    ];
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(n, r)| ((*n).to_owned(), (*r).to_owned()))
        .collect();
    assert_eq!(refused(&decisions[0]), expected);
    assert_eq!(
        cluster(vec![]).place(&demands(needs("x", 1, 1), 1)),
        [Decision::Nowhere(Arc::default())]
    );
}

#[test]
fn reasons_can_be_asked_for_without_placing() {
    let mut c = cluster(vec![node("a", 1000, G), node("b", 4000, 4 * G)]);
    let wants = demands(needs("hello", 2000, G), 1);
    let before = c.placed();
    let why = c.rejections(&wants[0]);
    assert_eq!(
        why.to_string(),
        "no node of 1 takes it: 1 without enough free CPU"
    );
    assert_eq!(c.placed(), before);
    c.place(&wants);
    assert_eq!(c.reserved(&name("b")), Some((2000, G)));
}

#[test]
fn anti_affinity_is_a_wish_or_a_rule() {
    let nodes = || vec![node("a", 4000, 4 * G), node("b", 4000, 4 * G)];
    let at = chosen(&cluster(nodes()).place(&demands(needs("hello", 1, 1), 3)));
    assert!(!at.contains('-'), "{at}");
    let mut apart = needs("hello", 1, 1);
    apart.anti_affinity = AntiAffinity::Require;
    let mut c = cluster(nodes());
    let decisions = c.place(&demands(apart, 3));
    assert_eq!(chosen(&decisions).matches('-').count(), 1);
    let text = "another instance of the proc is there".to_owned();
    let expected = ["a", "b"].map(|n| (n.to_owned(), text.clone()));
    assert_eq!(refused(&decisions[2]), expected);
}

#[test]
fn a_pinned_instance_goes_home_or_nowhere() {
    let mut c = cluster(vec![node("a", 1000, G), node("b", 1000, G)]);
    let mut pinned = demands(needs("db", 800, G / 2), 2);
    for demand in &mut pinned {
        demand.pin = Some(name("b"));
    }
    // A large one that would have taken `b` gives way: what is bound is placed first.
    let mut all = demands(needs("hello", 900, G / 2), 1);
    all.extend(pinned);
    let decisions = c.place(&all);
    assert_eq!(chosen(&decisions), "a b -");
    let expected = [
        ("a", "its volumes or its state are on b"),
        ("b", "not enough CPU: 0.2 of 1 cores are free, 0.8 needed"),
    ]
    .map(|(n, r)| (n.to_owned(), r.to_owned()));
    assert_eq!(refused(&decisions[2]), expected);
}

#[test]
fn where_it_failed_is_avoided_but_not_for_ever() {
    let mut c = cluster(vec![node("a", 4000, 4 * G), node("b", 100, G)]);
    let mut again = demands(needs("hello", 50, G / 8), 1).remove(0);
    again.avoid.insert(name("a"), 1);
    assert_eq!(chosen(&c.place(&[again.clone()])), "b");
    c.remove(&again.copy());
    again.avoid.insert(name("b"), 2);
    let decisions = c.place(&[again]);
    assert_eq!(chosen(&decisions), "a");
    let Decision::Place { why, .. } = &decisions[0] else {
        panic!("{decisions:?}")
    };
    assert!(why.to_string().contains("failed 1 times there"), "{why}");
}

#[test]
fn soft_filters_are_followed_where_they_can_be() {
    let nodes = || {
        vec![
            node("a", 4000, 4 * G),
            labelled("b", 1000, G, "disk", "ssd"),
        ]
    };
    let mut wants = needs("hello", 600, G / 4);
    wants.filters = vec![filter("constraint:disk==~ssd")];
    let at = chosen(&cluster(nodes()).place(&demands(wants, 2)));
    assert_eq!(sorted(&at), ["a", "b"]);
    let mut wants = needs("hello", 100, G / 16);
    wants.filters = vec![filter("constraint:disk!=~ssd")];
    assert_eq!(chosen(&cluster(nodes()).place(&demands(wants, 2))), "a a");
}

#[test]
fn affinities_see_what_the_same_call_has_placed() {
    let mut cache = needs("cache", 100, G / 8);
    cache.filters = vec![filter("affinity:container==shop.web.web")];
    cache.priority = 0;
    let mut lonely = needs("lonely", 100, G / 8);
    lonely.filters = vec![filter("affinity:container!=*")];
    let mut chain = needs("chain", 100, G / 8);
    chain.filters = vec![filter("affinity:container==cache")];
    let mut all = demands(chain, 1);
    all.extend(demands(cache, 1));
    all.extend(demands(lonely, 1));
    all.extend(demands(needs("shop", 3900, G), 1));
    let mut c = cluster(vec![
        node("a", 4100, 4 * G),
        node("b", 4100, 4 * G),
        node("c", 50, 4 * G),
    ]);
    let decisions = c.place(&all);
    let at = chosen(&decisions);
    let at: Vec<&str> = at.split(' ').collect();
    assert_eq!(at[0], at[1], "{at:?}");
    assert_eq!(at[1], at[3], "{at:?}");
    assert_ne!(at[2], at[3], "{at:?}");
    let mut nobody = needs("nobody", 1, 1);
    nobody.filters = vec![filter("affinity:image==mysql*")];
    let decisions = c.place(&demands(nobody, 1));
    assert_eq!(
        refused(&decisions[0])[0].1,
        "affinity:image==mysql* does not hold for what runs there"
    );
}

#[test]
fn an_update_stays_on_its_node_where_it_fits() {
    let mut c = cluster(vec![
        node("a", 4000, 4 * G),
        node("b", 4000, 4 * G),
        node("c", 4000, 4 * G),
    ]);
    let first = demands(needs("hello", 1000, G), 2);
    let at = chosen(&c.place(&first));
    let mut next = demands(needs("hello", 1500, G), 2);
    for demand in &mut next {
        demand.version = 2;
    }
    assert_eq!(chosen(&c.place(&next)), at, "both copies are there now");
    assert_eq!(c.len(), 4);
    for old in &first {
        assert!(c.remove(&old.copy()).is_some());
    }
    assert_eq!(c.len(), 2);
    // In the next version they no longer fit beside their old copies.
    let mut large = demands(needs("hello", 3000, G), 2);
    for demand in &mut large {
        demand.version = 3;
    }
    let at_last = chosen(&c.place(&large));
    assert_eq!(at_last, "c -");
}

#[test]
fn what_only_one_node_takes_goes_before_what_many_take() {
    let mut c = cluster(vec![
        labelled("a", 1000, G, "disk", "ssd"),
        node("b", 1000, G),
    ]);
    let mut picky = needs("picky", 100, G / 8);
    picky.filters = vec![filter("constraint:disk==ssd")];
    let mut all = demands(needs("large", 1000, G), 1);
    all.extend(demands(picky, 1));
    assert_eq!(chosen(&c.place(&all)), "b a");
}

#[test]
fn room_is_made_by_moving_what_does_not_run_yet() {
    // x may go to a or b, y to a or c, z only to a: each node takes one.
    let mut nodes = vec![node("a", 1000, G), node("b", 1000, G), node("c", 1000, G)];
    for (node, labels) in nodes.iter_mut().zip(["x y z w", "x w", "y w"]) {
        for label in labels.split(' ') {
            node.labels.insert(label.into(), "yes".into());
        }
    }
    let one = |app: &str, label: &str| {
        let mut needs = needs(app, 1000, G / 2);
        needs.filters = vec![filter(&format!("constraint:{label}==yes"))];
        demands(needs, 1)
    };
    let mut all = one("x", "x");
    all.extend(one("y", "y"));
    all.extend(one("w", "w"));
    let mut c = cluster(nodes);
    assert!(!chosen(&c.place(&all)).contains('-'));
    assert_eq!(c.len(), 3);
    // What runs is not moved, even for someone who has no other place.
    let decisions = c.place(&one("z", "z"));
    assert_eq!(chosen(&decisions), "-");
}

#[test]
fn priorities_go_first_and_evict_only_where_that_is_allowed() {
    let run = |preemption: bool| {
        let policy = Policy {
            preemption,
            ..Policy::default()
        };
        let mut c = with_policy(policy, vec![node("a", 1000, G), node("b", 1000, G)]);
        c.place(&demands(needs("small", 500, G / 4), 2));
        c.place(&demands(needs("tiny", 250, G / 4), 2));
        let mut important = needs("important", 700, G / 4);
        important.priority = 10;
        let decisions = c.place(&demands(important, 1));
        (c, decisions)
    };
    let (_, decisions) = run(false);
    assert_eq!(chosen(&decisions), "-");
    let (c, decisions) = run(true);
    let Decision::Place { node, evicts, .. } = &decisions[0] else {
        panic!("{decisions:?}")
    };
    assert_eq!(evicts.len(), 1, "{evicts:?}");
    assert!(evicts[0].to_string().starts_with("small.web.web.v1-i"));
    let (cpu, _) = c.reserved(node).unwrap();
    assert_eq!(cpu, 950);
}

#[test]
fn equal_priorities_and_stateful_instances_are_never_evicted() {
    let policy = Policy {
        preemption: true,
        ..Policy::default()
    };
    let mut c = with_policy(policy, vec![node("a", 1000, G)]);
    let mut db = needs("db", 600, G / 4);
    db.stateful = true;
    c.place(&demands(db, 1));
    let mut peer = needs("peer", 400, G / 4);
    peer.priority = 5;
    c.place(&demands(peer, 1));
    for priority in [5, 4] {
        let mut wants = needs("wants", 400, G / 4);
        wants.priority = priority;
        assert_eq!(chosen(&c.place(&demands(wants, 1))), "-");
    }
    let mut wants = needs("wants", 600, G / 4);
    wants.priority = 6;
    assert_eq!(
        chosen(&c.place(&demands(wants, 1))),
        "-",
        "only db is that large"
    );
}

#[test]
fn a_higher_priority_in_the_same_call_takes_the_last_place() {
    let mut c = cluster(vec![node("a", 1000, G)]);
    let mut all = demands(needs("low", 1000, G / 4), 1);
    let mut high = needs("high", 100, G / 4);
    high.priority = 1;
    all.extend(demands(high, 1));
    assert_eq!(chosen(&c.place(&all)), "- a");
}

#[test]
fn nothing_is_added_to_a_node_that_has_shrunk() {
    let mut c = cluster(vec![node("a", 4000, 4 * G)]);
    c.place(&demands(needs("hello", 3000, G), 1));
    c.set_node(node("a", 2000, 4 * G));
    let decisions = c.place(&demands(needs("free", 0, 0), 1));
    assert_eq!(
        refused(&decisions[0])[0].1,
        "not enough CPU: 0 of 2 cores are free, 0 needed"
    );
}

#[test]
fn nodes_come_and_go() {
    let mut c = cluster(vec![node("b", 1000, G)]);
    let wants = demands(needs("hello", 600, G / 4), 2);
    assert_eq!(chosen(&c.place(&wants)), "b -");
    c.set_node(node("a", 1000, G));
    assert_eq!(chosen(&c.place(&wants[1..])), "a");
    assert_eq!(c.on(&name("b")).len(), 1);
    let gone = c.remove_node(&name("b"));
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].demand, wants[0]);
    assert_eq!((c.len(), c.nodes().len()), (1, 1));
    assert_eq!(c.placed()[0].node, name("a"));
    assert!(!c.put(Placed {
        node: name("b"),
        ..c.placed()[0].clone()
    }));
}

#[test]
fn instances_that_reserve_nothing_are_spread_all_the_same() {
    let mut c = cluster(vec![node("a", 4000, 4 * G), node("b", 4000, 4 * G)]);
    let mut all = Vec::new();
    for app in ["one", "two", "three", "four"] {
        all.extend(demands(needs(app, 0, 0), 1));
    }
    let at = chosen(&c.place(&all));
    assert_eq!(at.matches('a').count(), 2, "{at}");
}

#[test]
fn the_reasons_of_a_full_cluster_are_shared() {
    let nodes = (0..50).map(|n| node(&format!("n{n}"), 100, G)).collect();
    let mut c = cluster(nodes);
    let decisions = c.place(&demands(needs("hello", 100, 1), 500));
    let mut refused = decisions.iter().filter_map(|d| match d {
        Decision::Nowhere(why) => Some(why),
        Decision::Place { .. } => None,
    });
    let first = refused.next().unwrap();
    assert_eq!(first.nodes.len(), 50);
    assert_eq!(refused.clone().count(), 449);
    assert!(refused.all(|why| Arc::ptr_eq(why, first)));
}
