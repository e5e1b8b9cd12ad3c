//! `…/container/<container>/logs`: this instance's log stream.
//!
//! Parent: the container's supervisor. Reads everything that the container writes, once: into the node's
//! spool, from where the sinks have it, and the last lines into the cell, for crash reports. Reads the
//! engine's file where it can, else the engine's stream. Losing it loses nothing: the next incarnation goes on
//! where the spool says. Without a pipeline (simulated nodes) it only follows.

use crate::actors::agent::cell::{ContainerCell, LINES_KEPT, Phase};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::id::ContainerId;
use crate::domain::log::{DOCKER, LineFormat, LogSource, PROCESS};
use crate::logging::pipe::Pipeline;
use crate::logging::pipe::pipeline::ReaderHandle;
use crate::logging::sources::container::{ContainerReader, DeclaredFile, Round};
use crate::logging::sources::file::Mark;
use crate::logging::sources::stream::StreamSource;
use crate::logging::spool::{Batch, SpoolError};
use crate::ports::runtime::{LogOrigin, LogsRequest, OutputLine, RuntimeError, RuntimeKind};
use actix::prelude::*;
use futures_util::StreamExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The pause before a broken stream is taken up again.
const RETRY: Duration = Duration::from_secs(1);
/// The first and the longest pause after a look that found nothing new, where news are not told.
const IDLE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// The longest one where they are.
const TOLD: Duration = Duration::from_secs(10);
/// The pause while the spool is full.
const FULL: Duration = Duration::from_millis(200);
/// How long the removal of a container waits for its output.
const DRAIN: Duration = Duration::from_secs(10);
/// Where LAIN's log files are in a container.
const LOG_DIR: &str = "/lain/logs";
/// The log file whose lines are metrics, unless `lain.yaml` says otherwise.
const METRICS_FILE: &str = "monitor.log";

/// What a [`LogStream`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// The container.
    pub cell: Arc<ContainerCell>,
}

/// The actor.
pub struct LogStream {
    args: Args,
}

impl Actor for LogStream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let args = self.args.clone();
        match self.args.shared.pipeline() {
            Some(pipeline) => {
                ctx.spawn(async move { read_for_ever(&args, &pipeline).await }.into_actor(self));
            }
            None => {
                ctx.spawn(async move { follow_for_ever(&args).await }.into_actor(self));
            }
        }
    }
}

impl Child for LogStream {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self { args }))
    }
}

/// Resolves once the container has been made.
async fn made(cell: &ContainerCell) -> ContainerId {
    let mut changed = cell.subscribe();
    loop {
        if let Some(id) = cell.look(|o| o.is_alive().then(|| o.id.clone()).flatten()) {
            return id;
        }
        changed.changed().await;
    }
}

/// Where lines of this container come from.
fn source_of(
    shared: &Shared,
    pipeline: &Pipeline,
    cell: &ContainerCell,
    id: &ContainerId,
    origin: &LogOrigin,
) -> LogSource {
    let instance = cell.instance();
    LogSource {
        source_type: match shared.runtime.kind() {
            RuntimeKind::Process => PROCESS.to_owned(),
            RuntimeKind::Docker | RuntimeKind::Simulated => DOCKER.to_owned(),
        },
        host: pipeline.host.host.clone(),
        node: pipeline.host.node.clone(),
        app: instance.app.to_string(),
        proc_type: instance.proc_type.to_string(),
        proc: instance.proc.to_string(),
        instance: instance.no,
        revision: cell.assignment.version,
        container_id: id.to_string(),
        container_name: cell.name().to_owned(),
        container_created_at: origin.created_at.map(Into::into),
        image: origin.image.clone(),
        labels: origin.labels.clone(),
        file: None,
    }
}

/// The log files that the proc declares, by the annotation on its container, with their paths on this host.
fn declared(cell: &ContainerCell) -> Vec<DeclaredFile> {
    let spec = &cell.assignment.container;
    let annotation = spec.labels.get(crate::domain::labels::ANNOTATION);
    let annotation: serde_json::Value = annotation
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let Some(mount) = spec.mounts.iter().find(|m| m.target == LOG_DIR) else {
        return Vec::new();
    };
    let names = annotation["logs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|n| n.as_str());
    // `lain.yaml` refuses absolute names; one that climbs out is not ours to read.
    let inside = names.filter(|name| !name.split('/').any(|part| part == ".."));
    let form = |name: &str| {
        let told = annotation["log_formats"][name].as_str();
        match told.and_then(LineFormat::from_word) {
            Some(form) => form,
            // LAIN's name for it.
            None if name == METRICS_FILE => LineFormat::Metrics,
            None => LineFormat::Plain,
        }
    };
    inside
        .map(|name| DeclaredFile {
            name: name.to_owned(),
            path: PathBuf::from(&mount.source).join(name),
            form: form(name),
        })
        .collect()
}

/// Takes the reader out when its actor ends.
struct Entered<'a> {
    pipeline: &'a Pipeline,
    container: String,
    handle: Arc<ReaderHandle>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.pipeline.leave(&self.container, &self.handle);
    }
}

async fn read_for_ever(args: &Args, pipeline: &Arc<Pipeline>) {
    let Args { shared, cell } = args;
    loop {
        let id = made(cell).await;
        let origin = match shared.runtime.log_origin(&id).await {
            Ok(origin) => origin,
            Err(error) => {
                tracing::debug!(container = cell.name(), %error, "where its output is cannot be told yet");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let source = Arc::new(source_of(shared, pipeline, cell, &id, &origin));
        let entered = Entered {
            pipeline,
            container: id.to_string(),
            handle: pipeline.enter(id.as_str()),
        };
        let (keep, files) = (LINES_KEPT, declared(cell));
        // Of the declared files alone, where the engine's stream is read beside them.
        let unasked = Arc::new(ReaderHandle::default());
        let reader = ContainerReader::open(pipeline, &source, &origin, &files, keep);
        match origin.file.is_some() {
            true => read_files(reader, cell, &entered.handle).await,
            false => {
                let stream = read_stream(args, pipeline, &id, &source, &entered.handle);
                match reader.is_empty() {
                    true => stream.await,
                    false => drop(tokio::join!(stream, read_files(reader, cell, &unasked))),
                }
            }
        }
    }
}

/// Reads files until the actor ends.
async fn read_files(mut reader: ContainerReader, cell: &ContainerCell, handle: &Arc<ReaderHandle>) {
    let (mut pause, mut trouble, mut answered) = (IDLE.0, false, 0);
    let news = Arc::new(Notify::new());
    let longest = if reader.watch(&news) { TOLD } else { IDLE.1 };
    loop {
        let asked = handle.asked();
        if !reader.has_news() && asked == answered {
            tokio::select! {
                () = handle.wake.notified() => {}
                // What is written line by line is read in handfuls.
                () = news.notified() => tokio::time::sleep(IDLE.0).await,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
            }
            continue;
        }
        let work = tokio::task::spawn_blocking(move || {
            let outcome = reader.round();
            (reader, outcome)
        });
        let outcome;
        (reader, outcome) = match work.await {
            Ok(both) => both,
            // A defect of the reader: its actor crashes with it, and the next one reads on.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let (lines, seen) = reader.take_lines();
        if seen > 0 {
            pause = IDLE.0;
            cell.note(|o| {
                let before = o.lines_seen;
                lines.into_iter().for_each(|line| o.push_line(line));
                o.lines_seen = before + seen;
            });
        }
        match outcome {
            Ok(Round::More) => {}
            Ok(Round::End) => {
                if asked > answered {
                    answered = asked;
                    if let Err(error) = reader.finish() {
                        tracing::warn!(container = cell.name(), %error, "the end of its output is missing");
                    }
                    handle.drained(asked);
                }
                if seen == 0 {
                    // A line that has no end yet, or one that waits for what may belong to it.
                    tokio::time::sleep(pause.min(IDLE.1)).await;
                    pause = (pause * 2).min(longest);
                }
                trouble = false;
            }
            Ok(Round::Full) => tokio::time::sleep(FULL).await,
            Err(error) => {
                if !trouble {
                    tracing::warn!(container = cell.name(), %error, "its output waits");
                }
                trouble = true;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Reads the engine's stream until the actor ends.
async fn read_stream(
    args: &Args,
    pipeline: &Pipeline,
    id: &ContainerId,
    source: &Arc<LogSource>,
    handle: &Arc<ReaderHandle>,
) {
    let key = &source.container_id;
    let mark = pipeline
        .spool
        .place(key)
        .and_then(|bytes| Mark::parse(&bytes));
    let mut stream = StreamSource::new(Arc::clone(source), key, mark.as_ref());
    loop {
        let mut lines = args
            .shared
            .runtime
            .logs(id, stream.request())
            .ready_chunks(1024);
        loop {
            let chunk = tokio::select! {
                chunk = lines.next() => chunk,
                // A stream ends with its container's run; what a drain asks for has come by then.
                () = handle.wake.notified() => {
                    let rest = tokio::time::timeout(RETRY, lines.next()).await;
                    match rest { Ok(chunk) => chunk, Err(_) => { handle.drained(handle.asked()); continue } }
                }
            };
            let Some(chunk) = chunk else { break };
            let lines: Vec<OutputLine> = chunk.into_iter().filter_map(Result::ok).collect();
            take(args, pipeline, &mut stream, lines).await;
        }
        handle.drained(handle.asked());
        tokio::time::sleep(RETRY).await;
    }
}

async fn take(args: &Args, pipeline: &Pipeline, stream: &mut StreamSource, lines: Vec<OutputLine>) {
    let mut batch = Batch::new();
    for line in lines {
        if stream.take(&line, &mut batch) {
            args.cell.note(|o| o.push_line(line.line));
        }
    }
    stream.note(&mut batch);
    while let Err(error) = pipeline.spool.append(&mut batch) {
        // The stream waits, and with it the engine's buffers.
        match error {
            SpoolError::Full { .. } => tokio::time::sleep(FULL).await,
            SpoolError::Io { .. } => {
                tracing::warn!(container = args.cell.name(), %error, "its output waits");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Ends a container if it runs, reads what it has printed to the end, and removes it.
///
/// # Errors
/// What the engine said.
pub async fn remove(shared: &Shared, id: &ContainerId) -> Result<(), RuntimeError> {
    let Some(pipeline) = shared.pipeline() else {
        return shared.runtime.remove(id).await;
    };
    // As abruptly as `remove` does, but with its output still there.
    match shared.runtime.stop(id, Duration::ZERO).await {
        Ok(_) | Err(RuntimeError::NoContainer(_)) => drain(shared, id).await,
        Err(error) => return Err(error),
    }
    shared.runtime.remove(id).await?;
    pipeline.forget(id.as_str());
    Ok(())
}

/// Waits until all that a container has printed is in the spool. One that nobody reads, such as an orphan, is
/// read here.
async fn drain(shared: &Shared, id: &ContainerId) {
    let Some(pipeline) = shared.pipeline() else {
        return;
    };
    match pipeline.drain(id.as_str(), DRAIN).await {
        Some(true) => return,
        Some(false) => {
            tracing::warn!(container = %id, "its last output may be missing: it was not read within {}s", DRAIN.as_secs());
            return;
        }
        None => {}
    }
    let Ok(origin) = shared.runtime.log_origin(id).await else {
        return;
    };
    let Some(source) = source_by_labels(shared, &pipeline, id, &origin).await else {
        return;
    };
    let mut reader = ContainerReader::open(&pipeline, &Arc::new(source), &origin, &[], 0);
    let read = tokio::task::spawn_blocking(move || {
        while let Ok(Round::More) = reader.round() {}
        reader.finish()
    });
    if let Ok(Err(error)) = read.await {
        tracing::warn!(container = %id, %error, "its last output is missing");
    }
}

/// What the labels of a container say, where it has no cell.
async fn source_by_labels(
    shared: &Shared,
    pipeline: &Pipeline,
    id: &ContainerId,
    origin: &LogOrigin,
) -> Option<LogSource> {
    use crate::domain::labels::{INSTANCE_NO, NAMESPACE, PROC, PROC_TYPE, VERSION};
    let status = shared.runtime.inspect(id).await.ok()?;
    let label = |name: &str| origin.labels.get(name).cloned().unwrap_or_default();
    Some(LogSource {
        source_type: match shared.runtime.kind() {
            RuntimeKind::Process => PROCESS.to_owned(),
            RuntimeKind::Docker | RuntimeKind::Simulated => DOCKER.to_owned(),
        },
        host: pipeline.host.host.clone(),
        node: pipeline.host.node.clone(),
        app: label(NAMESPACE),
        proc_type: label(PROC_TYPE),
        proc: label(PROC),
        instance: label(INSTANCE_NO).parse().unwrap_or_default(),
        revision: label(VERSION).parse().unwrap_or_default(),
        container_id: id.to_string(),
        container_name: status.name,
        container_created_at: origin.created_at.map(Into::into),
        image: origin.image.clone(),
        labels: origin.labels.clone(),
        file: None,
    })
}

async fn follow_for_ever(args: &Args) {
    let mut changed = args.cell.subscribe();
    loop {
        let id = loop {
            let running = args
                .cell
                .look(|o| (o.phase == Phase::Running).then(|| o.id.clone()).flatten());
            if let Some(id) = running {
                break id;
            }
            changed.changed().await;
        };
        let since = args.cell.look(|o| o.started_at);
        let request = LogsRequest {
            since,
            follow: true,
            ..LogsRequest::default()
        };
        let mut lines = args.shared.runtime.logs(&id, request);
        while let Some(Ok(line)) = lines.next().await {
            args.cell.note(|o| o.push_line(line.line));
        }
        tokio::time::sleep(RETRY).await;
    }
}
