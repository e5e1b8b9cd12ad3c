//! No engine, and an engine that goes away.

use crate::engine::Private;
use crate::support::*;

const NOWHERE: &str = "unix:///nonexistent/docker.sock";

#[test]
fn without_an_engine_auto_falls_back_loudly_and_docker_waits_and_says_what_to_do() {
    // An engine is needed only to clean up what there must not be.
    let host = Host::new();
    let lain = host.start_with(&["--docker-host", NOWHERE]);
    let log = host.log();
    assert!(log.contains("WITHOUT isolation"), "{log}");
    assert_eq!(lain.get("nodes")["items"][0]["engine"], "process");
    lain.stop();

    let lain = host.start_with(&["--docker-host", NOWHERE, "--engine", "docker"]);
    let node = until("the node is down", || {
        let node = lain.get("nodes/here");
        (node["state"] == "down").then_some(node)
    });
    let reason = node["reason"].as_str().unwrap();
    assert!(
        reason.contains("/nonexistent/docker.sock") && reason.contains("start"),
        "{reason}"
    );
    let app = host.app("waits");
    let yaml = format!("appname: {app}\nworker: {{image: \"lain/hello:1\", cmd: /app/worker}}\n");
    // It is accepted, and waits: with --timeout the command says so and the operation goes on.
    lain.deploy_with(&yaml, &["--timeout", "2s"]).ended_with(7);
    let instance = lain.instance(&app, "worker", 1);
    assert_eq!(instance["state"], "pending", "{instance:#}");
    assert!(
        instance["reason"].as_str().unwrap().contains("engine"),
        "{instance:#}"
    );
    let findings = lain.get("doctor").to_string();
    assert!(findings.contains("/nonexistent/docker.sock"), "{findings}");
    lain.stop();
}

#[test]
fn an_engine_that_goes_and_comes_back_finds_its_apps_kept() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: needs root, to start an engine of its own");
        return;
    }
    let private = Private::start();
    let host = Host::on(&private.endpoint());
    let lain = host.start();
    let app = host.app("kept");
    let yaml = format!(
        "appname: {app}\nworker: {{image: \"lain/hello:1\", cmd: /app/worker, num_instances: 2}}\n"
    );
    lain.deploy(&yaml).ended_with(0);
    let before = host.containers();
    let node_is = |state: &str| {
        until(state, || {
            (lain.get("nodes/here")["state"] == state).then_some(())
        })
    };

    // Containers live on without the engine, and nothing is restarted when it is back.
    private.kill();
    node_is("down");
    assert_eq!(lain.app(&app)["procs"][0]["wanted"], 2);
    private.ensure();
    node_is("ready");
    lain.until_app_is(&app, "running");
    assert_eq!(host.containers(), before);

    // One that dies meanwhile is started when the engine is back, and only that one.
    private.kill();
    node_is("down");
    let (victim, was) = before.iter().next().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(was.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    private.ensure();
    node_is("ready");
    until("the dead one is started", || {
        let now = host.containers();
        (now[victim].running && now[victim].started_at != was.started_at).then_some(())
    });
    lain.until_app_is(&app, "running");
    for (name, was) in before.iter().filter(|(name, _)| *name != victim) {
        assert_eq!(&host.containers()[name], was);
    }
    lain.stop();
    assert!(host.containers().is_empty());
}

#[test]
fn an_engine_that_takes_all_containers_down_with_it_has_them_all_back() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: needs root, to start an engine of its own");
        return;
    }
    let private = Private::with(&["--iptables=false"]);
    let host = Host::on(&private.endpoint());
    let lain = host.start();
    let app = host.app("shop");
    let yaml = format!(
        "appname: {app}
oneshot.migrate: {{image: \"lain/hello:1\", cmd: /app/oneshot}}
web: {{image: \"lain/hello:1\", cmd: /app/web, num_instances: 3, spares: 1, healthcheck: /cgi-bin/health}}
worker: {{image: \"lain/hello:1\", cmd: /app/worker, num_instances: 3}}
"
    );
    lain.deploy(&yaml).ended_with(0);
    lain.until_app_is(&app, "running");
    let before = host.containers();
    // Twice: the second time the restart windows have the first one in them.
    for round in 1..=2 {
        // In good order, so that the engine stops its containers first.
        private.end(rustix::process::Signal::TERM);
        until("the node is down", || {
            (lain.get("nodes/here")["state"] == "down").then_some(())
        });
        private.ensure();
        until("all but the oneshot run again", || {
            let now = host.containers();
            let up = now.values().filter(|c| c.running).count();
            (up == 7).then_some(())
        });
        lain.until_app_is(&app, "running");
        let now = host.containers();
        let names: Vec<&String> = now.keys().collect();
        assert_eq!(names, before.keys().collect::<Vec<_>>(), "round {round}");
    }
    // Nobody gave up, and what had ended was not run again.
    for kind in [
        "proc_degraded",
        "actor_gave_up",
        "actor_abandoned",
        "run_failed",
    ] {
        let events = lain.get(&format!("events?limit=1000&kind={kind}"));
        assert_eq!(events["items"].as_array().unwrap().len(), 0, "{events:#}");
    }
    let migrate = lain.instance(&app, "migrate", 1);
    assert_eq!(
        (&migrate["state"], &migrate["restarts"]),
        (&"done".into(), &0.into())
    );
    lain.stop();
    assert!(host.containers().is_empty());
}
