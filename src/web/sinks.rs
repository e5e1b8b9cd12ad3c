//! `/api/v1/sinks`: where log events go, and what an operator does about it.

use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery};
use super::params::{self, PageQuery};
use super::state::{Api, Who};
use crate::domain::id::NodeName;
use crate::domain::view::{Page, SinkView, SinksReloaded};
use crate::ports::control::{ControlError, SinkAction};
use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

/// A sink in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SinkPath {
    /// The sink's name in the configuration.
    #[param(max_length = 63)]
    pub sink: String,
}

/// On which node.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct NodeQuery {
    /// Only on this node; on all that have the sink if absent.
    #[param(value_type = Option<String>, max_length = 63)]
    pub node: Option<NodeName>,
}

/// Where to go back to.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RewindQuery {
    /// An instant (RFC 3339): the first event at or after it is sent next. Absent: the oldest event in the spool.
    pub to: Option<DateTime<Utc>>,
    /// Skip what waits: go on with what comes next.
    #[param(value_type = Option<bool>)]
    pub now: bool,
    /// Only on this node; on all that have the sink if absent.
    #[param(value_type = Option<String>, max_length = 63)]
    pub node: Option<NodeName>,
}

/// Lists the sinks by name and node
#[utoipa::path(get, path = "/api/v1/sinks", params(PageQuery),
    responses((status = 200, description = "A page of sinks", body = Page<SinkView>)))]
pub async fn list_sinks(
    api: Data<Api>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let sinks = api.control.sinks().await?;
    let page = params::page("sinks", &query, sinks, |sink| {
        format!("{} {}", sink.name, sink.node)
    })?;
    Ok(HttpResponse::Ok().json(page))
}

/// Reads a sink, on each node
#[utoipa::path(get, path = "/api/v1/sinks/{sink}", params(SinkPath, NodeQuery),
    responses(
        (status = 200, description = "The sink on each node that has it", body = Vec<SinkView>),
        (status = 404, description = "There is no such sink", body = ProblemView, content_type = "application/problem+json")))]
pub async fn get_sink(
    api: Data<Api>,
    path: InPath<SinkPath>,
    query: InQuery<NodeQuery>,
) -> Result<HttpResponse, Problem> {
    let mut sinks = api.control.sinks().await?;
    let node = query.node.as_ref().map(NodeName::as_str);
    sinks.retain(|sink| sink.name == path.sink && node.is_none_or(|node| node == sink.node));
    if sinks.is_empty() {
        Err(ControlError::NotFound {
            kind: "sink",
            name: path.sink.clone(),
            hint: String::new(),
        })?;
    }
    Ok(HttpResponse::Ok().json(sinks))
}

/// Reads the configuration of the sinks again
///
/// Sinks, rules for lines that belong together and redaction are taken up as the files have them now; sinks that
/// did not change are not touched, and none loses an event. Nodes are told. A configuration with an error changes
/// nothing.
#[utoipa::path(post, path = "/api/v1/sinks/reload",
    responses(
        (status = 200, description = "What changed", body = SinksReloaded),
        (status = 409, description = "The configuration has errors", body = ProblemView, content_type = "application/problem+json")))]
pub async fn reload_sinks(api: Data<Api>, who: Who) -> Result<HttpResponse, Problem> {
    let reloaded = api.control.reload_sinks(who.caller()).await?;
    Ok(HttpResponse::Ok().json(reloaded))
}

/// Tells whether the receiver is there and takes events
///
/// Connects, logs in, and looks for what the sink needs; no event is sent.
#[utoipa::path(post, path = "/api/v1/sinks/{sink}/test", params(SinkPath, NodeQuery),
    responses(
        (status = 200, description = "It is; the sink on each node", body = Vec<SinkView>),
        (status = 409, description = "It is not, and why", body = ProblemView, content_type = "application/problem+json")))]
pub async fn test_sink(
    api: Data<Api>,
    who: Who,
    path: InPath<SinkPath>,
    query: InQuery<NodeQuery>,
) -> Result<HttpResponse, Problem> {
    act(&api, &who, &path, &query.node, SinkAction::Test).await
}

/// Sends nothing until the sink is resumed; events wait in the spool
#[utoipa::path(post, path = "/api/v1/sinks/{sink}/pause", params(SinkPath, NodeQuery),
    responses((status = 200, description = "The sink on each node", body = Vec<SinkView>)))]
pub async fn pause_sink(
    api: Data<Api>,
    who: Who,
    path: InPath<SinkPath>,
    query: InQuery<NodeQuery>,
) -> Result<HttpResponse, Problem> {
    act(&api, &who, &path, &query.node, SinkAction::Pause).await
}

/// Goes on at once, also after a refusal or while the circuit breaker is open
#[utoipa::path(post, path = "/api/v1/sinks/{sink}/resume", params(SinkPath, NodeQuery),
    responses((status = 200, description = "The sink on each node", body = Vec<SinkView>)))]
pub async fn resume_sink(
    api: Data<Api>,
    who: Who,
    path: InPath<SinkPath>,
    query: InQuery<NodeQuery>,
) -> Result<HttpResponse, Problem> {
    act(&api, &who, &path, &query.node, SinkAction::Resume).await
}

/// Goes on from another place in the spool: events are sent again, or skipped
#[utoipa::path(post, path = "/api/v1/sinks/{sink}/rewind", params(SinkPath, RewindQuery),
    responses(
        (status = 200, description = "The sink on each node", body = Vec<SinkView>),
        (status = 409, description = "The sink waits for its receiver; pause it first", body = ProblemView, content_type = "application/problem+json")))]
pub async fn rewind_sink(
    api: Data<Api>,
    who: Who,
    path: InPath<SinkPath>,
    query: InQuery<RewindQuery>,
) -> Result<HttpResponse, Problem> {
    let action = match (query.now, query.to) {
        (true, _) => SinkAction::Skip,
        (false, to) => SinkAction::Rewind(to),
    };
    act(&api, &who, &path, &query.node, action).await
}

async fn act(
    api: &Api,
    who: &Who,
    path: &SinkPath,
    node: &Option<NodeName>,
    action: SinkAction,
) -> Result<HttpResponse, Problem> {
    let sinks = api
        .control
        .act_on_sink(&path.sink, node.clone(), action, who.caller())
        .await?;
    Ok(HttpResponse::Ok().json(sinks))
}
