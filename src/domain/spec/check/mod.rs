//! Holds a tree against the table of keys: unknown and missing keys, wrong types, wrong values.
//!
//! Everything that can be said of one value where it stands is said here, and only here; `lower`
//! may take what it reads for granted where this stage reported nothing. `section` walks mappings
//! of fixed keys, `scalar` looks at single values, `suggest` says what to write instead.

mod scalar;
mod section;
mod suggest;

pub(super) use section::check_section;

use super::error::SpecCode;
use super::keys::{Form, Kind};
use super::report::{Finding, Path, Report};
use super::yaml::{Entry, Node};

/// A value where it stands, and what it should be.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    kind: &'static Kind,
    path: &'a Path<'a>,
}

impl At<'_> {
    fn finding(&self, code: SpecCode, message: impl Into<String>) -> Finding {
        Finding::new(code, self.node.place, self.path, message).width(self.node.width)
    }

    /// Refuses the value for its type.
    fn wrong_type(&self, report: &mut Report<'_>) {
        let message = format!("{} is {}", self.path, self.node.describe());
        let finding = self
            .finding(SpecCode::WrongType, message)
            .expected(self.kind.describe());
        report.error(finding.suggest_if(suggest::instead(self.node, self.kind)));
    }
}

/// Checks `node` against `kind`, reporting everything that is wrong.
fn check(node: &Node, kind: &'static Kind, path: &Path<'_>, report: &mut Report<'_>) {
    let at = At { node, kind, path };
    match kind {
        Kind::Anything => {}
        Kind::OneOf(kinds) => check_one_of(at, kinds, report),
        Kind::Text(form) => scalar::check_form(at, form, report),
        Kind::Words(words) => scalar::check_words(at, words, report),
        Kind::Int(min, max) => scalar::check_int(at, (*min, *max), report),
        Kind::Bool => scalar::check_bool(at, report),
        Kind::Null if node.is_null() => {}
        Kind::Null => at.wrong_type(report),
        Kind::Duration(min, max) => scalar::check_duration(at, (*min, *max), report),
        Kind::Memory => scalar::check_memory(at, report),
        Kind::List(item) => check_list(at, item, report),
        Kind::Keys(section) => match node.entries() {
            Some(entries) => check_section(node, entries, section, None, path, report),
            None => at.wrong_type(report),
        },
        Kind::Map(form, value) | Kind::Single(form, value) => check_map(at, form, value, report),
    }
}

/// Whether a node has the YAML type of a kind.
fn fits(node: &Node, kind: &Kind) -> bool {
    match kind {
        Kind::Anything => true,
        Kind::Null => node.is_null(),
        Kind::Text(_) | Kind::Words(_) => node.text().is_some(),
        Kind::Int(..) => node.int().is_some(),
        Kind::Duration(..) | Kind::Memory => node.int().is_some() || node.text().is_some(),
        Kind::Bool => node.bool().is_some(),
        Kind::List(_) => node.items().is_some(),
        Kind::Keys(_) | Kind::Map(..) | Kind::Single(..) => node.entries().is_some(),
        Kind::OneOf(kinds) => kinds.iter().any(|kind| fits(node, kind)),
    }
}

fn check_one_of(at: At<'_>, kinds: &'static [Kind], report: &mut Report<'_>) {
    let null = at.node.is_null();
    let empty_list = || {
        kinds
            .iter()
            .find(|kind| null && matches!(kind, Kind::List(_)))
    };
    match kinds
        .iter()
        .find(|kind| fits(at.node, kind))
        .or_else(empty_list)
    {
        Some(kind) => check(at.node, kind, at.path, report),
        None => at.wrong_type(report),
    }
}

fn check_list(at: At<'_>, item: &'static Kind, report: &mut Report<'_>) {
    if let Some(items) = at.node.items() {
        for (index, node) in items.iter().enumerate() {
            check(node, item, &at.path.index(index), report);
        }
    } else if at.node.is_null() {
        let message = format!("{} has no value; taken as an empty list", at.path);
        let finding = at.finding(SpecCode::EmptyValue, message);
        report.warn(finding.suggest("write `[]`, or leave the key out"));
    } else {
        at.wrong_type(report);
    }
}

fn check_map(at: At<'_>, form: &'static Form, value: &'static Kind, report: &mut Report<'_>) {
    let Some(entries) = at.node.entries() else {
        return at.wrong_type(report);
    };
    if matches!(at.kind, Kind::Single(..)) && entries.len() != 1 {
        let message = format!(
            "{} is a mapping with {} keys where one belongs",
            at.path,
            entries.len()
        );
        report.error(
            at.finding(SpecCode::WrongType, message)
                .expected(at.kind.describe()),
        );
    }
    for entry in entries {
        check_free_entry(entry, form, value, at.path, report);
    }
}

/// An entry whose key is not fixed but of a form.
fn check_free_entry(
    entry: &Entry,
    form: &'static Form,
    kind: &'static Kind,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let here = path.key(&entry.key);
    if let Err(wrong) = form.check(&entry.key) {
        let finding = Finding::new(wrong.code, entry.place, here, wrong.message);
        let finding = finding.width(entry.width).expected(form.expected);
        report.error(finding.suggest_if(wrong.suggestion));
    }
    check(&entry.node, kind, &here, report);
}
