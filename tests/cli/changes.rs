//! Commands that change something: plan, progress, summary, failure, and what asks first.

use crate::fixtures::{accepted, crash, hello, operation, planned, step};
use crate::support::{Answer, Fake, Lain, Then, event, json, lain, problem};
use lain::domain::view::OperationState::{Cancelled, Failed, Pending, Running, Succeeded};
use lain::domain::view::{OperationView, PlanAction, PlanStep};
use serde_json::json as object;

const YAML: &str = "appname: hello\nbuild: {base: x, script: []}\nweb:\n  prot: 80\n";

fn op_path() -> String {
    format!("operations/{}", operation(Running, Vec::new()).id)
}

fn watched(states: Vec<OperationView>, then: Then) -> Answer {
    Answer::Stream(
        states
            .iter()
            .map(|state| event(None, None, state))
            .collect(),
        then,
    )
}

fn states() -> Vec<OperationView> {
    vec![
        operation(
            Running,
            vec![step(1, Running, "pulling image"), step(2, Pending, "")],
        ),
        operation(
            Running,
            vec![
                step(1, Succeeded, "healthy"),
                step(2, Running, "waiting for health"),
            ],
        ),
        operation(
            Succeeded,
            vec![step(1, Succeeded, "healthy"), step(2, Succeeded, "healthy")],
        ),
    ]
}

/// A server on which hello does not exist until it is deployed by these states.
fn deploying(states: Vec<OperationView>) -> Fake {
    Fake::start()
        .on(
            "GET",
            "apps/hello",
            problem(404, "app hello does not exist"),
        )
        .on("GET", "apps/hello", json(200, hello()))
        .on("PUT", "apps/hello", json(202, accepted(states[0].clone())))
        .on("GET", &op_path(), watched(states, Then::End))
}

fn deploy(fake: &Fake, arguments: &[&str]) -> Lain {
    let mut all = vec!["deploy"];
    all.extend(arguments);
    lain(fake, &all).file("lain.yaml", YAML)
}

#[test]
fn deploy_shows_plan_progress_url_and_what_next() {
    let fake = deploying(states());
    let run = deploy(&fake, &[]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    insta::assert_snapshot!("deploy_stdout", run.stdout);
    insta::assert_snapshot!("deploy_stderr", run.stderr);
    let sent = fake.last("PUT");
    assert_eq!(sent.headers["if-none-match"], "*");
    assert!(sent.headers.contains_key("idempotency-key"));
    assert_eq!(sent.json()["lain_yaml"], YAML);
    assert_eq!(sent.json()["file_name"], "lain.yaml");
}

#[test]
fn deploy_of_an_app_that_exists_names_its_revision() {
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("PUT", "apps/hello", json(200, planned(Vec::new())));
    let run = deploy(&fake, &["--meta-version", "1700000000-8f3c"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.stdout,
        "app hello: nothing to do\n  http://127.0.0.1:20001\n"
    );
    let sent = fake.last("PUT");
    assert_eq!(sent.headers["if-match"], "\"3\"");
    assert_eq!(sent.json()["meta_version"], "1700000000-8f3c");
}

#[test]
fn a_dry_run_says_by_its_code_whether_there_is_something_to_do() {
    let steps = vec![PlanStep {
        action: PlanAction::UpdateInPlace,
        target: "hello.web.web.i1".to_owned(),
        changes: vec!["memory: 32m → 64m".to_owned()],
    }];
    let mut answer = planned(steps);
    answer.warnings = vec!["web: port is not set".to_owned()];
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("PUT", "apps/hello", json(200, &answer))
        .on("PUT", "apps/hello", json(200, &answer))
        .on("PUT", "apps/hello", json(200, planned(Vec::new())));
    let run = deploy(&fake, &["--dry-run"]).run();
    assert_eq!(run.code, 10);
    insta::assert_snapshot!(run.stdout);
    assert_eq!(run.stderr, "warning: web: port is not set\n");
    assert_eq!(fake.last("PUT").query, "dry_run=true");
    let json = deploy(&fake, &["--dry-run", "-o", "json"]).run();
    assert_eq!(json.code, 10);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap(),
        object!(answer)
    );
    let nothing = deploy(&fake, &["--dry-run"]).run();
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (0, "app hello: nothing to do\n")
    );
}

#[test]
fn a_failed_deploy_shows_why_and_the_last_lines() {
    let mut failed = operation(
        Failed,
        vec![step(1, Failed, "exit code 1"), step(2, Cancelled, "")],
    );
    failed.error = Some("instance 1 never became healthy".to_owned());
    failed.crashes = vec![crash(1)];
    let fake = deploying(vec![states().remove(0), failed]);
    let run = deploy(&fake, &[]).run();
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    insta::assert_snapshot!(run.stderr);
    // The object is printed all the same where a program wants it.
    let mut failed = operation(Failed, Vec::new());
    failed.error = Some("x".to_owned());
    let run = deploy(
        &deploying(vec![states().remove(0), failed]),
        &["-o", "json", "-q"],
    )
    .run();
    assert_eq!(run.code, 1);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap()["state"],
        "failed"
    );
}

#[test]
fn mistakes_of_the_file_are_shown_with_their_lines() {
    let refusal = object!({
        "title": "Invalid", "status": 422, "detail": "lain.yaml has 1 problem", "request_id": "r",
        "errors": [{"pointer": "web.prot", "line": 4, "column": 3, "code": "unknown_key",
                    "detail": "there is no key prot; did you mean port?"}],
    });
    let fake = Fake::start()
        .on(
            "GET",
            "apps/hello",
            problem(404, "app hello does not exist"),
        )
        .on("PUT", "apps/hello", json(422, refusal));
    let run = deploy(&fake, &[]).run();
    assert_eq!(run.code, 9);
    insta::assert_snapshot!(run.stderr);
}

#[test]
fn without_waiting_the_operation_is_named() {
    let fake = deploying(states());
    let run = deploy(&fake, &["--no-wait"]).run();
    assert_eq!(run.code, 0);
    assert_eq!(run.stdout, "0198f2a1-0000-7000-8000-00000000000a\n");
    assert!(
        run.stderr.contains("lain event watch 0198f2a1"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_wait_has_an_end() {
    let fake = Fake::start()
        .on(
            "GET",
            "apps/hello",
            problem(404, "app hello does not exist"),
        )
        .on("PUT", "apps/hello", json(202, accepted(states().remove(0))))
        .on(
            "GET",
            &op_path(),
            watched(vec![states().remove(0)], Then::Stay),
        );
    let run = deploy(&fake, &["--timeout", "300ms"]).run();
    assert_eq!(run.code, 7);
    assert!(run.stderr.contains("it goes on"), "{}", run.stderr);
    assert!(run.stderr.contains("lain event watch"), "{}", run.stderr);
}

#[test]
fn a_lost_connection_is_survived() {
    let mut states = states();
    let last = states.pop().unwrap();
    let fake = Fake::start()
        .on(
            "GET",
            "apps/hello",
            problem(404, "app hello does not exist"),
        )
        .on("GET", "apps/hello", json(200, hello()))
        .on("PUT", "apps/hello", json(202, accepted(states[0].clone())))
        .on("GET", &op_path(), watched(states, Then::Break))
        .on("GET", &op_path(), watched(Vec::new(), Then::Stay))
        .on("GET", &op_path(), json(200, last));
    let run = deploy(&fake, &[]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("connection lost"), "{}", run.stderr);
    assert!(run.stdout.contains("hello is deployed"), "{}", run.stdout);
}

#[test]
fn a_stale_revision_is_a_conflict() {
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on(
            "PUT",
            "apps/hello",
            problem(412, "app hello is at revision 4, not 3"),
        );
    let run = deploy(&fake, &[]).run();
    assert_eq!(run.code, 6);
    assert!(run.stderr.contains("at revision 4"), "{}", run.stderr);
}

#[test]
fn a_cancelled_operation_is_a_conflict() {
    let mut cancelled = operation(Cancelled, Vec::new());
    cancelled.error = Some("superseded by a newer deploy".to_owned());
    let run = deploy(&deploying(vec![states().remove(0), cancelled]), &[]).run();
    assert_eq!(run.code, 6);
    assert!(run.stderr.contains("superseded"), "{}", run.stderr);
}

#[test]
fn a_busy_server_is_asked_again_with_the_same_key() {
    let busy = Answer::Plain(503, vec![("retry-after", "0".to_owned())], String::new());
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("PUT", "apps/hello", busy)
        .on("PUT", "apps/hello", json(200, planned(Vec::new())));
    assert_eq!(deploy(&fake, &[]).run().code, 0);
    let puts: Vec<_> = fake
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "PUT")
        .collect();
    assert_eq!(puts.len(), 2);
    assert_eq!(
        puts[0].headers["idempotency-key"],
        puts[1].headers["idempotency-key"]
    );
}

fn removable() -> Fake {
    let mut done = operation(Succeeded, vec![step(1, Succeeded, "removed")]);
    done.kind = "undeploy".to_owned();
    Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("DELETE", "apps/hello", json(202, accepted(done.clone())))
        .on("GET", &op_path(), watched(vec![done], Then::End))
}

#[test]
fn undeploy_without_a_terminal_needs_yes() {
    let fake = removable();
    let run = lain(&fake, &["undeploy", "-a", "hello"])
        .input("hello\n")
        .run();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("add --yes"), "{}", run.stderr);
    assert!(fake.seen().is_empty());
    let run = lain(&fake, &["undeploy", "-a", "hello", "--yes"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("app hello is removed"),
        "{}",
        run.stdout
    );
    assert_eq!(fake.last("DELETE").headers["if-match"], "\"3\"");
    assert_eq!(
        lain(&Fake::start(), &["undeploy", "-a", "hello", "-y"])
            .run()
            .code,
        3
    );
}

#[test]
fn scale_sends_what_was_given_and_nothing_else() {
    let mut done = operation(Succeeded, vec![step(3, Succeeded, "healthy")]);
    done.kind = "scale".to_owned();
    let fake = Fake::start()
        .on(
            "PATCH",
            "apps/hello/procs/web",
            json(202, accepted(done.clone())),
        )
        .on("GET", &op_path(), watched(vec![done], Then::End));
    for arguments in [
        &["scale", "-a", "hello", "-p", "web", "-n", "3"][..],
        &["scale", "-a", "hello", "web", "-n", "3"],
        &["scale", "-a", "hello", "web.web", "--num-instances", "3"],
    ] {
        let run = lain(&fake, arguments).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains("scaled: 3 instances"), "{}", run.stdout);
        let sent = fake.last("PATCH").json();
        assert_eq!(sent["num_instances"], 3);
        assert!(sent["cpu"].is_null() && sent["memory"].is_null() && sent["spares"].is_null());
    }
}

#[test]
fn restart_stop_and_start_reach_what_is_meant() {
    for (verb, done) in [
        ("restart", "restarted"),
        ("stop", "stopped"),
        ("start", "started"),
    ] {
        let ended = operation(Succeeded, Vec::new());
        let mut fake = Fake::start().on("GET", &op_path(), watched(vec![ended], Then::End));
        for path in [
            "apps/hello",
            "apps/hello/procs/web",
            "apps/hello/procs/web/instances/2",
        ] {
            let answer = accepted(operation(Running, vec![step(2, Running, "")]));
            fake = fake.on("POST", &format!("{path}/{verb}"), json(202, answer));
        }
        for (arguments, path) in [
            (&["-a", "hello"][..], "apps/hello"),
            (&["-a", "hello", "web"], "apps/hello/procs/web"),
            (
                &["-a", "hello", "-p", "web", "-i", "2"],
                "apps/hello/procs/web/instances/2",
            ),
        ] {
            let mut all = vec![verb];
            all.extend(arguments);
            let run = lain(&fake, &all).run();
            assert_eq!(run.code, 0, "{}", run.stderr);
            assert!(run.stdout.contains(done), "{}", run.stdout);
            assert_eq!(fake.last("POST").path, format!("/api/v1/{path}/{verb}"));
        }
        let run = lain(&fake, &[verb, "-a", "hello", "-i", "2"]).run();
        assert_eq!(run.code, 2);
    }
}

#[test]
fn an_operation_is_watched_and_cancelled_later() {
    let ended = states().pop().unwrap();
    let fake = Fake::start()
        .on(
            "GET",
            "operations",
            json(200, object!({"items": [states()[0]]})),
        )
        .on("GET", &op_path(), json(200, &states()[0]))
        .on("GET", &op_path(), watched(states(), Then::End))
        .on(
            "POST",
            &format!("{}/cancel", op_path()),
            json(200, operation(Cancelled, Vec::new())),
        );
    let run = lain(&fake, &["event", "watch", "0198"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("the deploy of hello has succeeded"),
        "{}",
        run.stdout
    );
    let run = lain(&fake, &["operation", "cancel", "0198f2a1"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("cancelled"), "{}", run.stdout);
    assert_eq!(ended.state, Succeeded);
}
