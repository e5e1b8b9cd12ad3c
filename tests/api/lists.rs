//! Pages, filters, conditional reads and HEAD.

use crate::support::{Answer, Api, Send};
use lain::domain::view::LogLineView;
use lain::web::testing::event;
use reqwest::Method;
use std::collections::BTreeSet;

/// Every item of a list, page by page.
async fn walk(api: &Api, path: &str, limit: usize) -> (Vec<serde_json::Value>, usize) {
    let (mut items, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let between = if path.contains('?') { '&' } else { '?' };
        let page = api
            .get(&format!("{path}{between}limit={limit}{after}"))
            .await
            .is(200)
            .json();
        let own = page["items"].as_array().unwrap();
        assert!(own.len() <= limit);
        items.extend(own.iter().cloned());
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (items, pages),
        }
    }
}

#[tokio::test]
async fn every_list_is_whole_whatever_the_page_size() {
    let api = Api::start().await;
    for app in ["c", "a", "b", "e", "d"] {
        api.deploy(app).await.is(202);
        let id = format!("{app}.web.web.i1").parse().unwrap();
        api.control.crash_instance(&id).unwrap();
    }
    let rows = [
        ("apps", "name", 5),
        ("apps/a/procs", "name", 2),
        ("apps/a/procs/web/instances", "no", 3),
        ("crashes", "id", 5),
        ("crashes?app=a", "id", 1),
        ("apps/a/crashes", "id", 1),
        ("operations", "id", 5),
        ("operations?app=b", "id", 1),
        ("audit", "at", 5),
        ("nodes", "name", 1),
        ("doctor", "check", 1),
    ];
    for (path, key, count) in rows {
        for limit in [1, 2, 5, 1000] {
            if path == "doctor" {
                continue;
            }
            let (items, pages) = walk(&api, path, limit).await;
            let distinct: BTreeSet<String> = items.iter().map(|i| i[key].to_string()).collect();
            assert_eq!(
                (items.len(), distinct.len()),
                (count, count),
                "{path} by {limit}"
            );
            assert_eq!(pages, count.div_ceil(limit), "{path} by {limit}");
        }
    }
    let names: Vec<String> = walk(&api, "apps", 2)
        .await
        .0
        .iter()
        .map(|a| a["name"].to_string())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    let next = api.get("apps?limit=1").await.json()["next"]
        .as_str()
        .unwrap()
        .to_owned();
    let foreign = api.get(&format!("nodes?after={next}")).await;
    foreign
        .problem_is(400, "bad-parameter")
        .says("of the list apps");
}

#[tokio::test]
async fn events_are_filtered_by_app_kind_and_level() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let id = "hello.web.web.i1".parse().unwrap();
    api.control.crash_instance(&id).unwrap();
    api.control
        .emit(event("engine_down", "error", "the engine does not answer"));
    let kinds = |answer: Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|e| e["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let rows: [(&str, &[&str]); 8] = [
        (
            "",
            &[
                "operation_accepted",
                "instance_crashed",
                "actor_restarted",
                "engine_down",
            ],
        ),
        ("?limit=1", &["engine_down"]),
        ("?app=hello", &["operation_accepted", "instance_crashed"]),
        ("?kind=instance_crashed", &["instance_crashed"]),
        ("?kind=actor_*", &["actor_restarted"]),
        (
            "?level=warn",
            &["instance_crashed", "actor_restarted", "engine_down"],
        ),
        ("?level=error", &["engine_down"]),
        ("?app=hello&level=error", &[]),
    ];
    for (query, wanted) in rows {
        let got = kinds(api.get(&format!("events{query}")).await.is(200));
        assert_eq!(got, wanted, "{query}");
    }
}

#[tokio::test]
async fn lines_are_filtered_and_cut() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    for (second, instance) in [
        (1, "web.web.i1"),
        (2, "web.web.i2"),
        (3, "worker.queue.i1"),
        (4, "web.web.i1"),
    ] {
        api.control.write_line(LogLineView {
            at: format!("2026-01-01T00:00:0{second}Z").parse().unwrap(),
            instance: format!("hello.{instance}"),
            stream: "stdout".to_owned(),
            line: format!("line {second}"),
        });
    }
    let rows = [
        ("", vec![1, 2, 3, 4]),
        ("?tail=2", vec![3, 4]),
        ("?tail=0", vec![]),
        ("?proc=web", vec![1, 2, 4]),
        ("?proc=web&instance=1", vec![1, 4]),
        ("?since=2026-01-01T00:00:02Z", vec![2, 3, 4]),
        ("?until=2026-01-01T00:00:02Z", vec![1]),
        (
            "?since=2026-01-01T01:00:02%2B01:00&until=2026-01-01T00:00:04Z",
            vec![2, 3],
        ),
    ];
    for (query, wanted) in rows {
        let page = api
            .get(&format!("apps/hello/logs{query}"))
            .await
            .is(200)
            .json();
        let got: Vec<&str> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["line"].as_str().unwrap())
            .collect();
        let wanted: Vec<String> = wanted.iter().map(|n| format!("line {n}")).collect();
        assert_eq!(got, wanted, "{query}");
    }
}

#[tokio::test]
async fn the_tree_is_cut_by_path_and_depth() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let root = api.get("supervision?depth=0").await.is(200).json();
    assert_eq!(
        (root["path"].as_str(), &root["child_count"]),
        (Some(""), &1.into())
    );
    assert_eq!(root["children"].as_array().unwrap().len(), 0);
    let app = api
        .get("supervision?path=apps/app/hello&depth=1")
        .await
        .is(200)
        .json();
    assert_eq!(app["children"].as_array().unwrap().len(), 2);
    assert_eq!(app["children"][0]["children"].as_array().unwrap().len(), 0);
    assert_eq!(app["children"][0]["child_count"], 3);
    let all = api.get("supervision").await.is(200).text;
    assert!(
        all.contains("apps/app/hello/proc/worker.queue/instance/1"),
        "{all}"
    );
}

#[tokio::test]
async fn what_does_not_change_is_answered_304() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let id = api
        .control
        .crash_instance(&"hello.web.web.i1".parse().unwrap())
        .unwrap();
    for path in [
        format!("crashes/{id}"),
        "openapi.json".to_owned(),
        "docs".to_owned(),
        "docs/docs.js".to_owned(),
    ] {
        let tag = api.get(&path).await.is(200).header("etag").to_owned();
        let known = api
            .request(Method::GET, &path)
            .header("if-none-match", &tag)
            .answer()
            .await
            .is(304);
        assert_eq!(
            (known.text.as_str(), known.header("etag")),
            ("", tag.as_str())
        );
        let other = api
            .request(Method::GET, &path)
            .header("if-none-match", "\"other\"");
        other.answer().await.is(200);
    }
    let tag = api.get("apps/hello").await.header("etag").to_owned();
    let app = api
        .request(Method::GET, "apps/hello")
        .header("if-none-match", tag);
    app.answer().await.is(200);
}

#[tokio::test]
async fn head_says_what_get_would_without_a_body() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    for path in [
        "apps",
        "apps/hello",
        "openapi.json",
        "docs",
        "/healthz",
        "/metrics",
        "events?watch=true",
        "apps/none",
    ] {
        let get = match path.contains("watch") {
            true => None,
            false => Some(api.get(path).await),
        };
        let head = api.request(Method::HEAD, path).answer().await;
        assert_eq!(head.text, "", "{path}");
        if let Some(get) = get.filter(|_| path != "/metrics") {
            assert_eq!(head.status, get.status, "{path}");
            for name in ["content-type", "content-length"] {
                assert_eq!(
                    head.header(name).len(),
                    get.header(name).len(),
                    "{path} {name}"
                );
            }
        }
    }
}
