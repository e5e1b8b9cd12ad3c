//! A small control host in memory, for tests of the API and of its clients.
//!
//! It keeps apps, operations, crash reports, events and audit in maps, and carries out changes at
//! once; no container runs. [`MemoryControl::hold`] leaves operations running, and
//! [`MemoryControl::fail`] makes every call fail in a chosen way. `lain` itself never uses it.

mod changes;
mod commands;
mod control;
mod feed;
mod tokens;
mod tree;
mod views;
mod world;

pub use feed::{Feed, event};
pub use tokens::MemoryTokens;

use super::limits::lock;
use crate::domain::crash::{CrashCause, CrashReport, Exit};
use crate::domain::id::{CrashId, InstanceId, NodeName, OperationId};
use crate::domain::view::{EventView, LogLineView, OperationState};
use crate::ports::control::ControlError;
use crate::ports::log_index::LogsPort;
use crate::ports::log_intake::LogIntake;
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::broadcast;
use world::World;

/// How every call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// lain is starting or stopping.
    Unavailable,
    /// The disk of the store is full.
    DiskFull,
    /// The handler panics.
    Panic,
    /// The answer takes this long.
    Slow(Duration),
}

/// A control host in memory.
pub struct MemoryControl {
    world: Mutex<World>,
    feed: Feed,
    lines: broadcast::Sender<LogLineView>,
    fault: Mutex<Option<Fault>>,
    logs: Mutex<Option<LogsPort>>,
    intake: Mutex<Option<Arc<dyn LogIntake>>>,
    started_at: DateTime<Utc>,
}

impl Default for MemoryControl {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryControl {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            world: Mutex::default(),
            feed: Feed::default(),
            lines: broadcast::channel(1024).0,
            fault: Mutex::default(),
            logs: Mutex::default(),
            intake: Mutex::default(),
            started_at: Utc::now(),
        }
    }

    /// From now on operations are accepted and do not end, until [`MemoryControl::finish`].
    pub fn hold(&self, hold: bool) {
        self.world().hold = hold;
    }

    /// From now on every call fails like this; `None`: none does.
    pub fn fail(&self, fault: Option<Fault>) {
        *lock(&self.fault) = fault;
    }

    /// From now on log events are searched here.
    pub fn search_in(&self, logs: LogsPort) {
        *lock(&self.logs) = Some(logs);
    }

    /// From now on log events are taken in here.
    pub fn take_in(&self, intake: Arc<dyn LogIntake>) {
        *lock(&self.intake) = Some(intake);
    }

    /// Ends an operation that is held.
    pub fn finish(&self, id: &str, state: OperationState) {
        let told = OperationId::new(id)
            .ok()
            .and_then(|id| self.world().end_operation(&id, state));
        if let Some(operation) = told {
            self.feed.emit(EventView {
                app: Some(operation.app),
                operation: Some(operation.id),
                ..event("operation_done", "info", "an operation has ended")
            });
        }
    }

    /// Lets something happen.
    pub fn emit(&self, event: EventView) {
        self.feed.emit(event);
    }

    /// Lets an instance crash: its report, its restart, its event.
    ///
    /// # Errors
    /// If the instance does not exist.
    pub fn crash_instance(&self, instance: &InstanceId) -> Result<CrashId, ControlError> {
        let id = CrashId::new(uuid::Uuid::now_v7().to_string())
            .map_err(|error| ControlError::Internal(error.to_string()))?;
        let report = report(&id, instance)?;
        let actor = self.world().crash(report)?;
        let what = event(
            "instance_crashed",
            "warn",
            "an instance crashed: exit code 1",
        );
        self.feed.emit(EventView {
            app: Some(instance.app.to_string()),
            proc: Some(instance.full_name()),
            instance: Some(instance.no),
            crash: Some(id.to_string()),
            ..what
        });
        self.feed.emit(EventView {
            path: Some(actor),
            ..event("actor_restarted", "warn", "an actor was restarted")
        });
        Ok(id)
    }

    /// Lets an instance write a line.
    pub fn write_line(&self, line: LogLineView) {
        self.world().write_line(line.clone());
        // Nobody has to follow.
        let _ = self.lines.send(line);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Fails as a test has asked for.
    fn may_fail(&self) -> Result<(), ControlError> {
        let fault = *lock(&self.fault);
        match fault {
            None | Some(Fault::Slow(_)) => Ok(()),
            Some(Fault::Unavailable) => {
                Err(ControlError::Unavailable("it is still starting".to_owned()))
            }
            Some(Fault::DiskFull) => Err(crate::ports::store::StoreError::DiskFull {
                path: "memory".to_owned(),
            }
            .into()),
            Some(Fault::Panic) => panic!("a test asked for a panic"),
        }
    }

    /// As [`MemoryControl::may_fail`], or takes its time.
    async fn fault(&self) -> Result<(), ControlError> {
        let fault = *lock(&self.fault);
        if let Some(Fault::Slow(time)) = fault {
            tokio::time::sleep(time).await;
        }
        self.may_fail()
    }
}

fn report(id: &CrashId, instance: &InstanceId) -> Result<CrashReport, ControlError> {
    let node = NodeName::new("local").map_err(|e| ControlError::Internal(e.to_string()))?;
    Ok(CrashReport {
        id: id.clone(),
        at: Utc::now(),
        instance: instance.clone(),
        node,
        path: tree::path_of(instance),
        version: 1,
        container: format!("{}.v1-i{}-d0", instance.group(), instance.no),
        cause: CrashCause::Exited {
            exit: Exit::from_code(1, false, Some(Utc::now())),
        },
        uptime_ms: 1234,
        crashes_in_window: 1,
        action: "restarted at once".to_owned(),
        last_lines: vec!["the last line".to_owned()],
        probes: Vec::new(),
    })
}
