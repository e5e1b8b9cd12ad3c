//! The fields that there are, and what each holds.

use super::pattern::Wild;
use std::collections::{BTreeMap, BTreeSet};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldType {
    /// Words, found one by one.
    Text,
    /// A text that is found as a whole, in its own letters.
    Keyword,
    /// Whole numbers.
    Long,
    /// Numbers.
    Double,
    /// True or false.
    Boolean,
    /// Times.
    Date,
    /// Objects that are kept apart.
    Nested,
}

impl FieldType {
    /// By Elasticsearch's name of a type.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "text" | "match_only_text" => Self::Text,
            "keyword" | "constant_keyword" | "wildcard" | "flattened" | "flat_object" | "ip" => {
                Self::Keyword
            }
            "long" | "integer" | "short" | "byte" | "unsigned_long" => Self::Long,
            "double" | "float" | "half_float" | "scaled_float" => Self::Double,
            "boolean" => Self::Boolean,
            "date" | "date_nanos" => Self::Date,
            "nested" => Self::Nested,
            _ => return None,
        })
    }

    /// Elasticsearch's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Keyword => "keyword",
            Self::Long => "long",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Nested => "nested",
        }
    }
}

/// The fields that there are. One whose values differ from event to event has several types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    all: BTreeMap<String, Vec<FieldType>>,
    open: BTreeSet<String>,
}

impl Fields {
    /// Notes that a field can hold this.
    pub fn add(&mut self, name: &str, kind: FieldType) {
        match self.all.get_mut(name) {
            Some(types) => {
                if !types.contains(&kind) {
                    types.push(kind);
                    types.sort();
                }
            }
            None => drop(self.all.insert(name.to_owned(), vec![kind])),
        }
    }

    /// Notes an object any key of which is a field, found as a whole text.
    pub fn open(&mut self, name: &str) {
        self.add(name, FieldType::Keyword);
        self.open.insert(name.to_owned());
    }

    /// What a field can hold; nothing if there is none of this name.
    pub fn types(&self, name: &str) -> &[FieldType] {
        if let Some(types) = self.all.get(name) {
            return types;
        }
        let ends = name.match_indices('.').map(|(at, _)| at);
        match ends.into_iter().any(|end| self.open.contains(&name[..end])) {
            true => &[FieldType::Keyword],
            false => &[],
        }
    }

    /// Every field, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[FieldType])> {
        self.all
            .iter()
            .map(|(name, types)| (name.as_str(), types.as_slice()))
    }

    /// The fields of both.
    pub fn merge(&mut self, other: &Fields) {
        for (name, types) in other.iter() {
            types.iter().for_each(|kind| self.add(name, *kind));
        }
        self.open.extend(other.open.iter().cloned());
    }

    /// The nested field in which `name` lies, or which it is; the outermost.
    pub fn nested_above<'a>(&self, name: &'a str) -> Option<&'a str> {
        let ends = name
            .match_indices('.')
            .map(|(at, _)| at)
            .chain([name.len()]);
        ends.map(|end| &name[..end])
            .find(|path| self.is_nested(path))
    }

    /// Whether it is a nested field.
    pub fn is_nested(&self, name: &str) -> bool {
        self.types(name).contains(&FieldType::Nested)
    }

    /// The fields with a value of their own whose names are like this, or below `name.`, for a pattern
    /// that has no wildcard.
    pub fn like(&self, wild: &Wild) -> Vec<&str> {
        self.all
            .keys()
            .map(String::as_str)
            .filter(|name| wild.is_match(name) && !self.is_nested(name))
            .collect()
    }

    /// The fields below an object.
    pub fn below<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let from = format!("{name}.");
        self.all
            .range(from.clone()..)
            .map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(&from))
    }
}

/// The fields of lain's own events, which are typed whatever comes.
pub fn of_events() -> Fields {
    let mut fields = Fields::default();
    for name in [
        "app",
        "container_id",
        "container_name",
        "event_id",
        "host",
        "image",
        "level",
        "node",
        "proc",
        "revision",
        "source_type",
        "stream",
    ] {
        fields.add(name, FieldType::Keyword);
    }
    for name in ["instance", "seq"] {
        fields.add(name, FieldType::Long);
    }
    for name in ["timestamp", "container_created_at"] {
        fields.add(name, FieldType::Date);
    }
    fields.add("message", FieldType::Text);
    fields
}
