//! Reads the server's answers, and writes what it is asked in its own terms.

use crate::ports::log_index::{LogIndexError, StatsRequest, StatsRow, ValueCount};
use chrono::DateTime;
use serde_json::Value;

pub(super) fn millis(at: i64) -> String {
    at.div_euclid(1_000_000).to_string()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "milliseconds of real times are far below i64's range"
)]
pub(super) fn from_millis(ms: f64) -> i64 {
    (ms as i64).saturating_mul(1_000_000)
}

pub(super) fn values(buckets: &Value) -> Vec<ValueCount> {
    let all = buckets["buckets"].as_array().into_iter().flatten();
    let value = |bucket: &Value| match bucket["key_as_string"].as_str() {
        // Booleans come as numbers with their words.
        Some("true") => Value::Bool(true),
        Some("false") => Value::Bool(false),
        _ => bucket["key"].clone(),
    };
    let one = |bucket: &Value| ValueCount {
        value: value(bucket),
        count: bucket["doc_count"].as_u64().unwrap_or_default(),
    };
    all.map(one).collect()
}

/// A cursor is the sort values of a hit.
pub(super) fn sort_of(cursor: &str) -> Result<Value, LogIndexError> {
    let read = serde_json::from_str(cursor).ok().filter(Value::is_array);
    read.ok_or_else(|| LogIndexError::Request(format!("{cursor:?} is no cursor of an event")))
}

#[expect(clippy::cast_precision_loss, reason = "rates are floats")]
pub(super) fn add_rows(
    value: Option<Value>,
    bars: &Value,
    request: &StatsRequest,
    edges: &[i64],
    rows: &mut Vec<StatsRow>,
) {
    for (bucket, span) in bars["buckets"]
        .as_array()
        .into_iter()
        .flatten()
        .zip(edges.windows(2))
    {
        let count = bucket["doc_count"].as_u64().unwrap_or_default();
        if count == 0 {
            continue;
        }
        let stats = &bucket["stats"];
        let quantiles = bucket["quantiles"]["values"]
            .as_array()
            .into_iter()
            .flatten();
        rows.push(StatsRow {
            value: value.clone(),
            from: request
                .interval
                .is_some()
                .then(|| DateTime::from_timestamp_nanos(span[0])),
            count,
            rate: count as f64 / ((span[1] - span[0]) as f64 / 1e9).max(1e-9),
            numbers: stats["count"].as_u64().unwrap_or_default(),
            min: stats["min"].as_f64(),
            max: stats["max"].as_f64(),
            mean: stats["avg"].as_f64(),
            quantiles: quantiles.filter_map(|q| q["value"].as_f64()).collect(),
        });
    }
}
