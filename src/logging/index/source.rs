//! Rebuilds events from a segment: their stored source, their context and their columns.

use super::encode;
use super::layout::{AT, ID, Layout, ORDER, SEQ};
use crate::logging::query::evaluate::Event;
use std::sync::Arc;
use tantivy::columnar::Column;
use tantivy::schema::{Field, Value};
use tantivy::store::StoreReader;
use tantivy::{DocId, SegmentReader, TantivyDocument, TantivyError};

/// Blocks of sources that a reader keeps unpacked.
const BLOCKS: usize = 8;

/// What is the same for all segments of a partition.
#[derive(Clone)]
pub struct Sources {
    field: Field,
    contexts: Arc<[Arc<Event>]>,
}

impl Sources {
    /// Of a partition with these contexts.
    pub fn new(layout: &Layout, contexts: &[Arc<Event>]) -> Self {
        Self {
            field: layout.source,
            contexts: contexts.into(),
        }
    }

    /// The events of one segment.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn segment(&self, reader: &SegmentReader) -> tantivy::Result<SegmentSource> {
        let columns = reader.fast_fields();
        Ok(SegmentSource {
            store: reader.get_store_reader(BLOCKS)?,
            at: columns.i64(AT)?,
            id: columns.u64(ID)?,
            order: columns.u64(ORDER)?,
            seq: columns.column_opt::<u64>(SEQ)?,
            sources: self.clone(),
        })
    }
}

/// The events of one segment.
pub struct SegmentSource {
    store: StoreReader,
    at: Column<i64>,
    id: Column<u64>,
    order: Column<u64>,
    seq: Option<Column<u64>>,
    sources: Sources,
}

impl SegmentSource {
    /// When, and in which order it arrived.
    pub fn place(&self, doc: DocId) -> (i64, u64) {
        (
            self.at.first(doc).unwrap_or_default(),
            self.order.first(doc).unwrap_or_default(),
        )
    }

    /// One event.
    ///
    /// # Errors
    /// Its source is damaged.
    pub fn event(&self, doc: DocId) -> tantivy::Result<Event> {
        let stored: TantivyDocument = self.store.get(doc)?;
        let at = self.at.first(doc).unwrap_or_default();
        let id = self.id.first(doc).unwrap_or_default();
        let seq = self.seq.as_ref().and_then(|column| column.first(doc));
        let bytes = stored
            .get_first(self.sources.field)
            .and_then(|value| value.as_bytes());
        let context = |number: u32| self.sources.contexts.get(number as usize).cloned();
        bytes
            .and_then(|bytes| encode::event(bytes, at, id, seq, context))
            .ok_or_else(|| {
                TantivyError::DataCorruption(tantivy::error::DataCorruption::comment_only(format!(
                    "the source of event {doc} cannot be read"
                )))
            })
    }
}
