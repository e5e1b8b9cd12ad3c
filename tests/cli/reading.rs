//! What the reading commands print: tables, JSON, YAML, names, and nothing.

use crate::fixtures::{ago, crash, event, hello, instance, line, operation, step, tree};
use crate::support::{Fake, Run, json, lain, page, problem};
use lain::domain::view::{AppState, AppView, InstanceState, OperationState};
use serde_json::json as object;

fn app(view: &AppView) -> Fake {
    Fake::start().on("GET", "apps", json(200, page([view]))).on(
        "GET",
        "apps/hello",
        json(200, view),
    )
}

fn run(fake: &Fake, arguments: &[&str]) -> Run {
    let run = lain(fake, arguments).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    run
}

fn troubled() -> AppView {
    let mut app = hello();
    app.state = AppState::Degraded;
    app.reason = Some("proc web keeps failing".to_owned());
    let mut failing = instance(2, InstanceState::Degraded);
    failing.reason = Some("exit code 1".to_owned());
    failing.restarts = 7;
    failing.health = "unhealthy".to_owned();
    failing.last_exit = Some("exit code 1".to_owned());
    app.procs[0].instances[1] = failing;
    app.procs[0].state = AppState::Degraded;
    app.procs[0].ready = 1;
    app.procs[0].crashes = 7;
    app.procs[0].overrides = vec!["num_instances: 3 in lain.yaml".to_owned()];
    app
}

#[test]
fn ps_of_all_apps() {
    let fake = app(&hello());
    let shown = run(&fake, &["ps"]);
    insta::assert_snapshot!(shown.stdout);
    assert_eq!(shown.stderr, "");
    insta::assert_snapshot!(
        "ps_of_all_apps_wide",
        run(&fake, &["ps", "-o", "wide"]).stdout
    );
    assert_eq!(run(&fake, &["ps", "-o", "name"]).stdout, "hello\n");
    assert_eq!(fake.lines()[0], "GET /api/v1/apps?limit=500");
}

#[test]
fn ps_of_one_app_by_name_or_by_folder() {
    let fake = app(&troubled());
    let named = run(&fake, &["ps", "-a", "hello"]).stdout;
    insta::assert_snapshot!(named);
    let yaml = "web: {port: 80}\nappname: hello\n";
    let here = lain(&fake, &["ps"]).file("lain.yaml", yaml).run();
    assert_eq!(here.stdout, named);
    let all = lain(&fake, &["ps", "--all"]).file("lain.yaml", yaml).run();
    assert!(all.stdout.starts_with("APP "), "{}", all.stdout);
    let names = run(&fake, &["ps", "-a", "hello", "-o", "name"]).stdout;
    assert_eq!(names, "hello.web.web.i1\nhello.web.web.i2\n");
}

#[test]
fn json_and_yaml_are_the_servers_objects_with_fields_that_we_do_not_know() {
    let object = object!({"zeta": 1, "name": "hello", "alpha": {"new": [true, null]}});
    let fake = Fake::start().on("GET", "apps/hello", json(200, &object));
    let json = run(&fake, &["ps", "-a", "hello", "-o", "json"]).stdout;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap(),
        object
    );
    let yaml = run(&fake, &["ps", "-a", "hello", "-o", "yaml"]).stdout;
    assert_eq!(
        yaml,
        "alpha:\n  new:\n  - true\n  - null\nname: hello\nzeta: 1\n"
    );
}

#[test]
fn lists_are_read_to_their_end() {
    let mut second = hello();
    second.name = "other".to_owned();
    let fake = Fake::start()
        .on(
            "GET",
            "apps",
            json(200, object!({"items": [hello()], "next": "c1"})),
        )
        .on("GET", "apps", json(200, page([second])));
    let shown = run(&fake, &["ps", "-o", "json"]).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["items"][1]["name"], "other");
    assert_eq!(shown.get("next"), None);
    assert_eq!(fake.lines()[1], "GET /api/v1/apps?limit=500&after=c1");
}

#[test]
fn nothing_found_is_a_sentence_on_stderr() {
    let empty = page(Vec::<u32>::new());
    for (arguments, path, says) in [
        (&["ps"][..], "apps", "no apps"),
        (&["crashes"], "crashes", "no crashes"),
        (&["events"], "events", "no events"),
        (&["operation", "list"], "operations", "no operations"),
        (&["node", "list"], "nodes", "no nodes"),
        (&["audit", "list"], "audit", "no changes"),
        (&["logs", "-a", "hello"], "apps/hello/logs", "no output"),
    ] {
        let fake = Fake::start().on("GET", path, json(200, &empty));
        let shown = run(&fake, arguments);
        assert_eq!(shown.stdout, "", "{arguments:?}");
        assert!(
            shown.stderr.contains(says),
            "{arguments:?}: {}",
            shown.stderr
        );
    }
}

#[test]
fn crashes_are_listed_by_short_ids_and_shown_by_them() {
    let fake = Fake::start()
        .on("GET", "crashes", json(200, page([crash(12), crash(13)])))
        .on(
            "GET",
            &format!("crashes/{}", crash(13).id),
            json(200, crash(13)),
        );
    insta::assert_snapshot!(run(&fake, &["crashes", "-a", "hello", "-p", "web.web"]).stdout);
    assert_eq!(
        fake.lines()[0],
        "GET /api/v1/crashes?app=hello&proc=web&limit=20"
    );
    let shown = run(
        &fake,
        &["crash", "show", "0198f2a1-0000-7000-8000-000000000013"],
    )
    .stdout;
    assert!(shown.contains("output 12"), "{shown}");
    let ambiguous = lain(&fake, &["crashes", "show", "0198"]).run();
    assert_eq!(ambiguous.code, 2);
    assert!(
        ambiguous.stderr.contains("give more of the id"),
        "{}",
        ambiguous.stderr
    );
    assert_eq!(lain(&fake, &["crashes", "show", "ffff"]).run().code, 3);
}

#[test]
fn events_are_shown_oldest_first() {
    let events = [
        event(7, "hello.web.web.i1 crashed: exit code 1"),
        event(8, "restarted"),
    ];
    let fake = Fake::start().on("GET", "events", json(200, page(&events)));
    insta::assert_snapshot!(run(&fake, &["events"]).stdout);
    run(
        &fake,
        &[
            "event",
            "list",
            "-a",
            "hello",
            "--level",
            "warn",
            "--kind",
            "instance_*",
        ],
    );
    assert_eq!(
        fake.lines()[1],
        "GET /api/v1/events?app=hello&kind=instance_*&level=warn&limit=20"
    );
    let other = run(&fake, &["events", "-i", "2"]);
    assert_eq!(
        (other.stdout.as_str(), other.stderr.as_str()),
        ("", "no events\n")
    );
}

#[test]
fn logs_carry_their_instance() {
    let lines = [
        line("hello.web.web.i1", 1, "one"),
        line("hello.worker.mailer.i1", 2, "two"),
    ];
    let fake = Fake::start().on("GET", "apps/hello/logs", json(200, page(&lines)));
    let shown = run(&fake, &["logs", "-a", "hello"]).stdout;
    assert_eq!(shown, "web.web.i1 | one\nworker.mailer.i1 | two\n");
    let shown = run(&fake, &["logs", "-a", "hello", "--no-prefix", "-t"]).stdout;
    assert_eq!(
        shown,
        "2027-01-15T08:00:01.000Z one\n2027-01-15T08:00:02.000Z two\n"
    );
    let json = run(&fake, &["logs", "-a", "hello", "-o", "json"]).stdout;
    let first: lain::domain::view::LogLineView =
        serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first, lines[0]);
    run(
        &fake,
        &[
            "logs",
            "-a",
            "hello",
            "web",
            "-i",
            "2",
            "--tail",
            "all",
            "--since",
            "2027-01-15T08:00:00Z",
        ],
    );
    let lines = fake.lines();
    assert_eq!(lines[0], "GET /api/v1/apps/hello/logs?tail=100");
    assert_eq!(
        lines[3],
        "GET /api/v1/apps/hello/logs?proc=web&instance=2&since=2027-01-15T08%3A00%3A00.000Z&tail=10000"
    );
}

#[test]
fn the_tree_once() {
    let fake = Fake::start().on("GET", "supervision", json(200, tree()));
    insta::assert_snapshot!(run(&fake, &["tree"]).stdout);
    assert_eq!(
        run(&fake, &["tree", "-o", "name"]).stdout,
        "apps\napps/store\n"
    );
    run(&fake, &["tree", "-a", "hello", "--depth", "2"]);
    run(&fake, &["tree", "/apps/"]);
    let lines = fake.lines();
    assert_eq!(lines[0], "GET /api/v1/supervision");
    assert_eq!(
        lines[2],
        "GET /api/v1/supervision?path=apps%2Fapp%2Fhello&depth=2"
    );
    assert_eq!(lines[3], "GET /api/v1/supervision?path=apps");
}

#[test]
fn operations_nodes_and_audit() {
    let done = operation(
        OperationState::Succeeded,
        vec![step(1, OperationState::Succeeded, "healthy")],
    );
    let node = object!({
        "name": "dev", "state": "ready", "reason": null, "engine": "docker", "engine_version": "26.1.5",
        "cpus": 2, "memory": 8_589_934_592u64, "memory_reserved": 100_663_296u64, "containers": 3,
        "labels": {"group": "default"}, "version": "0.1.0", "warnings": ["swap is on"],
    });
    let record = object!({
        "at": ago(125), "actor": "dev", "from": "127.0.0.1", "action": "scale", "target": "hello.web.web",
        "detail": "num_instances: 2 → 3", "outcome": "ok",
    });
    let fake = Fake::start()
        .on("GET", "operations", json(200, page([&done])))
        .on("GET", &format!("operations/{}", done.id), json(200, &done))
        .on("GET", "nodes", json(200, page([&node])))
        .on("GET", "nodes/dev", json(200, &node))
        .on("GET", "audit", json(200, page([record])));
    insta::assert_snapshot!(run(&fake, &["op"]).stdout);
    insta::assert_snapshot!(
        "operation_show",
        run(&fake, &["op", "show", "0198f2a1"]).stdout
    );
    insta::assert_snapshot!("node_list", run(&fake, &["nodes"]).stdout);
    let shown = run(&fake, &["node", "show", "dev"]);
    insta::assert_snapshot!("node_show", shown.stdout);
    let old = run(&fake, &["node", "inspect", "dev"]);
    assert_eq!(old.stdout, shown.stdout);
    assert!(old.stderr.contains("lain node show"), "{}", old.stderr);
    insta::assert_snapshot!("audit", run(&fake, &["audit"]).stdout);
}

#[test]
fn the_version_of_both_sides_and_of_one() {
    let server = object!({
        "version": "0.0.9", "api": "v1", "role": "dev", "node": "dev", "started_at": ago(125),
    });
    let fake = Fake::start().on("GET", "version", json(200, server));
    let both = run(&fake, &["version"]);
    assert!(
        both.stdout.contains("server 0.0.9 at http://127.0.0.1:"),
        "{}",
        both.stdout
    );
    assert!(both.stderr.contains("another version"), "{}", both.stderr);
    let one = lain(&fake, &["version", "--server", "http://127.0.0.1:9"]).run();
    assert_eq!(
        (one.code, one.stdout),
        (0, format!("lain {}\n", env!("CARGO_PKG_VERSION")))
    );
    assert!(one.stderr.contains("does not answer"), "{}", one.stderr);
    let json = lain(
        &fake,
        &["version", "--server", "http://127.0.0.1:9", "-o", "json"],
    )
    .run()
    .stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        object!({"client": {"version": env!("CARGO_PKG_VERSION")}, "server": null})
    );
}

#[test]
fn the_doctor_with_a_server_and_without() {
    let server = object!({
        "version": env!("CARGO_PKG_VERSION"), "api": "v1", "role": "dev", "node": "dev", "started_at": ago(1),
    });
    let finding = |result: &str, remedy: Option<&str>| object!({"check": "disk", "result": result, "detail": "1 GiB free", "remedy": remedy});
    let well = Fake::start().on("GET", "version", json(200, &server)).on(
        "GET",
        "doctor",
        json(200, page([finding("ok", None)])),
    );
    let shown = run(&well, &["doctor"]);
    let lines: Vec<&str> = shown
        .stdout
        .lines()
        .map(|line| &line[.."✔ ok".len()])
        .collect();
    assert_eq!(lines, ["✔ ok"; 4]);
    // The server refuses parameters that it does not know.
    assert_eq!(well.lines()[1], "GET /api/v1/doctor");
    let ill = Fake::start().on("GET", "version", json(200, &server)).on(
        "GET",
        "doctor",
        json(200, page([finding("fail", Some("free some space"))])),
    );
    let shown = lain(&ill, &["doctor"]).run();
    assert_eq!(shown.code, 1);
    assert!(
        shown.stdout.contains("remedy: free some space"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stderr.contains("1 of 4 checks failed"),
        "{}",
        shown.stderr
    );
    // Without a server the machine itself is checked.
    let alone = lain(
        &ill,
        &["doctor", "--server", "http://127.0.0.1:9", "-o", "json"],
    )
    .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    .run();
    assert_eq!(alone.code, 1);
    let findings: serde_json::Value = serde_json::from_str(&alone.stdout).unwrap();
    let checks: Vec<&str> = findings["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["check"].as_str().unwrap())
        .collect();
    assert_eq!(checks, ["server", "engine", "kernel", "disk"]);
    assert!(
        findings["items"][1]["remedy"]
            .as_str()
            .unwrap()
            .contains("apt install docker.io")
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let lines: Vec<_> = (0..20_000)
        .map(|n| line("hello.web.web.i1", n, "x"))
        .collect();
    let fake = Fake::start().on("GET", "apps/hello/logs", json(200, page(lines)));
    let mut head = lain(&fake, &["logs", "-a", "hello"]);
    head.command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = head.command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn an_answer_that_is_not_understood_is_said() {
    let fake = Fake::start().on("GET", "apps", json(200, page([object!({"nme": "hello"})])));
    let shown = lain(&fake, &["ps"]).run();
    assert_eq!(shown.code, 1);
    assert!(
        shown.stderr.contains("cannot be understood"),
        "{}",
        shown.stderr
    );
    let absent = lain(&fake, &["ps", "-a", "helo"]).run();
    assert_eq!(absent.code, 3);
    assert!(
        absent.stderr.contains("hint: deploy it"),
        "{}",
        absent.stderr
    );
    let failed = Fake::start().on("GET", "apps", problem(500, "internal error: x"));
    let shown = lain(&failed, &["ps"]).run();
    assert_eq!(shown.code, 1);
    assert!(
        shown.stderr.contains("request id: req-1"),
        "{}",
        shown.stderr
    );
}
