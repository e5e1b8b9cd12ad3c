//! A container's life on Docker Engine: made, started, ended, removed.
//!
//! Called by [`super::Docker`]'s trait methods. The one subtle thing here is a start that follows a
//! death at once: the kernel knows of the death some 20 ms before the engine does, which until then
//! answers a start with "not modified". So a start first waits until the engine has noticed.

use super::client::Client;
use super::error::Subject;
use super::{Docker, spec, status};
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::drivers::pidfd;
use crate::ports::runtime::{
    ContainerSpec, ContainerState, ContainerStatus, RuntimeError, Started,
};
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Inspections at a time in one listing: more do not make the engine faster.
const INSPECTIONS: usize = 4;
/// How often a start looks whether somebody else has started the container meanwhile.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// How often a start is repeated when the engine's word was stale.
const START_ATTEMPTS: u32 = 3;
/// Between attempts to reach an engine that is away.
const RECONNECT: Duration = Duration::from_millis(500);
/// How long a removal by somebody else may take.
const REMOVAL: Duration = Duration::from_secs(10);
/// What the engine may take on top of a kill timeout.
const STOP_GRACE: Duration = Duration::from_secs(60);

/// First processes that were seen to end, of which the engine may not know yet.
#[derive(Debug, Default)]
pub(super) struct KnownDead {
    pids: Mutex<HashMap<ContainerId, u32>>,
    /// A container's process was found under the pid that the engine named: this host's pids are
    /// the engine's.
    pids_are_ours: AtomicBool,
}

impl KnownDead {
    fn note(&self, id: &ContainerId, pid: u32) {
        self.pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), pid);
    }

    fn get(&self, id: &ContainerId) -> Option<u32> {
        self.pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .copied()
    }

    fn forget(&self, id: &ContainerId) {
        self.pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn pids_are_ours(&self) -> bool {
        self.pids_are_ours.load(Ordering::Relaxed)
    }
}

pub(super) async fn create(
    docker: &Docker,
    spec: &ContainerSpec,
) -> Result<ContainerId, RuntimeError> {
    let client = docker.client();
    let body = spec::create_body(spec, &docker.shared.options)?;
    let options = CreateContainerOptionsBuilder::new()
        .name(&spec.name)
        .build();
    let answer = client
        .get()
        .await?
        .create_container(Some(options), body)
        .await;
    let subject = Subject::new_container(&spec.name, &spec.image);
    let id = answer
        .map_err(|e| redact(client.failure(e, subject), &spec.env))?
        .id;
    ContainerId::new(id).map_err(|e| RuntimeError::Failed {
        action: format!("make container {}", spec.name),
        reason: e.to_string(),
    })
}

/// Takes values of environment variables out of a message: the engine repeats what it refuses.
pub(super) fn redact(error: RuntimeError, env: &[(String, String)]) -> RuntimeError {
    let clean = |reason: String| {
        let values = env
            .iter()
            .map(|(_, value)| value)
            .filter(|value| value.len() > 2);
        values.fold(reason, |text, value| text.replace(value.as_str(), "***"))
    };
    match error {
        RuntimeError::Refused { action, reason } => RuntimeError::Refused {
            action,
            reason: clean(reason),
        },
        RuntimeError::Failed { action, reason } => RuntimeError::Failed {
            action,
            reason: clean(reason),
        },
        other => other,
    }
}

pub(super) async fn inspect(
    client: &Client,
    id: &ContainerId,
) -> Result<ContainerStatus, RuntimeError> {
    let none = None::<InspectContainerOptions>;
    let answer = client
        .get()
        .await?
        .inspect_container(id.as_str(), none)
        .await;
    let answer = answer.map_err(|e| client.failure(e, Subject::container("inspect", id)))?;
    status::container(answer).ok_or_else(|| RuntimeError::Failed {
        action: format!("inspect container {id}"),
        reason: "the engine's answer names no container".to_owned(),
    })
}

pub(super) async fn list(
    client: &Client,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<ContainerStatus>, RuntimeError> {
    let labels = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let filters = HashMap::from([("label".to_owned(), labels)]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let answer = client.get().await?.list_containers(Some(options)).await;
    let summaries = answer.map_err(|e| client.failure(e, Subject::engine("list containers")))?;
    let ids = summaries
        .into_iter()
        .filter_map(|s| ContainerId::new(s.id?).ok());
    // A summary lacks pid, exit code and instants. Containers may vanish meanwhile.
    let statuses = stream::iter(ids).map(|id| async move { inspect(client, &id).await });
    statuses
        .buffered(INSPECTIONS)
        .filter_map(|status| async move {
            match status {
                Err(RuntimeError::NoContainer(_)) => None,
                other => Some(other),
            }
        })
        .try_collect()
        .await
}

pub(super) async fn start(docker: &Docker, id: &ContainerId) -> Result<Started, RuntimeError> {
    let mut dead = docker.shared.dead.get(id);
    for _ in 0..START_ATTEMPTS {
        if let Some(pid) = dead
            && let Some(running) = until_noticed(docker.client(), id, pid).await?
        {
            docker.shared.dead.forget(id);
            return Ok(running);
        }
        let none = None::<StartContainerOptions>;
        let answer = docker
            .client()
            .get()
            .await?
            .start_container(id.as_str(), none)
            .await;
        answer.map_err(|e| docker.client().failure(e, Subject::container("start", id)))?;
        docker.shared.dead.forget(id);
        let now = inspect(docker.client(), id).await?;
        dead = stale_pid(docker, &now);
        if dead.is_none() {
            return Ok(started(now));
        }
    }
    Err(RuntimeError::Failed {
        action: format!("start container {id}"),
        reason: "the engine goes on saying that it runs, though its process has ended".to_owned(),
    })
}

/// The pid that the engine takes for running though it has ended.
fn stale_pid(docker: &Docker, now: &ContainerStatus) -> Option<u32> {
    let pid = now.pid.filter(|_| now.state == ContainerState::Running)?;
    if pidfd::is_first_of_container(pid, now.id.as_str()) && pidfd::runs(pid) {
        docker
            .shared
            .dead
            .pids_are_ours
            .store(true, Ordering::Relaxed);
        return None;
    }
    (docker.shared.dead.pids_are_ours() && !pidfd::runs(pid)).then_some(pid)
}

fn started(status: ContainerStatus) -> Started {
    Started {
        pid: status.pid,
        ip: status.ip,
        at: status.started_at.unwrap_or_else(Utc::now),
    }
}

/// Waits until the engine knows that `dead` has ended. Somebody else may have started the container
/// again meanwhile: then that is the answer.
async fn until_noticed(
    client: &Client,
    id: &ContainerId,
    dead: u32,
) -> Result<Option<Started>, RuntimeError> {
    let noticed = wait(client, id);
    tokio::pin!(noticed);
    loop {
        match tokio::time::timeout(SECOND_LOOK, &mut noticed).await {
            Ok(ended) => return ended.map(|()| None),
            Err(_) => {
                let now = inspect(client, id).await?;
                if now.state == ContainerState::Running && now.pid != Some(dead) {
                    return Ok(Some(started(now)));
                }
            }
        }
    }
}

/// One request that the engine answers once the container does not run.
async fn wait(client: &Client, id: &ContainerId) -> Result<(), RuntimeError> {
    let options = WaitContainerOptionsBuilder::new()
        .condition("not-running")
        .build();
    let mut answers = Box::pin(
        client
            .get()
            .await?
            .wait_container(id.as_str(), Some(options)),
    );
    match answers.next().await {
        // bollard calls every exit code but 0 an error.
        Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
        Some(Err(error)) => {
            Err(client.failure(error, Subject::container("wait for the end of", id)))
        }
        None => {
            let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            let cut = Error::IOError { err: cut };
            Err(client.failure(cut, Subject::container("wait for the end of", id)))
        }
    }
}

/// As [`wait`], however often the engine goes away meanwhile.
async fn wait_for_ever(client: &Client, id: &ContainerId) -> Result<(), RuntimeError> {
    loop {
        match wait(client, id).await {
            Err(RuntimeError::Unreachable { .. }) => tokio::time::sleep(RECONNECT).await,
            answer => return answer,
        }
    }
}

pub(super) async fn ended(
    docker: &Docker,
    id: &ContainerId,
    mut pid: Option<u32>,
) -> Result<(), RuntimeError> {
    while let Some(first) = pid {
        match seen_here(docker, id, first).await {
            Seen::Ended => {
                docker.shared.dead.note(id, first);
                return Ok(());
            }
            // The caller's pid may be that of an earlier run: what does the engine say?
            Seen::NotThere => match inspect(docker.client(), id).await {
                Ok(now) if now.pid.is_some_and(|pid| pid != first && pidfd::runs(pid)) => {
                    pid = now.pid;
                }
                Err(error @ RuntimeError::NoContainer(_)) => return Err(error),
                _ => {
                    docker.shared.dead.note(id, first);
                    return Ok(());
                }
            },
            Seen::Nothing => break,
        }
    }
    wait_for_ever(docker.client(), id).await
}

/// What can be told of a container's first process from here.
enum Seen {
    /// It ended.
    Ended,
    /// The engine's pids are this host's, and there is no such process, or another one has its pid.
    NotThere,
    /// The engine has other pids.
    Nothing,
}

/// Waits for the end of the container's first process by pidfd.
async fn seen_here(docker: &Docker, id: &ContainerId, pid: u32) -> Seen {
    let dead = &docker.shared.dead;
    let elsewhere = || {
        if dead.pids_are_ours() {
            Seen::NotThere
        } else {
            Seen::Nothing
        }
    };
    let Ok(process) = pidfd::Process::open(pid) else {
        return elsewhere();
    };
    // Only now, with the process held: a pid that was reused before cannot pass.
    if !pidfd::is_first_of_container(pid, id.as_str()) {
        return elsewhere();
    }
    dead.pids_are_ours.store(true, Ordering::Relaxed);
    match process.ended().await {
        Ok(()) => Seen::Ended,
        Err(_) => Seen::Nothing,
    }
}

pub(super) async fn exit_of(client: &Client, id: &ContainerId) -> Result<Exit, RuntimeError> {
    wait_for_ever(client, id).await?;
    match inspect(client, id).await?.state {
        ContainerState::Exited(exit) => Ok(exit),
        state => Err(RuntimeError::Failed {
            action: format!("tell how container {id} ended"),
            reason: format!("it is {}", word(&state)),
        }),
    }
}

fn word(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "made but was never started",
        ContainerState::Running => "running again",
        ContainerState::Paused => "paused",
        ContainerState::Exited(_) => "exited",
    }
}

pub(super) async fn stop(
    docker: &Docker,
    id: &ContainerId,
    kill_timeout: Duration,
) -> Result<Exit, RuntimeError> {
    let client = docker.client();
    let seconds = spec::whole_seconds(kill_timeout);
    let patient = client
        .get()
        .await?
        .with_timeout(kill_timeout.saturating_add(STOP_GRACE));
    let options = StopContainerOptionsBuilder::new().t(seconds).build();
    let answer = patient.stop_container(id.as_str(), Some(options)).await;
    answer.map_err(|e| client.failure(e, Subject::container("stop", id)))?;
    match inspect(client, id).await?.state {
        ContainerState::Exited(exit) => Ok(exit),
        ContainerState::Created => Ok(Exit::from_code(0, false, None)),
        ContainerState::Running | ContainerState::Paused => exit_of(client, id).await,
    }
}

pub(super) async fn signal(
    docker: &Docker,
    id: &ContainerId,
    signal: &str,
) -> Result<(), RuntimeError> {
    let client = docker.client();
    let options = KillContainerOptionsBuilder::new().signal(signal).build();
    let answer = client
        .get()
        .await?
        .kill_container(id.as_str(), Some(options))
        .await;
    answer.map_err(|e| client.failure(e, Subject::container("signal", id)))
}

pub(super) async fn remove(docker: &Docker, id: &ContainerId) -> Result<(), RuntimeError> {
    let client = docker.client();
    let deadline = tokio::time::Instant::now() + REMOVAL;
    loop {
        // Anonymous volumes go with their container; named directories of the host stay.
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let answer = client
            .get()
            .await?
            .remove_container(id.as_str(), Some(options))
            .await;
        match answer.map_err(|e| client.failure(e, Subject::container("remove", id))) {
            Ok(()) | Err(RuntimeError::NoContainer(_)) => break,
            Err(RuntimeError::Refused { reason, .. })
                if reason.contains("already in progress")
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
    docker.shared.dead.forget(id);
    Ok(())
}
