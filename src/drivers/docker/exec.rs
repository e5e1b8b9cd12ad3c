//! Commands inside a container of Docker Engine.
//!
//! Called by [`super::Docker::exec`].

use super::Docker;
use super::error::Subject;
use super::terminal::{self, Input, Output};
use crate::domain::id::ContainerId;
use crate::ports::runtime::{ExecControl, ExecRequest, ExecSession, OutputStream, RuntimeError};
use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use futures_util::{StreamExt, TryStreamExt};
use std::time::Duration;

/// How long the engine may take to know an exit code after the output has ended.
const EXIT_CODE: Duration = Duration::from_secs(10);

pub(super) async fn run(
    docker: &Docker,
    id: &ContainerId,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let client = docker.client();
    let subject = Subject::container("run a command in", id);
    let made = client
        .get()
        .await?
        .create_exec(id.as_str(), config(&request))
        .await;
    let exec = made.map_err(|e| client.failure(e, subject))?.id;
    let control = Control {
        docker: docker.clone(),
        container: id.clone(),
        exec,
    };
    let (input, output) = match request.tty {
        Some((columns, rows)) => {
            let begun = control.begin_on_terminal().await?;
            // One that has ended by now has no size, and needs none.
            let _ = control.resize(columns, rows).await;
            begun
        }
        None => control.begin().await?,
    };
    Ok(ExecSession {
        input,
        output,
        control: Box::new(control),
    })
}

fn config(request: &ExecRequest) -> ExecConfig {
    let env = request
        .env
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    ExecConfig {
        attach_stdin: Some(request.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.tty.is_some()),
        env: Some(env.collect()),
        cmd: Some(request.command.clone()),
        ..ExecConfig::default()
    }
}

pub(super) struct Control {
    docker: Docker,
    container: ContainerId,
    exec: String,
}

/// What bollard read, in our words.
pub(super) fn piece(output: LogOutput) -> (OutputStream, Vec<u8>) {
    let stream = match output {
        LogOutput::StdErr { .. } => OutputStream::Stderr,
        _ => OutputStream::Stdout,
    };
    (stream, output.into_bytes().to_vec())
}

impl Control {
    fn failure(&self, error: Error) -> RuntimeError {
        let subject = Subject::container("run a command in", &self.container);
        self.docker.client().failure(error, subject)
    }

    async fn begin(&self) -> Result<(Input, Output), RuntimeError> {
        let engine = self.docker.client().get().await?;
        let begun = engine
            .start_exec(&self.exec, None::<StartExecOptions>)
            .await;
        match begun.map_err(|e| self.failure(e))? {
            StartExecResults::Attached { output, input } => {
                let (docker, id) = (self.docker.clone(), self.container.clone());
                let output = output.map_ok(piece).map_err(move |e| {
                    let subject = Subject::container("read a command's output in", &id);
                    docker.client().failure(e, subject)
                });
                Ok((input, output.boxed()))
            }
            StartExecResults::Detached => Err(RuntimeError::Failed {
                action: format!("run a command in container {}", self.container),
                reason: "the engine detached it".to_owned(),
            }),
        }
    }

    async fn begin_on_terminal(&self) -> Result<(Input, Output), RuntimeError> {
        let path = format!("/exec/{}/start", self.exec);
        let body = r#"{"Detach":false,"Tty":true}"#;
        terminal::open(&self.docker, &self.container, &path, body).await
    }
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), RuntimeError> {
        let client = self.docker.client();
        let size = ResizeExecOptionsBuilder::new()
            .w(columns.into())
            .h(rows.into())
            .build();
        let answer = client.get().await?.resize_exec(&self.exec, size).await;
        let subject = Subject::container("resize a terminal in", &self.container);
        answer.map_err(|e| client.failure(e, subject))
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        let client = self.docker.client();
        let subject = Subject::container("ask for a command's exit code in", &self.container);
        let deadline = tokio::time::Instant::now() + EXIT_CODE;
        loop {
            let answer = client.get().await?.inspect_exec(&self.exec).await;
            let answer = answer.map_err(|e| client.failure(e, subject))?;
            match answer.exit_code.and_then(|code| i32::try_from(code).ok()) {
                Some(code) if answer.running != Some(true) => return Ok(code),
                _ if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => {
                    return Err(RuntimeError::Failed {
                        action: format!(
                            "ask for a command's exit code in container {}",
                            self.container
                        ),
                        reason: "it runs on".to_owned(),
                    });
                }
            }
        }
    }
}
