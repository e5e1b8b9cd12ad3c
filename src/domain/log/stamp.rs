//! Instants of log events, to the nanosecond.
//!
//! Written and read without `chrono`'s general parser: both happen once an event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Nanoseconds since 1970, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl Stamp {
    /// The instant of a text such as `2025-03-01T08:00:00.123456789Z`, or of any other RFC 3339 form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Some(stamp) = parse_utc(text) {
            return Some(stamp);
        }
        let text = std::str::from_utf8(text).ok()?;
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        at.timestamp_nanos_opt().map(Self)
    }

    /// Appends RFC 3339 with `Z` and the shortest of 0, 3, 6 or 9 fractional digits, as Vector does.
    pub fn write(self, out: &mut Vec<u8>) {
        let nanos = self.0.rem_euclid(SECOND);
        let digits = match nanos {
            0 => 0,
            n if n % 1_000_000 == 0 => 3,
            n if n % 1_000 == 0 => 6,
            _ => 9,
        };
        self.write_digits(digits, out);
    }

    /// Appends RFC 3339 with `Z` and this many fractional digits (0 to 9); the rest is cut.
    pub fn write_digits(self, digits: usize, out: &mut Vec<u8>) {
        let (seconds, nanos) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        decimal(out, year, 4);
        out.push(b'-');
        decimal(out, month, 2);
        out.push(b'-');
        decimal(out, day, 2);
        out.push(b'T');
        decimal(out, second / 3600, 2);
        out.push(b':');
        decimal(out, second / 60 % 60, 2);
        out.push(b':');
        decimal(out, second % 60, 2);
        if digits > 0 {
            out.push(b'.');
            let mut all = [b'0'; 9];
            let mut rest = nanos;
            for digit in all.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            out.extend_from_slice(&all[..digits.min(9)]);
        }
        out.push(b'Z');
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// `YYYY`, `MM` and `DD` of the day in UTC.
    pub fn date(self) -> (i64, i64, i64) {
        civil(self.0.div_euclid(SECOND * DAY))
    }
}

impl From<DateTime<Utc>> for Stamp {
    fn from(at: DateTime<Utc>) -> Self {
        // Before 1677 or after 2262 there are no nanoseconds in 64 bits; nothing is logged then.
        Self(at.timestamp_nanos_opt().unwrap_or_default())
    }
}

impl From<Stamp> for DateTime<Utc> {
    fn from(stamp: Stamp) -> Self {
        DateTime::from_timestamp_nanos(stamp.0)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn decimal(out: &mut Vec<u8>, number: i64, width: usize) {
    let mut digits = [b'0'; 8];
    let mut rest = number;
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = match month_from_march {
        m if m < 10 => m + 3,
        m => m - 9,
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970 (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn number(text: &[u8]) -> Option<i64> {
    let mut number = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

/// `YYYY-MM-DDTHH:MM:SS[.digits]Z`, the form that Docker writes.
fn parse_utc(text: &[u8]) -> Option<Stamp> {
    let text = text.strip_suffix(b"Z")?;
    let (whole, fraction) = text.split_at_checked(19)?;
    let punctuated = whole[4] == b'-'
        && whole[7] == b'-'
        && whole[10] == b'T'
        && whole[13] == b':'
        && whole[16] == b':';
    if !punctuated {
        return None;
    }
    let (year, month, day) = (
        number(&whole[..4])?,
        number(&whole[5..7])?,
        number(&whole[8..10])?,
    );
    let (hour, minute, second) = (
        number(&whole[11..13])?,
        number(&whole[14..16])?,
        number(&whole[17..19])?,
    );
    // The last days of a month and leap seconds are left to the general parser, which knows calendars.
    let usual_day = (1..=28).contains(&day) || (day <= 30 && month != 2);
    let usual = (1678..=2261).contains(&year) && (1..=12).contains(&month) && usual_day && day > 0;
    if !usual || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let scale = 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
            number(digits)? * scale
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some(Stamp(seconds * SECOND + nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    #[test]
    fn odd_forms_are_read_as_chrono_reads_them() {
        for text in [
            "2024-02-29T23:59:59.5Z",
            "2024-12-31T00:00:00Z",
            "2025-03-01T09:00:00.25+01:00",
            "1970-01-01T00:00:00.000000001Z",
        ] {
            let wanted = DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_nanos_opt();
            assert_eq!(Stamp::parse(text.as_bytes()).map(|s| s.0), wanted, "{text}");
        }
        for text in [
            "",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01 00:00",
            "x",
        ] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_is_written_as_chrono_writes_it_and_read_back(
            nanos in -9_000_000_000_000_000_000_i64..9_000_000_000_000_000_000,
            coarse in prop::sample::select(vec![1_i64, 1_000, 1_000_000, 1_000_000_000]),
        ) {
            let stamp = Stamp(nanos / coarse * coarse);
            let wanted = DateTime::<Utc>::from(stamp).to_rfc3339_opts(SecondsFormat::AutoSi, true);
            prop_assert_eq!(stamp.to_string(), wanted.clone());
            prop_assert_eq!(Stamp::parse(wanted.as_bytes()), Some(stamp));
        }
    }
}
