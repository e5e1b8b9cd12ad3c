//! `/api/v1/apps/{app}/revisions`, rollback, promote, abort: the history of an app, and ways back in it.

use super::error::{Problem, ProblemView};
use super::extract::{InPath, InQuery, Json};
use super::params::{self, AppPath, DryRunQuery, PageQuery};
use super::precondition;
use super::state::{Api, Who};
use crate::domain::id::AppName;
use crate::domain::view::{ChangeAnswer, Page, RevisionView, RollbackRequest};
use crate::ports::control::Precondition;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

/// A revision in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RevisionPath {
    /// The app's name.
    #[param(
        value_type = String,
        max_length = 253,
        pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$",
        example = "hello"
    )]
    pub app: AppName,
    /// The revision's number.
    #[param(minimum = 1)]
    pub revision: u64,
}

/// Lists the last revisions of an app, newest first
///
/// Who brought which release when, and what became of it. As many are kept as `history.revisions` says.
#[utoipa::path(get, path = "/api/v1/apps/{app}/revisions", params(AppPath, PageQuery),
    responses((status = 200, description = "A page of revisions", body = Page<RevisionView>)))]
pub async fn list_revisions(
    api: Data<Api>,
    path: InPath<AppPath>,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let revisions = api.control.revisions(&path.app).await?;
    // Keys that sort as numbers do, the newest first.
    let key = |r: &RevisionView| format!("{:020}", u64::MAX - r.revision);
    let page = params::page("revisions", &query, revisions, key)?;
    Ok(HttpResponse::Ok().json(page))
}

/// Reads one revision of an app, with its lain.yaml
#[utoipa::path(get, path = "/api/v1/apps/{app}/revisions/{revision}", params(RevisionPath),
    responses((status = 200, description = "The revision", body = RevisionView)))]
pub async fn get_revision(
    api: Data<Api>,
    path: InPath<RevisionPath>,
) -> Result<HttpResponse, Problem> {
    let revision = api.control.revision(&path.app, path.revision).await?;
    Ok(HttpResponse::Ok().json(revision))
}

/// What `If-Match` says; without it, any state will do.
fn expected(request: &HttpRequest) -> Result<Precondition, Problem> {
    Ok(match precondition::of_change(request.headers())? {
        Precondition::None => Precondition::Any,
        given => given,
    })
}

/// Goes back to an earlier revision
///
/// Without `to`: the newest that was rolled out to its end and differs from what is wanted now. It is a new revision
/// with the old content. A change in progress is given up; nothing is tried on a few instances first.
#[utoipa::path(post, path = "/api/v1/apps/{app}/rollback",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    request_body(content = RollbackRequest, example = json!({"to": 4})),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted, and durable; `Location` names the operation", body = ChangeAnswer,
            headers(("Location" = String, description = "The operation"))),
        (status = 409, description = "There is nothing to go back to", body = ProblemView, content_type = "application/problem+json"),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn rollback_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
    body: Json<RollbackRequest>,
) -> Result<HttpResponse, Problem> {
    let expected = expected(&request)?;
    let rollback =
        api.control
            .rollback(&path.app, body.0.to, expected, query.dry_run, who.caller());
    Ok(params::changed(&rollback.await?))
}

/// Promotes a canary: the other instances follow
#[utoipa::path(post, path = "/api/v1/apps/{app}/promote",
    params(AppPath,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 202, description = "Accepted, and durable; `Location` names the operation, which goes on", body = ChangeAnswer,
            headers(("Location" = String, description = "The operation"))),
        (status = 409, description = "No canary waits", body = ProblemView, content_type = "application/problem+json"),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn promote_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = expected(&request)?;
    let promote = api.control.promote(&path.app, expected, who.caller());
    Ok(params::changed(&promote.await?))
}

/// Aborts a canary: its instances go back to the release before
#[utoipa::path(post, path = "/api/v1/apps/{app}/abort",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "A dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted, and durable; `Location` names the operation", body = ChangeAnswer,
            headers(("Location" = String, description = "The operation"))),
        (status = 409, description = "No canary is in progress", body = ProblemView, content_type = "application/problem+json"),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn abort_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = expected(&request)?;
    let abort = api
        .control
        .abort(&path.app, expected, query.dry_run, who.caller());
    Ok(params::changed(&abort.await?))
}
