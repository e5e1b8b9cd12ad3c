//! The level that a line tells: from a JSON field, `level=…`, or a word near its beginning.

use crate::domain::log::Level;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// How far into a line a level is looked for.
const NEAR: usize = 96;

/// The level of a line; `None` where it tells none.
pub fn recognise(message: &[u8]) -> Option<Level> {
    let start = message.iter().position(|b| !b.is_ascii_whitespace())?;
    let message = &message[start..];
    match message[0] {
        b'{' => in_json(message).or_else(|| in_text(message)),
        b'<' => priority(message).or_else(|| in_text(message)),
        _ => klog(message).or_else(|| in_text(message)),
    }
}

/// The field of a JSON object that holds a level.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    level: Option<Word<'a>>,
    #[serde(borrow, default)]
    severity: Option<Word<'a>>,
    #[serde(borrow, default)]
    lvl: Option<Word<'a>>,
    #[serde(borrow, default, rename = "log.level")]
    ecs: Option<Word<'a>>,
    #[serde(borrow, default, rename = "@l")]
    short: Option<Word<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Other(IgnoredAny),
}

fn in_json(message: &[u8]) -> Option<Level> {
    // A text that names none of them has none: no need to read it all.
    let named = [&b"level"[..], b"severity", b"\"lvl\"", b"\"@l\""];
    if !named
        .iter()
        .any(|name| memchr::memmem::find(message, name).is_some())
    {
        return None;
    }
    let fields: Fields<'_> = serde_json::from_slice(message).ok()?;
    let words = [
        fields.level,
        fields.severity,
        fields.lvl,
        fields.ecs,
        fields.short,
    ];
    words.into_iter().flatten().find_map(|word| match word {
        Word::Text(text) => Level::from_word(text.trim().as_bytes()),
        // bunyan's and pino's numbers.
        Word::Number(number) => [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
            .iter()
            .zip([
                Level::Trace,
                Level::Debug,
                Level::Info,
                Level::Warn,
                Level::Error,
                Level::Critical,
            ])
            .find(|(known, _)| (**known - number).abs() < 0.5)
            .map(|(_, level)| level),
        Word::Other(_) => None,
    })
}

/// systemd's `<3>` and syslog's `<131>`.
fn priority(message: &[u8]) -> Option<Level> {
    let end = message.iter().take(5).position(|b| *b == b'>')?;
    let number: u16 = std::str::from_utf8(&message[1..end]).ok()?.parse().ok()?;
    (number < 192).then(|| Level::from_severity((number % 8) as u8))?
}

/// glog's and klog's `I0301 08:00:00`.
fn klog(message: &[u8]) -> Option<Level> {
    let digits = message.get(1..5)?;
    if !digits.iter().all(u8::is_ascii_digit) || message.get(5) != Some(&b' ') {
        return None;
    }
    match message[0] {
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' => Some(Level::Error),
        b'F' => Some(Level::Critical),
        _ => None,
    }
}

/// A word in capitals (`WARN`), in brackets (`[warn]`), before a colon at the start (`warn: …`), or after
/// `level=`. Small letters alone are prose: "no error" tells no level.
fn in_text(message: &[u8]) -> Option<Level> {
    let near = &message[..message.len().min(NEAR)];
    let mut at = 0;
    while at < near.len() {
        if !near[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let from = at;
        while at < near.len() && (near[at].is_ascii_alphanumeric() || near[at] == b'_') {
            at += 1;
        }
        // A word that the limit cuts could be another one.
        if at == near.len() && message.len() > near.len() {
            return None;
        }
        if let Some(level) = Level::from_word(&near[from..at])
            && told(near, from, at)
        {
            return Some(level);
        }
    }
    None
}

/// Whether the word at `from..to` is meant as a level.
fn told(near: &[u8], from: usize, to: usize) -> bool {
    let word = &near[from..to];
    let (before, after) = (&near[..from], near.get(to));
    if matches!(before.last(), Some(b'/' | b'-' | b'.' | b'@'))
        || matches!(after, Some(b'/' | b'-' | b'.' | b'('))
    {
        return false;
    }
    let assigned = [
        &b"level="[..],
        b"lvl=",
        b"severity=",
        b"level=\"",
        b"lvl=\"",
        b"severity=\"",
        b"level: ",
        b"level:",
    ];
    let bracketed = before.last() == Some(&b'[') && after == Some(&b']');
    word.iter().all(u8::is_ascii_uppercase)
        || bracketed
        || (before.is_empty() && after == Some(&b':'))
        || assigned.iter().any(|a| {
            before.len() >= a.len() && before[before.len() - a.len()..].eq_ignore_ascii_case(a)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_recognised_where_they_are_told_and_nowhere_else() {
        use Level::{Critical, Debug, Error, Info, Notice, Trace, Warn};
        for (line, level) in [
            ("2025-03-01 08:00:00 INFO started", Some(Info)),
            ("2025-03-01T08:00:00Z  WARN lain::x: slow", Some(Warn)),
            ("ERROR:root:no such thing", Some(Error)),
            ("[error] 7#7: *1 connect() failed", Some(Error)),
            ("2025/03/01 08:00:00 [notice] 1#1: start", Some(Notice)),
            ("time=\"…\" level=warning msg=x", Some(Warn)),
            ("level=\"debug\" msg=x", Some(Debug)),
            ("warn: this is npm", Some(Warn)),
            ("I0301 08:00:00.000 1 main.go:1] up", Some(Info)),
            ("E0301 08:00:00.000 1 main.go:1] down", Some(Error)),
            ("<3>a word from systemd", Some(Error)),
            ("<14>Mar  1 08:00:00 h app: x", Some(Info)),
            (r#"{"level":"error","msg":"INFO"}"#, Some(Error)),
            (r#"{"severity":"CRITICAL"}"#, Some(Critical)),
            (r#"{"level":30,"msg":"pino"}"#, Some(Info)),
            (r#"{"log.level":"trace"}"#, Some(Trace)),
            (r#"{"level":null,"lvl":"dbg"}"#, Some(Debug)),
            ("no error here, all is fine", None),
            ("GET /api/ERROR/x 200", None),
            ("ERROR-42 is a ticket", None),
            ("informational", None),
            ("", None),
            ("   ", None),
            ("{not json ERROR", Some(Error)),
            (r#"{"a":1}"#, None),
        ] {
            assert_eq!(recognise(line.as_bytes()), level, "{line}");
        }
        let far = format!("{}ERROR", " ".repeat(3) + &"x ".repeat(60));
        assert_eq!(recognise(far.as_bytes()), None);
        assert_eq!(recognise(b"\xff\xfe ERROR x"), Some(Error));
    }
}
