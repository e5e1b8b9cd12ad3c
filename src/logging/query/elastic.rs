//! A plan as Elasticsearch's and OpenSearch's query DSL.
//!
//! Words have been analysed already, so text fields are asked by term queries where one word is meant.

use super::fields::FieldType;
use super::pattern::Pattern;
use super::plan::{Check, Plan};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use std::ops::Bound;

/// The query.
pub fn dsl(plan: &Plan) -> Value {
    match plan {
        Plan::All => json!({"match_all": {}}),
        Plan::Nothing => json!({"match_none": {}}),
        Plan::And(all) => json!({"bool": {"filter": all.iter().map(dsl).collect::<Vec<_>>()}}),
        Plan::Or(all) => {
            json!({"bool": {"should": all.iter().map(dsl).collect::<Vec<_>>(), "minimum_should_match": 1}})
        }
        Plan::Not(inner) => json!({"bool": {"must_not": [dsl(inner)]}}),
        Plan::Nested(path, inner) => {
            json!({"nested": {"path": path, "query": dsl(inner), "ignore_unmapped": true}})
        }
        Plan::Field(name, check) => field(name, check),
    }
}

fn field(name: &str, check: &Check) -> Value {
    match check {
        Check::Of(_, inner) => field(name, inner),
        Check::Exists(FieldType::Nested) => json!({"match_none": {}}),
        Check::Exists(_) => json!({"exists": {"field": name}}),
        Check::Word(text) | Check::Is(text) => json!({"term": {name: {"value": text}}}),
        Check::Phrase(words, slop) => {
            json!({"match_phrase": {name: {"query": words.join(" "), "slop": slop}}})
        }
        Check::WordLike(pattern) | Check::Like(pattern) => match pattern {
            Pattern::Wild(wild) => json!({"wildcard": {name: {"value": wild.text()}}}),
            Pattern::Regex(source, _) => json!({"regexp": {name: {"value": source}}}),
            Pattern::Near(word, edits) => {
                json!({"fuzzy": {name: {"value": word, "fuzziness": edits, "max_expansions": 1000}}})
            }
        },
        Check::WordRange(low, high) | Check::Range(low, high) => {
            range(name, low, high, |text| json!(text))
        }
        Check::Long(low, high) => {
            let bound = |n: i64, open: i64| {
                if n == open {
                    Bound::Unbounded
                } else {
                    Bound::Included(n)
                }
            };
            range(name, &bound(*low, i64::MIN), &bound(*high, i64::MAX), |n| {
                json!(n)
            })
        }
        Check::Double(low, high) => range(name, low, high, |n| json!(n)),
        Check::Bool(is) => json!({"term": {name: {"value": is}}}),
        Check::Date(low, high) => {
            let bound = |n: i64, open: i64| {
                if n == open {
                    Bound::Unbounded
                } else {
                    Bound::Included(n)
                }
            };
            let text = |n: &i64| {
                json!(
                    DateTime::from_timestamp_nanos(*n).to_rfc3339_opts(SecondsFormat::Nanos, true)
                )
            };
            range(name, &bound(*low, i64::MIN), &bound(*high, i64::MAX), text)
        }
    }
}

fn range<T>(name: &str, low: &Bound<T>, high: &Bound<T>, value: impl Fn(&T) -> Value) -> Value {
    let mut bounds = serde_json::Map::new();
    match low {
        Bound::Included(v) => drop(bounds.insert("gte".to_owned(), value(v))),
        Bound::Excluded(v) => drop(bounds.insert("gt".to_owned(), value(v))),
        Bound::Unbounded => {}
    }
    match high {
        Bound::Included(v) => drop(bounds.insert("lte".to_owned(), value(v))),
        Bound::Excluded(v) => drop(bounds.insert("lt".to_owned(), value(v))),
        Bound::Unbounded => {}
    }
    if bounds.is_empty() {
        return json!({"exists": {"field": name}});
    }
    json!({"range": {name: bounds}})
}
