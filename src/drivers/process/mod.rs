//! Local processes in place of containers: for machines without Docker, never for production.
//!
//! [`Processes`] implements [`Runtime`]: a "container" is a process group with a folder of its own.
//! There is no isolation, there are no limits and no images; [`Runtime::info`] says so. Made by
//! `roles`. What runs goes on when lain ends, and is found again by the next one with the same
//! folder. Its exit code is then [`UNKNOWN_EXIT`], since only a parent learns it.
//!
//! ```text
//! mod.rs      Processes, its options, the trait
//! folder.rs   what is kept on disk of one container
//! container.rs one container: its life, its signals, who attends its process
//! command.rs  ContainerSpec → the command that is run
//! capture.rs  raw output → rotated files with instants
//! output.rs   those files → lines
//! exec.rs     further commands, with or without a terminal
//! ```

mod capture;
mod command;
mod container;
mod exec;
mod folder;
mod output;
#[cfg(test)]
mod tests;

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::drivers::signal;
use crate::ports::runtime::{
    ContainerSpec, ContainerStatus, EngineEvent, EngineInfo, ExecRequest, ExecSession, LogFormat,
    LogOrigin, LogsRequest, OutputLine, PullObserver, Resources, Runtime, RuntimeError,
    RuntimeKind, Started,
};
use async_trait::async_trait;
use container::Container;
use folder::Folder;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// The exit code of a process that ended while lain was not its parent. No process can have it.
pub const UNKNOWN_EXIT: i32 = -1;

/// Events kept for a subscriber that is behind; more, and it must look again.
const EVENTS: usize = 256;

/// How the driver is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where containers have their folders; made when absent, readable by its owner only.
    pub dir: PathBuf,
    /// The size in bytes at which an output file is rotated.
    pub log_max_size: u64,
    /// How many output files are kept of a container.
    pub log_max_files: u32,
}

impl Options {
    /// The usual limits, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            log_max_size: 10 << 20,
            log_max_files: 3,
        }
    }
}

/// Local processes as a [`Runtime`]. Clones share one set of containers.
#[derive(Debug, Clone)]
pub struct Processes {
    shared: Arc<Shared>,
}

type Event = (EngineEvent, Arc<BTreeMap<String, String>>);

#[derive(Debug)]
struct Shared {
    options: Options,
    containers: Mutex<HashMap<ContainerId, Arc<Container>>>,
    events: broadcast::Sender<Event>,
    attendants: Attendants,
}

/// The thread on which processes are attended, whatever becomes of the caller's runtime.
#[derive(Debug)]
struct Attendants(Option<tokio::runtime::Runtime>);

impl Attendants {
    fn new() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lain-processes")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    fn spawn(&self, attend: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(attend);
        }
    }
}

impl Drop for Attendants {
    /// Never waits: the last owner may be a future on another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn failed(action: impl Into<String>, error: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Failed {
        action: action.into(),
        reason: error.to_string(),
    }
}

/// As [`failed`], telling a full disk apart.
fn io_failed(action: impl Into<String>, error: &std::io::Error) -> RuntimeError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return RuntimeError::DiskFull(action.into());
    }
    failed(action, error)
}

impl Processes {
    /// Opens the folder and attends the processes in it that still run.
    ///
    /// # Errors
    /// [`RuntimeError::Failed`] or [`RuntimeError::DiskFull`] when the folder cannot be used.
    pub fn open(options: Options) -> Result<Self, RuntimeError> {
        let action = || format!("open the folder {}", options.dir.display());
        folder::make_private(&options.dir).map_err(|e| io_failed(action(), &e))?;
        let attendants = Attendants::new().map_err(|e| io_failed("start a thread", &e))?;
        let events = broadcast::channel(EVENTS).0;
        let found = folder::find(&options.dir).map_err(|e| io_failed(action(), &e))?;
        let shared = Shared {
            options,
            containers: Mutex::default(),
            events,
            attendants,
        };
        let processes = Self {
            shared: Arc::new(shared),
        };
        for (id, folder) in found {
            let container = processes.adopt(&id, folder);
            processes.containers().insert(id, container);
        }
        Ok(processes)
    }

    fn containers(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Arc<Container>>> {
        self.shared
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &ContainerId) -> Result<Arc<Container>, RuntimeError> {
        let found = self.containers().get(id).map(Arc::clone);
        found.ok_or_else(|| RuntimeError::NoContainer(id.to_string()))
    }

    fn adopt(&self, id: &ContainerId, folder: Folder) -> Arc<Container> {
        let container = Arc::new(Container::found(id.clone(), folder));
        match container.still_runs() {
            Some(process) => self.attend(&container, process, None),
            None if container.runs() => container.ended_unattended(&self.shared.options),
            None => {}
        }
        container
    }

    /// Captures the output of a container's process until it ends, then tells everybody.
    fn attend(
        &self,
        container: &Arc<Container>,
        process: crate::drivers::pidfd::Process,
        child: Option<std::process::Child>,
    ) {
        let (container, options) = (Arc::clone(container), self.shared.options.clone());
        let events = self.shared.events.clone();
        self.shared.attendants.spawn(async move {
            container.attend(process, child, &options).await;
            let died = EngineEvent::Died {
                id: container.id().clone(),
            };
            // Nobody may be listening.
            let _ = events.send((died, container.labels()));
        });
    }

    fn tell(&self, container: &Container, action: &str) {
        let event = EngineEvent::Changed {
            id: container.id().clone(),
            action: action.to_owned(),
        };
        // Nobody may be listening.
        let _ = self.shared.events.send((event, container.labels()));
    }
}

#[async_trait]
impl Runtime for Processes {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Ok(EngineInfo {
            kind: RuntimeKind::Process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endpoint: self.shared.options.dir.display().to_string(),
            cpus: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            memory: total_memory(&memory).unwrap_or_default(),
            can_pause: true,
            warnings: [
                "NOT FOR PRODUCTION: procs run as plain processes of this machine, without isolation",
                "CPU and memory limits are not enforced, and volumes are not mounted",
                "images are not used: a proc runs its own command; the first published port is its PORT",
            ]
            .map(str::to_owned)
            .to_vec(),
        })
    }

    async fn ensure_image(&self, image: &str, _: PullObserver) -> Result<(), RuntimeError> {
        // An image that is a path is a folder in which commands run; any other name is ignored.
        if Path::new(image).is_absolute() && !Path::new(image).is_dir() {
            let reason = "there is no such folder".to_owned();
            return Err(RuntimeError::NoImage {
                image: image.to_owned(),
                reason,
            });
        }
        Ok(())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        command::check(spec)?;
        let id = ContainerId::new(uuid::Uuid::now_v7().simple().to_string())
            .expect("hexadecimal digits are a container id");
        let mut containers = self.containers();
        if containers.values().any(|c| c.name() == spec.name) {
            return Err(RuntimeError::NameTaken(spec.name.clone()));
        }
        let action = || format!("make container {}", spec.name);
        let folder = Folder::create(&self.shared.options.dir, &id, spec);
        let folder = folder.map_err(|e| io_failed(action(), &e))?;
        containers.insert(id.clone(), Arc::new(Container::found(id.clone(), folder)));
        Ok(id)
    }

    async fn start(&self, id: &ContainerId) -> Result<Started, RuntimeError> {
        let container = self.get(id)?;
        if let Some((process, child)) = container.start().await? {
            self.attend(&container, process, Some(child));
            self.tell(&container, "start");
        }
        Ok(container.started())
    }

    async fn stop(&self, id: &ContainerId, kill_timeout: Duration) -> Result<Exit, RuntimeError> {
        self.get(id)?.stop(kill_timeout).await
    }

    async fn signal(&self, id: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let number = signal::number(signal, id)?;
        self.get(id)?.signal(number)
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let container = self.get(id)?;
        container.freeze(true)?;
        self.tell(&container, "pause");
        Ok(())
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let container = self.get(id)?;
        container.freeze(false)?;
        self.tell(&container, "unpause");
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok(container) = self.get(id) else {
            return Ok(());
        };
        container.end_for_removal().await?;
        container.delete()?;
        if self.containers().remove(id).is_some() {
            self.tell(&container, "destroy");
        }
        Ok(())
    }

    async fn update(&self, id: &ContainerId, _: Resources) -> Result<(), RuntimeError> {
        self.get(id)?;
        Err(RuntimeError::Unsupported {
            runtime: "process",
            action: "limit CPU and memory",
        })
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        Ok(self.get(id)?.status())
    }

    async fn list(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let all: Vec<_> = self.containers().values().map(Arc::clone).collect();
        let wanted = all.iter().filter(|c| contain(&c.labels(), labels));
        let mut statuses: Vec<_> = wanted.map(|c| c.status()).collect();
        statuses.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(statuses)
    }

    async fn ended(&self, id: &ContainerId, _: Option<u32>) -> Result<(), RuntimeError> {
        self.get(id)?.ended().await
    }

    async fn exit_of(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let container = self.get(id)?;
        container.ended().await?;
        container.exit().ok_or_else(|| {
            let action = format!("tell how container {id} ended");
            failed(action, "it was made but was never started, or runs again")
        })
    }

    fn events(&self, labels: BTreeMap<String, String>) -> BoxStream<'static, EngineEvent> {
        let receiver = self.shared.events.subscribe();
        let rest = stream::unfold(receiver, move |mut receiver| {
            let labels = labels.clone();
            async move {
                loop {
                    match receiver.recv().await {
                        Ok((event, of)) if contain(&of, &labels) => return Some((event, receiver)),
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => {
                            return Some((EngineEvent::Resynchronise, receiver));
                        }
                        Err(RecvError::Closed) => return None,
                    }
                }
            }
        });
        stream::once(std::future::ready(EngineEvent::Resynchronise))
            .chain(rest)
            .boxed()
    }

    fn logs(
        &self,
        id: &ContainerId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
        match self.get(id) {
            Ok(container) => output::stream(container, request),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn log_origin(&self, id: &ContainerId) -> Result<LogOrigin, RuntimeError> {
        let container = self.get(id)?;
        let status = container.status();
        let made = std::fs::metadata(container.path()).and_then(|m| m.created());
        Ok(LogOrigin {
            created_at: made.ok().map(Into::into),
            image: status.image,
            labels: status.labels,
            file: Some((capture::log_file(container.path(), 0), LogFormat::Process)),
        })
    }

    async fn run(
        &self,
        spec: &ContainerSpec,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        exec::one_off(spec, &request)
    }

    async fn exec(
        &self,
        id: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        exec::run(&*self.get(id)?, &request)
    }
}

/// Whether `labels` contain all of `wanted`.
fn contain(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
