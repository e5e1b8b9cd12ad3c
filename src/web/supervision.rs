//! `/api/v1/supervision`: the tree of actors, one of them in detail, its events, and what an operator
//! may do to a child.

use super::error::{Kind, Problem, ProblemView};
use super::events::{Filter, watch};
use super::extract::InQuery;
use super::sse::StreamEvent;
use super::state::{Api, Who};
use crate::domain::view::ActorView;
use crate::ports::control::ChildAction;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which part of the tree.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TreeQuery {
    /// Ids of children from the root, joined by `/`, as in `apps/app/hello`; empty: the root.
    #[param(value_type = Option<String>)]
    pub path: String,
    /// Levels below it; absent: all.
    #[param(value_type = Option<u32>, maximum = 1000)]
    pub depth: Option<Depth>,
}

/// Levels of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Depth(u32);

impl TryFrom<u32> for Depth {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        match value {
            0..=1000 => Ok(Self(value)),
            _ => Err(format!("{value} is not from 0 to 1000")),
        }
    }
}

/// Which actor.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ActorQuery {
    /// Ids of children from the root, joined by `/`; empty: the root.
    #[param(value_type = Option<String>)]
    pub path: String,
}

/// Which child.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ChildQuery {
    /// Ids of children from the root, joined by `/`. The root itself is nobody's child.
    #[param(value_type = String, min_length = 1)]
    pub path: String,
}

/// Reads the supervision tree, or a part of it
///
/// From state that is kept for reading: no actor is asked, so a stuck one does not delay it.
#[utoipa::path(get, path = "/api/v1/supervision", params(TreeQuery),
    responses(
        (status = 200, description = "The actor, with its children", body = ActorView),
        (status = 404, description = "There is no such actor", body = ProblemView, content_type = "application/problem+json")))]
pub async fn get_tree(api: Data<Api>, query: InQuery<TreeQuery>) -> Result<HttpResponse, Problem> {
    let tree = api
        .control
        .tree(trimmed(&query.path), query.depth.map(|d| d.0))?;
    Ok(HttpResponse::Ok().json(tree))
}

/// Reads one actor in detail, without its children
#[utoipa::path(get, path = "/api/v1/supervision/actor", params(ActorQuery),
    responses(
        (status = 200, description = "The actor", body = ActorView),
        (status = 404, description = "There is no such actor", body = ProblemView, content_type = "application/problem+json")))]
pub async fn get_actor(
    api: Data<Api>,
    query: InQuery<ActorQuery>,
) -> Result<HttpResponse, Problem> {
    let actor = api.control.actor(trimmed(&query.path)).await?;
    Ok(HttpResponse::Ok().json(actor))
}

/// Watches what happens in the tree
///
/// As `/api/v1/events` with `watch=true` and `kind=actor_*`.
#[utoipa::path(get, path = "/api/v1/supervision/events",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "Resume after this event")),
    responses(
        (status = 200, description = "Events as they come", body = StreamEvent, content_type = "text/event-stream"),
        (status = 410, description = "The event to resume after is too old; list again", body = ProblemView, content_type = "application/problem+json")))]
pub async fn watch_actors(
    api: Data<Api>,
    who: Who,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let filter = Filter::of_kind(who.clone(), "actor_*");
    watch(&api, &who, &request, filter, 100)
}

/// Terminates a child and starts it again
#[utoipa::path(post, path = "/api/v1/supervision/restart", params(ChildQuery),
    responses(
        (status = 200, description = "The child", body = ActorView),
        (status = 404, description = "There is no such actor", body = ProblemView, content_type = "application/problem+json")))]
pub async fn restart_actor(
    api: Data<Api>,
    who: Who,
    query: InQuery<ChildQuery>,
) -> Result<HttpResponse, Problem> {
    act(&api, &who, &query, ChildAction::Restart).await
}

/// Terminates a child; it stays down until it is restarted
#[utoipa::path(post, path = "/api/v1/supervision/terminate", params(ChildQuery),
    responses(
        (status = 200, description = "The child", body = ActorView),
        (status = 404, description = "There is no such actor", body = ProblemView, content_type = "application/problem+json")))]
pub async fn terminate_actor(
    api: Data<Api>,
    who: Who,
    query: InQuery<ChildQuery>,
) -> Result<HttpResponse, Problem> {
    act(&api, &who, &query, ChildAction::Terminate).await
}

async fn act(
    api: &Api,
    who: &Who,
    query: &ChildQuery,
    action: ChildAction,
) -> Result<HttpResponse, Problem> {
    let path = trimmed(&query.path);
    if path.is_empty() {
        let detail = "query parameter path is needed: which child, as in apps/app/hello";
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    let child = api.control.act_on_child(path, action, who.caller()).await?;
    Ok(HttpResponse::Ok().json(child))
}

/// A slash at either end says nothing.
fn trimmed(path: &str) -> &str {
    path.trim_matches('/')
}
