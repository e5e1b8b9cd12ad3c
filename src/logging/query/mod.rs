//! Queries: KQL and Lucene's query string, read into one form ([`ast`]), typed by the fields that there
//! are ([`plan`]), and carried out by the embedded index, by Elasticsearch ([`elastic`]) or on one event
//! ([`evaluate`]). Pure: no I/O and no clock.

pub mod ast;
pub mod bars;
pub mod elastic;
pub mod error;
pub mod evaluate;
pub mod fields;
pub mod kql;
pub mod lucene;
pub mod pattern;
pub mod plan;
pub mod print;
#[cfg(test)]
mod query_tests;
pub mod ranges;
mod reader;
pub mod time;
pub mod words;

pub use error::{QueryError, Refusal};
pub use fields::{FieldType, Fields};
pub use plan::{Check, Plan};
pub use time::Clock;

/// The languages of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Kibana's.
    #[default]
    Kql,
    /// Lucene's query string.
    Lucene,
}

/// Reads a query.
///
/// # Errors
/// Where it cannot be read, and what was expected there.
pub fn parse(text: &str, language: Language) -> Result<ast::Expr, QueryError> {
    match language {
        Language::Kql => kql::parse(text),
        Language::Lucene => lucene::parse(text),
    }
}

/// Reads a query and types it.
///
/// # Errors
/// As [`parse`], and what cannot be answered over these fields.
pub fn read(
    text: &str,
    language: Language,
    fields: &Fields,
    clock: &Clock,
) -> Result<Plan, QueryError> {
    plan::plan(&parse(text, language)?, fields, clock)
}
