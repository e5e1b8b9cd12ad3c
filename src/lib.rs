//! lain keeps apps alive: a private PaaS built as a supervision tree of actix actors.
//!
//! See `docs/architecture.md` for the trees, the data flow and the import rules.

pub mod domain;
pub mod ports;
pub mod web;
