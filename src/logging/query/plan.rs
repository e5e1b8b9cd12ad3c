//! What a query means over the fields that there are: the one form that the embedded index,
//! Elasticsearch and the live tail carry out.

use super::ast::{Expr, Field, Test};
use super::error::QueryError;
use super::fields::{FieldType, Fields};
use super::pattern::{Pattern, Wild, auto_edits};
use super::ranges::{long, number};
use super::time::{self, Clock};
use super::words::{lower, tokens};
use std::ops::Bound;

/// A query whose values are typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// What fulfils each.
    And(Vec<Plan>),
    /// What fulfils at least one.
    Or(Vec<Plan>),
    /// What does not fulfil it.
    Not(Box<Plan>),
    /// A value of the field fulfils the check.
    Field(String, Check),
    /// One object of the nested field fulfils all; the fields inside have their full names.
    Nested(String, Box<Plan>),
}

/// What one value must fulfil.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Is there, and of this type.
    Exists(FieldType),
    /// Text: has this word.
    Word(String),
    /// Text: has these words in this order, displaced by no more than the slop in all.
    Phrase(Vec<String>, u32),
    /// Text: has a word like this.
    WordLike(Pattern),
    /// Text: has a word in this range.
    WordRange(Bound<String>, Bound<String>),
    /// Keyword: is this.
    Is(String),
    /// Keyword: is like this.
    Like(Pattern),
    /// Keyword: lies in this range, by bytes of UTF-8.
    Range(Bound<String>, Bound<String>),
    /// Whole number: lies from … to, both included.
    Long(i64, i64),
    /// Number: lies in this range.
    Double(Bound<f64>, Bound<f64>),
    /// Boolean: is this.
    Bool(bool),
    /// Holds for a value that is of this type by itself, where a field has values of several types.
    Of(FieldType, Box<Check>),
    /// Date: lies from … to, nanoseconds since 1970, both included.
    Date(i64, i64),
}

impl Check {
    /// Whether no value at all can fulfil it.
    fn is_empty_range(&self) -> bool {
        matches!(self, Check::Long(low, high) | Check::Date(low, high) if low > high)
    }
}

/// What a query means over these fields at this time.
///
/// # Errors
/// What cannot be answered, at its character: a number field compared with a word, a nested field
/// outside its braces.
pub fn plan(expr: &Expr, fields: &Fields, clock: &Clock) -> Result<Plan, QueryError> {
    let planner = Planner { fields, clock };
    planner.expr(expr, None).map(simplify)
}

/// Text fields are asked for at most so many words; more of a query adds nothing but cost.
const WORDS: usize = 1024;

struct Planner<'a> {
    fields: &'a Fields,
    clock: &'a Clock,
}

impl Planner<'_> {
    fn expr(&self, expr: &Expr, nested: Option<&str>) -> Result<Plan, QueryError> {
        let all = |all: &[Expr]| {
            all.iter()
                .map(|e| self.expr(e, nested))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(match expr {
            Expr::All => Plan::All,
            Expr::And(parts) => Plan::And(all(parts)?),
            Expr::Or(parts) => Plan::Or(all(parts)?),
            Expr::Not(inner) => Plan::Not(Box::new(self.expr(inner, nested)?)),
            Expr::Nested { path, inner, at } => {
                let path = joined(nested, path);
                if !self.fields.is_nested(&path) {
                    // Elasticsearch refuses it too.
                    let message = format!(
                        "{path} is no nested field; write its fields without braces, as in {path}.name: x"
                    );
                    return Err(QueryError::query(*at, message));
                }
                let inner = self.expr(inner, Some(&path))?;
                Plan::Nested(path, Box::new(inner))
            }
            Expr::Leaf { field, test, at } => self.leaf(field, test, *at, nested)?,
        })
    }

    fn leaf(
        &self,
        field: &Field,
        test: &Test,
        at: usize,
        nested: Option<&str>,
    ) -> Result<Plan, QueryError> {
        match field {
            Field::Named { name, at: name_at } => {
                let name = joined(nested, name);
                self.in_reach(&name, *name_at, nested)?;
                self.field(&name, test, at, false)
            }
            Field::Any => {
                let wild = joined_wild(nested, Wild(vec![super::pattern::Piece::Any]));
                self.fields_like(&wild, test, at, nested)
            }
            Field::Like(wild) => {
                self.fields_like(&joined_wild(nested, wild.clone()), test, at, nested)
            }
        }
    }

    /// Nested fields are asked for in their braces only.
    fn in_reach(&self, name: &str, at: usize, nested: Option<&str>) -> Result<(), QueryError> {
        let Some(path) = self.nested_of(name, nested) else {
            return Ok(());
        };
        let inner = name[path.len()..].trim_start_matches('.');
        let inner = if inner.is_empty() { "name" } else { inner };
        let message = format!(
            "{path} is nested: ask for its fields in braces, as in {path}: {{ {inner}: x }}"
        );
        Err(QueryError::query(at, message))
    }

    /// The nested field below `nested` in which `name` lies.
    fn nested_of<'n>(&self, name: &'n str, nested: Option<&str>) -> Option<&'n str> {
        let inside = nested.map_or(0, str::len);
        let ends = name
            .match_indices('.')
            .map(|(at, _)| at)
            .chain([name.len()]);
        ends.filter(|end| *end > inside)
            .map(|end| &name[..end])
            .find(|path| self.fields.is_nested(path))
    }

    fn fields_like(
        &self,
        wild: &Wild,
        test: &Test,
        at: usize,
        nested: Option<&str>,
    ) -> Result<Plan, QueryError> {
        let mut any = Vec::new();
        for name in self.fields.like(wild) {
            if self.nested_of(name, nested).is_none() {
                any.push(self.field(name, test, at, true)?);
            }
        }
        Ok(Plan::Or(any))
    }

    /// A test of one field, of each of its types; `lenient`: what its type cannot hold matches nothing.
    fn field(&self, name: &str, test: &Test, at: usize, lenient: bool) -> Result<Plan, QueryError> {
        if *test == Test::Exists {
            return Ok(self.exists(name));
        }
        if *test == Test::Null {
            let message = format!(
                "no field has the value null; for events without {name} ask: not {name}: *"
            );
            return Err(QueryError::query(at, message));
        }
        let mut any = Vec::new();
        let mut refused = None;
        let types = self.fields.types(name);
        for kind in types {
            match self.check(name, *kind, test, at) {
                Ok(plan) if types.len() > 1 => any.push(of_type(plan, *kind)),
                Ok(plan) => any.push(plan),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if any.is_empty() && !lenient => Err(error),
            _ => Ok(Plan::Or(any)),
        }
    }

    /// A field exists where it has a value, an object where one of its fields does.
    fn exists(&self, name: &str) -> Plan {
        let below = self
            .fields
            .below(name)
            .filter(|below| self.nested_of(below, Some(name)).is_none());
        let mut any = Vec::new();
        for name in [name].into_iter().chain(below) {
            let types = self.fields.types(name);
            for kind in types.iter().filter(|kind| **kind != FieldType::Nested) {
                let plan = Plan::Field(name.to_owned(), Check::Exists(*kind));
                any.push(match types.len() {
                    1 => plan,
                    _ => of_type(plan, *kind),
                });
            }
        }
        Plan::Or(any)
    }

    fn check(
        &self,
        name: &str,
        kind: FieldType,
        test: &Test,
        at: usize,
    ) -> Result<Plan, QueryError> {
        let one = |check: Check| Plan::Field(name.to_owned(), check);
        match kind {
            FieldType::Text => text(name, test, at),
            FieldType::Keyword => Ok(one(keyword(test, at)?)),
            FieldType::Long => {
                let (low, high) = values(name, "whole numbers", test, at)?;
                long(&low, &high)
                    .map(|(low, high)| one(Check::Long(low, high)))
                    .ok_or_else(|| unfit(name, "numbers", test, at))
            }
            FieldType::Double => {
                let (low, high) = values(name, "numbers", test, at)?;
                let low = number(&low).ok_or_else(|| unfit(name, "numbers", test, at))?;
                let high = number(&high).ok_or_else(|| unfit(name, "numbers", test, at))?;
                Ok(one(Check::Double(low, high)))
            }
            FieldType::Boolean => match test {
                Test::Is(text) | Test::Phrase { text, .. } => match text.as_str() {
                    "true" => Ok(one(Check::Bool(true))),
                    "false" => Ok(one(Check::Bool(false))),
                    _ => Err(unfit(name, "true or false", test, at)),
                },
                _ => Err(unfit(name, "true or false", test, at)),
            },
            FieldType::Date => {
                let (low, high) = values(name, "times", test, at)?;
                let read = |text: &String| time::read(text, self.clock, at);
                let low = match &low {
                    Bound::Included(text) => read(text)?.first,
                    Bound::Excluded(text) => read(text)?.last.saturating_add(1),
                    Bound::Unbounded => i64::MIN,
                };
                let high = match &high {
                    Bound::Included(text) => read(text)?.last,
                    Bound::Excluded(text) => read(text)?.first.saturating_sub(1),
                    Bound::Unbounded => i64::MAX,
                };
                Ok(one(Check::Date(low, high)))
            }
            FieldType::Nested => Err(unfit(name, "objects", test, at)),
        }
    }
}

/// The same for values that are of this type by themselves.
fn of_type(plan: Plan, kind: FieldType) -> Plan {
    match plan {
        Plan::Or(all) => Plan::Or(all.into_iter().map(|p| of_type(p, kind)).collect()),
        Plan::Field(name, check) => Plan::Field(name, Check::Of(kind, Box::new(check))),
        other => other,
    }
}

fn unfit(name: &str, holds: &str, test: &Test, at: usize) -> QueryError {
    let what = match test {
        Test::Is(text) | Test::Phrase { text, .. } => format!("{text:?} is none"),
        Test::Range { low, high } => {
            let text = |bound: &Bound<String>| match bound {
                Bound::Included(text) | Bound::Excluded(text) => Some(text.clone()),
                Bound::Unbounded => None,
            };
            let values: Vec<String> = [text(low), text(high)].into_iter().flatten().collect();
            format!("{:?} is none", values.join(" to "))
        }
        _ => "patterns and near words are for text".to_owned(),
    };
    QueryError::query(at, format!("{name} holds {holds}; {what}"))
}

fn joined(nested: Option<&str>, name: &str) -> String {
    match nested {
        Some(path) => format!("{path}.{name}"),
        None => name.to_owned(),
    }
}

fn joined_wild(nested: Option<&str>, wild: Wild) -> Wild {
    let Some(path) = nested else { return wild };
    let mut whole = Wild::default();
    path.chars().chain(['.']).for_each(|c| whole.push(c));
    for piece in wild.0 {
        match piece {
            super::pattern::Piece::Text(text) => text.chars().for_each(|c| whole.push(c)),
            other => whole.0.push(other),
        }
    }
    whole
}

/// The range that a test of an ordered type means: a value alone is the range of itself.
fn values(
    name: &str,
    holds: &str,
    test: &Test,
    at: usize,
) -> Result<(Bound<String>, Bound<String>), QueryError> {
    match test {
        Test::Is(text) | Test::Phrase { text, .. } => {
            Ok((Bound::Included(text.clone()), Bound::Included(text.clone())))
        }
        Test::Range { low, high } => Ok((low.clone(), high.clone())),
        _ => Err(unfit(name, holds, test, at)),
    }
}

fn keyword(test: &Test, at: usize) -> Result<Check, QueryError> {
    Ok(match test {
        Test::Is(text) | Test::Phrase { text, .. } => Check::Is(text.clone()),
        Test::Like(wild) => Check::Like(Pattern::Wild(wild.clone())),
        Test::Regex(source) => Check::Like(Pattern::regex(source, at)?),
        Test::Near { text, edits } => Check::Like(Pattern::Near(
            text.clone(),
            edits.unwrap_or_else(|| auto_edits(text)),
        )),
        Test::Range { low, high } => Check::Range(low.clone(), high.clone()),
        Test::Exists | Test::Null => Check::Exists(FieldType::Keyword),
    })
}

fn text(name: &str, test: &Test, at: usize) -> Result<Plan, QueryError> {
    let one = |check: Check| Plan::Field(name.to_owned(), check);
    let words = |text: &str| {
        let mut words = tokens(text);
        words.truncate(WORDS);
        words
    };
    Ok(match test {
        Test::Is(text) => Plan::Or(
            words(text)
                .into_iter()
                .map(|w| one(Check::Word(w)))
                .collect(),
        ),
        Test::Phrase { text, slop } => {
            let mut words = words(text);
            match words.len() {
                0 => Plan::Nothing,
                1 => one(Check::Word(words.remove(0))),
                _ => one(Check::Phrase(words, *slop)),
            }
        }
        Test::Like(wild) => {
            let mut any = Vec::new();
            for word in wild.words() {
                match word.literal() {
                    Some(text) => any.extend(words(text).into_iter().map(|w| one(Check::Word(w)))),
                    None if word.is_any() => any.push(one(Check::Exists(FieldType::Text))),
                    None => any.push(one(Check::WordLike(Pattern::Wild(word.lower())))),
                }
            }
            Plan::Or(any)
        }
        Test::Regex(source) => one(Check::WordLike(Pattern::regex(&lower(source), at)?)),
        Test::Near { text, edits } => {
            let near = |word: String| {
                let edits = edits.unwrap_or_else(|| auto_edits(&word));
                one(Check::WordLike(Pattern::Near(word, edits)))
            };
            Plan::Or(words(text).into_iter().map(near).collect())
        }
        Test::Range { low, high } => {
            let lowered = |bound: &Bound<String>| bound.as_ref().map(|text| lower(text));
            one(Check::WordRange(lowered(low), lowered(high)))
        }
        Test::Exists | Test::Null => one(Check::Exists(FieldType::Text)),
    })
}

/// The same with groups of one, of nothing and of everything resolved.
pub fn simplify(plan: Plan) -> Plan {
    match plan {
        Plan::And(all) => {
            let mut kept = Vec::new();
            for part in all.into_iter().map(simplify) {
                match part {
                    Plan::All => {}
                    Plan::Nothing => return Plan::Nothing,
                    Plan::And(inner) => kept.extend(inner),
                    part => kept.push(part),
                }
            }
            match kept.len() {
                0 => Plan::All,
                1 => kept.remove(0),
                _ => Plan::And(kept),
            }
        }
        Plan::Or(all) => {
            let mut kept = Vec::new();
            for part in all.into_iter().map(simplify) {
                match part {
                    Plan::Nothing => {}
                    Plan::All => return Plan::All,
                    Plan::Or(inner) => kept.extend(inner),
                    part => kept.push(part),
                }
            }
            match kept.len() {
                0 => Plan::Nothing,
                1 => kept.remove(0),
                _ => Plan::Or(kept),
            }
        }
        Plan::Not(inner) => match simplify(*inner) {
            Plan::All => Plan::Nothing,
            Plan::Nothing => Plan::All,
            Plan::Not(inner) => *inner,
            inner => Plan::Not(Box::new(inner)),
        },
        Plan::Nested(path, inner) => match simplify(*inner) {
            Plan::Nothing => Plan::Nothing,
            inner => Plan::Nested(path, Box::new(inner)),
        },
        Plan::Field(_, Check::Of(_, inner)) if inner.is_empty_range() => Plan::Nothing,
        Plan::Field(_, Check::Long(low, high)) if low > high => Plan::Nothing,
        Plan::Field(_, Check::Date(low, high)) if low > high => Plan::Nothing,
        other => other,
    }
}
