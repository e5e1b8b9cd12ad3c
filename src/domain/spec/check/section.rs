//! Checks mappings of fixed keys: which are there, which must be, and those that nobody knows.

use super::super::error::SpecCode;
use super::super::keys::{Family, Key, Required, Section};
use super::super::lower;
use super::super::nearest::nearest;
use super::super::report::{Finding, Path, Report, shown};
use super::super::value;
use super::super::yaml::{Entry, Node};
use super::{check, check_free_entry};
use crate::domain::id::ProcType;

/// Checks a mapping of fixed keys. `proc_type` says which keys are required, where it is known.
pub(in super::super) fn check_section(
    node: &Node,
    entries: &[Entry],
    section: &'static Section,
    proc_type: Option<ProcType>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    for entry in entries {
        let here = path.key(&entry.key);
        if let Some(key) = section.key(&entry.key) {
            check_other_name(node, entry, key, &here, report);
            check(&entry.node, key.kind, &here, report);
        } else if let Some(family) = section.family(&entry.key) {
            check_proc_section(entry, family, &here, report);
        } else if let Some((form, kind)) = section.rest {
            check_free_entry(entry, form, kind, path, report);
        } else {
            unknown_key(entry, section, path, report);
        }
    }
    for key in section.all_keys() {
        let required = match key.required {
            Required::No => false,
            Required::Yes => true,
            Required::For(only) => proc_type == Some(only),
        };
        if required && node.get(key.name).is_none() {
            missing_key(node, key, path, report);
        }
    }
}

fn missing_key(node: &Node, key: &'static Key, path: &Path<'_>, report: &mut Report<'_>) {
    let message = format!("key `{}` is missing{}", key.name, inside(path));
    let finding = Finding::new(
        SpecCode::MissingKey,
        node.place,
        path.key(key.name),
        message,
    );
    let expected = format!("{}: {}", key.name, key.kind.describe());
    report.error(finding.width(node.width).expected(expected));
}

/// ` in web`, or ` at the top level`.
fn inside(path: &Path<'_>) -> String {
    let path = path.to_string();
    if path.is_empty() {
        " at the top level".to_owned()
    } else {
        format!(" in {path}")
    }
}

fn check_other_name(
    node: &Node,
    entry: &Entry,
    key: &'static Key,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let Some((other, first)) = key.same_as.and_then(|name| Some((name, node.entry(name)?))) else {
        return;
    };
    let message = format!("`{}` and `{other}` are two names of one key", key.name);
    let finding = Finding::new(SpecCode::Conflict, entry.place, path, message).width(entry.width);
    report.error(finding.other(first.place).expected("one of them"));
}

fn check_proc_section(
    entry: &Entry,
    family: &'static Family,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let named = entry
        .key
        .split_once('.')
        .map(|(_, name)| value::proc_name(name));
    if let Some(Err(wrong)) = named {
        let finding = Finding::new(wrong.code, entry.place, path, wrong.message).width(entry.width);
        report.error(finding.expected(format!("{}.NAME", family.prefix)));
    }
    let Some(entries) = entry.node.entries() else {
        let message = format!("section {path} is {}, not a mapping", entry.node.describe());
        let finding =
            Finding::new(SpecCode::WrongType, entry.place, path, message).width(entry.width);
        return report.error(finding.expected(format!("a mapping ({})", family.section.doc)));
    };
    let proc_type = lower::proc_type(family, &entry.node);
    check_section(
        &entry.node,
        entries,
        family.section,
        proc_type,
        path,
        report,
    );
}

fn unknown_key(entry: &Entry, section: &'static Section, path: &Path<'_>, report: &mut Report<'_>) {
    let message = format!("unknown key `{}`{}", shown(&entry.key), inside(path));
    let finding = Finding::new(
        SpecCode::UnknownKey,
        entry.place,
        path.key(&entry.key),
        message,
    );
    let finding = finding.width(entry.width);
    if section.name == "typed_proc" && entry.key == "type" {
        let help = "leave it out: the section's name says the type; `proc.NAME` takes a type";
        return report.error(finding.suggest(help));
    }
    if report.is_full() {
        return report.error(finding);
    }
    let hint = section.hints.iter().find(|(wrong, _)| *wrong == entry.key);
    let guess = hint
        .map(|(_, right)| (*right).to_owned())
        .or_else(|| nearest_key(&entry.key, section));
    report.error(match guess {
        Some(right) => finding.suggest(format!("did you mean `{right}`?")),
        None => finding.expected(format!("one of {}", all_names(section))),
    });
}

fn all_names(section: &'static Section) -> String {
    let names = section.all_keys().map(|key| key.name.to_owned());
    let families = section
        .families
        .iter()
        .map(|family| format!("{}.NAME", family.prefix));
    let all: Vec<String> = names.chain(families).collect();
    all.join(", ")
}

fn nearest_key(key: &str, section: &'static Section) -> Option<String> {
    if let Some((prefix, name)) = key.split_once('.') {
        let prefixes = section.families.iter().map(|family| family.prefix);
        return nearest(prefix, prefixes).map(|prefix| format!("{prefix}.{}", shown(name)));
    }
    let bare = section
        .families
        .iter()
        .filter(|family| family.bare)
        .map(|family| family.prefix);
    nearest(key, section.all_keys().map(|key| key.name).chain(bare)).map(str::to_owned)
}
