//! YAML with places: a tree in which every scalar knows its line and column.
//!
//! `build` makes the tree from saphyr-parser's events; `check` and `lower` read it. Scalars keep
//! their text: what `80` or `yes` means is decided by the key that it is the value of.

mod build;
mod events;
mod scalar;

pub(super) use build::{MAX_BYTES, read};
pub(super) use scalar::{Plain, Scalar, Style};

use super::error::Place;
use serde_json::Value;

/// One node of the tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it starts.
    pub place: Place,
    /// Its characters on its first line.
    pub width: u32,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Text, quoted or not.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, without duplicates.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key's text.
    pub key: String,
    /// Whether the key is quoted.
    pub quoted: bool,
    /// Where the key starts.
    pub place: Place,
    /// The key's characters.
    pub width: u32,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The entries, if this is a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of a key, if this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// The scalar, if this is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The text, if this is text rather than a number, a truth value or nothing.
    pub fn text(&self) -> Option<&str> {
        self.scalar().and_then(Scalar::as_text)
    }

    /// The whole number, if this is one.
    pub fn int(&self) -> Option<i64> {
        self.scalar().and_then(Scalar::as_int)
    }

    /// The truth value, if this is one.
    pub fn bool(&self) -> Option<bool> {
        self.scalar().and_then(Scalar::as_bool)
    }

    /// Whether this is nothing at all.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// What this is, in words: `a list`, `the number 3`.
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Scalar(scalar) => scalar.describe(),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The node as JSON, as YAML's core schema reads it.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(scalar) => scalar.to_json(),
            Content::List(items) => items.iter().map(Node::to_json).collect(),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), e.node.to_json()))
                    .collect(),
            ),
        }
    }
}
