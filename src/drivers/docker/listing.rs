//! What Docker Engine says of containers: one by one, and all.
//!
//! Called by [`super::Docker`]'s trait methods.

use super::Docker;
use super::error::Subject;
use super::status;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{ContainerState, ContainerStatus, LogOrigin, RuntimeError};
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum as Word,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashMap};

/// Inspections at a time in one listing: more do not make the engine faster.
const INSPECTIONS: usize = 4;

/// What the engine says of one container.
async fn ask(docker: &Docker, id: &ContainerId) -> Result<ContainerInspectResponse, RuntimeError> {
    let client = docker.client();
    let none = None::<InspectContainerOptions>;
    let answer = client
        .get()
        .await?
        .inspect_container(id.as_str(), none)
        .await;
    answer.map_err(|e| client.failure(e, Subject::container("inspect", id)))
}

pub(super) async fn inspect(
    docker: &Docker,
    id: &ContainerId,
) -> Result<ContainerStatus, RuntimeError> {
    read(docker, id, ask(docker, id).await?)
}

/// Of a container that was just started: where its output is kept is asked for next, and in the same answer.
pub(super) async fn inspect_started(
    docker: &Docker,
    id: &ContainerId,
) -> Result<ContainerStatus, RuntimeError> {
    let answer = ask(docker, id).await?;
    let origin = status::log_origin(&answer);
    let status = read(docker, id, answer)?;
    docker.runs().note_origin(id, origin);
    Ok(status)
}

fn read(
    docker: &Docker,
    id: &ContainerId,
    answer: ContainerInspectResponse,
) -> Result<ContainerStatus, RuntimeError> {
    let status = status::container(answer).ok_or_else(|| RuntimeError::Failed {
        action: format!("inspect container {id}"),
        reason: "the engine's answer names no container".to_owned(),
    })?;
    docker.runs().note(&status);
    Ok(status)
}

/// Where the engine keeps the output of a container. Its file is named only where this host can open it:
/// a remote engine's is elsewhere.
pub(super) async fn log_origin(
    docker: &Docker,
    id: &ContainerId,
) -> Result<LogOrigin, RuntimeError> {
    let (origin, driver) = match docker.runs().take_origin(id) {
        Some(origin) => origin,
        None => status::log_origin(&ask(docker, id).await?),
    };
    let file = match driver.as_str() {
        "json-file" => origin
            .file
            .filter(|(path, _)| std::fs::File::open(path).is_ok()),
        _ => None,
    };
    Ok(LogOrigin { file, ..origin })
}

pub(super) async fn list(
    docker: &Docker,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<ContainerStatus>, RuntimeError> {
    let client = docker.client();
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
    let statuses = stream::iter(summaries).map(|summary| complete(docker, summary));
    let statuses = statuses.buffered(INSPECTIONS);
    statuses
        .try_filter_map(async |status| Ok(status))
        .try_collect()
        .await
}

/// A summary lacks pid, exit code and instants: what runs on as it did is remembered, of others the
/// engine is asked. `None` for one that has vanished meanwhile.
async fn complete(
    docker: &Docker,
    summary: ContainerSummary,
) -> Result<Option<ContainerStatus>, RuntimeError> {
    let Some(id) = summary.id.and_then(|id| ContainerId::new(id).ok()) else {
        return Ok(None);
    };
    let state = match summary.state {
        Some(Word::RUNNING) => Some(ContainerState::Running),
        Some(Word::PAUSED) => Some(ContainerState::Paused),
        _ => None,
    };
    if let Some(state) = state
        && let Some(status) = docker.runs().still_running(&id)
        && summary
            .names
            .iter()
            .flatten()
            .any(|name| name.strip_prefix('/') == Some(&status.name))
    {
        return Ok(Some(ContainerStatus { state, ..status }));
    }
    match inspect(docker, &id).await {
        Err(RuntimeError::NoContainer(_)) => Ok(None),
        answer => answer.map(Some),
    }
}
