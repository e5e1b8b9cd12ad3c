//! Lines that belong together, such as a stack trace, → one event.
//!
//! The options and their meaning are Vector's (`multiline` of its sources): a line that matches
//! `start_pattern` begins a group; `condition_pattern` and the mode say which lines join it; a group
//! that nothing joins for `timeout` is complete. Each stream has a group of its own. No clock: the
//! caller tells what time it is.

use crate::domain::log::{Stamp, Stream};
use regex::bytes::Regex;
use std::time::Duration;

/// When a group ends. Vector's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It takes the lines that match the condition, and ends before the first that does not.
    ContinueThrough,
    /// It takes the lines that match the condition, and one more.
    ContinuePast,
    /// It ends before the first line that matches the condition.
    HaltBefore,
    /// It ends with the first line that matches the condition.
    HaltWith,
}

impl Mode {
    /// The mode of Vector's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "continue_through" => Mode::ContinueThrough,
            "continue_past" => Mode::ContinuePast,
            "halt_before" => Mode::HaltBefore,
            "halt_with" => Mode::HaltWith,
            _ => return None,
        })
    }
}

/// Which lines belong together.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What begins a group.
    pub start: Regex,
    /// What the mode speaks of.
    pub condition: Regex,
    /// When a group ends.
    pub mode: Mode,
    /// A group that nothing joins for so long is complete.
    pub timeout: Duration,
    /// The most bytes of one group; what is beyond is cut.
    pub cap: usize,
}

/// A line, or a group of lines joined by line feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its stream.
    pub stream: Stream,
    /// The instant of its first line.
    pub at: Stamp,
    /// The ordinal of its first line.
    pub ordinal: u32,
    /// The instant and the ordinal of its last line.
    pub last: (Stamp, u32),
    /// Where the last piece of each of its lines begins.
    pub ends: Vec<u64>,
    /// Where its first line begins.
    pub place: u64,
    /// Its bytes.
    pub message: Vec<u8>,
    /// It was longer than the cap, or a line of it was.
    pub truncated: bool,
}

/// Joins lines to groups, for each stream by itself.
#[derive(Debug)]
pub struct Grouper {
    rule: Rule,
    open: [Option<(Group, Duration)>; 3],
}

impl Grouper {
    /// Nothing is held yet.
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            open: Default::default(),
        }
    }

    /// Takes a line at `now` (of a monotonic clock); hands what is complete to `done`, in order.
    pub fn push(&mut self, line: Group, now: Duration, mut done: impl FnMut(Group)) {
        let slot = &mut self.open[usize::from(line.stream.code())];
        let Some((group, touched)) = slot else {
            match self.rule.start.is_match(&line.message) {
                true => *slot = Some((line, now)),
                false => done(line),
            }
            return;
        };
        let matches = self.rule.condition.is_match(&line.message);
        let (joins, ends) = match self.rule.mode {
            Mode::ContinueThrough => (matches, !matches),
            Mode::ContinuePast => (true, !matches),
            Mode::HaltBefore => (!matches, matches),
            Mode::HaltWith => (true, matches),
        };
        let rest = match joins {
            true => {
                *touched = now;
                join(group, &line, self.rule.cap);
                None
            }
            false => Some(line),
        };
        if ends && let Some((group, _)) = slot.take() {
            done(group);
        }
        if let Some(line) = rest {
            match self.rule.start.is_match(&line.message) {
                true => *slot = Some((line, now)),
                false => done(line),
            }
        }
    }

    /// Hands over the groups that nothing has joined for the timeout.
    pub fn expire(&mut self, now: Duration, mut done: impl FnMut(Group)) {
        for slot in &mut self.open {
            let late = |(_, touched): &mut (Group, Duration)| {
                now.saturating_sub(*touched) >= self.rule.timeout
            };
            if let Some((group, _)) = slot.take_if(late) {
                done(group);
            }
        }
    }

    /// Hands over everything, for the end of the output.
    pub fn flush(&mut self, mut done: impl FnMut(Group)) {
        let mut all: Vec<Group> = self
            .open
            .iter_mut()
            .filter_map(|slot| slot.take())
            .map(|(g, _)| g)
            .collect();
        all.sort_by_key(|group| group.place);
        all.into_iter().for_each(&mut done);
    }

    /// Where the first line begins of the groups that are held.
    pub fn oldest(&self) -> Option<u64> {
        let open = self.open.iter().flatten();
        open.map(|(group, _)| group.place).min()
    }
}

fn join(group: &mut Group, line: &Group, cap: usize) {
    let room = cap.saturating_sub(group.message.len());
    let wanted = line.message.len() + 1;
    if room > 0 {
        group.message.push(b'\n');
        let kept = line.message.len().min(room - 1);
        group.message.extend_from_slice(&line.message[..kept]);
    }
    group.last = line.last;
    group.ends.extend_from_slice(&line.ends);
    group.truncated |= line.truncated || wanted > room;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mode: Mode, start: &str, condition: &str) -> Rule {
        Rule {
            start: Regex::new(start).unwrap(),
            condition: Regex::new(condition).unwrap(),
            mode,
            timeout: Duration::from_millis(1000),
            cap: 1000,
        }
    }

    fn line(place: u64, text: &str) -> Group {
        Group {
            stream: Stream::Stdout,
            at: Stamp(0),
            ordinal: 0,
            last: (Stamp(0), 0),
            ends: vec![place],
            place,
            message: text.as_bytes().to_vec(),
            truncated: false,
        }
    }

    fn run(rule: Rule, lines: &[&str]) -> Vec<String> {
        let mut grouper = Grouper::new(rule);
        let mut out = Vec::new();
        let mut done = |g: Group| out.push(String::from_utf8(g.message).unwrap());
        for (place, text) in lines.iter().enumerate() {
            grouper.push(line(place as u64, text), Duration::ZERO, &mut done);
        }
        grouper.flush(&mut done);
        out
    }

    #[test]
    fn vectors_four_modes() {
        let trace = ["a", "Exception", "  at x", "  at y", "b", "Exception", "c"];
        assert_eq!(
            run(rule(Mode::ContinueThrough, "^Exception", r"^\s+at"), &trace),
            ["a", "Exception\n  at x\n  at y", "b", "Exception", "c"]
        );
        assert_eq!(
            run(
                rule(Mode::ContinuePast, r"\\$", r"\\$"),
                &["x \\", "y \\", "z", "w"]
            ),
            ["x \\\ny \\\nz", "w"]
        );
        assert_eq!(
            run(
                rule(Mode::HaltBefore, "^INFO", "^(INFO|ERROR)"),
                &["INFO a", "b", "INFO c", "ERROR d", "e"]
            ),
            ["INFO a\nb", "INFO c", "ERROR d", "e"]
        );
        assert_eq!(
            run(
                rule(Mode::HaltWith, ".", ";$"),
                &["select", "1;", "select", "2", ";"]
            ),
            ["select\n1;", "select\n2\n;"]
        );
    }

    #[test]
    fn a_group_that_nothing_joins_is_complete_after_the_timeout() {
        let mut grouper = Grouper::new(rule(Mode::ContinueThrough, "^E", "^ "));
        let mut out = Vec::new();
        grouper.push(line(7, "E"), Duration::from_millis(0), |g| out.push(g));
        grouper.push(line(8, " x"), Duration::from_millis(900), |g| out.push(g));
        grouper.expire(Duration::from_millis(1800), |g| out.push(g));
        assert!(out.is_empty());
        assert_eq!(grouper.oldest(), Some(7));
        grouper.expire(Duration::from_millis(1900), |g| out.push(g));
        assert_eq!(out[0].message, b"E\n x");
        assert_eq!(grouper.oldest(), None);
    }

    #[test]
    fn a_group_longer_than_the_cap_is_cut_and_says_so() {
        let mut small = rule(Mode::ContinueThrough, "^E", "^ ");
        small.cap = 4;
        let mut grouper = Grouper::new(small);
        let mut out = Vec::new();
        grouper.push(line(0, "E"), Duration::ZERO, |g| out.push(g));
        grouper.push(line(1, " ab"), Duration::ZERO, |g| out.push(g));
        grouper.push(line(2, " c"), Duration::ZERO, |g| out.push(g));
        grouper.flush(|g| out.push(g));
        assert_eq!(out[0].message, b"E\n a");
        assert!(out[0].truncated);
    }
}
