//! Queries as tables and as properties: what is read, where errors are, that nothing panics and that what
//! is printed is read as the same.

use super::ast::{Expr, Field, Test};
use super::fields::of_events;
use super::kql::parse;
use super::pattern::{Piece, Wild};
use super::print::print;
use super::*;
use chrono_tz::Tz;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::ops::Bound;

fn clock() -> Clock {
    Clock {
        now: "2025-03-01T10:00:00Z".parse().unwrap(),
        zone: Tz::UTC,
    }
}

fn fields() -> Fields {
    let mut fields = of_events();
    for (name, kind) in [
        ("status", FieldType::Long),
        ("latency_ms", FieldType::Double),
        ("ok", FieldType::Boolean),
        ("tags", FieldType::Keyword),
        ("label.team", FieldType::Keyword),
        ("spans", FieldType::Nested),
        ("spans.name", FieldType::Keyword),
        ("spans.ms", FieldType::Long),
    ] {
        fields.add(name, kind);
    }
    fields
}

fn finds(query: &str, language: Language, event: &Value) -> Result<bool, QueryError> {
    let plan = read(query, language, &fields(), &clock())?;
    Ok(plan.matches(event.as_object().unwrap()))
}

#[test]
fn errors_point_at_the_character() {
    for (query, offset) in [
        ("level:INFO or (", 15),
        ("app:\"x", 4),
        ("status >= ", 10),
        ("message:)", 8),
        ("not not a", 4),
        ("a and", 5),
        ("(a", 2),
        ("a)", 1),
        ("a b: c d: e", 8),
        ("a \"b\"", 2),
        ("f: \\x", 3),
        ("f: {", 4),
        ("f: { a: b", 9),
        ("f > a*", 4),
        (":", 0),
        ("a: b not c", 5),
    ] {
        match parse(query) {
            // A trailing "and" without a space after it is a word, as in Kibana.
            Ok(expr) => assert!(query == "a and", "{query}: {expr:?}"),
            Err(error) => assert_eq!(error.offset, offset, "{query}: {error}"),
        }
    }
}

#[test]
fn what_cannot_be_answered_is_said_at_its_value() {
    for (query, offset, word) in [
        ("status: abc", 8, "numbers"),
        ("status: 5*", 8, "text"),
        ("ok: maybe", 4, "true or false"),
        ("timestamp: yesterday", 11, "no time"),
        ("spans.name: x", 0, "braces"),
        ("app: { a: b }", 0, "no nested"),
        ("level: null", 7, "not level: *"),
        ("latency_ms > x", 13, "numbers"),
    ] {
        let error = read(query, Language::Kql, &fields(), &clock()).unwrap_err();
        assert_eq!(
            (error.refusal, error.offset),
            (Refusal::Query, offset),
            "{query}: {error}"
        );
        assert!(error.message.contains(word), "{query}: {error}");
    }
}

#[test]
fn each_form_finds_what_it_should() {
    let event = json!({
        "timestamp": "2025-03-01T08:30:00.123456789Z", "message": "cannot connect to 10.0.0.1:8080, order-id 7",
        "app": "shop", "level": "WARN", "status": 503, "latency_ms": 12.5, "ok": false, "tags": ["a", "B c"],
        "label": {"team": "core", "com.example.tier": "gold"}, "spans": [{"name": "db", "ms": 5}, {"name": "http", "ms": 90}],
    });
    for (query, found) in [
        ("", true),
        ("*", true),
        ("cannot connect", true),
        ("CONNECT", true),
        ("503", true),
        ("shop", true),
        ("sho", false),
        ("\"order id\"", true),
        ("\"id order\"", false),
        ("message: \"connect to\"", true),
        ("message: conn*", true),
        ("message: nothing conn*", true),
        ("tags: B c", true),
        ("tags: \"b c\"", false),
        ("tags: B*", true),
        ("status >= 500 and status < 504", true),
        ("status > 503", false),
        ("status: (404 or 503)", true),
        ("status: 503.0", true),
        ("latency_ms: 12.5", true),
        ("latency_ms <= 12.4", false),
        ("ok: false", true),
        ("ok: true", false),
        ("label.team: core", true),
        ("label*: core", true),
        ("label: *", true),
        ("unknown: x", false),
        ("not unknown: x", true),
        ("spans: { name: db and ms < 10 }", true),
        ("spans: { name: http and ms < 10 }", false),
        ("spans: { not name: db }", true),
        ("not spans: { name: db }", false),
        ("spans: { name: d* }", true),
        ("timestamp: \"2025-03-01T08\"", true),
        ("timestamp < \"2025-03-01T08:30:00.123456789Z\"", false),
        ("timestamp <= \"2025-03-01T08:30:00.123456789Z\"", true),
        ("timestamp > now-2h", true),
        ("timestamp >= now/h", false),
        ("NOT level: INFO AND app: shop", true),
        ("level: warn", false),
        ("(level: WARN or x) and not (app: y)", true),
        ("message: \\(", false),
        ("app: s\\u0068op", true),
        ("app >= \"s\" and app < \"t\"", true),
        ("timestamp: 2025\\-03", false),
    ] {
        match finds(query, Language::Kql, &event) {
            Ok(is) => assert_eq!(is, found, "{query}"),
            Err(error) => assert!(query.contains("\\-"), "{query}: {error}"),
        }
    }
    for (query, found) in [
        ("connect AND order", true),
        ("+connect -order", false),
        ("status:[500 TO 503}", false),
        ("status:>=500", true),
        ("message:/10\\.0.*/", true),
        ("conect~1", true),
        ("\"connect order\"~3", true),
        ("\"connect order\"~2", false),
        ("\"order connect\"~2", false),
        ("app:sh?p", true),
        ("_exists_:label", true),
        ("NOT _exists_:nothing", true),
        ("tags:(a OR z)", true),
        ("timestamp:[2025-03-01 TO now]", true),
    ] {
        assert_eq!(
            finds(query, Language::Lucene, &event).unwrap(),
            found,
            "{query}"
        );
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.é_-]{1,6}",
        "[a-z(){}:<>\"*\\\\]{1,6}",
        Just("and".to_owned()),
        Just("Not".to_owned()),
        Just("a or b".to_owned()),
        Just("can not".to_owned()),
    ]
}

fn leaf() -> impl Strategy<Value = Expr> {
    let field = prop_oneof![
        Just(Field::Any),
        word().prop_map(|name| Field::Named { name, at: 0 }),
        word().prop_map(|text| Field::Like(Wild(vec![Piece::Text(text), Piece::Any]))),
    ];
    let bound = word().prop_map(Bound::Included);
    let test = prop_oneof![
        word().prop_map(Test::Is),
        ".{0,8}".prop_map(|text| Test::Phrase { text, slop: 0 }),
        word().prop_map(|text| Test::Like(Wild(vec![Piece::Any, Piece::Text(text), Piece::Any]))),
        bound.prop_map(|low| Test::Range {
            low,
            high: Bound::Unbounded
        }),
    ];
    (field, test).prop_filter_map("a comparison has a field", |(field, test)| {
        match (&field, &test) {
            (Field::Any, Test::Range { .. }) => None,
            _ => Some(Expr::Leaf { field, test, at: 0 }),
        }
    })
}

fn expr() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.clone().prop_map(|e| Expr::Not(Box::new(e))),
            (word(), inner).prop_map(|(path, e)| Expr::Nested {
                path,
                inner: Box::new(e),
                at: 0
            }),
        ]
    })
}

fn plain(expr: Expr) -> Expr {
    let each = |all: Vec<Expr>| all.into_iter().map(plain).collect();
    match expr {
        Expr::And(all) => Expr::And(each(all)),
        Expr::Or(all) => Expr::Or(each(all)),
        Expr::Not(inner) => Expr::Not(Box::new(plain(*inner))),
        Expr::Nested { path, inner, .. } => Expr::Nested {
            path,
            inner: Box::new(plain(*inner)),
            at: 0,
        },
        Expr::Leaf { field, test, .. } => {
            let field = match field {
                Field::Named { name, .. } => Field::Named { name, at: 0 },
                other => other,
            };
            Expr::Leaf { field, test, at: 0 }
        }
        Expr::All => Expr::All,
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(([a-z]{1,3}|and|or|not|[:(){}<>\"*\\\\ ~/\\[\\]+!?^-]| |é|\\\\u00e9){0,16})") {
        for language in [Language::Kql, Language::Lucene] {
            match read(&text, language, &fields(), &clock()) {
                Ok(plan) => {
                    plan.matches(json!({"message": "a b", "app": "x"}).as_object().unwrap());
                    elastic::dsl(&plan);
                }
                Err(error) => {
                    prop_assert!(error.offset <= text.chars().count(), "{}: {}", text, error);
                    error.pointed(&text);
                }
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_same(expr in expr()) {
        let printed = print(&expr);
        prop_assume!(printed.is_some());
        let printed = printed.unwrap();
        let read = parse(&printed);
        prop_assert!(read.is_ok(), "{}: {}", printed, read.unwrap_err());
        prop_assert_eq!(plain(read.unwrap()), expr, "{}", printed);
    }
}
