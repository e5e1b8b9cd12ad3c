//! Logs: lain's own `tracing`, and the log events of apps.

pub mod elastic;
pub mod filter;
pub mod index;
pub mod query;
pub mod saved;
pub mod tracing_setup;
