//! Reads the basics of Lucene's query-string syntax, as Elasticsearch's `query_string` does.
//!
//! The classic reading is kept: `a OR b AND c` makes `b` and `c` required and `a` idle. Boosts (`^2`) say
//! nothing to a filter and are read over.

mod values;

use super::ast::{Expr, Field, Test};
use super::error::QueryError;
use super::pattern::{Piece, Wild};
use super::reader::{Parsed, Reader, Syntax, leaf};

/// Parses a query; an empty one asks for everything.
///
/// # Errors
/// The character at which it cannot be read, and what was expected there.
pub fn parse(text: &str) -> Result<Expr, QueryError> {
    let Some(mut parser) = Parser::open(text)? else {
        return Ok(Expr::All);
    };
    let expr = parser.clauses(&Field::Any)?;
    match parser.peek() {
        None => Ok(expr),
        Some(c) => Err(parser.expected(&format!(
            "a term, found {c:?}; write \\{c} to mean the character"
        ))),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Occur {
    Must,
    Should,
    MustNot,
}

struct Lucene;

impl Syntax for Lucene {
    fn is_space(c: char) -> bool {
        c.is_whitespace()
    }
}

type Parser = Reader<Lucene>;

impl Parser {
    /// Takes an operator word, which is in capitals and ends a word.
    fn take_word(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let found = self
            .characters
            .get(self.at..end)
            .is_some_and(|found| found.iter().copied().eq(word.chars()));
        let ends = self
            .characters
            .get(end)
            .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '+' | '-' | '!'));
        if found && ends {
            self.at = end;
        }
        found && ends
    }

    fn take_pair(&mut self, c: char) -> bool {
        let pair = self.next_is(0, c) && self.next_is(1, c);
        if pair {
            self.at += 2;
        }
        pair
    }

    /// Clauses up to `)` or the end.
    fn clauses(&mut self, field: &Field) -> Parsed {
        self.deeper(|p| p.clauses_here(field))
    }

    fn clauses_here(&mut self, field: &Field) -> Parsed {
        let mut all: Vec<(Occur, Expr)> = Vec::new();
        loop {
            self.spaces();
            if self.peek().is_none_or(|c| c == ')') {
                break;
            }
            let start = self.at;
            let and = self.take_word("AND") || self.take_pair('&');
            let or = !and && (self.take_word("OR") || self.take_pair('|'));
            if (and || or) && all.is_empty() {
                self.at = start;
                return Err(self.expected("a term before this operator"));
            }
            self.spaces();
            let mut occur = match self.peek() {
                Some('+') => Some(Occur::Must),
                Some('-' | '!') => Some(Occur::MustNot),
                _ => None,
            };
            if occur.is_some() {
                self.at += 1;
            } else if self.take_word("NOT") {
                occur = Some(Occur::MustNot);
            }
            self.spaces();
            if and
                && let Some((before, _)) = all.last_mut()
                && *before == Occur::Should
            {
                *before = Occur::Must;
            }
            let occur = match (occur, and) {
                (Some(occur), _) => occur,
                (None, true) => Occur::Must,
                (None, false) => Occur::Should,
            };
            let clause = self.clause(field)?;
            all.push((occur, clause));
        }
        if all.is_empty() {
            return Err(self.expected("a term"));
        }
        Ok(combined(all))
    }

    fn clause(&mut self, field: &Field) -> Parsed {
        let from = self.at;
        match self.peek() {
            Some('(') => return self.group(field),
            Some('"') => return self.phrase(field),
            Some('/') => return self.regex(field),
            Some('[' | '{') => return self.range(field),
            Some('>' | '<') => return self.comparison(field),
            _ => {}
        }
        let wild = self.term()?;
        if self.peek() == Some(':') {
            if *field != Field::Any {
                return Err(self.expected("a value; a field cannot stand in the group of another"));
            }
            self.at += 1;
            self.spaces();
            return self.fielded(wild, from);
        }
        self.finish_term(field, wild, from)
    }

    fn fielded(&mut self, name: Wild, from: usize) -> Parsed {
        if name.literal() == Some("_exists_") {
            let at = self.at;
            let name = self.term()?;
            self.boost();
            return Ok(leaf(Field::of(name, at), Test::Exists, at));
        }
        let field = Field::of(name, from);
        if self.peek().is_none_or(|c| c == ')' || c == ':') {
            return Err(self.expected("a value"));
        }
        self.clause_of(&field)
    }

    /// A clause whose field has been read: a term with a colon after it is refused.
    fn clause_of(&mut self, field: &Field) -> Parsed {
        if *field == Field::Any {
            let at = self.at;
            // `*:*` is everything.
            if self.next_is(0, '*')
                && self
                    .characters
                    .get(at + 1)
                    .is_none_or(|c| c.is_whitespace() || *c == ')')
            {
                self.at += 1;
                return Ok(Expr::All);
            }
        }
        self.clause(field)
    }

    fn group(&mut self, field: &Field) -> Parsed {
        self.at += 1;
        let inner = self.clauses(field)?;
        if self.peek() != Some(')') {
            return Err(self.expected(")"));
        }
        self.at += 1;
        self.boost();
        Ok(inner)
    }

    /// A term, with its wildcards and escapes.
    fn term(&mut self) -> Result<Wild, QueryError> {
        let from = self.at;
        let mut wild = Wild::default();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    let Some(escaped) = self.peek() else {
                        return Err(self.expected("a character after \\"));
                    };
                    wild.push(escaped);
                }
                '*' => wild.push_any(),
                '?' => wild.0.push(Piece::One),
                '+' | '-' | '/' if self.at > from => wild.push(c),
                '!' if self.at > from => wild.push(c),
                c if c.is_whitespace() => break,
                ':' | '(' | ')' | '[' | ']' | '{' | '}' | '"' | '^' | '~' | '+' | '-' | '!'
                | '/' => break,
                c => wild.push(c),
            }
            self.at += 1;
        }
        if wild.0.is_empty() {
            return Err(self.expected("a term"));
        }
        Ok(wild)
    }

    fn finish_term(&mut self, field: &Field, wild: Wild, at: usize) -> Parsed {
        let test = if self.peek() == Some('~') {
            self.at += 1;
            let edits = self.number()?;
            let Some(text) = wild.literal().map(ToOwned::to_owned) else {
                return Err(QueryError::syntax(at, "a near word (~) takes no wildcards"));
            };
            let edits = match edits {
                None => None,
                Some(n) if n >= 1.0 => Some(if n >= 2.0 { 2 } else { 1 }),
                // The old way: how similar the word must be.
                Some(similarity) => {
                    let letters =
                        f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
                    let edits = ((1.0 - similarity) * letters).floor();
                    Some(if edits >= 2.0 {
                        2
                    } else {
                        u8::from(edits >= 1.0)
                    })
                }
            };
            Test::Near { text, edits }
        } else if wild.is_any() {
            Test::Exists
        } else {
            match wild.literal() {
                Some(text) => Test::Is(text.to_owned()),
                None => Test::Like(wild),
            }
        };
        self.boost();
        Ok(leaf(field.clone(), test, at))
    }
}

/// Clauses as a filter: optional ones matter only where none is required, and what is only forbidden
/// leaves the rest.
fn combined(all: Vec<(Occur, Expr)>) -> Expr {
    let (mut must, mut should, mut not) = (Vec::new(), Vec::new(), Vec::new());
    for (occur, expr) in all {
        match occur {
            Occur::Must => must.push(expr),
            Occur::Should => should.push(expr),
            Occur::MustNot => not.push(Expr::Not(Box::new(expr))),
        }
    }
    if must.is_empty() && !should.is_empty() {
        must.push(match should.len() {
            1 => should.remove(0),
            _ => Expr::Or(should),
        });
    }
    must.append(&mut not);
    match must.len() {
        1 => must.remove(0),
        _ => Expr::And(must),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str) -> Expr {
        let test = Test::Is(text.to_owned());
        Expr::Leaf {
            field: Field::Any,
            test,
            at: 0,
        }
    }

    /// Without places, which these tests are not about.
    fn plain(expr: Expr) -> Expr {
        let each = |all: Vec<Expr>| all.into_iter().map(plain).collect();
        match expr {
            Expr::And(all) => Expr::And(each(all)),
            Expr::Or(all) => Expr::Or(each(all)),
            Expr::Not(inner) => Expr::Not(Box::new(plain(*inner))),
            Expr::Leaf { field, test, .. } => Expr::Leaf { field, test, at: 0 },
            other => other,
        }
    }

    #[test]
    fn operators_have_the_classic_reading() {
        let read = |text: &str| plain(parse(text).unwrap());
        let not = |e| Expr::Not(Box::new(e));
        assert_eq!(read("a OR b AND c"), Expr::And(vec![is("b"), is("c")]));
        assert_eq!(read("a b"), Expr::Or(vec![is("a"), is("b")]));
        assert_eq!(read("a && !b"), Expr::And(vec![is("a"), not(is("b"))]));
        assert_eq!(read("NOT a"), not(is("a")));
        assert_eq!(read("+a b -c"), Expr::And(vec![is("a"), not(is("c"))]));
        assert_eq!(read("a-b ORDER"), Expr::Or(vec![is("a-b"), is("ORDER")]));
        assert_eq!(read("a^2 (b)^3"), Expr::Or(vec![is("a"), is("b")]));
        assert_eq!(read("*:*"), Expr::All);
        assert_eq!(read("a\\:b"), is("a:b"));
    }

    #[test]
    fn errors_have_their_place() {
        for (text, offset) in [
            ("status:[1 TO", 12),
            ("AND a", 0),
            ("a AND", 5),
            ("(a", 2),
            ("a)", 1),
            ("\"a", 0),
            ("f:", 2),
            ("f:/a", 2),
            ("a\\", 2),
            ("f:[1 2]", 5),
            (">=5", 0),
            ("()", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }
}
