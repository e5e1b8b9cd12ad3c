//! A line of Docker's json-file, and of the process runtime's files. Pure.

use crate::domain::log::{Stamp, Stream};
use serde::Deserialize;
use std::borrow::Cow;

/// What one line of the file says, but for its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its stream.
    pub stream: Stream,
    /// Its instant.
    pub at: Stamp,
    /// The line of output ends here; otherwise the next entry of its stream goes on with it.
    pub ends: bool,
}

/// Reads a line of Docker's json-file; its text, without the line's end, is put into `text`.
///
/// `None` for what Docker did not write: a torn or damaged line.
pub fn docker(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    text.clear();
    let entry = usual(line, text).or_else(|| unusual(line, text))?;
    let ends = text.last() == Some(&b'\n');
    if ends {
        text.pop();
        if text.last() == Some(&b'\r') {
            text.pop();
        }
    }
    Some(Entry { ends, ..entry })
}

/// The form that Docker writes unless labels are asked for: `{"log":"…","stream":"…","time":"…"}`.
fn usual(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    let rest = line.strip_prefix(b"{\"log\":\"")?;
    let rest = unescape(rest, text)?;
    let (stream, rest) =
        if let Some(rest) = rest.strip_prefix(b",\"stream\":\"stdout\",\"time\":\"") {
            (Stream::Stdout, rest)
        } else {
            (
                Stream::Stderr,
                rest.strip_prefix(b",\"stream\":\"stderr\",\"time\":\"")?,
            )
        };
    let at = Stamp::parse(rest.strip_suffix(b"\"}")?)?;
    Some(Entry {
        stream,
        at,
        ends: false,
    })
}

/// Appends the inside of a JSON string, and returns what follows its closing quote.
fn unescape<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        out.extend_from_slice(&rest[..at]);
        if rest[at] == b'"' {
            return Some(&rest[at + 1..]);
        }
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'"' | b'\\' | b'/' => out.push(escape),
            b'u' => {
                let mut code = hex4(rest)?;
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&code)
                    && let Some(low) = rest.strip_prefix(b"\\u").and_then(hex4)
                    && (0xdc00..0xe000).contains(&low)
                {
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    rest = &rest[6..];
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                let mut utf8 = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
            _ => return None,
        }
    }
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(..4)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// Any other order and more keys (`attrs`).
fn unusual(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow, default)]
        log: Cow<'a, str>,
        #[serde(borrow)]
        stream: Cow<'a, str>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    text.clear();
    let whole: Whole<'_> = serde_json::from_slice(line).ok()?;
    text.extend_from_slice(whole.log.as_bytes());
    let stream = Stream::ALL
        .into_iter()
        .find(|s| s.as_str() == whole.stream)?;
    Some(Entry {
        stream,
        at: Stamp::parse(whole.time.as_bytes())?,
        ends: false,
    })
}

/// Reads a line of the process runtime: `<instant> <O|E> <place> <line>`.
pub fn process(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    text.clear();
    let mut parts = line.splitn(4, |b| *b == b' ');
    let at = Stamp::parse(parts.next()?)?;
    let stream = match parts.next()? {
        b"O" => Stream::Stdout,
        b"E" => Stream::Stderr,
        _ => return None,
    };
    let _place = parts.next()?;
    let line = parts.next()?;
    text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
    Some(Entry {
        stream,
        at,
        ends: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: &str = "2025-03-01T08:00:00.123456789Z";

    fn read(line: &str) -> Option<(Entry, Vec<u8>)> {
        let mut text = Vec::new();
        docker(line.as_bytes(), &mut text).map(|entry| (entry, text))
    }

    #[test]
    fn the_usual_and_the_unusual_form() {
        let (entry, text) = read(&format!(
            r#"{{"log":"a \"b\"\r\n","stream":"stderr","time":"{AT}"}}"#
        ))
        .unwrap();
        assert_eq!(text, b"a \"b\"");
        assert_eq!((entry.stream, entry.ends), (Stream::Stderr, true));
        assert_eq!(Some(entry.at), Stamp::parse(AT.as_bytes()));
        let (entry, text) = read(&format!(
            r#"{{"log":"half","stream":"stdout","time":"{AT}"}}"#
        ))
        .unwrap();
        assert_eq!((text.as_slice(), entry.ends), (&b"half"[..], false));
        let attrs =
            format!(r#"{{"stream":"stdout","attrs":{{"x":"y"}},"log":"z\n","time":"{AT}"}}"#);
        assert_eq!(read(&attrs).unwrap().1, b"z");
        let surrogates =
            format!(r#"{{"log":"\ud83e\udd80 \ud83e \u2028\n","stream":"stdout","time":"{AT}"}}"#);
        assert_eq!(
            read(&surrogates).unwrap().1,
            "🦀 \u{fffd} \u{2028}".as_bytes()
        );
        for torn in [
            "",
            "{",
            "\0\0\0",
            r#"{"log":"x\n","stream":"stdout"}"#,
            r#"{"log":"x\n","stream":"s","time":"t"}"#,
        ] {
            assert_eq!(read(torn), None, "{torn}");
        }
    }

    #[test]
    fn the_process_runtimes_form() {
        let mut text = Vec::new();
        let entry = process(format!("{AT} E 77 a line \u{fffd}").as_bytes(), &mut text).unwrap();
        assert_eq!((entry.stream, entry.ends), (Stream::Stderr, true));
        assert_eq!(text, "a line \u{fffd}".as_bytes());
        assert_eq!(process(b"nonsense", &mut text), None);
    }

    proptest! {
        #[test]
        fn whatever_docker_escapes_is_read_back(line in any::<String>(), ends in any::<bool>()) {
            let line = line.replace(['\n', '\r'], " ");
            let log = if ends { format!("{line}\n") } else { line.clone() };
            let json = serde_json::json!({"log": log, "stream": "stdout", "time": AT});
            // Docker's order of keys, and serde_json's.
            let ordered = format!(
                r#"{{"log":{},"stream":"stdout","time":"{AT}"}}"#,
                serde_json::to_string(&log).unwrap()
            );
            for text in [json.to_string(), ordered] {
                let (entry, text) = read(&text).unwrap();
                prop_assert_eq!(&text, line.as_bytes());
                prop_assert_eq!(entry.ends, ends);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut text = Vec::new();
            docker(&bytes, &mut text);
            process(&bytes, &mut text);
            let mut prefixed = b"{\"log\":\"".to_vec();
            prefixed.extend_from_slice(&bytes);
            docker(&prefixed, &mut text);
        }
    }
}
