//! `/api/v1/logs/…`: search, histogram, values, fields, neighbours, statistics, live tail, export and saved
//! searches over all log events.
//!
//! A token for single apps sees the events of these apps only, whatever its query says.

use super::error::{Kind, Problem, ProblemItem};
use super::extract::{InPath, InQuery, Json};
use super::params::Limit;
use super::sse::{self, Frame, StreamEvent};
use super::state::{Api, Who};
use crate::domain::id::AppName;
use crate::domain::view::Page;
use crate::ports::auth::Scope;
use crate::ports::log_index::{
    FieldView, Histogram, HistogramRequest, Hit, IndexStatus, LogFilter, LogIndexError, LogSearch,
    LogsPort, QueryLanguage, SavedSearch, SearchPage, SearchRequest, Stats, StatsRequest,
    Surrounding, TopValues,
};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::{Bytes, Data};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::IntoParams;

/// Events of one page of an export.
const EXPORT_PAGE: usize = 1000;
/// What an export as CSV has, unless fields are named.
const COLUMNS: [&str; 6] = ["timestamp", "app", "proc", "instance", "level", "message"];

macro_rules! filtered {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields, default)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// The query; absent: all events.
            #[param(value_type = Option<String>, max_length = 65536, example = "level: error and status >= 500")]
            pub query: String,
            /// The language of the query.
            #[param(value_type = Option<QueryLanguage>, inline)]
            pub language: QueryLanguage,
            /// From this time: RFC 3339, or relative to now.
            #[param(example = "now-15m")]
            pub from: Option<String>,
            /// Up to this time.
            #[param(example = "now")]
            pub to: Option<String>,
            /// The zone of times that name none, and of days.
            #[param(example = "Europe/Berlin")]
            pub zone: Option<String>,
            /// Only events of this app.
            #[param(value_type = Option<String>, max_length = 253)]
            pub app: Option<AppName>,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// The filter, with what the caller may see.
            fn filter(&self, who: &Who) -> Result<LogFilter, Problem> {
                Ok(LogFilter {
                    query: self.query.clone(),
                    language: self.language,
                    from: self.from.clone(),
                    to: self.to.clone(),
                    zone: self.zone.clone(),
                    apps: visible(who, self.app.as_ref())?,
                })
            }
        }
    };
}

/// The apps whose events the caller may see, and wants to; `None`: all.
fn visible(who: &Who, app: Option<&AppName>) -> Result<Option<Vec<String>>, Problem> {
    if let Some(app) = app {
        who.must_read(Some(app.as_str()))?;
        return Ok(Some(vec![app.to_string()]));
    }
    if who.principal.may_read_all() {
        return Ok(None);
    }
    let apps = who.principal.scopes.iter().filter_map(|scope| match scope {
        Scope::App(app) => Some(app.to_string()),
        _ => None,
    });
    let apps: Vec<String> = apps.collect();
    if apps.is_empty() {
        // It has nothing to look at.
        who.must_read(None)?;
    }
    Ok(Some(apps))
}

/// The order of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// RFC 4180, with a head line.
    Csv,
}

filtered! {
    /// A search.
    SearchQuery {
        /// At most this many events.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
        /// `next` of the page before, or the cursor of any event: what follows it.
        after: Option<String>,
        /// Newest or oldest first.
        #[param(value_type = Option<Order>, inline)]
        order: Order,
        /// Only these fields, separated by commas.
        fields: Option<String>,
        /// Count all events that match.
        #[param(value_type = Option<bool>, default = false)]
        count: bool,
    }
}

filtered! {
    /// Bars over time.
    HistogramQuery {
        /// The width of a bar, such as `30s`, `5m`, `1d`; absent: such that there are about 50.
        interval: Option<String>,
        /// Break bars down by the five most frequent values of this field.
        by: Option<String>,
    }
}

filtered! {
    /// The values of a field.
    ValuesQuery {
        /// Which field.
        #[param(value_type = String, required = true)]
        field: String,
        /// At most this many values.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
    }
}

filtered! {
    /// The fields that there are.
    FieldsQuery {
        /// Also in how many events each is.
        #[param(value_type = Option<bool>, default = false)]
        counts: bool,
    }
}

/// How many neighbours.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub struct Neighbours(usize);

impl Default for Neighbours {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u32> for Neighbours {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        (value <= 1000)
            .then_some(Self(value as usize))
            .ok_or_else(|| format!("{value} is not from 0 to 1000"))
    }
}

filtered! {
    /// The neighbours of an event; the query says who counts as one.
    SurroundingQuery {
        /// The cursor of the event.
        #[param(value_type = String, required = true)]
        cursor: String,
        /// This many before it.
        #[param(value_type = Option<u32>, maximum = 1000, default = 5)]
        before: Neighbours,
        /// This many after it.
        #[param(value_type = Option<u32>, maximum = 1000, default = 5)]
        after: Neighbours,
    }
}

filtered! {
    /// Statistics.
    StatsQuery {
        /// The number field; absent: only counts and rates.
        field: Option<String>,
        /// For each value of this field.
        by: Option<String>,
        /// For each span of this length, such as `1m`.
        interval: Option<String>,
        /// Quantiles from 0 to 1, separated by commas.
        #[param(example = "0.5,0.95,0.99")]
        quantiles: Option<String>,
        /// At most this many values of `by`.
        #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
        limit: Limit,
    }
}

filtered! {
    /// Events as they come.
    TailQuery {}
}

filtered! {
    /// All events that match.
    ExportQuery {
        /// In which form.
        #[param(value_type = Option<ExportFormat>, inline)]
        format: ExportFormat,
        /// Newest or oldest first.
        #[param(value_type = Option<Order>, inline)]
        order: Order,
        /// Only these fields, separated by commas.
        fields: Option<String>,
    }
}

/// A saved search in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SavedPath {
    /// Its name.
    #[param(max_length = 100)]
    pub name: String,
}

fn port(api: &Api) -> Result<LogsPort, Problem> {
    api.control.log_port().ok_or_else(|| {
        let detail = "this lain has no log index; `lain logs -a APP` reads the output of an app's instances without one";
        Problem::new(Kind::Unavailable, detail)
    })
}

fn search(api: &Api) -> Result<Arc<dyn LogSearch>, Problem> {
    port(api).map(|port| port.search)
}

/// Names between commas.
fn list(text: Option<&str>) -> Vec<String> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect()
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
    let quantiles: Result<Vec<f64>, Problem> = list(query.quantiles.as_deref())
        .iter()
        .map(|text| {
            let wrong = || {
                Problem::new(
                    Kind::BadParameter,
                    format!("query parameter quantiles: {text:?} is no number from 0 to 1"),
                )
            };
            text.parse().map_err(|_| wrong())
        })
        .collect();
    let request = StatsRequest {
        filter: query.filter(&who)?,
        field: query.field.clone(),
        by: query.by.clone(),
        interval: query.interval.clone(),
        quantiles: quantiles?,
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

/// Exports all log events that match, without a limit
///
/// Streamed as fast as it is read. An answer that ends early, by a closed connection, is not whole.
#[utoipa::path(get, path = "/api/v1/logs/export", params(ExportQuery),
    responses((status = 200, description = "The events", content((String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 429, description = "Too many requests or streams", body = super::error::ProblemView, content_type = "application/problem+json")))]
pub async fn log_export(
    api: Data<Api>,
    who: Who,
    query: InQuery<ExportQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = pinned(query.filter(&who)?);
    let search = search(&api)?;
    // What is wrong with the query is answered before anything is sent.
    search.check(filter.clone()).await?;
    let slot = api.stream_slot(&who)?;
    let mut fields = list(query.fields.as_deref());
    let csv = query.format == ExportFormat::Csv;
    if csv && fields.is_empty() {
        fields = COLUMNS.map(ToOwned::to_owned).to_vec();
    }
    let head = match csv {
        true => csv_line(fields.iter().map(String::as_str)),
        false => String::new(),
    };
    let (kind, name) = match query.format {
        ExportFormat::Ndjson => ("application/x-ndjson", "logs.ndjson"),
        ExportFormat::Csv => ("text/csv; charset=utf-8", "logs.csv"),
    };
    let request = SearchRequest {
        filter,
        limit: EXPORT_PAGE,
        ascending: query.order == Order::Asc,
        fields,
        ..SearchRequest::default()
    };
    let rows = pages(search, request.clone()).map(move |page| {
        // The slot is held as long as the stream is.
        let _ = &slot;
        page.map(|hits| {
            let lines: String = hits
                .iter()
                .map(|hit| {
                    if csv {
                        csv_row(hit, &request.fields)
                    } else {
                        json_line(hit)
                    }
                })
                .collect();
            Bytes::from(lines)
        })
    });
    let head = stream::iter((!head.is_empty()).then(|| Ok(Bytes::from(head))));
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ))
        .streaming(head.chain(rows)))
}

/// Times relative to now must not move between pages.
fn pinned(mut filter: LogFilter) -> LogFilter {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    for time in [&mut filter.from, &mut filter.to] {
        if let Some(rest) = time.as_deref().and_then(|text| text.strip_prefix("now")) {
            *time = Some(if rest.is_empty() {
                now.clone()
            } else {
                format!("{now}||{rest}")
            });
        }
    }
    filter
}

/// Page after page, each when it is asked for.
fn pages(
    search: Arc<dyn LogSearch>,
    request: SearchRequest,
) -> impl Stream<Item = Result<Vec<Hit>, LogIndexError>> {
    stream::try_unfold(Some(request), move |request| {
        let search = Arc::clone(&search);
        async move {
            let Some(request) = request else {
                return Ok(None);
            };
            let page = search.search(request.clone()).await?;
            let next = page.next.map(|after| SearchRequest {
                after: Some(after),
                ..request
            });
            Ok(Some((page.items, next)))
        }
    })
}

impl actix_web::ResponseError for LogIndexError {}

fn json_line(hit: &Hit) -> String {
    // Events are maps of text; those always serialise.
    let mut line = serde_json::to_string(&hit.event).unwrap_or_default();
    line.push('\n');
    line
}

fn csv_row(hit: &Hit, fields: &[String]) -> String {
    let cells: Vec<String> = fields
        .iter()
        .map(|name| match hit.event.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        })
        .collect();
    csv_line(cells.iter().map(String::as_str))
}

/// A line of RFC 4180.
fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let quoted = cells.map(|cell| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    });
    let mut line = quoted.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// Reads what the log index says of itself
#[utoipa::path(get, path = "/api/v1/logs/index",
    responses((status = 200, description = "Size, days, what was set aside", body = IndexStatus)))]
pub async fn log_index(api: Data<Api>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(search(&api)?.status().await?))
}

/// Lists the saved searches
#[utoipa::path(get, path = "/api/v1/logs/saved",
    responses((status = 200, description = "All of them, by name", body = Page<SavedSearch>)))]
pub async fn list_saved(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let items = port(&api)?.saved.list().await?;
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}

/// Reads a saved search
#[utoipa::path(get, path = "/api/v1/logs/saved/{name}", params(SavedPath),
    responses((status = 200, description = "The search", body = SavedSearch)))]
pub async fn get_saved(api: Data<Api>, path: InPath<SavedPath>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(port(&api)?.saved.get(&path.name).await?))
}

/// Saves a search under a name, in place of an older one
#[utoipa::path(put, path = "/api/v1/logs/saved/{name}", params(SavedPath), request_body = SavedSearch,
    responses((status = 200, description = "The search as it is kept", body = SavedSearch)))]
pub async fn put_saved(
    api: Data<Api>,
    path: InPath<SavedPath>,
    body: Json<SavedSearch>,
) -> Result<HttpResponse, Problem> {
    let search = SavedSearch {
        name: path.name.clone(),
        ..body.0
    };
    port(&api)?.saved.put(search.clone()).await?;
    Ok(HttpResponse::Ok().json(search))
}

/// Deletes a saved search
#[utoipa::path(delete, path = "/api/v1/logs/saved/{name}", params(SavedPath),
    responses((status = 204, description = "It is gone")))]
pub async fn delete_saved(
    api: Data<Api>,
    path: InPath<SavedPath>,
) -> Result<HttpResponse, Problem> {
    port(&api)?.saved.delete(&path.name).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(csv_line(["a", "b c", ""].into_iter()), "a,b c,\r\n");
        assert_eq!(
            csv_line(["a,b", "say \"x\"", "1\n2"].into_iter()),
            "\"a,b\",\"say \"\"x\"\"\",\"1\n2\"\r\n"
        );
    }

    #[test]
    fn now_stands_still_during_an_export() {
        let filter = LogFilter {
            from: Some("now-15m".to_owned()),
            to: Some("now".to_owned()),
            ..LogFilter::default()
        };
        let pinned = pinned(filter);
        let (from, to) = (pinned.from.unwrap(), pinned.to.unwrap());
        assert_eq!(from, format!("{to}||-15m"));
    }
}
