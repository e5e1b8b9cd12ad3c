//! The types of log events, taken by path: the rest of `domain` is not needed.
#![expect(dead_code, unused_imports, reason = "one target does not call everything")]

#[path = "../../src/domain/log/mod.rs"]
pub mod log;
