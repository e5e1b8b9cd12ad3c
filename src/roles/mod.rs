//! Composition roots: each puts the real parts together for one way to run lain.

pub mod notify;
