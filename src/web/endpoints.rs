//! `/api/v1/apps/{app}/endpoints`: where instances answer now, for clients and routers to follow.

use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery};
use super::params::AppPath;
use super::sse::{self, Frame, StreamEvent};
use super::state::{Api, Who};
use crate::domain::id::{AppName, ProcName};
use crate::domain::view::{EndpointView, Page, endpoints};
use crate::ports::control::{Control, ControlError};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// Which endpoints.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EndpointsQuery {
    /// Of this proc.
    #[param(value_type = Option<String>, max_length = 63, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*$")]
    pub proc: Option<ProcName>,
    /// Go on as they change (`text/event-stream`): each time the whole list.
    #[param(value_type = Option<bool>, default = false)]
    pub watch: bool,
}

/// Changes within this time are told together.
const TOGETHER: Duration = Duration::from_millis(5);
/// How often the list is looked at where nobody tells of changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type List = Page<EndpointView>;

/// Lists the addresses at which an app's instances answer, or follows them
///
/// Those of active instances that are ready for requests. An instance that is to be stopped leaves the list, and is
/// stopped after its proc's `drain_time`: a client that uses the list sends it no request that is not answered.
#[utoipa::path(get, path = "/api/v1/apps/{app}/endpoints",
    params(AppPath, EndpointsQuery),
    responses(
        (status = 200, description = "The addresses", content(
            (Page<EndpointView> = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 429, description = "Too many requests or streams", body = ProblemView, content_type = "application/problem+json")))]
pub async fn list_endpoints(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<EndpointsQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    // Subscribed before the first look, so that no change falls between.
    let news = api.control.endpoint_changes();
    let (app, proc) = (path.0.app, query.proc.clone());
    let first = list(&*api.control, &app, proc.as_ref()).await?;
    if !query.watch {
        return Ok(HttpResponse::Ok().json(first));
    }
    let control = Arc::clone(&api.control);
    sse::respond(
        &api,
        &who,
        follow(control, (app, proc), first, news, request),
    )
}

async fn list(
    control: &dyn Control,
    app: &AppName,
    proc: Option<&ProcName>,
) -> Result<List, ControlError> {
    let mut app = control.app(app).await?;
    app.procs
        .retain(|p| proc.is_none_or(|name| name.as_str() == p.name));
    Ok(Page {
        items: endpoints(&app),
        next: None,
    })
}

enum Look {
    Send(List),
    WaitFor(List),
    End,
}

/// The list, and again each time that it has changed, until the app is gone.
fn follow(
    control: Arc<dyn Control>,
    whose: (AppName, Option<ProcName>),
    first: List,
    news: BoxStream<'static, ()>,
    request: HttpRequest,
) -> impl Stream<Item = Frame> + 'static {
    stream::unfold((Look::Send(first), news), move |(look, mut news)| {
        let (control, whose, request) = (Arc::clone(&control), whose.clone(), request.clone());
        async move {
            let seen = match look {
                Look::End => return None,
                Look::Send(list) => {
                    let frame = Frame::object(None, &list);
                    return Some((frame, (Look::WaitFor(list), news)));
                }
                Look::WaitFor(seen) => seen,
            };
            loop {
                if let Ok(Some(())) = tokio::time::timeout(LOOK_EVERY, news.next()).await {
                    tokio::time::sleep(TOGETHER).await;
                }
                match list(&*control, &whose.0, whose.1.as_ref()).await {
                    Ok(now) if now != seen => {
                        let frame = Frame::object(None, &now);
                        return Some((frame, (Look::WaitFor(now), news)));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let frame = Frame::problem(&error.into(), &request);
                        return Some((frame, (Look::End, news)));
                    }
                }
            }
        }
    })
}
