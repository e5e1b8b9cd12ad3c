//! Carries a plan out over partitions: what each query of the index has in common.

use super::columns::at_between;
use super::compile::Compiler;
use super::partition::Partition;
use super::source::Sources;
use crate::logging::query::{Fields, Plan};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tantivy::query::{EnableScoring, Query, Weight};
use tantivy::{Searcher, SegmentReader, TantivyError};

/// One segment that may have events of a scan.
pub struct Part {
    /// Its partition.
    pub partition: Arc<Partition>,
    /// How its events are rebuilt.
    pub sources: Sources,
    /// The least and the greatest time in it.
    pub times: (i64, i64),
    searcher: Arc<Searcher>,
    segment: u32,
    weight: Arc<dyn Weight>,
}

impl Part {
    /// The segment.
    pub fn reader(&self) -> &SegmentReader {
        self.searcher.segment_reader(self.segment)
    }

    /// How many events match.
    ///
    /// # Errors
    /// tantivy's.
    pub fn count(&self) -> Result<u64, TantivyError> {
        self.weight.count(self.reader()).map(u64::from)
    }

    /// Each event that matches, in blocks.
    ///
    /// # Errors
    /// tantivy's.
    pub fn each(&self, block: &mut dyn FnMut(&[u32])) -> Result<(), TantivyError> {
        self.weight.for_each_no_score(self.reader(), block)
    }
}

/// The segments of these partitions with events between `low` and `high`, and what of them matches; and
/// the partitions that cannot be searched, with the reason.
pub fn parts(
    partitions: &[Arc<Partition>],
    typed: &Fields,
    plan: &Plan,
    low: i64,
    high: i64,
) -> (Vec<Part>, Vec<String>) {
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for partition in partitions {
        match parts_of(partition, typed, plan, low, high) {
            Ok(parts) => all.extend(parts),
            Err(error) => missing.push(format!("{}: {error}", partition.day)),
        }
    }
    (all, missing)
}

fn parts_of(
    partition: &Arc<Partition>,
    typed: &Fields,
    plan: &Plan,
    low: i64,
    high: i64,
) -> Result<Vec<Part>, TantivyError> {
    let searcher = Arc::new(partition.searcher());
    let dictionary = partition.dictionary();
    let sources = Sources::new(&partition.layout, dictionary.contexts());
    let compiler = Compiler {
        layout: &partition.layout,
        dictionary: &dictionary,
        typed,
        sources: sources.clone(),
    };
    let weigh = |query: Box<dyn Query>| {
        query
            .weight(EnableScoring::disabled_from_searcher(&searcher))
            .map(Arc::from)
    };
    let whole: Arc<dyn Weight> = weigh(compiler.query(plan))?;
    let mut cut: Option<Arc<dyn Weight>> = None;
    drop(dictionary);
    let mut parts = Vec::new();
    for (segment, reader) in (0..).zip(searcher.segment_readers()) {
        let at = reader.fast_fields().i64(super::layout::AT)?;
        let times = (at.min_value(), at.max_value());
        if times.1 < low || times.0 > high {
            continue;
        }
        // Only a segment at the edge needs a look at each event's time.
        let weight = if low <= times.0 && times.1 <= high {
            Arc::clone(&whole)
        } else if let Some(cut) = &cut {
            Arc::clone(cut)
        } else {
            let dictionary = partition.dictionary();
            let compiler = Compiler {
                layout: &partition.layout,
                dictionary: &dictionary,
                typed,
                sources: sources.clone(),
            };
            let both = tantivy::query::BooleanQuery::intersection(vec![
                compiler.query(plan),
                at_between(low, high),
            ]);
            let weight: Arc<dyn Weight> = weigh(Box::new(both))?;
            cut = Some(Arc::clone(&weight));
            weight
        };
        parts.push(Part {
            partition: Arc::clone(partition),
            sources: sources.clone(),
            times,
            searcher: Arc::clone(&searcher),
            segment,
            weight,
        });
    }
    Ok(parts)
}

/// Does `work` for each part, on as many threads as there are processors; answers in the parts' order.
///
/// # Errors
/// The first part's that failed.
pub fn parallel<T: Send>(
    parts: &[Part],
    work: impl Fn(&Part) -> Result<T, TantivyError> + Sync,
) -> Result<Vec<T>, TantivyError> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(parts.len());
    if threads <= 1 {
        return parts.iter().map(&work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else {
                return done;
            };
            done.push((at, work(part)));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut all = run();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, done)| done).collect()
}
