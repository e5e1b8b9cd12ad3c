//! `/api/v1/logs/routes`: access logs by route: how many requests, how they were answered, how long they took.

use super::error::Problem;
use super::extract::InQuery;
use super::log_params::RoutesQuery;
use super::log_search::{numbers, search};
use super::state::{Api, Who};
use crate::ports::log_index::{LogFilter, LogIndexError, LogSearch, QueryLanguage, StatsRequest};
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;
use utoipa::ToSchema;

/// The field that holds the status.
const STATUS: &str = "http.response.status_code";
/// The field that holds how long a request took, in nanoseconds.
const DURATION: &str = "event.duration";
/// The field whose values are the routes, unless told otherwise.
const ROUTE: &str = "url.path";
/// The quantiles, unless told otherwise.
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];
/// Values that a query by a field gives at most.
const MOST: usize = 1000;

/// What access logs tell of one route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteRow {
    /// The route: a value of the field that was asked for.
    #[schema(value_type = Object)]
    pub route: Value,
    /// Requests.
    pub count: u64,
    /// Requests a second.
    pub rate: f64,
    /// Requests by class of status, from `1xx` to `5xx`; classes without any are left out.
    pub statuses: BTreeMap<String, u64>,
    /// The share of `5xx`, from 0 to 1.
    pub error_share: f64,
    /// The mean duration in milliseconds, where the log tells durations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// The longest, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
    /// The quantiles that were asked for, in milliseconds, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles_ms: Vec<f64>,
}

/// What access logs tell, by route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteStats {
    /// The field that tells routes apart.
    pub by: String,
    /// Which quantiles.
    pub quantiles: Vec<f64>,
    /// The routes, the most frequent first.
    pub rows: Vec<RouteRow>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// Computes requests, rates, classes of status and durations by route, of access logs
///
/// Of all events with `http.response.status_code`: those of nginx, and whatever has ECS names. Durations are in
/// `event.duration`, which nginx's `combined` format lacks.
#[utoipa::path(get, path = "/api/v1/logs/routes", params(RoutesQuery),
    responses((status = 200, description = "A row for each route", body = RouteStats)))]
pub async fn log_routes(
    api: Data<Api>,
    who: Who,
    query: InQuery<RoutesQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = query.filter(&who)?;
    let quantiles = match query.quantiles.as_deref() {
        None => QUANTILES.to_vec(),
        some => numbers(some)?,
    };
    let by = query.by.as_deref().unwrap_or(ROUTE);
    let stats = routes(&*search(&api)?, filter, by, quantiles, query.limit.0).await?;
    Ok(HttpResponse::Ok().json(stats))
}

/// Narrows a filter down.
fn and(filter: &LogFilter, clause: &str) -> LogFilter {
    let query = match (filter.query.trim(), filter.language) {
        ("" | "*", _) => clause.to_owned(),
        (query, QueryLanguage::Kql) => format!("({query}) and {clause}"),
        (query, QueryLanguage::Lucene) => format!("({query}) AND {clause}"),
    };
    LogFilter {
        query,
        ..filter.clone()
    }
}

/// Statuses from … to, both included.
fn between(language: QueryLanguage, low: u16, high: u16) -> String {
    match language {
        QueryLanguage::Kql => format!("({STATUS} >= {low} and {STATUS} <= {high})"),
        QueryLanguage::Lucene => format!("{STATUS}:[{low} TO {high}]"),
    }
}

/// One value of a field.
fn is(language: QueryLanguage, field: &str, value: &Value) -> String {
    let text = value.as_str().map(str::to_owned);
    let text = text.unwrap_or_else(|| value.to_string());
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    match language {
        QueryLanguage::Kql => format!("{field}: \"{text}\""),
        QueryLanguage::Lucene => format!("{field}:\"{text}\""),
    }
}

async fn routes(
    search: &dyn LogSearch,
    filter: LogFilter,
    by: &str,
    quantiles: Vec<f64>,
    limit: usize,
) -> Result<RouteStats, LogIndexError> {
    let begun = Instant::now();
    // Errors point into the query as it was written.
    search.check(filter.clone()).await?;
    let language = filter.language;
    let answered = and(&filter, &between(language, 100, 599));
    let request = StatsRequest {
        filter: answered.clone(),
        field: Some(DURATION.to_owned()),
        by: Some(by.to_owned()),
        interval: None,
        quantiles: quantiles.clone(),
        limit,
    };
    let ms = |nanos: f64| nanos / 1e6;
    let stats = search.stats(request).await?;
    let rows = stats.rows.into_iter().filter(|row| row.count > 0);
    let mut rows: Vec<RouteRow> = rows
        .map(|row| RouteRow {
            route: row.value.unwrap_or_default(),
            count: row.count,
            rate: row.rate,
            mean_ms: row.mean.map(ms),
            max_ms: row.max.map(ms),
            quantiles_ms: row.quantiles.into_iter().map(ms).collect(),
            ..RouteRow::default()
        })
        .collect();
    for class in 1..=5_u16 {
        let clause = between(language, class * 100, class * 100 + 99);
        let of_class = and(&answered, &clause);
        let found = search.top_values(of_class.clone(), by, MOST).await?;
        let complete = found.values.len() < MOST;
        for row in &mut rows {
            let count = found.values.iter().find(|v| v.value == row.route);
            let count = match count {
                Some(found) => found.count,
                None if complete => 0,
                // One of more routes than are listed: it is asked for by itself.
                None => {
                    let alone = and(&of_class, &is(language, by, &row.route));
                    search.count(alone).await?
                }
            };
            if count > 0 {
                row.statuses.insert(format!("{class}xx"), count);
            }
        }
    }
    for row in &mut rows {
        let errors = row.statuses.get("5xx").copied().unwrap_or(0);
        row.error_share = errors as f64 / row.count.max(1) as f64;
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    Ok(RouteStats {
        by: by.to_owned(),
        quantiles,
        rows,
        took_ms: begun.elapsed().as_secs_f64() * 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_added_in_the_language_of_the_query() {
        let filter = |query: &str, language| LogFilter {
            query: query.to_owned(),
            language,
            ..LogFilter::default()
        };
        let kql = filter("app: a or b", QueryLanguage::Kql);
        let clause = between(kql.language, 500, 599);
        assert_eq!(
            and(&kql, &clause).query,
            "(app: a or b) and (http.response.status_code >= 500 and http.response.status_code <= 599)"
        );
        let lucene = filter("app:a OR b", QueryLanguage::Lucene);
        let clause = between(lucene.language, 500, 599);
        assert_eq!(
            and(&lucene, &clause).query,
            "(app:a OR b) AND http.response.status_code:[500 TO 599]"
        );
        assert_eq!(and(&filter(" ", QueryLanguage::Kql), "x").query, "x");
        let value = Value::from("/a\"b\\");
        assert_eq!(
            is(QueryLanguage::Kql, "url.path", &value),
            r#"url.path: "/a\"b\\""#
        );
    }
}
