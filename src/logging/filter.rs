//! Filters of searches, read: the query, its time and its zone; for every index alike.

use crate::logging::query::ast::Expr;
use crate::logging::query::{
    Check, Clock, Fields, Language, Plan, QueryError, Refusal, parse, plan, time,
};
use crate::ports::log_index::{LogFilter, LogIndexError, QueryLanguage};
use chrono_tz::Tz;

/// A filter that has been read: its query, its time, its zone.
pub struct Read {
    expr: Expr,
    apps: Option<Vec<String>>,
    text: String,
    /// Against what its times are read.
    pub clock: Clock,
    /// From, in nanoseconds.
    pub low: i64,
    /// To, in nanoseconds.
    pub high: i64,
}

/// Reads a filter.
///
/// # Errors
/// The query, a time or the zone is wrong.
pub fn read(filter: &LogFilter, now: chrono::DateTime<chrono::Utc>) -> Result<Read, LogIndexError> {
    let zone: Tz = match filter.zone.as_deref() {
        None | Some("") => Tz::UTC,
        Some(name) => name.parse().map_err(|_| {
            LogIndexError::Request(format!(
                "{name:?} is no time zone; expected such as Europe/Berlin"
            ))
        })?,
    };
    let clock = Clock { now, zone };
    let language = match filter.language {
        QueryLanguage::Kql => Language::Kql,
        QueryLanguage::Lucene => Language::Lucene,
    };
    let moment = |name: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        let span = text.map(|text| time::read(text, &clock, 0)).transpose();
        span.map_err(|error| LogIndexError::Request(format!("{name}: {}", error.message)))
    };
    Ok(Read {
        expr: parse(&filter.query, language).map_err(|error| refused(&error, &filter.query))?,
        apps: filter.apps.clone(),
        text: filter.query.clone(),
        low: moment("from", &filter.from)?.map_or(i64::MIN, |span| span.first),
        high: moment("to", &filter.to)?.map_or(i64::MAX, |span| span.last),
        clock,
    })
}

fn refused(error: &QueryError, query: &str) -> LogIndexError {
    LogIndexError::Query {
        message: error.message.clone(),
        offset: error.offset,
        pointed: error
            .pointed(query)
            .lines()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n"),
        syntax: error.refusal == Refusal::Syntax,
    }
}

impl Read {
    /// What it means over these fields.
    ///
    /// # Errors
    /// The query cannot be answered over them.
    pub fn plan(&self, fields: &Fields) -> Result<Plan, LogIndexError> {
        let plan = plan::plan(&self.expr, fields, &self.clock)
            .map_err(|error| refused(&error, &self.text))?;
        let Some(apps) = &self.apps else {
            return Ok(plan);
        };
        let own = apps
            .iter()
            .map(|app| Plan::Field("app".to_owned(), Check::Is(app.clone())));
        Ok(plan::simplify(Plan::And(vec![
            Plan::Or(own.collect()),
            plan,
        ])))
    }

    /// The zone.
    pub fn zone(&self) -> Tz {
        self.clock.zone
    }
}
