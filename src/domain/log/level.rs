//! Levels of log lines. The names and their order are syslog's (RFC 5424, section 6.2.1), with `trace` below.

use serde::{Deserialize, Serialize};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finer than debugging.
    Trace,
    /// For debugging.
    Debug,
    /// A normal message.
    Info,
    /// Normal, but significant.
    Notice,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
    /// A critical condition; `fatal` and `panic` are read as this.
    Critical,
    /// Act at once.
    Alert,
    /// The system is unusable.
    Emergency,
}

impl Level {
    /// Every level, in the order of their codes less one.
    pub const ALL: [Level; 9] = [
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Notice,
        Level::Warn,
        Level::Error,
        Level::Critical,
        Level::Alert,
        Level::Emergency,
    ];

    /// The word in an event.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Alert => "alert",
            Level::Emergency => "emergency",
        }
    }

    /// Syslog's number: 0 emergency to 7 debug.
    pub fn severity(self) -> u8 {
        match self {
            Level::Trace | Level::Debug => 7,
            Level::Info => 6,
            Level::Notice => 5,
            Level::Warn => 4,
            Level::Error => 3,
            Level::Critical => 2,
            Level::Alert => 1,
            Level::Emergency => 0,
        }
    }

    /// The level of syslog's number.
    pub fn from_severity(severity: u8) -> Option<Self> {
        Some(match severity {
            7 => Level::Debug,
            6 => Level::Info,
            5 => Level::Notice,
            4 => Level::Warn,
            3 => Level::Error,
            2 => Level::Critical,
            1 => Level::Alert,
            0 => Level::Emergency,
            _ => return None,
        })
    }

    /// Its number in stored records; 0 stands for none.
    pub fn code(level: Option<Level>) -> u8 {
        level.map_or(0, |level| level as u8 + 1)
    }

    /// The level of a code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The level that a word means, in any letter case.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], Level); 24] = [
            (b"trace", Level::Trace),
            (b"trc", Level::Trace),
            (b"verbose", Level::Trace),
            (b"debug", Level::Debug),
            (b"dbg", Level::Debug),
            (b"info", Level::Info),
            (b"inf", Level::Info),
            (b"information", Level::Info),
            (b"informational", Level::Info),
            (b"notice", Level::Notice),
            (b"warn", Level::Warn),
            (b"warning", Level::Warn),
            (b"wrn", Level::Warn),
            (b"error", Level::Error),
            (b"err", Level::Error),
            (b"severe", Level::Error),
            (b"critical", Level::Critical),
            (b"crit", Level::Critical),
            (b"fatal", Level::Critical),
            (b"panic", Level::Critical),
            (b"ftl", Level::Critical),
            (b"alert", Level::Alert),
            (b"emerg", Level::Emergency),
            (b"emergency", Level::Emergency),
        ];
        if !(3..=13).contains(&word.len()) {
            return None;
        }
        let found = WORDS
            .iter()
            .find(|(known, _)| word.eq_ignore_ascii_case(known));
        found.map(|(_, level)| *level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_severities_go_both_ways() {
        assert_eq!(Level::from_code(Level::code(None)), None);
        for level in Level::ALL {
            assert_eq!(Level::from_code(Level::code(Some(level))), Some(level));
            if level != Level::Trace {
                assert_eq!(Level::from_severity(level.severity()), Some(level));
            }
            assert_eq!(Level::from_word(level.as_str().as_bytes()), Some(level));
        }
        assert_eq!(Level::from_severity(8), None);
        assert_eq!(Level::from_word(b"FATAL"), Some(Level::Critical));
        assert_eq!(Level::from_word(b"inform"), None);
    }
}
