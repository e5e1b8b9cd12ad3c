//! History, rollback, canaries and the list of addresses.

use crate::fixtures::{accepted, ago, hello, operation, step};
use crate::support::{Answer, Fake, Then, event, json, lain, page, problem};
use lain::domain::view::OperationState::{Pending, Running, Succeeded};
use lain::domain::view::{RevisionOutcome, RevisionView, endpoints};

fn revision(number: u64, outcome: RevisionOutcome, image: &str) -> RevisionView {
    RevisionView {
        revision: number,
        outcome,
        current: false,
        kind: "deploy".to_owned(),
        by: "dev".to_owned(),
        at: ago(125),
        ended_at: Some(ago(125)),
        operation: "op1".to_owned(),
        reason: None,
        back_to: None,
        meta_version: None,
        images: [
            ("web.web".to_owned(), image.to_owned()),
            ("worker.mail".to_owned(), image.to_owned()),
        ]
        .into(),
        lain_yaml: None,
    }
}

fn all() -> Vec<RevisionView> {
    let mut back = revision(7, RevisionOutcome::Deployed, "hello:1");
    "rollback".clone_into(&mut back.kind);
    (back.back_to, back.current) = (Some(2), true);
    let mut bad = revision(5, RevisionOutcome::RolledBack, "hello:2");
    bad.reason = Some("hello.web.web.i1: exit code 1".to_owned());
    vec![back, bad, revision(2, RevisionOutcome::Deployed, "hello:1")]
}

#[test]
fn the_history_is_a_table_or_the_api_s_objects() {
    let fake = Fake::start().on("GET", "apps/hello/revisions", json(200, page(all())));
    let run = lain(&fake, &["history", "hello"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    insta::assert_snapshot!(run.stdout);
    let names = lain(&fake, &["history", "-a", "hello", "-o", "name"]).run();
    assert_eq!(names.stdout, "7\n5\n2\n");
    let objects = lain(&fake, &["history", "hello", "-o", "json"]).run();
    let objects: serde_json::Value = serde_json::from_str(&objects.stdout).unwrap();
    assert_eq!(objects["items"][1]["outcome"], "rolled_back");
}

#[test]
fn one_revision_is_shown_with_its_file() {
    let mut one = all().remove(1);
    one.lain_yaml = Some("appname: hello\nweb: {}\n".to_owned());
    let fake = Fake::start().on("GET", "apps/hello/revisions/5", json(200, one));
    let run = lain(&fake, &["history", "hello", "--revision", "5"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    insta::assert_snapshot!(run.stdout);
}

#[test]
fn a_rollback_plans_follows_and_says_what_it_became() {
    let done = operation(Succeeded, vec![step(1, Succeeded, "healthy")]);
    let path = format!("operations/{}", done.id);
    let states = [operation(Running, vec![step(1, Running, "")]), done.clone()];
    let stream = states
        .iter()
        .map(|state| event(None, None, state))
        .collect();
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("POST", "apps/hello/rollback", json(202, accepted(done)))
        .on("GET", &path, Answer::Stream(stream, Then::End));
    let run = lain(&fake, &["rollback", "hello", "--to", "2"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("hello is rolled back, as revision 3"),
        "{}",
        run.stdout
    );
    let sent = fake.last("POST");
    assert_eq!(sent.json()["to"], 2);
    assert_eq!(sent.headers["if-match"], "\"3\"");
    let refused = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on(
            "POST",
            "apps/hello/rollback",
            problem(409, "app hello has no revision to go back to"),
        );
    let run = lain(&refused, &["rollback", "hello"]).run();
    assert_eq!(run.code, 6, "{}", run.stderr);
}

#[test]
fn a_deploy_leaves_a_canary_that_waits_and_says_what_comes_next() {
    let mut waits = operation(
        Running,
        vec![step(1, Succeeded, "healthy"), step(2, Pending, "")],
    );
    waits.waiting = Some("its canary is up".to_owned());
    let path = format!("operations/{}", waits.id);
    let fake = Fake::start()
        .on("GET", "apps/hello", json(200, hello()))
        .on("PUT", "apps/hello", json(202, accepted(waits.clone())))
        .on(
            "GET",
            &path,
            Answer::Stream(vec![event(None, None, &waits)], Then::Stay),
        );
    let run = lain(&fake, &["deploy", "--canary", "1"])
        .file("lain.yaml", "appname: hello\nweb: {image: a}\n")
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(fake.last("PUT").json()["canary"], 1);
    assert!(
        run.stdout.contains("its canary is up, 1 of 2 steps"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("lain promote hello"), "{}", run.stderr);
}

#[test]
fn a_verdict_on_a_canary_is_followed_to_its_end() {
    for word in ["promote", "abort"] {
        let done = operation(Succeeded, vec![step(1, Succeeded, "healthy")]);
        let path = format!("operations/{}", done.id);
        let stream = vec![event(None, None, &done)];
        let fake = Fake::start()
            .on("GET", "apps/hello", json(200, hello()))
            .on(
                "POST",
                &format!("apps/hello/{word}"),
                json(202, accepted(done)),
            )
            .on("GET", &path, Answer::Stream(stream, Then::End));
        let run = lain(&fake, &[word, "hello"]).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains("its canary was"), "{}", run.stdout);
    }
}

#[test]
fn the_list_of_addresses_is_shown_or_followed() {
    let list = endpoints(&hello());
    assert_eq!(list.len(), 2);
    let fewer = &list[..1];
    let stream = vec![
        event(None, None, page(&list)),
        event(None, None, page(fewer)),
        event(
            None,
            Some("error"),
            serde_json::json!({"type": "about:blank", "title": "gone", "status": 404, "detail": "app hello does not exist", "instance": "/", "request_id": "r"}),
        ),
    ];
    let fake = Fake::start()
        .on("GET", "apps/hello/endpoints", json(200, page(&list)))
        .on(
            "GET",
            "apps/hello/endpoints",
            Answer::Stream(stream, Then::End),
        );
    let run = lain(&fake, &["endpoints", "hello", "-o", "name"]).run();
    assert_eq!(run.stdout, "127.0.0.1:20001\n127.0.0.1:20002\n");
    let run = lain(&fake, &["endpoints", "hello", "-f"]).run();
    assert_eq!(
        run.stdout,
        "127.0.0.1:20001 127.0.0.1:20002\n127.0.0.1:20001\n"
    );
    assert_eq!(run.code, 3, "{}", run.stderr);
}
