//! How a container's end is noticed, and told.
//!
//! Called by [`super::Docker`]'s trait methods and by a start that follows a death. The kernel knows of
//! a death some 30 ms before the engine does, and the engine says how it was before it has tidied up:
//! its `die` event comes as soon as it knows the exit code.

use super::Docker;
use super::client::Client;
use super::error::Subject;
use super::listing::inspect;
use super::runs::Death;
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::drivers::pidfd;
use crate::ports::runtime::{ContainerState, RuntimeError};
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, WaitContainerOptionsBuilder};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::time::Duration;

/// How often the engine is asked whether an event was missed.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// Between attempts to reach an engine that is away.
const RECONNECT: Duration = Duration::from_millis(500);

pub(super) async fn ended(
    docker: &Docker,
    id: &ContainerId,
    mut pid: Option<u32>,
) -> Result<(), RuntimeError> {
    while let Some(first) = pid {
        let before = now();
        match seen_here(docker, id, first).await {
            Seen::Ended => {
                docker.runs().note_death(id, first, before);
                return Ok(());
            }
            // The caller's pid may be that of an earlier run: what does the engine say?
            Seen::NotThere => match inspect(docker, id).await {
                Ok(now) if now.pid.is_some_and(|pid| pid != first && pidfd::runs(pid)) => {
                    pid = now.pid;
                }
                Ok(now) => {
                    docker.runs().forget(id);
                    if let (ContainerState::Running, Some(pid)) = (&now.state, now.pid) {
                        let started = now.started_at.and_then(|at| at.timestamp_nanos_opt());
                        docker.runs().note_death(id, pid, started.unwrap_or(before));
                    }
                    return Ok(());
                }
                Err(error @ RuntimeError::NoContainer(_)) => return Err(error),
                Err(_) => return Ok(()),
            },
            Seen::Nothing => break,
        }
    }
    wait_for_ever(docker.client(), id).await
}

fn now() -> i64 {
    Utc::now().timestamp_nanos_opt().unwrap_or_default()
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
    let elsewhere = || match docker.runs().pids_are_ours() {
        true => Seen::NotThere,
        false => Seen::Nothing,
    };
    let Ok(process) = pidfd::Process::open(pid) else {
        return elsewhere();
    };
    // Only now, with the process held: a pid that was reused before cannot pass.
    if !docker.runs().sees(id, pid) {
        return elsewhere();
    }
    match process.ended().await {
        Ok(()) => Seen::Ended,
        Err(_) => Seen::Nothing,
    }
}

pub(super) async fn exit_of(docker: &Docker, id: &ContainerId) -> Result<Exit, RuntimeError> {
    if let Some(death) = docker.runs().death(id) {
        loop {
            match noticed(docker, id, &death).await {
                Ok(Noticed::Ended(exit)) => return Ok(exit),
                Ok(Noticed::RunsAgain) => break,
                Err(RuntimeError::Unreachable { .. }) => tokio::time::sleep(RECONNECT).await,
                Err(error) => return Err(error),
            }
        }
    }
    wait_for_ever(docker.client(), id).await?;
    match inspect(docker, id).await?.state {
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

/// What the engine says after a death that it had not noticed yet.
pub(super) enum Noticed {
    /// It has noticed.
    Ended(Exit),
    /// Somebody else has started the container again.
    RunsAgain,
}

/// Waits until the engine has noticed a death.
///
/// # Errors
/// [`RuntimeError::Unreachable`] when the engine goes away meanwhile.
pub(super) async fn noticed(
    docker: &Docker,
    id: &ContainerId,
    death: &Death,
) -> Result<Noticed, RuntimeError> {
    if let Some(exit) = &death.exit {
        return Ok(Noticed::Ended(exit.clone()));
    }
    let client = docker.client();
    let subject = Subject::container("wait for the end of", id);
    let mut events = Box::pin(client.get().await?.events(Some(deaths(id, death.after))));
    let mut oom_killed = false;
    loop {
        let exit = match tokio::time::timeout(SECOND_LOOK, events.next()).await {
            Ok(Some(Ok(event))) if event.action.as_deref() == Some("oom") => {
                oom_killed = true;
                continue;
            }
            Ok(Some(Ok(event))) => match told(&event, oom_killed) {
                Some(exit) => exit,
                None => continue,
            },
            Ok(Some(Err(error))) => return Err(client.failure(error, subject)),
            Ok(None) => return Err(client.failure(cut(), subject)),
            // An event may have been lost: the engine keeps few, and none when it is started anew.
            Err(_) => match inspect(docker, id).await? {
                now if now.pid == Some(death.pid) => continue,
                now => match now.state {
                    ContainerState::Exited(exit) => exit,
                    _ => return Ok(Noticed::RunsAgain),
                },
            },
        };
        docker.runs().note_exit(id, death.pid, &exit);
        return Ok(Noticed::Ended(exit));
    }
}

fn deaths(id: &ContainerId, after: i64) -> bollard::query_parameters::EventsOptions {
    let filters = HashMap::from([
        ("type", vec!["container"]),
        ("container", vec![id.as_str()]),
        ("event", vec!["die", "oom"]),
    ]);
    let since = super::events::since(after);
    EventsOptionsBuilder::new()
        .since(&since)
        .filters(&filters)
        .build()
}

/// The exit that a `die` event tells.
fn told(event: &EventMessage, oom_killed: bool) -> Option<Exit> {
    let attributes = event.actor.as_ref()?.attributes.as_ref()?;
    let code = attributes.get("exitCode")?.parse().ok()?;
    let at = event.time_nano.map(DateTime::from_timestamp_nanos);
    Some(Exit::from_code(code, oom_killed, at))
}

fn cut() -> Error {
    Error::IOError {
        err: std::io::ErrorKind::ConnectionReset.into(),
    }
}

/// One request that the engine answers once the container does not run.
async fn wait(client: &Client, id: &ContainerId) -> Result<(), RuntimeError> {
    let options = WaitContainerOptionsBuilder::new()
        .condition("not-running")
        .build();
    let engine = client.get().await?;
    let subject = Subject::container("wait for the end of", id);
    let mut answers = Box::pin(engine.wait_container(id.as_str(), Some(options)));
    match answers.next().await {
        // bollard calls every exit code but 0 an error.
        Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
        Some(Err(error)) => Err(client.failure(error, subject)),
        None => Err(client.failure(cut(), subject)),
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
