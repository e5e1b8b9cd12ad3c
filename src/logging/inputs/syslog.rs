//! A syslog message → the event that Vector's `syslog` source makes of it. Pure.
//!
//! RFC 5424 and RFC 3164, as loosely as they are written in the wild (`syslog_loose`, which Vector uses, too).
//! What is neither becomes the message of an event as it is.

use crate::domain::log::{Level, Stamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use syslog_loose::{Message, ProcId, Protocol, SyslogSeverity, Variant};

/// Keys that a sender's structured data may not set at the top level: lain's own and Vector's. An element of such
/// a name is found below `structured_data`.
const RESERVED: &[&str] = &[
    "app",
    "appname",
    "container_created_at",
    "container_id",
    "container_name",
    "crash",
    "event",
    "event_id",
    "facility",
    "fields",
    "file",
    "host",
    "hostname",
    "http",
    "image",
    "input",
    "instance",
    "kind",
    "label",
    "level",
    "message",
    "message_base64",
    "metric",
    "msgid",
    "nginx",
    "node",
    "operation",
    "path",
    "proc",
    "proc_type",
    "procid",
    "revision",
    "seq",
    "severity",
    "source",
    "source_ip",
    "source_type",
    "stream",
    "structured_data",
    "timestamp",
    "truncated",
    "url",
    "version",
];

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Its own instant, where it has one.
    pub at: Option<Stamp>,
    /// It is neither RFC 5424 nor RFC 3164.
    pub malformed: bool,
    /// The keys of the event.
    pub object: Map<String, Value>,
}

/// Reads a message. `now` tells the year of times without one, `zone` the zone of times without one (`None`: this
/// host's).
pub fn parse(frame: &[u8], now: DateTime<Utc>, zone: Option<Tz>) -> Parsed {
    let text = String::from_utf8_lossy(frame);
    // A message of December that comes in January is last year's; Vector's rule.
    let year = |(month, ..): syslog_loose::IncompleteDate| match (now.month(), month) {
        (1, 12) => now.year() - 1,
        _ => now.year(),
    };
    let parsed = syslog_loose::parse_message_with_year_exact_tz(&text, year, zone, Variant::Either);
    let mut object = Map::new();
    if std::str::from_utf8(frame).is_err() {
        // The very bytes, which replacement characters have lost.
        object.insert("message_base64".to_owned(), STANDARD.encode(frame).into());
    }
    match parsed {
        Ok(message) => Parsed {
            at: message.timestamp.and_then(|at| {
                let at = at.with_timezone(&Utc);
                at.timestamp_nanos_opt().map(Stamp)
            }),
            // A header without a priority is one by courtesy only.
            malformed: message.severity.is_none(),
            object: fill(object, &message),
        },
        Err(_) => {
            object.insert("message".to_owned(), text.into_owned().into());
            Parsed {
                at: None,
                malformed: true,
                object,
            }
        }
    }
}

fn fill(mut object: Map<String, Value>, message: &Message<&str>) -> Map<String, Value> {
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("message", message.msg.into());
    if let Some(hostname) = message.hostname {
        put("hostname", hostname.into());
    }
    if let Some(appname) = message.appname {
        put("appname", appname.into());
    }
    match &message.procid {
        Some(ProcId::PID(pid)) => put("procid", (*pid).into()),
        Some(ProcId::Name(name)) => put("procid", (*name).into()),
        None => {}
    }
    if let Some(msgid) = message.msgid {
        put("msgid", msgid.into());
    }
    if let Some(facility) = message.facility {
        put("facility", facility.as_str().into());
    }
    if let Some(severity) = message.severity {
        put("severity", severity.as_str().into());
        put("level", level(severity).as_str().into());
    }
    if let Protocol::RFC5424(version) = message.protocol {
        put("version", version.into());
    }
    let mut hidden = Map::new();
    for element in &message.structured_data {
        let params = element
            .params()
            .map(|(name, value)| (name.to_string(), Value::String(value.to_string())));
        let params: Map<String, Value> = params.collect();
        // What stands before a dot is an object to those who search.
        let top = element.id.split('.').next().unwrap_or_default();
        match RESERVED.binary_search(&top) {
            Ok(_) => hidden.insert(element.id.to_owned(), params.into()),
            Err(_) => object.insert(element.id.to_owned(), params.into()),
        };
    }
    if !hidden.is_empty() {
        object.insert("structured_data".to_owned(), hidden.into());
    }
    object
}

fn level(severity: SyslogSeverity) -> Level {
    match severity {
        SyslogSeverity::SEV_EMERG => Level::Emergency,
        SyslogSeverity::SEV_ALERT => Level::Alert,
        SyslogSeverity::SEV_CRIT => Level::Critical,
        SyslogSeverity::SEV_ERR => Level::Error,
        SyslogSeverity::SEV_WARNING => Level::Warn,
        SyslogSeverity::SEV_NOTICE => Level::Notice,
        SyslogSeverity::SEV_INFO => Level::Info,
        SyslogSeverity::SEV_DEBUG => Level::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn now() -> DateTime<Utc> {
        "2025-01-02T00:00:00Z".parse().unwrap()
    }

    fn read(frame: &[u8]) -> (Option<String>, bool, Value) {
        let parsed = parse(frame, now(), Some(Tz::UTC));
        let at = parsed.at.map(|at| at.to_string());
        (at, parsed.malformed, parsed.object.into())
    }

    #[test]
    fn rfc_5424_has_every_field() {
        let frame = br#"<165>1 2003-10-11T22:14:15.003Z m.example evntslog 12 ID47 [ex@32473 iut="3" s="a\"b\]c\\"][lain@1 app="x"][app spoofed="yes"] An event"#;
        let (at, malformed, object) = read(frame);
        assert_eq!(at.as_deref(), Some("2003-10-11T22:14:15.003Z"));
        assert!(!malformed);
        let wanted = json!({
            "message": "An event", "hostname": "m.example", "appname": "evntslog", "procid": 12, "msgid": "ID47",
            "facility": "local4", "severity": "notice", "level": "notice", "version": 1,
            "ex@32473": {"iut": "3", "s": "a\"b]c\\"}, "lain@1": {"app": "x"},
            "structured_data": {"app": {"spoofed": "yes"}},
        });
        assert_eq!(object, wanted);
        let (at, _, object) = read(b"<0>1 - - - - - - \xef\xbb\xbfnothing known");
        assert_eq!(at, None);
        assert_eq!(object["severity"], "emerg");
        assert_eq!(object["level"], "emergency");
        assert!(object.get("hostname").is_none());
        assert!(
            object["message"]
                .as_str()
                .unwrap()
                .ends_with("nothing known")
        );
    }

    #[test]
    fn rfc_3164_is_read_with_the_year_and_zone_that_it_lacks() {
        let (at, malformed, object) =
            read(b"<34>Oct 11 22:14:15 mymachine su[77]: 'su root' failed");
        assert_eq!(at.as_deref(), Some("2025-10-11T22:14:15Z"));
        assert!(!malformed);
        assert_eq!(object["hostname"], "mymachine");
        assert_eq!(object["appname"], "su");
        assert_eq!(object["procid"], 77);
        assert_eq!(object["severity"], "crit");
        assert_eq!(object["message"], "'su root' failed");
        assert!(object.get("version").is_none());
        // It is the 2nd of January: December was last year.
        let (at, ..) = read(b"<13>Dec 31 23:59:59 h app: late");
        assert_eq!(at.as_deref(), Some("2024-12-31T23:59:59Z"));
        let berlin = parse(
            b"<13>Jul  1 12:00:00 h app: x",
            now(),
            Some(Tz::Europe__Berlin),
        );
        assert_eq!(
            berlin.at.map(|at| at.to_string()).as_deref(),
            Some("2025-07-01T10:00:00Z")
        );
    }

    #[test]
    fn what_is_no_syslog_is_kept_as_it_is() {
        for text in ["{\"a\":1}", "<999>x", "<", "plain words"] {
            let (_, malformed, object) = read(text.as_bytes());
            assert!(malformed, "{text}");
            assert!(
                object["message"]
                    .as_str()
                    .unwrap()
                    .contains(text.trim_start_matches('<'))
                    || object["message"] == text,
                "{text}: {object}"
            );
        }
        let (_, _, object) = read(b"<13>Oct 11 22:14:15 h app: \xff\xfe bytes");
        let bytes = STANDARD
            .decode(object["message_base64"].as_str().unwrap())
            .unwrap();
        assert_eq!(bytes, b"<13>Oct 11 22:14:15 h app: \xff\xfe bytes");
    }

    #[test]
    fn reserved_names_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_no_sender_sets_what_is_lains(frame in prop::collection::vec(any::<u8>(), 0..200)) {
            let parsed = parse(&frame, now(), None);
            prop_assert!(parsed.object["message"].is_string());
            for key in ["app", "node", "instance", "event_id", "seq", "source_type"] {
                prop_assert!(!parsed.object.contains_key(key));
            }
        }
    }
}
