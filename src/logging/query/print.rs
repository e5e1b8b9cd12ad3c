//! Writes a query in KQL, such that reading it gives the same query.

use super::ast::{Expr, Field, Test};
use super::kql::{is_space, is_special};
use super::pattern::{Piece, Wild};
use std::ops::Bound;

/// A text with what KQL would read otherwise escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in split_keeping(text) {
        let keyword = ["and", "or", "not"]
            .iter()
            .any(|k| word.eq_ignore_ascii_case(k));
        if keyword {
            out.push('\\');
        }
        for c in word.chars() {
            match c {
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                c if is_special(c) => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
    }
    out
}

/// A text in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Words and the spaces between them.
fn split_keeping(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(is_space).flat_map(|part| {
        let word = part.trim_end_matches(is_space);
        [word, &part[word.len()..]]
    })
}

/// A query in KQL, such that reading it gives the same query again; `None` where it has what only Lucene can say.
pub fn print(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::All => "*".to_owned(),
        Expr::And(all) => joined(all, " and ")?,
        Expr::Or(all) => joined(all, " or ")?,
        Expr::Not(inner) => match **inner {
            Expr::Not(_) => format!("not ({})", print(inner)?),
            _ => format!("not {}", print_in_group(inner)?),
        },
        Expr::Nested { path, inner, .. } => format!("{}: {{ {} }}", name(path), print(inner)?),
        Expr::Leaf { field, test, .. } => {
            let field = match field {
                Field::Any => String::new(),
                Field::Named { name: n, .. } => name(n),
                Field::Like(wild) => print_wild(wild)?,
            };
            let colon = match field.is_empty() {
                true => String::new(),
                false => format!("{field}: "),
            };
            match test {
                Test::Is(text) => format!("{colon}{}", bare(text)?),
                Test::Phrase { text, slop: 0 } => format!("{colon}{}", quoted(text)),
                Test::Like(wild) => format!("{colon}{}", print_wild(wild)?),
                Test::Exists => format!("{colon}*"),
                Test::Null => format!("{colon}null"),
                Test::Range { low, high } => match (low, high) {
                    (Bound::Included(v), Bound::Unbounded) => format!("{field} >= {}", quoted(v)),
                    (Bound::Excluded(v), Bound::Unbounded) => format!("{field} > {}", quoted(v)),
                    (Bound::Unbounded, Bound::Included(v)) => format!("{field} <= {}", quoted(v)),
                    (Bound::Unbounded, Bound::Excluded(v)) => format!("{field} < {}", quoted(v)),
                    _ => return None,
                },
                _ => return None,
            }
        }
    })
}

/// A text without quotes, where there is one that is read back as it.
fn bare(text: &str) -> Option<String> {
    (!text.is_empty() && text.trim() == text).then(|| escaped(text))
}

fn name(text: &str) -> String {
    bare(text).unwrap_or_else(|| quoted(text))
}

fn print_in_group(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::And(_) | Expr::Or(_) => format!("({})", print(expr)?),
        _ => print(expr)?,
    })
}

fn joined(all: &[Expr], by: &str) -> Option<String> {
    let parts: Option<Vec<String>> = all.iter().map(print_in_group).collect();
    Some(parts?.join(by))
}

fn print_wild(wild: &Wild) -> Option<String> {
    let mut out = String::new();
    for piece in &wild.0 {
        match piece {
            Piece::Any => out.push('*'),
            Piece::One => return None,
            Piece::Text(text) => out.push_str(&escaped(text)),
        }
    }
    Some(out)
}
