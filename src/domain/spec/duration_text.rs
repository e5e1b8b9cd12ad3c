//! Durations as text (`"30s"`), as all of our JSON and `lain.yaml` write them.
//!
//! Used through `#[serde(with = "duration_text")]` and by the parser of `lain.yaml`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::time::Duration;

/// Writes the shortest exact form: `90s`, `250ms`.
pub fn render(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// Reads `250ms`, `30s`, `5m`, `12h`, `10d`, with fractions such as `1.5s`.
pub fn parse(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.contains(['+', '-']) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    // A year is far beyond any sensible setting and far below what overflows.
    (seconds.is_finite() && seconds <= 366.0 * 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

/// serde: writes the text form.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&render(*duration))
}

/// serde: reads the text form.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is not a duration such as \"30s\"")))
}
