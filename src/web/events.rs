//! `/api/v1/events`: what happened, as a list and as a stream that can be resumed.

use super::error::{Kind, Problem, ProblemView};
use super::extract::InQuery;
use super::params::Limit;
use super::sse::{self, Frame, StreamEvent};
use super::state::{Api, Who};
use crate::domain::id::AppName;
use crate::domain::view::{EventView, Page};
use crate::ports::control::EventStream;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something changed.
    Info,
    /// Someone may have to act.
    Warn,
    /// Someone has to act.
    Error,
}

impl Level {
    fn of(word: &str) -> Self {
        match word {
            "error" => Level::Error,
            "warn" => Level::Warn,
            _ => Level::Info,
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// At most this many of the last events.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
    /// Of this app.
    #[param(value_type = Option<String>, max_length = 253, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$")]
    pub app: Option<AppName>,
    /// Of this kind, or of those that begin with what stands before `*`, as in `actor_*`.
    pub kind: Option<String>,
    /// Of this level or a graver one.
    #[param(value_type = Option<Level>)]
    pub level: Option<Level>,
    /// Go on as they come (`text/event-stream`).
    #[param(value_type = Option<bool>, default = false)]
    pub watch: bool,
}

/// Which events a caller wants and may see.
#[derive(Debug, Clone)]
pub struct Filter {
    who: Who,
    app: Option<AppName>,
    kind: Option<String>,
    level: Option<Level>,
}

impl Filter {
    /// Of these kinds only.
    pub fn of_kind(who: Who, kind: &str) -> Self {
        Self {
            who,
            app: None,
            kind: Some(kind.to_owned()),
            level: None,
        }
    }

    fn new(who: Who, query: &EventsQuery) -> Self {
        Self {
            who,
            app: query.app.clone(),
            kind: query.kind.clone(),
            level: query.level,
        }
    }

    fn fits(&self, event: &EventView) -> bool {
        let principal = &self.who.principal;
        let visible = match &event.app {
            Some(app) => principal.may_read(app),
            None => principal.may_read_all(),
        };
        let app = self.app.as_ref().map(AppName::as_str);
        visible
            && app.is_none_or(|app| event.app.as_deref() == Some(app))
            && self
                .kind
                .as_deref()
                .is_none_or(|kind| match kind.strip_suffix('*') {
                    Some(prefix) => event.kind.starts_with(prefix),
                    None => event.kind == kind,
                })
            && self
                .level
                .is_none_or(|level| Level::of(&event.level) >= level)
    }
}

/// Lists the last events, oldest first, or watches them
///
/// With `watch=true`: the last events, an event `synced`, then new ones as they come, each with its
/// number as `id`. `Last-Event-ID` resumes after an event; 410 says that it is too old, and to list
/// again. A comment comes every 15 s. Tokens of single apps see events of those only.
#[utoipa::path(get, path = "/api/v1/events",
    params(EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "With `watch`: resume after this event")),
    responses(
        (status = 200, description = "Events", content(
            (Page<EventView> = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 410, description = "The event to resume after is too old; list again", body = ProblemView, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests or streams", body = ProblemView, content_type = "application/problem+json")))]
pub async fn list_events(
    api: Data<Api>,
    who: Who,
    query: InQuery<EventsQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    if let Some(app) = &query.app {
        who.must_read(Some(app.as_str()))?;
    }
    let filter = Filter::new(who.clone(), &query);
    if query.watch {
        return watch(&api, &who, &request, filter, query.limit.0);
    }
    let items = last(&api, &filter, query.limit.0);
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}

/// How many events are looked through for those that fit.
const LOOKED_THROUGH: usize = 10_000;

fn last(api: &Api, filter: &Filter, limit: usize) -> Vec<EventView> {
    let mut events = api.control.recent_events(LOOKED_THROUGH);
    events.retain(|event| filter.fits(event));
    let surplus = events.len().saturating_sub(limit);
    events.split_off(surplus)
}

/// Answers with a stream of the events that fit: the last ones or those after `Last-Event-ID`,
/// `synced`, then new ones.
///
/// # Errors
/// 400, 410 or 429, see [`list_events`].
pub fn watch(
    api: &Api,
    who: &Who,
    request: &HttpRequest,
    filter: Filter,
    limit: usize,
) -> Result<HttpResponse, Problem> {
    let resume = match sse::last_event_id(request)? {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            let detail = format!("Last-Event-ID {text:?} is no number of an event");
            Problem::new(Kind::BadParameter, detail)
        })?),
    };
    // Subscribed before the list is read, so that no event falls between.
    let EventStream::Events(live) = api.control.events(resume) else {
        let detail = "the event to resume after is no longer kept; list the events and watch anew";
        return Err(Problem::new(Kind::Gone, detail));
    };
    let newest = api.control.recent_events(1).last().map(|event| event.seq);
    match resume {
        Some(resume) => {
            let missed_to = newest.filter(|newest| *newest > resume);
            sse::respond(api, who, resumed(live, filter, missed_to))
        }
        None => {
            let listed = last(api, &filter, limit);
            let newest = listed.last().map(|event| event.seq).max(newest);
            let fresh = live.filter(move |event| {
                std::future::ready(
                    newest.is_none_or(|newest| event.seq > newest) && filter.fits(event),
                )
            });
            let synced = Frame::synced(newest.map(|seq| seq.to_string()));
            let start = listed
                .into_iter()
                .map(|event| frame(&event))
                .chain([synced]);
            let frames = stream::iter(start.collect::<Vec<_>>());
            sse::respond(api, who, frames.chain(fresh.map(|event| frame(&event))))
        }
    }
}

/// What was missed, up to `missed_to`, then `synced`, then what is new.
fn resumed(
    live: impl Stream<Item = EventView> + 'static,
    filter: Filter,
    missed_to: Option<u64>,
) -> impl Stream<Item = Frame> + 'static {
    let start = stream::iter(missed_to.is_none().then(|| Frame::synced(None)));
    let mut waits_for = missed_to;
    start.chain(live.flat_map(move |event| {
        let mut frames = Vec::with_capacity(2);
        if filter.fits(&event) {
            frames.push(frame(&event));
        }
        if waits_for.take_if(|seq| event.seq >= *seq).is_some() {
            frames.push(Frame::synced(Some(event.seq.to_string())));
        }
        stream::iter(frames)
    }))
}

fn frame(event: &EventView) -> Frame {
    Frame::object(Some(event.seq.to_string()), event)
}
