//! `/api/v1/logs/…`: search, histogram, values, fields, neighbours, statistics, live tail, export and saved
//! searches over all log events.
//!
//! A token for single apps sees the events of these apps only, whatever its query says.

use super::error::{Kind, Problem, ProblemItem};
use super::extract::InQuery;
use super::log_params::{
    FieldsQuery, HistogramQuery, Order, SearchQuery, StatsQuery, SurroundingQuery, TailQuery,
    ValuesQuery,
};
use super::sse::{self, Frame, StreamEvent};
use super::state::{Api, Who};
use crate::domain::view::Page;
use crate::ports::log_index::{
    FieldView, Histogram, HistogramRequest, IndexStatus, LogIndexError, LogSearch, LogsPort,
    SearchPage, SearchRequest, Stats, StatsRequest, Surrounding, TopValues,
};
use actix_web::HttpResponse;
use actix_web::web::Data;
use futures_util::StreamExt;
use serde_json::json;
use std::sync::Arc;

pub(super) fn port(api: &Api) -> Result<LogsPort, Problem> {
    api.control.log_port().ok_or_else(|| {
        let detail = "this lain has no log index; `lain logs -a APP` reads the output of an app's instances without one";
        Problem::new(Kind::Unavailable, detail)
    })
}

pub(super) fn search(api: &Api) -> Result<Arc<dyn LogSearch>, Problem> {
    port(api).map(|port| port.search)
}

/// Names between commas.
pub(super) fn list(text: Option<&str>) -> Vec<String> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

/// Quantiles between commas.
pub(super) fn numbers(text: Option<&str>) -> Result<Vec<f64>, Problem> {
    let read = |text: &String| {
        let number: Option<f64> = text.parse().ok();
        number.filter(|n| (0.0..=1.0).contains(n)).ok_or_else(|| {
            let detail = format!("query parameter quantiles: {text:?} is no number from 0 to 1");
            Problem::new(Kind::BadParameter, detail)
        })
    };
    list(text).iter().map(read).collect()
}

impl From<LogIndexError> for Problem {
    fn from(error: LogIndexError) -> Self {
        let kind = match &error {
            LogIndexError::Query { .. } | LogIndexError::Request(_) => Kind::BadParameter,
            LogIndexError::NotFound(_) => Kind::NotFound,
            LogIndexError::Unavailable(_) => Kind::Unavailable,
            LogIndexError::DiskFull { .. } | LogIndexError::Failed { .. } => Kind::StoreFailed,
        };
        let mut problem = Problem::new(kind, error.to_string());
        if let LogIndexError::Query {
            message,
            offset,
            syntax,
            ..
        } = error
        {
            problem.errors = vec![ProblemItem {
                pointer: "query".to_owned(),
                line: None,
                column: u32::try_from(offset).ok().map(|offset| offset + 1),
                code: if syntax {
                    "query_syntax"
                } else {
                    "query_refused"
                }
                .to_owned(),
                detail: message,
            }];
        }
        problem
    }
}

/// Searches log events, newest first
///
/// A wrong query is a 400 whose `errors[0].column` is the character at fault, from 1.
#[utoipa::path(get, path = "/api/v1/logs/search", params(SearchQuery),
    responses((status = 200, description = "A page of events", body = SearchPage)))]
pub async fn search_logs(
    api: Data<Api>,
    who: Who,
    query: InQuery<SearchQuery>,
) -> Result<HttpResponse, Problem> {
    let request = SearchRequest {
        filter: query.filter(&who)?,
        limit: query.limit.0,
        ascending: query.order == Order::Asc,
        after: query.after.clone(),
        count: query.count,
        fields: list(query.fields.as_deref()),
    };
    Ok(HttpResponse::Ok().json(search(&api)?.search(request).await?))
}

/// Counts log events over time
///
/// Bars without events are there too, from `from` to `to`, in the days and hours of the zone.
#[utoipa::path(get, path = "/api/v1/logs/histogram", params(HistogramQuery),
    responses((status = 200, description = "The bars", body = Histogram)))]
pub async fn log_histogram(
    api: Data<Api>,
    who: Who,
    query: InQuery<HistogramQuery>,
) -> Result<HttpResponse, Problem> {
    let request = HistogramRequest {
        filter: query.filter(&who)?,
        interval: query.interval.clone(),
        by: query.by.clone(),
    };
    Ok(HttpResponse::Ok().json(search(&api)?.histogram(request).await?))
}

/// Lists the most frequent values of a field
#[utoipa::path(get, path = "/api/v1/logs/values", params(ValuesQuery),
    responses((status = 200, description = "The values with their counts, over all events that match", body = TopValues)))]
pub async fn log_values(
    api: Data<Api>,
    who: Who,
    query: InQuery<ValuesQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = query.filter(&who)?;
    if query.field.is_empty() {
        return Err(Problem::new(
            Kind::BadParameter,
            "query parameter field is needed: whose values",
        ));
    }
    let values = search(&api)?
        .top_values(filter, &query.field, query.limit.0)
        .await?;
    Ok(HttpResponse::Ok().json(values))
}

/// Lists the fields that log events have
#[utoipa::path(get, path = "/api/v1/logs/fields", params(FieldsQuery),
    responses((status = 200, description = "The fields with their types", body = Page<FieldView>)))]
pub async fn log_fields(
    api: Data<Api>,
    who: Who,
    query: InQuery<FieldsQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = query.filter(&who)?;
    let items = search(&api)?.fields(filter, query.counts).await?;
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}

/// Reads the events before and after one
#[utoipa::path(get, path = "/api/v1/logs/surrounding", params(SurroundingQuery),
    responses((status = 200, description = "The event and its neighbours", body = Surrounding),
        (status = 404, description = "The event is no longer kept", body = super::error::ProblemView, content_type = "application/problem+json")))]
pub async fn log_surrounding(
    api: Data<Api>,
    who: Who,
    query: InQuery<SurroundingQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = query.filter(&who)?;
    if query.cursor.is_empty() {
        return Err(Problem::new(
            Kind::BadParameter,
            "query parameter cursor is needed: around which event",
        ));
    }
    let around = search(&api)?
        .surrounding(filter, &query.cursor, query.before.0, query.after.0)
        .await?;
    Ok(HttpResponse::Ok().json(around))
}

/// Computes counts, rates and quantiles, by field and time
#[utoipa::path(get, path = "/api/v1/logs/stats", params(StatsQuery),
    responses((status = 200, description = "A row for each group and span", body = Stats)))]
pub async fn log_stats(
    api: Data<Api>,
    who: Who,
    query: InQuery<StatsQuery>,
) -> Result<HttpResponse, Problem> {
    let quantiles = numbers(query.quantiles.as_deref())?;
    let request = StatsRequest {
        filter: query.filter(&who)?,
        field: query.field.clone(),
        by: query.by.clone(),
        interval: query.interval.clone(),
        quantiles,
        limit: query.limit.0,
    };
    Ok(HttpResponse::Ok().json(search(&api)?.stats(request).await?))
}

/// Follows log events as they come, before they are indexed
///
/// Each `message` is an event. `missed` tells how many were left out because the reader was too slow.
#[utoipa::path(get, path = "/api/v1/logs/tail", params(TailQuery),
    responses((status = 200, description = "Events as they come", body = StreamEvent, content_type = "text/event-stream"),
        (status = 429, description = "Too many requests or streams", body = super::error::ProblemView, content_type = "application/problem+json")))]
pub async fn log_tail(
    api: Data<Api>,
    who: Who,
    query: InQuery<TailQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = query.filter(&who)?;
    let events = search(&api)?.tail(filter).await?;
    let frames = events.map(|event| match event {
        Ok(event) => Frame::object(None, &event),
        Err(missed) => Frame {
            event: Some("missed"),
            ..Frame::object(None, &json!({ "missed": missed }))
        },
    });
    sse::respond(&api, &who, frames)
}

/// Reads what the log index says of itself
#[utoipa::path(get, path = "/api/v1/logs/index",
    responses((status = 200, description = "Size, days, what was set aside", body = IndexStatus)))]
pub async fn log_index(api: Data<Api>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(search(&api)?.status().await?))
}
