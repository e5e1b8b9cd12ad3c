//! One-off containers of Docker Engine: made, attached, started, and removed at their end.
//!
//! Called by [`super::Docker::run`]. Whoever drops the session's control gives the container up: it is
//! killed and removed.

use super::error::Subject;
use super::exec::piece;
use super::terminal::{self, Input, Output};
use super::{Docker, ending, lifecycle, spec};
use crate::domain::id::ContainerId;
use crate::ports::runtime::{ContainerSpec, ExecControl, ExecRequest, ExecSession, RuntimeError};
use async_trait::async_trait;
use bollard::container::AttachContainerResults;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder,
    StartContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt};

pub(super) async fn run(
    docker: &Docker,
    made_like: &ContainerSpec,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let id = create(docker, made_like, &request).await?;
    let control = Control {
        docker: docker.clone(),
        id: id.clone(),
    };
    let (input, output) = attach(docker, &id, &request).await?;
    let client = docker.client();
    let started = client
        .get()
        .await?
        .start_container(id.as_str(), None::<StartContainerOptions>)
        .await;
    started.map_err(|e| client.failure(e, Subject::container("start", &id)))?;
    if let Some((columns, rows)) = request.tty {
        // One that has ended by now has no size, and needs none.
        let _ = control.resize(columns, rows).await;
    }
    Ok(ExecSession {
        input,
        output,
        control: Box::new(control),
    })
}

async fn create(
    docker: &Docker,
    made_like: &ContainerSpec,
    request: &ExecRequest,
) -> Result<ContainerId, RuntimeError> {
    let client = docker.client();
    let mut wanted = made_like.clone();
    let given = request.env.iter();
    wanted
        .env
        .extend(given.map(|(key, value)| (key.into(), value.into())));
    if !request.command.is_empty() {
        // The command is taken as it is: an entrypoint would change its meaning.
        wanted.entrypoint = Some(request.command.clone());
        wanted.cmd = Some(Vec::new());
    }
    let mut body = spec::create_body(&wanted, &docker.shared.options)?;
    body.attach_stdin = Some(request.stdin);
    body.open_stdin = Some(request.stdin);
    body.stdin_once = Some(request.stdin);
    body.tty = Some(request.tty.is_some());
    let options = CreateContainerOptionsBuilder::new()
        .name(&wanted.name)
        .build();
    let answer = client
        .get()
        .await?
        .create_container(Some(options), body)
        .await;
    let subject = Subject::new_container(&wanted.name, &wanted.image);
    let answer = answer.map_err(|e| lifecycle::redact(client.failure(e, subject), &wanted.env))?;
    ContainerId::new(answer.id).map_err(|e| RuntimeError::Failed {
        action: format!("make container {}", wanted.name),
        reason: e.to_string(),
    })
}

async fn attach(
    docker: &Docker,
    id: &ContainerId,
    request: &ExecRequest,
) -> Result<(Input, Output), RuntimeError> {
    if request.tty.is_some() {
        let stdin = u8::from(request.stdin);
        let path = format!("/containers/{id}/attach?stream=1&stdin={stdin}&stdout=1&stderr=1");
        return terminal::open(docker, id, &path, "").await;
    }
    let client = docker.client();
    let options = AttachContainerOptionsBuilder::new()
        .stdin(request.stdin)
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    let attached = client
        .get()
        .await?
        .attach_container(id.as_str(), Some(options))
        .await;
    let AttachContainerResults { output, input } =
        attached.map_err(|e| client.failure(e, Subject::container("attach to", id)))?;
    let (reading, id) = (docker.clone(), id.clone());
    let output = output.map_ok(piece).map_err(move |e| {
        reading
            .client()
            .failure(e, Subject::container("read the output of", &id))
    });
    Ok((input, output.boxed()))
}

struct Control {
    docker: Docker,
    id: ContainerId,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), RuntimeError> {
        let client = self.docker.client();
        let size = ResizeContainerTTYOptionsBuilder::new()
            .w(columns.into())
            .h(rows.into())
            .build();
        let answer = client
            .get()
            .await?
            .resize_container_tty(self.id.as_str(), size)
            .await;
        answer
            .map_err(|e| client.failure(e, Subject::container("resize the terminal of", &self.id)))
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        // It was started, and stays until this is dropped.
        let exit = ending::exit_of(&self.docker, &self.id).await?;
        Ok(exit.code)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let (docker, id) = (self.docker.clone(), self.id.clone());
        actix_rt::spawn(async move {
            if let Err(error) = lifecycle::remove(&docker, &id).await {
                tracing::warn!(container = %id, %error, "one-off container could not be removed");
            }
        });
    }
}
