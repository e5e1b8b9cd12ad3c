//! The command line against a server that answers from a script: exit codes, JSON, tables, progress.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changes;
mod connection;
mod exec;
mod fixtures;
mod history;
mod local;
mod log_query;
mod reading;
mod reference;
mod streams;
mod support;
mod terminal;
mod usage;
