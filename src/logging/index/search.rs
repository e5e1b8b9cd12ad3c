//! [`LogSearch`] over the embedded index: reads requests, plans them, has them carried out off the
//! asynchronous threads.

use super::partition::Partition;
use super::queries::{self, place};
use super::scan::{self, Part};
use super::{FRESH, Index, Shared};
use crate::logging::filter::{Read, read};
use crate::logging::query::bars::{Width, edges};
use crate::logging::query::{Check, FieldType, Fields, Plan, plan};
use crate::ports::log_index::{
    FieldView, Histogram, HistogramRequest, IndexStatus, LogFilter, LogIndex, LogIndexError,
    LogSearch, SearchPage, SearchRequest, Stats, StatsRequest, Surrounding, TopValues,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;
use tantivy::TantivyError;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// A tantivy error in the port's words.
fn failed(error: TantivyError) -> LogIndexError {
    LogIndexError::Failed {
        action: "search".to_owned(),
        reason: error.to_string(),
    }
}

/// What is searched for one request.
struct Scope {
    parts: Vec<Part>,
    missing: Vec<String>,
    fields: Fields,
    read: Read,
}

impl Index {
    /// Runs `work` where it may take its time.
    async fn blocking<T: Send + 'static>(
        &self,
        filter: LogFilter,
        work: impl FnOnce(Scope) -> Result<T, LogIndexError> + Send + 'static,
    ) -> Result<T, LogIndexError> {
        let read = read(&filter, self.shared.clock.now_utc())?;
        self.freshness.ask(FRESH).await;
        let days = self.days_between(read.low, read.high);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let fields = fields_of(&shared, &days);
            let plan = read.plan(&fields)?;
            let (parts, missing) =
                scan::parts(&days, &shared.options.fields, &plan, read.low, read.high);
            for missing in &missing {
                tracing::error!(missing, "a day of the log index could not be searched");
            }
            work(Scope {
                parts,
                missing,
                fields,
                read,
            })
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|error| {
            Err(LogIndexError::Failed {
                action: "search".to_owned(),
                reason: error.to_string(),
            })
        });
        if matches!(done, Err(LogIndexError::Failed { .. })) {
            self.suspicion.notify_one();
        }
        done
    }
}

fn fields_of(shared: &Shared, days: &[Arc<Partition>]) -> Fields {
    let mut fields = (*shared.options.fields).clone();
    for day in days {
        fields.merge(&day.fields(&shared.options.fields));
    }
    fields
}

fn took(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Refuses fields that have no values to be counted.
fn countable(fields: &Fields, name: &str) -> Result<(), LogIndexError> {
    let types = fields.types(name);
    let why = if types.contains(&FieldType::Text) {
        "holds texts"
    } else if types.contains(&FieldType::Nested) || fields.nested_above(name).is_some() {
        "is nested"
    } else if name == "timestamp" || name == "event_id" {
        "differs in every event"
    } else {
        return Ok(());
    };
    Err(LogIndexError::Request(format!(
        "{name} {why}: its values cannot be counted"
    )))
}

/// The edges of the bars of a scope.
fn bar_edges(scope: &Scope, interval: Option<&str>) -> Result<(String, Vec<i64>), LogIndexError> {
    let times = scope.parts.iter().map(|part| part.times);
    let seen = times.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
    let now = scope
        .read
        .clock
        .now
        .timestamp_nanos_opt()
        .unwrap_or_default();
    let (least, most) = seen.unwrap_or((now, now));
    let low = if scope.read.low == i64::MIN {
        least
    } else {
        scope.read.low
    };
    let high = if scope.read.high == i64::MAX {
        most.max(low)
    } else {
        scope.read.high
    };
    if high < low {
        return Err(LogIndexError::Request("from is after to".to_owned()));
    }
    let width = match interval {
        None => Width::for_span(low, high),
        Some(text) => Width::parse(text).ok_or_else(|| {
            LogIndexError::Request(format!(
                "interval {text:?}: expected a number and one of ms s m h d w M y"
            ))
        })?,
    };
    let edges = edges(width, low, high, scope.read.zone()).ok_or_else(|| {
        LogIndexError::Request(format!(
            "interval {}: that is more than 10,000 bars",
            width.text()
        ))
    })?;
    Ok((width.text(), edges))
}

#[async_trait]
impl LogSearch for Index {
    async fn search(&self, request: SearchRequest) -> Result<SearchPage, LogIndexError> {
        let since = Instant::now();
        let mut filter = request.filter.clone();
        let after = request.after.as_deref().map(place).transpose()?;
        if request.count {
            // The total is that of all pages.
        } else if let Some((at, _)) = after {
            narrow(
                &mut filter,
                at,
                request.ascending,
                self.shared.clock.now_utc(),
            )?;
        }
        let page = move |scope: Scope| {
            // One more, to know whether there are more.
            let mut places =
                queries::first(&scope.parts, request.limit + 1, request.ascending, after)
                    .map_err(failed)?;
            let more = places.len() > request.limit;
            places.truncate(request.limit);
            let items = queries::hits(&scope.parts, &places, &request.fields).map_err(failed)?;
            let total = match request.count {
                true => Some(queries::count(&scope.parts).map_err(failed)?),
                false => None,
            };
            Ok(SearchPage {
                next: items.last().filter(|_| more).map(|hit| hit.cursor.clone()),
                items,
                total,
                took_ms: took(since),
                missing: scope.missing,
            })
        };
        self.blocking(filter, page).await
    }

    async fn histogram(&self, request: HistogramRequest) -> Result<Histogram, LogIndexError> {
        let since = Instant::now();
        let HistogramRequest {
            filter,
            interval,
            by,
        } = request;
        let work = move |scope: Scope| {
            if let Some(by) = &by {
                countable(&scope.fields, by)?;
            }
            let (interval, edges) = bar_edges(&scope, interval.as_deref())?;
            let bars = queries::bars(&scope.parts, &edges, by.as_deref()).map_err(failed)?;
            Ok(Histogram {
                interval,
                total: bars.iter().map(|bar| bar.count).sum(),
                bars,
                took_ms: took(since),
            })
        };
        self.blocking(filter, work).await
    }

    async fn top_values(
        &self,
        filter: LogFilter,
        field: &str,
        limit: usize,
    ) -> Result<TopValues, LogIndexError> {
        let since = Instant::now();
        let field = field.to_owned();
        let work = move |scope: Scope| {
            countable(&scope.fields, &field)?;
            let (values, with_value, total) =
                queries::top(&scope.parts, &field, limit).map_err(failed)?;
            Ok(TopValues {
                field,
                values,
                with_value,
                total,
                took_ms: took(since),
            })
        };
        self.blocking(filter, work).await
    }

    async fn fields(
        &self,
        filter: LogFilter,
        counts: bool,
    ) -> Result<Vec<FieldView>, LogIndexError> {
        let view = |name: &str, types: &[FieldType], count| FieldView {
            name: name.to_owned(),
            types: types.iter().map(|kind| kind.name().to_owned()).collect(),
            count,
        };
        if !counts {
            let work = move |scope: Scope| {
                Ok(scope
                    .fields
                    .iter()
                    .map(|(name, types)| view(name, types, None))
                    .collect())
            };
            return self.blocking(filter, work).await;
        }
        let read = read(&filter, self.shared.clock.now_utc())?;
        let days = self.days_between(read.low, read.high);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let fields = fields_of(&shared, &days);
            let whole = read.plan(&fields)?;
            let mut views = Vec::new();
            for (name, types) in fields.iter() {
                let exists = types.iter().filter(|kind| **kind != FieldType::Nested);
                let exists = Plan::Or(
                    exists
                        .map(|kind| Plan::Field(name.to_owned(), Check::Exists(*kind)))
                        .collect(),
                );
                let plan = plan::simplify(Plan::And(vec![whole.clone(), exists]));
                let (parts, _) =
                    scan::parts(&days, &shared.options.fields, &plan, read.low, read.high);
                views.push(view(
                    name,
                    types,
                    Some(queries::count(&parts).map_err(failed)?),
                ));
            }
            Ok(views)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(LogIndexError::Unavailable(error.to_string())))
    }

    async fn surrounding(
        &self,
        filter: LogFilter,
        cursor: &str,
        before: usize,
        after: usize,
    ) -> Result<Surrounding, LogIndexError> {
        let (at, order) = place(cursor)?;
        let around = |limit: usize, ascending: bool| SearchRequest {
            filter: filter.clone(),
            limit,
            ascending,
            after: Some(cursor.to_owned()),
            ..SearchRequest::default()
        };
        let mut earlier = self.search(around(before, false)).await?.items;
        earlier.reverse();
        let later = self.search(around(after, true)).await?.items;
        // The event itself, whatever the filter says of it, but never one of another's app.
        let alone = LogFilter {
            apps: filter.apps.clone(),
            ..LogFilter::default()
        };
        let just_before = match order.checked_sub(1) {
            Some(order) => (at, order),
            None => (at.saturating_sub(1), u64::MAX),
        };
        let request = SearchRequest {
            filter: alone,
            limit: 1,
            ascending: true,
            after: Some(queries::cursor(just_before)),
            ..SearchRequest::default()
        };
        let anchor = self
            .search(request)
            .await?
            .items
            .into_iter()
            .next()
            .filter(|hit| hit.cursor == cursor);
        if anchor.is_none() {
            return Err(LogIndexError::NotFound(format!(
                "there is no event {cursor} any more"
            )));
        }
        Ok(Surrounding {
            before: earlier,
            anchor,
            after: later,
        })
    }

    async fn count(&self, filter: LogFilter) -> Result<u64, LogIndexError> {
        self.blocking(filter, |scope: Scope| {
            queries::count(&scope.parts).map_err(failed)
        })
        .await
    }

    async fn stats(&self, request: StatsRequest) -> Result<Stats, LogIndexError> {
        let since = Instant::now();
        if let Some(q) = request.quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            return Err(LogIndexError::Request(format!(
                "quantile {q} is not from 0 to 1"
            )));
        }
        let filter = request.filter.clone();
        let work = move |scope: Scope| {
            if let Some(by) = &request.by {
                countable(&scope.fields, by)?;
            }
            if let Some(field) = &request.field {
                let types = scope.fields.types(field);
                if !types
                    .iter()
                    .any(|kind| matches!(kind, FieldType::Long | FieldType::Double))
                {
                    return Err(LogIndexError::Request(format!(
                        "{field} is no number field"
                    )));
                }
            }
            let edges = match &request.interval {
                Some(interval) => bar_edges(&scope, Some(interval))?.1,
                None => {
                    let (_, edges) = bar_edges(&scope, None)?;
                    // The time asked for, where it was; else the bars around what there is.
                    let first = if scope.read.low == i64::MIN {
                        edges[0]
                    } else {
                        scope.read.low
                    };
                    let last = if scope.read.high == i64::MAX {
                        edges[edges.len() - 1]
                    } else {
                        scope.read.high.saturating_add(1)
                    };
                    vec![first, last.max(first.saturating_add(1))]
                }
            };
            Ok(Stats {
                rows: queries::stats(&scope.parts, &request, &edges).map_err(failed)?,
                took_ms: took(since),
            })
        };
        self.blocking(filter, work).await
    }

    async fn tail(
        &self,
        filter: LogFilter,
    ) -> Result<BoxStream<'static, Result<Map<String, Value>, u64>>, LogIndexError> {
        let read = read(&filter, self.shared.clock.now_utc())?;
        // What came before is no news.
        self.freshness.ask(FRESH).await;
        // Subscribed first: nothing that comes while the fields are read is missed.
        let events = BroadcastStream::new(self.tail.subscribe());
        let shared = Arc::clone(&self.shared);
        let days = self.days_between(i64::MIN, i64::MAX);
        let newest = days.into_iter().take(2).collect::<Vec<_>>();
        let mut fields = fields_of(&shared, &newest);
        let mut plan = read.plan(&fields)?;
        let stream = events.filter_map(move |event| {
            let item = match event {
                Err(BroadcastStreamRecvError::Lagged(count)) => Some(Err(count)),
                Ok(event) => {
                    // A field that was never seen before has a type from now on.
                    if learn(&event, &shared.options.fields, &mut fields)
                        && let Ok(wider) = read.plan(&fields)
                    {
                        plan = wider;
                    }
                    plan.matches(&event).then(|| Ok((*event).clone()))
                }
            };
            std::future::ready(item)
        });
        Ok(stream.boxed())
    }

    async fn check(&self, filter: LogFilter) -> Result<(), LogIndexError> {
        let read = read(&filter, self.shared.clock.now_utc())?;
        let days = self.days_between(read.low, read.high);
        read.plan(&fields_of(&self.shared, &days)).map(drop)
    }

    async fn status(&self) -> Result<IndexStatus, LogIndexError> {
        Ok(LogIndex::status(self))
    }
}

/// Notes the types of an event's fields; whether any is new.
fn learn(event: &Map<String, Value>, typed: &Fields, fields: &mut Fields) -> bool {
    let mut seen = Fields::default();
    let whole = [Arc::new(event.clone())];
    super::encode::context_fields(&whole, typed, &mut seen);
    let new: Vec<(String, FieldType)> = seen
        .iter()
        .flat_map(|(name, types)| types.iter().map(move |kind| (name.to_owned(), *kind)))
        .filter(|(name, kind)| !fields.types(name).contains(kind))
        .collect();
    new.iter().for_each(|(name, kind)| fields.add(name, *kind));
    !new.is_empty()
}

/// Leaves out what lies on the wrong side of a cursor.
fn narrow(
    filter: &mut LogFilter,
    at: i64,
    ascending: bool,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), LogIndexError> {
    let whole = read(
        &LogFilter {
            query: String::new(),
            ..filter.clone()
        },
        now,
    )?;
    let bound = |at: i64| {
        Some(
            chrono::DateTime::from_timestamp_nanos(at)
                .to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
        )
    };
    if ascending && at > whole.low {
        filter.from = bound(at);
    }
    if !ascending && at < whole.high {
        filter.to = bound(at);
    }
    Ok(())
}
