//! Fuzzes the `lain.yaml` parser: no input makes it panic, hang or exhaust memory, problems have
//! places that exist, and what it accepts survives the store and every helper that reads it.

#![no_main]

mod domain;

use domain::spec::model::AppSpec;
use domain::spec::{SpecErrors, Variables, changes, content_hash, mountpoints, parse, render_resource};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    match parse(text, "lain.yaml") {
        Ok(parsed) => {
            parsed.warnings.iter().for_each(|warning| check_place(text, warning.line, warning.column));
            check_spec(&parsed.spec);
        }
        Err(errors) => check_errors(text, &errors),
    }
    let variables: Variables =
        [("n".to_owned(), json!(3)), ("memory".to_owned(), json!("64m")), ("flag".to_owned(), json!(false))].into();
    if let Err(errors) = render_resource(text, "lain.yaml", &variables) {
        check_errors(text, &errors);
    }
});

fn check_errors(text: &str, errors: &SpecErrors) {
    assert!(!errors.errors.is_empty(), "a refusal has a reason");
    for error in &errors.errors {
        check_place(text, error.line, error.column);
        assert!(error.caret as usize <= error.source_line.chars().count(), "the caret is under its line");
        assert!(!error.source_line.chars().any(char::is_control), "terminals are safe");
    }
    assert!(!errors.to_string().is_empty());
}

fn check_place(text: &str, line: u32, column: u32) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = text.split('\n').nth(line as usize - 1).expect("the line exists");
    assert!(column >= 1 && column as usize <= found.chars().count() + 1, "the column exists");
}

fn check_spec(spec: &AppSpec) {
    let json = serde_json::to_string(spec).expect("a spec is JSON");
    let read: AppSpec = serde_json::from_str(&json).expect("JSON of a spec is one");
    assert_eq!(&read, spec, "a spec survives the store");
    for proc in &spec.procs {
        assert_eq!(content_hash(proc).len(), 64);
        assert!(changes(proc, proc).is_empty());
        assert!(proc.name.as_str() != "web" || proc.proc_type.as_str() != "web" || !mountpoints(&spec.appname, proc, &[]).is_empty());
    }
}
