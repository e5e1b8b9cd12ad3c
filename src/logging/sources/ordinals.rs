//! The number of a line among those of its stream at its instant, and what of a replay was taken before.
//! Pure.
//!
//! Several lines can share an instant, and a source that is asked for "since" an instant gives them all
//! again. So what was taken is kept as the last instant and how many lines *at that instant and stream*; that
//! many are dropped, no more. Streams are kept apart: their instants go backwards between each other.

use crate::domain::log::{Stamp, Stream};
use serde::{Deserialize, Serialize};

/// The last line of each stream: its instant and its number there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Last(pub [Option<(Stamp, u32)>; 3]);

impl Last {
    /// The number of the next line of this stream at this instant, which becomes the last one.
    pub fn count(&mut self, stream: Stream, at: Stamp) -> u32 {
        let last = &mut self.0[usize::from(stream.code())];
        let ordinal = match last {
            Some((instant, ordinal)) if *instant == at => ordinal.wrapping_add(1),
            _ => 0,
        };
        *last = Some((at, ordinal));
        ordinal
    }

    /// Notes a line as the last one of its stream.
    pub fn set(&mut self, stream: Stream, last: (Stamp, u32)) {
        self.0[usize::from(stream.code())] = Some(last);
    }

    /// The latest instant of any stream.
    pub fn latest(&self) -> Option<Stamp> {
        self.0.iter().flatten().map(|(at, _)| *at).max()
    }
}

/// Tells what of a replay was taken before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replay {
    taken: Last,
    /// Lines of each stream that were seen at the instant of the last one taken.
    seen: [u32; 3],
}

impl Replay {
    /// Up to and including `taken`.
    pub fn new(taken: Last) -> Self {
        Self {
            taken,
            seen: [0; 3],
        }
    }

    /// Whether this line was taken before.
    pub fn repeats(&mut self, stream: Stream, at: Stamp) -> bool {
        let place = usize::from(stream.code());
        let Some((last, ordinal)) = self.taken.0[place] else {
            return false;
        };
        if at < last {
            return true;
        }
        if at == last && self.seen[place] <= ordinal {
            self.seen[place] += 1;
            return true;
        }
        // From here on all is new, also what is older: the clock may have been set back.
        self.taken.0[place] = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_one_instant_are_numbered_for_each_stream() {
        let mut last = Last::default();
        let mut number = |stream, at| last.count(stream, Stamp(at));
        assert_eq!(number(Stream::Stdout, 5), 0);
        assert_eq!(number(Stream::Stdout, 5), 1);
        assert_eq!(number(Stream::Stderr, 5), 0);
        assert_eq!(number(Stream::Stderr, 4), 0, "a stream by itself");
        assert_eq!(number(Stream::Stdout, 5), 2);
        assert_eq!(number(Stream::Stdout, 6), 0);
    }

    proptest! {
        /// Cut a stream of lines anywhere and replay it from the instant of the last one taken, or from the
        /// beginning: nothing is lost, nothing is taken twice, numbers go on.
        #[test]
        fn a_replay_from_any_point_gives_each_line_once(
            steps in prop::collection::vec((0_i64..3, any::<bool>()), 0..40),
            cut in any::<prop::sample::Index>(),
            from_start in any::<bool>(),
        ) {
            let mut at = 0;
            let lines: Vec<(Stream, Stamp)> = steps.into_iter().map(|(step, second)| {
                at += step;
                (if second { Stream::Stderr } else { Stream::Stdout }, Stamp(at))
            }).collect();
            let mut whole = Last::default();
            let wanted: Vec<u32> = lines.iter().map(|(s, at)| whole.count(*s, *at)).collect();
            let cut = cut.index(lines.len() + 1);
            let mut last = Last::default();
            let mut got: Vec<u32> = lines[..cut].iter().map(|(s, at)| last.count(*s, *at)).collect();
            let since = if from_start { Stamp(-1) } else { last.0.iter().flatten().map(|l| l.0).min().unwrap_or(Stamp(-1)) };
            let mut replay = Replay::new(last);
            for (stream, at) in lines.iter().filter(|(_, at)| *at >= since) {
                if !replay.repeats(*stream, *at) {
                    got.push(last.count(*stream, *at));
                }
            }
            prop_assert_eq!(got, wanted);
        }
    }
}
