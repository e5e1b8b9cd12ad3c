//! Reads single keys of a mapping that `check` has seen.

use super::super::error::{Place, SpecCode};
use super::super::report::{Finding, Path, Report, shown};
use super::super::value::{self, Read};
use super::super::yaml::{Node, Style};
use std::collections::HashMap;
use std::time::Duration;

/// An item of a list: its number, its node and its meaning.
pub(super) type Item<'n, T> = (usize, &'n Node, T);

/// The text of a key.
pub(super) fn text<'n>(body: &'n Node, key: &str) -> Option<&'n str> {
    body.get(key).and_then(Node::text)
}

/// The text of a key that takes numbers too; a number in its plain form.
pub(super) fn text_or_number(body: &Node, key: &str) -> Option<String> {
    let node = body.get(key)?;
    node.int()
        .map(|number| number.to_string())
        .or_else(|| node.text().map(str::to_owned))
}

/// The number of a key, where it is one within `u32`.
pub(super) fn number(body: &Node, key: &str) -> Option<u32> {
    body.get(key)
        .and_then(Node::int)
        .and_then(|n| u32::try_from(n).ok())
}

/// The truth value of a key, false without it.
pub(super) fn flag(body: &Node, key: &str) -> bool {
    body.get(key).and_then(Node::bool).unwrap_or(false)
}

/// The duration of a key.
pub(super) fn duration(body: &Node, key: &str) -> Option<Duration> {
    let node = body.get(key)?;
    match node.int() {
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        None => value::duration(node.text()?).ok(),
    }
}

/// The items of a list, or the one value that stands for a list of one.
pub(super) fn nodes<'n>(body: &'n Node, key: &str) -> Vec<(usize, &'n Node)> {
    let Some(node) = body.get(key) else {
        return Vec::new();
    };
    match node.items() {
        Some(items) => items.iter().enumerate().collect(),
        None if node.text().is_some() || node.int().is_some() => vec![(0, node)],
        None => Vec::new(),
    }
}

/// The texts of a list that are of a form.
pub(super) fn items<'n, T>(
    body: &'n Node,
    key: &str,
    form: impl Fn(&str) -> Read<T>,
) -> Vec<Item<'n, T>> {
    nodes(body, key)
        .into_iter()
        .filter_map(|(index, node)| Some((index, node, form(node.text()?).ok()?)))
        .collect()
}

/// The texts of a list.
pub(super) fn texts(body: &Node, key: &str) -> Vec<String> {
    nodes(body, key)
        .into_iter()
        .filter_map(|(_, node)| node.text().map(str::to_owned))
        .collect()
}

/// A command as words: a list as it is, text by shell quoting; `None` without one.
pub(super) fn command(body: &Node, key: &str) -> Option<Vec<String>> {
    let node = body.get(key)?;
    let words = match node.text() {
        Some(line) => value::command(line).ok()?,
        None => node
            .items()?
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect(),
    };
    (!words.is_empty()).then_some(words)
}

/// Refuses an item that is there twice, and shows both places.
pub(super) fn unique(
    seen: &mut HashMap<String, Place>,
    what: &str,
    name: &str,
    (node, path): (&Node, &Path<'_>),
    report: &mut Report<'_>,
) {
    if let Some(first) = seen.get(name) {
        let finding = Finding::new(
            SpecCode::DuplicateValue,
            node.place,
            path,
            format!("{what} {} is given twice", shown(name)),
        );
        report.error(finding.width(node.width).other(*first));
    } else {
        seen.insert(name.to_owned(), node.place);
    }
}

/// Whether text was written without quotes on one line, so that its columns are the file's.
pub(super) fn is_literal(node: &Node) -> bool {
    node.scalar().is_some_and(|s| s.style == Style::Plain)
}
