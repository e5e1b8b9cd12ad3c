//! An event as a syslog message: RFC 5424, or RFC 3164 for receivers that know no better. Pure.

use crate::domain::log::{Level, LogBody, LogEvent, LogSource, Stream};
use crate::logging::event::Encoder;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// What stands at the end of a message that was cut.
const CUT: &[u8] = b"[...]";

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164.
    Rfc3164,
}

/// How events are formatted.
#[derive(Debug, Clone)]
pub struct Format {
    /// Which form.
    pub form: Form,
    /// Syslog's facility, 0 to 23; 16 is local0.
    pub facility: u8,
    /// The private enterprise number in the SD-ID `lain@PEN`.
    pub enterprise: u32,
    /// The longest message in bytes; a receiver cuts or splits what is beyond its own limit (8 KiB at rsyslog), so
    /// it is cut here, with a mark.
    pub max_bytes: usize,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            form: Form::Rfc5424,
            facility: 16,
            // The number that RFC 5612 gives for examples.
            enterprise: 32473,
            max_bytes: 8000,
        }
    }
}

/// The parts that are the same for all lines of one source and stream.
#[derive(Debug)]
struct Fixed {
    /// ` HOST APP-NAME PROCID MSGID [lain@PEN …event_id="` of RFC 5424; ` HOST TAG[PID]: ` of RFC 3164.
    middle: [Vec<u8>; 3],
}

/// Formats events; remembers the sources that it has met.
#[derive(Debug)]
pub struct Formatter {
    format: Format,
    encoder: Encoder,
    last: Option<(Arc<LogSource>, Arc<Fixed>)>,
    known: HashMap<Arc<LogSource>, Arc<Fixed>>,
}

impl Formatter {
    /// One for a format.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            encoder: Encoder::default(),
            last: None,
            known: HashMap::new(),
        }
    }

    /// Appends the message of an event, without framing.
    pub fn write(&mut self, event: &LogEvent, out: &mut Vec<u8>) {
        let begin = out.len();
        let (stream, level, truncated, message) = parts(event);
        let severity = level.map_or(
            if stream == Stream::Stderr { 3 } else { 6 },
            Level::severity,
        );
        out.push(b'<');
        number(
            u64::from(self.format.facility) * 8 + u64::from(severity),
            out,
        );
        out.push(b'>');
        let fixed = self.fixed(&event.source);
        let middle = &fixed.middle[usize::from(stream.code())];
        match self.format.form {
            Form::Rfc5424 => {
                out.extend_from_slice(b"1 ");
                event.at.write_digits(6, out);
                out.extend_from_slice(middle);
                self.encoder.id(event, out);
                out.extend_from_slice(b"\" seq=\"");
                number(event.seq, out);
                out.extend_from_slice(b"\" ns=\"");
                number(event.at.0.rem_euclid(1_000_000_000).cast_unsigned(), out);
                if truncated {
                    out.extend_from_slice(b"\" truncated=\"true");
                }
                out.extend_from_slice(b"\"] ");
            }
            Form::Rfc3164 => {
                old_time(event, out);
                out.extend_from_slice(middle);
            }
        }
        let room = self.format.max_bytes.saturating_sub(out.len() - begin);
        if message.len() <= room {
            out.extend_from_slice(&message);
        } else {
            let cut = boundary(&message, room.saturating_sub(CUT.len()));
            out.extend_from_slice(&message[..cut]);
            out.extend_from_slice(CUT);
        }
    }

    fn fixed(&mut self, source: &Arc<LogSource>) -> Arc<Fixed> {
        if let Some((last, fixed)) = &self.last
            && Arc::ptr_eq(last, source)
        {
            return Arc::clone(fixed);
        }
        if self.known.len() > 4096 {
            self.known.clear();
        }
        let format = &self.format;
        let fixed = self.known.entry(Arc::clone(source)).or_insert_with(|| {
            let middle = Stream::ALL.map(|stream| match format.form {
                Form::Rfc5424 => middle(format, source, stream),
                Form::Rfc3164 => old_middle(source),
            });
            Arc::new(Fixed { middle })
        });
        let fixed = Arc::clone(fixed);
        self.last = Some((Arc::clone(source), Arc::clone(&fixed)));
        fixed
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    crate::logging::event::json::number(number, out);
}

/// Stream, level, whether it was cut, and text of an event of either kind.
fn parts(event: &LogEvent) -> (Stream, Option<Level>, bool, Cow<'_, [u8]>) {
    match &event.body {
        LogBody::Line {
            stream,
            level,
            truncated,
            message,
        } => (*stream, *level, *truncated, Cow::Borrowed(message)),
        LogBody::Object(text) => {
            let object: Map<String, Value> = serde_json::from_slice(text).unwrap_or_default();
            let text_of = |key: &str| object.get(key).and_then(Value::as_str);
            let stream = match text_of("stream") {
                Some("stderr") => Stream::Stderr,
                _ => Stream::Stdout,
            };
            let level = text_of("level").and_then(|l| Level::from_word(l.as_bytes()));
            let message = text_of("message").map(|m| m.as_bytes().to_vec());
            (
                stream,
                level,
                false,
                Cow::Owned(message.unwrap_or_else(|| text.to_vec())),
            )
        }
    }
}

/// A header field: printable ASCII without spaces, cut at `most`; `-` for nothing (RFC 5424, section 6.2).
fn field(text: &str, most: usize, out: &mut Vec<u8>) {
    let before = out.len();
    let kept = text.bytes().take(most);
    out.extend(kept.map(|b| if b.is_ascii_graphic() { b } else { b'_' }));
    if out.len() == before {
        out.push(b'-');
    }
}

/// A parameter of structured data: `\`, `"` and `]` escaped (section 6.3.3).
fn param(name: &str, value: &str, out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        if matches!(byte, b'\\' | b'"' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What a receiver sees as the program: the app, or what kind of source it is where there is no app.
fn app_of(source: &LogSource) -> &str {
    if source.app.is_empty() {
        &source.source_type
    } else {
        &source.app
    }
}

fn middle(format: &Format, source: &LogSource, stream: Stream) -> Vec<u8> {
    let mut out = vec![b' '];
    field(&source.host, 255, &mut out);
    out.push(b' ');
    field(app_of(source), 48, &mut out);
    out.push(b' ');
    let proc = match (source.proc.is_empty(), source.instance) {
        (true, _) => String::new(),
        (false, 0) => source.proc.clone(),
        (false, n) => format!("{}.{n}", source.proc),
    };
    field(&proc, 128, &mut out);
    out.push(b' ');
    field(
        source.file.as_deref().unwrap_or(stream.as_str()),
        32,
        &mut out,
    );
    out.extend_from_slice(format!(" [lain@{}", format.enterprise).as_bytes());
    param("container_id", &source.container_id, &mut out);
    param("container_name", &source.container_name, &mut out);
    param("image", &source.image, &mut out);
    param("node", &source.node, &mut out);
    param("proc_type", &source.proc_type, &mut out);
    if source.revision > 0 {
        param("revision", &source.revision.to_string(), &mut out);
    }
    out.extend_from_slice(b" event_id=\"");
    out
}

/// `Mmm dd hh:mm:ss`: no year, no zone (RFC 3164, section 4.1.2).
fn old_time(event: &LogEvent, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, month, day) = event.at.date();
    let month = usize::try_from(month)
        .ok()
        .and_then(|m| MONTHS.get(m.checked_sub(1)?));
    let mut whole = Vec::with_capacity(20);
    event.at.write_digits(0, &mut whole);
    out.extend_from_slice(format!("{} {day:2} ", month.unwrap_or(&"Jan")).as_bytes());
    out.extend_from_slice(&whole[11..19]);
}

fn old_middle(source: &LogSource) -> Vec<u8> {
    let mut out = vec![b' '];
    field(&source.host, 255, &mut out);
    out.push(b' ');
    // A tag is alphanumeric and at most 32 long (section 4.1.3).
    out.extend(app_of(source).bytes().take(32).map(|b| {
        if b.is_ascii_alphanumeric() || b == b'-' || b == b'.' {
            b
        } else {
            b'_'
        }
    }));
    out.extend_from_slice(format!("[{}]: ", source.instance).as_bytes());
    out
}

/// The largest place up to `most` at which a character begins.
fn boundary(text: &[u8], most: usize) -> usize {
    let mut at = most.min(text.len());
    while at > 0 && at < text.len() && text[at] & 0xc0 == 0x80 && most - at < 3 {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::Stamp;

    fn event(message: &[u8], level: Option<Level>) -> LogEvent {
        LogEvent {
            source: Arc::new(LogSource {
                source_type: "docker_logs".to_owned(),
                host: "n1.example".to_owned(),
                node: "n1".to_owned(),
                app: "shop".to_owned(),
                proc_type: "web".to_owned(),
                proc: "front".to_owned(),
                instance: 2,
                revision: 7,
                container_id: "abc".to_owned(),
                container_name: "c \"]\\".to_owned(),
                image: "shop:1".to_owned(),
                ..LogSource::default()
            }),
            at: Stamp(1_740_816_000_123_456_789),
            seq: 9,
            ordinal: 0,
            body: LogBody::Line {
                stream: Stream::Stderr,
                level,
                truncated: false,
                message: message.to_vec().into(),
            },
        }
    }

    fn write(format: Format, event: &LogEvent) -> String {
        let mut out = Vec::new();
        Formatter::new(format).write(event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_form_of_rfc_5424() {
        let text = write(
            Format::default(),
            &event("ünï\ncode".as_bytes(), Some(Level::Warn)),
        );
        let mut id = Vec::new();
        Encoder::default().id(&event(b"", None), &mut id);
        let id = String::from_utf8(id).unwrap();
        assert_eq!(
            text,
            format!(
                "<132>1 2025-03-01T08:00:00.123456Z n1.example shop front.2 stderr [lain@32473 container_id=\"abc\" \
                 container_name=\"c \\\"\\]\\\\\" image=\"shop:1\" node=\"n1\" proc_type=\"web\" revision=\"7\" \
                 event_id=\"{id}\" seq=\"9\" ns=\"123456789\"] ünï\ncode"
            )
        );
        assert!(
            write(Format::default(), &event(b"x", None)).starts_with("<131>1 "),
            "stderr is 3"
        );
    }

    #[test]
    fn the_form_of_rfc_3164() {
        let format = Format {
            form: Form::Rfc3164,
            ..Format::default()
        };
        let text = write(format, &event(b"x y", Some(Level::Info)));
        assert_eq!(text, "<134>Mar  1 08:00:00 n1.example shop[2]: x y");
    }

    #[test]
    fn a_message_beyond_the_limit_is_cut_with_a_mark_and_between_characters() {
        for max_bytes in 300..330 {
            let format = Format {
                max_bytes,
                ..Format::default()
            };
            let text = write(format, &event("é".repeat(400).as_bytes(), None));
            assert!(
                text.len() <= max_bytes && text.len() + 2 > max_bytes,
                "{} of {max_bytes}",
                text.len()
            );
            assert!(text.ends_with("é[...]"), "{text}");
        }
    }

    #[test]
    fn header_fields_keep_to_their_alphabet_and_length() {
        let mut odd = (*event(b"x", None).source).clone();
        odd.app = format!("ä b{}", "c".repeat(80));
        odd.host = String::new();
        odd.proc = String::new();
        let odd = LogEvent {
            source: Arc::new(odd),
            ..event(b"x", None)
        };
        let text = write(Format::default(), &odd);
        let fields: Vec<&str> = text.split(' ').collect();
        assert_eq!(fields[2], "-");
        assert_eq!(fields[3].len(), 48);
        assert!(fields[3].is_ascii());
        assert_eq!(fields[4], "-");
    }

    #[test]
    fn an_object_gives_its_message_and_level() {
        let object = LogEvent {
            body: LogBody::Object(
                br#"{"level":"error","message":"it broke","x":1}"#.to_vec().into(),
            ),
            ..event(b"", None)
        };
        let text = write(Format::default(), &object);
        assert!(
            text.starts_with("<131>1 ") && text.ends_with("] it broke"),
            "{text}"
        );
    }
}
