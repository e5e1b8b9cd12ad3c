//! The bars of a histogram: round widths, about fifty of them, beginning where a clock in the zone does.

use super::time::to_utc;
use chrono::{DateTime, Datelike, Days, Months, NaiveDate};
use chrono_tz::Tz;

/// As many bars as a histogram has at most.
pub const MOST: usize = 10_000;
/// As many as one has about, when the width is not given.
const ABOUT: i64 = 60;

/// The width of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Nanoseconds.
    Fixed(i64),
    /// Days of the zone.
    Days(u32),
    /// Months of the zone.
    Months(u32),
}

const MS: i64 = 1_000_000;
const S: i64 = 1000 * MS;
const M: i64 = 60 * S;
const H: i64 = 60 * M;

/// What is chosen from, with about how long each is.
const ROUND: [Width; 27] = [
    Width::Fixed(MS),
    Width::Fixed(5 * MS),
    Width::Fixed(10 * MS),
    Width::Fixed(50 * MS),
    Width::Fixed(100 * MS),
    Width::Fixed(500 * MS),
    Width::Fixed(S),
    Width::Fixed(5 * S),
    Width::Fixed(10 * S),
    Width::Fixed(30 * S),
    Width::Fixed(M),
    Width::Fixed(2 * M),
    Width::Fixed(5 * M),
    Width::Fixed(10 * M),
    Width::Fixed(15 * M),
    Width::Fixed(30 * M),
    Width::Fixed(H),
    Width::Fixed(3 * H),
    Width::Fixed(6 * H),
    Width::Fixed(12 * H),
    Width::Days(1),
    Width::Days(2),
    Width::Days(7),
    Width::Days(14),
    Width::Months(1),
    Width::Months(3),
    Width::Months(12),
];

impl Width {
    /// About how long it is, in nanoseconds.
    fn about(self) -> i64 {
        match self {
            Self::Fixed(n) => n,
            Self::Days(n) => i64::from(n) * 24 * H,
            Self::Months(n) => i64::from(n) * 30 * 24 * H,
        }
    }

    /// The round width with which a time has about fifty bars.
    pub fn for_span(first: i64, last: i64) -> Self {
        let span = last.saturating_sub(first);
        let fits = ROUND.into_iter().find(|width| span / width.about() < ABOUT);
        fits.unwrap_or(Width::Months(12))
    }

    /// `100ms`, `30s`, `5m`, `1h`, `1d`, `1w`, `1M`, `1y`.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = text.split_at(unit);
        let count: u32 = count.parse().ok().filter(|n| *n > 0)?;
        let fixed = |n: i64| n.checked_mul(count.into()).map(Width::Fixed);
        match unit {
            "ms" => fixed(MS),
            "s" => fixed(S),
            "m" => fixed(M),
            "h" => fixed(H),
            "d" => Some(Width::Days(count)),
            "w" => Some(Width::Days(count.checked_mul(7)?)),
            "M" => Some(Width::Months(count)),
            "y" => Some(Width::Months(count.checked_mul(12)?)),
            _ => None,
        }
    }

    /// As [`Width::parse`] reads it.
    pub fn text(self) -> String {
        match self {
            Self::Fixed(n) => match n {
                n if n % H == 0 => format!("{}h", n / H),
                n if n % M == 0 => format!("{}m", n / M),
                n if n % S == 0 => format!("{}s", n / S),
                n => format!("{}ms", n / MS),
            },
            Self::Days(n) if n % 7 == 0 => format!("{}w", n / 7),
            Self::Days(n) => format!("{n}d"),
            Self::Months(n) if n % 12 == 0 => format!("{}y", n / 12),
            Self::Months(n) => format!("{n}M"),
        }
    }
}

/// The first instants of the bars that cover a time, and after them the end of the last; `None` for too many.
pub fn edges(width: Width, first: i64, last: i64, zone: Tz) -> Option<Vec<i64>> {
    let local = DateTime::from_timestamp_nanos(first)
        .with_timezone(&zone)
        .naive_local();
    let day = local.date();
    let utc = |day: NaiveDate| to_utc(day.and_hms_opt(0, 0, 0)?, zone)?.timestamp_nanos_opt();
    let mut edges = Vec::new();
    match width {
        Width::Fixed(width) => {
            // From midnight where that comes out even, else from 1970.
            let from = match 24 * H % width {
                0 => utc(day).unwrap_or(0),
                _ => 0,
            };
            let mut edge = from + (first - from).div_euclid(width).checked_mul(width)?;
            while edge <= last {
                edges.push(edge);
                edge = edge.checked_add(width)?;
                if edges.len() > MOST {
                    return None;
                }
            }
            edges.push(edge);
        }
        Width::Days(count) => {
            // Weeks begin on Monday; other numbers of days are counted from the common era's first.
            let from_monday = day.num_days_from_ce() - 1;
            let back = from_monday.rem_euclid(i32::try_from(count).ok()?);
            let mut day = day.checked_sub_days(Days::new(back.unsigned_abs().into()))?;
            loop {
                let edge = utc(day)?;
                edges.push(edge);
                if edge > last {
                    break;
                }
                if edges.len() > MOST {
                    return None;
                }
                day = day.checked_add_days(Days::new(count.into()))?;
            }
        }
        Width::Months(count) => {
            let month = i64::from(day.year()) * 12 + i64::from(day.month0());
            let from = month - month.rem_euclid(count.into());
            let year = i32::try_from(from.div_euclid(12)).ok()?;
            let month = u32::try_from(from.rem_euclid(12)).ok()? + 1;
            let mut day = NaiveDate::from_ymd_opt(year, month, 1)?;
            loop {
                let edge = utc(day)?;
                edges.push(edge);
                if edge > last {
                    break;
                }
                if edges.len() > MOST {
                    return None;
                }
                day = day.checked_add_months(Months::new(count))?;
            }
        }
    }
    Some(edges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>()
            .unwrap()
            .timestamp_nanos_opt()
            .unwrap()
    }

    #[test]
    fn widths_are_round() {
        for (from, to, wanted) in [
            ("2025-03-01T00:00:00Z", "2025-03-01T00:15:00Z", "30s"),
            ("2025-03-01T00:00:00Z", "2025-03-01T01:00:00Z", "2m"),
            ("2025-03-01T00:00:00Z", "2025-03-02T00:00:00Z", "30m"),
            ("2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z", "1d"),
            ("2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "3M"),
            ("2025-03-01T00:00:00Z", "2025-03-01T00:00:00Z", "1ms"),
        ] {
            let width = Width::for_span(at(from), at(to));
            assert_eq!(width.text(), wanted, "{from} {to}");
            assert_eq!(Width::parse(wanted), Some(width));
        }
        for text in ["", "5", "0s", "5x", "s"] {
            assert_eq!(Width::parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_those_of_the_zone_and_weeks_begin_on_monday() {
        let (first, last) = (at("2025-03-29T12:00:00Z"), at("2025-03-31T12:00:00Z"));
        let days = edges(Width::Days(1), first, last, Tz::Europe__Berlin).unwrap();
        let wanted = [
            "2025-03-28T23:00:00Z",
            "2025-03-29T23:00:00Z",
            "2025-03-30T22:00:00Z",
            "2025-03-31T22:00:00Z",
        ];
        assert_eq!(days, wanted.map(at));
        let weeks = edges(Width::Days(7), first, last, Tz::UTC).unwrap();
        assert_eq!(
            weeks,
            [
                "2025-03-24T00:00:00Z",
                "2025-03-31T00:00:00Z",
                "2025-04-07T00:00:00Z"
            ]
            .map(at)
        );
        assert!(edges(Width::Fixed(MS), first, last, Tz::UTC).is_none());
    }

    proptest! {
        #[test]
        fn bars_cover_the_time_and_ascend(first in 0_i64..2_000_000_000_000_000_000, span in 0_i64..100_000_000_000_000_000) {
            for zone in [Tz::UTC, Tz::America__Sao_Paulo, Tz::Asia__Kathmandu] {
                let width = Width::for_span(first, first + span);
                let edges = edges(width, first, first + span, zone).unwrap();
                prop_assert!(edges[0] <= first && first < edges[1]);
                prop_assert!(edges[edges.len() - 1] > first + span);
                prop_assert!(edges.is_sorted() && edges.len() <= 70, "{}", edges.len());
            }
        }
    }
}
