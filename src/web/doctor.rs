//! `/api/v1/doctor`: checks of this host, each failure with its remedy.

use super::error::Problem;
use super::state::Api;
use crate::domain::view::{Finding, Page};
use actix_web::HttpResponse;
use actix_web::web::Data;

/// Checks this host: engine, kernel, disk, clock, ports
///
/// All findings in one page.
#[utoipa::path(get, path = "/api/v1/doctor",
    responses((status = 200, description = "The findings", body = Page<Finding>)))]
pub async fn run_doctor(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let items = api.control.doctor().await?;
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}
