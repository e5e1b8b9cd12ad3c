//! Output of a container, as Docker Engine kept it.
//!
//! Called by [`super::Docker::logs`]. A stream that follows ends when the container's run ends.

use super::Docker;
use super::error::Subject;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{LogsRequest, OutputLine, OutputStream, RuntimeError};
use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

/// A longer line is cut into several: nothing that a container prints may fill our memory.
const MAX_LINE: usize = 64 * 1024;

pub(super) fn stream(
    docker: Docker,
    id: ContainerId,
    request: LogsRequest,
) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
    let options = options(&request);
    let opened = async move {
        let client = docker.client().get().await?;
        let pieces = client.logs(id.as_str(), Some(options));
        let subject = id.clone();
        let pieces = pieces.map_err(move |e| {
            docker
                .client()
                .failure(e, Subject::container("read the output of", &subject))
        });
        Ok::<_, RuntimeError>(lines(pieces.boxed()))
    };
    stream::once(opened)
        .try_flatten()
        .try_filter(move |line| {
            let early = request.since.is_some_and(|since| line.at < since);
            let late = request.until.is_some_and(|until| line.at >= until);
            std::future::ready(!early && !late)
        })
        .boxed()
}

/// The engine is asked in whole seconds; the rest is cut off here.
fn options(request: &LogsRequest) -> LogsOptions {
    let seconds = |at: DateTime<Utc>| i32::try_from(at.timestamp()).unwrap_or(i32::MAX);
    let tail = request
        .tail
        .map_or_else(|| "all".to_owned(), |n| n.to_string());
    let builder = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .follow(request.follow)
        .tail(&tail);
    let builder = match request.since {
        Some(since) => builder.since(seconds(since)),
        None => builder,
    };
    match request.until {
        Some(until) => builder.until(seconds(until).saturating_add(1)).build(),
        None => builder.build(),
    }
}

type Pieces = BoxStream<'static, Result<LogOutput, RuntimeError>>;

/// Pieces as the engine sends them, put together to lines.
fn lines(pieces: Pieces) -> impl futures_util::Stream<Item = Result<OutputLine, RuntimeError>> {
    let state = (Some(pieces), Joiner::default());
    stream::unfold(state, |(mut pieces, mut joiner)| async move {
        loop {
            let Some(open) = &mut pieces else {
                return joiner.rest().map(|line| (Ok(line), (None, joiner)));
            };
            match open.next().await {
                Some(Ok(piece)) => {
                    if let Some(line) = joiner.push(&piece) {
                        return Some((Ok(line), (pieces, joiner)));
                    }
                }
                Some(Err(error)) => return Some((Err(error), (None, Joiner::default()))),
                None => pieces = None,
            }
        }
    })
}

/// Puts the pieces together into which the engine cuts lines of more than 16 KiB.
#[derive(Debug, Default)]
struct Joiner {
    stdout: Option<(DateTime<Utc>, Vec<u8>)>,
    stderr: Option<(DateTime<Utc>, Vec<u8>)>,
}

impl Joiner {
    /// Takes a piece; gives the line that it completes.
    fn push(&mut self, piece: &LogOutput) -> Option<OutputLine> {
        let stream = match piece {
            LogOutput::StdErr { .. } => OutputStream::Stderr,
            _ => OutputStream::Stdout,
        };
        let held = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        let (at, text) = stamped(piece.as_ref());
        let (_, line) = held.get_or_insert_with(|| (at.unwrap_or_else(Utc::now), Vec::new()));
        line.extend_from_slice(text);
        if !line.ends_with(b"\n") && line.len() < MAX_LINE {
            return None;
        }
        held.take().map(|held| finished(held, stream))
    }

    /// What is left when the output has ended without a newline.
    fn rest(&mut self) -> Option<OutputLine> {
        let stdout = self
            .stdout
            .take()
            .map(|held| finished(held, OutputStream::Stdout));
        stdout.or_else(|| {
            self.stderr
                .take()
                .map(|held| finished(held, OutputStream::Stderr))
        })
    }
}

fn finished((at, mut line): (DateTime<Utc>, Vec<u8>), stream: OutputStream) -> OutputLine {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    OutputLine {
        at,
        stream,
        line: String::from_utf8_lossy(&line).into_owned(),
    }
}

/// Takes off the RFC 3339 instant and the space that the engine puts before each piece.
fn stamped(piece: &[u8]) -> (Option<DateTime<Utc>>, &[u8]) {
    let Some(space) = piece.iter().take(40).position(|b| *b == b' ') else {
        return (None, piece);
    };
    let stamp = std::str::from_utf8(&piece[..space]).ok();
    match stamp.and_then(|s| DateTime::parse_from_rfc3339(s).ok()) {
        Some(at) => (Some(at.with_timezone(&Utc)), &piece[space + 1..]),
        None => (None, piece),
    }
}
