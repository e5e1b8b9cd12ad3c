//! `lain logs stats` and `lain logs routes`: log events as numbers, with a small picture of them.

use crate::cli::error::{Exit, Result};
use crate::cli::logs_query::Which;
use crate::cli::output::style::Tone;
use crate::cli::output::table::{Cell, Table};
use crate::cli::session::Session;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Cells of the widest bar.
const WIDTH: u64 = 20;

/// Count log events, and compute statistics of a number in them
///
/// By the values of a field, by time, or both. A number is any field that holds one: event.duration, metric.value,
/// fields.took_ms.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain logs stats 'level: error' --by app --from now-1h
  lain logs stats 'app: shop' --interval 1m
  lain logs stats --field event.duration --by url.path --quantiles 0.5,0.99
  lain logs stats 'metric.name: requests' --field metric.value --interval 5m")]
pub struct StatsArgs {
    /// Which events.
    #[command(flatten)]
    pub which: Which,
    /// The number field; absent: only counts and rates
    #[arg(long, value_name = "FIELD")]
    pub field: Option<String>,
    /// A row for each value of this field
    #[arg(long, value_name = "FIELD")]
    pub by: Option<String>,
    /// A row for each span of this length, such as 1m
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Quantiles from 0 to 1, separated by commas
    #[arg(
        long,
        value_name = "Q,Q",
        default_value = "0.5,0.95,0.99",
        requires = "field"
    )]
    pub quantiles: String,
    /// At most this many values of --by, the most frequent ones
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// Show access logs by route: requests, how they were answered, how long they took
///
/// Of nginx's access logs, and all others with ECS names.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain logs routes --from now-1h
  lain logs routes 'url.domain: shop.example' --by nginx.route
  lain logs routes 'http.response.status_code >= 500'")]
pub struct RoutesArgs {
    /// Which events.
    #[command(flatten)]
    pub which: Which,
    /// The field that tells routes apart
    #[arg(long, value_name = "FIELD", default_value = "url.path")]
    pub by: String,
    /// Quantiles of durations from 0 to 1, separated by commas
    #[arg(long, value_name = "Q,Q", default_value = "0.5,0.95,0.99")]
    pub quantiles: String,
    /// At most this many routes, the most frequent ones
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Row {
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    from: Option<DateTime<Utc>>,
    count: u64,
    rate: f64,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    mean: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    quantiles: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Stats {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Route {
    route: Value,
    count: u64,
    rate: f64,
    statuses: BTreeMap<String, u64>,
    #[serde(default)]
    max_ms: Option<f64>,
    #[serde(default)]
    quantiles_ms: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Routes {
    quantiles: Vec<f64>,
    rows: Vec<Route>,
}

/// Shows statistics.
///
/// # Errors
/// Where the query is wrong, or the server does not answer or has no log index.
pub async fn stats(args: StatsArgs, session: &Session) -> Result<Exit> {
    let quantiles = args.field.as_ref().map(|_| &args.quantiles);
    let target = args
        .which
        .timed("stats")
        .maybe("field", args.field.as_ref())
        .maybe("by", args.by.as_ref())
        .maybe("interval", args.interval.as_ref())
        .maybe("quantiles", quantiles)
        .maybe("limit", args.by.as_ref().map(|_| args.limit));
    let document = session.client.get(&target).await?;
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    let stats: Stats = session.client.view(&document)?;
    if stats.rows.iter().all(|row| row.count == 0) {
        screen.note("no events match");
        return Ok(Exit::Ok);
    }
    let columns = screen.columns();
    let table = stats_table(&stats.rows, &args, screen.out.unicode);
    screen.print(&table.render(screen.out, columns))?;
    Ok(Exit::Ok)
}

/// Shows routes.
///
/// # Errors
/// As [`stats`].
pub async fn routes(args: RoutesArgs, session: &Session) -> Result<Exit> {
    let target = args
        .which
        .timed("routes")
        .query("by", &args.by)
        .query("quantiles", &args.quantiles)
        .query("limit", args.limit);
    let document = session.client.get(&target).await?;
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(&document)?;
        return Ok(Exit::Ok);
    }
    let routes: Routes = session.client.view(&document)?;
    if routes.rows.is_empty() {
        screen.note("no access logs match");
        return Ok(Exit::Ok);
    }
    let table = routes_table(&routes, screen.out.unicode);
    screen.print(&table.render(screen.out, screen.columns()))?;
    Ok(Exit::Ok)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// A number in three digits or so.
fn number(number: Option<f64>) -> String {
    let Some(number) = number else {
        return "-".to_owned();
    };
    let size = number.abs();
    let digits = match size {
        _ if number.fract() == 0.0 && size < 1e15 => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 4,
    };
    format!("{number:.digits$}")
}

fn ms(number_of: Option<f64>) -> String {
    match number_of {
        None => "-".to_owned(),
        some => format!("{}ms", number(some)),
    }
}

fn quantile(q: f64) -> String {
    format!("P{}", (q * 1e4).round() / 1e2)
}

/// A bar as long as its share of the most, in eighths where the terminal has them. What is not none is seen.
fn bar(count: u64, most: u64, unicode: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let full = u128::from(WIDTH) * 8;
    let length = (u128::from(count) * full).div_ceil(u128::from(most.max(1)));
    let length = usize::try_from(length).unwrap_or(0);
    match unicode {
        true => format!("{}{}", "█".repeat(length / 8), EIGHTHS[length % 8]),
        false => "#".repeat(length.div_ceil(8)),
    }
}

fn stats_table(rows: &[Row], args: &StatsArgs, unicode: bool) -> Table {
    let mut header = Vec::new();
    header.extend(args.interval.as_ref().map(|_| "FROM".to_owned()));
    header.extend(args.by.as_ref().map(|by| by.to_uppercase()));
    header.extend(["COUNT", "RATE"].map(str::to_owned));
    let quantiles = args
        .quantiles
        .split(',')
        .filter_map(|q| q.trim().parse().ok());
    let quantiles: Vec<f64> = quantiles.collect();
    if args.field.is_some() {
        header.extend(["MIN", "MEAN"].map(str::to_owned));
        header.extend(quantiles.iter().map(|q| quantile(*q)));
        header.push("MAX".to_owned());
    }
    header.push(String::new());
    let mut table = Table::named(header);
    let most = rows.iter().map(|row| row.count).max().unwrap_or(0);
    for row in rows {
        let mut cells: Vec<Cell> = Vec::new();
        if args.interval.is_some() {
            let from = row.from.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ"));
            cells.push(from.map_or("-".to_owned(), |at| at.to_string()).into());
        }
        if args.by.is_some() {
            cells.push(row.value.as_ref().map_or("-".to_owned(), shown).into());
        }
        cells.push(row.count.to_string().into());
        cells.push(format!("{}/s", number(Some(row.rate))).into());
        if args.field.is_some() {
            cells.push(number(row.min).into());
            cells.push(number(row.mean).into());
            let found = (0..quantiles.len()).map(|n| row.quantiles.get(n).copied());
            cells.extend(found.map(|q| Cell::from(number(q))));
            cells.push(number(row.max).into());
        }
        cells.push(bar(row.count, most, unicode).into());
        table.row(cells);
    }
    table
}

fn routes_table(routes: &Routes, unicode: bool) -> Table {
    let mut header: Vec<String> = ["ROUTE", "COUNT", "RATE", "2XX", "3XX", "4XX", "5XX"]
        .map(str::to_owned)
        .to_vec();
    header.extend(routes.quantiles.iter().map(|q| quantile(*q)));
    header.extend(["MAX".to_owned(), String::new()]);
    let mut table = Table::named(header);
    let most = routes.rows.iter().map(|row| row.count).max().unwrap_or(0);
    for row in &routes.rows {
        let mut cells: Vec<Cell> = vec![
            shown(&row.route).into(),
            row.count.to_string().into(),
            format!("{}/s", number(Some(row.rate))).into(),
        ];
        for (class, bad) in [
            ("2xx", Tone::Plain),
            ("3xx", Tone::Plain),
            ("4xx", Tone::Warn),
            ("5xx", Tone::Bad),
        ] {
            let count = row.statuses.get(class).copied().unwrap_or(0);
            let tone = if count > 0 { bad } else { Tone::Plain };
            cells.push(Cell::toned(tone, count.to_string()));
        }
        let found = (0..routes.quantiles.len()).map(|n| row.quantiles_ms.get(n).copied());
        cells.extend(found.map(|q| Cell::from(ms(q))));
        cells.push(ms(row.max_ms).into());
        cells.push(bar(row.count, most, unicode).into());
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(8, 8, true), "█".repeat(20));
        assert_eq!(bar(4, 8, true), "█".repeat(10));
        assert_eq!(bar(0, 8, true), "");
        assert_eq!(bar(1, u64::MAX, true), "▏");
        assert_eq!(bar(1, 8, false), "###");
        assert_eq!(bar(0, 0, false), "");
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.123_456, "0.1235"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (-1.5, "-1.50"),
            (1_000_000.0, "1000000"),
        ] {
            assert_eq!(number(Some(value)), text);
        }
        assert_eq!(number(None), "-");
        assert_eq!([0.5, 0.95, 0.999].map(quantile), ["P50", "P95", "P99.9"]);
    }
}
