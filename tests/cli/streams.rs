//! Streams: followed, resumed after a break, begun anew when too old.

use crate::fixtures::{event as happening, line};
use crate::support::{Answer, Fake, Lain, Then, event, lain, problem};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A command that runs on; killed at the end of the test.
struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    // Its home goes with it.
    _lain: Lain,
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

impl Running {
    fn start(mut lain: Lain) -> Self {
        lain.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = lain.command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let errors = lines_of(child.stderr.take().unwrap());
        Self {
            child,
            lines,
            errors,
            _lain: lain,
        }
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .expect("a line within 20 s")
    }

    fn error(&self) -> String {
        self.errors
            .recv_timeout(Duration::from_secs(20))
            .expect("a line within 20 s")
    }

    fn is_silent(&self) -> bool {
        self.lines.recv_timeout(Duration::from_millis(300)).is_err()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ids(fake: &Fake) -> Vec<Option<String>> {
    fake.seen()
        .iter()
        .map(|seen| seen.headers.get("last-event-id").cloned())
        .collect()
}

#[test]
fn events_are_followed_and_resumed() {
    let synced = event(None, Some("synced"), serde_json::json!({}));
    let heartbeat = ": heartbeat\n\n".to_owned();
    let of = |seq, text| event(Some(seq), None, happening(seq, text));
    // Given twice: the very same event.
    let three = of(3, "three");
    let fake = Fake::start()
        .on(
            "GET",
            "events",
            Answer::Stream(
                vec![
                    of(1, "one"),
                    of(2, "two"),
                    synced.clone(),
                    heartbeat,
                    three.clone(),
                ],
                Then::Break,
            ),
        )
        // What the first stream gave last comes again, and is not shown again.
        .on(
            "GET",
            "events",
            Answer::Stream(vec![three.clone(), of(4, "four"), synced], Then::Stay),
        );
    let running = Running::start(lain(&fake, &["events", "-f", "--limit", "1"]));
    for text in ["two", "three", "four"] {
        assert!(running.line().ends_with(text));
    }
    assert!(running.error().contains("connection lost"));
    assert_eq!(running.error(), "connected again");
    assert!(running.is_silent());
    assert_eq!(ids(&fake), [None, Some("3".to_owned())]);
    assert_eq!(fake.lines()[0], "GET /api/v1/events?watch=true");
}

#[test]
fn an_ended_stream_goes_on_without_a_word() {
    let of = |seq, text| event(Some(seq), None, happening(seq, text));
    let synced = event(None, Some("synced"), serde_json::json!({}));
    let fake = Fake::start()
        .on(
            "GET",
            "events",
            Answer::Stream(vec![of(1, "one"), synced], Then::End),
        )
        .on(
            "GET",
            "events",
            Answer::Stream(vec![of(2, "two")], Then::Stay),
        );
    let running = Running::start(lain(&fake, &["events", "-f", "-o", "json"]));
    for seq in [1, 2] {
        let line: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
        assert_eq!(line["seq"], seq);
    }
    assert!(running.errors.try_recv().is_err());
}

#[test]
fn what_is_too_old_to_resume_is_begun_anew() {
    let of = |seq, text| event(Some(seq), None, happening(seq, text));
    let synced = event(None, Some("synced"), serde_json::json!({}));
    let fake = Fake::start()
        .on(
            "GET",
            "events",
            Answer::Stream(vec![of(1, "one"), synced.clone()], Then::Break),
        )
        .on("GET", "events", problem(410, "too old"))
        .on(
            "GET",
            "events",
            Answer::Stream(vec![of(9, "nine"), synced], Then::Stay),
        );
    let running = Running::start(lain(&fake, &["events", "-f"]));
    assert!(running.line().ends_with("one"));
    assert!(running.line().ends_with("nine"));
    assert!(running.error().contains("connection lost"));
    assert!(running.error().contains("some events were missed"));
    assert_eq!(ids(&fake), [None, Some("1".to_owned()), None]);
}

#[test]
fn a_refusal_ends_the_watch() {
    let fake = Fake::start().on("GET", "events", problem(403, "not with this token"));
    let run = lain(&fake, &["events", "-f"]).run();
    assert_eq!(run.code, 5);
    let told = event(
        None,
        Some("error"),
        serde_json::json!({"status": 503, "title": "x", "detail": "the engine went away", "request_id": "r7"}),
    );
    let fake = Fake::start().on(
        "GET",
        "apps/hello/logs",
        Answer::Stream(vec![told], Then::End),
    );
    let run = lain(&fake, &["logs", "-f", "-a", "hello"]).run();
    assert_eq!(run.code, 8);
    assert!(
        run.stderr.contains("the engine went away"),
        "{}",
        run.stderr
    );
}

#[test]
fn logs_are_followed_over_a_break() {
    let of = |id, text| event(Some(id), None, line("hello.web.web.i1", 1, text));
    let fake = Fake::start()
        .on(
            "GET",
            "apps/hello/logs",
            Answer::Stream(vec![of(1, "one")], Then::Break),
        )
        .on(
            "GET",
            "apps/hello/logs",
            Answer::Stream(vec![of(2, "two")], Then::Stay),
        );
    let running = Running::start(lain(
        &fake,
        &[
            "logs",
            "-f",
            "-a",
            "hello",
            "--since",
            "2027-01-01T00:00:00Z",
        ],
    ));
    assert_eq!(running.line(), "web.web.i1 | one");
    assert_eq!(running.line(), "web.web.i1 | two");
    assert_eq!(ids(&fake), [None, Some("1".to_owned())]);
    assert!(
        fake.lines()[0].ends_with("tail=10000&follow=true"),
        "{}",
        fake.lines()[0]
    );
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let of = |seq, text| event(Some(seq), None, happening(seq, text));
    let synced = event(None, Some("synced"), serde_json::json!({}));
    let first = Fake::start().on(
        "GET",
        "events",
        Answer::Stream(vec![of(1, "one"), synced.clone()], Then::Stay),
    );
    let address = first.url.trim_start_matches("http://").to_owned();
    let running = Running::start(lain(&first, &["events", "-f"]));
    assert!(running.line().ends_with("one"));
    drop(first);
    assert!(running.error().contains("connection lost"));
    let second = Fake::start_at(&address).on(
        "GET",
        "events",
        Answer::Stream(vec![of(2, "two"), synced], Then::Stay),
    );
    assert!(running.line().ends_with("two"));
    assert_eq!(ids(&second), [Some("1".to_owned())]);
}

#[test]
fn without_a_terminal_the_live_tree_is_a_line_per_change() {
    let synced = event(None, Some("synced"), serde_json::json!({}));
    let mut other = happening(2, "elsewhere");
    other.path = Some("apps/app/other".to_owned());
    let events = vec![
        event(Some(1), None, happening(1, "exited")),
        synced,
        event(Some(2), None, other),
        event(Some(3), None, happening(3, "restarted")),
    ];
    let fake = Fake::start().on(
        "GET",
        "supervision/events",
        Answer::Stream(events, Then::Stay),
    );
    let running = Running::start(lain(&fake, &["tree", "--watch", "-a", "hello"]));
    assert!(running.line().ends_with("exited"));
    assert!(running.line().ends_with("restarted"));
    assert_eq!(fake.lines()[0], "GET /api/v1/supervision/events");
}
