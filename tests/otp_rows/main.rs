//! The 102 behaviours of OTP's supervisor, one test each, over real actors.
//!
//! The number of a test is the number of the row in `docs/supervision.md`.
//! Where Rust's types make a row impossible as it stands, the test takes the
//! nearest real thing and says so.

mod admin;
mod change;
mod groups;
mod reports;
mod restart_types;
mod retry;
mod scale;
mod significant;
mod specs;
mod start;
mod stop;
mod support;
mod template;
