//! From the spool to one sink: routing, batches, retries, the breaker, dead letters, figures.
//!
//! ```text
//! backoff.rs  pauses between attempts            (pure)
//! breaker.rs  the circuit breaker                (pure)
//! route.rs    filters, sampling, redaction       (pure)
//! dead.rs     dead letters on disk
//! pause.rs    which sinks are paused, on disk
//! cell.rs     what is shown of a sink
//! pump.rs     the loop that drives one sink
//! commands.rs what an operator asks of it
//! pipeline.rs what the node's actors share: spool, sinks, readers
//! ```

pub mod backoff;
pub mod breaker;
pub mod cell;
mod commands;
pub mod dead;
mod deliver;
#[cfg(test)]
mod gather_tests;
mod pause;
pub mod pipeline;
pub mod pump;
#[cfg(test)]
mod pump_tests;
pub mod route;
#[cfg(test)]
mod test_rig;

pub use cell::SinkCell;
pub use pipeline::{Changes, Host, Pipeline, SinkSpec};
pub use pump::{Command, Pump, To};
