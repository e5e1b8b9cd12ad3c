//! [`LogSearch`] over Elasticsearch or OpenSearch: the same plans, carried out there.
//!
//! Field names of lain's events become those of the index (`timestamp` is `@timestamp` by ECS) on the way
//! out, and theirs on the way back.

mod answers;
mod names;
mod tail;

use answers::{add_rows, bars, from_millis, sort_of, values};
pub use names::Target;

use crate::logging::filter::{Read, read};
use crate::logging::query::bars::{Width, edges};
use crate::logging::query::{Check, FieldType, Fields, Plan, elastic::dsl, plan::simplify};
use crate::ports::clock::Clock;
use crate::ports::log_index::{
    FieldView, Histogram, HistogramRequest, Hit, IndexStatus, LogFilter, LogIndexError, LogSearch,
    SearchPage, SearchRequest, Stats, StatsRequest, Surrounding, TopValues,
};
use async_trait::async_trait;
use elasticsearch::Elasticsearch;
use elasticsearch::http::Method;
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::request::JsonBody;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Values that bars are broken down by.
const BROKEN_DOWN: usize = 5;
/// How long the fields of the index are taken to be the same.
const FIELDS_FOR: Duration = Duration::from_secs(10);

/// Searches an Elasticsearch-compatible server.
#[derive(Clone)]
pub struct ElasticSearch {
    client: Elasticsearch,
    target: Target,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Option<(Instant, Fields)>>>,
}

impl ElasticSearch {
    /// By this client.
    pub fn new(client: Elasticsearch, target: Target, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            target,
            clock,
            known: Arc::default(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, LogIndexError> {
        let failed = |reason: String| LogIndexError::Failed {
            action: format!("ask Elasticsearch for {path}"),
            reason,
        };
        let transport = self.client.transport();
        let body = body.map(JsonBody::new);
        let response = transport
            .send(method, path, HeaderMap::new(), None::<&()>, body, None)
            .await;
        let response = response.map_err(|e| {
            LogIndexError::Unavailable(format!("Elasticsearch does not answer: {e}"))
        })?;
        let status = response.status_code();
        let answer: Value = response.json().await.map_err(|e| failed(e.to_string()))?;
        if status.is_success() {
            return Ok(answer);
        }
        let reason = answer["error"]["root_cause"][0]["reason"]
            .as_str()
            .or(answer["error"]["reason"].as_str());
        Err(failed(format!(
            "{status}: {}",
            reason.unwrap_or("no reason given")
        )))
    }

    async fn query(&self, body: Value) -> Result<Value, LogIndexError> {
        let path = format!("/{}/_search", self.target.index);
        self.ask(Method::Post, &path, Some(body)).await
    }

    /// The fields of the index, by our names.
    async fn known(&self) -> Result<Fields, LogIndexError> {
        let kept = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((_, fields)) = kept.filter(|(since, _)| since.elapsed() < FIELDS_FOR) {
            return Ok(fields);
        }
        let fields = self.ask_for_fields().await?;
        let now = (Instant::now(), fields.clone());
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(fields)
    }

    async fn ask_for_fields(&self) -> Result<Fields, LogIndexError> {
        let path = format!("/{}/_field_caps?fields=*", self.target.index);
        let answer = self.ask(Method::Get, &path, None).await?;
        let mut fields = Fields::default();
        for (name, types) in answer["fields"].as_object().into_iter().flatten() {
            // Those of the server's own begin so.
            if name.starts_with('_') {
                continue;
            }
            for (kind, _) in types.as_object().into_iter().flatten() {
                let ours = self.target.ours(name);
                if matches!(kind.as_str(), "flattened" | "flat_object") {
                    fields.open(&ours);
                } else if let Some(kind) = FieldType::of(kind) {
                    fields.add(&ours, kind);
                }
            }
        }
        Ok(fields)
    }

    async fn scope(&self, filter: &LogFilter) -> Result<(Read, Value, Fields), LogIndexError> {
        let read = read(filter, self.clock.now_utc())?;
        let fields = self.known().await?;
        let plan = read.plan(&fields)?;
        let time = match (read.low, read.high) {
            (i64::MIN, i64::MAX) => Plan::All,
            (low, high) => Plan::Field("timestamp".to_owned(), Check::Date(low, high)),
        };
        let plan = self.target.plan(simplify(Plan::And(vec![plan, time])));
        Ok((read, dsl(&plan), fields))
    }

    /// The least and the greatest time that match, for bars over a time that was not given.
    async fn seen(&self, read: &Read, query: &Value) -> Result<(i64, i64), LogIndexError> {
        let field = self.target.theirs("timestamp");
        let aggs = json!({"least": {"min": {"field": field}}, "most": {"max": {"field": field}}});
        let answer = self
            .query(json!({"size": 0, "query": query, "aggs": aggs}))
            .await?;
        let now = read.clock.now.timestamp_nanos_opt().unwrap_or_default();
        let nanos = |name: &str| {
            answer["aggregations"][name]["value"]
                .as_f64()
                .map(from_millis)
        };
        let low = if read.low == i64::MIN {
            nanos("least").unwrap_or(now)
        } else {
            read.low
        };
        let high = if read.high == i64::MAX {
            nanos("most").unwrap_or(now).max(low)
        } else {
            read.high
        };
        Ok((low, high))
    }

    async fn edges(
        &self,
        read: &Read,
        query: &Value,
        interval: Option<&str>,
    ) -> Result<(String, Vec<i64>), LogIndexError> {
        let (low, high) = self.seen(read, query).await?;
        let width = match interval {
            None => Width::for_span(low, high),
            Some(text) => Width::parse(text)
                .ok_or_else(|| LogIndexError::Request(format!("interval {text:?} is none")))?,
        };
        let edges = edges(width, low, high, read.zone());
        let edges = edges.ok_or_else(|| {
            LogIndexError::Request(format!(
                "interval {}: that is more than 10,000 bars",
                width.text()
            ))
        })?;
        Ok((width.text(), edges))
    }

    /// The events of each bar: edges are ours, so that both indexes have the same bars.
    fn bars(&self, edges: &[i64]) -> Value {
        bars(&self.target.theirs("timestamp"), edges)
    }
}

#[async_trait]
impl LogSearch for ElasticSearch {
    async fn search(&self, request: SearchRequest) -> Result<SearchPage, LogIndexError> {
        let since = Instant::now();
        let (_, query, _) = self.scope(&request.filter).await?;
        let order = if request.ascending { "asc" } else { "desc" };
        let mut body = json!({
            "size": request.limit.saturating_add(1),
            "query": query,
            "sort": [
                {self.target.theirs("timestamp"): {"order": order, "unmapped_type": "date"}},
                {self.target.tiebreak.clone(): {"order": order, "unmapped_type": "keyword"}},
            ],
            "track_total_hits": request.count,
        });
        if let Some(after) = &request.after {
            body["search_after"] = sort_of(after)?;
        }
        let answer = self.query(body).await?;
        let hits = answer["hits"]["hits"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let more = hits.len() > request.limit;
        let hit = |hit: Value| {
            let event = self
                .target
                .event(hit["_source"].as_object().cloned().unwrap_or_default());
            Hit {
                cursor: hit["sort"].to_string(),
                event: match request.fields.is_empty() {
                    true => event,
                    false => crate::logging::index::queries::only(&event, &request.fields),
                },
            }
        };
        let items: Vec<Hit> = hits.into_iter().take(request.limit).map(hit).collect();
        Ok(SearchPage {
            next: items.last().filter(|_| more).map(|hit| hit.cursor.clone()),
            items,
            total: answer["hits"]["total"]["value"]
                .as_u64()
                .filter(|_| request.count),
            took_ms: since.elapsed().as_secs_f64() * 1000.0,
            missing: Vec::new(),
        })
    }

    async fn histogram(&self, request: HistogramRequest) -> Result<Histogram, LogIndexError> {
        let since = Instant::now();
        let (read, query, _) = self.scope(&request.filter).await?;
        let (interval, edges) = self
            .edges(&read, &query, request.interval.as_deref())
            .await?;
        let bars = self.bars(&edges);
        let mut aggs = json!({"bars": bars.clone()});
        if let Some(by) = &request.by {
            // The most frequent values of all, not of each bar: colours stay what they are from bar to bar.
            let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
            let terms =
                json!({"field": self.target.theirs(by), "size": BROKEN_DOWN, "order": order});
            aggs["by"] = json!({"terms": terms, "aggs": {"bars": bars}});
        }
        let answer = self
            .query(json!({"size": 0, "query": query, "aggs": aggs}))
            .await?;
        let bars = answers::histogram(&answer["aggregations"], &edges);
        Ok(Histogram {
            interval,
            total: bars.iter().map(|bar| bar.count).sum(),
            bars,
            took_ms: since.elapsed().as_secs_f64() * 1000.0,
        })
    }

    async fn top_values(
        &self,
        filter: LogFilter,
        field: &str,
        limit: usize,
    ) -> Result<TopValues, LogIndexError> {
        let since = Instant::now();
        let (_, query, _) = self.scope(&filter).await?;
        let theirs = self.target.theirs(field);
        let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
        let aggs = json!({
            "top": {"terms": {"field": theirs, "size": limit, "order": order}},
            "with": {"filter": {"exists": {"field": theirs}}},
        });
        let answer = self
            .query(json!({"size": 0, "query": query, "aggs": aggs, "track_total_hits": true}))
            .await?;
        Ok(TopValues {
            field: field.to_owned(),
            values: values(&answer["aggregations"]["top"]),
            with_value: answer["aggregations"]["with"]["doc_count"]
                .as_u64()
                .unwrap_or_default(),
            total: answer["hits"]["total"]["value"]
                .as_u64()
                .unwrap_or_default(),
            took_ms: since.elapsed().as_secs_f64() * 1000.0,
        })
    }

    async fn fields(
        &self,
        filter: LogFilter,
        counts: bool,
    ) -> Result<Vec<FieldView>, LogIndexError> {
        let (_, query, fields) = self.scope(&filter).await?;
        let names = fields.iter().map(|(name, _)| name.to_owned());
        let names: Vec<String> = names.filter(|name| !self.target.is_alias(name)).collect();
        let mut found = Value::Null;
        if counts {
            let each = names.iter().enumerate().map(|(n, name)| {
                let exists = json!({"filter": {"exists": {"field": self.target.theirs(name)}}});
                (n.to_string(), exists)
            });
            let aggs: Map<String, Value> = each.collect();
            found = self
                .query(json!({"size": 0, "query": query, "aggs": aggs}))
                .await?["aggregations"]
                .take();
        }
        let view = |(n, name): (usize, &String)| FieldView {
            name: name.clone(),
            types: fields
                .types(name)
                .iter()
                .map(|kind| kind.name().to_owned())
                .collect(),
            count: found[n.to_string()]["doc_count"].as_u64(),
        };
        Ok(names.iter().enumerate().map(view).collect())
    }

    async fn surrounding(
        &self,
        filter: LogFilter,
        cursor: &str,
        before: usize,
        after: usize,
    ) -> Result<Surrounding, LogIndexError> {
        let around = |filter: LogFilter, limit, ascending| SearchRequest {
            filter,
            limit,
            ascending,
            after: Some(cursor.to_owned()),
            ..SearchRequest::default()
        };
        let mut earlier = self
            .search(around(filter.clone(), before, false))
            .await?
            .items;
        earlier.reverse();
        let later = self
            .search(around(filter.clone(), after, true))
            .await?
            .items;
        let sort = sort_of(cursor)?;
        let own = json!({"bool": {"filter": [{"term": {self.target.tiebreak.clone(): {"value": sort[1]}}}]}});
        let alone = LogFilter {
            apps: filter.apps,
            ..LogFilter::default()
        };
        let (_, allowed, _) = self.scope(&alone).await?;
        let both = json!({"bool": {"filter": [own, allowed]}});
        let answer = self.query(json!({"size": 1, "query": both})).await?;
        let source = answer["hits"]["hits"][0]["_source"].as_object().cloned();
        let source = source.ok_or_else(|| {
            LogIndexError::NotFound(format!("there is no event {cursor} any more"))
        })?;
        let anchor = Hit {
            cursor: cursor.to_owned(),
            event: self.target.event(source),
        };
        Ok(Surrounding {
            before: earlier,
            anchor: Some(anchor),
            after: later,
        })
    }

    async fn count(&self, filter: LogFilter) -> Result<u64, LogIndexError> {
        let (_, query, _) = self.scope(&filter).await?;
        let path = format!("/{}/_count", self.target.index);
        let answer = self
            .ask(Method::Post, &path, Some(json!({"query": query})))
            .await?;
        Ok(answer["count"].as_u64().unwrap_or_default())
    }

    async fn stats(&self, request: StatsRequest) -> Result<Stats, LogIndexError> {
        let since = Instant::now();
        let (read, query, _) = self.scope(&request.filter).await?;
        let edges = match &request.interval {
            Some(interval) => self.edges(&read, &query, Some(interval)).await?.1,
            None => {
                let (low, high) = self.seen(&read, &query).await?;
                vec![low, high.saturating_add(1_000_000)]
            }
        };
        let mut inner = Map::new();
        if let Some(field) = &request.field {
            let field = self.target.theirs(field);
            let percents: Vec<f64> = request.quantiles.iter().map(|q| q * 100.0).collect();
            inner.insert("stats".to_owned(), json!({"stats": {"field": field}}));
            if !percents.is_empty() {
                inner.insert(
                    "quantiles".to_owned(),
                    json!({"percentiles": {"field": field, "percents": percents, "keyed": false}}),
                );
            }
        }
        let mut bars = self.bars(&edges);
        bars["aggs"] = Value::Object(inner);
        let aggs = match &request.by {
            None => json!({"bars": bars}),
            Some(by) => {
                json!({"by": {"terms": {"field": self.target.theirs(by), "size": request.limit}, "aggs": {"bars": bars}}})
            }
        };
        let answer = self
            .query(json!({"size": 0, "query": query, "aggs": aggs}))
            .await?;
        let all = &answer["aggregations"];
        let mut rows = Vec::new();
        match &request.by {
            None => add_rows(None, &all["bars"], &request, &edges, &mut rows),
            Some(_) => {
                for (bucket, value) in all["by"]["buckets"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .zip(values(&all["by"]))
                {
                    add_rows(
                        Some(value.value),
                        &bucket["bars"],
                        &request,
                        &edges,
                        &mut rows,
                    );
                }
            }
        }
        Ok(Stats {
            rows,
            took_ms: since.elapsed().as_secs_f64() * 1000.0,
        })
    }

    async fn tail(
        &self,
        filter: LogFilter,
    ) -> Result<BoxStream<'static, Result<Map<String, Value>, u64>>, LogIndexError> {
        // What is wrong with the query is said at once.
        self.check(filter.clone()).await?;
        Ok(tail::follow(self.clone(), filter))
    }

    async fn check(&self, filter: LogFilter) -> Result<(), LogIndexError> {
        self.scope(&filter).await.map(drop)
    }

    async fn status(&self) -> Result<IndexStatus, LogIndexError> {
        let path = format!("/{}/_stats/docs,store", self.target.index);
        let answer = self.ask(Method::Get, &path, None).await?;
        let primaries = &answer["_all"]["primaries"];
        Ok(IndexStatus {
            events: primaries["docs"]["count"].as_u64().unwrap_or_default(),
            bytes: primaries["store"]["size_in_bytes"]
                .as_u64()
                .unwrap_or_default(),
            ..IndexStatus::default()
        })
    }
}
