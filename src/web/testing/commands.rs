//! Commands that run in no container: a handful of words, enough to test streams both ways.
//!
//! `echo words…`, `cat`, `exit code`, `warn words…` (to standard error), `size` (tells each resize),
//! `flood bytes`, `sleep`, and `break` (the engine fails).

use crate::ports::runtime::{ExecControl, ExecRequest, ExecSession, OutputStream, RuntimeError};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

type Chunk = Result<(OutputStream, Vec<u8>), RuntimeError>;

/// Starts a command.
///
/// # Errors
/// As an engine would: a command that is none of those above cannot be executed.
pub fn start(request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
    let words: Vec<&str> = request.command.iter().map(String::as_str).collect();
    let rest = words.get(1..).unwrap_or_default().join(" ");
    let (input, stdin) = tokio::io::duplex(4096);
    let (resized, sizes) = watch::channel(request.tty.unwrap_or((0, 0)));
    let mut code = 0;
    let output = match words.first().copied().unwrap_or_default() {
        "echo" => once(OutputStream::Stdout, rest),
        "warn" => once(OutputStream::Stderr, rest),
        "exit" => {
            code = rest.parse().unwrap_or(1);
            stream::empty().boxed()
        }
        "cat" => copied(stdin).boxed(),
        "size" => told(stdin, sizes).boxed(),
        "flood" => flood(rest.parse().unwrap_or(0)).boxed(),
        "sleep" => stream::pending().boxed(),
        "break" => stream::iter([Err(failed())]).boxed(),
        word => {
            return Err(RuntimeError::Refused {
                action: format!("execute {word}"),
                reason: "no such command".to_owned(),
            });
        }
    };
    let control = Control { code, resized };
    Ok(ExecSession {
        input: Box::pin(input),
        output,
        control: Box::new(control),
    })
}

fn failed() -> RuntimeError {
    RuntimeError::Failed {
        action: "read the output".to_owned(),
        reason: "the engine went away".to_owned(),
    }
}

fn once(to: OutputStream, text: String) -> stream::BoxStream<'static, Chunk> {
    stream::iter([Ok((to, format!("{text}\n").into_bytes()))]).boxed()
}

/// What comes in, until it ends.
fn copied(mut stdin: DuplexStream) -> ReceiverStream<Chunk> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(read) = stdin.read(&mut buffer).await {
            let chunk = Ok((OutputStream::Stdout, buffer[..read].to_vec()));
            if read == 0 || sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// The terminal's size, at first and each time that it changes, until input ends.
fn told(mut stdin: DuplexStream, mut sizes: watch::Receiver<(u16, u16)>) -> ReceiverStream<Chunk> {
    let (sender, receiver) = mpsc::channel(1);
    sizes.mark_changed();
    tokio::spawn(async move {
        let mut ignored = tokio::io::sink();
        let ended = tokio::io::copy(&mut stdin, &mut ignored);
        let telling = async {
            while sizes.changed().await.is_ok() {
                let (columns, rows) = *sizes.borrow_and_update();
                let text = format!("{columns}x{rows}\n").into_bytes();
                if sender.send(Ok((OutputStream::Stdout, text))).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = ended => {}
            () = telling => {}
        }
        // Nothing is kept in the sink.
        let _ = ignored.shutdown().await;
    });
    ReceiverStream::new(receiver)
}

/// This many bytes in chunks of 64 KiB, made only as they are taken.
fn flood(bytes: usize) -> impl stream::Stream<Item = Chunk> + Send {
    const CHUNK: usize = 64 * 1024;
    stream::iter((0..bytes.div_ceil(CHUNK)).map(move |at| {
        let size = CHUNK.min(bytes - at * CHUNK);
        Ok((OutputStream::Stdout, vec![b'x'; size]))
    }))
}

struct Control {
    code: i32,
    resized: watch::Sender<(u16, u16)>,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), RuntimeError> {
        self.resized.send_replace((columns, rows));
        Ok(())
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        Ok(self.code)
    }
}
