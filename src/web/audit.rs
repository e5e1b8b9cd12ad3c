//! `/api/v1/audit`: who changed what, and from where.

use super::error::Problem;
use super::extract::InQuery;
use super::params::{self, PageQuery};
use super::state::Api;
use crate::domain::view::{AuditView, Page};
use actix_web::HttpResponse;
use actix_web::web::Data;

/// Lists the changes made through the API, newest first
#[utoipa::path(get, path = "/api/v1/audit", params(PageQuery),
    responses((status = 200, description = "A page of audit records", body = Page<AuditView>)))]
pub async fn list_audit(
    api: Data<Api>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let after = params::after(query.after.as_ref(), "audit")?;
    let page = api.control.audit(after, query.limit.0).await?;
    Ok(HttpResponse::Ok().json(params::wrap("audit", page)))
}
