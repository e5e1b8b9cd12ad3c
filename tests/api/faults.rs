//! What goes wrong behind the API: each ends in a clear answer, and the server goes on.

use crate::support::{Api, READ, Send};
use lain::web::testing::Fault;
use reqwest::Method;
use std::time::{Duration, Instant};

#[tokio::test]
async fn faults_of_the_control_host_are_problems() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let rows = [
        (Fault::Unavailable, 503, "unavailable", "starting"),
        (Fault::DiskFull, 503, "store-failed", "no space left"),
        (Fault::Panic, 500, "internal", "a test asked for a panic"),
    ];
    for (fault, status, word, part) in rows {
        api.control.fail(Some(fault));
        for (method, path) in [
            (Method::GET, "apps"),
            (Method::GET, "apps/hello/logs"),
            (Method::GET, "supervision"),
            (Method::GET, "/metrics"),
            (Method::POST, "apps/hello/restart"),
        ] {
            println!("{fault:?} {method} {path}");
            let answer = api.request(method, path).answer().await;
            let answer = answer.problem_is(status, word).says(part);
            assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
        }
        api.control.fail(None);
        api.get("apps").await.is(200);
    }
    let text = api.get("/metrics").await.text;
    assert!(text.contains("lain_http_handler_panics_total 5"), "{text}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_ends_in_503() {
    let api = Api::with(|options| options.limits.answer_time = Duration::from_millis(200)).await;
    api.control.fail(Some(Fault::Slow(Duration::from_secs(30))));
    let began = Instant::now();
    let answer = api.get("apps").await.problem_is(503, "timeout");
    assert_eq!(answer.header("retry-after"), "2");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_client_beyond_its_rate_waits_and_others_do_not() {
    let api = Api::with(|options| {
        options.limits.rate = 5;
        options.limits.burst = 10;
    })
    .await;
    let mut limited = None;
    for _ in 0..12 {
        let answer = api.get("apps").await;
        if answer.status != 200 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited
        .expect("twelve requests at once passed")
        .problem_is(429, "rate-limited");
    assert_eq!(limited.header("retry-after"), "1");
    api.bare(Method::GET, "apps")
        .bearer_auth(READ)
        .answer()
        .await
        .is(200);
    api.bare(Method::GET, "/healthz").answer().await.is(200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    api.get("apps").await.is(200);
}
