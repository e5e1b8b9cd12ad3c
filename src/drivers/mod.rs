//! The real parts behind the ports, one file or folder each, and their in-memory counterparts.
//!
//! Imports `ports`, `domain` and `config`; made only by `roles` and tests.

pub mod history;
pub mod memory;
pub mod redb;
pub mod transaction;
