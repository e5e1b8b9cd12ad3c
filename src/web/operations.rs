//! `/api/v1/operations`: work that takes time, to follow and to cancel.

use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery};
use super::params::{self, Cursor, Limit};
use super::sse::{self, Frame, StreamEvent};
use super::state::{Api, Who};
use crate::domain::id::{AppName, OperationId};
use crate::domain::view::{EventView, OperationView, Page};
use crate::ports::control::{Control, EventStream};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// Which operations.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct OperationsQuery {
    /// Of this app.
    #[param(value_type = Option<String>, max_length = 253, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$")]
    pub app: Option<AppName>,
    /// At most this many items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f][0-9a-f])+$")]
    pub after: Option<Cursor>,
}

/// An operation in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OperationPath {
    /// The operation's id.
    #[param(value_type = String, max_length = 64, pattern = "^[A-Za-z0-9-]+$")]
    pub id: OperationId,
}

/// Whether to follow it.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct WatchQuery {
    /// Go on until it has ended (`text/event-stream`).
    #[param(value_type = Option<bool>, default = false)]
    pub watch: bool,
}

/// Lists operations, newest first
///
/// Tokens of single apps see operations on those only; a page of theirs may be short.
#[utoipa::path(get, path = "/api/v1/operations", params(OperationsQuery),
    responses((status = 200, description = "A page of operations", body = Page<OperationView>)))]
pub async fn list_operations(
    api: Data<Api>,
    who: Who,
    query: InQuery<OperationsQuery>,
) -> Result<HttpResponse, Problem> {
    if let Some(app) = &query.app {
        who.must_read(Some(app.as_str()))?;
    }
    let after = params::after(query.after.as_ref(), "operations")?;
    let list = api
        .control
        .operations(query.app.clone(), after, query.limit.0);
    let mut page = params::wrap("operations", list.await?);
    page.items
        .retain(|operation| who.principal.may_read(&operation.app));
    Ok(HttpResponse::Ok().json(page))
}

/// Reads an operation, or follows it
///
/// With `watch=true` it comes whole each time that it changes, the last time when it has ended.
#[utoipa::path(get, path = "/api/v1/operations/{id}",
    params(OperationPath, WatchQuery),
    responses(
        (status = 200, description = "The operation", content(
            (OperationView = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 429, description = "Too many requests or streams", body = ProblemView, content_type = "application/problem+json")))]
pub async fn get_operation(
    api: Data<Api>,
    who: Who,
    path: InPath<OperationPath>,
    query: InQuery<WatchQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    // Subscribed before the first look, so that no change falls between.
    let news = match api.control.events(None) {
        EventStream::Events(news) => news,
        EventStream::TooOld => stream::empty().boxed(),
    };
    let operation = api.control.operation(&path.id).await?;
    who.must_read(Some(&operation.app))?;
    if !query.watch {
        return Ok(HttpResponse::Ok().json(operation));
    }
    let frames = follow(
        Arc::clone(&api.control),
        path.0.id,
        operation,
        news,
        request,
    );
    sse::respond(&api, &who, frames)
}

/// How often an operation is looked at where no event tells of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

enum Look {
    Send(Box<OperationView>),
    WaitFor(Box<OperationView>),
    End,
}

/// The operation, and again each time that it has changed, until it has ended.
fn follow(
    control: Arc<dyn Control>,
    id: OperationId,
    first: OperationView,
    news: BoxStream<'static, EventView>,
    request: HttpRequest,
) -> impl Stream<Item = Frame> + 'static {
    let state = (Look::Send(Box::new(first)), news);
    stream::unfold(state, move |(look, mut news)| {
        let (control, id, request) = (Arc::clone(&control), id.clone(), request.clone());
        async move {
            let mut seen = match look {
                Look::End => return None,
                Look::Send(operation) => return Some(send(operation, news)),
                Look::WaitFor(seen) => seen,
            };
            loop {
                wait_for_news(&id, &mut news).await;
                match control.operation(&id).await {
                    Ok(now) if now != *seen => {
                        *seen = now;
                        return Some(send(seen, news));
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

fn send(
    operation: Box<OperationView>,
    news: BoxStream<'static, EventView>,
) -> (Frame, (Look, BoxStream<'static, EventView>)) {
    let frame = Frame::object(None, &operation);
    let next = match operation.state.is_final() {
        true => Look::End,
        false => Look::WaitFor(operation),
    };
    (frame, (next, news))
}

/// Until an event tells of the operation, or it is time to look anyway.
async fn wait_for_news(id: &OperationId, news: &mut BoxStream<'static, EventView>) {
    let told = async {
        while let Some(event) = news.next().await {
            if event.operation.as_deref() == Some(id.as_str()) {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    // An elapsed wait is a reason to look as well.
    let _ = tokio::time::timeout(LOOK_EVERY, told).await;
}

/// Cancels an operation that has not ended
///
/// What it did stays, the rest is not done.
#[utoipa::path(post, path = "/api/v1/operations/{id}/cancel",
    params(OperationPath),
    responses((status = 200, description = "The operation", body = OperationView)))]
pub async fn cancel_operation(
    api: Data<Api>,
    who: Who,
    path: InPath<OperationPath>,
) -> Result<HttpResponse, Problem> {
    let operation = api.control.operation(&path.id).await?;
    who.must_change(Some(&operation.app))?;
    let cancelled = api.control.cancel(&path.id, who.caller()).await?;
    Ok(HttpResponse::Ok().json(cancelled))
}
