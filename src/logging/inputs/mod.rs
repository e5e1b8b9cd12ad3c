//! What is taken in besides the output of containers: syslog, files of this host, events by HTTP.
//!
//! ```text
//! framing.rs        syslog over a stream → messages                    (pure)
//! syslog.rs         a syslog message → an event, as Vector has it      (pure)
//! syslog_server.rs  UDP, TCP and TLS
//! files.rs          log files of this host
//! http.rs           events that the API takes
//! gate.rs           numbers them and puts them into the spool
//! cell.rs           what is shown of an input
//! setup.rs          the configuration → inputs
//! tls.rs            TLS of those that listen
//! ```
//! Each is driven by an actor of its own, `…/logging/input/<name>`; events by HTTP come through the API.

pub mod cell;
pub mod files;
pub mod framing;
pub mod gate;
#[cfg(test)]
mod gate_tests;
pub mod http;
pub mod setup;
pub mod syslog;
pub mod syslog_server;
pub mod tls;

use crate::logging::pipe::Pipeline;
use async_trait::async_trait;
use cell::InputCell;
use gate::{Gate, Label};
use std::sync::Arc;

/// Something that events come from.
#[async_trait(?Send)]
pub trait Input: Send + Sync {
    /// Takes events in until the future is dropped.
    ///
    /// # Errors
    /// A sentence: what is in the way, and what to do next.
    async fn run(&self, gate: &Gate) -> Result<(), String>;
}

/// An input as the configuration has it.
#[derive(Clone)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// `syslog` or `file`.
    pub kind: &'static str,
    /// Where it takes events in, for people.
    pub at: String,
    /// What its events have in common.
    pub label: Label,
    /// It.
    pub input: Arc<dyn Input>,
}

/// An input of the pipeline.
pub struct InputEntry {
    /// What it is.
    pub spec: InputSpec,
    /// Where its events go.
    pub gate: Gate,
}

impl InputEntry {
    /// An input into this pipeline.
    pub fn new(spec: InputSpec, pipeline: &Pipeline) -> Self {
        let cell = Arc::new(InputCell::new(&spec.name, spec.kind, spec.at.clone()));
        let gate = Gate::new(
            &spec.name,
            spec.label.clone(),
            cell,
            pipeline.spool.clone(),
            pipeline.host.clone(),
            Arc::clone(&pipeline.clock),
        );
        Self { spec, gate }
    }

    /// Drives it until the future is dropped.
    ///
    /// # Errors
    /// A sentence.
    pub async fn run(&self) -> Result<(), String> {
        let ended = self.spec.input.run(&self.gate).await;
        if let Err(reason) = &ended {
            self.gate.cell.state("failed");
            self.gate.failed(reason);
        }
        ended
    }
}
