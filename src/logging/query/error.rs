//! Why a query is refused: where, what was expected, what was found.

use std::fmt;

/// Which stage refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The text is no query of its language.
    Syntax,
    /// It is one, but asks for what cannot be answered: a number field compared with a word, say.
    Query,
}

/// A refused query, with the character that is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// Which stage refused it.
    pub refusal: Refusal,
    /// The character, from 0; the length of the text where it ends too early.
    pub offset: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl QueryError {
    /// A text that cannot be parsed at this character.
    pub fn syntax(offset: usize, message: impl Into<String>) -> Self {
        Self {
            refusal: Refusal::Syntax,
            offset,
            message: message.into(),
        }
    }

    /// A query that cannot be answered because of what stands at this character.
    pub fn query(offset: usize, message: impl Into<String>) -> Self {
        Self {
            refusal: Refusal::Query,
            offset,
            message: message.into(),
        }
    }

    /// The text with a caret under the character that is at fault; long texts are cut around it.
    pub fn pointed(&self, text: &str) -> String {
        const AROUND: usize = 60;
        let characters: Vec<char> = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let at = self.offset.min(characters.len());
        let from = at.saturating_sub(AROUND);
        let to = (at + AROUND).min(characters.len());
        let shown: String = characters[from..to].iter().collect();
        format!("{shown}\n{}^", " ".repeat(at - from))
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.offset, self.message)
    }
}

impl std::error::Error for QueryError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_is_under_the_character() {
        let error = QueryError::syntax(4, "x");
        assert_eq!(error.pointed("app:\"x"), "app:\"x\n    ^");
        let long = "é".repeat(500);
        let pointed = QueryError::syntax(400, "x").pointed(&long);
        assert_eq!(pointed.lines().nth(1).unwrap().chars().count(), 61);
        assert_eq!(QueryError::syntax(99, "x").pointed("a"), "a\n ^");
    }
}
