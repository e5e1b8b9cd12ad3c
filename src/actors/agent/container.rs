//! `nodes/node/<name>/containers/container/<container>`: the supervisor of one container.
//!
//! rest_for_one over `process`, `health`, `logs`: a container that starts anew gets a fresh health count and
//! a fresh log stream. It gives up after the restarts that the proc's `restart` allows; then it is gone
//! (temporary in `containers`), and the instance's actor is told.

use crate::actors::agent::cell::ContainerCell;
use crate::actors::agent::health::{self, HealthWatch};
use crate::actors::agent::logs::{self, LogStream};
use crate::actors::agent::paths;
use crate::actors::agent::process::{self, Process};
use crate::actors::shared::Shared;
use crate::actors::supervise::{
    AutoShutdown, Backoff, ChildSpec, Flags, Restart, Shutdown, Strategy, SupervisorSpec,
};
use crate::domain::spec::model::{RestartPolicy, RestartSpec};
use std::sync::Arc;
use std::time::Duration;

/// The pause before the second restart; the first is immediate.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// A run of this length was no failed start: the next restart is at once again, as Docker has it. The budget
/// of restarts counts on all the same.
const STEADY: Duration = Duration::from_secs(10);

/// OTP's restart type for a restart policy.
pub fn restart_type(policy: RestartPolicy) -> Restart {
    match policy {
        RestartPolicy::Permanent => Restart::Permanent,
        RestartPolicy::Transient => Restart::Transient,
        RestartPolicy::Temporary => Restart::Temporary,
    }
}

/// Restarts at once at first, then with growing pauses; afresh after it ran for the whole window.
pub fn backoff(restart: &RestartSpec) -> Backoff {
    Backoff {
        min: FIRST_BACKOFF.min(restart.max_backoff),
        max: restart.max_backoff,
        factor: 2.0,
        jitter: 0.2,
        reset_after: restart.period.min(STEADY),
    }
}

/// Whole seconds, at least one, as OTP's period wants it.
pub fn whole_seconds(period: Duration) -> Duration {
    Duration::from_secs(period.as_secs().max(1))
}

/// The supervisor of one container.
pub fn spec(shared: &Arc<Shared>, cell: &Arc<ContainerCell>) -> ChildSpec {
    let restart = cell.assignment.restart;
    // The end of a process that is not to run again ends its supervisor too (OTP's significant child).
    let ends = restart.policy != RestartPolicy::Permanent;
    let flags = Flags::new(Strategy::RestForOne)
        .intensity(restart.intensity, whole_seconds(restart.period))
        .auto_shutdown(if ends {
            AutoShutdown::AnySignificant
        } else {
            AutoShutdown::Never
        });
    let (shared, cell) = (Arc::clone(shared), Arc::clone(cell));
    let id = paths::container_id(cell.name());
    ChildSpec::supervisor(
        id,
        SupervisorSpec {
            flags,
            children: children(&shared, &cell, restart, ends),
        },
    )
    .temporary()
}

fn children(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    restart: RestartSpec,
    ends: bool,
) -> Vec<ChildSpec> {
    let (shared, cell) = (Arc::clone(shared), Arc::clone(cell));
    let mut children = vec![
        ChildSpec::worker::<Process>(
            "process",
            process::Args {
                shared: Arc::clone(&shared),
                cell: Arc::clone(&cell),
            },
        )
        .restart(restart_type(restart.policy))
        .significant(ends)
        .backoff(backoff(&restart))
        .shutdown(Shutdown::Timeout(Duration::from_secs(5))),
    ];
    if let Some(check) = cell.assignment.health.clone() {
        let args = health::Args {
            shared: Arc::clone(&shared),
            cell: Arc::clone(&cell),
            check,
        };
        children.push(ChildSpec::worker::<HealthWatch>("health", args));
    }
    children.push(ChildSpec::worker::<LogStream>(
        "logs",
        logs::Args { shared, cell },
    ));
    children
}
