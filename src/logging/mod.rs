//! Logs: lain's own `tracing`, and the log events of apps.

pub mod index;
pub mod query;
pub mod tracing_setup;
