//! What a query says, in one form for both languages, before it is known which fields there are.

use super::pattern::Wild;
use std::ops::Bound;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Everything.
    All,
    /// What fulfils each.
    And(Vec<Expr>),
    /// What fulfils at least one.
    Or(Vec<Expr>),
    /// What does not fulfil it.
    Not(Box<Expr>),
    /// A field, or any field, fulfils a test.
    Leaf {
        /// Which field.
        field: Field,
        /// What it must fulfil.
        test: Test,
        /// The character of the query at which the value stands.
        at: usize,
    },
    /// One object of a nested field fulfils all of `inner`, whose fields are relative to it.
    Nested {
        /// The nested field.
        path: String,
        /// What one object must fulfil.
        inner: Box<Expr>,
        /// The character of the query at which it stands.
        at: usize,
    },
}

/// Which field a test is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// Any field that can hold such a value.
    Any,
    /// This one.
    Named {
        /// Its dotted name.
        name: String,
        /// The character of the query at which it stands.
        at: usize,
    },
    /// Each whose name is like this.
    Like(Wild),
}

impl Field {
    /// The fields that are so named, at this character of the query.
    pub fn of(name: Wild, at: usize) -> Self {
        if name.is_any() {
            return Self::Any;
        }
        match name.literal() {
            Some(name) => Self::Named {
                name: name.to_owned(),
                at,
            },
            None => Self::Like(name),
        }
    }
}

/// What a field must fulfil.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Has one of these words (text), or is this (other types).
    Is(String),
    /// Has these words in this order (text), or is this (other types).
    Phrase {
        /// The words.
        text: String,
        /// By how much the words may be displaced in all.
        slop: u32,
    },
    /// Is, or has a word, like this.
    Like(Wild),
    /// As [`Test::Like`] by a regular expression in Lucene's syntax.
    Regex(String),
    /// Is, or has a word, that differs in at most so many letters.
    Near {
        /// The word.
        text: String,
        /// Letters; `None`: by its length, as Elasticsearch's AUTO.
        edits: Option<u8>,
    },
    /// Lies between these.
    Range {
        /// From.
        low: Bound<String>,
        /// To.
        high: Bound<String>,
    },
    /// Has a value.
    Exists,
    /// The value `null`, which no field has.
    Null,
}

/// The deepest nesting of parentheses that is read: what people write has a handful.
pub const DEPTH: usize = 100;
/// The longest query that is read, in bytes.
pub const LONGEST: usize = 64 * 1024;
