//! Logs: lain's own `tracing`, and the log events of apps.
//!
//! ```text
//! sources/   files, engines and streams  → events
//! inputs/    syslog, files of the host, events by HTTP → events
//! spool/     events on disk, in order; a cursor for each sink
//! pipe/      from the spool to one sink: routing, batches, retries, breaker, dead letters
//! sinks/     one file a kind
//! setup.rs   the configuration → a pipeline
//! routes.rs  where events go: this configuration and the control host's, read again while lain runs
//! event/     the form of an event and its one encoding
//! pem.rs     certificates and keys that the configuration names
//! whole.rs   files that are there whole or not at all
//! ```

pub mod elastic;
pub mod event;
pub mod filter;
pub mod index;
pub mod inputs;
pub mod pem;
pub mod pipe;
pub mod query;
pub mod routes;
pub mod saved;
pub mod setup;
pub mod sinks;
pub mod sources;
pub mod spool;
pub mod tracing_setup;
pub mod whole;
