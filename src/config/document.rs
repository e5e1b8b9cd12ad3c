//! One TOML document → its settings, with their places. Pure.

use crate::config::error::ConfigError;
use crate::config::logging::Lists;
use crate::config::resolve::{Origin, Setting, find_key, unknown};
use crate::config::schema::KEYS;
use crate::config::value::Value;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a user's file may also hold: the servers that the command line knows, which checks them
/// itself.
const CLIENT_KEYS: [&str; 2] = ["contexts", "current_context"];

/// Reads a document. `path` is only for the places; `None` is the built-in document.
///
/// Returns the settings that are right, the lists, and every error.
pub fn parse(text: &str, path: Option<&Path>) -> (Vec<Setting>, Lists, Vec<ConfigError>) {
    let mut reader = Reader {
        text,
        path,
        settings: Vec::new(),
        lists: Lists::default(),
        errors: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let problem = format!("not TOML: {}", error.message());
        reader.error(error.span().unwrap_or(0..0), problem);
    }
    // What was recovered from a broken document would only give errors that follow from the first.
    if errors.is_empty() {
        reader.table(table.get_ref(), "");
    }
    reader.finish()
}

struct Reader<'a> {
    text: &'a str,
    path: Option<&'a Path>,
    settings: Vec<Setting>,
    lists: Lists,
    /// With the offset of each, to sort by.
    errors: Vec<(usize, ConfigError)>,
}

impl Reader<'_> {
    /// The errors in the order of the text: the parser's tables are in the order of the keys.
    fn finish(mut self) -> (Vec<Setting>, Lists, Vec<ConfigError>) {
        self.errors.sort_by_key(|(offset, _)| *offset);
        let errors = self.errors.into_iter().map(|(_, error)| error);
        (self.settings, self.lists, errors.collect())
    }

    /// Walks a table whose dotted name is `prefix`.
    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            self.item(&name, key.span(), value);
        }
    }

    fn item(&mut self, name: &str, place: Range<usize>, value: &Spanned<DeValue<'_>>) {
        if let Some(key) = find_key(name) {
            let value = plain(value.get_ref());
            match (key.check)(&value) {
                Ok(()) => {
                    let origin = self.origin(place);
                    self.settings.push(Setting { key, value, origin });
                }
                Err(problem) => self.error(place, format!("{name}: {problem}")),
            }
            return;
        }
        if Lists::is_list(name) {
            let mut faults = Vec::new();
            self.lists.read(name, value, &mut faults);
            for (place, problem) in faults {
                self.error(place, problem);
            }
            return;
        }
        let section = format!("{name}.");
        let is_section = KEYS.iter().any(|key| key.name.starts_with(&section));
        match value.get_ref() {
            DeValue::Table(table) if is_section => self.table(table, name),
            _ if is_section => self.error(place, format!("{name} is a section: write [{name}]")),
            _ if CLIENT_KEYS.contains(&name) => {}
            _ => self.error(place, unknown("key", name, KEYS.iter().map(|key| key.name))),
        }
    }

    fn error(&mut self, place: Range<usize>, problem: String) {
        let offset = place.start;
        let origin = self.origin(place);
        self.errors.push((offset, ConfigError { origin, problem }));
    }

    fn origin(&self, place: Range<usize>) -> Origin {
        let Some(path) = self.path else {
            return Origin::BuiltIn;
        };
        let before = &self.text[..self.text.floor_char_boundary(place.start)];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Origin::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// The items of an array that has nothing but strings.
fn strings(items: &[toml::Spanned<DeValue<'_>>]) -> Option<Vec<String>> {
    let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(text).collect()
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map_or(Value::Other("an integer out of range"), Value::Integer),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => strings(items).map_or(Value::Other("an array"), Value::List),
        DeValue::Table(_) => Value::Other("a table"),
    }
}
