//! Keys are kept for a day and within bounds, and told apart by token and request.

use super::*;
use crate::web::error::Kind;

fn key(name: &str, key: &str) -> Key {
    (name.to_owned(), key.to_owned())
}

fn done(body: &'static str) -> Answer {
    Answer::Done {
        status: StatusCode::ACCEPTED,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

/// A word for each decision; one that is to be carried out ends with `body`.
fn ask(
    answers: &Arc<Answers>,
    of: Key,
    request: &[u8],
    now: Instant,
    body: &'static str,
) -> String {
    match answers.begin(of, fingerprint(&[request]), now) {
        Decision::CarryOut(pending) => {
            pending.keep(done(body));
            "carried out".to_owned()
        }
        Decision::Repeat(Answer::Done { body, .. }) => {
            format!("repeated {}", String::from_utf8_lossy(&body))
        }
        Decision::Repeat(Answer::Failed(problem)) => format!("repeated {problem}"),
        Decision::InProgress => "in progress".to_owned(),
        Decision::OtherRequest => "other".to_owned(),
    }
}

#[test]
fn the_first_answer_is_given_again_for_a_day() {
    let answers = Answers::new(10, 1 << 20);
    let start = Instant::now();
    let rows = [
        ("a", "k", "x", 0, "carried out"),
        ("a", "k", "x", 1, "repeated 0"),
        ("a", "k", "y", 1, "other"),
        ("b", "k", "y", 1, "carried out"),
        ("a", "l", "y", 1, "carried out"),
        ("a", "k", "x", 24 * 3600 - 1, "repeated 0"),
        ("a", "k", "x", 24 * 3600, "carried out"),
        ("a", "k", "x", 24 * 3600 + 1, "repeated 0"),
    ];
    for (name, of, request, seconds, wanted) in rows {
        let now = start + Duration::from_secs(seconds);
        let got = ask(&answers, key(name, of), request.as_bytes(), now, "0");
        assert_eq!(got, wanted, "{name} {of} {request} at {seconds}");
    }
}

#[test]
fn a_request_in_progress_is_not_begun_twice_and_frees_its_key_when_dropped() {
    let answers = Answers::new(10, 1 << 20);
    let now = Instant::now();
    let first = answers.begin(key("a", "k"), fingerprint(&[b"x"]), now);
    assert_eq!(ask(&answers, key("a", "k"), b"x", now, "0"), "in progress");
    assert_eq!(ask(&answers, key("a", "k"), b"y", now, "0"), "other");
    drop(first);
    assert_eq!(ask(&answers, key("a", "k"), b"x", now, "0"), "carried out");
}

#[test]
fn bounds_hold_and_the_oldest_goes_first() {
    let answers = Answers::new(3, 1 << 20);
    let now = Instant::now();
    for k in ["1", "2", "3", "4"] {
        assert_eq!(ask(&answers, key("a", k), b"x", now, "0"), "carried out");
    }
    assert_eq!(ask(&answers, key("a", "4"), b"x", now, "0"), "repeated 0");
    assert_eq!(ask(&answers, key("a", "1"), b"x", now, "0"), "carried out");
    let inner = lock(&answers.inner);
    assert!(inner.entries.len() <= 3);
    assert_eq!(
        inner.bytes,
        inner.entries.values().map(|e| e.bytes).sum::<usize>()
    );
}

#[test]
fn bytes_are_bounded_too() {
    let answers = Answers::new(1000, 2000);
    let now = Instant::now();
    for n in 0..100 {
        let kept = ask(&answers, key("a", &n.to_string()), b"x", now, "0123456789");
        assert_eq!(kept, "carried out");
    }
    assert!(lock(&answers.inner).entries.len() <= 5);
}

#[test]
fn problems_are_repeated_as_problems() {
    let answers = Answers::new(10, 1 << 20);
    let now = Instant::now();
    let Decision::CarryOut(pending) = answers.begin(key("a", "k"), fingerprint(&[b"x"]), now)
    else {
        panic!("the first is carried out");
    };
    pending.keep(Answer::Failed(Problem::new(
        Kind::Conflict,
        "being removed",
    )));
    assert_eq!(
        ask(&answers, key("a", "k"), b"x", now, ""),
        "repeated being removed"
    );
}

#[test]
fn fingerprints_do_not_run_together() {
    assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
}
