//! Every query finds exactly the events that fulfil its plan one by one.

use super::index_tests::{clock, event, kql, second};
use super::*;
use crate::logging::query::{Clock as QueryClock, FieldType, Language, read};
use crate::ports::log_index::LogSearch;
use chrono::Utc;
use proptest::prelude::*;
use serde_json::{Value, json};

fn field_names() -> Fields {
    let mut fields = fields::of_events();
    for (name, kind) in [
        ("body", FieldType::Text),
        ("spans", FieldType::Nested),
        ("spans.name", FieldType::Keyword),
        ("spans.ms", FieldType::Long),
        ("when", FieldType::Date),
    ] {
        fields.add(name, kind);
    }
    fields
}

fn some_event() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("alpha"),
        Just("Beta"),
        Just("gamma-1"),
        Just("a.b"),
        Just("10.0.0.1"),
        Just("true"),
        Just("7")
    ];
    let text = prop::collection::vec(word.clone(), 0..5).prop_map(|words| words.join(" "));
    let number = prop_oneof![
        (-3_i64..10).prop_map(Value::from),
        (-3_i64..10).prop_map(|n| json!(n as f64 / 2.0))
    ];
    let span = (word.clone(), 0_i64..5).prop_map(|(name, ms)| json!({"name": name, "ms": ms}));
    let any = prop_oneof![
        number.clone(),
        word.clone().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null)
    ];
    let options = (
        prop::option::of(text.clone()),
        prop::option::of(text),
        prop::option::of(word.clone()),
        prop::option::of(0_i64..3),
        prop::option::of(number),
        prop::collection::vec(span, 0..3),
        prop::collection::vec(any, 0..3),
        prop::option::of(word),
    );
    options.prop_map(
        |(message, body, app, instance, number, spans, mixed, team)| {
            let all = [
                ("message", message.map(Value::from)),
                ("body", body.map(Value::from)),
                ("app", app.map(Value::from)),
                ("instance", instance.map(Value::from)),
                ("number", number),
                ("spans", Some(spans.into())),
                ("mixed", Some(mixed.into())),
                ("label", team.map(|team| json!({"team": team}))),
                (
                    "when",
                    instance.map(|n| json!(format!("2025-03-0{}", n + 1))),
                ),
            ];
            let kept = all
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(kept.collect())
        },
    )
}

fn some_query() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("alpha"),
        Just("beta"),
        Just("Beta"),
        Just("gamma-1"),
        Just("gam*"),
        Just("*a*"),
        Just("7"),
        Just("2"),
        Just("1.5"),
        Just("true"),
        Just("\"alpha beta\""),
        Just("\"gamma 1\""),
        Just("a.b"),
        Just("*"),
        Just("alpha 7"),
        Just("10.0.0.1"),
    ];
    let of_text = (
        prop_oneof![
            Just("message"),
            Just("body"),
            Just("app"),
            Just("mixed"),
            Just("label.team"),
            Just("la*"),
            Just("nothing")
        ],
        value.clone(),
    )
        .prop_map(|(field, value)| format!("{field}: {value}"));
    let of_number = (
        prop_oneof![Just("number"), Just("instance"), Just("mixed")],
        prop_oneof![Just(":"), Just(">"), Just("<="), Just("<")],
        -3_i64..8,
    )
        .prop_map(|(field, operator, n)| format!("{field} {operator} {n}"));
    let nested = prop_oneof![
        Just("spans: { name: alpha and ms > 1 }".to_owned()),
        Just("spans: { not name: alpha }".to_owned()),
        Just("spans: { ms: * }".to_owned()),
        Just("spans: { name: B* or ms < 2 }".to_owned()),
    ];
    let others = prop_oneof![
        Just("when < \"2025-03-02\"".to_owned()),
        Just("when: \"2025-03\"".to_owned()),
        Just("timestamp > \"2025-03-01\"".to_owned()),
        Just("event_id: *".to_owned()),
        Just("label: *".to_owned()),
        value.prop_map(ToOwned::to_owned),
    ];
    let leaf = prop_oneof![4 => of_text, 2 => of_number, 1 => nested, 2 => others];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Every query finds exactly the events that fulfil its plan one by one.
    #[test]
    fn the_index_finds_what_the_plan_says(
        events in prop::collection::vec((some_event(), 0_u32..3), 1..40),
        queries in prop::collection::vec(some_query(), 40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fields = field_names();
        let index = Index::open(Options::in_memory(fields.clone()), clock()).unwrap();
        let mut whole = Vec::new();
        let mut kept = Vec::new();
        for (n, (json, day)) in (0_u32..).zip(events) {
            let event = event(n, second(day + 1, n), json);
            kept.push(serde_json::from_slice::<Event>(&event.json).unwrap());
            whole.push(event);
        }
        for part in whole.chunks(15) {
            runtime.block_on(index.append(part.to_vec())).unwrap();
        }
        let mut known = fields;
        index.days_between(i64::MIN, i64::MAX).iter().for_each(|day| known.merge(&day.fields(&field_names())));
        let clock = QueryClock { now: Utc::now(), zone: chrono_tz::Tz::UTC };
        for query in queries {
            let plan = match read(&query, Language::Kql, &known, &clock) {
                Ok(plan) => plan,
                Err(error) => {
                    prop_assert!(error.refusal == crate::logging::query::Refusal::Query, "{}: {}", query, error);
                    continue;
                }
            };
            let wanted = kept.iter().filter(|event| plan.matches(event)).count() as u64;
            let found = runtime.block_on(index.count(kql(&query))).unwrap();
            prop_assert_eq!(found, wanted, "{}: {:?}", query, plan);
        }
    }
}
