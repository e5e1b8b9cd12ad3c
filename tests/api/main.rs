//! The REST API over a real socket, with a control host in memory behind it.

mod auth;
mod bodies;
mod changes;
mod docs;
mod exec;
mod faults;
mod idempotency;
mod lists;
mod server;
mod streams;
mod support;
mod system;
