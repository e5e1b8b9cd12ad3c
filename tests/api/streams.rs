//! Server-sent events: snapshot, `synced`, changes, resumption, heartbeats, slow readers.

use crate::support::{Api, HELLO, Send};
use lain::domain::view::{LogLineView, OperationState};
use lain::web::testing::event;
use reqwest::{Method, RequestBuilder, Response};
use std::time::{Duration, Instant};

/// A stream as it is read.
struct Reader {
    response: Response,
    buffer: String,
}

/// `id`, name and data of an event, or a comment as its name.
type Got = (String, String, String);

impl Reader {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            buffer: String::new(),
        }
    }

    /// The next event; `None`: the stream has ended. Fails after five seconds.
    async fn next(&mut self) -> Option<Got> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                if block.starts_with("retry:") {
                    continue;
                }
                return Some(parse(&block));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.response.chunk()).await;
            // An end by reset is an end.
            let chunk = chunk
                .expect("something within five seconds")
                .unwrap_or(None)?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn name(&mut self) -> String {
        self.next().await.expect("another event").1
    }

    async fn kind(&mut self) -> String {
        let (_, name, data) = self.next().await.expect("another event");
        if name != "message" {
            return name;
        }
        let data: serde_json::Value = serde_json::from_str(&data).unwrap();
        data["kind"].as_str().unwrap().to_owned()
    }
}

fn parse(block: &str) -> Got {
    let mut got = (String::new(), "message".to_owned(), String::new());
    for line in block.trim_end().lines() {
        match line.split_once(": ") {
            Some(("id", value)) => got.0 = value.to_owned(),
            Some(("event", value)) => got.1 = value.to_owned(),
            Some(("data", value)) => got.2 = value.to_owned(),
            Some(("", comment)) => got.1 = format!(": {comment}"),
            other => panic!("{other:?}"),
        }
    }
    got
}

fn emit(api: &Api, kind: &str) {
    api.control.emit(event(kind, "info", "something happened"));
}

#[tokio::test]
async fn events_begin_with_what_was_then_synced_then_what_comes() {
    let api = Api::start().await;
    for kind in ["a", "b", "c"] {
        emit(&api, kind);
    }
    let mut reader = Reader::open(api.request(Method::GET, "events?watch=true&limit=2")).await;
    assert_eq!(reader.next().await.unwrap().0, "2");
    assert_eq!(reader.kind().await, "c");
    assert_eq!(
        reader.next().await.unwrap(),
        ("3".to_owned(), "synced".to_owned(), "{}".to_owned())
    );
    emit(&api, "d");
    assert_eq!(reader.kind().await, "d");
}

#[tokio::test]
async fn an_empty_stream_is_synced_at_once_and_filters_hold() {
    let api = Api::start().await;
    let path = "events?watch=true&kind=actor_*";
    let mut reader = Reader::open(api.request(Method::GET, path)).await;
    assert_eq!(reader.name().await, "synced");
    emit(&api, "other");
    emit(&api, "actor_started");
    assert_eq!(reader.kind().await, "actor_started");
    let mut tree = Reader::open(api.request(Method::GET, "supervision/events")).await;
    assert_eq!(tree.kind().await, "actor_started");
    assert_eq!(tree.name().await, "synced");
    emit(&api, "other");
    emit(&api, "actor_exited");
    assert_eq!(tree.kind().await, "actor_exited");
}

#[tokio::test]
async fn a_stream_resumes_after_any_event_without_loss() {
    let api = Api::start().await;
    for kind in ["a", "b", "c", "d"] {
        emit(&api, kind);
    }
    for (after, wanted) in [
        ("1", vec!["b", "c", "d", "synced"]),
        ("3", vec!["d", "synced"]),
        ("4", vec!["synced"]),
    ] {
        let request = api
            .request(Method::GET, "events?watch=true")
            .header("last-event-id", after);
        let mut reader = Reader::open(request).await;
        for kind in wanted {
            assert_eq!(reader.kind().await, kind, "after {after}");
        }
    }
    let resume = |id: &str| {
        let request = api.request(Method::GET, "events?watch=true");
        request.header("last-event-id", id).answer()
    };
    resume("x").await.problem_is(400, "bad-parameter");
    resume("99").await.problem_is(410, "gone");
    for _ in 0..1100 {
        emit(&api, "more");
    }
    resume("3").await.problem_is(410, "gone").says("list");
    let tree = api
        .request(Method::GET, "supervision/events")
        .header("last-event-id", "3");
    tree.answer().await.problem_is(410, "gone");
}

#[tokio::test]
async fn a_token_of_one_app_is_told_of_that_app_only() {
    let api = Api::start().await;
    let request = api
        .bare(Method::GET, "events?watch=true")
        .bearer_auth(HELLO);
    let mut reader = Reader::open(request).await;
    assert_eq!(reader.name().await, "synced");
    api.deploy("shop").await.is(202);
    emit(&api, "of_no_app");
    api.deploy("hello").await.is(202);
    let (_, _, data) = reader.next().await.unwrap();
    assert!(data.contains("\"app\":\"hello\""), "{data}");
}

#[tokio::test]
async fn an_operation_is_followed_to_its_end() {
    let api = Api::start().await;
    api.control.hold(true);
    let location = api
        .deploy("hello")
        .await
        .is(202)
        .header("location")
        .to_owned();
    let mut reader =
        Reader::open(api.request(Method::GET, &format!("{location}?watch=true"))).await;
    assert!(
        reader
            .next()
            .await
            .unwrap()
            .2
            .contains("\"state\":\"running\"")
    );
    let id = location.rsplit('/').next().unwrap();
    api.control.finish(id, OperationState::Succeeded);
    assert!(
        reader
            .next()
            .await
            .unwrap()
            .2
            .contains("\"state\":\"succeeded\"")
    );
    assert_eq!(reader.next().await, None);
    let mut ended = Reader::open(api.request(Method::GET, &format!("{location}?watch=true"))).await;
    assert!(
        ended
            .next()
            .await
            .unwrap()
            .2
            .contains("\"state\":\"succeeded\"")
    );
    assert_eq!(ended.next().await, None);
}

fn line(text: &str) -> LogLineView {
    LogLineView {
        at: chrono::Utc::now(),
        instance: "hello.web.web.i1".to_owned(),
        stream: "stdout".to_owned(),
        line: text.to_owned(),
    }
}

#[tokio::test]
async fn logs_are_followed_and_resumed() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    for text in ["one", "two", "three"] {
        api.control.write_line(line(text));
    }
    let follow = "apps/hello/logs?follow=true&tail=2";
    let mut reader = Reader::open(api.request(Method::GET, follow)).await;
    let (id, _, data) = reader.next().await.unwrap();
    assert!(data.contains("\"line\":\"two\""), "{data}");
    assert!(reader.next().await.unwrap().2.contains("three"));
    api.control.write_line(line("four"));
    assert!(reader.next().await.unwrap().2.contains("four"));
    let resumed = api
        .request(Method::GET, follow)
        .header("last-event-id", &id);
    let mut resumed = Reader::open(resumed).await;
    for text in ["three", "four"] {
        assert!(resumed.next().await.unwrap().2.contains(text));
    }
    let bad = api
        .request(Method::GET, follow)
        .header("last-event-id", "7");
    bad.answer().await.problem_is(400, "bad-parameter");
}

#[tokio::test]
async fn idle_streams_beat_and_end_after_their_time() {
    let api = Api::with(|options| {
        options.limits.heartbeat = Duration::from_millis(100);
        options.limits.stream_life = Duration::from_millis(450);
    })
    .await;
    let began = Instant::now();
    let mut reader = Reader::open(api.request(Method::GET, "events?watch=true")).await;
    assert_eq!(reader.name().await, "synced");
    let mut beats = 0;
    while let Some((_, name, _)) = reader.next().await {
        assert_eq!(name, ": heartbeat");
        beats += 1;
    }
    assert!((2..=4).contains(&beats), "{beats}");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn streams_are_counted_and_given_back() {
    let api = Api::with(|options| {
        options.limits.streams = 3;
        options.limits.streams_each = 2;
    })
    .await;
    let open = || Reader::open(api.request(Method::GET, "events?watch=true"));
    let (first, second) = (open().await, open().await);
    let third = api
        .get("events?watch=true")
        .await
        .problem_is(429, "too-many-streams");
    assert_eq!(third.header("retry-after"), "1");
    let other = api
        .bare(Method::GET, "events?watch=true")
        .bearer_auth(HELLO);
    let other = Reader::open(other).await;
    assert!(
        api.get("/metrics")
            .await
            .text
            .contains("lain_http_streams 3")
    );
    drop((first, second, other));
    let began = Instant::now();
    while !api
        .get("/metrics")
        .await
        .text
        .contains("lain_http_streams 0")
    {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "slots are not given back"
        );
        // The server notices a client that is gone when it next writes to it.
        emit(&api, "tick");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off_and_harms_nobody() {
    let api = Api::with(|options| options.limits.stream_stall = Duration::from_millis(500)).await;
    let mut stuck = Reader::open(api.request(Method::GET, "events?watch=true")).await;
    let mut busy = Reader::open(api.request(Method::GET, "events?watch=true")).await;
    assert_eq!(busy.name().await, "synced");
    let message = "x".repeat(64 * 1024);
    let began = Instant::now();
    let (mut told, mut open) = (0, 2);
    while open > 1 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the stuck reader keeps its stream"
        );
        for _ in 0..50 {
            api.control.emit(event("flood", "info", &message));
            busy.next().await.expect("the busy reader is served on");
            told += 1;
        }
        let text = api.get("/metrics").await.text;
        open = if text.contains("lain_http_streams 2") {
            2
        } else {
            1
        };
    }
    println!("cut off after {told} events, {:?}", began.elapsed());
    emit(&api, "last");
    while busy.kind().await != "last" {}
    // What the stuck reader had been sent before is still in its socket; then comes the end.
    while stuck.next().await.is_some() {}
}
