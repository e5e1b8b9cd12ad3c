//! Sets of events by what their columns hold: contexts, times, numbers, whether there is a value.

use super::docsets::{self, Chunked, Leaf};
use super::layout::{AT, CTX};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use tantivy::columnar::{Column, DynamicColumn};
use tantivy::query::Query;
use tantivy::{DocId, SegmentReader};

/// Events of the chosen contexts.
pub(super) fn by_context(
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
pub(super) enum Numbers {
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

pub(super) fn number_column(name: String, numbers: Numbers) -> Box<dyn Query> {
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
pub(super) fn has_column(name: String, is: fn(&DynamicColumn) -> bool) -> Box<dyn Query> {
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
