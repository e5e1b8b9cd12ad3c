//! Sets of events of one segment that tantivy has no query for: by columns, by terms that a function
//! chooses, and by looking at the events themselves.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tantivy::query::{
    BitSetDocSet, ConstScorer, EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TERMINATED, TantivyError};

type Make = dyn Fn(&SegmentReader) -> tantivy::Result<Box<dyn Scorer>> + Send + Sync;

/// A query that a function answers for each segment.
#[derive(Clone)]
pub struct Leaf(Arc<Make>);

impl Leaf {
    /// By this function.
    pub fn boxed(
        make: impl Fn(&SegmentReader) -> tantivy::Result<Box<dyn Scorer>> + Send + Sync + 'static,
    ) -> Box<dyn Query> {
        Box::new(Self(Arc::new(make)))
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaf")
    }
}

impl Query for Leaf {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Leaf {
    fn scorer(&self, reader: &SegmentReader, _: Score) -> tantivy::Result<Box<dyn Scorer>> {
        (self.0)(reader)
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument(format!(
            "event {doc} has no score"
        )))
    }
}

/// Nothing.
pub fn nothing() -> Box<dyn Scorer> {
    Box::new(EmptyScorer)
}

/// These.
pub fn bits(bits: BitSet) -> Box<dyn Scorer> {
    Box::new(ConstScorer::new(BitSetDocSet::from(bits), 1.0))
}

/// As many events as are looked at together: two blocks of tantivy's bit packing.
const CHUNK: u32 = 1024;

/// Events that a function finds range by range, only as far as they are asked for.
pub struct Chunked<F> {
    find: F,
    docs: Vec<DocId>,
    cursor: usize,
    next: DocId,
    end: DocId,
    hint: u32,
}

impl<F: FnMut(Range<DocId>, &mut Vec<DocId>) + Send + 'static> Chunked<F> {
    /// Over the events up to `end`; about `hint` of them.
    pub fn boxed(end: DocId, hint: u32, find: F) -> Box<dyn Scorer> {
        let mut chunked = Self {
            find,
            docs: Vec::with_capacity(CHUNK as usize),
            cursor: 0,
            next: 0,
            end,
            hint,
        };
        chunked.fill();
        Box::new(ConstScorer::new(chunked, 1.0))
    }

    fn fill(&mut self) {
        self.cursor = 0;
        self.docs.clear();
        while self.docs.is_empty() && self.next < self.end {
            let to = (self.next + CHUNK).min(self.end);
            (self.find)(self.next..to, &mut self.docs);
            self.next = to;
        }
    }
}

impl<F: FnMut(Range<DocId>, &mut Vec<DocId>) + Send + 'static> DocSet for Chunked<F> {
    fn advance(&mut self) -> DocId {
        self.cursor += 1;
        if self.cursor >= self.docs.len() {
            self.fill();
        }
        self.doc()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if target >= self.next {
            self.next = target.min(self.end);
            self.fill();
        }
        while self.doc() < target {
            self.advance();
        }
        self.doc()
    }

    fn doc(&self) -> DocId {
        self.docs.get(self.cursor).copied().unwrap_or(TERMINATED)
    }

    fn size_hint(&self) -> u32 {
        self.hint
    }

    /// A column is looked at event by event: let others lead.
    fn cost(&self) -> u64 {
        u64::from(self.end)
    }
}

/// Events with a term of `field` that begins with `prefix` and that `is` chooses by what follows `path`.
pub fn terms(
    reader: &SegmentReader,
    field: Field,
    path: &[u8],
    prefix: &[u8],
    is: &dyn Fn(&str) -> bool,
) -> tantivy::Result<Box<dyn Scorer>> {
    let index = reader.inverted_index(field)?;
    let from = [path, prefix].concat();
    let mut stream = index.terms().range().ge(&from).into_stream()?;
    let mut found = Vec::new();
    while stream.advance() {
        let key = stream.key();
        if !key.starts_with(&from) {
            break;
        }
        if std::str::from_utf8(&key[path.len()..]).is_ok_and(is) {
            found.push(stream.value().clone());
        }
    }
    if found.is_empty() {
        return Ok(nothing());
    }
    if let [only] = found.as_slice() {
        let postings = index.read_postings_from_terminfo(only, IndexRecordOption::Basic)?;
        return Ok(Box::new(ConstScorer::new(postings, 1.0)));
    }
    let mut all = BitSet::with_max_value(reader.max_doc());
    for info in &found {
        let mut postings =
            index.read_block_postings_from_terminfo(info, IndexRecordOption::Basic)?;
        loop {
            let docs = postings.docs();
            if docs.is_empty() {
                break;
            }
            for doc in docs {
                all.insert(*doc);
            }
            postings.advance();
        }
    }
    Ok(bits(all))
}

/// What decides on one event of a segment.
pub type Decide = Box<dyn FnMut(DocId) -> tantivy::Result<bool> + Send>;

/// Makes what decides, for a segment.
type DecideIn = dyn Fn(&SegmentReader) -> tantivy::Result<Decide> + Send + Sync;

/// Those of a set for which a function decides so.
#[derive(Clone)]
pub struct Verified {
    inner: Box<dyn QueryBox>,
    decide: Arc<DecideIn>,
}

/// A query that can be cloned, as tantivy's can.
pub trait QueryBox: Query {
    /// A clone.
    fn cloned(&self) -> Box<dyn QueryBox>;
}

impl<Q: Query + Clone> QueryBox for Q {
    fn cloned(&self) -> Box<dyn QueryBox> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn QueryBox> {
    fn clone(&self) -> Self {
        (**self).cloned()
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}

struct VerifiedWeight {
    inner: Box<dyn Weight>,
    decide: Arc<DecideIn>,
}

impl Verified {
    /// Those of `inner`.
    pub fn boxed(
        inner: Box<dyn Query>,
        decide: impl Fn(&SegmentReader) -> tantivy::Result<Decide> + Send + Sync + 'static,
    ) -> Box<dyn Query> {
        let inner = tantivy::query::BooleanQuery::intersection(vec![inner]);
        Box::new(Self {
            inner: Box::new(inner),
            decide: Arc::new(decide),
        })
    }
}

impl Query for Verified {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(VerifiedWeight {
            inner: self.inner.weight(scoring)?,
            decide: Arc::clone(&self.decide),
        }))
    }
}

impl Weight for VerifiedWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut candidates = self.inner.scorer(reader, boost)?;
        let mut decide = (self.decide)(reader)?;
        // All at once, since an error could not be told from within a set.
        let mut kept = BitSet::with_max_value(reader.max_doc());
        let mut doc = candidates.doc();
        while doc != TERMINATED {
            if decide(doc)? {
                kept.insert(doc);
            }
            doc = candidates.advance();
        }
        Ok(bits(kept))
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument(format!(
            "event {doc} has no score"
        )))
    }
}

/// A query whose sets are asked to seek only as every set can be.
///
/// tantivy 0.27 asks the set of a phrase to seek backwards where it is excluded from another set, which
/// that one does not expect (`PhraseScorer::seek_danger`); the ways that all sets have by default bear it.
#[derive(Clone)]
pub struct Calm(Box<dyn QueryBox>);

impl Calm {
    /// Of this query.
    pub fn boxed(query: impl Query + Clone) -> Box<dyn Query> {
        Box::new(Self(Box::new(query)))
    }
}

impl fmt::Debug for Calm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Query for Calm {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(CalmWeight(self.0.weight(scoring)?)))
    }
}

struct CalmWeight(Box<dyn Weight>);

impl Weight for CalmWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let inner = self.0.scorer(reader, boost)?;
        Ok(Box::new(ConstScorer::new(CalmSet(inner), 1.0)))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        self.0.explain(reader, doc)
    }
}

struct CalmSet(Box<dyn Scorer>);

impl DocSet for CalmSet {
    fn advance(&mut self) -> DocId {
        self.0.advance()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        match self.0.doc() {
            doc if doc >= target => doc,
            _ => self.0.seek(target),
        }
    }

    fn doc(&self) -> DocId {
        self.0.doc()
    }

    fn size_hint(&self) -> u32 {
        self.0.size_hint()
    }

    fn cost(&self) -> u64 {
        self.0.cost()
    }
}
