//! `/api/v1/logs/export` and `/api/v1/logs/saved`: all events that match as a file, and saved searches.

use super::error::Problem;
use super::extract::{InPath, InQuery, Json};
use super::log_params::{ExportFormat, ExportQuery, Order, SavedPath};
use super::log_search::{list, port, search};
use super::state::{Api, Who};
use crate::domain::view::Page;
use crate::ports::log_index::{
    Hit, LogFilter, LogIndexError, LogSearch, SavedSearch, SearchRequest,
};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::{Bytes, Data};
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;
use std::sync::Arc;

/// Events of one page of an export.
const EXPORT_PAGE: usize = 1000;
/// What an export as CSV has, unless fields are named.
const COLUMNS: [&str; 6] = ["timestamp", "app", "proc", "instance", "level", "message"];

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
