//! Fuzzes the queries: no text makes a parser panic, hang or exhaust memory, errors are at characters that
//! exist, what KQL prints is read as the same, and what is accepted can be carried out and rendered.

#![no_main]

#[expect(dead_code, reason = "one target does not call everything")]
#[path = "../../src/logging/query/mod.rs"]
mod query;

use libfuzzer_sys::fuzz_target;
use query::{Clock, FieldType, Fields, Language, elastic, kql, parse, plan, print, words};
use serde_json::json;

fn known() -> Fields {
    let mut fields = query::fields::of_events();
    for (name, kind) in [
        ("status", FieldType::Long),
        ("latency", FieldType::Double),
        ("ok", FieldType::Boolean),
        ("spans", FieldType::Nested),
        ("spans.name", FieldType::Keyword),
        ("mixed", FieldType::Keyword),
        ("mixed", FieldType::Long),
    ] {
        fields.add(name, kind);
    }
    fields
}

fuzz_target!(|text: &str| {
    let clock = Clock { now: chrono::DateTime::UNIX_EPOCH, zone: chrono_tz::Tz::Europe__Berlin };
    let characters = text.chars().count();
    let event = json!({"message": text, "app": "a", "status": 5, "spans": [{"name": "x"}], "mixed": [1, "b"]});
    let event = event.as_object().expect("an object");
    for language in [Language::Kql, Language::Lucene] {
        let expr = match parse(text, language) {
            Ok(expr) => expr,
            Err(error) => {
                assert!(error.offset <= characters, "{error}");
                assert_eq!(error.pointed(text).lines().count(), 2);
                continue;
            }
        };
        if language == Language::Kql && let Some(printed) = print::print(&expr) {
            let again = kql::parse(&printed).expect("what is printed is read");
            assert_eq!(print::print(&again), Some(printed), "printing is stable");
        }
        match plan::plan(&expr, &known(), &clock) {
            Ok(plan) => {
                let _ = plan.matches(event);
                let _ = elastic::dsl(&plan);
            }
            Err(error) => assert!(error.offset <= characters, "{error}"),
        }
    }
    let mut last = 0;
    words::words(text, |from, to| {
        assert!(last <= from && from < to && text.is_char_boundary(to));
        last = to;
    });
    if let Ok(span) = query::time::read(text, &clock, 0) {
        assert!(span.first <= span.last);
    }
});
