//! `/api/v1/nodes`: the machines that apps run on.

use super::error::Problem;
use super::extract::{InPath, InQuery};
use super::params::{self, PageQuery};
use super::state::Api;
use crate::domain::id::NodeName;
use crate::domain::view::{NodeView, Page};
use crate::ports::control::ControlError;
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
