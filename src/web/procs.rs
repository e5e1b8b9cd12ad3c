//! `/api/v1/apps/{app}/procs`: list, read, scale, restart, stop, start.

use super::apps::{Change, change};
use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery, Json};
use super::params::{self, AppPath, DryRunQuery, PageQuery, ProcPath};
use super::state::{Api, Who};
use crate::domain::view::{AppView, ChangeAnswer, Page, ProcView, ScaleRequest};
use crate::ports::control::ControlError;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

/// Lists the procs of an app by name
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs", params(AppPath, PageQuery),
    responses((status = 200, description = "A page of procs", body = Page<ProcView>)))]
pub async fn list_procs(
    api: Data<Api>,
    path: InPath<AppPath>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let procs = api.control.app(&path.app).await?.procs;
    let page = params::page("procs", &query, procs, |proc| proc.name.clone())?;
    Ok(HttpResponse::Ok().json(page))
}

/// Reads a proc, with its spec and its instances
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs/{proc}", params(ProcPath),
    responses((status = 200, description = "The proc", body = ProcView,
        headers(("ETag" = String, description = "Names what is wanted of the app now")))))]
pub async fn get_proc(api: Data<Api>, path: InPath<ProcPath>) -> Result<HttpResponse, Problem> {
    let app = api.control.app(&path.app).await?;
    let etag = app.etag;
    let proc = find_proc(app, path.proc.as_str())?;
    Ok(params::tagged(&mut HttpResponse::Ok(), etag).json(proc))
}

/// A proc of an app.
///
/// # Errors
/// 404, with the nearest name.
pub fn find_proc(app: AppView, name: &str) -> Result<ProcView, Problem> {
    let hint = params::did_you_mean(name, app.procs.iter().map(|proc| proc.name.as_str()));
    let missing = ControlError::NotFound {
        kind: "proc",
        name: format!("{name} of app {}", app.name),
        hint,
    };
    let found = app.procs.into_iter().find(|proc| proc.name == name);
    found.ok_or_else(|| missing.into())
}

/// Changes the instances, CPU, memory or spares of a proc
///
/// All that is given, or nothing. Absent fields stay as they are (JSON Merge Patch).
#[utoipa::path(patch, path = "/api/v1/apps/{app}/procs/{proc}",
    params(ProcPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    request_body(content(
        (ScaleRequest = "application/merge-patch+json"),
        (ScaleRequest = "application/json"))),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted, and durable; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "A value is out of range; `errors` says which", body = ProblemView, content_type = "application/problem+json")))]
pub async fn scale_proc(
    api: Data<Api>,
    who: Who,
    path: InPath<ProcPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
    body: Json<ScaleRequest>,
) -> Result<HttpResponse, Problem> {
    params::check_revision(&api, request.headers(), &path.app).await?;
    let scale = api
        .control
        .scale(&path.app, &path.proc, body.0, query.dry_run, who.caller());
    Ok(params::changed(&scale.await?))
}

/// Restarts the instances of a proc, one after another
#[utoipa::path(post, path = "/api/v1/apps/{app}/procs/{proc}/restart",
    params(ProcPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn restart_proc(
    api: Data<Api>,
    who: Who,
    path: InPath<ProcPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Restart).await
}

/// Stops the instances of a proc until they are started again
#[utoipa::path(post, path = "/api/v1/apps/{app}/procs/{proc}/stop",
    params(ProcPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn stop_proc(
    api: Data<Api>,
    who: Who,
    path: InPath<ProcPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Stop).await
}

/// Starts what is stopped of a proc, and retries at once what is degraded or waits
#[utoipa::path(post, path = "/api/v1/apps/{app}/procs/{proc}/start",
    params(ProcPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn start_proc(
    api: Data<Api>,
    who: Who,
    path: InPath<ProcPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Start).await
}
