//! Reads KQL, the language of Kibana's query bar: a recursive descent along Kibana's own grammar.
//!
//! One reading is kinder than Kibana's: a word that merely ends in "not" (`cannot connect`) is a word.

use super::ast::{Expr, Field, Test};
use super::error::QueryError;
use super::pattern::Wild;
use super::reader::{self, Parsed, Reader, Syntax};

/// Parses a KQL query; an empty one asks for everything.
///
/// # Errors
/// The character at which it cannot be read, and what was expected there.
pub fn parse(text: &str) -> Result<Expr, QueryError> {
    let Some(mut parser) = Parser::open(text)? else {
        return Ok(Expr::All);
    };
    let expr = parser.or(Parser::sub_query)?;
    parser.spaces();
    match parser.peek() {
        None => Ok(expr),
        Some(c) => Err(parser.expected(&format!("AND, OR or the end of the query, found {c:?}"))),
    }
}

/// A value or a name as it was written.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Quoted(String),
    Bare(Wild),
}

struct Kql;

impl Syntax for Kql {
    fn is_space(c: char) -> bool {
        is_space(c)
    }
}

type Parser = Reader<Kql>;

impl Parser {
    /// Whether `word` with a space after it stands at `at`, in any letter case; where it ends.
    fn word(&self, at: usize, word: &str) -> Option<usize> {
        let mut end = at;
        for wanted in word.chars() {
            if !self.characters.get(end)?.eq_ignore_ascii_case(&wanted) {
                return None;
            }
            end += 1;
        }
        self.characters.get(end).copied().filter(|c| is_space(*c))?;
        Some(end)
    }

    /// Whether spaces, `word` and spaces stand at `at`; where they end.
    fn operator(&self, at: usize, word: &str) -> Option<usize> {
        let mut from = at;
        while self.characters.get(from).copied().is_some_and(is_space) {
            from += 1;
        }
        (from > at).then_some(())?;
        let mut end = self.word(from, word)?;
        while self.characters.get(end).copied().is_some_and(is_space) {
            end += 1;
        }
        Some(end)
    }

    fn take_operator(&mut self, word: &str) -> bool {
        // The literal before has taken its spaces only up to the operator's.
        match self.operator(self.at, word) {
            Some(end) => {
                self.at = end;
                true
            }
            None => false,
        }
    }

    /// Operands between `or`, of operands between `and`, each perhaps after `not`.
    fn or(&mut self, operand: fn(&mut Self) -> Parsed) -> Parsed {
        self.deeper(|p| {
            let mut all = vec![p.and(operand)?];
            while p.take_operator("or") {
                all.push(p.and(operand)?);
            }
            Ok(one_or(all, Expr::Or))
        })
    }

    fn and(&mut self, operand: fn(&mut Self) -> Parsed) -> Parsed {
        let mut all = vec![self.not(operand)?];
        while self.take_operator("and") {
            all.push(self.not(operand)?);
        }
        Ok(one_or(all, Expr::And))
    }

    fn not(&mut self, operand: fn(&mut Self) -> Parsed) -> Parsed {
        let Some(end) = self.word(self.at, "not") else {
            return operand(self);
        };
        self.at = end;
        self.spaces();
        if self.word(self.at, "not").is_some() {
            return Err(self.expected("what is not to match; one NOT is enough"));
        }
        Ok(Expr::Not(Box::new(operand(self)?)))
    }

    fn group(&mut self, operand: fn(&mut Self) -> Parsed) -> Parsed {
        self.at += 1;
        self.spaces();
        let inner = self.or(operand)?;
        self.spaces();
        if self.peek() != Some(')') {
            return Err(self.expected("AND, OR or )"));
        }
        self.at += 1;
        Ok(inner)
    }

    fn sub_query(&mut self) -> Parsed {
        if self.peek() == Some('(') {
            return self.group(Self::sub_query);
        }
        let from = self.at;
        let literal = self.literal("a field, a value, NOT or (")?;
        let after = self.at;
        self.spaces();
        match self.peek() {
            Some(':') => {
                self.at += 1;
                self.spaces();
                let field = field(literal, from);
                if self.peek() == Some('{') {
                    return self.nested(field, from);
                }
                self.value_list(&field)
            }
            Some('<' | '>') => self.range(field(literal, from)),
            _ => {
                self.at = after;
                Ok(leaf(Field::Any, literal, from))
            }
        }
    }

    fn nested(&mut self, field: Field, from: usize) -> Parsed {
        let Field::Named { name, .. } = field else {
            let message = "a nested field is named in full, without *";
            return Err(QueryError::syntax(from, message));
        };
        self.at += 1;
        self.spaces();
        let inner = self.or(Self::sub_query)?;
        self.spaces();
        if self.peek() != Some('}') {
            return Err(self.expected("AND, OR or }"));
        }
        self.at += 1;
        Ok(Expr::Nested {
            path: name,
            inner: Box::new(inner),
            at: from,
        })
    }

    fn range(&mut self, field: Field) -> Parsed {
        let comparison = self.comparison_operator();
        let at = self.at;
        let literal = self.literal("a value to compare with")?;
        let text = match &literal {
            Literal::Quoted(text) => text.clone(),
            Literal::Bare(wild) => match wild.literal() {
                Some(text) => text.to_owned(),
                None => {
                    let message =
                        "a comparison takes no *; put the value in quotes to mean the character";
                    return Err(QueryError::syntax(at, message));
                }
            },
        };
        let test = comparison.with(text);
        Ok(Expr::Leaf { field, test, at })
    }

    /// What follows `field:`: a value, or a list in parentheses.
    fn value_list(&mut self, field: &Field) -> Parsed {
        if self.peek() != Some('(') {
            let at = self.at;
            let literal = self.literal("a value, ( or {")?;
            return Ok(leaf(field.clone(), literal, at));
        }
        // Lists have the operators of queries, but their operands are values: read them as queries
        // of no field and set the field afterwards.
        let inner = self.group(Self::list_item)?;
        Ok(of_field(inner, field))
    }

    fn list_item(&mut self) -> Parsed {
        if self.peek() == Some('(') {
            return self.group(Self::list_item);
        }
        let at = self.at;
        let literal = self.literal("a value, NOT or (")?;
        Ok(leaf(Field::Any, literal, at))
    }

    fn literal(&mut self, what: &str) -> Result<Literal, QueryError> {
        match self.peek() {
            Some('"') => self.quoted(),
            _ => self.bare(what),
        }
    }

    fn quoted(&mut self) -> Result<Literal, QueryError> {
        let from = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(QueryError::syntax(from, "this \" is never closed"));
            };
            if c == '"' {
                self.at += 1;
                return Ok(Literal::Quoted(text));
            }
            match self.escape(|c| matches!(c, '\\' | '"')) {
                Some(c) => text.push(c),
                None => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    /// An escape at this place: white space, Unicode, or a character that `special` names.
    fn escape(&mut self, special: fn(char) -> bool) -> Option<char> {
        if self.peek() != Some('\\') {
            return None;
        }
        let next = self.characters.get(self.at + 1).copied()?;
        let (c, length) = match next {
            't' => ('\t', 2),
            'r' => ('\r', 2),
            'n' => ('\n', 2),
            'u' => {
                let digits = self.characters.get(self.at + 2..self.at + 6)?;
                let digits: String = digits.iter().collect();
                if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
                    return None;
                }
                let code = u32::from_str_radix(&digits, 16).ok()?;
                // Half of a pair is no character here.
                (
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                    6,
                )
            }
            c if special(c) => (c, 2),
            _ => return None,
        };
        self.at += length;
        Some(c)
    }

    /// An escaped keyword at this place, which stands for its letters.
    fn escaped_keyword(&mut self) -> Option<String> {
        if self.peek() != Some('\\') {
            return None;
        }
        for word in ["and", "or", "not"] {
            let end = self.at + 1 + word.len();
            let found: Option<String> = self
                .characters
                .get(self.at + 1..end)
                .map(|letters| letters.iter().collect());
            let ends = self
                .characters
                .get(end)
                .is_none_or(|c| is_space(*c) || is_special(*c));
            // `\\nothing` begins with a line break.
            let is = |found: &String| found.eq_ignore_ascii_case(word) && (ends || word != "not");
            if let Some(found) = found.filter(is) {
                self.at = end;
                return Some(found);
            }
        }
        None
    }

    fn bare(&mut self, what: &str) -> Result<Literal, QueryError> {
        let from = self.at;
        let mut wild = Wild::default();
        // Kept apart, so that trimming takes no escaped space.
        while let Some(c) = self.peek() {
            let starts_word = self.at == from
                || self
                    .characters
                    .get(self.at - 1)
                    .copied()
                    .is_some_and(is_space);
            let keyword = self.operator(self.at, "and").is_some()
                || self.operator(self.at, "or").is_some()
                || (starts_word && self.word(self.at, "not").is_some());
            if keyword {
                break;
            }
            if c == '\\' {
                // The keyword first: `\\not` would else be a line break and `ot`, as it is in Kibana.
                if let Some(word) = self.escaped_keyword() {
                    word.chars().for_each(|c| wild.push(c));
                } else if let Some(c) = self.escape(is_special) {
                    wild.push(c);
                } else {
                    let message = r#"expected one of \ ( ) : < > " * { } t r n uXXXX and or not after \; write \\ to mean a backslash"#;
                    return Err(QueryError::syntax(self.at, message));
                }
                continue;
            }
            if c == '*' {
                wild.push_any();
            } else if is_special(c) {
                break;
            } else {
                wild.push(c);
            }
            self.at += 1;
        }
        // The spaces at the end belong to what follows: an operator wants them.
        let spaces = self.characters[from..self.at]
            .iter()
            .rev()
            .take_while(|c| is_space(**c))
            .count();
        let wild = wild.trimmed();
        if wild.0.is_empty() {
            return Err(self.expected(what));
        }
        self.at -= spaces;
        Ok(Literal::Bare(wild))
    }
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{a0}')
}

pub(super) fn is_special(c: char) -> bool {
    matches!(
        c,
        '\\' | '(' | ')' | ':' | '<' | '>' | '"' | '*' | '{' | '}'
    )
}

fn one_or(mut all: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match (all.len(), all.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            all.extend(last);
            many(all)
        }
    }
}

fn field(literal: Literal, at: usize) -> Field {
    match literal {
        Literal::Quoted(name) => Field::Named { name, at },
        Literal::Bare(wild) => Field::of(wild, at),
    }
}

fn leaf(field: Field, literal: Literal, at: usize) -> Expr {
    let test = match literal {
        Literal::Quoted(text) => Test::Phrase { text, slop: 0 },
        Literal::Bare(wild) if wild.is_any() => Test::Exists,
        Literal::Bare(wild) => match wild.literal() {
            // The word without a field is a word.
            Some("null") if field != Field::Any => Test::Null,
            Some(text) => Test::Is(text.to_owned()),
            None => Test::Like(wild),
        },
    };
    reader::leaf(field, test, at)
}

/// The values of a list as tests of its field.
fn of_field(expr: Expr, field: &Field) -> Expr {
    let each = |all: Vec<Expr>| all.into_iter().map(|e| of_field(e, field)).collect();
    match expr {
        Expr::And(all) => Expr::And(each(all)),
        Expr::Or(all) => Expr::Or(each(all)),
        Expr::Not(inner) => Expr::Not(Box::new(of_field(*inner, field))),
        // `*` in a list was read as everything.
        Expr::All if *field != Field::Any => Expr::Leaf {
            field: field.clone(),
            test: Test::Exists,
            at: 0,
        },
        Expr::Leaf { test, at, .. } => {
            let test = match test {
                Test::Is(text) if text == "null" && *field != Field::Any => Test::Null,
                test => test,
            };
            Expr::Leaf {
                field: field.clone(),
                test,
                at,
            }
        }
        other => other,
    }
}
