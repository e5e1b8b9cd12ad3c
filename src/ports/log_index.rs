//! What sinks, the API and the actors ask of a searchable store of log events.
//!
//! [`LogIndex`] takes events; `logging::index` implements it, and its sink calls it. [`LogSearch`] answers
//! queries; the embedded index and Elasticsearch implement it, and `web` calls it. An event is one JSON
//! object in Vector's form.

use crate::ports::freshness::Freshness;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// An event to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEvent {
    /// Its `event_id`: another event of the same id is the same event.
    pub id: String,
    /// When it happened. It is the event's `timestamp` in every answer.
    pub at: DateTime<Utc>,
    /// The event: one JSON object.
    pub json: Vec<u8>,
}

/// What became of appended events. All of them are durable, but for those refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// New ones.
    pub added: usize,
    /// Those that were there already.
    pub duplicates: usize,
    /// Those that can never be indexed: id and reason. Repeating them is of no use.
    pub refused: Vec<(String, String)>,
}

/// Why events could not be indexed, or a query not be answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogIndexError {
    /// The query is wrong.
    #[error("{message} (at character {offset} of the query)\n{pointed}")]
    Query {
        /// What is wrong, and what would be right.
        message: String,
        /// The character, from 0.
        offset: usize,
        /// The query with a caret below the character.
        pointed: String,
        /// It cannot even be read.
        syntax: bool,
    },
    /// Another part of the request is wrong.
    #[error("{0}")]
    Request(String),
    /// There is no such event, saved search …
    #[error("{0}")]
    NotFound(String),
    /// No space is left: nothing of the batch was kept.
    #[error(
        "no space left for the log index in {path}; free space or lower its retention; nothing of this batch was kept"
    )]
    DiskFull {
        /// Where.
        path: String,
    },
    /// It is stopping, or has failed and will be started anew: repeat.
    #[error("the log index is not available: {0}; repeat")]
    Unavailable(String),
    /// Anything else: repeat. Duplicates are recognised.
    #[error("the log index failed to {action}: {reason}")]
    Failed {
        /// What was asked.
        action: String,
        /// What went wrong.
        reason: String,
    },
}

/// Takes events.
#[async_trait]
pub trait LogIndex: Send + Sync + 'static {
    /// Adds events; when it returns they survive SIGKILL and power loss. Those whose id is known are
    /// counted and left out, also over restarts.
    ///
    /// # Errors
    /// Nothing of the batch is acknowledged; it may be repeated as a whole.
    async fn append(&self, events: Vec<IndexEvent>) -> Result<Appended, LogIndexError>;

    /// Looks after the index until it can no longer: removes what is too old or too much, looks for damage.
    /// The actor `logging/index` runs it; its end is the actor's crash.
    async fn tend(&self) -> LogIndexError;

    /// Opens anew what a crash has closed.
    ///
    /// # Errors
    /// What is in the way.
    async fn open(&self) -> Result<(), LogIndexError>;

    /// Size, age, what was set aside.
    fn status(&self) -> IndexStatus;

    /// How long events may be gathered before they are appended; none where somebody follows them live.
    fn gathers_for(&self) -> Duration {
        Duration::ZERO
    }

    /// How searches have what was gathered appended first.
    fn freshness(&self) -> Option<Arc<Freshness>> {
        None
    }

    /// Days whose events are to be sent again, since what was there is damaged.
    fn missing(&self) -> Vec<MissingDay> {
        Vec::new()
    }

    /// A node sends again what it still has of a day. Durable when it returns.
    ///
    /// # Errors
    /// The disk's.
    fn sent_again(&self, _day: NaiveDate, _node: &str) -> Result<(), LogIndexError> {
        Ok(())
    }

    /// Every node sends a day again: it is missing no more.
    ///
    /// # Errors
    /// The disk's.
    fn rebuilt(&self, _day: NaiveDate) -> Result<(), LogIndexError> {
        Ok(())
    }
}

/// A day that is to be built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingDay {
    /// Which (UTC).
    pub day: NaiveDate,
    /// The nodes that send it again already.
    pub nodes: Vec<String>,
}

/// What an index says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IndexStatus {
    /// Events that can be found.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The days that there are, oldest first (UTC).
    pub days: Vec<String>,
    /// What was set aside because it is damaged: its folder and why. The events in it are to be indexed again.
    pub damaged: Vec<String>,
    /// Events appended since the start.
    pub appended: u64,
    /// Events left out since the start because their id was known.
    pub duplicates: u64,
}

/// In which language a query is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueryLanguage {
    /// Kibana's.
    #[default]
    Kql,
    /// Lucene's query string.
    Lucene,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogFilter {
    /// The query; empty: all.
    pub query: String,
    /// Its language.
    pub language: QueryLanguage,
    /// From this time, such as `now-15m`; absent: from the first.
    pub from: Option<String>,
    /// Up to this time; absent: to the last.
    pub to: Option<String>,
    /// The zone of times that name none, such as `Europe/Berlin`; absent: UTC.
    pub zone: Option<String>,
    /// Only events of these apps, whatever the query says: what the caller may see.
    pub apps: Option<Vec<String>>,
}

/// A search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SearchRequest {
    /// Which events.
    pub filter: LogFilter,
    /// At most this many.
    pub limit: usize,
    /// Oldest first instead of newest.
    pub ascending: bool,
    /// Only what comes after this cursor, in the order asked for.
    pub after: Option<String>,
    /// Count all that match.
    pub count: bool,
    /// Only these fields of each event; all if empty.
    pub fields: Vec<String>,
}

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Hit {
    /// Its place in the order of time: pass it as `after` to go on from here.
    pub cursor: String,
    /// The event.
    #[schema(value_type = Object)]
    pub event: Map<String, Value>,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SearchPage {
    /// The events.
    pub items: Vec<Hit>,
    /// Pass it as `after` for the following ones; absent: there are none.
    pub next: Option<String>,
    /// All that match, if that was asked for.
    pub total: Option<u64>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Parts that could not be searched, and why: then the answer lacks them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A histogram over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramRequest {
    /// Which events.
    pub filter: LogFilter,
    /// The width of a bar, such as `30s` or `1d`; absent: such that there are about 50.
    pub interval: Option<String>,
    /// Break each bar down by the most frequent values of this field.
    pub by: Option<String>,
}

/// A bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Bar {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// Events in it.
    pub count: u64,
    /// Of these, by value of the field that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<ValueCount>,
}

/// Bars over the whole time asked for, those without events too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Histogram {
    /// The width of a bar.
    pub interval: String,
    /// The bars in order.
    pub bars: Vec<Bar>,
    /// Events in all.
    pub total: u64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// How many events have a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ValueCount {
    /// The value.
    #[schema(value_type = Object)]
    pub value: Value,
    /// Events with it.
    pub count: u64,
}

/// The most frequent values of a field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopValues {
    /// The field.
    pub field: String,
    /// The values, most frequent first.
    pub values: Vec<ValueCount>,
    /// Events that have a value.
    pub with_value: u64,
    /// Events that match.
    pub total: u64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// A field that events have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldView {
    /// Its dotted name.
    pub name: String,
    /// `text`, `keyword`, `long`, `double`, `boolean`, `date` or `nested`; several where events differ.
    pub types: Vec<String>,
    /// Events that match and have it, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Statistics of a number field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatsRequest {
    /// Which events.
    pub filter: LogFilter,
    /// The field; absent: counts and rates only.
    pub field: Option<String>,
    /// For each value of this field.
    pub by: Option<String>,
    /// For each span of this length, such as `1m`.
    pub interval: Option<String>,
    /// Which quantiles, from 0 to 1.
    pub quantiles: Vec<f64>,
    /// At most this many values of `by`, the most frequent ones.
    pub limit: usize,
}

/// Statistics of one group of events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatsRow {
    /// The value of the field that groups, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// The first instant of the span, if spans were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Events.
    pub count: u64,
    /// Events a second.
    pub rate: f64,
    /// Events with a number in the field.
    pub numbers: u64,
    /// The least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The quantiles that were asked for, in that order, each within 1% of the true value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
}

/// Statistics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Stats {
    /// A row for each group and span.
    pub rows: Vec<StatsRow>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// The events around one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Surrounding {
    /// Those before it, oldest first.
    pub before: Vec<Hit>,
    /// The event itself.
    pub anchor: Option<Hit>,
    /// Those after it, oldest first.
    pub after: Vec<Hit>,
}

/// A search under a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedSearch {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The query.
    #[serde(default)]
    pub query: String,
    /// Its language.
    #[serde(default)]
    pub language: QueryLanguage,
    /// From when, such as `now-1h`.
    #[serde(default)]
    pub from: Option<String>,
    /// Up to when.
    #[serde(default)]
    pub to: Option<String>,
    /// The fields shown.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// Answers queries over log events.
#[async_trait]
pub trait LogSearch: Send + Sync + 'static {
    /// Events, newest first unless asked for otherwise.
    async fn search(&self, request: SearchRequest) -> Result<SearchPage, LogIndexError>;

    /// Events over time.
    async fn histogram(&self, request: HistogramRequest) -> Result<Histogram, LogIndexError>;

    /// The most frequent values of a field.
    async fn top_values(
        &self,
        filter: LogFilter,
        field: &str,
        limit: usize,
    ) -> Result<TopValues, LogIndexError>;

    /// The fields that there are; with `counts`, in how many of the events that match.
    async fn fields(
        &self,
        filter: LogFilter,
        counts: bool,
    ) -> Result<Vec<FieldView>, LogIndexError>;

    /// The events around the one with this cursor; `filter` says which count as neighbours.
    async fn surrounding(
        &self,
        filter: LogFilter,
        cursor: &str,
        before: usize,
        after: usize,
    ) -> Result<Surrounding, LogIndexError>;

    /// How many events match.
    async fn count(&self, filter: LogFilter) -> Result<u64, LogIndexError>;

    /// Statistics of a number field, by time and by another field.
    async fn stats(&self, request: StatsRequest) -> Result<Stats, LogIndexError>;

    /// Events as they come, before they are indexed. `Err` with the number left out where the reader is too slow.
    async fn tail(
        &self,
        filter: LogFilter,
    ) -> Result<BoxStream<'static, Result<Map<String, Value>, u64>>, LogIndexError>;

    /// Whether a query is right over the fields that there are.
    async fn check(&self, filter: LogFilter) -> Result<(), LogIndexError>;

    /// Size, age, what was set aside.
    async fn status(&self) -> Result<IndexStatus, LogIndexError>;
}

/// Keeps searches under names.
#[async_trait]
pub trait SavedSearches: Send + Sync + 'static {
    /// All of them, by name.
    async fn list(&self) -> Result<Vec<SavedSearch>, LogIndexError>;

    /// One of them.
    async fn get(&self, name: &str) -> Result<SavedSearch, LogIndexError>;

    /// Keeps one, in place of an older one of its name. Durable when it returns.
    async fn put(&self, search: SavedSearch) -> Result<(), LogIndexError>;

    /// Removes one.
    async fn delete(&self, name: &str) -> Result<(), LogIndexError>;
}

/// What the API needs for logs.
#[derive(Clone)]
pub struct LogsPort {
    /// Answers queries.
    pub search: std::sync::Arc<dyn LogSearch>,
    /// Keeps searches.
    pub saved: std::sync::Arc<dyn SavedSearches>,
}
