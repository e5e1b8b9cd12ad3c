//! Faults of processes and disks rather than of whole nodes: a control host that stands still, an agent that is
//! stopped alone, a store that is away, a disk that is full, packets lost one way, clocks that disagree.

use crate::etcd_support::Etcd;
use crate::support::{Cluster, Load, send, web};
use std::time::Duration;

#[test]
fn a_control_host_that_is_frozen_and_thawed_moves_nothing() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("still", 4, ""));
    let before = cluster.started("still");
    cluster.signal_server("STOP");
    std::thread::sleep(Duration::from_secs(10));
    cluster.signal_server("CONT");
    // Longer than a lease: whatever it makes of the silence shows by now.
    std::thread::sleep(Duration::from_secs(4));
    let events = cluster.lain(&["events", "--limit", "1000", "-o", "json"]);
    assert!(!events.contains("node_down"), "{events}");
    assert!(!events.contains("instance_moved"), "{events}");
    assert_eq!(cluster.started("still"), before);
    cluster.all_answer("still", 4);
    // And it still sees what is lost from now on.
    cluster.rig(&["kill", "2"]);
    cluster.until("all run on node1", || cluster.spread("still") == [4, 0]);
}

/// Where the one instance of `once` runs, and the other node of two.
fn here_and_there(cluster: &Cluster) -> (u32, u32) {
    match cluster.spread("once")[0] {
        1 => (1, 2),
        _ => (2, 1),
    }
}

/// Waits until the instance runs on `node`, does `after`, and waits until all is well again.
fn moves_and_settles(cluster: &Cluster, node: u32, after: impl FnOnce()) {
    cluster.until("it runs on the other side", || {
        cluster.spread("once")[node as usize - 1] == 1
    });
    cluster.all_answer("once", 1);
    after();
    cluster.until("both are ready", || {
        cluster.node_state("node1") == "ready" && cluster.node_state("node2") == "ready"
    });
    cluster.until("one container is left", || {
        cluster.containers(1, "once").len() + cluster.containers(2, "once").len() == 1
    });
}

#[test]
fn an_agent_that_is_stopped_alone_lets_nothing_run_twice() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("once", 1, "  exclusive: true\n"));
    let samples = cluster.watch_twice("once");
    let (here, there) = here_and_there(&cluster);
    // Its engine and its containers go on; only its watchdog can stop them.
    cluster.signal_agent(here, "STOP");
    moves_and_settles(&cluster, there, || cluster.signal_agent(here, "CONT"));
    // The other way round, and for good.
    cluster.rig(&["reap", &there.to_string(), "agent", "KILL"]);
    moves_and_settles(&cluster, here, || cluster.agent(there));
    let (looks, twice) = samples.stop();
    assert!(looks > 50, "{looks} looks");
    assert_eq!(twice, 0, "of {looks} looks");
}

#[test]
fn packets_that_are_lost_one_way_let_nothing_run_twice() {
    let cluster = Cluster::start(2);
    cluster.deploy(&web("once", 1, "  exclusive: true\n"));
    let samples = cluster.watch_twice("once");
    // What the node says is not heard.
    let (here, there) = here_and_there(&cluster);
    cluster.rig(&["oneway", &here.to_string(), "0"]);
    moves_and_settles(&cluster, there, || drop(cluster.rig(&["heal"])));
    // What is said to the node is not heard.
    let (here, there) = here_and_there(&cluster);
    cluster.rig(&["oneway", "0", &here.to_string()]);
    moves_and_settles(&cluster, there, || drop(cluster.rig(&["heal"])));
    let (looks, twice) = samples.stop();
    assert!(looks > 50, "{looks} looks");
    assert_eq!(twice, 0, "of {looks} looks");
}

#[test]
fn a_node_whose_disk_is_full_keeps_what_it_has_and_takes_nothing_new() {
    let cluster = Cluster::engines(2);
    let data = cluster.agent_data(1);
    std::fs::create_dir_all(&data).unwrap();
    let path = data.display().to_string();
    cluster.rig(&[
        "exec", "1", "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", &path,
    ]);
    cluster.start_server();
    for node in 1..=2 {
        cluster.join(node);
    }
    cluster.until("both are ready", || {
        cluster.node_state("node1") == "ready" && cluster.node_state("node2") == "ready"
    });
    cluster.deploy(&web("full", 4, ""));
    assert_eq!(cluster.spread("full"), [2, 2]);
    let load = Load::on(cluster.addresses("full"));
    let before = cluster.started("full");
    let filler = format!("{path}/filler");
    // Ends with an error: there is no more space.
    cluster.rig(&[
        "exec",
        "1",
        "sh",
        "-c",
        &format!("cat /dev/zero > {filler} || true"),
    ]);
    cluster.until("it is unfit", || cluster.node_state("node1") == "unfit");
    let why = cluster.lain(&["node", "show", "node1"]);
    assert!(why.contains("the disk is nearly full"), "{why}");
    cluster.deploy(&web("other", 2, ""));
    assert_eq!(cluster.spread("other"), [0, 2]);
    assert_eq!(cluster.started("full"), before);
    assert_eq!(load.stop().gaps, 0);
    cluster.rig(&["exec", "1", "rm", &filler]);
    cluster.until("it is ready", || cluster.node_state("node1") == "ready");
    assert_eq!(cluster.started("full"), before);
}

#[test]
fn clocks_that_disagree_let_nothing_run_twice() {
    let cluster = Cluster::engines(2);
    cluster.start_server();
    // Not yet so far from the control host's that the nodes would count as unfit, and far from each other.
    for (node, ahead) in [(1, 25), (2, -25)] {
        cluster.join_with_clock(node, ahead, &cluster.join_command());
    }
    let both_ready = || {
        cluster.until("both are ready", || {
            cluster.node_state("node1") == "ready" && cluster.node_state("node2") == "ready"
        });
    };
    both_ready();
    cluster.deploy(&web("once", 1, "  exclusive: true\n"));
    let samples = cluster.watch_twice("once");
    for _ in 0..2 {
        let (here, there) = here_and_there(&cluster);
        cluster.rig(&["cut", &here.to_string()]);
        moves_and_settles(&cluster, there, || drop(cluster.rig(&["heal"])));
    }
    let (here, there) = here_and_there(&cluster);
    // Its clock jumps by far: new instances go elsewhere, what it has stays, and is moved once it is lost.
    cluster.rig(&["reap", &here.to_string(), "agent"]);
    cluster.join_with_clock(here, 3600, "lain agent");
    let name = format!("node{here}");
    cluster.until("it is unfit", || cluster.node_state(&name) == "unfit");
    let why = cluster.lain(&["node", "show", &name]);
    assert!(why.contains("clock"), "{why}");
    cluster.deploy(&web("other", 2, ""));
    assert_eq!(cluster.spread("other")[here as usize - 1], 0);
    assert_eq!(cluster.spread("once")[here as usize - 1], 1);
    cluster.rig(&["cut", &here.to_string()]);
    cluster.until("it runs on the other side", || {
        cluster.spread("once")[there as usize - 1] == 1
    });
    cluster.rig(&["heal"]);
    cluster.until("one container is left", || {
        cluster.containers(1, "once").len() + cluster.containers(2, "once").len() == 1
    });
    // Put right, it counts again.
    cluster.rig(&["reap", &here.to_string(), "agent"]);
    cluster.agent(here);
    both_ready();
    let (looks, twice) = samples.stop();
    assert!(looks > 50, "{looks} looks");
    assert_eq!(twice, 0, "of {looks} looks");
}

#[test]
fn a_store_that_stands_still_costs_no_client_an_answer() {
    let etcd = Etcd::start();
    let store = format!("etcd://{}", etcd.config("lain").endpoints.join(","));
    let cluster = Cluster::with_standby(2, &store);
    cluster.deploy(&web("calm", 3, ""));
    let before = cluster.started("calm");
    let load = Load::on(cluster.addresses("calm"));
    let store_pid = etcd.child.as_ref().unwrap().id();
    send("STOP", store_pid);
    std::thread::sleep(Duration::from_secs(30));
    send("CONT", store_pid);
    // A leader that could not renew its lease has ended itself, as systemd would notice.
    cluster.restart_what_ended(&store);
    cluster.until("both nodes are ready", || {
        (0..=1).any(|control| {
            cluster.speak_to(control);
            cluster.node_state("node1") == "ready" && cluster.node_state("node2") == "ready"
        })
    });
    cluster.all_answer("calm", 3);
    assert_eq!(cluster.started("calm"), before);
    assert_eq!(load.stop().gaps, 0);
    // Changes are possible again.
    cluster.deploy(&web("calm", 4, ""));
    cluster.all_answer("calm", 4);
}
