//! lain keeps apps alive: a private PaaS built as a supervision tree of actix actors.
//!
//! See `docs/architecture.md` for the trees, the data flow and the import rules.

pub mod actors;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod config;
pub mod domain;
pub mod drivers;
pub mod link;
pub mod logging;
pub mod ports;
pub mod roles;
pub mod web;
