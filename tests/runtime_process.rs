//! Local processes keep every runtime's promises. What they promise beyond them is tested beside
//! their code.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests fail by panicking, as tests do"
)]

mod runtime_support;

use lain::drivers::process::{Options, Processes};
use lain::ports::runtime::ContainerSpec;
use runtime_support::{Bed, Does};
use std::sync::Arc;

fn bed() -> Bed {
    // Containers are removed by their bed; the empty folder may stay for the system to clear away.
    let dir = tempfile::tempdir().unwrap().keep();
    let mut bed = Bed::new(
        Arc::new(Processes::open(Options::new(dir)).unwrap()),
        prepare,
    );
    bed.limits = false;
    bed
}

fn prepare(spec: &mut ContainerSpec, does: Does) {
    let script = match does {
        Does::RunsOn => "trap 'exit 0' TERM; while :; do sleep 0.1; done".to_owned(),
        Does::IgnoresTerm => "trap '' TERM; while :; do sleep 0.1; done".to_owned(),
        Does::Ends(code) => format!("sleep 0.05; exit {code}"),
        Does::Prints => "echo out 1; echo err 1 >&2; sleep 0.1; echo out 2; sleep 1000".to_owned(),
    };
    spec.cmd = Some(["sh", "-c", &script].map(str::to_owned).to_vec());
}

conformance!(bed());
