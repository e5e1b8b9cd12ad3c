//! Bad input: refused with a place and a remedy, and nothing changes.

use crate::support::*;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Everything that a bad request could have changed.
fn state(host: &Host, lain: &Lain) -> (Value, std::collections::BTreeMap<String, Container>) {
    let apps = lain.get("apps");
    let revisions: Vec<Value> = apps["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| json!([a["name"], a["revision"]]))
        .collect();
    (Value::Array(revisions), host.containers())
}

#[test]
fn hostile_bodies_and_unknown_apps_are_refused_and_change_nothing() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("hello");
    let yaml = format!("appname: {app}\nworker: {{image: \"lain/hello:1\", cmd: /app/worker}}\n");
    lain.deploy(&yaml).ended_with(0);
    let before = state(&host, &lain);
    let path = format!("/api/v1/apps/{app}");
    let put = |body: Vec<u8>| {
        lain.send("PUT", &path, &[JSON, ("if-match", "*")], body)
            .unwrap()
    };
    let with_yaml = |yaml: &str| put(serde_json::to_vec(&json!({ "lain_yaml": yaml })).unwrap());

    // Not JSON, not UTF-8, JSON of another shape, JSON too deep.
    for body in [
        b"{".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        br#"{"lain_yaml": 1}"#.to_vec(),
        br#"{"lain_yaml": "", "no_such_key": 1}"#.to_vec(),
        [vec![b'['; 100_000], vec![b']'; 100_000]].concat(),
        Vec::new(),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = put(body);
        assert!([400, 422].contains(&answer.status), "{shown}: {answer:?}");
        let status = answer.status;
        answer.refused(status);
    }
    // Too large, announced or not.
    put(vec![b' '; 5 << 20]).refused(413);
    // JSON whose file is not a lain.yaml, or a hostile one.
    let bomb =
        "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    for yaml in [
        String::new(),
        "\u{0}".to_owned(),
        "appname: [".to_owned(),
        bomb.to_owned(),
        "[".repeat(50_000),
        format!("appname: {app}\nweb: {{image: a, prot: 80}}\n"),
        "appname: ../../etc\nweb: {image: a}\n".to_owned(),
        format!("appname: {app}\nweb: {{image: \"a b; rm -rf /\"}}\n"),
        format!("appname: {app}\n# {}\n", "x".repeat(2 << 20)),
    ] {
        let answer = with_yaml(&yaml);
        let errors = answer.body["errors"].clone();
        answer.refused(422);
        assert!(errors[0]["detail"].is_string(), "{errors}");
    }
    let unknown = with_yaml(&format!("appname: {app}\nweb: {{image: a, prot: 80}}\n"));
    assert_eq!(unknown.body["errors"][0]["line"], 2, "{:#}", unknown.body);
    assert!(
        unknown.body["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("port"),
        "{:#}",
        unknown.body
    );
    // Another media type, another app's name, no precondition, a stale one.
    lain.send(
        "PUT",
        &path,
        &[("content-type", "text/plain"), ("if-match", "*")],
        b"{}".to_vec(),
    )
    .unwrap()
    .refused(415);
    with_yaml("appname: other\nweb: {image: a}\n").refused(409);
    let fine = serde_json::to_vec(&json!({ "lain_yaml": yaml })).unwrap();
    lain.send("PUT", &path, &[JSON], fine.clone())
        .unwrap()
        .refused(428);
    lain.send("PUT", &path, &[JSON, ("if-match", "\"999999\"")], fine)
        .unwrap()
        .refused(412);
    // Unknown apps, with the nearest known one.
    let typo = format!("{app}x");
    let detail = lain
        .send("GET", &format!("/api/v1/apps/{typo}"), &[], Vec::new())
        .unwrap()
        .refused(404);
    assert!(detail.contains(&app), "{detail}");
    for args in [
        &["scale", "worker", "-n", "2", "-a", &typo][..],
        &["logs", "-a", &typo],
        &["restart", "-a", &typo],
    ] {
        lain.cli(args).ended_with(3).said(&[&typo, &app]);
    }
    // Without a token, with a wrong one.
    let mut stranger = lain.command(&["ps"]);
    let ran: Ran = stranger
        .env("LAIN_TOKEN", "lain_wrong")
        .output()
        .unwrap()
        .into();
    ran.ended_with(4);

    assert_eq!(state(&host, &lain), before);
}

#[test]
fn an_image_that_does_not_exist_fails_at_once_and_touches_nobody() {
    let host = Host::new();
    let lain = host.start();
    let well = host.app("well");
    lain.deploy(&format!(
        "appname: {well}\nworker: {{image: \"lain/hello:1\", cmd: /app/worker}}\n"
    ))
    .ended_with(0);
    let before = host.containers();
    let app = host.app("missing");
    let yaml = format!("appname: {app}\nworker: {{image: \"127.0.0.1:1/no/such:image\"}}\n");
    let started = std::time::Instant::now();
    lain.deploy(&yaml)
        .ended_with(1)
        .said(&["127.0.0.1:1/no/such:image", "docker load"]);
    eprintln!("a missing image was reported after {:?}", started.elapsed());
    let view = lain.until_app_is(&app, "degraded");
    assert!(
        view["reason"].is_string() || view["procs"][0]["reason"].is_string(),
        "{view:#}"
    );
    assert_eq!(host.containers(), before);
    lain.cli(&["undeploy", "-a", &app, "--yes"]).ended_with(0);
}
