//! The queries of the index, over the parts of a scan: hits, bars, values, statistics.

use super::layout::{AT, ORDER};
use super::scan::{Part, parallel};
use super::values::{Counts, Values, add_counts, most};
use crate::logging::query::evaluate::{self, Event};
use crate::ports::log_index::{Bar, Hit, LogIndexError, StatsRequest, StatsRow, ValueCount};
use chrono::DateTime;
use serde_json::Value;
use sketches_ddsketch::{Config, DDSketch};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Range;
use tantivy::TantivyError;

/// The place of an event in the order of time: its time, and when it arrived.
pub type Place = (i64, u64);

/// A cursor's text.
pub fn cursor((at, order): Place) -> String {
    format!("{at}.{order}")
}

/// # Errors
/// It is none of ours.
pub fn place(cursor: &str) -> Result<Place, LogIndexError> {
    let parts = cursor.split_once('.');
    let read = parts.and_then(|(at, order)| Some((at.parse().ok()?, order.parse().ok()?)));
    read.ok_or_else(|| LogIndexError::Request(format!("{cursor:?} is no cursor of an event")))
}

/// The first `limit` places after `after`, newest first or oldest first, with their parts and events.
///
/// # Errors
/// tantivy's.
pub fn first(
    parts: &[Part],
    limit: usize,
    ascending: bool,
    after: Option<Place>,
) -> Result<Vec<(Place, usize, u32)>, TantivyError> {
    // One order for both: what comes first is the least.
    let turn = |(at, order): Place| {
        if ascending {
            (at, order)
        } else {
            (!at, !order)
        }
    };
    let after = after.map(turn);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let begins = |part: &Part| {
        if ascending {
            part.times.0
        } else {
            !part.times.1
        }
    };
    order.sort_by_key(|n| begins(&parts[*n]));
    // The greatest of those kept is on top, to be replaced by a lesser one.
    let mut kept: BinaryHeap<(Place, usize, u32)> = BinaryHeap::with_capacity(limit + 1);
    for n in order {
        let part = &parts[n];
        if limit == 0
            || (kept.len() == limit
                && kept
                    .peek()
                    .is_some_and(|(worst, ..)| begins(part) > worst.0))
        {
            break;
        }
        let columns = part.reader().fast_fields();
        let (at, arrival) = (columns.i64(AT)?, columns.u64(ORDER)?);
        part.each(&mut |docs| {
            for doc in docs {
                let Some(at) = at.first(*doc) else { continue };
                let least = if ascending { at } else { !at };
                if kept.len() == limit && kept.peek().is_some_and(|(worst, ..)| least > worst.0) {
                    continue;
                }
                let place = turn((at, arrival.first(*doc).unwrap_or_default()));
                if after.is_some_and(|after| place <= after) {
                    continue;
                }
                kept.push((place, n, *doc));
                if kept.len() > limit {
                    kept.pop();
                }
            }
        })?;
    }
    let sorted = kept.into_sorted_vec().into_iter();
    Ok(sorted
        .map(|(place, n, doc)| (turn(place), n, doc))
        .collect())
}

/// The events at these places.
///
/// # Errors
/// A segment is damaged.
pub fn hits(
    parts: &[Part],
    places: &[(Place, usize, u32)],
    fields: &[String],
) -> Result<Vec<Hit>, TantivyError> {
    let mut sources = BTreeMap::new();
    let mut hits = Vec::with_capacity(places.len());
    for (place, n, doc) in places {
        let source = match sources.entry(*n) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(e) => {
                let part = &parts[*n];
                e.insert(part.sources.segment(part.reader())?)
            }
        };
        let event = source.event(*doc)?;
        let event = if fields.is_empty() {
            event
        } else {
            only(&event, fields)
        };
        hits.push(Hit {
            cursor: cursor(*place),
            event,
        });
    }
    Ok(hits)
}

/// Only these fields of an event, by their full names.
pub fn only(event: &Event, fields: &[String]) -> Event {
    let mut kept = Event::new();
    for name in fields {
        if let Some(value) = event.get(name) {
            kept.insert(name.clone(), value.clone());
            continue;
        }
        let mut values = Vec::new();
        evaluate::values(event, name, &mut |value| values.push(value.clone()));
        match values.len() {
            0 => {}
            1 => drop(kept.insert(name.clone(), values.remove(0))),
            _ => drop(kept.insert(name.clone(), Value::Array(values))),
        }
    }
    kept
}

/// How many match.
///
/// # Errors
/// tantivy's.
pub fn count(parts: &[Part]) -> Result<u64, TantivyError> {
    Ok(parallel(parts, Part::count)?.into_iter().sum())
}

/// Finds the bar of a time.
struct Bars<'e> {
    edges: &'e [i64],
    /// The width, if all bars have the same.
    width: Option<i64>,
}

impl<'e> Bars<'e> {
    fn new(edges: &'e [i64]) -> Self {
        let width = edges
            .get(1)
            .and_then(|second| Some(second - edges.first()?));
        let even = width.is_some_and(|w| edges.windows(2).all(|pair| pair[1] - pair[0] == w));
        Self {
            edges,
            width: width.filter(|_| even),
        }
    }

    fn len(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    fn of(&self, at: i64) -> Option<usize> {
        let first = *self.edges.first()?;
        let n = match self.width {
            Some(width) => usize::try_from((at - first).checked_div(width)?)
                .ok()
                .filter(|_| at >= first)?,
            None => self
                .edges
                .partition_point(|edge| *edge <= at)
                .checked_sub(1)?,
        };
        (n < self.len()).then_some(n)
    }
}

/// Events of each bar, all and by value.
///
/// # Errors
/// tantivy's.
pub fn bars(parts: &[Part], edges: &[i64], by: Option<&str>) -> Result<Vec<Bar>, TantivyError> {
    /// Values that bars are broken down by.
    const VALUES: usize = 5;
    let find = Bars::new(edges);
    let all = parallel(parts, |part| {
        let mut counts = vec![0_u64; find.len()];
        let mut of_values: HashMap<(usize, u64), Vec<u64>> = HashMap::new();
        // A part that lies within one bar needs no look at its events.
        let (from, to) = (find.of(part.times.0), find.of(part.times.1));
        if let (Some(bar), true, None) = (from, from == to, by) {
            counts[bar] = part.count()?;
            return Ok((counts, HashMap::new()));
        }
        let at = part.reader().fast_fields().i64(AT)?;
        let values = by.map(|name| Values::of(part, name)).transpose()?;
        let mut times: Vec<Option<i64>> = Vec::new();
        part.each(&mut |docs| {
            times.clear();
            times.resize(docs.len(), None);
            at.first_vals(docs, &mut times);
            for (doc, at) in docs.iter().zip(&times) {
                let Some(bar) = at.and_then(|at| find.of(at)) else {
                    continue;
                };
                counts[bar] += 1;
                if let Some(values) = &values {
                    values.keys(*doc, |key| {
                        of_values.entry(key).or_insert_with(|| vec![0; find.len()])[bar] += 1;
                    });
                }
            }
        })?;
        let mut named = HashMap::new();
        if let Some(values) = values {
            for (key, counts) in of_values {
                let value = values.value(key)?;
                named.insert(value.to_string(), (value, counts));
            }
        }
        Ok((counts, named))
    })?;
    let mut counts = vec![0_u64; find.len()];
    let mut named: HashMap<String, (Value, Vec<u64>)> = HashMap::new();
    for (part_counts, part_named) in all {
        counts
            .iter_mut()
            .zip(part_counts)
            .for_each(|(sum, n)| *sum += n);
        for (name, (value, more)) in part_named {
            let sums = &mut named
                .entry(name)
                .or_insert_with(|| (value, vec![0; find.len()]))
                .1;
            sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        }
    }
    let mut top: Vec<(String, (Value, Vec<u64>))> = named.into_iter().collect();
    top.sort_by_cached_key(|(name, (_, counts))| {
        (Reverse(counts.iter().sum::<u64>()), name.clone())
    });
    top.truncate(VALUES);
    let bars = counts.into_iter().enumerate().map(|(n, count)| {
        let by = top.iter().filter(|(_, (_, counts))| counts[n] > 0);
        let by = by.map(|(_, (value, counts))| ValueCount {
            value: value.clone(),
            count: counts[n],
        });
        Bar {
            from: DateTime::from_timestamp_nanos(edges[n]),
            count,
            by: by.collect(),
        }
    });
    Ok(bars.collect())
}

/// The most frequent values, how many events have one, and how many match.
///
/// # Errors
/// tantivy's.
pub fn top(
    parts: &[Part],
    field: &str,
    limit: usize,
) -> Result<(Vec<ValueCount>, u64, u64), TantivyError> {
    let all = parallel(parts, |part| {
        let values = Values::of(part, field)?;
        let (mut counts, mut with_value, mut total) = (Counts::new(), 0_u64, 0_u64);
        // Small keys, which ordinals and numbers of contexts are, are counted in a list.
        let mut small = vec![0_u64; 4096];
        part.each(&mut |docs| {
            for doc in docs {
                total += 1;
                let mut any = false;
                values.keys(*doc, |key| {
                    any = true;
                    match usize::try_from(key.1)
                        .ok()
                        .filter(|n| key.0 == 0 && *n < small.len())
                    {
                        Some(n) => small[n] += 1,
                        None => *counts.entry(key).or_default() += 1,
                    }
                });
                with_value += u64::from(any);
            }
        })?;
        for (key, count) in (0_u64..).zip(small).filter(|(_, count)| *count > 0) {
            *counts.entry((0, key)).or_default() += count;
        }
        let mut named = HashMap::new();
        add_counts(&values, counts, &mut named)?;
        Ok((named, with_value, total))
    })?;
    let (mut named, mut with_value, mut total) = (HashMap::new(), 0, 0);
    for (part_named, part_with, part_total) in all {
        with_value += part_with;
        total += part_total;
        for (name, (value, count)) in part_named {
            named.entry(name).or_insert((value, 0)).1 += count;
        }
    }
    let values = most(named, limit)
        .into_iter()
        .map(|(value, count)| ValueCount { value, count });
    Ok((values.collect(), with_value, total))
}

/// What is gathered of a group.
#[derive(Clone)]
struct Gathered {
    count: u64,
    numbers: DDSketch,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            count: 0,
            numbers: DDSketch::new(Config::defaults()),
        }
    }
}

/// Statistics by value of `by` and by span; `edges` has one span if none were asked for.
///
/// # Errors
/// tantivy's.
pub fn stats(
    parts: &[Part],
    request: &StatsRequest,
    edges: &[i64],
) -> Result<Vec<StatsRow>, TantivyError> {
    let find = Bars::new(edges);
    type Groups = HashMap<(String, usize), (Option<Value>, Gathered)>;
    let all = parallel(parts, |part| {
        let at = part.reader().fast_fields().i64(AT)?;
        let groups_by = request
            .by
            .as_deref()
            .map(|name| Values::of(part, name))
            .transpose()?;
        let numbers = request
            .field
            .as_deref()
            .map(|name| Values::of(part, name))
            .transpose()?;
        let mut groups: HashMap<(Option<(usize, u64)>, usize), Gathered> = HashMap::new();
        part.each(&mut |docs| {
            for doc in docs {
                let Some(bar) = at.first(*doc).and_then(|at| find.of(at)) else {
                    continue;
                };
                let mut add = |key| {
                    let group = groups.entry((key, bar)).or_default();
                    group.count += 1;
                    if let Some(numbers) = &numbers {
                        numbers.numbers(*doc, |n| group.numbers.add(n));
                    }
                };
                match &groups_by {
                    None => add(None),
                    Some(values) => values.keys(*doc, |key| add(Some(key))),
                }
            }
        })?;
        let mut named: Groups = HashMap::new();
        for ((key, bar), gathered) in groups {
            let value = match (key, &groups_by) {
                (Some(key), Some(values)) => Some(values.value(key)?),
                _ => None,
            };
            let name = value.as_ref().map(Value::to_string).unwrap_or_default();
            named.insert((name, bar), (value, gathered));
        }
        Ok(named)
    })?;
    let mut groups: Groups = HashMap::new();
    for (key, (value, gathered)) in all.into_iter().flatten() {
        let into = &mut groups
            .entry(key)
            .or_insert_with(|| (value, Gathered::default()))
            .1;
        into.count += gathered.count;
        let merged = into.numbers.merge(&gathered.numbers);
        merged.map_err(|e| TantivyError::InternalError(e.to_string()))?;
    }
    Ok(rows(groups, request, edges))
}

#[expect(clippy::cast_precision_loss, reason = "statistics are floats")]
fn rows(
    groups: HashMap<(String, usize), (Option<Value>, Gathered)>,
    request: &StatsRequest,
    edges: &[i64],
) -> Vec<StatsRow> {
    let mut of_values: HashMap<String, u64> = HashMap::new();
    for ((name, _), (_, gathered)) in &groups {
        *of_values.entry(name.clone()).or_default() += gathered.count;
    }
    let mut ranked: Vec<(String, u64)> = of_values.into_iter().collect();
    ranked.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    let rank: HashMap<String, usize> = ranked
        .into_iter()
        .take(request.limit)
        .enumerate()
        .map(|(n, (name, _))| (name, n))
        .collect();
    let mut sorted: Vec<_> = groups
        .into_iter()
        .filter_map(|((name, bar), group)| Some(((*rank.get(&name)?, bar), group)))
        .collect();
    sorted.sort_by_key(|(key, _)| *key);
    let span = |bar: usize| -> Range<i64> { edges[bar]..edges[bar + 1] };
    let row = |((_, bar), (value, gathered)): ((usize, usize), (Option<Value>, Gathered))| {
        let span = span(bar);
        let seconds = (span.end - span.start) as f64 / 1e9;
        let numbers = &gathered.numbers;
        let any = numbers.count() > 0;
        let quantile = |q: &f64| numbers.quantile(*q).ok().flatten();
        StatsRow {
            value,
            from: request
                .interval
                .is_some()
                .then(|| DateTime::from_timestamp_nanos(span.start)),
            count: gathered.count,
            rate: gathered.count as f64 / seconds.max(1e-9),
            numbers: numbers.count() as u64,
            min: numbers.min(),
            max: numbers.max(),
            mean: numbers
                .sum()
                .filter(|_| any)
                .map(|sum| sum / numbers.count() as f64),
            quantiles: if any {
                request.quantiles.iter().filter_map(quantile).collect()
            } else {
                Vec::new()
            },
        }
    };
    sorted.into_iter().map(row).collect()
}
