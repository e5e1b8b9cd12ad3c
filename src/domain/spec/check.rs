//! Holds a tree against the table of keys: unknown and missing keys, wrong types, wrong values.
//!
//! Everything that can be said of one value where it stands is said here, and only here; `lower`
//! may take what it reads for granted where this stage reported nothing.

use super::error::SpecCode;
use super::keys::{Form, Key, Kind, Required, Section};
use super::nearest::nearest;
use super::report::{Finding, Path, Report, shown, to_u32};
use super::value::{self, Wrong};
use super::yaml::{Entry, Node, Style};
use crate::domain::id::ProcType;

/// Checks `node` against `kind`, reporting everything that is wrong.
pub(super) fn check(node: &Node, kind: &'static Kind, path: &Path<'_>, report: &mut Report<'_>) {
    match kind {
        Kind::Anything => {}
        Kind::OneOf(kinds) => check_one_of(node, kind, kinds, path, report),
        Kind::Text(form) => match node.text() {
            Some(text) => check_form(node, text, form, path, report),
            None => wrong_type(node, kind, path, report),
        },
        Kind::Words(words) => check_words(node, kind, words, path, report),
        Kind::Int(min, max) => check_int(node, kind, (*min, *max), path, report),
        Kind::Bool => check_bool(node, kind, path, report),
        Kind::Null if node.is_null() => {}
        Kind::Null => wrong_type(node, kind, path, report),
        Kind::Duration(min, max) => check_duration(node, kind, (*min, *max), path, report),
        Kind::Memory => check_memory(node, kind, path, report),
        Kind::List(item) => match node.items() {
            Some(items) => {
                for (index, node) in items.iter().enumerate() {
                    check(node, item, &path.index(index), report);
                }
            }
            None if node.is_null() => empty_value(node, path, report),
            None => wrong_type(node, kind, path, report),
        },
        Kind::Keys(section) => match node.entries() {
            Some(entries) => check_section(node, entries, section, None, path, report),
            None => wrong_type(node, kind, path, report),
        },
        Kind::Map(form, value) | Kind::Single(form, value) => match node.entries() {
            Some(entries) => {
                if matches!(kind, Kind::Single(..)) && entries.len() != 1 {
                    wrong_count(node, entries.len(), kind, path, report);
                }
                entries
                    .iter()
                    .for_each(|entry| check_free_entry(entry, form, value, path, report));
            }
            None => wrong_type(node, kind, path, report),
        },
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

fn check_one_of(
    node: &Node,
    whole: &'static Kind,
    kinds: &'static [Kind],
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let list = || {
        kinds
            .iter()
            .find(|kind| node.is_null() && matches!(kind, Kind::List(_)))
    };
    match kinds.iter().find(|kind| fits(node, kind)).or_else(list) {
        Some(kind) => check(node, kind, path, report),
        None => wrong_type(node, whole, path, report),
    }
}

/// Checks a mapping of fixed keys. `proc_type` narrows the keys, where it is known.
pub(super) fn check_section(
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
            unknown_key(entry, section, &here, report);
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

/// Missing keys are told at the mapping's first key: a mapping itself has no text to point at.
fn missing_key(node: &Node, key: &'static Key, path: &Path<'_>, report: &mut Report<'_>) {
    let of = if path.to_string().is_empty() {
        String::new()
    } else {
        format!(" in {path}")
    };
    let finding = Finding::new(
        SpecCode::MissingKey,
        node.place,
        path.key(key.name),
        format!("key `{}` is missing{of}", key.name),
    );
    report.error(finding.width(node.width).expected(format!(
        "{}: {}",
        key.name,
        key.kind.describe()
    )));
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
    let finding = Finding::new(SpecCode::Conflict, entry.place, path, message);
    report.error(
        finding
            .width(entry.width)
            .other(first.place)
            .expected("one of them"),
    );
}

fn check_proc_section(
    entry: &Entry,
    family: &'static super::keys::Family,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if let Some((_, name)) = entry.key.split_once('.') {
        if let Err(wrong) = value::proc_name(name) {
            let finding = Finding::new(wrong.code, entry.place, path, wrong.message);
            report.error(
                finding
                    .width(entry.width)
                    .expected(format!("{}.NAME", family.prefix)),
            );
        }
    }
    let Some(entries) = entry.node.entries() else {
        let message = format!(
            "section {} is {}, not a mapping",
            shown(&entry.key),
            entry.node.describe()
        );
        let finding = Finding::new(SpecCode::WrongType, entry.place, path, message);
        return report.error(
            finding
                .width(entry.width)
                .expected(format!("a mapping ({})", family.section.doc)),
        );
    };
    check_section(
        &entry.node,
        entries,
        family.section,
        super::lower::proc_type(family, &entry.node),
        path,
        report,
    );
}

fn check_free_entry(
    entry: &Entry,
    form: &'static Form,
    kind: &'static Kind,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let here = path.key(&entry.key);
    if let Err(wrong) = (form.check)(&entry.key) {
        let finding = Finding::new(wrong.code, entry.place, here, wrong.message);
        let finding = finding.width(entry.width).expected(form.expected);
        report.error(match wrong.suggestion {
            Some(suggestion) => finding.suggest(suggestion),
            None => finding,
        });
    }
    check(&entry.node, kind, &here, report);
}

fn unknown_key(entry: &Entry, section: &'static Section, path: &Path<'_>, report: &mut Report<'_>) {
    let message = format!("unknown key `{}` in {}", shown(&entry.key), section.doc);
    let finding = Finding::new(SpecCode::UnknownKey, entry.place, path, message).width(entry.width);
    if section.name == "typed_proc" && entry.key == "type" {
        return report.error(
            finding.suggest(
                "leave it out: the section's name says the type; `proc.NAME` takes a type",
            ),
        );
    }
    let hint = section
        .hints
        .iter()
        .find(|(wrong, _)| *wrong == entry.key)
        .map(|(_, right)| (*right).to_owned());
    let guess = hint.or_else(|| nearest_key(&entry.key, section));
    let finding = match &guess {
        Some(right) => finding.suggest(format!("did you mean `{right}`?")),
        None => finding,
    };
    let names: Vec<&str> = section.all_keys().map(|key| key.name).collect();
    let families = section
        .families
        .iter()
        .map(|f| format!("{}.NAME", f.prefix));
    let all: Vec<String> = names
        .iter()
        .map(|name| (*name).to_owned())
        .chain(families)
        .collect();
    report.error(if guess.is_none() {
        finding.expected(format!("one of {}", all.join(", ")))
    } else {
        finding
    });
}

fn nearest_key(key: &str, section: &'static Section) -> Option<String> {
    let names = section.all_keys().map(|key| key.name);
    if let Some((prefix, name)) = key.split_once('.') {
        let prefixes = section.families.iter().map(|f| f.prefix);
        return nearest(prefix, prefixes).map(|prefix| format!("{prefix}.{}", shown(name)));
    }
    let bare = section.families.iter().filter(|f| f.bare).map(|f| f.prefix);
    nearest(key, names.chain(bare)).map(str::to_owned)
}

fn check_form(
    node: &Node,
    text: &str,
    form: &'static Form,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if let Err(wrong) = (form.check)(text) {
        report.error(wrong_value(node, wrong, path).expected(form.expected));
    }
}

/// A finding about a value; its offset counts where the text stands in the file as it is.
fn wrong_value(node: &Node, wrong: Wrong, path: &Path<'_>) -> Finding {
    let literal = node
        .scalar()
        .is_some_and(|s| s.style == Style::Plain && s.text.chars().count() == node.width as usize);
    let mut place = node.place;
    let mut width = node.width;
    if literal && wrong.offset > 0 {
        place.column = place.column.saturating_add(to_u32(wrong.offset));
        width = width.saturating_sub(to_u32(wrong.offset));
    }
    let finding = Finding::new(wrong.code, place, path, wrong.message).width(width);
    match wrong.suggestion {
        Some(suggestion) => finding.suggest(suggestion),
        None => finding,
    }
}

fn check_words(
    node: &Node,
    kind: &'static Kind,
    words: &[&'static str],
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let Some(text) = node.text() else {
        return wrong_type(node, kind, path, report);
    };
    if words.contains(&text) {
        return;
    }
    let wrong = Wrong::form(format!("{:?} is not a value of this key", shown(text)));
    let wrong = match nearest(text, words.iter().copied()) {
        Some(word) => wrong.suggest(format!("did you mean `{word}`?")),
        None => wrong,
    };
    report.error(wrong_value(node, wrong, path).expected(kind.describe()));
}

fn check_int(
    node: &Node,
    kind: &'static Kind,
    (min, max): (i64, i64),
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    match node.int() {
        Some(number) if (min..=max).contains(&number) => {}
        Some(number) => {
            let wrong = Wrong::range(format!("{number} is out of range"));
            report.error(wrong_value(node, wrong, path).expected(kind.describe()));
        }
        None => wrong_type(node, kind, path, report),
    }
}

fn check_bool(node: &Node, kind: &'static Kind, path: &Path<'_>, report: &mut Report<'_>) {
    if node.bool().is_none() {
        return wrong_type(node, kind, path, report);
    }
    if let Some((scalar, value)) = node
        .scalar()
        .and_then(|scalar| Some((scalar, scalar.old_bool()?)))
    {
        let message = format!("`{}` is a truth value in YAML 1.1 only", scalar.text);
        let finding = Finding::new(SpecCode::OldBoolean, node.place, path, message);
        report.warn(
            finding
                .width(node.width)
                .suggest(format!("write `{value}`")),
        );
    }
}

fn check_duration(
    node: &Node,
    kind: &'static Kind,
    (min, max): (u64, u64),
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let duration = match (node.int(), node.text()) {
        (Some(number), _) => match u64::try_from(number) {
            Ok(seconds) => Ok(std::time::Duration::from_secs(seconds)),
            Err(_) => Err(Wrong::range(format!("{number} is negative"))),
        },
        (None, Some(text)) => value::duration(text),
        (None, None) => return wrong_type(node, kind, path, report),
    };
    let limits = std::time::Duration::from_secs(min)..=std::time::Duration::from_secs(max);
    let wrong = match duration {
        Ok(duration) if limits.contains(&duration) => return,
        Ok(duration) => Wrong::range(format!(
            "{} is out of range",
            super::model::duration_text::render(duration)
        )),
        Err(wrong) => wrong,
    };
    report.error(wrong_value(node, wrong, path).expected(kind.describe()));
}

fn check_memory(node: &Node, kind: &'static Kind, path: &Path<'_>, report: &mut Report<'_>) {
    let memory = match (node.int(), node.text()) {
        (Some(number), _) => value::memory(&number.to_string()),
        (None, Some(text)) => value::memory(text),
        (None, None) => return wrong_type(node, kind, path, report),
    };
    if let Err(wrong) = memory {
        report.error(wrong_value(node, wrong, path).expected(kind.describe()));
    }
}

fn empty_value(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let finding = Finding::new(
        SpecCode::EmptyValue,
        node.place,
        path,
        "there is nothing here; taken as an empty list",
    );
    report.warn(finding.suggest("write `[]`, or leave the key out"));
}

fn wrong_count(
    node: &Node,
    count: usize,
    kind: &'static Kind,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let finding = Finding::new(
        SpecCode::WrongType,
        node.place,
        path,
        format!("a mapping with {count} keys where one belongs"),
    );
    report.error(finding.width(node.width).expected(kind.describe()));
}

fn wrong_type(node: &Node, kind: &'static Kind, path: &Path<'_>, report: &mut Report<'_>) {
    let finding = Finding::new(
        SpecCode::WrongType,
        node.place,
        path,
        format!("{path} is {}", node.describe()),
    );
    let finding = finding.width(node.width).expected(kind.describe());
    report.error(match suggestion(node, kind) {
        Some(suggestion) => finding.suggest(suggestion),
        None => finding,
    });
}

/// What to write instead of a value of the wrong type.
fn suggestion(node: &Node, kind: &Kind) -> Option<String> {
    let accepts = |probe: fn(&Kind) -> bool| match kind {
        Kind::OneOf(kinds) => kinds.iter().any(probe),
        kind => probe(kind),
    };
    let text = accepts(|k| matches!(k, Kind::Text(_) | Kind::Words(_)));
    if let Some(entries) = node.entries() {
        // `- KEY: value` for `- KEY=value`.
        let [entry] = entries else { return None };
        let environment =
            accepts(|k| matches!(k, Kind::Text(form) if form.expected.starts_with("NAME=VALUE")));
        let value = entry.node.scalar()?;
        return environment.then(|| format!("`{}={}`", shown(&entry.key), shown(&value.text)));
    }
    let scalar = node.scalar()?;
    if scalar.is_null() {
        return Some("give it a value, or leave the key out".to_owned());
    }
    if scalar.is_odd_number() {
        let plain = scalar.text.trim_start_matches('0');
        let decimal = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit());
        return match (text, decimal) {
            (true, _) => Some(format!(
                "put it in quotes if it is text: \"{}\"",
                shown(&scalar.text)
            )),
            (false, true) => Some(format!("`{}`", shown(plain))),
            (false, false) => None,
        };
    }
    if text {
        return Some(format!(
            "put it in quotes if it is text: \"{}\"",
            shown(&scalar.text)
        ));
    }
    if accepts(|k| matches!(k, Kind::List(_))) && node.text().is_some() {
        return Some(format!("a list of one: `- {}`", shown(&scalar.text)));
    }
    let unquoted = super::yaml::Plain::of(&scalar.text);
    let number =
        accepts(|k| matches!(k, Kind::Int(..))) && matches!(unquoted, super::yaml::Plain::Int(_));
    let truth =
        accepts(|k| matches!(k, Kind::Bool)) && matches!(unquoted, super::yaml::Plain::Bool(_));
    (number || truth).then(|| format!("`{}` without quotes", shown(&scalar.text)))
}
