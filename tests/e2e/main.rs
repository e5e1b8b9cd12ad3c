//! lain from outside: the real binary, a real engine, real faults.
//!
//! Needs a Docker Engine (`scripts/docker.sh ensure`) and the sample image, which is made at once. Touches
//! nothing but containers of its own apps.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test, and what helps it, fails by panicking"
)]

#[path = "../runtime_support/engine.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of the Docker driver, which use more of it"
)]
mod engine;

mod command_line;
mod data;
mod deaths;
mod engines;
mod healing;
mod input;
mod ports;
mod support;
mod updates;
