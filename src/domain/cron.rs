//! When a `cron` proc runs, and what happens when a run is due while another one runs.
//!
//! Instants are passed in; croner only does the arithmetic of five-field expressions (in UTC).

use crate::domain::spec::model::Overlap;
use chrono::{DateTime, Utc};
use croner::Cron;
use std::str::FromStr;

/// The next instant strictly after `after` that a five-field expression names; `None` when there is none.
///
/// # Errors
/// What is wrong with the expression.
pub fn next_after(expression: &str, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    let cron = Cron::from_str(expression)
        .map_err(|e| format!("{expression:?} is not a cron expression: {e}"))?;
    Ok(cron.find_next_occurrence(&after, false).ok())
}

/// What a due run leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Start it now.
    Start,
    /// Record that it was skipped.
    Skip,
    /// Start it when the running one ends.
    Wait,
    /// Stop the running one, then start it.
    Replace,
}

/// Decides a due run. `running`: runs in progress; `waiting`: whether one waits already.
pub fn on_due(overlap: Overlap, running: usize, waiting: bool) -> Due {
    match (overlap, running, waiting) {
        (_, 0, _) | (Overlap::Allow, _, _) => Due::Start,
        (Overlap::Skip, _, _) | (Overlap::Queue, _, true) => Due::Skip,
        (Overlap::Queue, _, false) => Due::Wait,
        (Overlap::Replace, _, _) => Due::Replace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn next_runs() {
        for (expression, after, next) in [
            (
                "*/5 * * * *",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:05:00Z",
            ),
            ("0 3 * * 1", "2026-01-01T00:00:00Z", "2026-01-05T03:00:00Z"),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            (
                "59 23 31 12 *",
                "2026-12-31T23:59:00Z",
                "2027-12-31T23:59:00Z",
            ),
        ] {
            assert_eq!(
                next_after(expression, at(after)),
                Ok(Some(at(next))),
                "{expression}"
            );
        }
        assert!(next_after("61 * * * *", at("2026-01-01T00:00:00Z")).is_err());
    }

    #[test]
    fn overlap_policies() {
        for (overlap, running, waiting, due) in [
            (Overlap::Skip, 0, false, Due::Start),
            (Overlap::Skip, 1, false, Due::Skip),
            (Overlap::Queue, 1, false, Due::Wait),
            (Overlap::Queue, 1, true, Due::Skip),
            (Overlap::Queue, 0, true, Due::Start),
            (Overlap::Replace, 1, false, Due::Replace),
            (Overlap::Allow, 3, false, Due::Start),
        ] {
            assert_eq!(
                on_due(overlap, running, waiting),
                due,
                "{overlap:?} {running} {waiting}"
            );
        }
    }
}
