//! Bad input: bodies, parameters, paths and methods that make no sense end in a clear 4xx.

use crate::support::{Api, Send, lain_yaml};
use reqwest::Method;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused() {
    let api = Api::start().await;
    let deep = format!(
        "{{\"lain_yaml\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let deep_object = "{\"a\":".repeat(50_000);
    let huge = format!("{{\"lain_yaml\":\"{}\"}}", "x".repeat(1_100_000));
    let rows: Vec<(&[u8], u16, &str, &str)> = vec![
        (b"", 400, "malformed-body", "JSON object"),
        (b"null", 400, "malformed-body", "JSON object"),
        (
            b"[\"appname: hello\"]",
            400,
            "malformed-body",
            "JSON object",
        ),
        (b"{", 400, "malformed-body", "EOF"),
        (b"{}", 400, "malformed-body", "lain_yaml"),
        (b"{\"lain_yaml\": 3}", 400, "malformed-body", "string"),
        (
            b"{\"lain_yaml\":\"\",\"lain_yaml\":\"\"}",
            400,
            "malformed-body",
            "duplicate",
        ),
        (
            b"{\"lain_yaml\":\"\"} trailing",
            400,
            "malformed-body",
            "trailing",
        ),
        (
            b"{\"lain_yaml\":\"\xff\xfe\"}",
            400,
            "malformed-body",
            "UTF-8",
        ),
        (
            b"{\"lain_yaml\":\"\",\"lain_yml\":\"\"}",
            400,
            "unknown-field",
            "lain_yml",
        ),
        (deep.as_bytes(), 400, "malformed-body", ""),
        (deep_object.as_bytes(), 400, "unknown-field", ""),
        (huge.as_bytes(), 413, "too-large", "1048576"),
        (b"{\"lain_yaml\":\"\"}", 422, "invalid", ""),
        (b"{\"lain_yaml\":\"\\u0000\"}", 422, "invalid", ""),
    ];
    for (body, status, word, part) in rows {
        let request = api
            .request(Method::PUT, "apps/hello")
            .header("content-type", "application/json")
            .body(body.to_vec());
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        println!("{start}");
        request.answer().await.problem_is(status, word).says(part);
    }
    api.get("apps/hello").await.is(404);
}

#[tokio::test]
async fn the_faults_of_a_file_come_with_their_places() {
    let api = Api::start().await;
    let yaml = "appname: hello\nweb:\n  image: hello\n  cmdd: x\n  num_instances: many\n";
    let answer = api
        .put("hello", yaml)
        .answer()
        .await
        .problem_is(422, "invalid");
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0]["line"], 4);
    assert!(
        errors[0]["pointer"].as_str().unwrap().contains("cmdd"),
        "{errors:?}"
    );
    assert!(
        errors[0]["detail"].as_str().unwrap().contains("cmd"),
        "{errors:?}"
    );
    assert_eq!(errors[1]["line"], 5);
    api.put("other", &lain_yaml("hello"))
        .answer()
        .await
        .problem_is(409, "conflict");
}

#[tokio::test]
async fn only_json_is_taken() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let (put, patch) = (Method::PUT, Method::PATCH);
    let rows = [
        (&put, Some("application/json"), 400),
        (&put, Some("Application/JSON; charset=utf-8"), 400),
        (&put, Some("text/plain"), 415),
        (&put, Some("application/x-www-form-urlencoded"), 415),
        (&put, Some("application/merge-patch+json"), 415),
        (&put, None, 415),
        (&patch, Some("application/json"), 200),
        (&patch, Some("application/merge-patch+json"), 200),
        (&patch, Some("application/json-patch+json"), 415),
    ];
    for (method, media_type, status) in rows {
        let path = if method == put {
            "apps/hello"
        } else {
            "apps/hello/procs/web"
        };
        let mut request = api.request(method.clone(), path).body("{}");
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let answer = request.answer().await;
        assert_eq!(answer.status, status, "{method} {media_type:?}: {answer:?}");
    }
    let zipped = api
        .put("hello", "")
        .header("content-encoding", "gzip")
        .answer()
        .await;
    zipped.problem_is(415, "unsupported-media-type");
}

#[tokio::test]
async fn what_takes_no_body_says_so() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    for (body, status) in [
        ("", 202),
        (" {} ", 202),
        ("{\"force\":true}", 400),
        ("x", 400),
    ] {
        let restart = api.request(Method::POST, "apps/hello/restart").body(body);
        assert_eq!(restart.answer().await.status, status, "{body}");
    }
}

#[tokio::test]
async fn parameters_are_known_and_right_or_refused() {
    let api = Api::start().await;
    api.deploy("hello").await.is(202);
    let rows = [
        ("apps?limit=0", 400, "bad-parameter", "limit"),
        ("apps?limit=1001", 400, "bad-parameter", "1 to 1000"),
        ("apps?limit=x", 400, "bad-parameter", "limit"),
        ("apps?limit=1&limit=2", 400, "bad-parameter", "duplicate"),
        ("apps?after=zz", 400, "bad-parameter", "next"),
        (
            "apps?lmit=1",
            400,
            "unknown-parameter",
            "known are limit, after",
        ),
        ("apps?limit=%ff", 400, "bad-parameter", "UTF-8"),
        ("apps/hello?x", 400, "unknown-parameter", "takes none"),
        ("/healthz?x=1", 400, "unknown-parameter", "x"),
        (
            "apps/hello/logs?since=yesterday",
            400,
            "bad-parameter",
            "since",
        ),
        ("apps/hello/logs?tail=10001", 400, "bad-parameter", "tail"),
        (
            "apps/hello/logs?instance=1",
            400,
            "bad-parameter",
            "needs proc",
        ),
        (
            "apps/hello/logs?proc=wbe",
            404,
            "not-found",
            "did you mean web",
        ),
        ("crashes?instance=0", 400, "bad-parameter", "instance"),
        ("events?level=loud", 400, "bad-parameter", "level"),
        ("events?watch=yes", 400, "bad-parameter", "watch"),
        ("supervision?depth=-1", 400, "bad-parameter", "depth"),
        ("apps/a_b", 400, "bad-parameter", "app name"),
        ("apps/%ff", 400, "bad-parameter", ""),
        (
            "apps/hello/procs/web/instances/x",
            400,
            "bad-parameter",
            "path",
        ),
        (
            "apps/hello/procs/web/instances/99999999999",
            400,
            "bad-parameter",
            "path",
        ),
        ("apps/helo", 404, "not-found", "did you mean hello"),
        ("apps/hello/procs/wob", 404, "not-found", "did you mean web"),
        (
            "apps/hello/procs/web/instances/7",
            404,
            "not-found",
            "1 to 3",
        ),
        ("operations/none", 404, "not-found", "none"),
        ("crashes/none", 404, "not-found", "none"),
        ("nodes/none", 404, "not-found", "none"),
        ("supervision?path=apps/none", 404, "not-found", "none"),
        ("nothing", 404, "no-such-route", "/api/v1/docs"),
        ("/", 404, "no-such-route", ""),
        ("apps/hello/", 404, "no-such-route", ""),
        ("/api/v2/apps", 404, "no-such-route", ""),
    ];
    for (path, status, word, part) in rows {
        println!("{path}");
        api.get(path).await.problem_is(status, word).says(part);
    }
}

#[tokio::test]
async fn other_methods_are_answered_with_those_that_there_are() {
    let api = Api::start().await;
    let rows = [
        (Method::POST, "apps", "GET, HEAD"),
        (Method::POST, "apps/hello", "DELETE, GET, HEAD, PUT"),
        (Method::GET, "apps/hello/restart", "POST"),
        (Method::HEAD, "apps/hello/restart", "POST"),
        (Method::OPTIONS, "apps", "GET, HEAD"),
        (Method::TRACE, "apps", "GET, HEAD"),
        (Method::DELETE, "/healthz", "GET, HEAD"),
        (Method::HEAD, "apps/hello/procs/web/run", "GET"),
        (Method::from_bytes(b"BREW").unwrap(), "apps", "GET, HEAD"),
    ];
    for (method, path, allow) in rows {
        let answer = api.request(method.clone(), path).answer().await.is(405);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        if method != Method::HEAD {
            answer.problem_is(405, "method-not-allowed");
        }
    }
}

/// Writes `parts` with pauses, and returns what came back until the server closed.
async fn speak(api: &Api, parts: &[&[u8]], pause: Duration) -> String {
    let mut stream = TcpStream::connect(api.url.trim_start_matches("http://"))
        .await
        .unwrap();
    for part in parts {
        // The server may have had enough.
        if stream.write_all(part).await.is_err() {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // A reset after the answer is an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_heads_and_bodies_end_in_408() {
    let api = Api::with(|options| {
        // actix's clock for heads is half a second coarse.
        options.limits.head_time = Duration::from_millis(1500);
        options.limits.body_time = Duration::from_millis(300);
    })
    .await;
    let began = Instant::now();
    let head = speak(&api, &[b"GET / HTTP/1.1\r\nHost: 127"], Duration::ZERO).await;
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    let request = b"PUT /api/v1/apps/hello HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer admin-token\r\n\
        Content-Type: application/json\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n";
    let body = speak(&api, &[request, b"{"], Duration::ZERO).await;
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert!(body.contains("urn:lain:problem:request-timeout"), "{body}");
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn what_is_no_http_ends_in_4xx_and_the_server_goes_on() {
    let api = Api::start().await;
    let long = [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ".as_slice(),
        &vec![b'x'; 300_000],
    ]
    .concat();
    let many = [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        &"A: b\r\n".repeat(500),
        "\r\n",
    ]
    .concat();
    let lengths = b"PUT /api/v1/apps/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    let both = b"PUT /api/v1/apps/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc";
    let rows: [(&[u8], &str); 7] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"hello\r\n\r\n", "400"),
        (b"GET http://[::1/ HTTP/1.1\r\n\r\n", "400"),
        (&long, "431"),
        (many.as_bytes(), "431"),
        (lengths, "400"),
        (both, "4"),
    ];
    for (bytes, status) in rows {
        let answer = speak(&api, &[bytes], Duration::ZERO).await;
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(70)]).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{start}: {answer}"
        );
    }
    let bare = speak(&api, &[b"GET /healthz HTTP/1.0\r\n\r\n"], Duration::ZERO).await;
    assert!(
        bare.starts_with("HTTP/1.0 403") || bare.starts_with("HTTP/1.1 403"),
        "{bare}"
    );
    api.get("apps").await.is(200);
}

#[tokio::test]
async fn chunked_bodies_are_limited_while_they_come() {
    let api = Api::start().await;
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 65_536], b"\r\n"].concat();
    let head: &[u8] = b"PUT /api/v1/apps/hello HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer admin-token\r\n\
        Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut parts = vec![head];
    parts.extend(std::iter::repeat_n(chunk.as_slice(), 20));
    let answer = speak(&api, &parts, Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
