//! Logs: lain's own `tracing`, and the log events of apps.

pub mod query;
pub mod tracing_setup;
