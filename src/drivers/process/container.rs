//! One container of the process runtime: its life, its signals, who attends its process.
//!
//! Called by [`super::Processes`]. A container ends when its first process ends; what is left of the
//! process group is then killed, as the kernel does with a pid namespace.

use super::capture::Capture;
use super::folder::{self, Folder, Life, Run, State};
use super::{Options, UNKNOWN_EXIT, command, io_failed};
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::domain::texts::strings;
use crate::drivers::pidfd::{self, Process};
use crate::ports::runtime::{
    ContainerSpec, ContainerState, ContainerStatus, RuntimeError, Started,
};
use chrono::Utc;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    id: ContainerId,
    path: PathBuf,
    spec: ContainerSpec,
    labels: Arc<BTreeMap<String, String>>,
    state: watch::Sender<State>,
    /// Told of each batch of captured output.
    output: watch::Sender<()>,
    /// One start or removal at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Container {
    /// The container in a folder. Whether its process still runs is another question.
    pub(super) fn found(id: ContainerId, folder: Folder) -> Self {
        let (path, spec, state) = folder.into_parts();
        let labels = Arc::new(strings(&spec.labels).collect());
        Self {
            id,
            path,
            spec,
            labels,
            state: watch::Sender::new(state),
            output: watch::Sender::new(()),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Its process ended while nobody attended it: keeps its last output, and that it ended.
    pub(super) fn ended_unattended(&self, options: &Options) {
        Capture::open(self, options).finish();
        self.note(Life::Exited(unknown_exit()));
    }

    pub(super) fn id(&self) -> &ContainerId {
        &self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn spec(&self) -> &ContainerSpec {
        &self.spec
    }

    pub(super) fn labels(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.labels)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn output(&self) -> watch::Receiver<()> {
        self.output.subscribe()
    }

    fn run(&self) -> Option<Run> {
        match &self.state.borrow().life {
            Life::Running(run) => Some(run.clone()),
            Life::Created | Life::Exited(_) => None,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.run().is_some()
    }

    /// Its process, if that very process still runs.
    pub(super) fn still_runs(&self) -> Option<Process> {
        let run = self
            .run()
            .filter(|run| run.boot == crate::drivers::boot_id())?;
        let process = Process::open(run.pid).ok()?;
        // Only now, with the process held: a pid that was reused before cannot pass.
        let same = pidfd::start_time(run.pid) == Some(run.ticks) && !process.has_ended();
        same.then_some(process)
    }

    fn note(&self, life: Life) {
        self.change(|state| {
            if matches!(life, Life::Running(_)) {
                state.started_at = Some(Utc::now());
            }
            state.life = life;
        });
    }

    /// Changes the state, in memory even where the disk refuses it: what runs is the truth.
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            change(state);
            if let Err(error) = folder::save(&self.path, state) {
                tracing::warn!(container.id = %self.id, %error, "state of a container not kept");
            }
        });
    }

    /// Starts it; `None` when it runs already. Waits for the end of a run that is ending.
    pub(super) async fn start(&self) -> Result<Option<(Process, Child)>, RuntimeError> {
        let _turn = self.turn.lock().await;
        if self.runs() {
            if self.still_runs().is_some() {
                return Ok(None);
            }
            self.ended().await?;
        }
        let [stdout, stderr] = self.raw_output();
        let mut child = command::spawn(&self.spec, [&stdout, &stderr])?;
        let pid = child.id();
        let held = Process::open(pid).and_then(|process| {
            let ticks = pidfd::start_time(pid).ok_or(std::io::ErrorKind::NotFound)?;
            Ok((process, ticks))
        });
        let (process, ticks) = match held {
            Ok(held) => held,
            Err(error) => {
                // It is our child and not waited for yet: the pid is still its own.
                let _ = child.kill();
                let _ = child.wait();
                return Err(io_failed(
                    format!("attend container {}", self.spec.name),
                    &error,
                ));
            }
        };
        self.note(Life::Running(Run {
            pid,
            ticks,
            boot: crate::drivers::boot_id(),
            paused: false,
        }));
        Ok(Some((process, child)))
    }

    pub(super) fn started(&self) -> Started {
        let at = self.state.borrow().started_at.unwrap_or_else(Utc::now);
        Started {
            pid: self.run().map(|run| run.pid),
            ip: None,
            at,
        }
    }

    /// The files to which the process writes.
    pub(super) fn raw_output(&self) -> [PathBuf; 2] {
        ["stdout.raw", "stderr.raw"].map(|name| self.path.join(name))
    }

    /// Captures output until the process ends, then kills what is left of its group.
    pub(super) async fn attend(&self, process: Process, child: Option<Child>, options: &Options) {
        let group = process.pid();
        let mut capture = Capture::open(self, options);
        capture.until(process.ended(), &self.output).await;
        // A child of ours is a zombie until waited for: nobody else can have its pid. Else somebody
        // could, if it was taken anew within this moment: then it is left alone.
        if child.is_some() || pidfd::start_time(group).is_none() {
            signal_group(group, Signal::KILL);
        }
        let exit = match child {
            Some(mut child) => match tokio::task::spawn_blocking(move || child.wait()).await {
                Ok(Ok(status)) => exit_of(status),
                _ => unknown_exit(),
            },
            None => unknown_exit(),
        };
        capture.finish();
        self.note(Life::Exited(exit));
        self.output.send_replace(());
    }

    /// Resolves when it does not run.
    pub(super) async fn ended(&self) -> Result<(), RuntimeError> {
        let mut state = self.state.subscribe();
        let ended = state
            .wait_for(|state| !matches!(state.life, Life::Running(_)))
            .await;
        ended
            .map(|_| ())
            .map_err(|_| RuntimeError::NoContainer(self.id.to_string()))
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match &self.state.borrow().life {
            Life::Exited(exit) => Some(exit.clone()),
            Life::Created | Life::Running(_) => None,
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let state = self.state.borrow();
        let (life, pid) = match &state.life {
            Life::Created => (ContainerState::Created, None),
            Life::Running(run) if run.paused => (ContainerState::Paused, Some(run.pid)),
            Life::Running(run) => (ContainerState::Running, Some(run.pid)),
            Life::Exited(exit) => (ContainerState::Exited(exit.clone()), None),
        };
        ContainerStatus {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            labels: BTreeMap::clone(&self.labels),
            state: life,
            pid,
            started_at: state.started_at,
            ip: None,
            image: self.spec.image.clone(),
        }
    }

    fn refused(&self, action: &str, reason: &str) -> RuntimeError {
        let action = format!("{action} container {}", self.spec.name);
        RuntimeError::Refused {
            action,
            reason: reason.to_owned(),
        }
    }

    /// Sends a signal to the whole group.
    pub(super) fn signal(&self, number: i32) -> Result<(), RuntimeError> {
        let signal = Signal::from_named_raw(number);
        let signal = signal.ok_or_else(|| self.refused("signal", "no real-time signals here"))?;
        if self.still_runs().is_none() {
            return Err(self.refused("signal", "it is not running"));
        }
        // The pid was its own a moment ago, and is a group as long as one of its members runs.
        if let Some(run) = self.run() {
            signal_group(run.pid, signal);
        }
        Ok(())
    }

    /// Stops all processes of the group, or lets them go on.
    pub(super) fn freeze(&self, frozen: bool) -> Result<(), RuntimeError> {
        let (action, signal) = if frozen {
            ("pause", Signal::STOP)
        } else {
            ("unpause", Signal::CONT)
        };
        let run = self.run().filter(|run| run.paused != frozen);
        let run = run.filter(|_| self.still_runs().is_some());
        let run = run.ok_or_else(|| self.refused(action, "it is not in the state for that"))?;
        signal_group(run.pid, signal);
        self.note(Life::Running(Run {
            paused: frozen,
            ..run
        }));
        Ok(())
    }

    /// SIGTERM, SIGKILL after `kill_timeout`, then how it ended.
    pub(super) async fn stop(&self, kill_timeout: Duration) -> Result<Exit, RuntimeError> {
        if let Some(run) = self.run().filter(|_| self.still_runs().is_some()) {
            signal_group(run.pid, Signal::TERM);
            // What is stopped takes no other signal.
            signal_group(run.pid, Signal::CONT);
            if tokio::time::timeout(kill_timeout, self.ended())
                .await
                .is_err()
            {
                self.kill();
            }
        }
        self.ended().await?;
        Ok(self
            .exit()
            .unwrap_or_else(|| Exit::from_code(0, false, None)))
    }

    pub(super) fn kill(&self) {
        if let Some(run) = self.run().filter(|_| self.still_runs().is_some()) {
            signal_group(run.pid, Signal::KILL);
        }
    }

    /// Ends it if it runs.
    pub(super) async fn end_for_removal(&self) -> Result<(), RuntimeError> {
        let _turn = self.turn.lock().await;
        self.kill();
        self.ended().await
    }

    /// Removes its folder.
    pub(super) fn delete(&self) -> Result<(), RuntimeError> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_failed(
                format!("remove container {}", self.spec.name),
                &error,
            )),
            _ => Ok(()),
        }
    }
}

/// Signals a process group. One that is gone is no error.
fn signal_group(group: u32, signal: Signal) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // Gone, or not ours to signal any more: either way there is nothing to be done here.
        let _ = kill_process_group(group, signal);
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    let exit = Exit::from_code(code.unwrap_or(UNKNOWN_EXIT), false, Some(Utc::now()));
    Exit {
        signal: status.signal(),
        ..exit
    }
}

fn unknown_exit() -> Exit {
    Exit {
        code: UNKNOWN_EXIT,
        signal: None,
        oom_killed: false,
        at: Some(Utc::now()),
    }
}
