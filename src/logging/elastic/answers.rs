//! Reads the server's answers, and writes what it is asked in its own terms.

use crate::ports::log_index::{Bar, LogIndexError, StatsRequest, StatsRow, ValueCount};
use chrono::DateTime;
use serde_json::{Value, json};

fn millis(at: i64) -> i64 {
    at.div_euclid(1_000_000)
}

/// What counts the events between each two edges: a histogram where all bars have one width, which servers are best
/// at; else a filter for each. (Not ranges: OpenSearch takes nanoseconds for milliseconds in these.)
pub(super) fn bars(field: &str, edges: &[i64]) -> Value {
    let mut widths = edges
        .windows(2)
        .map(|pair| millis(pair[1]) - millis(pair[0]));
    let width = widths.next().unwrap_or_default();
    if width > 0 && widths.all(|other| other == width) {
        let offset = millis(edges[0]).rem_euclid(width);
        return json!({"date_histogram": {
            "field": field, "fixed_interval": format!("{width}ms"), "offset": format!("{offset}ms"), "min_doc_count": 1,
        }});
    }
    let filters: Vec<Value> = edges
        .windows(2)
        .map(|pair| {
            let (from, to) = (millis(pair[0]), millis(pair[1]));
            json!({"range": {field: {"gte": from, "lt": to, "format": "epoch_millis"}}})
        })
        .collect();
    json!({"filters": {"filters": filters}})
}

/// The buckets of [`bars`], one for each two edges; none where nothing is.
pub(super) fn buckets<'a>(bars: &'a Value, edges: &[i64]) -> Vec<Option<&'a Value>> {
    let spans = edges.len().saturating_sub(1);
    let all = bars["buckets"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if all.iter().all(|bucket| bucket["key"].is_null()) {
        return (0..spans).map(|n| all.get(n)).collect();
    }
    let mut found = vec![None; spans];
    for bucket in all {
        let key = bucket["key"].as_i64().unwrap_or_default();
        let at = edges.partition_point(|edge| millis(*edge) <= key);
        if let Some(place) = at.checked_sub(1).and_then(|n| found.get_mut(n)) {
            *place = Some(bucket);
        }
    }
    found
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

/// The bars, each broken down by the values that there are.
pub(super) fn histogram(aggregations: &Value, edges: &[i64]) -> Vec<Bar> {
    let counts = |bars: &Value| -> Vec<u64> {
        let found = buckets(bars, edges).into_iter();
        found
            .map(|bucket| {
                bucket
                    .and_then(|b| b["doc_count"].as_u64())
                    .unwrap_or_default()
            })
            .collect()
    };
    let by = &aggregations["by"];
    let each = by["buckets"].as_array().into_iter().flatten();
    let each: Vec<Vec<u64>> = each.map(|bucket| counts(&bucket["bars"])).collect();
    let values = values(by);
    let bar = |(n, (count, from)): (usize, (u64, &i64))| Bar {
        from: DateTime::from_timestamp_nanos(*from),
        count,
        by: values
            .iter()
            .zip(&each)
            .filter(|(_, counts)| counts[n] > 0)
            .map(|(value, counts)| ValueCount {
                value: value.value.clone(),
                count: counts[n],
            })
            .collect(),
    };
    let all = counts(&aggregations["bars"]).into_iter().zip(edges);
    all.enumerate().map(bar).collect()
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
    for (bucket, span) in buckets(bars, edges).into_iter().zip(edges.windows(2)) {
        let Some(bucket) = bucket else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_found_again_at_their_edges() {
        let ms = |n: i64| n * 1_000_000;
        let even = [ms(105), ms(110), ms(115), ms(120)];
        assert_eq!(bars("t", &even)["date_histogram"]["fixed_interval"], "5ms");
        let answer =
            json!({"buckets": [{"key": 105, "doc_count": 1}, {"key": 115, "doc_count": 2}]});
        let counts = |answer: &Value, edges: &[i64]| -> Vec<u64> {
            let found = buckets(answer, edges).into_iter();
            found
                .map(|b| b.map_or(0, |b| b["doc_count"].as_u64().unwrap()))
                .collect()
        };
        assert_eq!(counts(&answer, &even), [1, 0, 2]);
        // A day of 23 hours.
        let uneven = [ms(0), ms(24), ms(47)];
        assert_eq!(
            bars("t", &uneven)["filters"]["filters"][1]["range"]["t"]["lt"],
            47
        );
        let answer = json!({"buckets": [{"doc_count": 3}, {"doc_count": 0}]});
        assert_eq!(counts(&answer, &uneven), [3, 0]);
        assert_eq!(counts(&json!({}), &uneven), [0, 0]);
    }
}
