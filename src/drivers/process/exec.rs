//! Further commands beside a container's process, with or without a terminal.
//!
//! Called by [`super::Processes::exec`]. A command ends when its session is dropped.

use super::command::{cannot_run, check, make_mounts, prepare, words};
use super::container::Container;
use super::{failed, io_failed};
use crate::drivers::pidfd::watched;
use crate::ports::runtime::{
    ContainerSpec, ExecControl, ExecRequest, ExecSession, OutputStream, RuntimeError,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

type Piece = Result<(OutputStream, Vec<u8>), RuntimeError>;

/// Output read at a time.
const CHUNK: usize = 8 * 1024;

pub(super) fn run(
    container: &Container,
    request: &ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let spec = container.spec();
    if container.still_runs().is_none() {
        return Err(RuntimeError::Refused {
            action: format!("run a command in container {}", spec.name),
            reason: "it is not running".to_owned(),
        });
    }
    launch(spec, &request.command, request)
}

/// Runs a command as if in a container made from `spec`, or the spec's own command.
pub(super) fn one_off(
    spec: &ContainerSpec,
    request: &ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    make_mounts(spec)?;
    if !request.command.is_empty() {
        return launch(spec, &request.command, request);
    }
    check(spec)?;
    launch(spec, &words(spec).cloned().collect::<Vec<_>>(), request)
}

fn launch(
    spec: &ContainerSpec,
    words: &[String],
    request: &ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    // `setsid` makes the terminal the command's own, which only the child itself can do.
    let setsid = ["setsid", "--ctty", "--wait"].map(str::to_owned);
    let prefix = setsid.iter().filter(|_| request.tty.is_some());
    let mut command = prepare(spec, prefix.chain(words))?;
    command.envs(request.env.iter().map(|(key, value)| (key, value)));
    let program = words.first().cloned().unwrap_or_default();
    let spawn = |command: std::process::Command| {
        let spawned = Command::from(command).kill_on_drop(true).spawn();
        spawned.map_err(|e| cannot_run(spec, &program, &e))
    };
    match request.tty {
        None => {
            let input = if request.stdin {
                Stdio::piped()
            } else {
                Stdio::null()
            };
            command
                .stdin(input)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            spawn(command).map(piped)
        }
        Some(size) => {
            let terminal = Terminal::open(size).map_err(|e| io_failed("open a terminal", &e))?;
            let side = || {
                terminal
                    .command_side()
                    .map_err(|e| io_failed("open a terminal", &e))
            };
            command.stdin(side()?).stdout(side()?).stderr(side()?);
            spawn(command).and_then(|child| on_terminal(child, terminal))
        }
    }
}

fn piped(mut child: Child) -> ExecSession {
    let stdout = child
        .stdout
        .take()
        .map(|out| pieces(out, OutputStream::Stdout));
    let stderr = child
        .stderr
        .take()
        .map(|err| pieces(err, OutputStream::Stderr));
    let none = || stream::empty().boxed();
    let output = stream::select(stdout.unwrap_or_else(none), stderr.unwrap_or_else(none));
    let input: Pin<Box<dyn AsyncWrite + Send>> = match child.stdin.take() {
        Some(input) => Box::pin(Input(Some(input))),
        None => Box::pin(tokio::io::sink()),
    };
    let control = Control {
        child: Mutex::new(child),
        terminal: None,
    };
    ExecSession {
        input,
        output: output.boxed(),
        control: Box::new(control),
    }
}

fn on_terminal(child: Child, terminal: Terminal) -> Result<ExecSession, RuntimeError> {
    let side = || {
        terminal
            .our_side()
            .map_err(|e| io_failed("open a terminal", &e))
    };
    let (reading, writing) = (side()?, side()?);
    let control = Control {
        child: Mutex::new(child),
        terminal: Some(terminal),
    };
    Ok(ExecSession {
        input: Box::pin(writing),
        output: pieces(reading, OutputStream::Stdout),
        control: Box::new(control),
    })
}

fn pieces(
    from: impl AsyncRead + Unpin + Send + 'static,
    which: OutputStream,
) -> BoxStream<'static, Piece> {
    stream::unfold(Some(from), move |from| async move {
        let mut from = from?;
        let mut chunk = vec![0; CHUNK];
        match from.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok((which, chunk)), Some(from)))
            }
            Err(error) => Some((Err(failed("read a command's output", error)), None)),
        }
    })
    .boxed()
}

/// A command's standard input, which ends when it is shut down.
struct Input(Option<ChildStdin>);

impl Input {
    fn open(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        let open = self.0.as_mut().map(Pin::new);
        open.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

struct Control {
    child: Mutex<Child>,
    terminal: Option<Terminal>,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), RuntimeError> {
        match &self.terminal {
            Some(terminal) => terminal
                .resize((columns, rows))
                .map_err(|e| io_failed("resize a terminal", &e)),
            None => Ok(()),
        }
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        let status = self.child.lock().await.wait().await;
        let status = status.map_err(|e| failed("wait for a command", e))?;
        let by_signal = status.signal().map(|signal| 128 + signal);
        Ok(status.code().or(by_signal).unwrap_or(super::UNKNOWN_EXIT))
    }
}

/// A pseudo-terminal (`pty(7)`).
struct Terminal {
    ours: Arc<OwnedFd>,
    theirs: std::path::PathBuf,
}

impl Terminal {
    fn open(size: (u16, u16)) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = std::ffi::OsString::from_vec(name.into_bytes()).into();
        let terminal = Self {
            ours: Arc::new(ours),
            theirs,
        };
        terminal.resize(size)?;
        Ok(terminal)
    }

    fn resize(&self, (columns, rows): (u16, u16)) -> io::Result<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.ours, size)?)
    }

    fn command_side(&self) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let no_ctty = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap_or_default();
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(no_ctty)
            .open(&self.theirs)
    }

    fn our_side(&self) -> io::Result<TerminalSide> {
        let fd = self.ours.as_fd().try_clone_to_owned()?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(TerminalSide(watched(
            fd,
            Interest::READABLE | Interest::WRITABLE,
        )?))
    }
}

/// Our side of a terminal.
struct TerminalSide(AsyncFd<OwnedFd>);

impl AsyncRead for TerminalSide {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let read = guard.try_io(|fd| {
                Ok(rustix::io::read(
                    fd.get_ref(),
                    buffer.initialize_unfilled(),
                )?)
            });
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The kernel's way to say that the other side is closed.
                Ok(Err(e)) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for TerminalSide {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
