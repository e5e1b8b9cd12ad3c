//! lain's own log, as whoever reads its stderr sees it.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::config::{Config, Flag, Sources};
use lain::logging::tracing_setup;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Says in which format the child logs; this binary then plays lain, since a process has one log.
const FORMAT: &str = "LAIN_TEST_LOG_FORMAT";

fn run_child(test: &str, format: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    let output = command.env(FORMAT, format).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// The child: logs at three levels, and once more after the level was changed.
fn log(format: &str) {
    let mut sources = Sources::isolated(Path::new("/unused"));
    let flag = |flag: &str, key, value: &str| Flag {
        flag: flag.to_owned(),
        key,
        value: value.to_owned(),
    };
    sources
        .flags
        .push(flag("--log-format", "log.format", format));
    sources
        .flags
        .push(flag("--log-level", "log.level", "info,quiet=error"));
    let config = Config::load(&sources).unwrap();
    let guard = tracing_setup::init(&config.log).unwrap();
    let span = tracing::info_span!("request", request_id = "r-1");
    let entered = span.enter();
    tracing::info!(app = "hello", "deployed");
    tracing::debug!("too fine");
    tracing::warn!(target: "quiet", "not asked for");
    drop(entered);
    guard.set_level("debug").unwrap();
    tracing::debug!(n = 2, "now asked for");
    assert!(guard.set_level("loud=loud").is_err());
    assert_eq!(guard.lost(), 0);
}

#[test]
fn json_lines_carry_the_agreed_fields() {
    if let Ok(format) = std::env::var(FORMAT) {
        return log(&format);
    }
    // Not a terminal, so `auto` is JSON.
    let output = run_child("json_lines_carry_the_agreed_fields", "auto");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    let first = &lines[0];
    for (field, value) in [
        ("level", "info"),
        ("target", "config_log"),
        ("msg", "deployed"),
        ("app", "hello"),
        ("request_id", "r-1"),
    ] {
        assert_eq!(first[field], value, "{first}");
    }
    let ts = first["ts"].as_str().unwrap();
    chrono::DateTime::parse_from_rfc3339(ts).unwrap();
    assert_eq!(
        (&lines[1]["msg"], &lines[1]["n"]),
        (&"now asked for".into(), &2.into())
    );
}

#[test]
fn text_is_for_people_and_has_no_colour_in_a_pipe() {
    if let Ok(format) = std::env::var(FORMAT) {
        return log(&format);
    }
    let output = run_child("text_is_for_people_and_has_no_colour_in_a_pipe", "text");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains("INFO") && text.contains("deployed app=\"hello\""),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
