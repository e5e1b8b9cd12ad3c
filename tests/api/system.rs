//! Health, version, metrics, request ids and headers.

use crate::support::{Api, Send};
use lain::web::testing::Fault;
use reqwest::Method;

#[tokio::test]
async fn health_readiness_and_version_need_no_token() {
    let api = Api::start().await;
    assert_eq!(
        api.bare(Method::GET, "/healthz")
            .answer()
            .await
            .is(200)
            .text,
        "ok"
    );
    api.bare(Method::GET, "/readyz").answer().await.is(200);
    for path in ["/version", "/api/v1/version"] {
        let version = api.bare(Method::GET, path).answer().await.is(200).json();
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(version["api"], "v1");
    }
    api.control.fail(Some(Fault::Unavailable));
    assert_eq!(
        api.bare(Method::GET, "/healthz")
            .answer()
            .await
            .is(200)
            .text,
        "ok"
    );
    let not_ready = api
        .bare(Method::GET, "/readyz")
        .answer()
        .await
        .problem_is(503, "unavailable");
    assert_eq!(not_ready.header("retry-after"), "2");
}

#[tokio::test]
async fn metrics_have_help_and_bounded_labels() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    api.control
        .crash_instance(&"hello.web.web.i1".parse().unwrap())
        .unwrap();
    api.get("apps/none").await.is(404);
    api.get("made/up/path").await.is(404);
    api.request(Method::from_bytes(b"BREW").unwrap(), "apps")
        .answer()
        .await
        .is(405);
    api.bare(Method::GET, "apps")
        .bearer_auth("wrong")
        .answer()
        .await
        .is(401);
    let text = api.get("/metrics").await.is(200).text;
    for line in [
        "lain_http_request_duration_seconds_count{method=\"PUT\",route=\"/api/v1/apps/{app}\",status=\"2xx\"} 1",
        "lain_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/apps/{app}\",status=\"4xx\"} 1",
        "lain_http_request_duration_seconds_count{method=\"GET\",route=\"unmatched\",status=\"4xx\"} 1",
        "lain_http_request_duration_seconds_count{method=\"other\",route=\"/api/v1/apps\",status=\"4xx\"} 1",
        "lain_http_refused_tokens_total 1",
        "lain_http_streams 0",
        "lain_apps{state=\"running\"} 1",
        "lain_apps{state=\"degraded\"} 0",
        "lain_proc_instances{app=\"hello\",proc=\"web.web\",state=\"running\"} 3",
        "lain_proc_wanted_instances{app=\"hello\",proc=\"web.web\"} 3",
        "lain_proc_restarts_total{app=\"hello\",proc=\"web.web\"} 1",
        "lain_proc_crashes_total{app=\"hello\",proc=\"web.web\"} 1",
        "lain_actors{state=\"running\"} 9",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let names = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(name.starts_with("lain_"), "{name}");
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} has no HELP"
        );
    }
    assert!(!text.contains("made/up"));
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_comes_with_if_it_is_harmless() {
    let api = Api::start().await;
    let long = "x".repeat(65);
    for (id, kept) in [
        ("deploy-42.a_b", true),
        ("a b", false),
        ("", false),
        (long.as_str(), false),
        ("<x>", false),
    ] {
        let answer = api
            .request(Method::GET, "apps/none")
            .header("x-request-id", id)
            .answer()
            .await;
        assert_eq!(answer.header("x-request-id") == id, kept, "{id}");
        answer.problem_is(404, "not-found");
    }
    let (a, b) = (api.get("apps").await, api.get("apps").await);
    assert_ne!(a.header("x-request-id"), b.header("x-request-id"));
}

#[tokio::test]
async fn every_answer_keeps_browsers_in_check() {
    let api = Api::start().await;
    for path in ["apps", "apps/none", "docs", "/healthz", "nothing"] {
        let answer = api.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'")
        );
        assert_eq!(
            answer.header("cache-control") == "no-store",
            path != "docs",
            "{path}"
        );
    }
}
