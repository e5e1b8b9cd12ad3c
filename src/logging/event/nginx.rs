//! Lines of nginx's access and error logs → ECS fields. Pure.
//!
//! Access lines are those of `combined` (or `common`), or JSON objects whose keys are nginx's own variables, as
//! docs/logs.md has a `log_format` of them. Error lines are as nginx always writes them.

use super::parsed::Parsed;
use crate::domain::log::{Level, Stamp};
use chrono::DateTime;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::net::IpAddr;

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// The fields of a line, of whichever of these forms it is; `None` for any other line.
pub fn parse(line: &[u8]) -> Option<Parsed> {
    let text = String::from_utf8_lossy(line);
    match line.first()? {
        b'{' => json_line(&text),
        b'0'..=b'9' if text.get(4..5) == Some("/") => error_line(&text),
        _ => combined(&text),
    }
}

/// What an access line says, before it has its names.
#[derive(Debug, Default)]
struct Access<'a> {
    at: Option<Stamp>,
    address: Cow<'a, str>,
    user: Cow<'a, str>,
    method: Cow<'a, str>,
    /// Path and query, as the client sent them.
    target: Cow<'a, str>,
    protocol: Cow<'a, str>,
    status: Option<u64>,
    body_bytes: Option<u64>,
    request_bytes: Option<u64>,
    referer: Cow<'a, str>,
    agent: Cow<'a, str>,
    forwarded: Cow<'a, str>,
    host: Cow<'a, str>,
    scheme: Cow<'a, str>,
    request_id: Cow<'a, str>,
    /// Seconds.
    duration: Option<f64>,
    upstream: Cow<'a, str>,
    upstream_duration: Option<f64>,
    upstream_status: Option<u64>,
    route: Cow<'a, str>,
}

/// Puts a value at a dotted path.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn put_text(object: &mut Map<String, Value>, path: &str, text: &str) {
    if !matches!(text, "" | "-") {
        put(object, path, text.into());
    }
}

fn put_number(object: &mut Map<String, Value>, path: &str, number: Option<u64>) {
    if let Some(number) = number {
        put(object, path, number.into());
    }
}

/// Whole nanoseconds of seconds; `None` for what is no length of time.
fn nanos(seconds: Option<f64>) -> Option<u64> {
    let nanos = seconds? * SECOND;
    // A year at most: a float of that size is a whole number of its own.
    (0.0..3.2e16).contains(&nanos).then(|| nanos.round() as u64)
}

impl Access<'_> {
    fn named(self) -> Parsed {
        let mut fields = Map::new();
        let object = &mut fields;
        put(object, "event.dataset", "nginx.access".into());
        put_number(object, "event.duration", nanos(self.duration));
        address(object, &self.address);
        put_text(object, "user.name", &self.user);
        put_text(object, "http.request.method", &self.method);
        let version = self.protocol.strip_prefix("HTTP/");
        put_text(object, "http.version", version.unwrap_or_default());
        put_text(object, "http.request.referrer", &self.referer);
        put_text(object, "http.request.id", &self.request_id);
        put_number(object, "http.request.bytes", self.request_bytes);
        put_number(object, "http.response.status_code", self.status);
        put_number(object, "http.response.body.bytes", self.body_bytes);
        url(object, &self.target);
        put_text(object, "url.domain", &self.host);
        put_text(object, "url.scheme", &self.scheme);
        put_text(object, "user_agent.original", &self.agent);
        put_text(object, "network.forwarded_ip", &self.forwarded);
        if let Some(status @ 100..=599) = self.status {
            put(
                object,
                "nginx.status_class",
                format!("{}xx", status / 100).into(),
            );
        }
        put_text(object, "nginx.route", &self.route);
        put_text(object, "nginx.upstream.address", &self.upstream);
        put_number(object, "nginx.upstream.status_code", self.upstream_status);
        put_number(
            object,
            "nginx.upstream.duration",
            nanos(self.upstream_duration),
        );
        Parsed {
            at: self.at,
            level: None,
            fields,
        }
    }
}

fn address(object: &mut Map<String, Value>, text: &str) {
    put_text(object, "source.address", text);
    if text.parse::<IpAddr>().is_ok() {
        put(object, "source.ip", text.into());
    }
}

/// `url.original`, `url.path` and `url.query` of what follows the method.
fn url(object: &mut Map<String, Value>, target: &str) {
    put_text(object, "url.original", target);
    // An absolute form names scheme and host first.
    let local = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("", |at| &rest[at..]),
        _ => target,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    put_text(object, "url.path", path);
    put_text(object, "url.query", query);
}

/// Method, target and protocol of a request line; what is none is a target alone.
fn request_line(text: Cow<'_, str>) -> (String, String, String) {
    let mut parts = text.splitn(2, ' ');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
    let is_method = !first.is_empty() && first.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    match rest {
        Some(rest) if is_method && first != "-" => match rest.rsplit_once(' ') {
            Some((target, protocol)) if protocol.starts_with("HTTP/") => {
                (first.to_owned(), target.to_owned(), protocol.to_owned())
            }
            _ => (first.to_owned(), rest.to_owned(), String::new()),
        },
        _ => (String::new(), text.into_owned(), String::new()),
    }
}

/// nginx writes `"`, `\` and what is not printable as `\xHH`, unless told otherwise.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let mut value = [0];
        match after {
            [b'x', a, b, ..] if hex::decode_to_slice([*a, *b], &mut value).is_ok() => {
                bytes.push(value[0]);
                rest = &after[3..];
            }
            [quoted @ (b'"' | b'\\'), ..] => {
                bytes.push(*quoted);
                rest = &after[1..];
            }
            _ => bytes.push(b'\\'),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The inside of the quotes at the beginning, and what follows them.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            '"' if !escaped => return Some((&inner[..at], inner[at + 1..].trim_start())),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// A word, and what follows the space after it.
fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent`, then, each if it is there,
/// `"$http_referer" "$http_user_agent" "$http_x_forwarded_for"` and `$request_time`.
fn combined(text: &str) -> Option<Parsed> {
    let (address, rest) = word(text);
    let (_, rest) = word(rest);
    // A user's name may have spaces.
    let (user, rest) = rest.split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    let at = DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z").ok()?;
    let (request, rest) = quoted(rest)?;
    let (status, rest) = word(rest);
    let (bytes, mut rest) = word(rest);
    let mut texts = ["", "", ""];
    for text in &mut texts {
        if let Some((found, after)) = quoted(rest) {
            (*text, rest) = (found, after);
        }
    }
    let [referer, agent, forwarded] = texts;
    let (method, target, protocol) = request_line(unescape(request));
    let access = Access {
        at: at.timestamp_nanos_opt().map(Stamp),
        address: address.into(),
        user: unescape(user),
        method: method.into(),
        target: target.into(),
        protocol: protocol.into(),
        status: Some(status.parse().ok()?),
        body_bytes: bytes.parse().ok(),
        referer: unescape(referer),
        agent: unescape(agent),
        forwarded: unescape(forwarded),
        duration: word(rest).0.parse().ok(),
        ..Access::default()
    };
    Some(access.named())
}

/// A JSON object of nginx's variables; `status` makes it one.
fn json_line(text: &str) -> Option<Parsed> {
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    let text = |key: &str| match object.get(key) {
        Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
        Some(Value::Number(number)) => Cow::Owned(number.to_string()),
        _ => Cow::Borrowed(""),
    };
    let number = |key: &str| text(key).parse::<u64>().ok();
    let status = number("status")?;
    let (method, target, protocol) = match object.get("request_uri") {
        Some(_) => (
            text("request_method").into_owned(),
            text("request_uri").into_owned(),
            text("server_protocol").into_owned(),
        ),
        None => request_line(text("request")),
    };
    let access = Access {
        at: time_of(&text("msec"), &text("time_iso8601"), &text("time_local")),
        address: text("remote_addr"),
        user: text("remote_user"),
        method: method.into(),
        target: target.into(),
        protocol: protocol.into(),
        status: Some(status),
        body_bytes: number("body_bytes_sent"),
        request_bytes: number("request_length"),
        referer: text("http_referer"),
        agent: text("http_user_agent"),
        forwarded: text("http_x_forwarded_for"),
        host: text("host"),
        scheme: text("scheme"),
        request_id: text("request_id"),
        duration: text("request_time").parse().ok(),
        upstream: text("upstream_addr"),
        upstream_duration: sum(&text("upstream_response_time")),
        upstream_status: last(&text("upstream_status")),
        route: text("route"),
    };
    Some(access.named())
}

/// The instant by `$msec`, else `$time_iso8601`, else `$time_local`.
fn time_of(msec: &str, iso: &str, local: &str) -> Option<Stamp> {
    if let Some((seconds, millis)) = msec.split_once('.')
        && millis.len() == 3
        && let (Ok(seconds), Ok(millis)) = (seconds.parse::<i64>(), millis.parse::<i64>())
    {
        return DateTime::from_timestamp_millis(seconds.checked_mul(1000)?.checked_add(millis)?)
            .and_then(|at| at.timestamp_nanos_opt())
            .map(Stamp);
    }
    Stamp::parse(iso.as_bytes()).or_else(|| {
        let at = DateTime::parse_from_str(local, "%d/%b/%Y:%H:%M:%S %z").ok()?;
        at.timestamp_nanos_opt().map(Stamp)
    })
}

/// The values of several upstreams: nginx separates them by commas, and by colons after a redirect inside.
fn upstreams(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split([',', ':']).map(str::trim)
}

fn sum(text: &str) -> Option<f64> {
    let numbers: Vec<f64> = upstreams(text).filter_map(|t| t.parse().ok()).collect();
    (!numbers.is_empty()).then(|| numbers.iter().sum())
}

fn last(text: &str) -> Option<u64> {
    upstreams(text).rev().find_map(|t| t.parse().ok())
}

/// `2025/03/01 08:00:00 [error] 7#9: *1 open() failed, client: …, server: …, request: "…", host: "…"`. Its time
/// names no zone: the instant is the line's arrival.
fn error_line(text: &str) -> Option<Parsed> {
    let (_, rest) = text.get(..20).zip(text.get(20..))?;
    let (level, rest) = rest.strip_prefix('[')?.split_once("] ")?;
    let (ids, message) = rest.split_once(": ")?;
    let (pid, tid) = ids.split_once('#')?;
    let mut fields = Map::new();
    let object = &mut fields;
    put(object, "event.dataset", "nginx.error".into());
    put_number(object, "process.pid", Some(pid.parse().ok()?));
    put_number(object, "process.thread.id", tid.parse().ok());
    let message = match message
        .strip_prefix('*')
        .and_then(|rest| rest.split_once(' '))
    {
        Some((connection, rest)) => {
            put_number(object, "nginx.error.connection_id", connection.parse().ok());
            rest
        }
        None => message,
    };
    // What follows the message are pairs; the first of them is always the client.
    let (message, pairs) = message.split_once(", client: ").unwrap_or((message, ""));
    put(object, "error.message", message.into());
    if !pairs.is_empty() {
        let (client, rest) = pairs.split_once(", ").unwrap_or((pairs, ""));
        address(object, client);
        let value = |key: &str| {
            let at = rest.find(key)?;
            // At the beginning, or after another pair.
            (at == 0 || rest[..at].ends_with(", ")).then(|| &rest[at + key.len()..])
        };
        let inside = |key: &str| value(key).and_then(quoted).map(|(inner, _)| inner);
        if let Some(request) = inside("request: ") {
            let (method, target, protocol) = request_line(request.into());
            put_text(object, "http.request.method", &method);
            let version = protocol.strip_prefix("HTTP/");
            put_text(object, "http.version", version.unwrap_or_default());
            url(object, &target);
        }
        put_text(object, "url.domain", inside("host: ").unwrap_or_default());
        put_text(
            object,
            "http.request.referrer",
            inside("referrer: ").unwrap_or_default(),
        );
        put_text(
            object,
            "nginx.upstream.address",
            inside("upstream: ").unwrap_or_default(),
        );
        if let Some(server) = value("server: ") {
            let server = server.split(", ").next().unwrap_or_default();
            put_text(object, "nginx.server", server);
        }
    }
    Some(Parsed {
        at: None,
        level: Level::from_word(level.as_bytes()),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> (Option<String>, Value) {
        let parsed = parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        (parsed.at.map(|at| at.to_string()), parsed.fields.into())
    }

    #[test]
    fn combined_lines_have_ecs_names() {
        let (at, fields) = read(
            r#"10.1.2.3 - ann [01/Mar/2025:09:00:00 +0100] "GET /a/b?x=1&y=\x22 HTTP/1.1" 404 153 "http://ref/" "curl/8 \x5C" "1.2.3.4" 0.25"#,
        );
        assert_eq!(at.as_deref(), Some("2025-03-01T08:00:00Z"));
        let wanted = json!({
            "event": {"dataset": "nginx.access", "duration": 250_000_000},
            "source": {"address": "10.1.2.3", "ip": "10.1.2.3"}, "user": {"name": "ann"},
            "http": {"version": "1.1", "request": {"method": "GET", "referrer": "http://ref/"},
                "response": {"status_code": 404, "body": {"bytes": 153}}},
            "url": {"original": "/a/b?x=1&y=\"", "path": "/a/b", "query": "x=1&y=\""},
            "user_agent": {"original": "curl/8 \\"}, "network": {"forwarded_ip": "1.2.3.4"},
            "nginx": {"status_class": "4xx"},
        });
        assert_eq!(fields, wanted);
        // `common`, and a TLS handshake at the wrong port.
        let (_, fields) = read(r#"unix: - - [01/Mar/2025:09:00:00 +0000] "\x16\x03\x01" 400 0"#);
        assert_eq!(fields["source"], json!({"address": "unix:"}));
        assert_eq!(fields["http"]["response"]["status_code"], 400);
        assert!(fields["http"].get("request").is_none());
        let (_, fields) = read(r#"::1 - - [01/Mar/2025:09:00:00 +0000] "-" 408 0 "-" "-""#);
        assert!(fields.get("url").is_none() && fields.get("user_agent").is_none());
        let (_, fields) =
            read(r#"::1 - - [01/Mar/2025:09:00:00 +0000] "GET http://h/x?y HTTP/1.0" 200 1"#);
        assert_eq!(fields["url"]["path"], "/x");
        assert_eq!(fields["url"]["query"], "y");
    }

    #[test]
    fn json_lines_are_nginxs_own_variables() {
        let (at, fields) = read(
            r#"{"msec":"1740816000.123","remote_addr":"::1","request_method":"POST","request_uri":"/p","server_protocol":"HTTP/2.0","status":"502","body_bytes_sent":"10","request_length":"99","request_time":"1.204","upstream_addr":"10.0.0.1:80, 10.0.0.2:80","upstream_status":"502, 504","upstream_response_time":"0.200, 1.000","host":"shop.example","scheme":"https","request_id":"abc","http_user_agent":"","route":"/p"}"#,
        );
        assert_eq!(at.as_deref(), Some("2025-03-01T08:00:00.123Z"));
        assert_eq!(fields["event"]["duration"], 1_204_000_000_u64);
        assert_eq!(fields["http"]["version"], "2.0");
        assert_eq!(fields["http"]["request"]["bytes"], 99);
        assert_eq!(
            fields["nginx"],
            json!({"status_class": "5xx", "route": "/p", "upstream": {
                "address": "10.0.0.1:80, 10.0.0.2:80", "status_code": 504, "duration": 1_200_000_000_u64}})
        );
        assert_eq!(fields["url"]["domain"], "shop.example");
        let (at, _) = read(
            r#"{"time_iso8601":"2025-03-01T09:00:00+01:00","request":"GET / HTTP/1.1","status":200}"#,
        );
        assert_eq!(at.as_deref(), Some("2025-03-01T08:00:00Z"));
    }

    #[test]
    fn error_lines_tell_level_client_and_request() {
        let line = r#"2025/03/01 08:00:00 [error] 7#9: *12 open() "/srv/x, y" failed (2: No such file or directory), client: 127.0.0.1, server: localhost, request: "GET /x HTTP/1.1", upstream: "http://127.0.0.1:1/x", host: "h:80", referrer: "http://r/""#;
        let parsed = parse(line.as_bytes()).unwrap();
        assert_eq!((parsed.at, parsed.level), (None, Some(Level::Error)));
        let wanted = json!({
            "event": {"dataset": "nginx.error"}, "process": {"pid": 7, "thread": {"id": 9}},
            "nginx": {"error": {"connection_id": 12}, "server": "localhost", "upstream": {"address": "http://127.0.0.1:1/x"}},
            "error": {"message": "open() \"/srv/x, y\" failed (2: No such file or directory)"},
            "source": {"address": "127.0.0.1", "ip": "127.0.0.1"},
            "http": {"version": "1.1", "request": {"method": "GET", "referrer": "http://r/"}},
            "url": {"original": "/x", "path": "/x", "domain": "h:80"},
        });
        assert_eq!(Value::from(parsed.fields), wanted);
        let parsed =
            parse(b"2025/03/01 08:00:00 [notice] 1#1: using the epoll event method").unwrap();
        assert_eq!(parsed.level, Some(Level::Notice));
    }

    #[test]
    fn other_lines_are_none_of_nginxs() {
        for line in [
            "",
            "hello",
            "{\"a\":1}",
            "{",
            "10.0.0.1 - - [nonsense] \"GET / HTTP/1.1\" 200 1",
            "10.0.0.1 - - [01/Mar/2025:09:00:00 +0100] \"GET / HTTP/1.1",
            "10.0.0.1 - - [01/Mar/2025:09:00:00 +0100] \"GET / HTTP/1.1\" abc 1",
            "2025/03/01 08:00:00 plain",
            "2025/03/01",
        ] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..120), kind in 0..4_u8) {
            let head: &[u8] = match kind {
                0 => b"",
                1 => b"2025/03/01 08:00:00 [error] 7#9: *1 m, client: ",
                2 => b"::1 - - [01/Mar/2025:09:00:00 +0000] \"",
                _ => b"{\"status\":200,\"request\":\"",
            };
            let _ = parse(&[head, &line].concat());
        }
    }
}
