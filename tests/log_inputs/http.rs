//! Events by HTTP, as Vector's sink sends them: taken whole or not at all, and not lost by SIGKILL once answered.

use crate::support::{Answer, Lain};
use std::io::Write;

fn post(lain: &Lain, token: &str, path: &str, gzip: bool, body: &[u8]) -> Answer {
    let url = format!("{}/api/v1/{path}", lain.url);
    let mut body = body.to_vec();
    if gzip {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&body).unwrap();
        body = packer.finish().unwrap();
    }
    lain.ask(|client| {
        let request = client.post(url).body(body);
        let request = match token {
            "" => request,
            token => request.bearer_auth(token),
        };
        match gzip {
            true => request.header("content-encoding", "gzip"),
            false => request,
        }
    })
}

#[test]
fn events_are_acknowledged_only_once_they_are_safe() {
    let mut lain = Lain::start("[limits]\nmax_body = \"64KiB\"\n");
    let token = lain.token.clone();
    let mut count = 0;
    for round in 0..3 {
        let lines: String = (0..100)
            .map(|n| format!("{{\"message\":\"round {round} line {n}\",\"level\":\"info\",\"timestamp\":\"{}\"}}\n", chrono::Utc::now().to_rfc3339()))
            .collect();
        let answer = post(
            &lain,
            &token,
            "logs/events",
            round % 2 == 0,
            lines.as_bytes(),
        );
        assert_eq!(
            (answer.status, &answer.json()["accepted"]),
            (200, &100.into())
        );
        count += 100;
        // Answered is answered.
        lain.kill();
        lain.again();
        // The sender did not get the answer, and sends all of it once more.
        let answer = post(&lain, &token, "logs/events", true, lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let events = lain.found("source_type: http_server", count);
    assert_eq!(events.len(), count, "what came twice is there once");
    for event in &events {
        assert_eq!(event["input"], "http");
        assert_eq!(event["node"], "here");
        assert_eq!(event["level"], "info");
    }
    let input = lain.input("http");
    assert_eq!(input["kind"], "http");
    assert_eq!(input["state"], "running");
}

#[test]
fn what_is_wrong_is_refused_with_its_reason_and_nothing_is_stored() {
    let lain = Lain::start("[limits]\nmax_body = \"64KiB\"\n");
    let admin = lain.token.clone();
    let text = "no such line should ever be found";
    let good = format!("{{\"message\":\"{text}\"}}");
    for (token, path, gzip, body, status, said) in [
        (
            &admin[..],
            "logs/events",
            false,
            format!("{good}\n[1]"),
            400,
            "line 2",
        ),
        (
            &admin,
            "logs/events",
            false,
            format!("{good}\n{{"),
            400,
            "line 2",
        ),
        (&admin, "logs/events", true, "7".to_owned(), 400, "object"),
        (
            &admin,
            "logs/events?colour=red",
            false,
            good.clone(),
            400,
            "colour",
        ),
        ("", "logs/events", false, good.clone(), 401, "token"),
        ("wrong", "logs/events", false, good.clone(), 401, "token"),
        (
            &admin,
            "logs/events?app=shop",
            false,
            format!("{good}\n{{\"app\":\"bank\"}}"),
            403,
            "bank",
        ),
        (
            &admin,
            "logs/events",
            false,
            " ".repeat(70_000),
            413,
            "65536",
        ),
        (
            &admin,
            "logs/events",
            true,
            " ".repeat(600_000),
            413,
            "unpacks",
        ),
    ] {
        let answer = post(&lain, token, path, gzip, body.as_bytes());
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
    }
    let answer = post(
        &lain,
        &admin,
        "logs/events?app=shop",
        false,
        b"[{\"message\":\"kept\"}]",
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(lain.found("message: kept", 1)[0]["app"], "shop");
    assert!(lain.events(&format!("message: \"{text}\"")).is_empty());
    assert_eq!(lain.input("http")["events"], 1);
}
