//! How a new version replaces the old one: `update` of a proc, and the window that follows from it.
//!
//! Plain data and arithmetic; the words and their rounding are Kubernetes' (`maxSurge` up, `maxUnavailable` down).

use super::duration_text;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

/// The share of a proc's instances that is replaced at a time unless told otherwise, as Kubernetes has it.
const DEFAULT_SHARE: Share = Share::Percent(25);

/// A number of instances, or a share of them in per cent. In JSON text: `"2"`, `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Share {
    /// Whether it can never be one instance.
    pub fn is_zero(self) -> bool {
        matches!(self, Share::Count(0) | Share::Percent(0))
    }

    /// Of `all` instances, a fraction rounded up.
    pub fn up(self, all: u32) -> u32 {
        match self {
            Share::Count(n) => n,
            Share::Percent(p) => part(all, p, 99),
        }
    }

    /// Of `all` instances, a fraction rounded down.
    pub fn down(self, all: u32) -> u32 {
        match self {
            Share::Count(n) => n,
            Share::Percent(p) => part(all, p, 0),
        }
    }
}

fn part(all: u32, percent: u32, rounding: u64) -> u32 {
    let part = (u64::from(all) * u64::from(percent) + rounding) / 100;
    u32::try_from(part).unwrap_or(u32::MAX)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(n) => write!(f, "{n}"),
            Share::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl std::str::FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number of instances nor per cent");
        let digits = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        match text.strip_suffix('%') {
            Some(percent) => digits(percent).map(Share::Percent),
            None => digits(text).map(Share::Count),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// How a new version replaces the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateSpec {
    /// New before old, or old before new.
    pub order: UpdateOrder,
    /// Instances replaced at a time, instead of `max_surge` and `max_unavailable`.
    #[serde(default)]
    pub parallelism: Option<u32>,
    /// How many more instances than wanted there may be: a number, or per cent, rounded up.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub max_surge: Option<Share>,
    /// How many fewer instances than wanted may be available: a number, or per cent, rounded down.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub max_unavailable: Option<Share>,
    /// An instance is available once it was healthy for this long without a break.
    #[serde(default, with = "duration_text")]
    #[schema(value_type = String)]
    pub min_healthy_time: Duration,
    /// Instances that are updated first and watched, until somebody promotes or aborts the change; 0: none.
    #[serde(default)]
    pub canary: u32,
    /// An update that makes no progress for this long has failed.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub progress_deadline: Duration,
    /// Go back to the last good version when an update fails.
    pub auto_rollback: bool,
}

impl Default for UpdateSpec {
    fn default() -> Self {
        Self {
            order: UpdateOrder::StartFirst,
            parallelism: None,
            max_surge: None,
            max_unavailable: None,
            min_healthy_time: Duration::ZERO,
            canary: 0,
            progress_deadline: Duration::from_secs(300),
            auto_rollback: true,
        }
    }
}

/// Which of the two versions of an instance overlaps the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateOrder {
    /// The new one is healthy before the old one is stopped.
    StartFirst,
    /// The old one is stopped before the new one starts; always so for `stateful` procs.
    StopFirst,
}

/// How many instances of a proc may be on their way from one version to the next at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// New ones beside their old ones.
    pub surge: u32,
    /// Ones that are not available.
    pub unavailable: u32,
}

impl UpdateSpec {
    /// The window for a proc of so many instances. `may_overlap`: two versions of one instance may run side by side.
    ///
    /// Never empty: where both shares come to nothing, one instance may be unavailable, as Kubernetes has it.
    pub fn window(&self, instances: u32, may_overlap: bool) -> Window {
        let start_first = may_overlap && self.order == UpdateOrder::StartFirst;
        let (surge, unavailable) = match (self.parallelism, start_first) {
            (Some(n), true) => (Share::Count(n), Share::Count(0)),
            (Some(n), false) => (Share::Count(0), Share::Count(n)),
            (None, true) => {
                let surge = self.max_surge.unwrap_or(DEFAULT_SHARE);
                let else_down = match surge.is_zero() {
                    true => DEFAULT_SHARE,
                    false => Share::Count(0),
                };
                (surge, self.max_unavailable.unwrap_or(else_down))
            }
            (None, false) => {
                let down = self.max_unavailable.unwrap_or(DEFAULT_SHARE);
                (Share::Count(0), down)
            }
        };
        let (surge, unavailable) = (surge.up(instances), unavailable.down(instances));
        match surge == 0 && unavailable == 0 {
            true => Window {
                surge,
                unavailable: 1,
            },
            false => Window { surge, unavailable },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(text: &str) -> Option<Share> {
        Some(text.parse().expect("a share"))
    }

    #[test]
    fn shares_are_read_and_written() {
        for text in ["0", "3", "25%", "100%"] {
            let read: Share = text.parse().expect("a share");
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "%", "-1", "+1", "1.5", "a%", "25 %", "99999999999"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn windows_follow_from_what_is_written() {
        use UpdateOrder::{StartFirst, StopFirst};
        // order, parallelism, surge, unavailable, instances, may overlap → surge, unavailable
        let rows = [
            (StartFirst, None, None, None, 10, true, (3, 0)),
            (StartFirst, None, None, None, 3, true, (1, 0)),
            (StartFirst, None, None, None, 100, true, (25, 0)),
            (StartFirst, None, None, None, 10, false, (0, 2)),
            (StopFirst, None, None, None, 10, true, (0, 2)),
            (StopFirst, None, None, None, 3, true, (0, 1)),
            (StartFirst, Some(2), None, None, 10, true, (2, 0)),
            (StartFirst, Some(2), None, None, 10, false, (0, 2)),
            (StopFirst, Some(2), None, None, 10, true, (0, 2)),
            (StartFirst, None, Some("50%"), None, 5, true, (3, 0)),
            (StartFirst, None, Some("0"), None, 10, true, (0, 2)),
            (StartFirst, None, None, Some("50%"), 5, true, (2, 2)),
            (StartFirst, None, Some("0"), Some("10%"), 5, true, (0, 1)),
            (StartFirst, None, Some("2"), Some("1"), 10, true, (2, 1)),
            (StopFirst, None, None, Some("100%"), 7, true, (0, 7)),
            (StartFirst, None, None, None, 0, true, (0, 1)),
        ];
        for (order, parallelism, surge, down, instances, may_overlap, wanted) in rows {
            let spec = UpdateSpec {
                order,
                parallelism,
                max_surge: surge.and_then(share),
                max_unavailable: down.and_then(share),
                ..UpdateSpec::default()
            };
            let window = spec.window(instances, may_overlap);
            assert_eq!(
                (window.surge, window.unavailable),
                wanted,
                "{spec:?} {instances}"
            );
        }
    }

    fn any_share() -> impl Strategy<Value = Option<Share>> {
        proptest::option::of(prop_oneof![
            (0u32..20).prop_map(Share::Count),
            (0u32..=100).prop_map(Share::Percent)
        ])
    }

    proptest! {
        #[test]
        fn a_window_is_never_empty_and_overlaps_only_where_that_may_be(
            surge in any_share(), down in any_share(), instances in 0u32..1000, may_overlap: bool, stop_first: bool,
        ) {
            let order = if stop_first { UpdateOrder::StopFirst } else { UpdateOrder::StartFirst };
            let spec = UpdateSpec { order, max_surge: surge, max_unavailable: down, ..UpdateSpec::default() };
            let window = spec.window(instances, may_overlap);
            prop_assert!(window.surge + window.unavailable > 0);
            prop_assert!(window.surge == 0 || (may_overlap && !stop_first));
        }
    }
}
