//! Health, readiness, version and metrics.

use super::error::{Problem, ProblemView};
use super::state::Api;
use crate::domain::view::VersionView;
use actix_web::HttpResponse;
use actix_web::web::Data;

/// Says that the process answers
#[utoipa::path(get, path = "/healthz",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain; charset=utf-8")))]
pub async fn healthz() -> &'static str {
    "ok"
}

/// Says whether the store answers and the supervision tree is up
#[utoipa::path(get, path = "/readyz",
    responses(
        (status = 200, description = "`ready`", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 503, description = "Why not", body = ProblemView, content_type = "application/problem+json")))]
pub async fn readyz(api: Data<Api>) -> Result<&'static str, Problem> {
    api.control.ready().await?;
    Ok("ready")
}

/// Says which version this is
#[utoipa::path(get, path = "/version",
    responses((status = 200, description = "The version", body = VersionView)))]
pub async fn version(api: Data<Api>) -> HttpResponse {
    HttpResponse::Ok().json(api.control.version())
}

/// Says which version this is
#[utoipa::path(get, path = "/api/v1/version",
    responses((status = 200, description = "The version", body = VersionView)))]
pub async fn api_version(api: Data<Api>) -> HttpResponse {
    version(api).await
}

/// Metrics for Prometheus (OpenMetrics 1.0)
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, description = "The metrics", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub async fn metrics(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let text = super::metrics::scrape(&api).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text))
}
