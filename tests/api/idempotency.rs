//! Idempotency keys: the first answer again, another request refused.

use crate::support::{ADMIN, Answer, Api, HELLO, Send, lain_yaml};
use lain::web::testing::Fault;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::time::Duration;

fn restart(api: &Api, key: &str) -> RequestBuilder {
    api.request(Method::POST, "apps/hello/restart")
        .header("idempotency-key", key)
}

fn operation(answer: &Answer) -> String {
    answer.json()["operation"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let first = restart(&api, "one").answer().await.is(202);
    let again = restart(&api, "one").answer().await.is(202);
    assert_eq!(first.text, again.text);
    for name in ["location", "etag", "content-type"] {
        assert_eq!(first.header(name), again.header(name));
    }
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
    let other = restart(&api, "two").answer().await.is(202);
    assert_ne!(operation(&first), operation(&other));
    let operations = api.get("operations").await.json()["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(operations, 3);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let scale = |path: &str, body: serde_json::Value| {
        let request = api
            .request(Method::PATCH, path)
            .header("idempotency-key", "k");
        request.json(&body).answer()
    };
    let (path, body) = ("apps/hello/procs/web", json!({"num_instances": 4}));
    scale(path, body.clone()).await.is(202);
    scale(path, body.clone()).await.is(202);
    scale(path, json!({"num_instances": 5}))
        .await
        .problem_is(409, "idempotency-conflict");
    let dry = format!("{path}?dry_run=true");
    scale(&dry, body.clone())
        .await
        .problem_is(409, "idempotency-conflict");
    let tagged = api
        .request(Method::PATCH, path)
        .header("idempotency-key", "k")
        .header("if-match", "*");
    tagged
        .json(&body)
        .answer()
        .await
        .problem_is(409, "idempotency-conflict");
    restart(&api, "k")
        .answer()
        .await
        .problem_is(409, "idempotency-conflict");
    let foreign = api
        .bare(Method::PATCH, path)
        .bearer_auth(HELLO)
        .header("idempotency-key", "k");
    foreign
        .json(&json!({"num_instances": 6}))
        .answer()
        .await
        .is(202);
}

#[tokio::test]
async fn refusals_are_repeated_and_failures_are_not() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let stop = || {
        let request = api.request(Method::POST, "apps/none/stop");
        request.header("idempotency-key", "refused").answer()
    };
    let first = stop().await.problem_is(404, "not-found");
    api.deploy("none").await.is(202);
    let again = stop().await.problem_is(404, "not-found");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.json()["detail"], again.json()["detail"]);
    api.control.fail(Some(Fault::DiskFull));
    restart(&api, "failed")
        .answer()
        .await
        .problem_is(503, "store-failed");
    api.control.fail(Some(Fault::Panic));
    restart(&api, "failed")
        .answer()
        .await
        .problem_is(500, "internal");
    api.control.fail(None);
    restart(&api, "failed").answer().await.is(202);
}

#[tokio::test]
async fn a_request_in_progress_is_not_begun_twice() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    api.control
        .fail(Some(Fault::Slow(Duration::from_millis(400))));
    let url = format!("{}/api/v1/apps/hello/restart", api.url);
    let slow = reqwest::Client::new()
        .post(url)
        .bearer_auth(ADMIN)
        .header("idempotency-key", "k");
    let slow = tokio::spawn(slow.send());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let early = restart(&api, "k")
        .answer()
        .await
        .problem_is(409, "idempotency-in-progress");
    assert_eq!(early.header("retry-after"), "1");
    assert_eq!(slow.await.unwrap().unwrap().status().as_u16(), 202);
    api.control.fail(None);
    let late = restart(&api, "k").answer().await.is(202);
    assert_eq!(late.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn keys_are_short_printable_words() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let longest = "k".repeat(255);
    for (key, status) in [
        (longest.as_str(), 202),
        ("", 400),
        ("a b", 400),
        (&"k".repeat(256), 400),
    ] {
        assert_eq!(restart(&api, key).answer().await.status, status, "{key}");
    }
    let put = || {
        api.put("hello", &lain_yaml("hello"))
            .header("idempotency-key", "deploy")
    };
    put().header("if-match", "*").answer().await.is(200);
    put().answer().await.problem_is(409, "idempotency-conflict");
}
