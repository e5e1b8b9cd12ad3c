//! Tests of the table of keys and of the schema made from it.

use super::json_schema;
use crate::domain::spec::keys::{ALL_FORMS, Kind, Section, TOP};
use crate::domain::spec::report::Report;
use crate::domain::spec::{parse, tree};
use boon::{Compiler, SchemaIndex, Schemas};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A schema, compiled by an independent implementation of the standard.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new(schema: Value) -> Self {
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler
            .add_resource("schema.json", schema)
            .expect("a resource");
        let index = compiler
            .compile("schema.json", &mut schemas)
            .expect("a valid schema");
        Self { schemas, index }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        self.schemas
            .validate(value, self.index)
            .map_err(|error| format!("{error:#}"))
    }
}

/// A file as JSON, its templates filled in; `None` if it is no YAML for us.
fn as_json(text: &str) -> Option<Value> {
    let mut report = Report::new(text, "f");
    tree(text, None, &mut report).map(|root| root.to_json())
}

fn fixtures(folder: &str) -> Vec<(String, String)> {
    let path = format!(
        "{}/tests/fixtures/lain-yaml/{folder}",
        env!("CARGO_MANIFEST_DIR")
    );
    let files = std::fs::read_dir(path).expect("the folder of fixtures");
    let read = |path: std::path::PathBuf| {
        (
            path.display().to_string(),
            std::fs::read_to_string(&path).expect("a readable fixture"),
        )
    };
    files
        .map(|file| read(file.expect("a readable folder").path()))
        .collect()
}

#[test]
fn every_accepted_file_obeys_the_schema() {
    let schema = Validator::new(json_schema());
    let mut accepted = 0;
    for folder in ["real", "good"] {
        for (name, text) in fixtures(folder) {
            if parse(&text, &name).is_ok() {
                accepted += 1;
                schema
                    .check(&as_json(&text).expect("YAML"))
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }
    assert!(accepted >= 14, "{accepted}");
}

#[test]
fn the_schema_refuses_what_a_schema_can() {
    let schema = Validator::new(json_schema());
    let app = |section: &str, body: Value| json!({ "appname": "a", section: body });
    for (wrong, value) in [
        ("no appname", json!({})),
        ("a bad appname", json!({ "appname": "a_b" })),
        ("an unknown key", app("web", json!({ "num_instance": 1 }))),
        ("an unknown section", app("wbe", json!({}))),
        ("a bad proc name", app("worker.a_b", json!({}))),
        (
            "text for a number",
            app("web", json!({ "num_instances": "1" })),
        ),
        ("a number for text", app("web", json!({ "image": 1 }))),
        ("a number out of range", app("web", json!({ "cpu": 9 }))),
        (
            "a worker's mountpoint",
            app("worker", json!({ "mountpoint": ["/x"] })),
        ),
        (
            "a worker's mountpoint, by type",
            app("proc.x", json!({ "mountpoint": ["/x"] })),
        ),
        ("a cron proc without schedule", app("cron.x", json!({}))),
        (
            "a cron proc without schedule, by type",
            app("proc.x", json!({ "type": "cron" })),
        ),
        ("a portal without service", app("portal", json!({}))),
        ("a service without portal", app("service.x", json!({}))),
        (
            "two names of one key",
            app("web", json!({ "workdir": "/a", "working_dir": "/b" })),
        ),
        (
            "a type in a typed section",
            app("web", json!({ "type": "web" })),
        ),
    ] {
        assert!(schema.check(&value).is_err(), "{wrong}");
    }
    for (right, value) in [
        (
            "a web proc's mountpoint, by type",
            app("proc.x", json!({ "type": "web", "mountpoint": ["/x"] })),
        ),
        ("a worker by default", app("proc.x", json!({}))),
        ("a service", app("service.x", json!({ "portal": {} }))),
    ] {
        schema
            .check(&value)
            .unwrap_or_else(|e| panic!("{right}: {e}"));
    }
}

#[test]
fn every_key_is_in_a_good_file() {
    let files: String = fixtures("good").into_iter().map(|(_, text)| text).collect();
    for key in sections(&TOP).into_iter().flat_map(Section::all_keys) {
        assert!(
            files.contains(&format!("{}:", key.name)),
            "no good file has the key {}",
            key.name
        );
    }
}

/// A section and all below it.
fn sections(section: &'static Section) -> Vec<&'static Section> {
    let mut found = vec![section];
    let kinds = section
        .all_keys()
        .map(|key| key.kind)
        .chain(section.rest.map(|(_, kind)| kind));
    kinds.for_each(|kind| below(kind, &mut found));
    section
        .families
        .iter()
        .for_each(|family| found.extend(sections(family.section)));
    found
}

fn below(kind: &'static Kind, found: &mut Vec<&'static Section>) {
    match kind {
        Kind::Keys(section) => found.extend(sections(section)),
        Kind::List(kind) | Kind::Map(_, kind) | Kind::Single(_, kind) => below(kind, found),
        Kind::OneOf(kinds) => kinds.iter().for_each(|kind| below(kind, found)),
        _ => {}
    }
}

#[test]
fn names_of_keys_are_unique_in_their_section() {
    for section in sections(&TOP) {
        let mut names: Vec<&str> = section.all_keys().map(|key| key.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", section.name);
    }
}

#[test]
fn alternatives_have_types_of_their_own() {
    fn types(kind: &Kind) -> &'static [&'static str] {
        match kind {
            Kind::Text(_) | Kind::Words(_) => &["text"],
            Kind::Int(..) => &["int"],
            Kind::Bool => &["bool"],
            Kind::Null => &["null"],
            Kind::Duration(..) | Kind::Memory => &["text", "int"],
            Kind::List(_) => &["list"],
            Kind::Keys(_) | Kind::Map(..) | Kind::Single(..) => &["mapping"],
            Kind::Anything | Kind::OneOf(_) => &["text", "int", "bool", "null", "list", "mapping"],
        }
    }
    for key in sections(&TOP).into_iter().flat_map(Section::all_keys) {
        let Kind::OneOf(kinds) = key.kind else {
            continue;
        };
        let mut all: Vec<&str> = kinds.iter().flat_map(types).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{}", key.name);
    }
}

#[test]
fn examples_are_of_their_form() {
    for (name, form) in ALL_FORMS {
        assert!(!form.examples.is_empty(), "{name}");
        for example in form.examples {
            assert_eq!(form.check(example), Ok(()), "{name}: {example:?}");
        }
    }
}

/// A form's pattern as a validator, with the form.
fn patterns() -> Vec<(
    &'static str,
    &'static crate::domain::spec::keys::Form,
    Validator,
)> {
    let with_pattern = ALL_FORMS
        .iter()
        .filter_map(|(name, form)| Some((*name, *form, form.pattern?)));
    with_pattern
        .map(|(name, form, pattern)| (name, form, Validator::new(json!({ "pattern": pattern }))))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A pattern never refuses what the check accepts: editors would show errors that are none.
    #[test]
    fn patterns_accept_what_checks_accept(
        noise in proptest::collection::vec(("[-a-zA-Z0-9:/=.,_@~ *{}$!\n\té]{0,3}", 0_usize..40, 0_usize..6), 12),
    ) {
        for (name, form, pattern) in patterns() {
            for (index, (insert, at, cut)) in noise.iter().enumerate() {
                let example: Vec<char> = form.examples[index % form.examples.len()].chars().collect();
                let at = (*at).min(example.len());
                let end = (at + cut).min(example.len());
                let text: String = example[..at].iter().copied().chain(insert.chars()).chain(example[end..].iter().copied()).collect();
                if form.check(&text).is_ok() {
                    prop_assert!(pattern.check(&json!(text)).is_ok(), "{name}: {text:?}");
                }
            }
        }
    }
}
