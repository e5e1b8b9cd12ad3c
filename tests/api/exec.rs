//! Commands over WebSockets: output, input, sizes, exits, failures, and clients that go away or get stuck.

use crate::support::{ADMIN, Api, Send};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

struct Socket(WebSocketStream<TcpStream>);

async fn connect(api: &Api, path: &str) -> Result<Socket, Error> {
    let address = api.url.trim_start_matches("http://");
    let mut request = format!("ws://{address}/api/v1/{path}")
        .into_client_request()
        .unwrap();
    let bearer = format!("Bearer {ADMIN}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(Socket(socket))
}

async fn run(api: &Api, query: &str) -> Socket {
    connect(api, &format!("apps/hello/procs/web/run?{query}"))
        .await
        .unwrap()
}

impl Socket {
    async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.unwrap();
    }

    async fn say(&mut self, text: Value) {
        self.send(text.to_string()).await;
    }

    async fn next(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(5), self.0.next()).await;
            let message = message
                .expect("something within five seconds")
                .expect("no end yet")
                .unwrap();
            if !message.is_ping() {
                return message;
            }
        }
    }

    /// Output until the end: what came from which stream, and the last word.
    async fn end(mut self) -> (Vec<(u8, String)>, Value) {
        let mut output = Vec::new();
        loop {
            match self.next().await {
                Message::Binary(bytes) => {
                    let text = String::from_utf8(bytes[1..].to_vec()).unwrap();
                    output.push((bytes[0], text));
                }
                Message::Text(text) => {
                    let last = serde_json::from_str(&text).unwrap();
                    assert!(self.next().await.is_close());
                    return (output, last);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn api() -> Api {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    api
}

#[tokio::test]
async fn output_and_exit_codes_come_through() {
    let api = api().await;
    let exit = |code: i32| json!({"type": "exit", "code": code});
    let rows = [
        (
            "command=echo&command=hello&command=world",
            vec![(1, "hello world\n")],
            exit(0),
        ),
        (
            "command=warn&command=careful",
            vec![(2, "careful\n")],
            exit(0),
        ),
        ("command=exit&command=7", vec![], exit(7)),
        ("command=exit&command=137", vec![], exit(137)),
    ];
    for (query, output, last) in rows {
        for path in ["procs/web/run", "procs/web/instances/1/exec"] {
            let path = format!("apps/hello/{path}?{query}");
            let got = connect(&api, &path).await.unwrap().end().await;
            let wanted: Vec<(u8, String)> =
                output.iter().map(|(s, t)| (*s, (*t).to_owned())).collect();
            assert_eq!(got, (wanted, last.clone()), "{path}");
        }
    }
    let audit = api.get("audit").await.text;
    assert!(
        audit.contains("\"exec\"") && audit.contains("\"run\""),
        "{audit}"
    );
}

#[tokio::test]
async fn input_goes_in_until_it_is_closed() {
    let api = api().await;
    let mut cat = run(&api, "command=cat&stdin=true").await;
    cat.send(b"one ".to_vec()).await;
    assert_eq!(cat.next().await.into_data(), &b"\x01one "[..]);
    cat.send(b"two".to_vec()).await;
    assert_eq!(cat.next().await.into_data(), &b"\x01two"[..]);
    cat.say(json!({"type": "close_stdin"})).await;
    cat.send(b"too late".to_vec()).await;
    assert_eq!(
        cat.end().await,
        (vec![], json!({"type": "exit", "code": 0}))
    );
}

#[tokio::test]
async fn a_terminal_has_its_size_and_is_told_of_others() {
    let api = api().await;
    let mut size = run(&api, "command=size&tty=true&columns=100&rows=30").await;
    assert_eq!(size.next().await.into_data(), &b"\x01100x30\n"[..]);
    size.say(json!({"type": "resize", "columns": 120, "rows": 40}))
        .await;
    assert_eq!(size.next().await.into_data(), &b"\x01120x40\n"[..]);
    size.say(json!({"type": "close_stdin"})).await;
    assert_eq!(size.end().await.1["type"], "exit");
    let mut size = run(&api, "command=size&tty=true").await;
    assert_eq!(size.next().await.into_data(), &b"\x0180x24\n"[..]);
}

#[tokio::test]
async fn failures_are_told_as_problems() {
    let api = api().await;
    let (_, last) = run(&api, "command=break").await.end().await;
    assert_eq!(last["type"], "error");
    assert_eq!(last["problem"]["type"], "urn:lain:problem:engine-failed");
    assert_eq!(last["problem"]["status"], 503);
    assert!(last["problem"]["request_id"].as_str().unwrap().len() > 10);
    for frame in [
        "{\"type\":\"dance\"}",
        "no json",
        "{\"type\":\"resize\",\"columns\":1}",
    ] {
        let mut sleep = run(&api, "command=sleep").await;
        sleep.send(frame).await;
        let (_, last) = sleep.end().await;
        assert_eq!(
            last["problem"]["type"], "urn:lain:problem:bad-request",
            "{frame}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_the_upgrade() {
    let api = api().await;
    let rows = [
        ("apps/hello/procs/web/run?command=made-up", 409),
        ("apps/hello/procs/web/run", 400),
        ("apps/hello/procs/none/run?command=echo", 404),
        ("apps/none/procs/web/run?command=echo", 404),
        ("apps/hello/procs/web/instances/9/exec?command=echo", 404),
        ("apps/hello/procs/web/run?command=echo&columns=80", 400),
        ("apps/hello/procs/web/run?command=echo&shell=true", 400),
    ];
    for (path, status) in rows {
        let Err(Error::Http(response)) = connect(&api, path).await else {
            panic!("{path} was upgraded");
        };
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    let plain = api.get("apps/hello/procs/web/run?command=echo").await;
    let plain = plain.problem_is(426, "upgrade-required");
    assert_eq!(plain.header("upgrade"), "websocket");
}

#[tokio::test]
async fn much_output_comes_whole_though_the_reader_pauses() {
    let api = api().await;
    let mut flood = run(&api, "command=flood&command=20000000").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut bytes = 0;
    loop {
        match flood.next().await {
            Message::Binary(chunk) => bytes += chunk.len() - 1,
            Message::Text(text) => {
                assert_eq!(text.as_str(), "{\"type\":\"exit\",\"code\":0}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes, 20_000_000);
}

/// Waits until no stream is open.
async fn until_closed(api: &Api) {
    let began = Instant::now();
    while !api
        .get("/metrics")
        .await
        .text
        .contains("lain_http_streams 0")
    {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the stream is still open"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_or_takes_nothing_ends_it() {
    let api = Api::with(|options| {
        options.limits.stream_stall = Duration::from_millis(400);
        options.limits.heartbeat = Duration::from_millis(200);
    })
    .await;
    api.deploy("hello").await.is(202);
    let mut closing = run(&api, "command=sleep").await;
    closing.0.close(None).await.unwrap();
    until_closed(&api).await;
    drop(run(&api, "command=sleep").await);
    until_closed(&api).await;
    let stuck = run(&api, "command=flood&command=900000000").await;
    until_closed(&api).await;
    drop(stuck);
    let silent = run(&api, "command=sleep").await;
    until_closed(&api).await;
    drop(silent);
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let mut api = api().await;
    let sleep = run(&api, "command=sleep").await;
    let stopping = tokio::spawn(api.running.take().unwrap().stop());
    let (_, last) = sleep.end().await;
    assert_eq!(last["problem"]["type"], "urn:lain:problem:unavailable");
    stopping.await.unwrap();
}

#[tokio::test]
async fn commands_count_as_streams() {
    let api = Api::with(|options| options.limits.streams = 1).await;
    api.deploy("hello").await.is(202);
    let first = run(&api, "command=sleep").await;
    api.get("events?watch=true")
        .await
        .problem_is(429, "too-many-streams");
    let Err(Error::Http(response)) = connect(&api, "apps/hello/procs/web/run?command=echo").await
    else {
        panic!("a second stream was opened");
    };
    assert_eq!(response.status().as_u16(), 429);
    drop(first);
    let plain = api.request(Method::GET, "apps").answer().await;
    plain.is(200);
}
