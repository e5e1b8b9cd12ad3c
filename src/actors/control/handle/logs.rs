//! Output of instances, merged in order of time, and crash reports.

use super::Handle;
use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::control::nodes::ops;
use crate::actors::control::world;
use crate::actors::shared::Shared;
use crate::domain::crash::CrashReport;
use crate::domain::record::keys;
use crate::domain::view::{LogLineView, Page};
use crate::ports::control::{ControlError, CrashFilter, LogsQuery};
use crate::ports::runtime::{LogsRequest, OutputLine, OutputStream};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a follower looks for new instances.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The pause before a broken stream is taken up again.
const RETRY: Duration = Duration::from_millis(500);
/// Crash reports looked through for one page, at most.
const SCANNED: usize = 10_000;

type Lines = BoxStream<'static, Result<LogLineView, ControlError>>;

impl Handle {
    pub(super) fn read_logs(&self, query: LogsQuery) -> Result<Lines, ControlError> {
        self.find_app(&query.selector.app)?;
        if query.follow {
            return Ok(follow(Arc::clone(&self.shared), query));
        }
        let shared = Arc::clone(&self.shared);
        Ok(stream::once(async move { read_all(&shared, &query).await })
            .flat_map(stream::iter)
            .boxed())
    }

    pub(super) async fn list_crashes(
        &self,
        filter: CrashFilter,
    ) -> Result<Page<CrashReport>, ControlError> {
        let limit = filter.limit.max(1);
        let mut items: Vec<CrashReport> = Vec::new();
        let mut before = filter.after.as_deref().map(keys::crash);
        let mut scanned = 0;
        while items.len() <= limit && scanned < SCANNED {
            let page = self
                .shared
                .store
                .list_back(keys::CRASHES, before.as_deref(), 200)
                .await?;
            scanned += page.len();
            before = page.last().map(|e| e.key.clone());
            let end = page.len() < 200;
            for entry in &page {
                let report: CrashReport = world::decode(entry)?;
                if matches(&filter, &report) {
                    items.push(report);
                }
            }
            if end {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|r| r.id.to_string());
        Ok(Page { items, next })
    }
}

fn matches(filter: &CrashFilter, report: &CrashReport) -> bool {
    let id = &report.instance;
    filter.app.as_ref().is_none_or(|app| &id.app == app)
        && filter.proc.as_ref().is_none_or(|proc| &id.proc == proc)
        && filter.instance.is_none_or(|no| id.no == no)
}

/// The containers that a query is for, in order of their instances.
fn chosen(shared: &Shared, query: &LogsQuery) -> Vec<Arc<ContainerCell>> {
    let selector = &query.selector;
    let mut cells: Vec<_> = shared
        .node
        .all()
        .into_iter()
        .filter(|c| {
            let id = c.instance();
            id.app == selector.app
                && selector.proc.as_ref().is_none_or(|p| &id.proc == p)
                && selector.instance.is_none_or(|no| id.no == no)
        })
        .collect();
    cells.sort_by(|a, b| {
        (a.instance(), a.assignment.version).cmp(&(b.instance(), b.assignment.version))
    });
    cells
}

fn request(query: &LogsQuery, since: Option<DateTime<Utc>>, follow: bool) -> LogsRequest {
    LogsRequest {
        since: since.or(query.since),
        until: query.until,
        tail: query.tail,
        follow,
    }
}

fn view(cell: &ContainerCell, line: OutputLine) -> LogLineView {
    let stream = match line.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    LogLineView {
        at: line.at,
        instance: cell.instance().to_string(),
        stream: stream.to_owned(),
        line: line.line,
    }
}

async fn read_all(
    shared: &Arc<Shared>,
    query: &LogsQuery,
) -> Vec<Result<LogLineView, ControlError>> {
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for cell in chosen(shared, query) {
        let Some(id) = cell.look(|o| o.id.clone()) else {
            continue;
        };
        let mut output = ops::logs(shared, cell.node(), &id, request(query, None, false));
        while let Some(line) = output.next().await {
            match line {
                Ok(line) => lines.push(view(&cell, line)),
                Err(error) => failures.push(Err(error.into())),
            }
        }
    }
    // Stable: lines of one instance keep their order.
    lines.sort_by_key(|l| l.at);
    lines.into_iter().map(Ok).chain(failures).collect()
}

/// Follows all containers of a query, over restarts, and takes in those that are new.
fn follow(shared: Arc<Shared>, query: LogsQuery) -> Lines {
    struct State {
        shared: Arc<Shared>,
        query: LogsQuery,
        open: HashMap<String, ()>,
        streams: stream::SelectAll<BoxStream<'static, LogLineView>>,
        first: bool,
    }
    let state = State {
        shared,
        query,
        open: HashMap::new(),
        streams: stream::SelectAll::new(),
        first: true,
    };
    stream::unfold(state, |mut state| async move {
        loop {
            for cell in chosen(&state.shared, &state.query) {
                if state.open.insert(cell.name().to_owned(), ()).is_none() {
                    let tail = if state.first { state.query.tail } else { None };
                    let query = LogsQuery {
                        tail,
                        ..state.query.clone()
                    };
                    state
                        .streams
                        .push(follow_one(Arc::clone(&state.shared), cell, query));
                }
            }
            state.first = false;
            if state.streams.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let next = tokio::time::timeout(LOOK_AGAIN, state.streams.next()).await;
            if let Ok(Some(line)) = next {
                return Some((Ok(line), state));
            }
        }
    })
    .boxed()
}

/// Follows one container until it is no longer wanted; over restarts it goes on after the last line seen.
fn follow_one(
    shared: Arc<Shared>,
    cell: Arc<ContainerCell>,
    query: LogsQuery,
) -> BoxStream<'static, LogLineView> {
    struct State {
        shared: Arc<Shared>,
        cell: Arc<ContainerCell>,
        query: LogsQuery,
        output: Option<BoxStream<'static, Result<OutputLine, crate::ports::runtime::RuntimeError>>>,
        last: Option<DateTime<Utc>>,
    }
    let state = State {
        shared,
        cell,
        query,
        output: None,
        last: None,
    };
    stream::unfold(state, |mut state| async move {
        loop {
            if state.output.is_none() {
                // One that is no longer wanted has nothing more to say.
                state.shared.node.get(state.cell.name())?;
                let id = state.cell.look(|o| {
                    (!matches!(o.phase, Phase::Pending(_)))
                        .then(|| o.id.clone())
                        .flatten()
                });
                match id {
                    Some(id) => {
                        let mut request = request(&state.query, state.last, true);
                        if let Some(last) = state.last {
                            // The instant of the last line is included in `since`: go just past it.
                            request.since = Some(last + chrono::TimeDelta::nanoseconds(1));
                            request.tail = None;
                        }
                        let node = state.cell.node();
                        state.output = Some(ops::logs(&state.shared, node, &id, request));
                    }
                    None => {
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                }
            }
            let Some(output) = &mut state.output else {
                continue;
            };
            match output.next().await {
                Some(Ok(line)) => {
                    state.last = Some(line.at);
                    return Some((view(&state.cell, line), state));
                }
                Some(Err(_)) | None => {
                    state.output = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    })
    .boxed()
}
