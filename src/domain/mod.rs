//! PURE: identifiers, specs, decisions and views. No async, no clock, no I/O.

pub mod crash;
pub mod id;
pub mod labels;
pub mod secret;
pub mod spec;
