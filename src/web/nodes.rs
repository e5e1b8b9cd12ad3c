//! `/api/v1/nodes`: the machines that apps run on.

use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery, Json};
use super::params::{self, PageQuery};
use super::state::{Api, Who};
use crate::domain::id::NodeName;
use crate::domain::view::{
    DriftBody, JoinTokenView, MovesView, NodeChange, NodeView, Page, WhyView,
};
use crate::ports::control::{ControlError, DriftRequest};
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Deserialize;
use utoipa::IntoParams;

/// A node in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct NodePath {
    /// The node's name.
    #[param(value_type = String, max_length = 63, pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    pub node: NodeName,
}

/// Lists the nodes by name
#[utoipa::path(get, path = "/api/v1/nodes", params(PageQuery),
    responses((status = 200, description = "A page of nodes", body = Page<NodeView>)))]
pub async fn list_nodes(
    api: Data<Api>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let nodes = api.control.nodes().await?;
    let page = params::page("nodes", &query, nodes, |node| node.name.clone())?;
    Ok(HttpResponse::Ok().json(page))
}

/// Reads a node
#[utoipa::path(get, path = "/api/v1/nodes/{node}", params(NodePath),
    responses((status = 200, description = "The node", body = NodeView)))]
pub async fn get_node(api: Data<Api>, path: InPath<NodePath>) -> Result<HttpResponse, Problem> {
    let nodes = api.control.nodes().await?;
    let found = nodes
        .into_iter()
        .find(|node| node.name == path.node.as_str());
    let node = found.ok_or_else(|| ControlError::NotFound {
        kind: "node",
        name: path.node.to_string(),
        hint: String::new(),
    })?;
    Ok(HttpResponse::Ok().json(node))
}

/// How long a join token is to be good.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// In seconds; 900 if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86_400)]
    pub lifetime_seconds: Option<u32>,
}

/// Makes a single-use token with which another host joins as a node
#[utoipa::path(post, path = "/api/v1/nodes/tokens", request_body = TokenBody,
    responses((status = 200, description = "The token; it is shown only now", body = JoinTokenView),
        (status = 409, description = "No agents are listened for", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "A value is out of range", body = ProblemView, content_type = "application/problem+json")))]
pub async fn make_token(
    api: Data<Api>,
    who: Who,
    body: Json<TokenBody>,
) -> Result<HttpResponse, Problem> {
    let lifetime = match body.0.lifetime_seconds {
        Some(seconds @ (0 | 86_401..)) => {
            return Err(params::out_of_range(
                "lifetime_seconds",
                &format!("from 1 to 86400 seconds, found {seconds}"),
            ));
        }
        Some(seconds) => Some(std::time::Duration::from_secs(u64::from(seconds))),
        None => None,
    };
    let token = api.control.join_token(lifetime, who.caller()).await?;
    Ok(HttpResponse::Ok().json(token))
}

/// Cordons, uncordons or labels a node
#[utoipa::path(patch, path = "/api/v1/nodes/{node}", params(NodePath),
    request_body(content((NodeChange = "application/merge-patch+json"), (NodeChange = "application/json"))),
    responses((status = 200, description = "The node as it is now", body = NodeView),
        (status = 409, description = "Not on this control host", body = ProblemView, content_type = "application/problem+json")))]
pub async fn change_node(
    api: Data<Api>,
    who: Who,
    path: InPath<NodePath>,
    body: Json<NodeChange>,
) -> Result<HttpResponse, Problem> {
    let changed = api
        .control
        .change_node(&path.node, body.0, who.caller())
        .await?;
    Ok(HttpResponse::Ok().json(changed))
}

/// Whether a node with instances may be removed.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ForceQuery {
    /// Also when instances are on it; they are started elsewhere.
    #[serde(default)]
    pub force: bool,
}

/// Takes a node out of the cluster; its certificate is refused from then on
#[utoipa::path(delete, path = "/api/v1/nodes/{node}", params(NodePath, ForceQuery),
    responses((status = 204, description = "It is no node any more"),
        (status = 409, description = "Instances are on it", body = ProblemView, content_type = "application/problem+json")))]
pub async fn remove_node(
    api: Data<Api>,
    who: Who,
    path: InPath<NodePath>,
    query: InQuery<ForceQuery>,
) -> Result<HttpResponse, Problem> {
    api.control
        .remove_node(&path.node, query.force, who.caller())
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// How a node is drained.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DrainQuery {
    /// How many instances of a proc may move at a time; 1 if absent.
    #[serde(default)]
    pub max_unavailable: Option<u32>,
}

/// Moves what runs on a node away
#[utoipa::path(post, path = "/api/v1/nodes/{node}/drain", params(NodePath, DrainQuery),
    responses((status = 202, description = "Begun; `/api/v1/moves/{id}` tells how far it is", body = MovesView),
        (status = 409, description = "Not on this control host", body = ProblemView, content_type = "application/problem+json")))]
pub async fn drain_node(
    api: Data<Api>,
    who: Who,
    path: InPath<NodePath>,
    query: InQuery<DrainQuery>,
) -> Result<HttpResponse, Problem> {
    let unavailable = query.max_unavailable.unwrap_or(1);
    let moves = api
        .control
        .drain(&path.node, unavailable, who.caller())
        .await?;
    Ok(HttpResponse::Accepted().json(moves))
}

/// Moves instances to other nodes
#[utoipa::path(post, path = "/api/v1/drift", request_body = DriftBody,
    responses((status = 202, description = "Begun; `/api/v1/moves/{id}` tells how far it is", body = MovesView),
        (status = 409, description = "Not on this control host", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "A name is not valid, or nothing says which instances", body = ProblemView, content_type = "application/problem+json")))]
pub async fn drift(
    api: Data<Api>,
    who: Who,
    body: Json<DriftBody>,
) -> Result<HttpResponse, Problem> {
    let DriftBody {
        from,
        to,
        app,
        proc,
        instance,
    } = body.0;
    if from.is_none() && app.is_none() {
        return Err(params::out_of_range(
            "from",
            "a node to move from, or an app",
        ));
    }
    let request = DriftRequest {
        from: named("from", from)?,
        to: named("to", to)?,
        app: named("app", app)?,
        proc: named("proc", proc)?,
        instance,
    };
    let moves = api.control.drift(request, who.caller()).await?;
    Ok(HttpResponse::Accepted().json(moves))
}

fn named<T>(key: &str, text: Option<String>) -> Result<Option<T>, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.map(|t| t.parse())
        .transpose()
        .map_err(|e: T::Err| params::out_of_range(key, &e.to_string()))
}

/// Moves in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct MovesPath {
    /// Their id.
    #[param(max_length = 64)]
    pub id: String,
}

/// Reads how far a drain or a drift is
#[utoipa::path(get, path = "/api/v1/moves/{id}", params(MovesPath),
    responses((status = 200, description = "How far they are", body = MovesView),
        (status = 409, description = "Not on this control host", body = ProblemView, content_type = "application/problem+json")))]
pub async fn get_moves(api: Data<Api>, path: InPath<MovesPath>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(api.control.moves(&path.id).await?))
}

/// Says why an instance is where it is, or nowhere
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs/{proc}/instances/{no}/why",
    params(params::InstancePath),
    responses((status = 200, description = "Its state, and each node that does not take it", body = WhyView),
        (status = 409, description = "Not on this control host", body = ProblemView, content_type = "application/problem+json")))]
pub async fn why(
    api: Data<Api>,
    path: InPath<params::InstancePath>,
) -> Result<HttpResponse, Problem> {
    let app = api.control.app(&path.app).await?;
    let proc = super::procs::find_proc(app, path.proc.as_str())?;
    let id = format!("{}.{}.i{}", path.app, proc.full_name, path.no);
    let id = id.parse().map_err(|_| {
        Problem::from(ControlError::NotFound {
            kind: "instance",
            name: path.no.to_string(),
            hint: String::new(),
        })
    })?;
    Ok(HttpResponse::Ok().json(api.control.why(&id).await?))
}
