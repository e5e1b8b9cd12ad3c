//! Deploy, scale, restart, stop, start, undeploy; ETags and preconditions; dry runs.

use crate::support::{ADMIN, Api, Send, lain_yaml};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn an_app_from_its_first_deploy_to_its_end() {
    let api = Api::start().await;
    let deployed = api.put("hello", &lain_yaml("hello")).answer().await.is(202);
    let answer = deployed.json();
    let operation = answer["operation"]["id"].as_str().unwrap();
    assert_eq!(
        deployed.header("location"),
        format!("/api/v1/operations/{operation}")
    );
    assert_eq!(deployed.header("etag"), format!("\"{}\"", answer["etag"]));
    assert_eq!(answer["plan"]["steps"].as_array().unwrap().len(), 4);
    api.get(deployed.header("location")).await.is(200);

    let app = api.get("apps/hello").await.is(200);
    assert_eq!(app.header("etag"), deployed.header("etag"));
    assert_eq!(app.json()["procs"][0]["wanted"], 3);

    let again = api.deploy("hello").await.is(200);
    assert_eq!(again.json()["operation"], json!(null));
    assert_eq!(again.header("etag"), deployed.header("etag"));

    let scale = api.request(Method::PATCH, "apps/hello/procs/web");
    scale
        .json(&json!({"num_instances": 5, "memory": "64m"}))
        .answer()
        .await
        .is(202);
    let proc = api.get("apps/hello/procs/web").await.is(200).json();
    assert_eq!(proc["instances"].as_array().unwrap().len(), 5);
    assert_eq!(proc["overrides"][0], "num_instances: 3 in lain.yaml");

    let delete = || api.request(Method::DELETE, "apps/hello");
    delete()
        .answer()
        .await
        .problem_is(428, "precondition-required")
        .says("If-Match");
    delete().header("if-match", "*").answer().await.is(202);
    api.get("apps/hello").await.is(404);
    delete().header("if-match", "*").answer().await.is(404);
}

#[tokio::test]
async fn preconditions_of_a_deploy() {
    let api = Api::start().await;
    // header, value, status where the app is absent, status where it is at another revision
    let rows = [
        (None, 202, 428),
        (Some(("if-match", "*")), 202, 200),
        (Some(("if-match", "\"99\"")), 412, 412),
        (Some(("if-match", "\"abc\"")), 412, 412),
        (Some(("if-match", "W/\"1\"")), 412, 412),
        (Some(("if-match", "1")), 400, 400),
        (Some(("if-none-match", "*")), 202, 412),
        (Some(("if-none-match", "\"1\"")), 400, 400),
    ];
    for (at, (header, absent, present)) in rows.into_iter().enumerate() {
        let app = format!("app{at}").replace(|c: char| c.is_ascii_digit(), "x") + &"x".repeat(at);
        let put = || {
            let request = api.put(&app, &lain_yaml(&app));
            match header {
                Some((name, value)) => request.header(name, value),
                None => request,
            }
        };
        assert_eq!(
            put().answer().await.status,
            absent,
            "{header:?} of an absent app"
        );
        api.deploy(&app).await;
        let answer = put().answer().await;
        assert_eq!(
            answer.status, present,
            "{header:?} of a present app: {answer:?}"
        );
    }
    let tag = api.get("apps/appx").await.header("etag").to_owned();
    let changed = lain_yaml("appx").replace('3', "4");
    api.put("appx", &changed)
        .header("if-match", &tag)
        .answer()
        .await
        .is(202);
    let late = api
        .put("appx", &changed)
        .header("if-match", &tag)
        .answer()
        .await;
    late.problem_is(412, "stale").says("read it again");
}

#[tokio::test]
async fn if_match_holds_for_commands_and_scales_too() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let tag = api.get("apps/hello").await.header("etag").to_owned();
    let restart = |tag: &str| {
        let request = api.request(Method::POST, "apps/hello/procs/web/instances/1/restart");
        request.header("if-match", tag).answer()
    };
    restart(&tag).await.is(202);
    restart(&tag).await.problem_is(412, "stale");
    let scale = api
        .request(Method::PATCH, "apps/hello/procs/web")
        .header("if-match", &tag);
    scale
        .json(&json!({"cpu": 1}))
        .answer()
        .await
        .problem_is(412, "stale");
    let absent = api
        .request(Method::POST, "apps/hello/stop")
        .header("if-none-match", "*");
    absent.answer().await.is(400);
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let before = api.get("apps/hello").await.text;
    let scale = api.request(Method::PATCH, "apps/hello/procs/web?dry_run=true");
    let answer = scale
        .json(&json!({"num_instances": 1}))
        .answer()
        .await
        .is(200)
        .json();
    assert_eq!(
        answer["plan"]["steps"].as_array().unwrap().len(),
        2,
        "{answer}"
    );
    assert_eq!(answer["operation"], json!(null));
    for (method, path) in [
        (Method::DELETE, "apps/hello?dry_run=true"),
        (Method::POST, "apps/hello/restart?dry_run=true"),
        (Method::POST, "apps/hello/stop?dry_run=true"),
        (Method::POST, "apps/hello/procs/web/stop?dry_run=true"),
        (
            Method::POST,
            "apps/hello/procs/web/instances/1/start?dry_run=true",
        ),
    ] {
        let answer = api
            .request(method, path)
            .header("if-match", "*")
            .answer()
            .await
            .is(200);
        assert!(
            !answer.json()["plan"]["steps"]
                .as_array()
                .unwrap()
                .is_empty(),
            "{path}"
        );
    }
    let absent = api.request(Method::PUT, "apps/new?dry_run=true");
    absent
        .json(&json!({"lain_yaml": lain_yaml("new")}))
        .answer()
        .await
        .is(200);
    api.get("apps/new").await.is(404);
    assert_eq!(api.get("apps/hello").await.text, before);
    assert_eq!(
        api.get("audit").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn commands_reach_what_the_path_names() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    for (path, stopped) in [
        ("apps/hello/procs/web/instances/2/stop", 1),
        ("apps/hello/procs/web/stop", 3),
        ("apps/hello/stop", 4),
        ("apps/hello/procs/web/start", 1),
        ("apps/hello/start", 0),
        ("apps/hello/procs/queue/stop", 1),
        ("apps/hello/procs/queue/instances/1/restart", 0),
    ] {
        let answer = api.post(path).await.is(202);
        assert!(answer.header("location").starts_with("/api/v1/operations/"));
        let app = api.get("apps/hello").await.text;
        let count = app
            .matches("\"state\":\"stopped\",\"reason\":\"stopped by")
            .count();
        assert_eq!(count, stopped, "after {path}: {app}");
    }
    api.post("apps/hello/procs/nothing/restart").await.is(404);
    api.post("apps/hello/procs/web/instances/9/restart")
        .await
        .is(404);
    api.post("apps/none/restart").await.is(404);
}

#[tokio::test]
async fn scales_out_of_range_say_which_value() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let scale = api.request(Method::PATCH, "apps/hello/procs/web");
    let body = json!({"num_instances": 1001, "cpu": 9, "memory": "lots"});
    let answer = scale
        .json(&body)
        .answer()
        .await
        .problem_is(422, "invalid")
        .json();
    let pointers: Vec<&str> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/num_instances", "/cpu", "/memory"]);
    for body in [
        json!({"num_instances": -1}),
        json!({"cpu": 1.5}),
        json!({"spares": "2"}),
    ] {
        let scale = api
            .request(Method::PATCH, "apps/hello/procs/web")
            .json(&body);
        scale.answer().await.problem_is(400, "malformed-body");
    }
}

#[tokio::test]
async fn an_operation_can_be_cancelled_once() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    api.control.hold(true);
    let restart = api.post("apps/hello/restart").await.is(202);
    let operation = restart.header("location").to_owned();
    assert_eq!(api.get(&operation).await.json()["state"], "running");
    let cancel = format!("{operation}/cancel");
    assert_eq!(api.post(&cancel).await.is(200).json()["state"], "cancelled");
    api.post(&cancel).await.problem_is(409, "conflict");
    api.post("operations/none/cancel").await.is(404);
}

#[tokio::test]
async fn children_of_the_tree_are_restarted_and_terminated_with_audit() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let path = "apps/app/hello/proc/web.web/instance/2";
    let act = |verb: &str, path: &str| {
        let path = format!("supervision/{verb}?path={}", path.replace('/', "%2F"));
        let api = &api;
        async move { api.post(&path).await }
    };
    let child = act("restart", path).await.is(200).json();
    assert_eq!(child["restarts"], 1);
    let child = act("terminate", &format!("/{path}/")).await.is(200).json();
    assert_eq!(child["state"], "undefined");
    let read = api
        .get(&format!("supervision/actor?path={path}"))
        .await
        .is(200)
        .json();
    assert_eq!(read["state"], "undefined");
    assert!(read["mailbox"]["length"].is_number(), "{read}");
    act("restart", "").await.problem_is(400, "bad-parameter");
    act("restart", "apps/none").await.is(404);
    api.post("supervision/restart")
        .await
        .problem_is(400, "bad-parameter")
        .says("path");
    let audit = api.get("audit").await.json();
    let newest = &audit["items"][0];
    assert_eq!(newest["action"], "restart_child");
    assert!(
        newest["outcome"]
            .as_str()
            .unwrap()
            .contains("does not exist"),
        "{newest}"
    );
    assert_eq!(audit["items"][1]["action"], "terminate_child");
    assert_eq!(audit["items"][1]["outcome"], "ok");
    assert_eq!(audit["items"][1]["actor"], "admin");
    assert!(
        audit["items"][1]["from"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
}

#[tokio::test]
async fn a_change_is_carried_out_though_its_client_goes_away() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    api.control.fail(Some(lain::web::testing::Fault::Slow(
        std::time::Duration::from_millis(300),
    )));
    let url = format!("{}/api/v1/apps/hello/procs/web/stop", api.url);
    let request = reqwest::Client::new().post(url).bearer_auth(ADMIN).send();
    let gone = tokio::time::timeout(std::time::Duration::from_millis(100), request).await;
    assert!(gone.is_err(), "the answer came too early for this test");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    api.control.fail(None);
    assert_eq!(
        api.get("apps/hello/procs/web").await.json()["state"],
        "stopped"
    );
}
