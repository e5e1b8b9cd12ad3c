//! `/api/v1/apps/{app}/procs/{proc}/instances`: list, read, restart, stop, start.

use super::apps::{Change, change};
use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery};
use super::params::{self, DryRunQuery, InstancePath, PageQuery, ProcPath};
use super::procs::find_proc;
use super::state::{Api, Who};
use crate::domain::view::{ChangeAnswer, InstanceView, Page, ProcView};
use crate::ports::control::ControlError;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

/// Lists the instances of a proc by number
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs/{proc}/instances",
    params(ProcPath, PageQuery),
    responses((status = 200, description = "A page of instances", body = Page<InstanceView>)))]
pub async fn list_instances(
    api: Data<Api>,
    path: InPath<ProcPath>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let app = api.control.app(&path.app).await?;
    let instances = find_proc(app, path.proc.as_str())?.instances;
    let page = params::page("instances", &query, instances, |i| format!("{:010}", i.no))?;
    Ok(HttpResponse::Ok().json(page))
}

/// Reads an instance
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs/{proc}/instances/{no}",
    params(InstancePath),
    responses((status = 200, description = "The instance", body = InstanceView)))]
pub async fn get_instance(
    api: Data<Api>,
    path: InPath<InstancePath>,
) -> Result<HttpResponse, Problem> {
    let app = api.control.app(&path.app).await?;
    let proc = find_proc(app, path.proc.as_str())?;
    Ok(HttpResponse::Ok().json(find_instance(proc, path.no)?))
}

/// An instance of a proc.
///
/// # Errors
/// 404, with the numbers that exist.
pub fn find_instance(proc: ProcView, no: u32) -> Result<InstanceView, Problem> {
    let first = proc.instances.iter().map(|i| i.no).min();
    let last = proc.instances.iter().map(|i| i.no).max();
    let hint = match first.zip(last) {
        Some((first, last)) => format!(" (there are {first} to {last})"),
        None => " (it has none)".to_owned(),
    };
    let missing = ControlError::NotFound {
        kind: "instance",
        name: format!("{no} of proc {}", proc.name),
        hint,
    };
    let found = proc.instances.into_iter().find(|i| i.no == no);
    found.ok_or_else(|| missing.into())
}

/// Restarts an instance
#[utoipa::path(post, path = "/api/v1/apps/{app}/procs/{proc}/instances/{no}/restart",
    params(InstancePath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn restart_instance(
    api: Data<Api>,
    who: Who,
    path: InPath<InstancePath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Restart).await
}

/// Stops an instance until it is started again
#[utoipa::path(post, path = "/api/v1/apps/{app}/procs/{proc}/instances/{no}/stop",
    params(InstancePath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn stop_instance(
    api: Data<Api>,
    who: Who,
    path: InPath<InstancePath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Stop).await
}

/// Starts an instance that is stopped, or retries it at once
#[utoipa::path(post, path = "/api/v1/apps/{app}/procs/{proc}/instances/{no}/start",
    params(InstancePath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn start_instance(
    api: Data<Api>,
    who: Who,
    path: InPath<InstancePath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Start).await
}
