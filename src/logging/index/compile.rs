//! A plan as a tantivy query over one partition, with the very same meaning.
//!
//! What concerns contexts only is decided once for each context, and asks for their numbers. What tantivy
//! cannot say (one nested object that fulfils all, words near one another) is decided on the events that
//! can be it at all.

use super::dictionary::Dictionary;
use super::docsets::{self, Calm, Chunked, Decide, Leaf, Verified};
use super::encode::halves;
use super::layout::{AT, CTX, ID, Layout, NO_MESSAGE, SEQ, in_context};
use super::source::Sources;
use crate::logging::query::evaluate::{Event, between};
use crate::logging::query::{Check, FieldType, Fields, Plan};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use tantivy::columnar::{Column, DynamicColumn};
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Term};
use tantivy::{DocId, SegmentReader};

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

/// Events of the chosen contexts.
fn by_context(
    reader: &SegmentReader,
    chosen: &Arc<[bool]>,
) -> tantivy::Result<Box<dyn tantivy::query::Scorer>> {
    let Some(column) = reader.fast_fields().column_opt::<u64>(CTX)? else {
        return Ok(docsets::nothing());
    };
    let is = |n: u64| {
        usize::try_from(n)
            .ok()
            .and_then(|n| chosen.get(n))
            .copied()
            .unwrap_or(false)
    };
    let (least, most) = (column.min_value(), column.max_value());
    if most - least < 4096 {
        let any = (least..=most).any(is);
        if !any {
            return Ok(docsets::nothing());
        }
        let run = (least..=most).filter(|n| is(*n));
        let (first, last, count) =
            run.fold((u64::MAX, 0, 0), |(a, b, n), x| (a.min(x), b.max(x), n + 1));
        if last - first + 1 == count {
            // One run of numbers: the column's own search is quickest.
            let share = u32::try_from(u64::from(reader.max_doc()) * count / (most - least + 1))
                .unwrap_or(u32::MAX);
            return Ok(ranged(reader.max_doc(), share, column, first..=last));
        }
    }
    let chosen = Arc::clone(chosen);
    let mut docs: Vec<DocId> = Vec::new();
    let mut values: Vec<Option<u64>> = Vec::new();
    let half = reader.max_doc() / 2;
    Ok(Chunked::boxed(
        reader.max_doc(),
        half,
        move |range, found| {
            docs.clear();
            docs.extend(range);
            values.clear();
            values.resize(docs.len(), None);
            column.first_vals(&docs, &mut values);
            for (doc, value) in docs.iter().zip(&values) {
                let is = value
                    .and_then(|n| usize::try_from(n).ok())
                    .and_then(|n| chosen.get(n));
                if is == Some(&true) {
                    found.push(*doc);
                }
            }
        },
    ))
}

fn ranged<T>(
    end: DocId,
    hint: u32,
    column: Column<T>,
    range: RangeInclusive<T>,
) -> Box<dyn tantivy::query::Scorer>
where
    T: PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static,
{
    // The column's own search takes a range that lies outside its values for one at their edge.
    let (least, most) = (column.min_value(), column.max_value());
    if *range.start() > most || *range.end() < least {
        return docsets::nothing();
    }
    let from = if *range.start() < least {
        least
    } else {
        *range.start()
    };
    let to = if *range.end() > most {
        most
    } else {
        *range.end()
    };
    if from > to {
        return docsets::nothing();
    }
    Chunked::boxed(end, hint, move |docs, found| {
        column.get_docids_for_value_range(from..=to, docs, found);
        // An event with several values would be found several times.
        found.dedup();
    })
}

/// Events from … to, in nanoseconds, both included.
pub fn at_between(low: i64, high: i64) -> Box<dyn Query> {
    Leaf::boxed(move |reader| {
        let column = reader.fast_fields().i64(AT)?;
        let (least, most) = (column.min_value(), column.max_value());
        if most < low || least > high {
            return Ok(docsets::nothing());
        }
        if low <= least && most <= high {
            return Ok(Box::new(tantivy::query::AllScorer::new(reader.max_doc())));
        }
        Ok(ranged(
            reader.max_doc(),
            reader.max_doc() / 2,
            column,
            low..=high,
        ))
    })
}

/// A range of a number column, whatever the column holds.
#[derive(Debug, Clone)]
enum Numbers {
    Whole(RangeInclusive<i64>),
    Unsigned(RangeInclusive<u64>),
    Real(Bound<f64>, Bound<f64>),
}

impl Numbers {
    fn has(&self, n: f64) -> bool {
        use std::ops::RangeBounds;
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "compared with a float, which has no more precision"
            )]
            Numbers::Whole(range) => {
                n.fract() == 0.0 && n >= *range.start() as f64 && n <= *range.end() as f64
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "compared with a float, which has no more precision"
            )]
            Numbers::Unsigned(range) => {
                n.fract() == 0.0 && n >= *range.start() as f64 && n <= *range.end() as f64
            }
            Numbers::Real(low, high) => (*low, *high).contains(&n),
        }
    }
}

/// The whole numbers of a range of reals; `None` if there are none.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond the range of i64 saturates, as is meant"
)]
fn whole(low: &Bound<f64>, high: &Bound<f64>) -> Option<RangeInclusive<i64>> {
    let first = match low {
        Bound::Unbounded => i64::MIN,
        Bound::Included(n) => n.ceil() as i64,
        Bound::Excluded(n) if n.fract() == 0.0 => (*n as i64).checked_add(1)?,
        Bound::Excluded(n) => n.ceil() as i64,
    };
    let last = match high {
        Bound::Unbounded => i64::MAX,
        Bound::Included(n) => n.floor() as i64,
        Bound::Excluded(n) if n.fract() == 0.0 => (*n as i64).checked_sub(1)?,
        Bound::Excluded(n) => n.floor() as i64,
    };
    (first <= last).then_some(first..=last)
}

fn number_column(name: String, numbers: Numbers) -> Box<dyn Query> {
    Leaf::boxed(move |reader| {
        let end = reader.max_doc();
        let range = match &numbers {
            Numbers::Whole(range) => Some(range.clone()),
            Numbers::Unsigned(range) => {
                let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
                Some(clamp(*range.start())..=clamp(*range.end()))
            }
            Numbers::Real(low, high) => whole(low, high),
        };
        for handle in reader.fast_fields().dynamic_column_handles(&name)? {
            match (handle.open()?, &range) {
                (DynamicColumn::I64(column), Some(range)) => {
                    return Ok(ranged(end, end / 4, column, range.clone()));
                }
                (DynamicColumn::U64(column), Some(range)) => {
                    let unsigned = match &numbers {
                        Numbers::Unsigned(range) => range.clone(),
                        _ if *range.end() < 0 => return Ok(docsets::nothing()),
                        _ => {
                            let last = match range.end() {
                                &i64::MAX => u64::MAX,
                                last => last.cast_unsigned(),
                            };
                            (*range.start()).max(0).cast_unsigned()..=last
                        }
                    };
                    return Ok(ranged(end, end / 4, column, unsigned));
                }
                (DynamicColumn::F64(column), _) => {
                    let numbers = numbers.clone();
                    return Ok(Chunked::boxed(end, end / 4, move |docs, found| {
                        found.extend(
                            docs.filter(|doc| column.values_for_doc(*doc).any(|n| numbers.has(n))),
                        );
                    }));
                }
                _ => {}
            }
        }
        Ok(docsets::nothing())
    })
}

/// Events with a value in a column that `is` chooses.
fn has_column(name: String, is: fn(&DynamicColumn) -> bool) -> Box<dyn Query> {
    Leaf::boxed(move |reader| {
        let end = reader.max_doc();
        for handle in reader.fast_fields().dynamic_column_handles(&name)? {
            let column = handle.open()?;
            if is(&column) {
                let index = column.into_column_index();
                return Ok(Chunked::boxed(end, end / 2, move |docs, found| {
                    found.extend(docs.filter(|doc| index.has_value(*doc)));
                }));
            }
        }
        Ok(docsets::nothing())
    })
}
