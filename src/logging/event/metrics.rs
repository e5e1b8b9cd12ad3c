//! Lines of metrics → events with numbers. Pure.
//!
//! The form is what LAIN's apps write into `monitor.log`, Open-Falcon's: an object with `metric`, `value`,
//! `counterType`, `timestamp` (seconds since 1970), `step` (seconds) and `tags` (`a=b,c=d`).

use super::parsed::Parsed;
use crate::domain::log::Stamp;
use serde_json::{Map, Number, Value};

/// The fields of a line; `None` for one that is no metric.
pub fn parse(line: &[u8]) -> Option<Parsed> {
    let object: Map<String, Value> = serde_json::from_slice(line.trim_ascii()).ok()?;
    let name = object.get("metric")?.as_str().filter(|n| !n.is_empty())?;
    let mut metric = Map::new();
    metric.insert("name".to_owned(), name.into());
    metric.insert("value".to_owned(), number(object.get("value")?)?.into());
    let kind = match object.get("counterType").and_then(Value::as_str) {
        Some(word) if word.eq_ignore_ascii_case("counter") => "counter",
        _ => "gauge",
    };
    metric.insert("type".to_owned(), kind.into());
    if let Some(step) = object.get("step").and_then(number) {
        metric.insert("step".to_owned(), step.into());
    }
    let tags = tags(object.get("tags"));
    if !tags.is_empty() {
        metric.insert("tags".to_owned(), tags.into());
    }
    if let Some(endpoint) = object.get("endpoint").and_then(Value::as_str) {
        metric.insert("endpoint".to_owned(), endpoint.into());
    }
    let at = object.get("timestamp").and_then(instant);
    Some(Parsed {
        at,
        level: None,
        fields: [("metric".to_owned(), Value::Object(metric))]
            .into_iter()
            .collect(),
    })
}

/// A number, also where it is written as text.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => {
            let text = text.trim();
            text.parse::<i64>()
                .map(Number::from)
                .ok()
                .or_else(|| Number::from_f64(text.parse().ok()?))
        }
        _ => None,
    }
}

/// Seconds since 1970, with a fraction if need be; milliseconds where the number is too large for seconds.
fn instant(value: &Value) -> Option<Stamp> {
    let number = number(value)?.as_f64()?;
    let seconds = if number > 1e11 { number / 1e3 } else { number };
    // After 2262 there are no nanoseconds in 64 bits.
    (1.0..9.2e9)
        .contains(&seconds)
        .then(|| Stamp((seconds * 1e3).round() as i64 * 1_000_000))
}

/// Tags as an object, from `a=b,c=d` or an object.
fn tags(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(tags)) => tags
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                let text = value.as_str().map(str::to_owned);
                (
                    key.clone(),
                    text.unwrap_or_else(|| value.to_string()).into(),
                )
            })
            .collect(),
        Some(Value::String(text)) => text
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().into()))
            .collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metrics_have_numbers() {
        for (line, at, wanted) in [
            (
                r#"{"metric":"requests","value":12.5,"counterType":"GAUGE","timestamp":1740816000,"step":60}"#,
                Some("2025-03-01T08:00:00Z"),
                json!({"name": "requests", "value": 12.5, "type": "gauge", "step": 60}),
            ),
            (
                r#" {"endpoint":"h1","metric":"x.y","value":"7","counterType":"counter","timestamp":"1740816000.5","tags":"a=b, c=d,e"} "#,
                Some("2025-03-01T08:00:00.500Z"),
                json!({"name": "x.y", "value": 7, "type": "counter", "tags": {"a": "b", "c": "d"}, "endpoint": "h1"}),
            ),
            (
                r#"{"metric":"m","value":-1,"timestamp":1740816000123,"tags":{"n":1,"z":null}}"#,
                Some("2025-03-01T08:00:00.123Z"),
                json!({"name": "m", "value": -1, "type": "gauge", "tags": {"n": "1"}}),
            ),
            (
                r#"{"metric":"m","value":0}"#,
                None,
                json!({"name": "m", "value": 0, "type": "gauge"}),
            ),
        ] {
            let parsed = parse(line.as_bytes()).unwrap();
            assert_eq!(parsed.at.map(|at| at.to_string()).as_deref(), at, "{line}");
            assert_eq!(parsed.fields["metric"], wanted, "{line}");
        }
        for line in [
            "x",
            "{}",
            "[]",
            r#"{"metric":"m"}"#,
            r#"{"metric":"","value":1}"#,
            r#"{"metric":"m","value":"many"}"#,
            r#"{"metric":"m","value":"NaN"}"#,
            r#"{"metric":3,"value":1}"#,
        ] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
