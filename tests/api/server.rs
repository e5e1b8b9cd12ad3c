//! Binding, stopping, and what a crowd of connections does.

use crate::support::{ADMIN, Api, Send};
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
