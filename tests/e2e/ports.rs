//! Ports that somebody else has.

use crate::support::*;
use std::net::TcpListener;

#[test]
fn an_api_port_that_is_taken_is_said_to_be_so() {
    let host = Host::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = host.start_in_vain(&["--listen", &address]);
    assert_ne!(ran.code, 0);
    ran.said(&[&address, "is taken", "--listen"]);
}

#[test]
fn a_published_port_that_is_taken_is_avoided_or_said_to_be_so() {
    let first = (31_000..32_000)
        .step_by(2)
        .find(|&p| TcpListener::bind(("127.0.0.1", p)).is_ok())
        .unwrap();
    let taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let host = Host::new().with("LAIN_NODE__PORTS", &format!("{first}-{}", first + 1));
    let lain = host.start();
    let app = host.app("ports");
    let yaml = format!(
        "appname: {app}\nweb:\n  image: lain/hello:1\n  healthcheck: /cgi-bin/health\n  restart: {{intensity: 1, max_backoff: 1s}}\n"
    );
    lain.deploy(&yaml).ended_with(0);
    assert_eq!(
        address(&lain.instance(&app, "web", 1)),
        format!("127.0.0.1:{}", first + 1)
    );
    // Both are taken now: the next instance cannot have one, and the first is left alone.
    let before = host.containers();
    lain.cli(&["scale", "web", "-a", &app, "-n", "2"])
        .ended_with(1)
        .said(&["port"]);
    assert_eq!(host.containers(), before);
    lain.cli(&["scale", "web", "-a", &app, "-n", "1"])
        .ended_with(0);
    assert_eq!(host.containers(), before);
    drop(taken);
    lain.cli(&["scale", "web", "-a", &app, "-n", "2"])
        .ended_with(0);
    lain.cli(&["scale", "web", "-a", &app, "-n", "1"])
        .ended_with(0);

    // Somebody takes the port of an instance that is stopped: its start says so, and works later.
    lain.cli(&["stop", "-a", &app]).ended_with(0);
    let thief = TcpListener::bind(("127.0.0.1", first + 1)).unwrap();
    let ran = lain.cli(&["start", "-a", &app, "--timeout", "60s"]);
    assert_ne!(ran.code, 0, "{}", ran.out);
    ran.said(&[&format!("port {}", first + 1)]);
    drop(thief);
    until("it runs once the port is free", || {
        (lain.app(&app)["state"] == "running").then_some(())
    });
}
