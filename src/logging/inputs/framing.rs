//! Syslog over a stream of bytes → messages (RFC 6587). Pure.
//!
//! Both framings are taken, each message by itself: octet counting (`LEN SP <PRI>…`), and messages that end
//! with a line feed or NUL. A message that is longer than the bound is cut, and what follows of it skipped: no
//! sender makes this hold more than the bound.

/// The most digits that the length of a message has.
const DIGITS: usize = 9;

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between messages.
    Start,
    /// The digits of a length, which are in the buffer.
    Length,
    /// After a length and its space: a message begins with `<`, else the digits belonged to one.
    After(usize),
    /// So many bytes of a counted message are left.
    Counted(usize),
    /// Up to the end of the line.
    Line,
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Framer {
    max: usize,
    buffer: Vec<u8>,
    cut: bool,
    state: State,
}

impl Framer {
    /// Keeps at most `max` bytes of a message.
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(DIGITS + 1),
            buffer: Vec::new(),
            cut: false,
            state: State::Start,
        }
    }

    /// Takes bytes and hands over each message that they complete, and whether it was cut.
    pub fn push(&mut self, mut bytes: &[u8], visit: &mut dyn FnMut(&[u8], bool)) {
        while let Some(&first) = bytes.first() {
            match self.state {
                State::Start => match first {
                    b'\n' | b'\r' | b'\0' | b' ' => bytes = &bytes[1..],
                    b'1'..=b'9' => self.state = State::Length,
                    _ => self.state = State::Line,
                },
                State::Length => {
                    bytes = &bytes[1..];
                    match first {
                        b'0'..=b'9' if self.buffer.len() < DIGITS => self.buffer.push(first),
                        b' ' => {
                            let digits = self.buffer.iter();
                            let length = digits.fold(0, |n, d| n * 10 + usize::from(d - b'0'));
                            self.buffer.push(first);
                            self.state = State::After(length);
                        }
                        _ => {
                            self.state = State::Line;
                            self.line(&[first], visit);
                        }
                    }
                }
                State::After(length) => {
                    self.state = match first {
                        b'<' => {
                            self.buffer.clear();
                            State::Counted(length)
                        }
                        _ => State::Line,
                    };
                }
                State::Counted(left) => {
                    let taken = left.min(bytes.len());
                    self.keep(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    self.state = State::Counted(left - taken);
                    if left == taken {
                        self.emit(visit);
                    }
                }
                State::Line => {
                    let used = self.line(bytes, visit);
                    bytes = &bytes[used..];
                }
            }
        }
    }

    /// Takes bytes up to the end of the line, and tells how many these were.
    fn line(&mut self, bytes: &[u8], visit: &mut dyn FnMut(&[u8], bool)) -> usize {
        match memchr::memchr2(b'\n', b'\0', bytes) {
            Some(end) => {
                self.keep(&bytes[..end]);
                self.emit(visit);
                end + 1
            }
            None => {
                self.keep(bytes);
                bytes.len()
            }
        }
    }

    /// The stream has ended: what is held of a message is one that was cut, unless only its line feed is missing.
    pub fn finish(&mut self, visit: &mut dyn FnMut(&[u8], bool)) {
        self.cut |= matches!(self.state, State::Counted(_));
        self.emit(visit);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max - self.buffer.len();
        self.cut |= bytes.len() > room;
        self.buffer
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn emit(&mut self, visit: &mut dyn FnMut(&[u8], bool)) {
        let mut message = self.buffer.as_slice();
        while let Some((b'\n' | b'\r', rest)) = message.split_last() {
            message = rest;
        }
        if !message.is_empty() {
            visit(message, self.cut);
        }
        self.buffer.clear();
        self.cut = false;
        self.state = State::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(max: usize, chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut framer = Framer::new(max);
        let mut found = Vec::new();
        let mut visit = |message: &[u8], cut: bool| {
            found.push((String::from_utf8_lossy(message).into_owned(), cut));
        };
        for chunk in chunks {
            framer.push(chunk, &mut visit);
        }
        framer.finish(&mut visit);
        found
    }

    #[test]
    fn both_framings_are_taken_message_by_message() {
        let whole = |text: &str| (text.to_owned(), false);
        let cut = |text: &str| (text.to_owned(), true);
        for (stream, wanted) in [
            ("<1>a\n<2>b\n", vec![whole("<1>a"), whole("<2>b")]),
            ("<1>a\r\n\n<2>b", vec![whole("<1>a"), whole("<2>b")]),
            ("<1>a\0<2>b\0", vec![whole("<1>a"), whole("<2>b")]),
            ("4 <1>a4 <2>b", vec![whole("<1>a"), whole("<2>b")]),
            (
                "6 <1>a\nb<2>c\n4 <3>d\n",
                vec![whole("<1>a\nb"), whole("<2>c"), whole("<3>d")],
            ),
            // Digits that are no length.
            (
                "2025 was a year\n12345678901 <1>a\n7x\n",
                vec![
                    whole("2025 was a year"),
                    whole("12345678901 <1>a"),
                    whole("7x"),
                ],
            ),
            ("0 <1>a\n", vec![whole("0 <1>a")]),
            ("9 <1>a", vec![cut("<1>a")]),
            ("12", vec![whole("12")]),
            (
                "30 <1>0123456789012345678901234564 <2>b",
                vec![cut("<1>01234567890123456"), whole("<2>b")],
            ),
            (
                "<1>012345678901234567890123456\n<2>b\n",
                vec![cut("<1>01234567890123456"), whole("<2>b")],
            ),
            ("", vec![]),
        ] {
            assert_eq!(frames(20, &[stream.as_bytes()]), wanted, "{stream:?}");
        }
    }

    proptest! {
        /// However a stream is cut into reads, the messages are the same.
        #[test]
        fn reads_may_end_anywhere(
            stream in "([0-9]{0,3} ?<[0-9]{1,3}>[a-z \n]{0,30}\n?){0,6}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes = stream.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(frames(24, &chunks), frames(24, &[bytes]));
        }
    }
}
