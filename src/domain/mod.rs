//! PURE: identifiers, specs, decisions and views. No async, no clock, no I/O.

pub mod id;
pub mod spec;
