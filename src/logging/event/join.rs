//! Pieces of one line → the line.
//!
//! Docker cuts a line at 16 KiB; the pieces share one instant, and only a missing line feed says that more
//! follows. Each stream has a state of its own: pieces of two streams lie between each other.

use crate::domain::log::{Stamp, Stream};

/// One piece, as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Its stream.
    pub stream: Stream,
    /// Its instant.
    pub at: Stamp,
    /// Where it begins in what is read; the place to read again from while its line is not complete.
    pub place: u64,
    /// Its bytes, without the line's end.
    pub text: &'a [u8],
    /// The line ends here.
    pub ends: bool,
}

/// A whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<'a> {
    /// Its stream.
    pub stream: Stream,
    /// The instant of its first piece.
    pub at: Stamp,
    /// Where its first piece begins.
    pub place: u64,
    /// Where its last piece begins.
    pub last: u64,
    /// Its bytes.
    pub message: &'a [u8],
    /// It was longer than the cap and cut there.
    pub truncated: bool,
}

#[derive(Debug, Default)]
struct Held {
    open: bool,
    at: Stamp,
    place: u64,
    last: u64,
    truncated: bool,
    text: Vec<u8>,
}

/// Joins pieces, for each stream by itself.
#[derive(Debug)]
pub struct Joiner {
    cap: usize,
    same_instant: bool,
    held: [Held; 3],
}

impl Joiner {
    /// Lines are cut at `cap` bytes. Where the pieces of a line share one instant, as Docker's do, a piece of
    /// another instant begins a line of its own: the one before was never ended, its process died.
    pub fn new(cap: usize, same_instant: bool) -> Self {
        Self {
            cap: cap.max(1),
            same_instant,
            held: Default::default(),
        }
    }

    /// Takes a piece; hands the lines that it completes to `whole`.
    pub fn push(&mut self, piece: Piece<'_>, mut whole: impl FnMut(Whole<'_>)) {
        let cap = self.cap;
        let held = &mut self.held[usize::from(piece.stream.code())];
        if self.same_instant && held.open && held.at != piece.at {
            held.open = false;
            whole(held.whole(piece.stream));
        }
        if piece.ends && !held.open {
            // Nearly every line: nothing is copied.
            let kept = piece.text.len().min(cap);
            whole(Whole {
                stream: piece.stream,
                at: piece.at,
                place: piece.place,
                last: piece.place,
                message: &piece.text[..kept],
                truncated: kept < piece.text.len(),
            });
            return;
        }
        if !held.open {
            (held.open, held.at, held.place) = (true, piece.at, piece.place);
            held.truncated = false;
            held.text.clear();
        }
        held.last = piece.place;
        let room = cap - held.text.len().min(cap);
        let kept = piece.text.len().min(room);
        held.text.extend_from_slice(&piece.text[..kept]);
        held.truncated |= kept < piece.text.len();
        if piece.ends {
            held.open = false;
            whole(held.whole(piece.stream));
            held.text = Vec::new();
        }
    }

    /// Hands over what is held, for the end of the output.
    pub fn flush(&mut self, mut whole: impl FnMut(Whole<'_>)) {
        let mut order: Vec<Stream> = Stream::ALL.to_vec();
        order.sort_by_key(|stream| self.held[usize::from(stream.code())].place);
        for stream in order {
            let held = &mut self.held[usize::from(stream.code())];
            if held.open {
                held.open = false;
                whole(held.whole(stream));
                held.text = Vec::new();
            }
        }
    }

    /// Where the first piece begins of those whose line is not complete; `None` when nothing is held.
    pub fn oldest(&self) -> Option<u64> {
        let open = self.held.iter().filter(|held| held.open);
        open.map(|held| held.place).min()
    }
}

impl Held {
    fn whole(&self, stream: Stream) -> Whole<'_> {
        Whole {
            stream,
            at: self.at,
            place: self.place,
            last: self.last,
            message: &self.text,
            truncated: self.truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Line = (Stream, i64, u64, Vec<u8>, bool);

    fn run(cap: usize, pieces: &[(Stream, i64, &[u8], bool)]) -> (Vec<Line>, Joiner) {
        let mut joiner = Joiner::new(cap, true);
        let mut lines = Vec::new();
        for (place, (stream, at, text, ends)) in pieces.iter().enumerate() {
            let piece = Piece {
                stream: *stream,
                at: Stamp(*at),
                place: place as u64,
                text,
                ends: *ends,
            };
            joiner.push(piece, |w| {
                lines.push((w.stream, w.at.0, w.place, w.message.to_vec(), w.truncated));
            });
        }
        (lines, joiner)
    }

    #[test]
    fn pieces_of_two_streams_between_each_other_make_two_lines() {
        use Stream::{Stderr, Stdout};
        let (lines, joiner) = run(
            100,
            &[
                (Stdout, 1, b"aa", false),
                (Stderr, 2, b"xx", false),
                (Stdout, 1, b"bb", true),
                (Stderr, 2, b"yy", true),
                (Stdout, 3, b"", true),
            ],
        );
        let wanted: Vec<Line> = vec![
            (Stdout, 1, 0, b"aabb".to_vec(), false),
            (Stderr, 2, 1, b"xxyy".to_vec(), false),
            (Stdout, 3, 4, Vec::new(), false),
        ];
        assert_eq!(lines, wanted);
        assert_eq!(joiner.oldest(), None);
    }

    #[test]
    fn a_line_longer_than_the_cap_is_cut_and_says_so() {
        let (lines, mut joiner) = run(
            3,
            &[
                (Stream::Stdout, 1, b"abcd", true),
                (Stream::Stdout, 2, b"ab", false),
                (Stream::Stdout, 2, b"cd", false),
                (Stream::Stdout, 2, b"ef", true),
                (Stream::Stdout, 3, b"x", false),
            ],
        );
        assert_eq!(lines[0].3, b"abc");
        assert!(lines[0].4);
        assert_eq!(lines[1].3, b"abc");
        assert!(lines[1].4);
        assert_eq!(joiner.oldest(), Some(4));
        let other = Piece {
            stream: Stream::Stdout,
            at: Stamp(4),
            place: 5,
            text: b"y",
            ends: false,
        };
        let mut unended = Vec::new();
        joiner.push(other, |w| unended.push((w.at.0, w.message.to_vec())));
        assert_eq!(
            unended,
            [(3, b"x".to_vec())],
            "its process died in the middle of it"
        );
        assert_eq!(joiner.oldest(), Some(5));
        let mut rest = Vec::new();
        joiner.flush(|w| rest.push((w.message.to_vec(), w.truncated)));
        assert_eq!(rest, [(b"y".to_vec(), false)]);
        assert_eq!(joiner.oldest(), None);
    }

    proptest! {
        /// However lines are cut into pieces, and whatever the other stream says between, lines come out whole.
        #[test]
        fn lines_come_out_as_they_went_in(
            lines in prop::collection::vec((any::<bool>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5)), 0..20)
        ) {
            let mut pieces: Vec<(Stream, i64, Vec<u8>, bool)> = Vec::new();
            let mut wanted = Vec::new();
            for (n, (second, parts)) in lines.iter().enumerate() {
                let stream = if *second { Stream::Stderr } else { Stream::Stdout };
                for (i, part) in parts.iter().enumerate() {
                    pieces.push((stream, n as i64, part.clone(), i + 1 == parts.len()));
                }
                wanted.push((stream, n as i64, parts.concat()));
            }
            let borrowed: Vec<_> = pieces.iter().map(|(s, at, t, e)| (*s, *at, t.as_slice(), *e)).collect();
            let (got, joiner) = run(1000, &borrowed);
            let got: Vec<_> = got.into_iter().map(|(s, at, _, m, _)| (s, at, m)).collect();
            prop_assert_eq!(got, wanted);
            prop_assert_eq!(joiner.oldest(), None);
        }
    }
}
