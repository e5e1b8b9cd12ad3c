//! A cluster of real Docker Engines (`tests/rig`): nodes that die, freeze, are cut off, and come back.
//!
//! One rig at a time: the tests of this program take turns. Needs root, and the packages that
//! `scripts/test.sh` installs.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod client;
#[path = "../etcd_support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod etcd_support;
mod faults;
mod support;

use client::Strict;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::{Cluster, Load, web};

#[test]
fn instances_of_a_node_that_loses_power_run_elsewhere_and_its_old_ones_are_gone_when_it_is_back() {
    let cluster = Cluster::start(3);
    cluster.deploy(&web("power", 9, ""));
    assert_eq!(cluster.spread("power"), [3, 3, 3]);
    let before = cluster.started("power");
    cluster.rig(&["kill", "2"]);
    cluster.until("nine run on two nodes", || {
        cluster.spread("power") == [5, 0, 4] || cluster.spread("power") == [4, 0, 5]
    });
    cluster.all_answer("power", 9);
    // Bystanders were left alone.
    let after = cluster.started("power");
    let kept = before.iter().filter(|(name, _)| after.contains_key(*name));
    assert_eq!(kept.clone().count(), 6);
    assert!(kept.into_iter().all(|(name, at)| after[name] == *at));
    cluster.rig(&["start", "2"]);
    cluster.agent(2);
    cluster.until("node2 is ready", || cluster.node_state("node2") == "ready");
    cluster.until("what it ran before is gone", || {
        cluster.containers(2, "power").is_empty()
    });
    assert_eq!(cluster.instances("power").len(), 9);
}

#[test]
fn after_a_partition_heals_no_instance_runs_twice() {
    let cluster = Cluster::start(3);
    cluster.deploy(&web("cut", 3, ""));
    let load = Load::on(cluster.addresses("cut"));
    cluster.rig(&["cut", "3"]);
    cluster.until("all run on two nodes", || cluster.spread("cut")[2] == 0);
    cluster.all_answer("cut", 3);
    // The cut-off node goes on by itself: what it runs, it keeps running.
    assert_eq!(cluster.containers(3, "cut").len(), 1);
    cluster.rig(&["heal", "3"]);
    cluster.until("node3 is ready", || cluster.node_state("node3") == "ready");
    cluster.until("the superseded container is gone", || {
        cluster.containers(3, "cut").is_empty()
    });
    let all: usize = (1..=3).map(|n| cluster.containers(n, "cut").len()).sum();
    assert_eq!(all, 3);
    // Two of three addresses served all the time; a client with a list of addresses saw no gap.
    assert_eq!(load.stop().gaps, 0);
}

#[test]
fn a_node_that_was_frozen_for_a_minute_puts_away_what_was_moved_meanwhile() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("ice", 4, ""));
    let load = Load::on_live(&cluster, "ice");
    let frozen = Instant::now();
    cluster.rig(&["freeze", "1"]);
    cluster.until("all run on node2", || cluster.spread("ice") == [0, 4]);
    cluster.all_answer("ice", 4);
    std::thread::sleep(Duration::from_secs(60).saturating_sub(frozen.elapsed()));
    cluster.rig(&["thaw", "1"]);
    cluster.until("node1 is ready", || cluster.node_state("node1") == "ready");
    cluster.until("nothing is left there", || {
        cluster.containers(1, "ice").is_empty()
    });
    assert_eq!(load.stop().gaps, 0);
}

#[test]
fn what_may_run_only_once_never_runs_twice() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("once", 1, "  exclusive: true\n"));
    let on = |cluster: &Cluster| match cluster.spread("once")[0] {
        1 => (1, 2),
        _ => (2, 1),
    };
    let (here, there) = on(&cluster);
    // Both engines are asked from outside the partition, as often as that goes.
    let samples = cluster.watch_twice("once");
    cluster.rig(&["cut", &here.to_string()]);
    cluster.until("it runs on the other side", || {
        cluster.spread("once")[there as usize - 1] == 1
    });
    cluster.all_answer("once", 1);
    cluster.rig(&["heal", &here.to_string()]);
    cluster.until("both are ready", || {
        cluster.node_state("node1") == "ready" && cluster.node_state("node2") == "ready"
    });
    cluster.until("one container is left", || {
        cluster.containers(1, "once").len() + cluster.containers(2, "once").len() == 1
    });
    let (looks, twice) = samples.stop();
    assert!(looks > 20, "{looks} looks");
    assert_eq!(twice, 0, "of {looks} looks");
}

#[test]
fn a_standby_takes_over_in_the_middle_of_an_update() {
    let etcd = etcd_support::Etcd::start();
    let store = format!("etcd://{}", etcd.config("lain").endpoints.join(","));
    let cluster = Cluster::with_standby(2, &store);
    // Asked of the standby, which hands its callers on.
    cluster.speak_to(1);
    let file = |step: &str| {
        let update = "  update: {parallelism: 1, min_healthy_time: 500ms}\n";
        let check = "  healthcheck: {path: /cgi-bin/health, interval: 1s}\n";
        web("duo", 6, &format!("{check}{update}  env: [STEP={step}]\n"))
    };
    cluster.deploy(&file("one"));
    let client = Strict::on(&cluster, "duo", &[0, 1]);
    cluster.deploy_without_waiting(&file("two"));
    cluster.until("the update is under way", || {
        let versions = client.versions();
        versions.contains(&1) && versions.contains(&2)
    });
    cluster.kill_server();
    cluster.until("the update has ended", || {
        let view = cluster.may_fail(&["ps", "-a", "duo", "-o", "json"]);
        view.contains("\"state\": \"running\"")
            && cluster.containers(1, "duo").len() + cluster.containers(2, "duo").len() == 6
            && (1..=2).all(|n| {
                cluster
                    .containers(n, "duo")
                    .keys()
                    .all(|c| c.contains(".v2-"))
            })
    });
    cluster.all_answer("duo", 6);
    cluster.until("the client knows", || client.versions() == [2; 6]);
    // Each request went to one address of the list, once.
    let (sent, failed) = client.stop();
    assert_eq!(failed, Vec::<String>::new(), "of {sent}");
    assert!(sent > 100, "{sent}");
    // The one that was killed comes back as a standby.
    cluster.start_control(0, Some(&store));
    cluster.speak_to(0);
    cluster.all_answer("duo", 6);
}

#[test]
fn agents_and_the_control_host_come_back_without_a_container_noticing() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("calm", 4, ""));
    let before = cluster.started("calm");
    // The agent alone.
    cluster.rig(&["reap", "1", "agent", "KILL"]);
    cluster.agent(1);
    cluster.until("node1 is ready", || cluster.node_state("node1") == "ready");
    // The control host alone; meanwhile a container dies and is restarted by its node.
    cluster.kill_server();
    let victim = cluster.containers(2, "calm").keys().next().unwrap().clone();
    cluster.docker(2, &["kill", "-s", "KILL", &victim]);
    cluster.until("its node restarts it", || {
        cluster.containers(2, "calm").get(&victim).copied() == Some(true)
    });
    cluster.start_server();
    cluster.until("both are ready", || {
        cluster.node_state("node1") == "ready" && cluster.node_state("node2") == "ready"
    });
    cluster.until("all run", || cluster.spread("calm") == [2, 2]);
    let after = cluster.started("calm");
    let names = |all: &BTreeMap<String, String>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    for (name, at) in &before {
        assert_eq!(after[name] != *at, *name == victim, "{name}");
    }
    let crashes = cluster.lain(&["crashes", "-a", "calm"]);
    assert!(
        crashes.contains("SIGKILL") || crashes.contains("137"),
        "{crashes}"
    );
}

#[test]
fn an_engine_that_dies_on_a_node_is_waited_for() {
    let cluster = Cluster::start_with(2, &["--", "--live-restore"]);
    cluster.deploy(&web("engine", 2, ""));
    let before = cluster.started("engine");
    cluster.rig(&["dockerd", "1", "kill"]);
    cluster.until("it is unfit", || cluster.node_state("node1") == "unfit");
    // Nothing new goes there meanwhile.
    cluster.deploy(&web("other", 2, ""));
    assert_eq!(cluster.spread("other"), [0, 2]);
    cluster.rig(&["dockerd", "1", "start"]);
    cluster.until("it is ready", || cluster.node_state("node1") == "ready");
    assert_eq!(cluster.started("engine"), before);
}

#[test]
fn draining_moves_instances_while_they_serve_and_removing_refuses_the_certificate() {
    let cluster = Cluster::start(3);
    cluster.deploy(&web("drain", 3, ""));
    let load = Load::on_live(&cluster, "drain");
    cluster.lain(&["node", "drain", "node1"]);
    assert_eq!(cluster.spread("drain")[0], 0);
    assert_eq!(cluster.node_state("node1"), "draining");
    assert_eq!(load.stop().gaps, 0);
    cluster.until("it is empty", || cluster.containers(1, "drain").is_empty());
    cluster.lain(&["node", "remove", "node1", "--yes"]);
    let nodes = cluster.lain(&["node", "list"]);
    assert!(!nodes.contains("node1"), "{nodes}");
    // Its agent still has its certificate, which opens nothing any more.
    cluster.until("it is told so", || {
        cluster.agent_log(1).contains("not part of this cluster")
            || cluster
                .agent_log(1)
                .contains("was removed from the cluster")
    });
    // With a new token it may join again.
    cluster.rig(&["reap", "1", "agent"]);
    cluster.join(1);
    cluster.until("it is ready", || cluster.node_state("node1") == "ready");
}

#[test]
fn an_app_that_fails_everywhere_is_tried_on_several_nodes_and_then_degraded() {
    let cluster = Cluster::start(3);
    cluster.deploy(&web(
        "fails",
        1,
        "  restart:\n    intensity: 1\n    period: 60s\n",
    ));
    let tried = |cluster: &Cluster| {
        let events = cluster.lain(&["events", "--limit", "1000", "-o", "json"]);
        events.matches("instance_moved").count()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    // Whatever is started is killed, wherever it is.
    while tried(&cluster) < 2 && Instant::now() < deadline {
        for node in 1..=3 {
            for (name, running) in cluster.containers(node, "fails") {
                if running {
                    cluster.docker_may_fail(node, &["kill", "-s", "KILL", &name]);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(tried(&cluster) >= 2);
    // Left alone it serves again, wherever it is by now.
    cluster.until("it runs", || cluster.instances("fails")[0].1 == "running");
    let why = cluster.lain(&["why", "fails/web/1"]);
    assert!(why.contains("given up by"), "{why}");
}

#[test]
fn logs_and_commands_reach_instances_on_other_hosts() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("far", 2, ""));
    cluster.all_answer("far", 2);
    let logs = cluster.lain(&["logs", "-a", "far", "--tail", "10"]);
    assert!(
        logs.contains("web.web.i1") && logs.contains("web.web.i2"),
        "{logs}"
    );
    for no in ["1", "2"] {
        let said = cluster.lain(&["enter", "-a", "far", "web", "-i", no, "--", "echo", "here"]);
        assert_eq!(said.trim(), "here");
    }
    let tree = cluster.lain(&["tree", "nodes/node/node2"]);
    assert!(tree.contains("process") && tree.contains("pid"), "{tree}");
}

#[test]
fn a_token_is_good_once() {
    let cluster = Cluster::start(1);
    let command = cluster.join_command();
    cluster.rig(&["reap", "1", "agent"]);
    cluster.join_with(1, &command);
    cluster.until("it is ready", || cluster.node_state("node1") == "ready");
    cluster.rig(&["reap", "1", "agent"]);
    assert!(
        cluster
            .try_join_with(1, &command)
            .contains("the token is not good")
    );
}
