//! Times for people: ages such as `3m12s`, and times given on the command line.

use chrono::{DateTime, Duration, SecondsFormat, Utc};

/// An age: `42s`, `3m12s`, `2h5m`, `3d4h`. Negative ages (clocks differ) count as none.
pub fn age(span: Duration) -> String {
    let seconds = span.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// The age of a moment, or `-` where there is none.
pub fn since(moment: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    moment.map_or_else(|| "-".to_owned(), |moment| age(now - moment))
}

/// Milliseconds below a tenth of a second, seconds with a tenth below a minute (`2.1s`), else an age.
pub fn took(span: Duration) -> String {
    let milliseconds = span.num_milliseconds().max(0);
    if milliseconds >= 60_000 {
        return age(span);
    }
    if milliseconds < 100 {
        return format!("{milliseconds}ms");
    }
    format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// RFC 3339 in UTC with milliseconds, as the API writes times.
pub fn stamp(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads `10m` (that long before `now`) or a time of RFC 3339.
///
/// # Errors
/// What was expected.
pub fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.to_utc());
    }
    let span = crate::domain::spec::model::duration_text::parse(text)
        .and_then(|span| Duration::from_std(span).ok())
        .ok_or(
            "expected an age such as 30s, 10m, 2h or 1d, or a time such as 2026-01-31T08:30:00Z",
        )?;
    Ok(now - span)
}

/// Bytes as people say them: `32 MiB`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    for (unit, size) in UNITS {
        if bytes >= size {
            return match bytes % size * 10 / size {
                0 => format!("{} {unit}", bytes / size),
                tenth => format!("{}.{tenth} {unit}", bytes / size),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (192, "3m12s"),
            (3600, "1h0m"),
            (7500, "2h5m"),
            (273_600, "3d4h"),
        ] {
            assert_eq!(age(Duration::seconds(seconds)), text);
        }
        assert_eq!(took(Duration::milliseconds(2149)), "2.1s");
        assert_eq!(took(Duration::seconds(61)), "1m1s");
        assert_eq!(took(Duration::milliseconds(40)), "40ms");
    }

    #[test]
    fn moments_are_ages_or_rfc_3339() {
        let now = DateTime::parse_from_rfc3339("2026-01-31T08:30:00Z")
            .unwrap()
            .to_utc();
        assert_eq!(moment("10m", now).unwrap(), now - Duration::minutes(10));
        assert_eq!(moment("2026-01-31T09:30:00+01:00", now).unwrap(), now);
        assert!(moment("yesterday", now).unwrap_err().contains("10m"));
    }

    #[test]
    fn bytes_are_readable() {
        for (count, text) in [
            (12, "12 B"),
            (33_554_432, "32 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (1024, "1 KiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
