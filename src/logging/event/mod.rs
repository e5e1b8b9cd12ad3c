//! Log events: one form, one encoding.
//!
//! The form is what Vector's `docker_logs` source emits for the same line, plus lain's own top-level
//! keys; `docs/logs.md` has a row for each field. Everything here is pure: bytes in, bytes out.
//!
//! ```text
//! encode.rs     an event → the one JSON text that every JSON sink sends
//! json.rs       strings and objects as JSON, sorted keys
//! decode.rs     JSON from outside → events (Vector's json, native_json, arrays)
//! id.rs         the deterministic event id
//! level.rs      the level that a line tells
//! join.rs       pieces of one line → the line
//! multiline.rs  lines that belong together → one event
//! parsed.rs     lines of a known form → fields at the top of the event
//! nginx.rs      access and error lines of nginx
//! metrics.rs    lines of metrics
//! own.rs        what lain itself has to say, as events
//! ```

pub mod decode;
pub mod encode;
pub mod id;
pub mod join;
pub mod json;
pub mod level;
pub mod metrics;
pub mod multiline;
pub mod nginx;
pub mod own;
pub mod parsed;
#[cfg(test)]
mod rows_tests;

pub use encode::Encoder;
