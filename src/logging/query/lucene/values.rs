//! The values of Lucene's syntax besides terms: phrases, regular expressions, ranges, comparisons.

use super::super::ast::{Expr, Field, Test};
use super::super::error::QueryError;
use super::super::reader::{Parsed, leaf};
use super::Parser;
use std::ops::Bound;

impl Parser {
    pub(super) fn phrase(&mut self, field: &Field) -> Parsed {
        let at = self.at;
        let text = self.quoted()?;
        let mut slop = 0;
        if self.peek() == Some('~') {
            self.at += 1;
            let given = self.number()?.unwrap_or(0.0).clamp(0.0, 1000.0);
            // Bounded above, and whole numbers up to 1,000 are exact.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped"
            )]
            let whole = given as u32;
            slop = whole;
        }
        self.boost();
        Ok(Expr::Leaf {
            field: field.clone(),
            test: Test::Phrase { text, slop },
            at,
        })
    }

    pub(super) fn quoted(&mut self) -> Result<String, QueryError> {
        let from = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(QueryError::syntax(from, "this \" is never closed")),
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        None => return Err(QueryError::syntax(from, "this \" is never closed")),
                        Some(c) => text.push(c),
                    }
                }
                Some(c) => text.push(c),
            }
            self.at += 1;
        }
    }

    pub(super) fn regex(&mut self, field: &Field) -> Parsed {
        let at = self.at;
        self.at += 1;
        let mut source = String::new();
        loop {
            match self.peek() {
                None => {
                    return Err(QueryError::syntax(
                        at,
                        "this / is never closed; write \\/ to mean the character",
                    ));
                }
                Some('/') => break,
                Some('\\') if self.next_is(1, '/') => {
                    source.push('/');
                    self.at += 1;
                }
                Some('\\') => {
                    source.push('\\');
                    if let Some(c) = self.characters.get(self.at + 1) {
                        source.push(*c);
                        self.at += 1;
                    }
                }
                Some(c) => source.push(c),
            }
            self.at += 1;
        }
        self.at += 1;
        self.boost();
        let test = Test::Regex(source);
        Ok(Expr::Leaf {
            field: field.clone(),
            test,
            at,
        })
    }

    pub(super) fn range(&mut self, field: &Field) -> Parsed {
        let at = self.at;
        let low_included = self.peek() == Some('[');
        self.at += 1;
        self.spaces();
        let low = self.bound_text()?;
        self.spaces();
        if !self.take_word("TO") {
            return Err(self.expected("TO"));
        }
        self.spaces();
        let high = self.bound_text()?;
        self.spaces();
        let high_included = match self.peek() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(self.expected("] or }")),
        };
        self.at += 1;
        self.boost();
        let bound = |text: Option<String>, included: bool| match (text, included) {
            (None, _) => Bound::Unbounded,
            (Some(text), true) => Bound::Included(text),
            (Some(text), false) => Bound::Excluded(text),
        };
        let (low, high) = (bound(low, low_included), bound(high, high_included));
        let test = match (&low, &high) {
            (Bound::Unbounded, Bound::Unbounded) => Test::Exists,
            _ => Test::Range { low, high },
        };
        Ok(leaf(field.clone(), test, at))
    }

    /// One end of a range: a text, or `*` for none.
    pub(super) fn bound_text(&mut self) -> Result<Option<String>, QueryError> {
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let mut text = String::new();
        let mut escaped = false;
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    escaped = true;
                    text.extend(self.peek());
                }
                ']' | '}' => break,
                c if c.is_whitespace() => break,
                c => text.push(c),
            }
            self.at += 1;
        }
        self.at = self.at.min(self.characters.len());
        match text.as_str() {
            "" => Err(self.expected("a value, or * for no bound")),
            "*" if !escaped => Ok(None),
            _ => Ok(Some(text)),
        }
    }

    /// `>=5` and its like.
    pub(super) fn comparison(&mut self, field: &Field) -> Parsed {
        if *field == Field::Any {
            return Err(self.expected("a field before a comparison, as in status:>=500"));
        }
        let comparison = self.comparison_operator();
        let at = self.at;
        let text = match self.peek() {
            Some('"') => self.quoted()?,
            _ => {
                // A value may be negative.
                let sign = self.peek() == Some('-');
                if sign {
                    self.at += 1;
                }
                let wild = self.term()?;
                let Some(text) = wild.literal() else {
                    return Err(QueryError::syntax(at, "a comparison takes no wildcards"));
                };
                format!("{}{text}", if sign { "-" } else { "" })
            }
        };
        self.boost();
        let test = comparison.with(text);
        Ok(Expr::Leaf {
            field: field.clone(),
            test,
            at,
        })
    }

    /// The number after `~` or `^`, if there is one.
    pub(super) fn number(&mut self) -> Result<Option<f64>, QueryError> {
        let from = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit() || c == '.') {
            self.at += 1;
        }
        let text: String = self.characters[from..self.at].iter().collect();
        if text.is_empty() {
            return Ok(None);
        }
        let number = text.parse();
        number
            .map(Some)
            .map_err(|_| QueryError::syntax(from, format!("expected a number, found {text}")))
    }

    /// A boost says nothing to a filter.
    pub(super) fn boost(&mut self) {
        if self.peek() == Some('^') {
            self.at += 1;
            while self.peek().is_some_and(|c| c.is_ascii_digit() || c == '.') {
                self.at += 1;
            }
        }
    }
}
