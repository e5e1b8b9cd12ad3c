//! Binding, stopping, and what a crowd of connections does.

use crate::support::{ADMIN, Api, Send};
use lain::ports::auth::Scope;
use lain::web::testing::{Fault, MemoryControl, MemoryTokens};
use lain::web::{Metrics, WebError, WebOptions, serve};
use reqwest::Method;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn try_serve(listen: SocketAddr) -> Result<lain::web::Running, WebError> {
    let options = WebOptions {
        listen,
        ..WebOptions::default()
    };
    let control = Arc::new(MemoryControl::new());
    serve(
        options,
        control,
        Arc::new(MemoryTokens::new()),
        Arc::new(Metrics::new()),
    )
}

#[tokio::test]
async fn a_taken_port_is_said_with_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = holder.local_addr().unwrap();
    let Err(error) = try_serve(addr) else {
        panic!("{addr} was served twice");
    };
    assert!(matches!(error, WebError::Taken(_)), "{error:?}");
    let text = error.to_string();
    for part in [&addr.to_string(), "ss -ltnp", "--listen"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let Err(error) = try_serve("192.0.2.1:7419".parse().unwrap()) else {
        panic!("an address of nobody was served");
    };
    assert!(matches!(error, WebError::NoAddress(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_stops_soon_ends_streams_and_frees_its_port() {
    let mut api = Api::start().await;
    let stream = api
        .request(Method::GET, "events?watch=true")
        .send()
        .await
        .unwrap();
    let running = api.running.take().unwrap();
    let addr = running.addr;
    let began = Instant::now();
    running.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let rest = tokio::time::timeout(Duration::from_secs(1), stream.text()).await;
    rest.expect("the stream has ended").unwrap();
    drop(TcpListener::bind(addr).expect("the port is free again"));
}

#[tokio::test]
async fn a_caller_of_a_socket_that_listens_already_is_answered_once_it_is_served() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let client = reqwest::Client::new();
    let early = tokio::spawn(client.get(format!("http://{addr}/healthz")).send());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!early.is_finished(), "nobody serves yet");
    let options = WebOptions {
        socket: Some(Arc::new(socket)),
        ..WebOptions::default()
    };
    let control = Arc::new(MemoryControl::new());
    let tokens = Arc::new(MemoryTokens::new());
    let running = serve(options, control, tokens, Arc::new(Metrics::new())).unwrap();
    assert_eq!(running.addr, addr);
    assert_eq!(early.await.unwrap().unwrap().status(), 200);
    running.stop().await;
}

#[tokio::test]
async fn where_no_token_is_asked_for_none_is_needed_and_origins_still_count() {
    let options = WebOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..WebOptions::default()
    };
    let tokens = MemoryTokens::new().none_needed("anonymous", vec![Scope::Admin]);
    let control = Arc::new(MemoryControl::new());
    let running = serve(options, control, Arc::new(tokens), Arc::new(Metrics::new())).unwrap();
    let url = format!("http://{}/api/v1/apps", running.addr);
    let client = reqwest::Client::new();
    client.get(&url).answer().await.is(200);
    client
        .get(&url)
        .bearer_auth("whatever")
        .answer()
        .await
        .is(200);
    let foreign = client.post(format!("{url}/hello/restart"));
    let foreign = foreign.header("origin", "http://evil.example.com");
    foreign.answer().await.problem_is(403, "forbidden-origin");
}

#[tokio::test]
async fn a_server_that_is_dropped_frees_its_port_too() {
    let mut api = Api::start().await;
    api.get("apps").await.is(200);
    let running = api.running.take().unwrap();
    let addr = running.addr;
    drop(running);
    let began = Instant::now();
    while let Err(error) = try_serve(addr) {
        let late = began.elapsed() > Duration::from_secs(5);
        assert!(!late && matches!(error, WebError::Taken(_)), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn open_requests_are_answered_before_the_server_stops() {
    let mut api = Api::start().await;
    api.control
        .fail(Some(Fault::Slow(Duration::from_millis(500))));
    let request = api.request(Method::GET, "apps").send();
    let request = tokio::spawn(request);
    tokio::time::sleep(Duration::from_millis(150)).await;
    api.running.take().unwrap().stop().await;
    assert_eq!(request.await.unwrap().unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_at_the_deadline() {
    let mut api = Api::with(|options| options.stop_deadline = Duration::from_millis(500)).await;
    api.control.fail(Some(Fault::Slow(Duration::from_secs(30))));
    let request = tokio::spawn(api.request(Method::GET, "apps").send());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let began = Instant::now();
    api.running.take().unwrap().stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let cut = tokio::time::timeout(Duration::from_secs(5), request).await;
    let cut = cut.expect("the connection has ended").unwrap();
    assert!(cut.is_err(), "{cut:?}");
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out() {
    let api = Api::start().await;
    let address = api.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    api.get("apps").await.is(200);
    drop(idle);
    let requests = (0..100).map(|_| api.bare(Method::GET, "apps").bearer_auth(ADMIN).answer());
    for answer in futures_util::future::join_all(requests).await {
        answer.is(200);
    }
}
