//! A plan as a tantivy query over one partition, with the very same meaning.
//!
//! What concerns contexts only is decided once for each context, and asks for their numbers. What tantivy
//! cannot say (one nested object that fulfils all, words near one another) is decided on the events that
//! can be it at all.

use super::columns::{Numbers, at_between, by_context, has_column, number_column};
use super::dictionary::Dictionary;
use super::docsets::{self, Calm, Decide, Leaf, Verified};
use super::encode::halves;
use super::layout::{ID, Layout, NO_MESSAGE, SEQ, in_context};
use super::source::Sources;
use crate::logging::query::evaluate::{Event, between};
use crate::logging::query::{Check, FieldType, Fields, Plan};
use std::sync::Arc;
use tantivy::columnar::DynamicColumn;
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Term};

/// What a plan is compiled against.
pub struct Compiler<'a> {
    /// Where things lie.
    pub layout: &'a Layout,
    /// Contexts and fields.
    pub dictionary: &'a Dictionary,
    /// The fields whose type is given.
    pub typed: &'a Fields,
    /// How events are rebuilt.
    pub sources: Sources,
}

impl Compiler<'_> {
    /// The query.
    pub fn query(&self, plan: &Plan) -> Box<dyn Query> {
        if let Some(query) = self.of_contexts(plan) {
            return query;
        }
        match plan {
            Plan::All => Box::new(AllQuery),
            Plan::Nothing => Box::new(EmptyQuery),
            Plan::And(all) => self.group(all, Occur::Must),
            Plan::Or(all) => self.group(all, Occur::Should),
            Plan::Not(inner) => Box::new(BooleanQuery::new(vec![
                (Occur::Must, Box::new(AllQuery) as Box<dyn Query>),
                (Occur::MustNot, self.query(inner)),
            ])),
            Plan::Field(name, check) => self.field(name, check),
            Plan::Nested(path, inner) => {
                let candidates = self.candidates(inner);
                self.verified(candidates, &Plan::Nested(path.clone(), inner.clone()))
            }
        }
    }

    /// Parts that concern contexts only are put together first.
    fn group(&self, all: &[Plan], occur: Occur) -> Box<dyn Query> {
        let (contexts, others): (Vec<&Plan>, Vec<&Plan>) =
            all.iter().partition(|p| self.concerns_contexts(p));
        let mut clauses = Vec::new();
        if !contexts.is_empty() {
            let parts: Vec<Plan> = contexts.into_iter().cloned().collect();
            let together = if occur == Occur::Must {
                Plan::And(parts)
            } else {
                Plan::Or(parts)
            };
            clauses.push((
                occur,
                self.of_contexts(&together)
                    .unwrap_or_else(|| Box::new(EmptyQuery)),
            ));
        }
        for part in others {
            match (part, occur) {
                // Excluding is cheaper than making the set of all others.
                (Plan::Not(inner), Occur::Must) => {
                    clauses.push((Occur::MustNot, self.query(inner)))
                }
                _ => clauses.push((occur, self.query(part))),
            }
        }
        if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
            clauses.push((Occur::Must, Box::new(AllQuery)));
        }
        Box::new(BooleanQuery::new(clauses))
    }

    fn concerns_contexts(&self, plan: &Plan) -> bool {
        match plan {
            Plan::And(all) | Plan::Or(all) => all.iter().all(|p| self.concerns_contexts(p)),
            Plan::Not(inner) => self.concerns_contexts(inner),
            Plan::Field(name, _) | Plan::Nested(name, _) => {
                in_context(name) && !self.dictionary.overflowed
            }
            Plan::All | Plan::Nothing => false,
        }
    }

    /// The events of the contexts that fulfil a plan which concerns nothing else.
    fn of_contexts(&self, plan: &Plan) -> Option<Box<dyn Query>> {
        if !self.concerns_contexts(plan) {
            return None;
        }
        Some(self.contexts_that(|context| plan.matches(context)))
    }

    fn contexts_that(&self, is: impl Fn(&Event) -> bool) -> Box<dyn Query> {
        let contexts = self.dictionary.contexts();
        let chosen: Vec<bool> = contexts.iter().map(|context| is(context)).collect();
        let count = chosen.iter().filter(|is| **is).count();
        if count == 0 {
            return Box::new(EmptyQuery);
        }
        // Not AllQuery: an event without a context has none of them.
        if count == contexts.len() && !self.dictionary.overflowed {
            return Box::new(AllQuery);
        }
        let chosen: Arc<[bool]> = chosen.into();
        Leaf::boxed(move |reader| by_context(reader, &chosen))
    }

    fn field(&self, name: &str, check: &Check) -> Box<dyn Query> {
        if let Check::Of(_, inner) = check
            && !in_context(name)
        {
            return self.field(name, inner);
        }
        if in_context(name) {
            // Some events hold their context themselves.
            let plan = Plan::Field(name.to_owned(), check.clone());
            let held = self.contexts_that(|context| plan.matches(context));
            return Box::new(BooleanQuery::union(vec![held, self.dynamic(name, check)]));
        }
        match (name, check) {
            ("timestamp", Check::Date(low, high)) => at_between(*low, *high),
            ("timestamp", Check::Exists(_)) | ("event_id", Check::Exists(_)) => Box::new(AllQuery),
            ("event_id", Check::Is(id)) => self.by_id(id),
            ("timestamp" | "event_id", _) => self.verified(
                Box::new(AllQuery),
                &Plan::Field(name.to_owned(), check.clone()),
            ),
            ("seq", Check::Long(low, high)) => {
                let range =
                    (*low).max(0).cast_unsigned()..=(*high).max(-1).wrapping_add(1).cast_unsigned();
                let last = range.end().checked_sub(1);
                let held = match last {
                    Some(last) => {
                        number_column(SEQ.to_owned(), Numbers::Unsigned(*range.start()..=last))
                    }
                    None => Box::new(EmptyQuery),
                };
                Box::new(BooleanQuery::union(vec![held, self.dynamic(name, check)]))
            }
            ("seq", Check::Exists(_)) => {
                let held = has_column(SEQ.to_owned(), |_| true);
                Box::new(BooleanQuery::union(vec![held, self.dynamic(name, check)]))
            }
            ("message", _) if self.typed.types("message") == [FieldType::Text] => {
                self.any_message(check)
            }
            _ => self.dynamic(name, check),
        }
    }

    /// Where a message is no text (a number, a list) it lies among the other texts.
    fn any_message(&self, check: &Check) -> Box<dyn Query> {
        let held = self.message(check);
        if self.dictionary.fields.types("message").is_empty() {
            return held;
        }
        Box::new(BooleanQuery::union(vec![
            held,
            self.dynamic("message", check),
        ]))
    }

    fn message(&self, check: &Check) -> Box<dyn Query> {
        let field = self.layout.message;
        let term = |word: &String| Term::from_field_text(field, word);
        match check {
            Check::Word(word) => term_query(term(word)),
            Check::Phrase(words, 0) => {
                Calm::boxed(PhraseQuery::new(words.iter().map(term).collect()))
            }
            Check::Phrase(words, _) => {
                let all = words.iter().map(|w| term_query(term(w))).collect();
                let plan = Plan::Field("message".to_owned(), check.clone());
                self.verified(Box::new(BooleanQuery::intersection(all)), &plan)
            }
            Check::WordLike(pattern) => {
                let pattern = pattern.clone();
                term_scan(
                    field,
                    Vec::new(),
                    pattern.prefix().to_owned(),
                    move |word| pattern.is_match(word),
                )
            }
            Check::WordRange(low, high) => {
                let (low, high) = (low.clone(), high.clone());
                term_scan(field, Vec::new(), String::new(), move |word| {
                    between(&low, &high, word)
                })
            }
            Check::Exists(FieldType::Text) => Box::new(BooleanQuery::new(vec![
                (Occur::Must, Box::new(AllQuery) as Box<dyn Query>),
                (
                    Occur::MustNot,
                    term_query(Term::from_field_text(self.layout.flags, NO_MESSAGE)),
                ),
            ])),
            _ => Box::new(EmptyQuery),
        }
    }

    fn dynamic(&self, name: &str, check: &Check) -> Box<dyn Query> {
        if let Check::Of(_, inner) = check {
            // Values lie by their types.
            return self.dynamic(name, inner);
        }
        let (keys, texts) = (self.layout.keys, self.layout.texts);
        let column = |of: &str| format!("{of}.{}", escaped(name));
        match check {
            Check::Is(text) => {
                let mut term = path_term(keys, name);
                term.append_type_and_str(text);
                term_query(term)
            }
            Check::Bool(is) => {
                let mut term = path_term(keys, name);
                term.append_type_and_fast_value(*is);
                term_query(term)
            }
            Check::Like(pattern) => {
                let pattern = pattern.clone();
                let prefix = pattern.prefix().to_owned();
                term_scan(keys, path_bytes(keys, name), prefix, move |text| {
                    pattern.is_match(text)
                })
            }
            Check::Range(low, high) => {
                let (low, high) = (low.clone(), high.clone());
                term_scan(keys, path_bytes(keys, name), String::new(), move |text| {
                    between(&low, &high, text)
                })
            }
            Check::Long(low, high) => number_column(column("n"), Numbers::Whole(*low..=*high)),
            Check::Date(low, high) => number_column(column("n"), Numbers::Whole(*low..=*high)),
            Check::Double(low, high) => number_column(column("n"), Numbers::Real(*low, *high)),
            Check::Exists(FieldType::Keyword) => {
                has_column(column("k"), |c| matches!(c, DynamicColumn::Str(_)))
            }
            Check::Exists(FieldType::Boolean) => {
                has_column(column("k"), |c| matches!(c, DynamicColumn::Bool(_)))
            }
            Check::Exists(FieldType::Text) => {
                term_query(Term::from_field_text(self.layout.flags, name))
            }
            // Whole and other numbers share a column: only the values tell them apart.
            Check::Exists(FieldType::Long) => {
                number_column(column("n"), Numbers::Whole(i64::MIN..=i64::MAX))
            }
            Check::Exists(_) => has_column(column("n"), |_| true),
            Check::Of(..) => Box::new(EmptyQuery),
            Check::Word(word) => text_term(texts, name, word),
            Check::Phrase(words, slop) => {
                let all: Vec<Term> = words
                    .iter()
                    .map(|word| {
                        let mut term = path_term(texts, name);
                        term.append_type_and_str(word);
                        term
                    })
                    .collect();
                match slop {
                    0 => Calm::boxed(PhraseQuery::new(all)),
                    _ => {
                        let all = all.into_iter().map(term_query).collect();
                        let plan = Plan::Field(name.to_owned(), check.clone());
                        self.verified(Box::new(BooleanQuery::intersection(all)), &plan)
                    }
                }
            }
            Check::WordLike(pattern) => {
                let pattern = pattern.clone();
                let prefix = pattern.prefix().to_owned();
                term_scan(texts, path_bytes(texts, name), prefix, move |word| {
                    pattern.is_match(word)
                })
            }
            Check::WordRange(low, high) => {
                let (low, high) = (low.clone(), high.clone());
                term_scan(texts, path_bytes(texts, name), String::new(), move |word| {
                    between(&low, &high, word)
                })
            }
        }
    }

    fn by_id(&self, id: &str) -> Box<dyn Query> {
        let (first, second) = halves(id);
        // Ids of another form than ours are noted as a field.
        if second.is_none() && self.dictionary.fields.types("event_id").is_empty() {
            return Box::new(EmptyQuery);
        }
        let candidates = number_column(ID.to_owned(), Numbers::Unsigned(first..=first));
        self.verified(
            candidates,
            &Plan::Field("event_id".to_owned(), Check::Is(id.to_owned())),
        )
    }

    /// All events that can fulfil a plan of nested objects: with the objects put together.
    fn candidates(&self, plan: &Plan) -> Box<dyn Query> {
        match plan {
            Plan::Field(name, check) => self.field(name, check),
            Plan::And(all) => Box::new(BooleanQuery::intersection(
                all.iter().map(|p| self.candidates(p)).collect(),
            )),
            Plan::Or(all) => Box::new(BooleanQuery::union(
                all.iter().map(|p| self.candidates(p)).collect(),
            )),
            Plan::Nested(_, inner) => self.candidates(inner),
            Plan::Nothing => Box::new(EmptyQuery),
            Plan::All | Plan::Not(_) => Box::new(AllQuery),
        }
    }

    fn verified(&self, candidates: Box<dyn Query>, plan: &Plan) -> Box<dyn Query> {
        let (plan, sources) = (plan.clone(), self.sources.clone());
        Verified::boxed(candidates, move |reader| {
            let segment = sources.segment(reader)?;
            let plan = plan.clone();
            let decide: Decide = Box::new(move |doc| Ok(plan.matches(&segment.event(doc)?)));
            Ok(decide)
        })
    }
}

/// A field's name as a path of tantivy.
pub fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\")
}

fn path_term(field: Field, name: &str) -> Term {
    Term::from_field_json_path(field, &escaped(name), true)
}

/// What the terms of a path's texts begin with.
fn path_bytes(field: Field, name: &str) -> Vec<u8> {
    let mut term = path_term(field, name);
    term.append_type_and_str("");
    term.serialized_value_bytes().to_vec()
}

fn term_query(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn text_term(field: Field, name: &str, word: &str) -> Box<dyn Query> {
    let mut term = path_term(field, name);
    term.append_type_and_str(word);
    term_query(term)
}

fn term_scan(
    field: Field,
    path: Vec<u8>,
    prefix: String,
    is: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Box<dyn Query> {
    Leaf::boxed(move |reader| docsets::terms(reader, field, &path, prefix.as_bytes(), &is))
}
