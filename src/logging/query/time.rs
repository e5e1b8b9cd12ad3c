//! Kibana's time expressions: `now-15m`, `now/d`, `2025-03-01T08`, `2025-03-01||+1M/d`, milliseconds.
//!
//! A time names a span: `2025-03-01` is a day, `now/w` a week, `now` an instant. Where a range begins at or
//! ends before a time its first instant counts; where it begins after or ends at one, its last.

use super::error::QueryError;
use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone,
    Timelike, Utc,
};
use chrono_tz::Tz;

/// Against what times are read.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// What `now` is.
    pub now: DateTime<Utc>,
    /// The zone of days and of times that name none.
    pub zone: Tz,
}

/// The instants that a time names, in nanoseconds since 1970, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Unit {
    fn of(c: char) -> Option<Self> {
        Some(match c {
            'y' => Self::Year,
            'M' => Self::Month,
            'w' => Self::Week,
            'd' => Self::Day,
            'h' | 'H' => Self::Hour,
            'm' => Self::Minute,
            's' => Self::Second,
            _ => return None,
        })
    }
}

/// Reads a time expression; `at` is where it stands in the query, for errors.
///
/// # Errors
/// What is not a time, at its character.
pub fn read(text: &str, clock: &Clock, at: usize) -> Result<Span, QueryError> {
    let fault = |offset: usize, why: &str| {
        let message = format!(
            "{text:?} is no time: {why}; expected such as 2025-03-01, 2025-03-01T08:30:00Z, now-15m or now/d"
        );
        QueryError::query(at + offset, message)
    };
    if let Some(math) = text.strip_prefix("now") {
        let now = nanos(&clock.now).ok_or_else(|| fault(0, "it is out of range"))?;
        let span = Span {
            first: now,
            last: now,
        };
        return apply(span, math, clock).map_err(|(offset, why)| fault(3 + offset, why));
    }
    let (date, math) = text.split_once("||").unwrap_or((text, ""));
    let span = absolute(date, clock.zone)
        .ok_or_else(|| fault(0, "it is neither a date nor relative to now"))?;
    // With arithmetic a date is its first instant, as Elasticsearch has it.
    let span = match math.is_empty() {
        true => span,
        false => Span {
            first: span.first,
            last: span.first,
        },
    };
    apply(span, math, clock).map_err(|(offset, why)| fault(date.chars().count() + 2 + offset, why))
}

/// Carries out `±n unit` and `/unit`, in order.
fn apply(mut span: Span, math: &str, clock: &Clock) -> Result<Span, (usize, &'static str)> {
    let characters: Vec<char> = math.chars().collect();
    let mut at = 0;
    while let Some(&operator) = characters.get(at) {
        let from = at;
        at += 1;
        let digits: String = characters[at..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .collect();
        at += digits.len();
        let unit = characters.get(at).copied().and_then(Unit::of);
        let unit = unit.ok_or((at, "expected one of y M w d h m s"))?;
        at += 1;
        match operator {
            '+' | '-' => {
                let count: i32 = match digits.as_str() {
                    "" => 1,
                    digits => digits.parse().map_err(|_| (from + 1, "that is too much"))?,
                };
                let count = if operator == '-' { -count } else { count };
                let moved =
                    add(span.first, count, unit, clock.zone).ok_or((from, "it is out of range"))?;
                span = Span {
                    first: moved,
                    last: moved,
                };
            }
            '/' if digits.is_empty() => {
                span = whole(span.first, unit, clock.zone).ok_or((from, "it is out of range"))?
            }
            '/' => return Err((from + 1, "rounding takes a unit without a number")),
            _ => return Err((from, "expected +, - or /")),
        }
    }
    Ok(span)
}

fn nanos(at: &DateTime<Utc>) -> Option<i64> {
    at.timestamp_nanos_opt()
}

fn add(at: i64, count: i32, unit: Unit, zone: Tz) -> Option<i64> {
    let time = DateTime::from_timestamp_nanos(at);
    let moved = match unit {
        Unit::Hour => time.checked_add_signed(TimeDelta::try_hours(count.into())?)?,
        Unit::Minute => time.checked_add_signed(TimeDelta::try_minutes(count.into())?)?,
        Unit::Second => time.checked_add_signed(TimeDelta::try_seconds(count.into())?)?,
        _ => {
            // Days and longer are those of the zone: a day may have 23 hours.
            let local = time.with_timezone(&zone).naive_local();
            let amount = count.unsigned_abs();
            let forward = count >= 0;
            let months = |n: u32| {
                let n = Months::new(n);
                if forward {
                    local.checked_add_months(n)
                } else {
                    local.checked_sub_months(n)
                }
            };
            let days = |n: u64| {
                let n = Days::new(n);
                if forward {
                    local.checked_add_days(n)
                } else {
                    local.checked_sub_days(n)
                }
            };
            let moved = match unit {
                Unit::Year => months(amount.checked_mul(12)?)?,
                Unit::Month => months(amount)?,
                Unit::Week => days(u64::from(amount) * 7)?,
                _ => days(u64::from(amount))?,
            };
            to_utc(moved, zone)?
        }
    };
    nanos(&moved)
}

/// The year, month, week … in which an instant lies.
fn whole(at: i64, unit: Unit, zone: Tz) -> Option<Span> {
    let local = DateTime::from_timestamp_nanos(at)
        .with_timezone(&zone)
        .naive_local();
    let day = local.date();
    let start = match unit {
        Unit::Year => NaiveDate::from_ymd_opt(day.year(), 1, 1)?.and_hms_opt(0, 0, 0)?,
        Unit::Month => day.with_day(1)?.and_hms_opt(0, 0, 0)?,
        Unit::Week => {
            let back = Days::new(day.weekday().num_days_from_monday().into());
            day.checked_sub_days(back)?.and_hms_opt(0, 0, 0)?
        }
        Unit::Day => day.and_hms_opt(0, 0, 0)?,
        Unit::Hour => local.with_minute(0)?.with_second(0)?.with_nanosecond(0)?,
        Unit::Minute => local.with_second(0)?.with_nanosecond(0)?,
        Unit::Second => local.with_nanosecond(0)?,
    };
    if matches!(unit, Unit::Hour | Unit::Minute | Unit::Second) {
        // In elapsed time: the hour that a change of clocks repeats is two hours.
        let elapsed = local.signed_duration_since(start).num_nanoseconds()?;
        let first = at.checked_sub(elapsed)?;
        let length = match unit {
            Unit::Hour => 3_600_000_000_000,
            Unit::Minute => 60_000_000_000,
            _ => 1_000_000_000,
        };
        return Some(Span {
            first,
            last: first.checked_add(length)? - 1,
        });
    }
    let end = match unit {
        Unit::Year => start.checked_add_months(Months::new(12))?,
        Unit::Month => start.checked_add_months(Months::new(1))?,
        Unit::Week => start.checked_add_days(Days::new(7))?,
        _ => start.checked_add_days(Days::new(1))?,
    };
    Some(Span {
        first: nanos(&to_utc(start, zone)?)?,
        last: nanos(&to_utc(end, zone)?)? - 1,
    })
}

/// A local time in UTC: the earlier of two, and past the gap where clocks were put forward.
pub fn to_utc(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) => Some(time.to_utc()),
        LocalResult::Ambiguous(first, _) => Some(first.to_utc()),
        LocalResult::None => {
            // By the offset before the gap, as Java has it.
            let before = local.checked_sub_signed(TimeDelta::try_hours(3)?)?;
            let before = zone.from_local_datetime(&before).latest()?;
            before.to_utc().checked_add_signed(TimeDelta::try_hours(3)?)
        }
    }
}

/// A date of any precision (ISO 8601), or milliseconds since 1970.
pub fn absolute(text: &str, zone: Tz) -> Option<Span> {
    if text.len() > 4
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_digit() || (i == 0 && b == b'-'))
    {
        let millis: i64 = text.parse().ok()?;
        let first = millis.checked_mul(1_000_000)?;
        return Some(Span {
            first,
            last: first.checked_add(999_999)?,
        });
    }
    let (date, time) = match text.find('T') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year: i32 = number(parts.next()?, 4)?;
    let month: Option<u32> = parts
        .next()
        .map(|p| number(p, 2).ok_or(()))
        .transpose()
        .ok()?;
    let day: Option<u32> = parts
        .next()
        .map(|p| number(p, 2).ok_or(()))
        .transpose()
        .ok()?;
    if parts.next().is_some() || (time.is_some() && day.is_none()) {
        return None;
    }
    let start = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?
        .and_hms_opt(0, 0, 0)?;
    let Some(time) = time.filter(|time| !time.is_empty()) else {
        let unit = match (month, day) {
            (None, _) => Unit::Year,
            (_, None) => Unit::Month,
            _ => Unit::Day,
        };
        return whole(nanos(&to_utc(start, zone)?)?, unit, zone);
    };
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, offset) = time.split_at(zone_at);
    let (whole_seconds, fraction) = match clock.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (clock, None),
    };
    let mut parts = whole_seconds.split(':');
    let hour: i64 = number(parts.next()?, 2)?;
    let minute: Option<i64> = parts
        .next()
        .map(|p| number(p, 2).ok_or(()))
        .transpose()
        .ok()?;
    let second: Option<i64> = parts
        .next()
        .map(|p| number(p, 2).ok_or(()))
        .transpose()
        .ok()?;
    if parts.next().is_some()
        || hour > 23
        || minute > Some(59)
        || second > Some(59)
        || (fraction.is_some() && second.is_none())
    {
        return None;
    }
    let (nanosecond, mut length) = match (fraction, second, minute) {
        (Some(fraction), ..) => {
            if fraction.is_empty()
                || fraction.len() > 9
                || !fraction.bytes().all(|b| b.is_ascii_digit())
            {
                return None;
            }
            // Elasticsearch's dates are exact to the millisecond: so far a shorter fraction is exact too.
            let missing = u32::try_from(9 - fraction.len()).ok()?;
            let unit = 10_i64.pow(missing);
            (fraction.parse::<i64>().ok()? * unit, unit.min(1_000_000))
        }
        (None, Some(_), _) => (0, 1_000_000_000),
        (None, None, Some(_)) => (0, 60_000_000_000),
        (None, None, None) => (0, 3_600_000_000_000),
    };
    length -= 1;
    let of_day =
        TimeDelta::try_seconds(hour * 3600 + minute.unwrap_or(0) * 60 + second.unwrap_or(0))?;
    let local = start
        .checked_add_signed(of_day)?
        .checked_add_signed(TimeDelta::nanoseconds(nanosecond))?;
    let utc = match offset {
        "" => to_utc(local, zone)?,
        "Z" => local.and_utc(),
        offset => {
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            let digits: String = offset[1..].chars().filter(|c| *c != ':').collect();
            let (hours, minutes) = match digits.len() {
                2 => (number::<i64>(&digits, 2)?, 0),
                4 => (
                    number::<i64>(&digits[..2], 2)?,
                    number::<i64>(&digits[2..], 2)?,
                ),
                _ => return None,
            };
            if hours > 18 || minutes > 59 {
                return None;
            }
            let shift = TimeDelta::try_seconds(sign * (hours * 3600 + minutes * 60))?;
            local.and_utc().checked_sub_signed(shift)?
        }
    };
    let first = nanos(&utc)?;
    Some(Span {
        first,
        last: first.checked_add(length)?,
    })
}

fn number<T: std::str::FromStr>(text: &str, digits: usize) -> Option<T> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(text: &str, zone: Tz) -> String {
        let now = "2025-03-12T10:20:30.5Z".parse().unwrap();
        match read(text, &Clock { now, zone }, 0) {
            Ok(span) => {
                let show = |n| {
                    DateTime::from_timestamp_nanos(n)
                        .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                };
                format!("{} {}", show(span.first), show(span.last))
            }
            Err(error) => format!("error {}", error.offset),
        }
    }

    #[test]
    fn times_are_kibanas() {
        for (text, wanted) in [
            ("now", "2025-03-12T10:20:30.500Z 2025-03-12T10:20:30.500Z"),
            (
                "now-15m",
                "2025-03-12T10:05:30.500Z 2025-03-12T10:05:30.500Z",
            ),
            (
                "now/d",
                "2025-03-12T00:00:00Z 2025-03-12T23:59:59.999999999Z",
            ),
            (
                "now/w",
                "2025-03-10T00:00:00Z 2025-03-16T23:59:59.999999999Z",
            ),
            (
                "now-1M/M",
                "2025-02-01T00:00:00Z 2025-02-28T23:59:59.999999999Z",
            ),
            (
                "now/y",
                "2025-01-01T00:00:00Z 2025-12-31T23:59:59.999999999Z",
            ),
            (
                "now+1d-2h",
                "2025-03-13T08:20:30.500Z 2025-03-13T08:20:30.500Z",
            ),
            (
                "2025-03-01",
                "2025-03-01T00:00:00Z 2025-03-01T23:59:59.999999999Z",
            ),
            (
                "2024-02",
                "2024-02-01T00:00:00Z 2024-02-29T23:59:59.999999999Z",
            ),
            (
                "2025",
                "2025-01-01T00:00:00Z 2025-12-31T23:59:59.999999999Z",
            ),
            (
                "2025-03-01T08",
                "2025-03-01T08:00:00Z 2025-03-01T08:59:59.999999999Z",
            ),
            (
                "2025-03-01T08:30:00.000Z",
                "2025-03-01T08:30:00Z 2025-03-01T08:30:00.000999999Z",
            ),
            (
                "2025-03-01T08:30:00+02:00",
                "2025-03-01T06:30:00Z 2025-03-01T06:30:00.999999999Z",
            ),
            (
                "2025-01-31||+1M/d",
                "2025-02-28T00:00:00Z 2025-02-28T23:59:59.999999999Z",
            ),
            (
                "1740787200000",
                "2025-03-01T00:00:00Z 2025-03-01T00:00:00.000999999Z",
            ),
            ("now-", "error 4"),
            ("now-5", "error 5"),
            ("now*1d", "error 3"),
            ("now/2d", "error 4"),
            ("yesterday", "error 0"),
            ("2025-13-01", "error 0"),
            ("2025-3-1", "error 0"),
            ("", "error 0"),
        ] {
            assert_eq!(span(text, Tz::UTC), wanted, "{text}");
        }
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let zone = Tz::Europe__Berlin;
        assert_eq!(
            span("2025-03-30", zone),
            "2025-03-29T23:00:00Z 2025-03-30T21:59:59.999999999Z"
        );
        assert_eq!(
            span("2025-03-30T02:30:00", zone),
            "2025-03-30T01:30:00Z 2025-03-30T01:30:00.999999999Z"
        );
        assert_eq!(span("2025-10-26/d", zone), "error 0");
        assert_eq!(
            span("2025-10-26||/d", zone),
            "2025-10-25T22:00:00Z 2025-10-26T22:59:59.999999999Z"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(now|2025-03-01\\|\\||)[-+/0-9yMwdhmsTZ:.]{0,16}") {
            for zone in [Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kathmandu] {
                let clock = Clock { now: "2025-03-30T01:30:00Z".parse().unwrap(), zone };
                if let Ok(span) = read(&text, &clock, 0) {
                    prop_assert!(span.first <= span.last);
                }
            }
        }
    }
}
