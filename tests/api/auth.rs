//! Tokens, scopes, hosts and origins.

use crate::support::{ADMIN, Api, HELLO, NOTHING, READ, Send};
use reqwest::Method;

#[tokio::test]
async fn every_route_but_the_open_ones_needs_a_token() {
    let api = Api::start().await;
    let description = api.get("openapi.json").await.json();
    let mut guarded = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let real = path.replace("{app}", "hello").replace("{proc}", "web");
        let real = real
            .replace("{no}", "1")
            .replace("{id}", "x")
            .replace("{node}", "local");
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let open = operation["security"].as_array().is_none_or(Vec::is_empty);
            let bare = api.bare(method.clone(), &real).answer().await;
            assert_eq!(bare.status != 401, open, "{method} {path}: {bare:?}");
            if !open {
                guarded += 1;
                let bare = bare.problem_is(401, "unauthorized");
                assert!(bare.header("www-authenticate").starts_with("Bearer"));
                let wrong = api.bare(method.clone(), &real).bearer_auth("wrong");
                let status = wrong.answer().await.status;
                assert!(matches!(status, 401 | 429), "{method} {path}: {status}");
                let none = api
                    .bare(method.clone(), &real)
                    .bearer_auth(NOTHING)
                    .answer()
                    .await;
                let unscoped =
                    matches!(none.status, 403 | 404) || none.text.contains("\"items\":[]");
                assert!(
                    unscoped,
                    "{method} {path} for a token without scopes: {none:?}"
                );
            }
        }
    }
    assert!(guarded > 30, "{guarded}");
}

#[tokio::test]
async fn tokens_are_taken_from_the_bearer_header_only() {
    let api = Api::start().await;
    let rows = [
        (format!("Bearer {ADMIN}"), 200),
        (format!("bearer {ADMIN}"), 200),
        (format!("BEARER   {ADMIN} "), 200),
        (format!("Basic {ADMIN}"), 401),
        (ADMIN.to_owned(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
        (format!("Bearer {ADMIN}x"), 401),
    ];
    for (value, status) in rows {
        let answer = api
            .bare(Method::GET, "apps")
            .header("authorization", &value)
            .answer()
            .await;
        assert_eq!(answer.status, status, "{value}");
    }
    let query = api
        .bare(Method::GET, &format!("apps?token={ADMIN}"))
        .answer()
        .await;
    query.is(401);
}

#[tokio::test]
async fn scopes_reach_as_far_as_they_say() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    api.deploy("shop").await.is(202);
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    // method, path, status for: admin, read, app:hello
    let rows = [
        (&get, "apps/hello", [200, 200, 200]),
        (&get, "apps/shop", [200, 200, 403]),
        (&get, "apps/shop/procs/web/instances/1", [200, 200, 403]),
        (&get, "apps/shop/logs", [200, 200, 403]),
        (&get, "apps/other", [404, 404, 403]),
        (&post, "apps/hello/restart", [202, 403, 202]),
        (&post, "apps/shop/restart", [202, 403, 403]),
        (
            &post,
            "apps/hello/procs/web/instances/1/stop",
            [202, 403, 202],
        ),
        (&patch, "apps/hello/procs/web", [415, 403, 415]),
        (&Method::DELETE, "apps/shop", [428, 403, 403]),
        (&Method::PUT, "apps/shop", [415, 403, 403]),
        (&get, "apps/hello/procs/web/run?command=x", [426, 403, 426]),
        (
            &get,
            "apps/hello/procs/web/instances/1/exec?command=x",
            [426, 403, 426],
        ),
        (
            &get,
            "apps/shop/procs/web/instances/1/exec?command=x",
            [426, 403, 403],
        ),
        (&get, "nodes", [200, 200, 403]),
        (&get, "supervision", [200, 200, 403]),
        (&post, "supervision/restart?path=apps", [200, 403, 403]),
        (&get, "sinks", [200, 200, 403]),
        (&post, "sinks/central/pause", [200, 403, 403]),
        (&post, "sinks/central/test", [409, 403, 403]),
        (&post, "sinks/none/resume", [404, 403, 403]),
        (&get, "audit", [200, 200, 403]),
        (&get, "doctor", [200, 200, 403]),
        (&get, "/metrics", [200, 200, 403]),
        (&get, "crashes?app=shop", [200, 200, 403]),
        (&get, "operations?app=shop", [200, 200, 403]),
        (&get, "events?app=shop", [200, 200, 403]),
    ];
    for (method, path, wanted) in rows {
        for (token, status) in [ADMIN, READ, HELLO].into_iter().zip(wanted) {
            let request = api.bare(method.clone(), path).bearer_auth(token);
            let answer = request.answer().await;
            assert_eq!(
                answer.status, status,
                "{method} {path} with {token}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_of_one_app_sees_nothing_of_others_in_lists() {
    let api = Api::start().await;
    for app in ["hello", "shop"] {
        api.deploy(app).await.is(202);
        let id = format!("{app}.web.web.i1").parse().unwrap();
        api.control.crash_instance(&id).unwrap();
    }
    for (path, field) in [
        ("apps", "name"),
        ("operations", "app"),
        ("crashes", "instance"),
        ("events", "app"),
    ] {
        let all = api.get(path).await.json().to_string();
        assert!(all.contains("shop"), "{path}: {all}");
        let own = api
            .bare(Method::GET, path)
            .bearer_auth(HELLO)
            .answer()
            .await;
        let items = own.json()["items"].as_array().unwrap().clone();
        assert!(!items.is_empty(), "{path}");
        for item in items {
            assert!(
                item[field].as_str().unwrap().starts_with("hello"),
                "{path}: {item}"
            );
        }
    }
    let id = |path: &str, at: usize| {
        let path = path.to_owned();
        let api = &api;
        async move {
            api.get(&path).await.json()["items"][at]["id"]
                .as_str()
                .unwrap()
                .to_owned()
        }
    };
    // Newest first: those of shop.
    for path in ["operations", "crashes"] {
        let foreign = format!("{path}/{}", id(path, 0).await);
        let own = format!("{path}/{}", id(path, 1).await);
        api.bare(Method::GET, &foreign)
            .bearer_auth(HELLO)
            .answer()
            .await
            .is(403);
        api.bare(Method::GET, &own)
            .bearer_auth(HELLO)
            .answer()
            .await
            .is(200);
    }
    let operation = id("operations", 0).await;
    let cancel = format!("operations/{operation}/cancel");
    api.bare(Method::POST, &cancel)
        .bearer_auth(HELLO)
        .answer()
        .await
        .is(403);
    api.bare(Method::POST, &cancel)
        .bearer_auth(READ)
        .answer()
        .await
        .is(403);
}

#[tokio::test]
async fn refused_tokens_are_limited_and_lock_nobody_out() {
    let api = Api::with(|options| options.limits.refusals = 5).await;
    let wrong = || api.bare(Method::GET, "apps").bearer_auth("wrong");
    for _ in 0..5 {
        wrong().answer().await.problem_is(401, "unauthorized");
    }
    let limited = wrong().answer().await.problem_is(429, "rate-limited");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
    api.get("apps").await.is(200);
}

#[tokio::test]
async fn hosts_that_are_not_ours_are_refused_on_every_path() {
    let api =
        Api::with(|options| options.allowed_hosts = vec!["lain.example.com".to_owned()]).await;
    let port = api.url.rsplit(':').next().unwrap().to_owned();
    let rows = [
        (format!("127.0.0.1:{port}"), true),
        (format!("localhost:{port}"), true),
        ("lain.example.com".to_owned(), true),
        (format!("evil.example.com:{port}"), false),
        ("evil.example.com".to_owned(), false),
    ];
    for (host, ours) in rows {
        for path in ["apps", "/healthz", "openapi.json", "/nothing"] {
            let answer = api
                .request(Method::GET, path)
                .header("host", &host)
                .answer()
                .await;
            assert_eq!(answer.status != 403, ours, "{path} at {host}: {answer:?}");
            if !ours {
                answer
                    .problem_is(403, "forbidden-host")
                    .says("server.allowed_hosts");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not_change_anything() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let restart = |origin: &str| {
        let request = api.request(Method::POST, "apps/hello/restart");
        request.header("origin", origin).answer()
    };
    restart(&api.url).await.is(202);
    for origin in ["http://evil.example.com", "null", "http://localhost:1"] {
        restart(origin).await.problem_is(403, "forbidden-origin");
        let exec = "apps/hello/procs/web/run?command=echo";
        let exec = api.request(Method::GET, exec).header("origin", origin);
        exec.answer().await.problem_is(403, "forbidden-origin");
        let read = api
            .request(Method::GET, "apps")
            .header("origin", origin)
            .answer()
            .await
            .is(200);
        assert!(!read.headers.contains_key("access-control-allow-origin"));
    }
}
