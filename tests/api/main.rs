//! The REST API over a real socket, with a control host in memory behind it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails, wherever that is"
)]

mod auth;
mod bodies;
mod changes;
mod docs;
mod exec;
mod faults;
mod history;
mod idempotency;
mod lists;
mod logs;
mod server;
mod streams;
mod support;
mod system;
