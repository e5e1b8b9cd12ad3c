//! Revisions, rollback, promote, abort, and the list of addresses.

use crate::support::{Api, Send, lain_yaml};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn revisions_are_listed_read_and_gone_back_to() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let other = lain_yaml("hello").replace("image: hello", "image: hello:2");
    api.put("hello", &other)
        .header("if-match", "*")
        .answer()
        .await
        .is(202);
    let page = api.get("apps/hello/revisions?limit=1").await.is(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let newest = page["items"][0]["revision"].as_u64().unwrap();
    assert_eq!(page["items"][0]["current"], true);
    assert_eq!(page["items"][0]["lain_yaml"], json!(null));
    let next = page["next"].as_str().unwrap();
    let page = format!("apps/hello/revisions?after={next}");
    let page = api.get(&page).await.is(200).json();
    let older = page["items"][0]["revision"].as_u64().unwrap();
    assert!(older < newest);
    let one = api
        .get(&format!("apps/hello/revisions/{older}"))
        .await
        .is(200);
    assert!(
        one.json()["lain_yaml"]
            .as_str()
            .unwrap()
            .contains("image: hello\n")
    );
    api.get("apps/hello/revisions/999").await.is(404);
    api.get("apps/nobody/revisions").await.is(404);

    let rollback = |query: &str| api.request(Method::POST, &format!("apps/hello/rollback{query}"));
    let planned = rollback("?dry_run=true")
        .json(&json!({}))
        .answer()
        .await
        .is(200);
    assert!(
        !planned.json()["plan"]["steps"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    rollback("")
        .json(&json!({"to": 999}))
        .answer()
        .await
        .is(404);
    rollback("").json(&json!({"too": 1})).answer().await.is(400);
    rollback("")
        .header("if-match", "\"77\"")
        .json(&json!({}))
        .answer()
        .await
        .problem_is(412, "stale");
    let back = rollback("")
        .json(&json!({"to": older}))
        .answer()
        .await
        .is(202);
    assert!(back.header("location").starts_with("/api/v1/operations/"));
    let app = api.get("apps/hello").await.is(200).json();
    assert_eq!(app["procs"][0]["image"], "hello");
    for verdict in ["promote", "abort"] {
        api.post(&format!("apps/hello/{verdict}")).await.is(409);
        api.post(&format!("apps/nobody/{verdict}")).await.is(404);
    }
}

#[tokio::test]
async fn the_list_of_addresses_is_read_or_followed() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let list = api.get("apps/hello/endpoints?proc=web").await.is(200);
    assert!(list.json()["items"].is_array());
    api.get("apps/nobody/endpoints").await.is(404);
    api.get("apps/hello/endpoints?prok=web").await.is(400);
    let stream = api.request(Method::GET, "apps/hello/endpoints?watch=true");
    let mut stream = stream.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("data: ") {
        text.push_str(&String::from_utf8_lossy(
            &stream.chunk().await.unwrap().unwrap(),
        ));
    }
    assert!(text.contains("data: {\"items\":["), "{text}");
}
