//! Patterns of texts: wildcards, regular expressions in Lucene's syntax, and near words.

use super::error::QueryError;
use regex::{Regex, RegexBuilder};

/// A part of a wildcard pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Text(String),
    /// Any text, also none: `*`.
    Any,
    /// Any one character: `?`, in Lucene only.
    One,
}

/// A wildcard pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wild(pub Vec<Piece>);

impl Wild {
    /// Appends a character of text.
    pub fn push(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.0.push(Piece::Text(c.to_string())),
        }
    }

    /// Appends a `*`; two in a row are one.
    pub fn push_any(&mut self) {
        if self.0.last() != Some(&Piece::Any) {
            self.0.push(Piece::Any);
        }
    }

    /// Without the spaces at its ends.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        if let Some(Piece::Text(text)) = self.0.first_mut() {
            *text = text.trim_start().to_owned();
        }
        if let Some(Piece::Text(text)) = self.0.last_mut() {
            *text = text.trim_end().to_owned();
        }
        self.0
            .retain(|piece| !matches!(piece, Piece::Text(t) if t.is_empty()));
        self
    }

    /// The text, if it has no wildcard.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is `*` alone.
    pub fn is_any(&self) -> bool {
        matches!(self.0.as_slice(), [Piece::Any])
    }

    /// The same in lower case.
    #[must_use]
    pub fn lower(&self) -> Self {
        Self(
            self.0
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Piece::Text(super::words::lower(text)),
                    other => other.clone(),
                })
                .collect(),
        )
    }

    /// Cut at the spaces in its texts: what a text field is asked for word by word.
    pub fn words(&self) -> Vec<Wild> {
        let mut words = vec![Wild::default()];
        for piece in &self.0 {
            let Piece::Text(text) = piece else {
                if let Some(word) = words.last_mut() {
                    word.0.push(piece.clone());
                }
                continue;
            };
            for c in text.chars() {
                if c.is_whitespace() {
                    words.push(Wild::default());
                } else if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
        words.retain(|word| !word.0.is_empty());
        words
    }

    /// What every match begins with.
    pub fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether the whole of `text` is like it. Takes time of the product of both lengths at most.
    pub fn is_match(&self, text: &str) -> bool {
        // The classic walk: on a mismatch go back to the last star and let it take one character more.
        let (mut piece, mut at) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        loop {
            let rest = &text[at..];
            let step = match self.0.get(piece) {
                Some(Piece::Any) => {
                    star = Some((piece + 1, at));
                    piece += 1;
                    continue;
                }
                Some(Piece::Text(wanted)) => {
                    rest.starts_with(wanted.as_str()).then_some(wanted.len())
                }
                Some(Piece::One) => rest.chars().next().map(char::len_utf8),
                None if rest.is_empty() => return true,
                None => None,
            };
            match (step, star) {
                (Some(step), _) => {
                    at += step;
                    piece += 1;
                }
                (None, Some((after, from))) => {
                    let Some(skipped) = text[from..].chars().next() else {
                        return false;
                    };
                    at = from + skipped.len_utf8();
                    star = Some((after, at));
                    piece = after;
                }
                (None, None) => return false,
            }
        }
    }

    /// In Elasticsearch's and Lucene's writing.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Any => out.push('*'),
                Piece::One => out.push('?'),
                Piece::Text(text) => text.chars().for_each(|c| {
                    if matches!(c, '*' | '?' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }),
            }
        }
        out
    }
}

/// What a word or a keyword must be like.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// A wildcard pattern.
    Wild(Wild),
    /// A regular expression over the whole: as given, and as carried out.
    Regex(String, Regex),
    /// At most so many letters differ; a swap of two neighbours is one difference.
    Near(String, u8),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Pattern::Wild(a), Pattern::Wild(b)) => a == b,
            (Pattern::Regex(a, _), Pattern::Regex(b, _)) => a == b,
            (Pattern::Near(a, n), Pattern::Near(b, m)) => a == b && n == m,
            _ => false,
        }
    }
}

impl Pattern {
    /// Whether the whole of `text` is like it.
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Pattern::Wild(wild) => wild.is_match(text),
            Pattern::Regex(_, regex) => regex.is_match(text),
            Pattern::Near(word, edits) => {
                let (a, b) = (word.chars().count(), text.chars().count());
                a.abs_diff(b) <= usize::from(*edits)
                    && strsim::osa_distance(word, text) <= usize::from(*edits)
            }
        }
    }

    /// What every match begins with.
    pub fn prefix(&self) -> &str {
        match self {
            Pattern::Wild(wild) => wild.prefix(),
            _ => "",
        }
    }

    /// A regular expression in Lucene's syntax, over a whole word or keyword.
    ///
    /// # Errors
    /// One that cannot be read, or that uses Lucene's complement, intersection or number intervals.
    pub fn regex(source: &str, at: usize) -> Result<Self, QueryError> {
        let translated = translate(source).map_err(|(offset, why)| {
            QueryError::syntax(at + offset, format!("the regular expression {why}"))
        })?;
        let regex = RegexBuilder::new(&format!("^(?:{translated})$"))
            .dot_matches_new_line(true)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| {
                let message = format!("/{source}/ is no regular expression that can be read");
                QueryError::syntax(at, message)
            })?;
        Ok(Pattern::Regex(source.to_owned(), regex))
    }
}

/// The letters that Elasticsearch's AUTO lets differ in a word of this length.
pub fn auto_edits(word: &str) -> u8 {
    match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

/// Lucene's regular expression as one of the `regex` crate; else where and why not.
fn translate(source: &str) -> Result<String, (usize, String)> {
    let mut out = String::new();
    let characters: Vec<char> = source.chars().collect();
    let mut at = 0;
    let mut in_class = false;
    while let Some(&c) = characters.get(at) {
        let next = characters.get(at + 1).copied();
        match c {
            '\\' => {
                let escaped = next.ok_or((at, "ends with a lone \\".to_owned()))?;
                if matches!(escaped, 'd' | 'D' | 's' | 'S' | 'w' | 'W') {
                    out.push('\\');
                    out.push(escaped);
                } else {
                    out.push_str(&regex::escape(&escaped.to_string()));
                }
                at += 1;
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if next == Some('^') {
                    out.push('^');
                    at += 1;
                }
            }
            '-' if in_class => out.push('-'),
            // In a class of the `regex` crate these would be operators.
            _ if in_class => out.push_str(&match c {
                '[' | '&' | '~' | '^' => format!("\\{c}"),
                _ => regex::escape(&c.to_string()),
            }),
            '.' | '|' | '?' | '*' | '+' | '(' | ')' | '{' | '}' => out.push(c),
            '@' => out.push_str(".*"),
            '#' => out.push_str("[^\\s\\S]"),
            '~' | '&' | '<' | '>' => {
                let why = format!(
                    "uses {c}, which is not supported; escape it as \\{c} to mean the character"
                );
                return Err((at, why));
            }
            '"' => {
                let close = characters[at + 1..].iter().position(|c| *c == '"');
                let close = close.ok_or((at, "has an unclosed \"".to_owned()))? + at + 1;
                let text: String = characters[at + 1..close].iter().collect();
                out.push_str(&regex::escape(&text));
                at = close;
            }
            _ => out.push_str(&regex::escape(&c.to_string())),
        }
        at += 1;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wild(text: &str) -> Wild {
        let mut wild = Wild::default();
        for c in text.chars() {
            match c {
                '*' => wild.push_any(),
                '?' => wild.0.push(Piece::One),
                c => wild.push(c),
            }
        }
        wild
    }

    #[test]
    fn wildcards_match_whole_texts() {
        for (pattern, text, is) in [
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*ab", "aab", true),
            ("*aab*", "aaab", true),
            ("é?", "éü", true),
        ] {
            assert_eq!(wild(pattern).is_match(text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn regular_expressions_are_lucenes() {
        for (source, text, is) in [
            ("v[0-9.]+", "v1.2.3", true),
            ("v[0-9.]+", "xv1", false),
            ("a|b", "ab", false),
            ("a@", "a/b", true),
            ("\"a.b\"", "a.b", true),
            ("\"a.b\"", "axb", false),
            ("a\\.b", "axb", false),
            ("[^a-c]x", "dx", true),
            ("a^b", "a^b", true),
        ] {
            assert_eq!(
                Pattern::regex(source, 0).unwrap().is_match(text),
                is,
                "{source} {text}"
            );
        }
        for source in ["a~b", "a&b", "<1-5>", "(", "[a", "a\\", "\"a", "*"] {
            assert!(Pattern::regex(source, 0).is_err(), "{source}");
        }
    }

    #[test]
    fn a_swap_is_one_difference() {
        assert!(Pattern::Near("pendign".into(), 1).is_match("pending"));
        assert!(!Pattern::Near("pendign".into(), 1).is_match("peding"));
        assert!(Pattern::Near("a".into(), 0).is_match("a"));
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_a_regular_expression(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let source: String = pattern.chars().map(|c| match c {
                '*' => ".*".to_owned(), '?' => ".".to_owned(), c => c.to_string(),
            }).collect();
            let regex = Regex::new(&format!("^{source}$")).unwrap();
            prop_assert_eq!(wild(&pattern).is_match(&text), regex.is_match(&text));
        }

        #[test]
        fn no_regular_expression_panics(source in ".{0,20}") {
            let _ = Pattern::regex(&source, 0);
        }
    }
}
