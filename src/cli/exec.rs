//! A remote command over a WebSocket: keys and standard input there, output and exit code back.
//!
//! Used by `enter` and `run`. Frames: to the server binary is standard input, text is
//! `{"type":"resize",…}` or `{"type":"close_stdin"}`; from the server binary is one byte of stream
//! (1 stdout, 2 stderr) and bytes, text is `{"type":"exit",…}` or `{"type":"error",…}`.

use crate::cli::client::Client;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::{Screen, terminal_size};
use crate::cli::problem::Problem;
use crate::cli::request::Target;
use crate::cli::tls;
use futures_util::{SinkExt, StreamExt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Deserialize;
use std::io::{Read, Write};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<tls::Connected>;

/// Runs `command` at `target` with this process's standard streams, and returns its exit code.
///
/// With a terminal on both sides it gets a terminal of the same size.
///
/// # Errors
/// Where the server refuses or the connection breaks before the command has ended.
pub async fn run(
    client: &Client,
    screen: &Screen,
    target: Target,
    command: &[String],
) -> Result<Exit> {
    let terminal = screen.stdin_is_terminal && screen.stdout_is_terminal;
    let mut target = target.query("stdin", true);
    for word in command {
        target = target.query("command", word);
    }
    if terminal {
        let (columns, rows) = terminal_size().unwrap_or((80, 24));
        target = target
            .query("tty", true)
            .query("columns", columns)
            .query("rows", rows);
    }
    let socket = connect(client, &target).await?;
    let _raw = terminal.then(RawMode::enter).transpose()?;
    converse(socket).await
}

async fn connect(client: &Client, target: &Target) -> Result<Socket> {
    let url = client.websocket_url(target)?;
    let wrong = |error: WsError| client.websocket_error(error);
    let mut request = url.as_str().into_client_request().map_err(wrong)?;
    if let Some(value) = client.authorization()? {
        request.headers_mut().insert("authorization", value);
    }
    let stream = tls::connect(client.connection()).await;
    let stream = stream.map_err(|error| wrong(WsError::Io(error)))?;
    let (socket, _) = client_async(request, stream).await.map_err(wrong)?;
    Ok(socket)
}

/// What the server says in text.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Exit {
        code: i64,
    },
    Error {
        problem: Problem,
    },
    #[serde(other)]
    Other,
}

async fn converse(mut socket: Socket) -> Result<Exit> {
    let mut input = read_stdin();
    let mut open = true;
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message)) => {
                    if let Some(exit) = heard(&message)? {
                        return Ok(exit);
                    }
                }
                Some(Err(error)) => return Err(broken(&error.to_string())),
                None => return Err(broken("the server closed it")),
            },
            bytes = input.recv(), if open => {
                let message = match bytes {
                    Some(bytes) => Message::binary(bytes),
                    None => {
                        open = false;
                        Message::text(r#"{"type":"close_stdin"}"#)
                    }
                };
                // A command that has ended reads no more: its exit code is about to come.
                let _ = socket.send(message).await;
            }
            _ = resized.recv() => if let Some((columns, rows)) = terminal_size() {
                let text = serde_json::json!({"type": "resize", "columns": columns, "rows": rows});
                let _ = socket.send(Message::text(text.to_string())).await;
            },
        }
    }
}

/// Takes one message; `Some` when the command has ended.
fn heard(message: &Message) -> Result<Option<Exit>> {
    match message {
        Message::Binary(bytes) => {
            match bytes.split_first() {
                Some((2, bytes)) => write(&mut std::io::stderr().lock(), bytes)?,
                Some((_, bytes)) => write(&mut std::io::stdout().lock(), bytes)?,
                None => {}
            }
            Ok(None)
        }
        Message::Text(text) => match serde_json::from_str(text) {
            Ok(Said::Exit { code }) => Ok(Some(Exit::Remote(exit_code(code)))),
            Ok(Said::Error { problem }) => Err(problem.into_error()),
            Ok(Said::Other) => Ok(None),
            Err(error) => Err(broken(&format!(
                "the server said what is not understood: {error}"
            ))),
        },
        Message::Close(_) => Err(broken("the server closed it")),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

/// A process's exit code is a byte; one that is not says at least that it is not 0.
fn exit_code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(255)
}

fn write(to: &mut impl Write, bytes: &[u8]) -> Result<()> {
    to.write_all(bytes)?;
    to.flush()?;
    Ok(())
}

fn broken(why: &str) -> CliError {
    CliError::new(
        Exit::Unreachable,
        format!("the connection ended before the command did: {why}"),
    )
    .hint("the command may still run; look with `lain ps` and `lain logs`")
}

/// Reading standard input blocks, so it has a thread of its own. The channel ends at its end.
fn read_stdin() -> Receiver<Vec<u8>> {
    let (send, receive) = channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if send.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receive
}

/// The terminal without line editing and signals of its own, until dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Result<Self> {
        let wrong = |error: rustix::io::Errno| {
            CliError::failed(format!("cannot use the terminal: {error}"))
        };
        let before = tcgetattr(std::io::stdin()).map_err(wrong)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(wrong)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal is gone if this fails.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_a_byte() {
        assert_eq!([0, 7, 255, 256, -1].map(exit_code), [0, 7, 255, 255, 255]);
    }

    #[test]
    fn what_the_server_says() {
        let exit = heard(&Message::text(r#"{"type":"exit","code":3}"#)).unwrap();
        assert_eq!(exit, Some(Exit::Remote(3)));
        assert_eq!(heard(&Message::text(r#"{"type":"later"}"#)).unwrap(), None);
        let text = r#"{"type":"error","problem":{"status":409,"title":"Conflict","detail":"not running"}}"#;
        let error = heard(&Message::text(text)).unwrap_err();
        assert_eq!(
            (error.exit, error.message.as_str()),
            (Exit::Conflict, "not running")
        );
        assert!(heard(&Message::text("x")).is_err());
    }
}
