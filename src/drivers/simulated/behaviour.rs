//! How the containers of a simulated image behave: how long they take, when and how they end.
//!
//! Plain data given to [`super::Handle::set_behaviour`]; the world reads it. No clock, no chance but
//! the seeded one.

use crate::domain::crash::Exit;
use std::time::Duration;

/// How every container of one image behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Where the image is.
    pub place: ImagePlace,
    /// From the start call until the container runs.
    pub start_delay: Duration,
    /// How many starts of each container fail before one succeeds.
    pub failing_starts: u32,
    /// What successive runs do; the last goes for all that follow. Empty: each runs for ever.
    pub runs: Vec<Run>,
    /// A chance to end on top of `runs`.
    pub chance: Option<Chance>,
    /// What it does at SIGTERM.
    pub on_term: OnTerm,
    /// Lines that each run prints when it starts.
    pub output: Vec<String>,
    /// What commands run inside it do.
    pub exec: ExecOutcome,
}

impl Default for Behaviour {
    /// Local, starts at once, runs for ever, ends at once with code 0 at SIGTERM.
    fn default() -> Self {
        Self {
            place: ImagePlace::Local,
            start_delay: Duration::ZERO,
            failing_starts: 0,
            runs: Vec::new(),
            chance: None,
            on_term: OnTerm::Exit {
                after: Duration::ZERO,
                code: 0,
            },
            output: Vec::new(),
            exec: ExecOutcome::default(),
        }
    }
}

/// Where an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePlace {
    /// Here.
    Local,
    /// At its registry; pulling it takes this long.
    Registry(Duration),
    /// Nowhere: it cannot be had.
    Nowhere,
}

/// One run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How long it lasts; `None`: for ever.
    pub lasts: Option<Duration>,
    /// How it ends.
    pub code: i32,
    /// The kernel ends it for want of memory.
    pub oom_killed: bool,
}

impl Run {
    /// A run that ends with an exit code after some time.
    pub fn ends(lasts: Duration, code: i32) -> Self {
        Self {
            lasts: Some(lasts),
            code,
            oom_killed: false,
        }
    }

    /// A run that goes on.
    pub fn for_ever() -> Self {
        Self {
            lasts: None,
            code: 0,
            oom_killed: false,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        Exit::from_code(self.code, self.oom_killed, None)
    }
}

/// Ends at random but repeatable moments: exponentially distributed, from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    /// The mean length of a run.
    pub mean: Duration,
    /// The exit code.
    pub code: i32,
    /// The same seed gives the same moments.
    pub seed: u64,
}

impl Chance {
    /// How long run number `run` of container number `container` lasts.
    pub(super) fn length(&self, container: u64, run: u32) -> Duration {
        let mixed = mix(self.seed ^ mix(container) ^ mix(u64::from(run)).rotate_left(17));
        // 53 random bits make a fraction in (0, 1].
        let fraction = ((mixed >> 11) + 1) as f64 / (1u64 << 53) as f64;
        self.mean.mul_f64(-fraction.ln())
    }
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a container does at SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// Ends after some time.
    Exit {
        /// How long it drains.
        after: Duration,
        /// Its exit code.
        code: i32,
    },
    /// Goes on, so that only SIGKILL ends it.
    Ignore,
}

/// What a command run inside a container does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecOutcome {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub output: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_repeatable_and_has_its_mean() {
        let chance = Chance {
            mean: Duration::from_secs(10),
            code: 1,
            seed: 7,
        };
        assert_eq!(chance.length(1, 1), chance.length(1, 1));
        assert_ne!(chance.length(1, 1), chance.length(1, 2));
        let total: Duration = (0..10_000).map(|n| chance.length(n, 0)).sum();
        let mean = total.as_secs_f64() / 10_000.0;
        assert!((9.5..10.5).contains(&mean), "{mean}");
    }
}
