//! Server-sent events: a pure parser after the WHATWG HTML standard, section 9.2.6.
//!
//! Fed with bytes as they come; knows nothing of connections.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The last `id` of the stream, to resume after it.
    pub id: Option<String>,
    /// The event's name; empty for the default.
    pub name: String,
    /// The data, lines joined by newlines.
    pub data: String,
}

/// Turns bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    started: bool,
    last_id: Option<String>,
    name: String,
    data: Option<String>,
}

impl Parser {
    /// Takes bytes and returns the events that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some((line, rest)) = self.next_line() {
            self.buffer.drain(..rest);
            events.extend(self.line(&line));
        }
        events
    }

    /// The next whole line and how many bytes it took. Lines end in LF, CR or CRLF.
    fn next_line(&mut self) -> Option<(String, usize)> {
        let end = self
            .buffer
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'))?;
        let mut rest = end + 1;
        if self.buffer[end] == b'\r' {
            // A CR at the very end may be half of a CRLF: wait for the next byte.
            if *self.buffer.get(rest)? == b'\n' {
                rest += 1;
            }
        }
        let mut line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        if !std::mem::replace(&mut self.started, true) && line.starts_with('\u{feff}') {
            line.remove(0);
        }
        Some((line, rest))
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return self.data.take().map(|data| Event {
                id: self.last_id.clone(),
                name,
                data,
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments (heartbeats), `retry` and what is not known.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_comments_and_fields() {
        let text = ": heartbeat\n\nid: 7\ndata: {\"a\":1}\n\nevent: synced\ndata\n\ndata: a\ndata: b\nretry: 5\n\n";
        assert_eq!(
            Parser::default().feed(text.as_bytes()),
            [
                event(Some("7"), "", "{\"a\":1}"),
                event(Some("7"), "synced", ""),
                event(Some("7"), "", "a\nb"),
            ]
        );
    }

    #[test]
    fn any_split_gives_the_same() {
        let text = "\u{feff}id: 1\r\ndata: é x\r\n\r\nevent: e\rdata: y\r\rdata: z\n\n";
        let whole = Parser::default().feed(text.as_bytes());
        assert_eq!(whole.len(), 3);
        for at in 0..text.len() {
            let mut parser = Parser::default();
            let (a, b) = text.as_bytes().split_at(at);
            let mut events = parser.feed(a);
            events.extend(parser.feed(b));
            assert_eq!(events, whole, "split at {at}");
        }
    }

    #[test]
    fn an_unfinished_event_is_not_given() {
        assert!(Parser::default().feed(b"data: x\n").is_empty());
    }
}
