//! What is asked of a node besides its assignments: output, commands in containers. Here, or over the link.

use crate::actors::control::nodes::table::{Asked, Link, Node, send_input};
use crate::actors::shared::Shared;
use crate::domain::id::{ContainerId, NodeName};
use crate::link::message::{Command, Failure, FailureKind, Input, Reply, Request};
use crate::ports::runtime::{
    ContainerSpec, ExecControl, ExecRequest, ExecSession, LogsRequest, OutputLine, OutputStream,
    RuntimeError,
};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

/// Bytes of a command's input that are sent at once.
const CHUNK: usize = 16 << 10;

fn unreachable(node: &Node, reason: String) -> RuntimeError {
    RuntimeError::Unreachable {
        engine: format!("node {}", node.name),
        reason,
        remedy: "see `lain node list`, and start its agent: `systemctl start lain-agent`"
            .to_owned(),
    }
}

fn failed(node: &Node, failure: Failure) -> RuntimeError {
    match failure.kind {
        FailureKind::NotFound => RuntimeError::NoContainer(failure.reason),
        FailureKind::Unreachable => unreachable(node, failure.reason),
        FailureKind::Conflict | FailureKind::Failed => RuntimeError::Failed {
            action: format!("do it on node {}", node.name),
            reason: failure.reason,
        },
    }
}

/// The node, when it is another host.
fn remote(shared: &Shared, node: &NodeName) -> Option<Arc<Node>> {
    shared.nodes.get(node).filter(|n| !n.local)
}

/// Output of a container, wherever it runs.
pub fn logs(
    shared: &Arc<Shared>,
    node: &NodeName,
    id: &ContainerId,
    request: LogsRequest,
) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
    let Some(node) = remote(shared, node) else {
        return shared.runtime.logs(id, request);
    };
    let container = id.clone();
    let begin = async move {
        let request = Request::Logs { container, request };
        match node.ask(request).await {
            Ok(asked) => stream::unfold((node, Some(asked)), next_line).boxed(),
            Err(reason) => {
                let error = unreachable(&node, reason);
                stream::once(async move { Err(error) }).boxed()
            }
        }
    };
    stream::once(begin).flatten().boxed()
}

type Reading = (Arc<Node>, Option<Asked>);

async fn next_line((node, asked): Reading) -> Option<(Result<OutputLine, RuntimeError>, Reading)> {
    let mut asked = asked?;
    match asked.next().await {
        Some(Reply::Line(line)) => Some((Ok(line), (node, Some(asked)))),
        Some(Reply::Failed(failure)) => {
            let error = failed(&node, failure);
            Some((Err(error), (node, None)))
        }
        Some(_) => None,
        None => {
            let error = unreachable(&node, "the link broke".to_owned());
            Some((Err(error), (node, None)))
        }
    }
}

/// A command inside a running container, wherever that runs.
///
/// # Errors
/// What the engine said, or that the node cannot be reached.
pub async fn exec(
    shared: &Shared,
    node: &NodeName,
    id: &ContainerId,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let Some(node) = remote(shared, node) else {
        return shared.runtime.exec(id, request).await;
    };
    let ask = Request::Exec {
        container: id.clone(),
        command: command(request),
    };
    session(node, ask).await
}

/// A one-off container on a node.
///
/// # Errors
/// As [`exec`].
pub async fn run_once(
    shared: &Shared,
    node: &NodeName,
    spec: &ContainerSpec,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let Some(node) = remote(shared, node) else {
        shared
            .runtime
            .ensure_image(&spec.image, Box::new(|_| {}))
            .await?;
        return shared.runtime.run(spec, request).await;
    };
    let ask = Request::RunOnce {
        spec: Box::new(spec.clone()),
        command: command(request),
    };
    session(node, ask).await
}

fn command(request: ExecRequest) -> Command {
    Command {
        words: request.command,
        env: request.env,
        stdin: request.stdin,
        tty: request.tty,
    }
}

async fn session(node: Arc<Node>, request: Request) -> Result<ExecSession, RuntimeError> {
    let asked = node.ask(request).await;
    let mut asked = asked.map_err(|reason| unreachable(&node, reason))?;
    match asked.next().await {
        Some(Reply::Begun) => {}
        Some(Reply::Failed(failure)) => return Err(failed(&node, failure)),
        Some(_) | None => return Err(unreachable(&node, "the link broke".to_owned())),
    }
    let (link, id) = asked.inputs();
    let (input, read_input) = tokio::io::simplex(CHUNK);
    let (exit, exited) = watch::channel(None);
    actix_rt::spawn(forward_input(Arc::clone(&link), id, input));
    let output = stream::unfold((Arc::clone(&node), Some(asked), exit), next_output);
    Ok(ExecSession {
        input: Box::pin(read_input),
        output: output.boxed(),
        control: Box::new(RemoteExec { link, id, exited }),
    })
}

async fn forward_input(
    link: Arc<Link>,
    id: u64,
    mut input: tokio::io::ReadHalf<tokio::io::SimplexStream>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let part = match input.read(&mut buffer).await {
            Ok(0) | Err(_) => Input::Eof,
            Ok(n) => Input::Bytes(BASE64.encode(&buffer[..n])),
        };
        let last = part == Input::Eof;
        if send_input(&link, id, part).await.is_err() || last {
            return;
        }
    }
}

type Output = (Arc<Node>, Option<Asked>, watch::Sender<Option<i32>>);
type Piece = Result<(OutputStream, Vec<u8>), RuntimeError>;

async fn next_output((node, asked, exit): Output) -> Option<(Piece, Output)> {
    let mut asked = asked?;
    match asked.next().await {
        Some(Reply::Output(stream, text)) => {
            let piece = BASE64.decode(text).map_err(|e| RuntimeError::Failed {
                action: "read a command's output".to_owned(),
                reason: e.to_string(),
            });
            Some((
                piece.map(|bytes| (stream, bytes)),
                (node, Some(asked), exit),
            ))
        }
        Some(Reply::Exit(code)) => {
            exit.send_replace(Some(code));
            None
        }
        Some(Reply::Failed(failure)) => {
            let error = failed(&node, failure);
            Some((Err(error), (node, None, exit)))
        }
        Some(_) => None,
        None => {
            let error = unreachable(&node, "the link broke".to_owned());
            Some((Err(error), (node, None, exit)))
        }
    }
}

/// The side channel of a command on another host.
struct RemoteExec {
    link: Arc<Link>,
    id: u64,
    exited: watch::Receiver<Option<i32>>,
}

#[async_trait]
impl ExecControl for RemoteExec {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), RuntimeError> {
        let sent = send_input(&self.link, self.id, Input::Resize(columns, rows)).await;
        sent.map_err(|reason| RuntimeError::Failed {
            action: "resize the terminal".to_owned(),
            reason,
        })
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        let mut exited = self.exited.clone();
        let code = exited.wait_for(Option::is_some).await.ok().and_then(|c| *c);
        code.ok_or_else(|| RuntimeError::Failed {
            action: "learn the exit code".to_owned(),
            reason: "the link to the node broke".to_owned(),
        })
    }
}
