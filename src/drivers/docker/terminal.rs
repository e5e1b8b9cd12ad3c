//! Terminals inside containers: a connection to the engine that was upgraded to a plain stream of bytes.
//!
//! Called by [`super::exec`] and [`super::one_off`]. bollard would look for the frames that the engine
//! sends where there is no terminal, and take some bytes that a terminal may print for one.

use super::Docker;
use super::error::Subject;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{OutputStream, RuntimeError};
use bollard::errors::Error;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWrite, ReadHalf};

/// Standard input of a command.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;
/// Output of a command.
pub(super) type Output = BoxStream<'static, Result<(OutputStream, Vec<u8>), RuntimeError>>;

/// What is read at a time.
const CHUNK: usize = 8 * 1024;

/// Opens a terminal by a request that the engine answers with an upgrade.
pub(super) async fn open(
    docker: &Docker,
    container: &ContainerId,
    path: &str,
    body: &'static str,
) -> Result<(Input, Output), RuntimeError> {
    let client = docker.client();
    let failure = |e: Error| client.failure(e, Subject::container("open a terminal in", container));
    let request = Request::post("/")
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "tcp")
        .body(bollard::body_full(body.into()));
    let request = request.map_err(|e| failure(e.into()))?;
    let answer = client.send(path, request).await.map_err(failure)?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS && status != StatusCode::OK {
        return Err(failure(Error::DockerResponseServerError {
            status_code: status.as_u16(),
            message: "the engine gives none".to_owned(),
        }));
    }
    let upgraded = hyper::upgrade::on(answer)
        .await
        .map_err(|e| failure(e.into()))?;
    let (from, to) = tokio::io::split(TokioIo::new(upgraded));
    let output = pieces(from, docker.clone(), container.clone());
    Ok((Box::pin(to), output))
}

fn pieces(from: ReadHalf<TokioIo<Upgraded>>, docker: Docker, id: ContainerId) -> Output {
    stream::unfold(Some((from, docker, id)), |open| async move {
        let (mut from, docker, id) = open?;
        let mut chunk = vec![0; CHUNK];
        match from.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok((OutputStream::Stdout, chunk)), Some((from, docker, id))))
            }
            Err(error) => {
                let subject = Subject::container("read a terminal in", &id);
                Some((Err(docker.client().failure(error.into(), subject)), None))
            }
        }
    })
    .boxed()
}
