//! A container's life on Docker Engine: made, started, ended, removed.
//!
//! Called by [`super::Docker`]'s trait methods. The one subtle thing here is a start that follows a
//! death at once: an engine that has not noticed the death yet answers a start with "not modified". So
//! a start first waits until the engine has noticed. It does not wait until the engine has tidied up:
//! the engine itself keeps a start waiting for that.

use super::Docker;
use super::ending::{Noticed, exit_of, noticed};
use super::error::Subject;
use super::listing::{inspect, inspect_started};
use super::spec;
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::domain::texts::Text;
use crate::drivers::pidfd;
use crate::ports::runtime::{
    ContainerSpec, ContainerState, ContainerStatus, RuntimeError, Started,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use chrono::Utc;
use std::time::Duration;

/// How often a start is repeated when the engine's word was stale.
const START_ATTEMPTS: u32 = 3;
/// How long a removal by somebody else may take.
const REMOVAL: Duration = Duration::from_secs(10);
/// What the engine may take on top of a kill timeout.
const STOP_GRACE: Duration = Duration::from_secs(60);

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
    let made = answer.map_err(|e| redact(client.failure(e, subject), &spec.env));
    if let Err(RuntimeError::NoImage { .. }) = &made {
        docker.shared.images.forget(&spec.image);
    }
    let id = made?.id;
    ContainerId::new(id).map_err(|e| RuntimeError::Failed {
        action: format!("make container {}", spec.name),
        reason: e.to_string(),
    })
}

/// Takes values of environment variables out of a message: the engine repeats what it refuses.
pub(super) fn redact(error: RuntimeError, env: &[(Text, Text)]) -> RuntimeError {
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

pub(super) async fn start(docker: &Docker, id: &ContainerId) -> Result<Started, RuntimeError> {
    let client = docker.client();
    for _ in 0..START_ATTEMPTS {
        if let Some(death) = docker.runs().death(id)
            && let Noticed::RunsAgain = noticed(docker, id, &death).await?
        {
            docker.runs().forget(id);
        }
        let before = docker.runs().last_pid(id);
        let none = None::<StartContainerOptions>;
        let answer = client.get().await?.start_container(id.as_str(), none).await;
        answer.map_err(|e| client.failure(e, Subject::container("start", id)))?;
        docker.runs().forget(id);
        let now = inspect_started(docker, id).await?;
        match stale_pid(docker, &now, before) {
            // The engine left alone what it takes for running.
            Some(pid) => {
                let started = now.started_at.and_then(|at| at.timestamp_nanos_opt());
                docker
                    .runs()
                    .note_death(id, pid, started.unwrap_or_default());
            }
            None => return Ok(started(now)),
        }
    }
    Err(RuntimeError::Failed {
        action: format!("start container {id}"),
        reason: "the engine goes on saying that it runs, though its process has ended".to_owned(),
    })
}

/// The pid that the engine takes for running though it has ended: the one of the run before. A new
/// process may have ended by now too, but that is a run like any other.
fn stale_pid(docker: &Docker, now: &ContainerStatus, before: Option<u32>) -> Option<u32> {
    let pid = now.pid.filter(|pid| Some(*pid) == before)?;
    (docker.runs().pids_are_ours() && !pidfd::runs(pid)).then_some(pid)
}

fn started(status: ContainerStatus) -> Started {
    Started {
        pid: status.pid,
        ip: status.ip,
        at: status.started_at.unwrap_or_else(Utc::now),
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
    match inspect(docker, id).await?.state {
        ContainerState::Exited(exit) => Ok(exit),
        ContainerState::Created => Ok(Exit::from_code(0, false, None)),
        ContainerState::Running | ContainerState::Paused => exit_of(docker, id).await,
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
    docker.runs().removed(id);
    Ok(())
}
