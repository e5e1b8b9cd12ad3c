//! Crash reports and the events of a container's life. Called by the `process` actor.

use crate::actors::agent::cell::{ContainerCell, LINES_KEPT};
use crate::actors::agent::paths;
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::domain::crash::{CrashCause, CrashReport, Exit};
use crate::domain::id::{CrashId, ProcType};
use crate::logging::event::own;
use crate::ports::runtime::LogsRequest;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// What is said of a crash of a temporary proc.
const LAST: &str = "not restarted: its restart type is temporary";
/// What is said of a crash that is not followed by a restart.
const GIVEN_UP: &str = "given up on this node; tried again slowly";
/// The same of a proc that runs to its end.
const FAILED: &str = "given up: the run has failed";

/// How long the engine may take to hand over the last lines.
const LINES_WITHIN: Duration = Duration::from_secs(2);

/// A new id that sorts by time.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Reports a crash: an event at once, and a report that is completed with the last lines of output and
/// then kept. Never delays the restart.
pub fn report(shared: &Arc<Shared>, cell: &Arc<ContainerCell>, cause: CrashCause) {
    report_with(shared, cell, cause, None);
}

/// As [`report`], for what is never restarted.
pub fn report_last(shared: &Arc<Shared>, cell: &Arc<ContainerCell>, cause: CrashCause) {
    report_with(shared, cell, cause, Some(LAST));
}

/// As [`report`], for what will not get better by trying again.
pub fn report_hopeless(shared: &Arc<Shared>, cell: &Arc<ContainerCell>, cause: CrashCause) {
    report_with(shared, cell, cause, Some(given_up(cell)));
}

/// What is said of a crash that is not followed by a restart on this node: one that runs to its end has failed.
fn given_up(cell: &ContainerCell) -> &'static str {
    match cell.instance().proc_type {
        ProcType::Oneshot | ProcType::Cron => FAILED,
        ProcType::Web | ProcType::Worker | ProcType::Portal => GIVEN_UP,
    }
}

fn report_with(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    cause: CrashCause,
    known_action: Option<&str>,
) {
    let now = shared.clock.monotonic();
    let period = cell.assignment.restart.period;
    let (in_window_now, uptime, lines, probes) = cell.note(|o| {
        let uptime = o
            .running_since
            .map_or(Duration::ZERO, |at| now.saturating_sub(at));
        let in_window = o.push_crash(now, period);
        (
            in_window,
            uptime,
            o.lines.iter().cloned().collect(),
            o.probes.iter().cloned().collect(),
        )
    });
    let Ok(id) = CrashId::new(new_id()) else {
        return;
    };
    let report = CrashReport {
        id,
        at: shared.clock.now_utc(),
        instance: cell.instance().clone(),
        node: shared.settings.node.clone(),
        path: paths::process(shared, cell.name()),
        version: cell.assignment.version,
        container: cell.name().to_owned(),
        cause,
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        crashes_in_window: in_window_now,
        action: match known_action {
            Some(action) => action.to_owned(),
            None => action(
                in_window_now,
                cell.assignment.restart.intensity,
                given_up(cell),
            ),
        },
        last_lines: lines,
        probes,
    };
    cell.note(|o| o.last_crash = Some(Arc::new(report.clone())));
    shared.hub.emit(
        Event::new(
            "instance_crashed",
            Level::Warn,
            format!(
                "{} crashed: {}; {}",
                report.instance, report.cause, report.action
            ),
        )
        .instance(&report.instance)
        .node(&report.node)
        .path(&report.path)
        .crash(&report.id),
    );
    let (shared, cell) = (Arc::clone(shared), Arc::clone(cell));
    actix_rt::spawn(async move { complete(&shared, &cell, report).await });
}

/// What the supervisor is about to do, from the same figures that it decides by.
fn action(in_window: u32, intensity: u32, given_up: &str) -> String {
    match in_window {
        n if n > intensity => given_up.to_owned(),
        1 => "restarted at once".to_owned(),
        n => format!("restarted after a pause (crash {n} of {intensity} allowed in the window)"),
    }
}

async fn complete(shared: &Arc<Shared>, cell: &Arc<ContainerCell>, mut report: CrashReport) {
    if let Some(id) = cell.look(|o| o.id.clone()) {
        let request = LogsRequest {
            tail: Some(LINES_KEPT),
            ..LogsRequest::default()
        };
        let lines = shared
            .runtime
            .logs(&id, request)
            .filter_map(|line| async { line.ok() })
            .map(|l| l.line);
        if let Ok(lines) = tokio::time::timeout(LINES_WITHIN, lines.collect::<Vec<_>>()).await
            && !lines.is_empty()
        {
            report.last_lines = lines;
        }
    }
    cell.note(|o| {
        if o.last_crash.as_ref().is_some_and(|c| c.id == report.id) {
            o.last_crash = Some(Arc::new(report.clone()));
        }
    });
    if let Some(pipeline) = shared.pipeline() {
        // A crash stands among the lines around it.
        pipeline.emit(&own::crash(&report, &pipeline.host.host, pipeline.number()));
    }
    shared.recorder.send(Record::Crash(Box::new(report)));
}

/// Tells that a container runs: started, restarted, or found running.
pub fn announce_start(shared: &Shared, cell: &ContainerCell, adopted: bool) {
    let (restarts, crash) =
        cell.look(|o| (o.restarts, o.last_crash.as_ref().map(|c| c.id.clone())));
    let (kind, verb) = match (adopted, restarts) {
        (true, _) => ("instance_adopted", "found running"),
        (false, 0) => ("instance_started", "started"),
        (false, _) => ("instance_restarted", "restarted"),
    };
    let mut event = Event::new(
        kind,
        Level::Info,
        format!("{} {verb} as {}", cell.instance(), cell.name()),
    )
    .instance(cell.instance())
    .node(&shared.settings.node)
    .path(paths::process(shared, cell.name()));
    if kind == "instance_restarted" {
        shared
            .recorder
            .send(Record::Restarted(cell.instance().clone()));
        if let Some(crash) = crash {
            event = event.crash(crash);
        }
    }
    shared.hub.emit(event);
}

/// Tells that a container ended and is not to run again.
pub fn announce_finish(shared: &Shared, cell: &ContainerCell, exit: &Exit) {
    shared.hub.emit(
        Event::new(
            "instance_finished",
            Level::Info,
            format!("{} ended: {exit}", cell.instance()),
        )
        .instance(cell.instance())
        .node(&shared.settings.node)
        .path(paths::process(shared, cell.name())),
    );
}
