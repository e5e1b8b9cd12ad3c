//! Draining, losing and rebalancing nodes, case by case.

use crate::domain::id::NodeName;
use crate::domain::placement::fixtures::{demands, labelled, needs, node};
use crate::domain::placement::*;

const G: u64 = 1 << 30;

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn put(c: &mut Cluster, all: Vec<Demand>, node: &str) {
    for demand in all {
        assert!(c.put(Placed {
            demand,
            node: name(node),
            available: true
        }));
    }
}

/// Ends a move as the control host does: the new copy serves, the old one goes.
fn finish(c: &mut Cluster, moves: &[Move]) {
    for moved in moves {
        assert!(c.set_available(&moved.demand.copy(), true));
        assert!(c.remove(&moved.from).is_some());
    }
}

fn two() -> Cluster {
    let nodes = vec![node("a", 4000, 4 * G), node("b", 4000, 4 * G)];
    Cluster::new(Policy::default(), nodes, [])
}

#[test]
fn a_drain_moves_one_instance_of_each_proc_at_a_time() {
    let mut c = two();
    put(&mut c, demands(needs("hello", 100, G / 8), 3), "a");
    put(&mut c, demands(needs("other", 100, G / 8), 1), "a");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let drained = c.drain(&name("a"), 1);
        seen.push(drained.moves.len());
        for moved in &drained.moves {
            assert_eq!(moved.to_node, name("b"));
            assert_eq!(moved.demand.drift, 1);
            assert_eq!(
                (moved.cause, moved.order),
                (MoveCause::Drain, MoveOrder::StartFirst)
            );
        }
        let again = c.drain(&name("a"), 1);
        assert_eq!(again.moves, [], "asking again begins nothing twice");
        let moving = again.stays.iter().filter(|(_, s)| *s == Stay::Moving);
        assert_eq!(moving.count(), drained.moves.len());
        finish(&mut c, &drained.moves);
    }
    assert_eq!(seen, [2, 1, 1]);
    assert_eq!(c.on(&name("a")), []);
    assert_eq!(c.drain(&name("a"), 1), Drained::default());
    assert_eq!(c.nodes().next().unwrap().state, NodeState::Draining);
}

#[test]
fn a_drain_may_be_told_to_hurry_or_to_be_careful() {
    let mut c = two();
    put(&mut c, demands(needs("hello", 100, G / 8), 4), "a");
    assert_eq!(c.drain(&name("a"), 3).moves.len(), 3);
    let mut c = two();
    put(&mut c, demands(needs("hello", 100, G / 8), 4), "a");
    assert_eq!(
        c.drain(&name("a"), 0).moves.len(),
        1,
        "start first, one by one"
    );
    let mut exclusive = needs("only", 100, G / 8);
    exclusive.exclusive = true;
    put(&mut c, demands(exclusive, 1), "a");
    let drained = c.drain(&name("a"), 0);
    let stays = drained
        .stays
        .iter()
        .find(|(copy, _)| copy.instance.app.as_str() == "only");
    assert_eq!(stays.unwrap().1, Stay::Budget);
    let moved = &c.drain(&name("a"), 1).moves[0];
    assert_eq!(
        (moved.from.instance.app.as_str(), moved.order),
        ("only", MoveOrder::StopFirst)
    );
}

#[test]
fn a_drain_waits_for_instances_that_do_not_serve() {
    let mut c = two();
    let all = demands(needs("hello", 100, G / 8), 2);
    put(&mut c, all.clone(), "a");
    c.set_available(&all[0].copy(), false);
    let drained = c.drain(&name("a"), 1);
    // The one that does not serve anyway may go; the other is the last that does.
    assert_eq!(drained.moves.len(), 1);
    assert_eq!(drained.moves[0].from, all[0].copy());
    assert_eq!(
        drained.stays,
        [(all[0].copy(), Stay::Moving), (all[1].copy(), Stay::Budget)][1..]
    );
}

#[test]
fn what_does_not_serve_leaves_a_bad_node_all_at_once() {
    let mut c = two();
    let all = demands(needs("hello", 100, G / 8), 3);
    put(&mut c, all.clone(), "a");
    for down in &all[..2] {
        c.set_available(&down.copy(), false);
    }
    let drained = c.drain(&name("a"), 1);
    let moved: Vec<CopyId> = drained.moves.iter().map(|m| m.from.clone()).collect();
    assert_eq!(moved, [all[0].copy(), all[1].copy()]);
    assert_eq!(drained.stays, [(all[2].copy(), Stay::Budget)]);
}

#[test]
fn a_drain_says_what_stays_and_why() {
    let mut c = two();
    let mut db = needs("db", 100, G / 8);
    db.stateful = true;
    put(&mut c, demands(db, 1), "a");
    let mut pinned = demands(needs("files", 100, G / 8), 1);
    pinned[0].pin = Some(name("a"));
    put(&mut c, pinned, "a");
    put(&mut c, demands(needs("large", 3000, G / 8), 1), "a");
    put(&mut c, demands(needs("there", 3000, G / 8), 1), "b");
    let drained = c.drain(&name("a"), 1);
    assert_eq!(drained.moves, []);
    let stays: Vec<String> = drained
        .stays
        .iter()
        .map(|(copy, stay)| format!("{}: {stay}", copy.instance.app))
        .collect();
    assert!(
        stays[0].starts_with("db: its volumes or its state"),
        "{stays:?}"
    );
    assert!(
        stays[1].starts_with("files: its volumes or its state"),
        "{stays:?}"
    );
    assert_eq!(
        stays[2],
        "large: no node of 2 takes it: 1 not ready, 1 without enough free CPU"
    );
}

#[test]
fn a_lost_node_leaves_what_may_run_elsewhere() {
    let mut c = two();
    let mut db = needs("db", 100, G / 8);
    db.stateful = true;
    put(&mut c, demands(db, 1), "a");
    put(&mut c, demands(needs("hello", 100, G / 8), 2), "a");
    // An update that had begun: only its new copy counts.
    let mut next = demands(needs("hello", 100, G / 8), 1);
    next[0].version = 2;
    put(&mut c, next, "a");
    let mut down = node("a", 4000, 4 * G);
    down.state = NodeState::Down;
    c.set_node(down);
    let lost = c.lost(&name("a"));
    let names: Vec<String> = lost.demands.iter().map(|d| d.copy().to_string()).collect();
    assert_eq!(names, ["hello.web.web.v2-i1-d1", "hello.web.web.v1-i2-d1"]);
    assert_eq!(lost.stays[0].to_string(), "db.web.web.v1-i1-d0");
    assert_eq!(c.on(&name("a")).len(), 1);
    assert!(
        c.place(&lost.demands)
            .iter()
            .all(|d| d.node() == Some(&name("b")))
    );
    assert_eq!(c.lost(&name("a")).demands, []);
}

#[test]
fn a_node_that_comes_back_is_filled_gently() {
    let mut c = two();
    for app in ["one", "two", "three", "four", "five", "six"] {
        put(&mut c, demands(needs(app, 500, G / 8), 1), "a");
    }
    let mut rounds = Vec::new();
    loop {
        let moves = c.rebalance(1);
        assert!(moves.len() <= 1);
        if moves.is_empty() {
            break;
        }
        assert_eq!(moves[0].cause, MoveCause::Load);
        finish(&mut c, &moves);
        rounds.push(moves.len());
    }
    // 3000 and 0, 2500 and 500, 2000 and 1000: less than a fifth of a node would be gained by another move.
    assert_eq!(rounds.len(), 2);
    assert_eq!(c.reserved(&name("a")).unwrap().0, 2000);
}

#[test]
fn moves_in_flight_are_reckoned_with() {
    let mut c = two();
    for app in ["one", "two", "three", "four", "five", "six"] {
        put(&mut c, demands(needs(app, 500, G / 8), 1), "a");
    }
    assert_eq!(c.rebalance(10).len(), 2);
    assert_eq!(c.rebalance(10), [], "though the old copies are still there");
}

#[test]
fn a_proc_that_is_crowded_is_spread_out() {
    let mut c = two();
    put(&mut c, demands(needs("hello", 10, G / 64), 3), "a");
    let moves = c.rebalance(5);
    assert_eq!(moves.len(), 1, "one of a proc at a time");
    assert_eq!(moves[0].cause, MoveCause::Peers);
    assert_eq!(c.rebalance(5), [], "not while one of them is on its way");
    finish(&mut c, &moves);
    assert_eq!(c.rebalance(5), [], "two and one is as even as can be");
}

#[test]
fn a_zone_that_comes_back_gets_its_part() {
    let nodes = vec![
        labelled("a1", 4000, 4 * G, "zone", "a"),
        labelled("a2", 4000, 4 * G, "zone", "a"),
        labelled("b1", 4000, 4 * G, "zone", "b"),
    ];
    let policy = Policy {
        spread_label: Some("zone".into()),
        ..Policy::default()
    };
    let mut c = Cluster::new(policy, nodes, []);
    let all = demands(needs("hello", 10, G / 64), 2);
    put(&mut c, all[..1].to_vec(), "a1");
    put(&mut c, all[1..].to_vec(), "a2");
    let moves = c.rebalance(5);
    assert_eq!(moves.len(), 1);
    assert_eq!(
        (moves[0].cause, &moves[0].to_node),
        (MoveCause::Domain, &name("b1"))
    );
    finish(&mut c, &moves);
    assert_eq!(c.rebalance(5), []);
}

#[test]
fn what_is_bound_or_not_well_is_left_alone() {
    let lonely = |change: &dyn Fn(&mut Needs)| {
        let mut c = two();
        for app in ["one", "two", "three", "four", "five", "six"] {
            let mut needs = needs(app, 500, G / 8);
            change(&mut needs);
            put(&mut c, demands(needs, 1), "a");
        }
        c
    };
    assert_eq!(lonely(&|n| n.stateful = true).rebalance(9), []);
    assert_eq!(lonely(&|n| n.exclusive = true).rebalance(9), []);
    let mut c = lonely(&|_| {});
    for placed in c.placed() {
        c.set_available(&placed.demand.copy(), false);
    }
    assert_eq!(c.rebalance(9), []);
    let mut c = lonely(&|_| {});
    let mut cordoned = node("a", 4000, 4 * G);
    cordoned.state = NodeState::Cordoned;
    c.set_node(cordoned);
    assert_eq!(c.rebalance(9), []);
    let policy = Policy {
        strategy: Strategy::BinPack,
        ..Policy::default()
    };
    let mut c = lonely(&|_| {});
    c.set_policy(policy);
    assert_eq!(c.rebalance(9), [], "packed as it should be");
}
