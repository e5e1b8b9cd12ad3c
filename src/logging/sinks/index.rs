//! The log index as a sink: always there where an index is, and never configured.
//!
//! The index answers once events are durable, and knows those that it has already: nothing is lost, nothing is
//! there twice. Each commit costs as much as some thousand events: between two of them events are gathered, in the
//! spool, and whoever searches has them sent first. On a node of a cluster the index is the control host's, behind the link.

use crate::domain::log::LogEvent;
use crate::logging::event::Encoder;
use crate::ports::freshness::Keeper;
use crate::ports::log_index::{IndexEvent, LogIndex, LogIndexError};
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use chrono::DateTime;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The name of the sink in lists.
pub const NAME: &str = "index";

/// Makes sinks into one index.
pub struct Factory {
    /// The index.
    pub index: Arc<dyn LogIndex>,
}

impl SinkFactory for Factory {
    fn kind(&self) -> &'static str {
        "index"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(IndexSink {
            keeper: self.index.freshness().map(|f| f.keep()),
            index: Arc::clone(&self.index),
            encoder: Encoder::default(),
        }))
    }
}

struct IndexSink {
    index: Arc<dyn LogIndex>,
    keeper: Option<Keeper>,
    encoder: Encoder,
}

impl IndexSink {
    fn event(&mut self, event: &LogEvent) -> IndexEvent {
        let (mut id, mut json) = (Vec::new(), Vec::new());
        self.encoder.id(event, &mut id);
        self.encoder.encode(event, &mut json);
        IndexEvent {
            // Ids are hexadecimal digits.
            id: String::from_utf8_lossy(&id).into_owned(),
            at: DateTime::from_timestamp_nanos(event.at.0),
            json,
        }
    }
}

#[async_trait]
impl Sink for IndexSink {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        let batch: Vec<IndexEvent> = events.iter().map(|e| self.event(e)).collect();
        let bytes = batch.iter().map(|e| e.json.len()).sum::<usize>();
        let places: HashMap<String, usize> = batch
            .iter()
            .enumerate()
            .map(|(place, event)| (event.id.clone(), place))
            .collect();
        let appended = self.index.append(batch).await.map_err(refused)?;
        let dead = appended.refused.into_iter();
        Ok(Delivery {
            retry: Vec::new(),
            dead: dead
                .filter_map(|(id, why)| Some((*places.get(&id)?, why)))
                .collect(),
            known: u64::try_from(appended.duplicates).unwrap_or(0),
            bytes: u64::try_from(bytes).unwrap_or(0),
        })
    }

    fn gathers_for(&self) -> Duration {
        self.index.gathers_for()
    }

    fn keeper(&mut self) -> Option<&mut Keeper> {
        self.keeper.as_mut()
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        self.index
            .append(Vec::new())
            .await
            .map(drop)
            .map_err(refused)
    }
}

/// Whatever it is, it passes or somebody has to act; the events stay in the spool meanwhile.
fn refused(error: LogIndexError) -> SinkError {
    SinkError::retry(error.to_string())
}
