//! What the readers of both languages have in common: a place in the text, and how deep it is nested.

use super::ast::{DEPTH, Expr, Field, LONGEST, Test};
use super::error::QueryError;
use std::marker::PhantomData;
use std::ops::Bound;

/// What a reader makes of a part of the text.
pub(super) type Parsed = Result<Expr, QueryError>;

/// A language, as far as it decides where words end.
pub(super) trait Syntax {
    /// Whether it is white space.
    fn is_space(c: char) -> bool;
}

/// Reads a text of one language; each language adds its own grammar.
pub(super) struct Reader<S> {
    /// The text.
    pub characters: Vec<char>,
    /// The character that is read next.
    pub at: usize,
    depth: usize,
    syntax: PhantomData<S>,
}

impl<S: Syntax> Reader<S> {
    /// At the first character that is no space; `None` where there is none.
    ///
    /// # Errors
    /// A text that is too long.
    pub fn open(text: &str) -> Result<Option<Self>, QueryError> {
        if text.len() > LONGEST {
            let message = format!("the query has {} bytes; {LONGEST} are read", text.len());
            return Err(QueryError::syntax(0, message));
        }
        let mut reader = Self {
            characters: text.chars().collect(),
            at: 0,
            depth: 0,
            syntax: PhantomData,
        };
        reader.spaces();
        Ok(reader.peek().is_some().then_some(reader))
    }

    pub fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    pub fn next_is(&self, ahead: usize, c: char) -> bool {
        self.characters.get(self.at + ahead) == Some(&c)
    }

    pub fn spaces(&mut self) {
        while self.peek().is_some_and(S::is_space) {
            self.at += 1;
        }
    }

    pub fn expected(&self, what: &str) -> QueryError {
        QueryError::syntax(self.at, format!("expected {what}"))
    }

    /// Reads what is one level deeper.
    ///
    /// # Errors
    /// Its own, or that it is too deep.
    pub fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH {
            let message = format!("nested deeper than {DEPTH} levels");
            return Err(QueryError::syntax(self.at, message));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// The operator at this place, one of `<`, `<=`, `>`, `>=`, and the spaces after it.
    pub fn comparison_operator(&mut self) -> Comparison {
        let above = self.peek() == Some('>');
        self.at += 1;
        let inclusive = self.peek() == Some('=');
        if inclusive {
            self.at += 1;
        }
        self.spaces();
        Comparison { above, inclusive }
    }
}

/// A comparison's operator.
pub(super) struct Comparison {
    above: bool,
    inclusive: bool,
}

impl Comparison {
    /// The test for what compares so with this value.
    pub fn with(&self, text: String) -> Test {
        let bound = match self.inclusive {
            true => Bound::Included(text),
            false => Bound::Excluded(text),
        };
        let (low, high) = match self.above {
            true => (bound, Bound::Unbounded),
            false => (Bound::Unbounded, bound),
        };
        Test::Range { low, high }
    }
}

/// A test of a field; that any field has a value asks for everything.
pub(super) fn leaf(field: Field, test: Test, at: usize) -> Expr {
    match (field, test) {
        (Field::Any, Test::Exists) => Expr::All,
        (field, test) => Expr::Leaf { field, test, at },
    }
}
