//! What the driver remembers of the runs of containers, to ask the engine less.
//!
//! Called by the rest of the driver. Everything here may be forgotten at any time: it only saves calls.
//! An engine on this host names pids that can be looked at here, which is surer than its own word.

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::drivers::pidfd;
use crate::ports::runtime::{ContainerState, ContainerStatus, LogOrigin};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is remembered of one container.
#[derive(Debug, Default)]
struct Known {
    /// What the engine said of it while it ran.
    running: Option<ContainerStatus>,
    death: Option<Death>,
}

/// A first process that was seen to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    /// Its pid.
    pub(super) pid: u32,
    /// It ended after this instant, in ns since 1970.
    pub(super) after: i64,
    /// How it ended, once the engine has noticed and said so.
    pub(super) exit: Option<Exit>,
}

/// Where the output of a container is kept, and the log driver's name.
pub(super) type Origin = (LogOrigin, String);

/// The runs of all containers.
#[derive(Debug, Default)]
pub(super) struct Runs {
    known: Mutex<HashMap<ContainerId, Known>>,
    /// Where the output of containers is kept that were started and that nobody has asked about yet.
    origins: Mutex<HashMap<ContainerId, Origin>>,
    /// A container's process was found under the pid that the engine named: its pids are this host's.
    pids_are_ours: AtomicBool,
}

impl Runs {
    fn known(&self) -> MutexGuard<'_, HashMap<ContainerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<ContainerId, Origin>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what an answer of the engine said besides: whoever reads the output asks next.
    pub(super) fn note_origin(&self, id: &ContainerId, origin: Origin) {
        self.origins().insert(id.clone(), origin);
    }

    /// What was kept; once.
    pub(super) fn take_origin(&self, id: &ContainerId) -> Option<Origin> {
        self.origins().remove(id)
    }

    pub(super) fn pids_are_ours(&self) -> bool {
        self.pids_are_ours.load(Ordering::Relaxed)
    }

    /// Whether `pid` is the first process of the container, as can be seen here, and runs.
    pub(super) fn sees(&self, id: &ContainerId, pid: u32) -> bool {
        let seen = pidfd::is_first_of_container(pid, id.as_str()) && pidfd::runs(pid);
        if seen {
            self.pids_are_ours.store(true, Ordering::Relaxed);
        }
        seen
    }

    /// The engine said that a container runs, and it does.
    pub(super) fn note(&self, status: &ContainerStatus) {
        let runs = matches!(
            status.state,
            ContainerState::Running | ContainerState::Paused
        );
        if runs && status.pid.is_some_and(|pid| self.sees(&status.id, pid)) {
            let running = Some(status.clone());
            self.known().insert(
                status.id.clone(),
                Known {
                    running,
                    death: None,
                },
            );
        }
    }

    /// What the engine said of a container, if that very process still runs.
    pub(super) fn still_running(&self, id: &ContainerId) -> Option<ContainerStatus> {
        let status = self.known().get(id)?.running.clone()?;
        status
            .pid
            .is_some_and(|pid| self.sees(id, pid))
            .then_some(status)
    }

    /// The pid under which a container was last seen to run.
    pub(super) fn last_pid(&self, id: &ContainerId) -> Option<u32> {
        self.known().get(id)?.running.as_ref()?.pid
    }

    pub(super) fn note_death(&self, id: &ContainerId, pid: u32, after: i64) {
        let mut known = self.known();
        let known = known.entry(id.clone()).or_default();
        if known.death.as_ref().is_none_or(|death| death.pid != pid) {
            known.death = Some(Death {
                pid,
                after,
                exit: None,
            });
        }
    }

    pub(super) fn note_exit(&self, id: &ContainerId, pid: u32, exit: &Exit) {
        if let Some(Known {
            death: Some(death), ..
        }) = self.known().get_mut(id)
            && death.pid == pid
        {
            death.exit = Some(exit.clone());
        }
    }

    /// The death that was noticed and after which the container was not seen to run.
    pub(super) fn death(&self, id: &ContainerId) -> Option<Death> {
        self.known().get(id)?.death.clone()
    }

    /// It may run again, or will not any more.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.known().remove(id);
    }

    /// The container is gone.
    pub(super) fn removed(&self, id: &ContainerId) {
        self.forget(id);
        self.origins().remove(id);
    }
}
