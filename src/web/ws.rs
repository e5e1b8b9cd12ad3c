//! A command's input, output and end over a WebSocket.
//!
//! Nothing is buffered without bound: output is read as fast as the client takes it, input as fast
//! as the command does, each independently of the other. A client that is gone or stuck ends it.

use super::error::{Kind, Problem, ProblemView};
use super::limits::Slot;
use super::sse::stopped;
use super::state::{Api, RequestId};
use crate::ports::runtime::{ExecControl, ExecSession, OutputStream, RuntimeError};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, rt};
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, Session,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// The largest message of a client.
const MAX_MESSAGE: usize = 64 * 1024;

/// What a client says in a text frame.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum FromClient {
    Resize { columns: u16, rows: u16 },
    CloseStdin {},
}

/// What we say in a text frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToClient {
    Exit { code: i32 },
    Error { problem: ProblemView },
}

/// How it ended.
enum End {
    /// The command, with this code.
    Exited(i32),
    /// Something failed, of which the client is told.
    Failed(Problem),
    /// The client.
    Gone,
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        End::Gone
    }
}

impl From<RuntimeError> for End {
    fn from(error: RuntimeError) -> Self {
        End::Failed(error.into())
    }
}

/// Upgrades the connection and lets the command have it.
///
/// # Errors
/// 400 where the client's handshake is none.
pub fn attach(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
    exec: ExecSession,
    slot: Slot,
) -> Result<HttpResponse, Problem> {
    let (response, session, messages) = actix_ws::handle(request, payload)
        .map_err(|error| Problem::new(Kind::BadRequest, format!("WebSocket handshake: {error}")))?;
    let messages = messages
        .max_frame_size(MAX_MESSAGE)
        .aggregate_continuations()
        .max_continuation_size(MAX_MESSAGE);
    let bridge = Bridge {
        session,
        stall: api.limits.stream_stall,
        heartbeat: api.limits.heartbeat,
        stopping: api.stopping.clone(),
        path: request.path().to_owned(),
        request_id: RequestId::of(request),
    };
    rt::spawn(async move {
        bridge.run(messages, exec).await;
        drop(slot);
    });
    Ok(response)
}

struct Bridge {
    session: Session,
    stall: Duration,
    heartbeat: Duration,
    stopping: watch::Receiver<bool>,
    path: String,
    request_id: String,
}

impl Bridge {
    async fn run(self, messages: AggregatedMessageStream, exec: ExecSession) {
        let mut stopping = self.stopping.clone();
        let end = tokio::select! {
            end = self.pump_output(exec.output, &*exec.control) => end,
            end = self.pump_input(messages, exec.input, &*exec.control) => end,
            end = self.beat() => end,
            () = stopped(&mut stopping) => End::Failed(Problem::new(
                Kind::Unavailable,
                "lain is stopping; the command was left",
            )),
        };
        // A client that takes nothing is left to the connection's own limits.
        let _ = timeout(self.stall, self.say_goodbye(end)).await;
    }

    /// Until the output has ended and the exit code is known.
    async fn pump_output(
        &self,
        mut output: BoxStream<'static, Result<(OutputStream, Vec<u8>), RuntimeError>>,
        control: &dyn ExecControl,
    ) -> End {
        let mut session = self.session.clone();
        while let Some(chunk) = output.next().await {
            let (stream, bytes) = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return error.into(),
            };
            match timeout(self.stall, session.binary(framed(stream, &bytes))).await {
                Ok(Ok(())) => {}
                Ok(Err(Closed)) | Err(_) => return End::Gone,
            }
        }
        match control.exit_code().await {
            Ok(code) => End::Exited(code),
            Err(error) => error.into(),
        }
    }

    /// Until the client goes away or says what cannot be understood.
    async fn pump_input(
        &self,
        mut messages: AggregatedMessageStream,
        input: Pin<Box<dyn AsyncWrite + Send>>,
        control: &dyn ExecControl,
    ) -> End {
        let mut session = self.session.clone();
        let mut input = Some(input);
        // Pings come back within a heartbeat; one may get lost in a full connection.
        let silence = self.heartbeat * 2 + self.stall;
        loop {
            let message = match timeout(silence, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return End::Failed(misunderstood(&error.to_string())),
                Ok(None) | Err(_) => return End::Gone,
            };
            let done = match message {
                AggregatedMessage::Binary(bytes) => write(&mut input, &bytes).await,
                AggregatedMessage::Text(text) => command(&text, &mut input, control).await,
                AggregatedMessage::Ping(bytes) => session.pong(&bytes).await.map_err(End::from),
                AggregatedMessage::Pong(_) => Ok(()),
                AggregatedMessage::Close(_) => return End::Gone,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Pings until the client is gone.
    async fn beat(&self) -> End {
        let mut session = self.session.clone();
        loop {
            tokio::time::sleep(self.heartbeat).await;
            if session.ping(b"").await.is_err() {
                return End::Gone;
            }
        }
    }

    async fn say_goodbye(mut self, end: End) {
        let (last, code) = match end {
            End::Gone => (None, CloseCode::Normal),
            End::Exited(code) => (Some(ToClient::Exit { code }), CloseCode::Normal),
            End::Failed(problem) => {
                let code = match problem.kind {
                    Kind::Unavailable => CloseCode::Away,
                    Kind::BadRequest => CloseCode::Policy,
                    _ => CloseCode::Error,
                };
                let problem = problem.view(&self.path, &self.request_id);
                (Some(ToClient::Error { problem }), code)
            }
        };
        // Plain structs with text keys always serialise.
        if let Some(text) = last.and_then(|last| serde_json::to_string(&last).ok())
            && self.session.text(text).await.is_err()
        {
            return;
        }
        // The client may have gone first.
        let _ = self.session.close(Some(CloseReason::from(code))).await;
    }
}

fn framed(stream: OutputStream, bytes: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(match stream {
        OutputStream::Stdout => 1,
        OutputStream::Stderr => 2,
    });
    frame.extend_from_slice(bytes);
    frame.into()
}

/// Writes to the command's input. One that reads no more is no failure: its exit will tell.
async fn write(
    input: &mut Option<Pin<Box<dyn AsyncWrite + Send>>>,
    bytes: &[u8],
) -> Result<(), End> {
    let written = match input {
        Some(open) => {
            let written = open.write_all(bytes).await;
            written.and(open.flush().await)
        }
        None => Ok(()),
    };
    if written.is_err() {
        *input = None;
    }
    Ok(())
}

async fn command(
    text: &str,
    input: &mut Option<Pin<Box<dyn AsyncWrite + Send>>>,
    control: &dyn ExecControl,
) -> Result<(), End> {
    match serde_json::from_str(text) {
        Ok(FromClient::Resize { columns, rows }) => Ok(control.resize(columns, rows).await?),
        Ok(FromClient::CloseStdin {}) => {
            if let Some(mut open) = input.take() {
                // As in `write`.
                let _ = open.shutdown().await;
            }
            Ok(())
        }
        Err(error) => Err(End::Failed(misunderstood(&error.to_string()))),
    }
}

fn misunderstood(why: &str) -> Problem {
    let detail = format!("a frame cannot be understood: {why}");
    Problem::new(Kind::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_frames_of_clients() {
        let read = |text: &str| serde_json::from_str::<FromClient>(text).ok();
        let rows = [
            (
                r#"{"type":"resize","columns":80,"rows":24}"#,
                Some(FromClient::Resize {
                    columns: 80,
                    rows: 24,
                }),
            ),
            (r#"{"type":"close_stdin"}"#, Some(FromClient::CloseStdin {})),
            (r#"{"type":"close_stdin","now":true}"#, None),
            (r#"{"type":"resize","columns":80}"#, None),
            (r#"{"type":"resize","columns":-1,"rows":2}"#, None),
            (r#"{"type":"dance"}"#, None),
            ("", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(read(text), wanted, "{text}");
        }
    }

    #[test]
    fn output_frames_begin_with_their_stream() {
        assert_eq!(framed(OutputStream::Stdout, b"ab"), &b"\x01ab"[..]);
        assert_eq!(framed(OutputStream::Stderr, b""), &b"\x02"[..]);
    }
}
