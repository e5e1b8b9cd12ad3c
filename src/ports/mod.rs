//! Small traits between the actors and the world, each with a real and an in-memory form.
//!
//! Imports only `domain`. Implemented in `drivers`; called by `actors` and `web`.

pub mod agent;
pub mod auth;
pub mod clock;
pub mod control;
pub mod freshness;
pub mod lease;
pub mod log_index;
pub mod log_intake;
pub mod runtime;
pub mod sink;
pub mod store;
pub mod watchdog;
