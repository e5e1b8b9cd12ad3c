//! The values of one field in one segment, wherever they lie: for top values, break-downs and statistics.

use super::compile::escaped;
use super::layout::{CTX, SEQ, in_context};
use super::scan::Part;
use crate::logging::query::evaluate;
use serde_json::{Value, json};
use std::collections::HashMap;
use tantivy::TantivyError;
use tantivy::columnar::{Column, DynamicColumn, StrColumn};

enum Holder {
    /// By the number of the context: the places of its values in the list.
    Context(Column<u64>, Vec<Vec<u64>>, Vec<Value>),
    Text(StrColumn),
    Bool(Column<bool>),
    Signed(Column<i64>),
    Unsigned(Column<u64>),
    Real(Column<f64>),
}

/// The values of one field in one segment.
pub struct Values(Vec<Holder>);

impl Values {
    /// Of this field.
    ///
    /// # Errors
    /// tantivy's.
    pub fn of(part: &Part, name: &str) -> Result<Self, TantivyError> {
        let columns = part.reader().fast_fields();
        let mut holders = Vec::new();
        if in_context(name)
            && let Some(column) = columns.column_opt::<u64>(CTX)?
        {
            let dictionary = part.partition.dictionary();
            let (mut places, mut list) = (HashMap::new(), Vec::new());
            let by_context = dictionary.contexts().iter().map(|context| {
                let mut of_context = Vec::new();
                evaluate::values(context, name, &mut |value| {
                    let place = *places.entry(value.to_string()).or_insert_with(|| {
                        list.push(value.clone());
                        list.len() as u64 - 1
                    });
                    of_context.push(place);
                });
                of_context
            });
            let by_context = by_context.collect();
            holders.push(Holder::Context(column, by_context, list));
        }
        if name == "seq"
            && let Some(column) = columns.column_opt::<u64>(SEQ)?
        {
            holders.push(Holder::Unsigned(column));
        }
        for of in ["k", "n"] {
            for handle in columns.dynamic_column_handles(&format!("{of}.{}", escaped(name)))? {
                holders.push(match handle.open()? {
                    DynamicColumn::Str(column) => Holder::Text(column),
                    DynamicColumn::Bool(column) => Holder::Bool(column),
                    DynamicColumn::I64(column) => Holder::Signed(column),
                    DynamicColumn::U64(column) => Holder::Unsigned(column),
                    DynamicColumn::F64(column) => Holder::Real(column),
                    _ => continue,
                });
            }
        }
        Ok(Self(holders))
    }

    /// Each value of an event, as a key that is the same for the same value.
    pub fn keys(&self, doc: u32, mut each: impl FnMut((usize, u64))) {
        for (holder, values) in self.0.iter().enumerate() {
            match values {
                Holder::Context(column, by_context, _) => {
                    let context = column.first(doc).and_then(|n| usize::try_from(n).ok());
                    for place in context
                        .and_then(|n| by_context.get(n))
                        .into_iter()
                        .flatten()
                    {
                        each((holder, *place));
                    }
                }
                Holder::Text(column) => column.term_ords(doc).for_each(|ord| each((holder, ord))),
                Holder::Bool(column) => column
                    .values_for_doc(doc)
                    .for_each(|is| each((holder, u64::from(is)))),
                Holder::Signed(column) => column
                    .values_for_doc(doc)
                    .for_each(|n| each((holder, n.cast_unsigned()))),
                Holder::Unsigned(column) => {
                    column.values_for_doc(doc).for_each(|n| each((holder, n)))
                }
                Holder::Real(column) => column
                    .values_for_doc(doc)
                    .for_each(|n| each((holder, n.to_bits()))),
            }
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn value(&self, (holder, key): (usize, u64)) -> Result<Value, TantivyError> {
        Ok(match self.0.get(holder) {
            Some(Holder::Context(_, _, list)) => usize::try_from(key)
                .ok()
                .and_then(|n| list.get(n))
                .cloned()
                .unwrap_or_default(),
            Some(Holder::Text(column)) => {
                let mut text = String::new();
                column.ord_to_str(key, &mut text)?;
                Value::String(text)
            }
            Some(Holder::Bool(_)) => json!(key == 1),
            Some(Holder::Signed(_)) => json!(key.cast_signed()),
            Some(Holder::Unsigned(_)) => json!(key),
            Some(Holder::Real(_)) => json!(f64::from_bits(key)),
            None => Value::Null,
        })
    }

    /// Each number of an event.
    #[expect(clippy::cast_precision_loss, reason = "statistics are floats")]
    pub fn numbers(&self, doc: u32, mut each: impl FnMut(f64)) {
        for values in &self.0 {
            match values {
                Holder::Signed(column) => column.values_for_doc(doc).for_each(|n| each(n as f64)),
                Holder::Unsigned(column) => column.values_for_doc(doc).for_each(|n| each(n as f64)),
                Holder::Real(column) => column.values_for_doc(doc).for_each(&mut each),
                Holder::Context(column, by_context, list) => {
                    let context = column.first(doc).and_then(|n| usize::try_from(n).ok());
                    for place in context
                        .and_then(|n| by_context.get(n))
                        .into_iter()
                        .flatten()
                    {
                        let value = usize::try_from(*place).ok().and_then(|n| list.get(n));
                        value
                            .and_then(Value::as_f64)
                            .into_iter()
                            .for_each(&mut each);
                    }
                }
                Holder::Text(_) | Holder::Bool(_) => {}
            }
        }
    }
}

/// How often each value occurs in a segment, by key.
pub type Counts = HashMap<(usize, u64), u64>;

/// Adds a segment's counts, by value, to those of all.
///
/// # Errors
/// The segment is damaged.
pub fn add_counts(
    values: &Values,
    counts: Counts,
    all: &mut HashMap<String, (Value, u64)>,
) -> Result<(), TantivyError> {
    for (key, count) in counts {
        let value = values.value(key)?;
        all.entry(value.to_string()).or_insert((value, 0)).1 += count;
    }
    Ok(())
}

/// The most frequent values; of equally frequent ones by their text.
pub fn most(all: HashMap<String, (Value, u64)>, limit: usize) -> Vec<(Value, u64)> {
    let mut sorted: Vec<(String, (Value, u64))> = all.into_iter().collect();
    sorted.sort_by(|(a, (_, m)), (b, (_, n))| n.cmp(m).then_with(|| a.cmp(b)));
    sorted.truncate(limit);
    sorted.into_iter().map(|(_, pair)| pair).collect()
}
