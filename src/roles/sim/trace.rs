//! What happened in a schedule, line by line in virtual time: printed when it fails, compared when it is replayed.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hasher;
use std::time::Duration;
use tokio::time::Instant;

/// The length of a UUID's text.
const UUID: usize = 36;

/// The lines and their fingerprint.
pub struct Trace {
    origin: Instant,
    lines: Vec<String>,
    hash: Fnv,
    names: HashMap<String, usize>,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Trace {
    /// An empty trace that begins now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            lines: Vec::new(),
            hash: Fnv(0xcbf2_9ce4_8422_2325),
            names: HashMap::new(),
        }
    }

    /// Virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Adds a line. Ids are numbered in the order in which they are seen: they are made from the real clock, and
    /// differ from run to run.
    pub fn note(&mut self, text: impl Display) {
        let line = format!("{:>9.3} {text}", self.now().as_secs_f64());
        let line = self.scrubbed(line);
        self.hash.write(line.as_bytes());
        self.lines.push(line);
    }

    fn scrubbed(&mut self, mut line: String) -> String {
        let mut from = 0;
        while let Some(at) = line.get(from..).and_then(find_uuid).map(|at| at + from) {
            let next = self.names.len() + 1;
            let id = line[at..at + UUID].to_owned();
            let number = *self.names.entry(id).or_insert(next);
            line.replace_range(at..at + UUID, &format!("#{number}"));
            from = at;
        }
        line
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The same for two runs in which the same happened.
    pub fn fingerprint(&self) -> u64 {
        self.hash.finish()
    }
}

/// FNV-1a: the same in each build.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Where the text of a UUID begins.
fn find_uuid(text: &str) -> Option<usize> {
    let is_uuid = |part: &[u8]| {
        part.iter().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    text.as_bytes().windows(UUID).position(is_uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_are_numbered_and_two_equal_runs_have_one_fingerprint() {
        let trace = |id: &str| {
            let mut trace = Trace::new();
            trace.note(format!("operation {id} begins; {id} ends"));
            trace
        };
        let one = trace("0190c5a2-0000-7000-8000-000000000001");
        let two = trace("0190c5a2-ffff-7000-8000-0000000000ff");
        assert!(one.lines()[0].ends_with("operation #1 begins; #1 ends"));
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.fingerprint(), Trace::new().fingerprint());
    }
}
