//! `/api/v1/apps/{app}/logs`: the output of instances, as a list and as a stream.

use super::error::{Kind, Problem, ProblemView};
use super::extract::{InPath, InQuery};
use super::params::{AppPath, InstanceNo};
use super::procs::find_proc;
use super::sse::{self, Frame, StreamEvent};
use super::state::{Api, Who};
use crate::domain::id::ProcName;
use crate::domain::view::{LogLineView, Page};
use crate::ports::control::{ControlError, LogsQuery, Selector};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use std::collections::VecDeque;
use utoipa::IntoParams;

/// The most lines that a list has: the last ones.
const MAX_LINES: usize = 10_000;
/// The most bytes of lines that a list has.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Lines of each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Tail(usize);

impl Default for Tail {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Tail {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        let lines = value as usize;
        if lines <= MAX_LINES {
            Ok(Self(lines))
        } else {
            Err(format!("{value} is not from 0 to {MAX_LINES}"))
        }
    }
}

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct LinesQuery {
    /// Of this proc; absent: all.
    #[param(value_type = Option<String>, max_length = 63, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*$")]
    pub proc: Option<ProcName>,
    /// Of this instance of the proc; absent: all.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub instance: Option<InstanceNo>,
    /// At or after (RFC 3339).
    pub since: Option<DateTime<Utc>>,
    /// Before (RFC 3339).
    pub until: Option<DateTime<Utc>>,
    /// At most this many of the last lines of each instance.
    #[param(value_type = Option<u32>, maximum = 10000, default = 100)]
    pub tail: Tail,
    /// Go on as lines come, also over restarts and of new instances (`text/event-stream`).
    #[param(value_type = Option<bool>, default = false)]
    pub follow: bool,
}

/// Reads or follows the output of an app's instances, in order of time
///
/// A list has the last 10,000 lines (8 MiB) of what is asked for. A stream has an `id` for each line;
/// `Last-Event-ID` resumes after it.
#[utoipa::path(get, path = "/api/v1/apps/{app}/logs",
    params(AppPath, LinesQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "With `follow`: resume after this line")),
    responses(
        (status = 200, description = "Lines", content(
            (Page<LogLineView> = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 429, description = "Too many requests or streams", body = ProblemView, content_type = "application/problem+json")))]
pub async fn app_logs(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<LinesQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let app = api.control.app(&path.app).await?;
    match (&query.proc, query.instance) {
        (Some(proc), _) => drop(find_proc(app, proc.as_str())?),
        (None, Some(_)) => {
            let detail = "query parameter instance needs proc: which proc's instance";
            return Err(Problem::new(Kind::BadParameter, detail));
        }
        (None, None) => {}
    }
    let position = match sse::last_event_id(&request)? {
        Some(text) if query.follow => Some(Position::parse(&text)?),
        _ => None,
    };
    let lines = api
        .control
        .logs(wanted(&path.0, &query, position.as_ref()))
        .await?;
    if query.follow {
        return sse::respond(&api, &who, frames(lines, position, request));
    }
    let items = last(lines).await?;
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}

fn wanted(path: &AppPath, query: &LinesQuery, position: Option<&Position>) -> LogsQuery {
    LogsQuery {
        selector: Selector {
            app: path.app.clone(),
            proc: query.proc.clone(),
            instance: query.instance.map(|no| no.0),
        },
        since: position.map(|position| position.at).or(query.since),
        until: query.until,
        // Who resumes wants all that was missed.
        tail: position.is_none().then_some(query.tail.0),
        follow: query.follow,
    }
}

/// The last lines of a stream that ends, within bounds.
async fn last(
    mut lines: BoxStream<'static, Result<LogLineView, ControlError>>,
) -> Result<Vec<LogLineView>, Problem> {
    let (mut kept, mut bytes) = (VecDeque::new(), 0);
    while let Some(line) = lines.next().await {
        let line = line?;
        bytes += line.line.len();
        kept.push_back(line);
        while kept.len() > MAX_LINES || bytes > MAX_BYTES {
            let Some(dropped) = kept.pop_front() else {
                break;
            };
            bytes -= dropped.line.len();
        }
    }
    Ok(kept.into())
}

/// After which line: its time, and how many lines of that very time came up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    at: DateTime<Utc>,
    count: u32,
}

impl Position {
    fn parse(text: &str) -> Result<Self, Problem> {
        let parsed = text.split_once('/').and_then(|(at, count)| {
            let at = DateTime::parse_from_rfc3339(at).ok()?.to_utc();
            let count = count.parse().ok()?;
            Some(Self { at, count })
        });
        parsed.ok_or_else(|| {
            let detail = format!("Last-Event-ID {text:?} is no id of a line");
            Problem::new(Kind::BadParameter, detail)
        })
    }

    fn text(&self) -> String {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Nanos, true);
        format!("{at}/{}", self.count)
    }
}

/// Lines as events, without those up to `position`.
fn frames(
    lines: BoxStream<'static, Result<LogLineView, ControlError>>,
    position: Option<Position>,
    request: HttpRequest,
) -> impl Stream<Item = Frame> + 'static {
    let mut here: Option<Position> = None;
    let mut failed = false;
    lines.flat_map(move |line| {
        let frame = match line {
            _ if failed => None,
            Ok(line) => {
                let count = match &here {
                    Some(last) if last.at == line.at => last.count + 1,
                    _ => 1,
                };
                let now = Position { at: line.at, count };
                let seen = position
                    .as_ref()
                    .is_some_and(|p| now.at < p.at || (now.at == p.at && now.count <= p.count));
                let frame = (!seen).then(|| Frame::object(Some(now.text()), &line));
                here = Some(now);
                frame
            }
            Err(error) => {
                failed = true;
                Some(Frame::problem(&error.into(), &request))
            }
        };
        stream::iter(frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn line(second: u32, text: &str) -> LogLineView {
        LogLineView {
            at: format!("2026-01-01T00:00:{second:02}Z").parse().unwrap(),
            instance: "hello.web.web.i1".to_owned(),
            stream: "stdout".to_owned(),
            line: text.to_owned(),
        }
    }

    async fn ids(after: Option<Position>) -> Vec<String> {
        let lines = [
            line(1, "a"),
            line(2, "b"),
            line(2, "c"),
            line(2, "d"),
            line(3, "e"),
        ];
        let lines = stream::iter(lines.map(Ok)).boxed();
        let request = TestRequest::default().to_http_request();
        let frames: Vec<Frame> = frames(lines, after, request).collect().await;
        frames.into_iter().filter_map(|frame| frame.id).collect()
    }

    #[actix_web::test]
    async fn a_stream_resumes_after_any_line_without_loss_or_repetition() {
        let all = ids(None).await;
        assert_eq!(all.len(), 5);
        for (at, id) in all.iter().enumerate() {
            let rest = ids(Some(Position::parse(id).unwrap())).await;
            assert_eq!(rest, all[at + 1..], "after {id}");
        }
        for text in ["", "7", "2026-01-01T00:00:01Z", "x/1"] {
            assert!(Position::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_list_keeps_the_last_lines_within_bounds() {
        let many = stream::iter((0..25_000).map(|n| Ok(line(1, &n.to_string())))).boxed();
        let kept = last(many).await.unwrap();
        assert_eq!(kept.len(), MAX_LINES);
        assert_eq!(kept.last().unwrap().line, "24999");
        let huge = stream::iter((0..20).map(|_| Ok(line(1, &"x".repeat(1 << 20))))).boxed();
        assert_eq!(last(huge).await.unwrap().len(), 8);
    }
}
