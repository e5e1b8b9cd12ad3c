//! The command line against a real lain: exit codes, logs over a restart, commands inside.

use crate::support::*;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn a_deploy_says_by_its_exit_code_how_it_went() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("codes");
    let yaml = |more: &str| {
        format!(
            "appname: {app}\nweb:\n  image: lain/hello:1\n  healthcheck: /cgi-bin/health\n{more}"
        )
    };
    // A dry run that finds changes, and does nothing.
    let dry = lain.deploy_with(&yaml(""), &["--dry-run"]).ended_with(10);
    assert!(dry.out.contains(&app), "{}", dry.out);
    assert!(host.containers().is_empty());
    let done = lain.deploy(&yaml("")).ended_with(0);
    let url = done
        .out
        .lines()
        .find_map(|l| l.trim().strip_prefix("http://"))
        .expect("the URL is shown")
        .to_owned();
    let url = url.trim_end_matches('/');
    let answer = until("it answers", || lain.fetch(url, "/cgi-bin/id"));
    assert_eq!(answer.0, 200);
    let before = host.containers();
    // The same again is nothing to do, dry or not.
    lain.deploy_with(&yaml(""), &["--dry-run"]).ended_with(0);
    lain.deploy(&yaml("")).ended_with(0);
    // A file with a mistake, which is shown with its line.
    lain.deploy(&yaml("  prot: 80\n"))
        .ended_with(9)
        .said(&["prot", "port", "5"]);
    assert_eq!(host.containers(), before);
    // An update that fails is rolled back, and says why.
    let broken = "  cmd: /no/such/command\n  restart: {intensity: 1, max_backoff: 1s}\n";
    lain.deploy(&yaml(broken))
        .ended_with(1)
        .said(&["/no/such/command"]);
    let view = lain.until_app_is(&app, "running");
    let kept = address(&view["procs"][0]["instances"][0]);
    let answer = until("it answers still", || lain.fetch(&kept, "/cgi-bin/id"));
    assert_eq!(answer.0, 200);
    // Nobody there.
    let mut alone = lain.command(&["ps"]);
    let ran: Ran = alone
        .env("LAIN_SERVER", "http://127.0.0.1:1")
        .output()
        .unwrap()
        .into();
    ran.ended_with(8);
}

#[test]
fn logs_go_on_over_a_restart_and_commands_run_inside() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("talker");
    let yaml = format!(
        "appname: {app}\nworker: {{image: \"lain/hello:1\", cmd: /app/worker, env: [LOG_EVERY=1]}}\n"
    );
    lain.deploy(&yaml).ended_with(0);

    let mut follow = lain.command(&["logs", "-f", "-a", &app]);
    let mut child = KilledAtTheEnd(
        follow
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let lines = BufReader::new(child.0.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let (send, lines) = {
        let (send, receive) = std::sync::mpsc::channel();
        let mut lines = lines;
        (
            std::thread::spawn(move || lines.try_for_each(|line| send.send(line))),
            receive,
        )
    };
    let wait_for = |what: &str| {
        let line = lines.recv_timeout(PATIENCE);
        let mut line = line.unwrap_or_else(|e| panic!("{what}: {e}"));
        while !line.contains(what) {
            line = lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|e| panic!("{what}: {e}"));
        }
    };
    wait_for("line 3 ");
    host.docker.kill(host.containers().keys().next().unwrap());
    // It counts from one again: the same stream shows the next run.
    wait_for("line 1 ");
    wait_for("line 2 ");
    drop(child);
    let _ = send.join();

    until("it runs", || {
        (lain.app(&app)["state"] == "running").then_some(())
    });
    let inside =
        |command: &str| lain.cli(&["enter", "worker", "-a", &app, "--", "sh", "-c", command]);
    assert_eq!(inside("echo out; exit 0").ended_with(0).out, "out\n");
    inside("echo err >&2; exit 7").ended_with(7).said(&["err"]);
    let ran = lain
        .cli(&[
            "run",
            "worker",
            "-a",
            &app,
            "--",
            "sh",
            "-c",
            "echo once; exit 5",
        ])
        .ended_with(5);
    assert!(ran.out.contains("once"), "{}", ran.out);
    until("the one-off container is gone", || {
        (host.containers().len() == 1).then_some(())
    });
}

struct KilledAtTheEnd(std::process::Child);

impl Drop for KilledAtTheEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
