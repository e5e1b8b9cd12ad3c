//! The simulated runtime keeps every runtime's promises. What it promises beyond them is tested
//! beside its code.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests fail by panicking, as tests do"
)]

mod runtime_support;

use chrono::Utc;
use lain::drivers::simulated::{Behaviour, OnTerm, Run, Simulated};
use lain::ports::runtime::ContainerSpec;
use runtime_support::{Bed, Does};
use std::sync::Arc;
use std::time::Duration;

fn bed() -> Bed {
    let engine = Simulated::new(Utc::now());
    let handle = engine.handle();
    let stubborn = Behaviour {
        on_term: OnTerm::Ignore,
        ..Behaviour::default()
    };
    handle.set_behaviour("stubborn", stubborn);
    for code in [0, 3, 4] {
        let runs = vec![Run::ends(Duration::from_millis(50), code)];
        handle.set_behaviour(
            &format!("ends-{code}"),
            Behaviour {
                runs,
                ..Behaviour::default()
            },
        );
    }
    let output = ["out 1", "err 1", "out 2"].map(str::to_owned).to_vec();
    handle.set_behaviour(
        "prints",
        Behaviour {
            output,
            ..Behaviour::default()
        },
    );
    let mut bed = Bed::new(Arc::new(engine), prepare);
    (bed.commands, bed.two_streams) = (false, false);
    bed
}

fn prepare(spec: &mut ContainerSpec, does: Does) {
    spec.image = match does {
        Does::RunsOn => "runs-on".to_owned(),
        Does::IgnoresTerm => "stubborn".to_owned(),
        Does::Ends(code) => format!("ends-{code}"),
        Does::Prints => "prints".to_owned(),
    };
}

conformance!(bed());
