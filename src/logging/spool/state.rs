//! What a spool knows of its segments, and how a batch becomes records.

use super::batch::{self, Batch};
use super::record::{self, Kind};
use crate::domain::log::LogSource;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;

/// A stretch of positions in one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) base: u64,
    pub(super) first_index: u64,
    pub(super) end: u64,
    pub(super) closed: bool,
}

pub(super) struct State {
    /// Oldest first; the last one is written to.
    pub(super) spans: VecDeque<Span>,
    pub(super) file: Arc<File>,
    /// The index of the next event.
    pub(super) index: u64,
    /// Numbers of sources in the present segment.
    pub(super) sources: HashMap<Arc<LogSource>, u32>,
    pub(super) places: BTreeMap<String, Vec<u8>>,
    pub(super) buffer: Vec<u8>,
    pub(super) dropped_bytes: u64,
    pub(super) refusals: u64,
    /// A failed write may have left a piece of a record: the segment is closed before the next one.
    pub(super) broken: bool,
    /// The lowest position that a sink still needs.
    pub(super) needed: u64,
}

impl State {
    pub(super) fn size(&self) -> u64 {
        match (self.spans.front(), self.spans.back()) {
            (Some(first), Some(last)) => last.end - first.base,
            _ => 0,
        }
    }

    /// Writes a batch as records: new sources, its events, then the places. Returns the places and the next index.
    pub(super) fn fill(&mut self, batch: &Batch, out: &mut Vec<u8>) -> (batch::Places, u64) {
        let mut index = self.index;
        let numbers: Vec<u32> = batch
            .sources
            .iter()
            .map(|source| self.number(source, index, out))
            .collect();
        let mut at = out.len();
        out.extend_from_slice(&batch.bytes);
        while at < out.len() {
            let own = record::source_at(at, out) as usize;
            if let Some(number) = numbers.get(own) {
                record::set_source(at, *number, out);
            }
            at = record::seal(at, index, out);
            index += 1;
        }
        for (key, place) in &batch.places {
            let (kind, value) = match place {
                Some(place) => (Kind::Place, place.as_slice()),
                None => (Kind::Forget, &[][..]),
            };
            record::write(kind, index, &record::keyed(key, value), out);
        }
        (batch.places.clone(), index)
    }

    /// The number of a source in this segment; written there when it is new.
    fn number(&mut self, source: &Arc<LogSource>, index: u64, out: &mut Vec<u8>) -> u32 {
        if let Some(number) = self.sources.get(source) {
            return *number;
        }
        let number = self.sources.len() as u32;
        let mut payload = number.to_le_bytes().to_vec();
        // A struct of texts and numbers: it has a JSON form.
        if let Ok(json) = serde_json::to_vec(&**source) {
            payload.extend_from_slice(&json);
        }
        record::write(Kind::Source, index, &payload, out);
        self.sources.insert(Arc::clone(source), number);
        number
    }
}
