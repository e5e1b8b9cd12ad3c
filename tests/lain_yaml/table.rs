//! Rows of tables: what is written in a `lain.yaml`, and what becomes of it.

use lain::domain::spec::{Parsed, SpecErrors, parse};
use serde_json::Value;

const HEAD: &str = "appname: a\nbuild: {base: b, script: []}\n";

pub fn app(rest: &str) -> Result<Parsed, SpecErrors> {
    parse(&format!("{HEAD}{rest}\n"), "lain.yaml")
}

/// `code key` of each error.
pub fn codes(result: &Result<Parsed, SpecErrors>) -> Vec<String> {
    let errors = result
        .as_ref()
        .err()
        .map(|e| e.errors.as_slice())
        .unwrap_or_default();
    errors
        .iter()
        .map(|e| format!("{} {}", e.code_name(), e.key))
        .collect()
}

/// Each of these values of `key` in `section` gives `field` of the proc this value.
pub fn gives(section: &str, key: &str, field: &str, rows: &[(&str, Value)]) {
    for (written, expected) in rows {
        let result = app(&format!("{section}:\n  {key}: {written}"));
        let parsed = result.unwrap_or_else(|e| panic!("{key}: {written}\n{e}"));
        let proc = serde_json::to_value(&parsed.spec.procs[0]).expect("a proc is JSON");
        assert_eq!(&proc[field], expected, "{key}: {written}");
    }
}

/// Each of these values of `key` in `section` is refused with one error of this code at that key.
pub fn refuses(section: &str, key: &str, rows: &[(&str, &str)]) {
    for (written, code) in rows {
        let result = app(&format!("{section}:\n  {key}: {written}"));
        let errors = result.expect_err(&format!("{key}: {written} is wrong"));
        let [error] = errors.errors.as_slice() else {
            panic!("{key}: {written}\n{errors}")
        };
        assert_eq!(error.code_name(), *code, "{key}: {written}");
        assert!(
            error.key.starts_with(&format!("{section}.{key}")),
            "{key}: {written}: {}",
            error.key
        );
        assert_eq!(error.line, 4, "{key}: {written}");
    }
}

/// Each of these files is refused with exactly these errors.
pub fn all_errors(rows: &[(&str, &[&str])]) {
    for (text, expected) in rows {
        assert_eq!(codes(&app(text)), *expected, "{text}");
    }
}
