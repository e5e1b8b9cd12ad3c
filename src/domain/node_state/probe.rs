//! A node's health: what its agent measures → problems, with a band between raising and clearing one.

use crate::domain::record::size_text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What an agent reports of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Free bytes where the engine and lain keep their data, and bytes in all.
    pub disk_free: u64,
    /// As above.
    pub disk_total: u64,
    /// Memory that programs can still get, in bytes, and in all.
    pub memory_available: u64,
    /// As above.
    pub memory_total: u64,
    /// For how long the engine has not answered; zero while it does.
    pub engine_silent: Duration,
    /// By how much the node's time of day differs from the control host's.
    pub clock_skew: Duration,
}

/// From where on something is a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Less free disk than this many percent.
    pub disk_free_percent: u32,
    /// Less available memory than this many percent.
    pub memory_available_percent: u32,
    /// Engine silent for this long: nothing new goes there.
    pub engine_silent: Duration,
    /// Engine silent for this long: what is there is moved away.
    pub engine_dead: Duration,
    /// Clock off by this much: nothing new goes there.
    pub clock_skew: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            disk_free_percent: 5,
            memory_available_percent: 5,
            engine_silent: Duration::from_secs(2),
            engine_dead: Duration::from_secs(30),
            clock_skew: Duration::from_secs(30),
        }
    }
}

/// How far beyond its limit a value must be again before a problem is over: a quarter of the limit.
const BAND: u32 = 4;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// Free disk.
    Disk,
    /// Available memory.
    Memory,
    /// The engine answers.
    Engine,
    /// The time of day.
    Clock,
}

/// What a problem does to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing new goes there.
    NothingNew,
    /// What is there is moved away.
    Empty,
}

/// Something wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The disk is nearly full.
    Disk {
        /// Free bytes.
        free: u64,
        /// Of so many.
        total: u64,
    },
    /// Memory is nearly used up.
    Memory {
        /// Available bytes.
        available: u64,
        /// Of so many.
        total: u64,
    },
    /// The engine does not answer.
    Engine {
        /// For how long.
        silent: Duration,
        /// So long that it counts as dead.
        dead: bool,
    },
    /// The time of day is wrong.
    Clock {
        /// By how much.
        skew: Duration,
    },
}

impl Problem {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Problem::Engine { dead: true, .. } => Severity::Empty,
            _ => Severity::NothingNew,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| size_text(bytes >> 20 << 20);
        match self {
            Problem::Disk { free, total } => write!(
                f,
                "the disk is nearly full: {} of {} are free; remove images or volumes that nobody needs",
                mib(*free),
                mib(*total)
            ),
            Problem::Memory { available, total } => write!(
                f,
                "memory is nearly used up: {} of {} are available",
                mib(*available),
                mib(*total)
            ),
            Problem::Engine { silent, .. } => write!(
                f,
                "the engine has not answered for {} s; look at its log on the node",
                silent.as_secs()
            ),
            Problem::Clock { skew } => write!(
                f,
                "the clock is off by {} s; set up NTP on the node",
                skew.as_secs()
            ),
        }
    }
}

/// The problems of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    problems: BTreeMap<Probe, Problem>,
}

impl Health {
    /// Takes a report; a problem that was there stays until it is over by a margin.
    pub fn take(&mut self, report: &Report, limits: &Limits) {
        let disk = low(
            report.disk_free,
            report.disk_total,
            limits.disk_free_percent,
            self.problems.contains_key(&Probe::Disk),
        );
        self.set(
            Probe::Disk,
            disk.then_some(Problem::Disk {
                free: report.disk_free,
                total: report.disk_total,
            }),
        );
        let memory = low(
            report.memory_available,
            report.memory_total,
            limits.memory_available_percent,
            self.problems.contains_key(&Probe::Memory),
        );
        self.set(
            Probe::Memory,
            memory.then_some(Problem::Memory {
                available: report.memory_available,
                total: report.memory_total,
            }),
        );
        let silent = report.engine_silent;
        self.set(
            Probe::Engine,
            (silent >= limits.engine_silent).then_some(Problem::Engine {
                silent,
                dead: silent >= limits.engine_dead,
            }),
        );
        let over = limits.clock_skew - limits.clock_skew / BAND;
        let limit = match self.problems.contains_key(&Probe::Clock) {
            true => over,
            false => limits.clock_skew,
        };
        self.set(
            Probe::Clock,
            (report.clock_skew >= limit).then_some(Problem::Clock {
                skew: report.clock_skew,
            }),
        );
    }

    /// What is wrong.
    pub fn problems(&self) -> impl Iterator<Item = (&Probe, &Problem)> {
        self.problems.iter()
    }

    /// The worst of them.
    pub fn worst(&self) -> Option<&Problem> {
        self.problems.values().max_by_key(|p| p.severity())
    }

    fn set(&mut self, probe: Probe, problem: Option<Problem>) {
        match problem {
            Some(problem) => self.problems.insert(probe, problem),
            None => self.problems.remove(&probe),
        };
    }
}

/// Whether `part` of `total` is below `percent`, or within the band above it where it was low before. Nothing
/// known is no problem.
fn low(part: u64, total: u64, percent: u32, was: bool) -> bool {
    let percent = u128::from(percent);
    let limit = if was {
        percent + percent.div_ceil(u128::from(BAND))
    } else {
        percent
    };
    total > 0 && u128::from(part) * 100 < u128::from(total) * limit
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A node that is well.
    pub fn well() -> Report {
        Report {
            disk_free: 50,
            disk_total: 100,
            memory_available: 50,
            memory_total: 100,
            engine_silent: Duration::ZERO,
            clock_skew: Duration::ZERO,
        }
    }

    #[test]
    fn a_problem_is_over_only_by_a_margin() {
        let mut health = Health::default();
        let limits = Limits::default();
        for (free, expected) in [
            (5, false),
            (4, true),
            (5, true),
            (6, true),
            (7, false),
            (5, false),
        ] {
            let report = Report {
                disk_free: free,
                ..well()
            };
            health.take(&report, &limits);
            assert_eq!(health.worst().is_some(), expected, "{free} % free");
        }
        let seconds = Duration::from_secs;
        for (skew, expected) in [
            (29, false),
            (30, true),
            (24, true),
            (22, false),
            (29, false),
        ] {
            let report = Report {
                clock_skew: seconds(skew),
                ..well()
            };
            health.take(&report, &limits);
            assert_eq!(health.worst().is_some(), expected, "{skew} s off");
        }
    }

    #[test]
    fn an_engine_is_first_silent_and_then_dead() {
        let mut health = Health::default();
        for (millis, expected) in [
            (1999, None),
            (2000, Some(Severity::NothingNew)),
            (29_999, Some(Severity::NothingNew)),
            (30_000, Some(Severity::Empty)),
            (0, None),
        ] {
            let engine_silent = Duration::from_millis(millis);
            health.take(
                &Report {
                    engine_silent,
                    ..well()
                },
                &Limits::default(),
            );
            assert_eq!(
                health.worst().map(Problem::severity),
                expected,
                "{millis} ms"
            );
        }
    }

    #[test]
    fn the_worst_comes_first_and_all_can_be_told() {
        let mut health = Health::default();
        let bad = Report {
            disk_free: 1 << 20,
            disk_total: 1 << 30,
            memory_available: 0,
            memory_total: 1 << 30,
            engine_silent: Duration::from_secs(31),
            clock_skew: Duration::from_secs(99),
        };
        health.take(&bad, &Limits::default());
        let told: Vec<String> = health.problems().map(|(_, p)| p.to_string()).collect();
        assert_eq!(told.len(), 4);
        assert!(told[0].contains("1m of 1g are free"), "{told:?}");
        assert!(
            health
                .worst()
                .unwrap()
                .to_string()
                .contains("has not answered for 31 s")
        );
        let unknown = Report {
            disk_total: 0,
            memory_total: 0,
            ..well()
        };
        health.take(&unknown, &Limits::default());
        assert_eq!(health.worst(), None);
    }
}
