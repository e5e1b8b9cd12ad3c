//! The parser and what it needs of the main crate, taken by path: the rest of it (actors, engine,
//! web) would only make the sanitizers' build slow. Works as `domain` imports nothing but itself.
#![expect(dead_code, unused_imports, reason = "one target does not call everything")]

#[path = "../../src/domain/id.rs"]
pub mod id;
#[path = "../../src/domain/spec/mod.rs"]
pub mod spec;
