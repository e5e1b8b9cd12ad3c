//! `/api/v1/apps`: list, read, deploy, undeploy, restart, stop, start.

use super::error::{Kind, Problem, ProblemView};
use super::extract::{InPath, InQuery, Json};
use super::params::{self, AppPath, DryRunQuery, PageQuery, Target};
use super::precondition;
use super::state::{Api, Who};
use crate::domain::view::{AppView, ChangeAnswer, DeployRequest, Page};
use crate::ports::control::ControlError;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

/// Lists apps by name
///
/// Tokens of single apps see those only.
#[utoipa::path(get, path = "/api/v1/apps", params(PageQuery),
    responses((status = 200, description = "A page of apps", body = Page<AppView>)))]
pub async fn list_apps(
    api: Data<Api>,
    who: Who,
    query: InQuery<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let mut apps = api.control.apps().await?;
    apps.retain(|app| who.principal.may_read(&app.name));
    let page = params::page("apps", &query, apps, |app| app.name.clone())?;
    Ok(HttpResponse::Ok().json(page))
}

/// Reads an app: as it is wanted, and as it is
///
/// The `ETag` names what is wanted of it, for `If-Match` of a change. As the answer also says
/// what is, which changes by itself, `If-None-Match` is not honoured here.
#[utoipa::path(get, path = "/api/v1/apps/{app}", params(AppPath),
    responses((status = 200, description = "The app", body = AppView,
        headers(("ETag" = String, description = "Names what is wanted of the app now")))))]
pub async fn get_app(api: Data<Api>, path: InPath<AppPath>) -> Result<HttpResponse, Problem> {
    let app = api.control.app(&path.app).await?;
    Ok(params::tagged(&mut HttpResponse::Ok(), app.etag).json(app))
}

/// Deploys or updates an app
///
/// The `appname` of the file must be that of the path. Sending the same file again changes nothing.
#[utoipa::path(put, path = "/api/v1/apps/{app}",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what is to be replaced, `\"7\"`, or `*` for any; needed where the app exists", example = "*"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create")),
    request_body(content = DeployRequest, example = json!({
        "lain_yaml": "appname: hello\nweb:\n  image: hello:1\n  num_instances: 3\n"})),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer,
            headers(("ETag" = String, description = "Names what is wanted of the app now"))),
        (status = 202, description = "Accepted, and durable; `Location` names the operation", body = ChangeAnswer,
            headers(("ETag" = String, description = "Names what is wanted of the app now"),
                ("Location" = String, description = "The operation"))),
        (status = 409, description = "Not possible in the app's state", body = ProblemView, content_type = "application/problem+json"),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "The `lain.yaml` is wrong; `errors` says where", body = ProblemView, content_type = "application/problem+json"),
        (status = 428, description = "The app exists, and `If-Match` is missing", body = ProblemView, content_type = "application/problem+json")))]
pub async fn deploy_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
    body: Json<DeployRequest>,
) -> Result<HttpResponse, Problem> {
    let precondition = precondition::of_change(request.headers())?;
    let deploy = api
        .control
        .deploy(&path.app, body.0, precondition, query.dry_run, who.caller());
    Ok(params::changed(&deploy.await?))
}

/// Removes an app and its containers
#[utoipa::path(delete, path = "/api/v1/apps/{app}",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what is to be removed, `\"7\"`, or `*` for any; always needed", example = "*")),
    responses(
        (status = 200, description = "A dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted, and durable; `Location` names the operation", body = ChangeAnswer,
            headers(("Location" = String, description = "The operation"))),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", body = ProblemView, content_type = "application/problem+json")))]
pub async fn undeploy_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    use crate::ports::control::Precondition;
    let precondition = match precondition::of_change(request.headers())? {
        Precondition::None => {
            // What does not exist is not found, whatever the precondition.
            api.control.app(&path.app).await?;
            return Err(ControlError::PreconditionRequired(path.app.to_string()).into());
        }
        Precondition::Absent => {
            let detail = "If-None-Match: * makes no sense for a removal";
            return Err(Problem::new(Kind::BadParameter, detail));
        }
        given => given,
    };
    let undeploy = api
        .control
        .undeploy(&path.app, precondition, query.dry_run, who.caller());
    Ok(params::changed(&undeploy.await?))
}

/// Restarts all instances of an app, one after another
#[utoipa::path(post, path = "/api/v1/apps/{app}/restart",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn restart_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Restart).await
}

/// Stops all instances of an app until they are started again
#[utoipa::path(post, path = "/api/v1/apps/{app}/stop",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn stop_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Stop).await
}

/// Starts what is stopped, and retries at once what is degraded or waits
#[utoipa::path(post, path = "/api/v1/apps/{app}/start",
    params(AppPath, DryRunQuery,
        ("If-Match" = Option<String>, Header, description = "The app's `ETag` that is expected")),
    responses(
        (status = 200, description = "Nothing to do, or a dry run", body = ChangeAnswer),
        (status = 202, description = "Accepted; `Location` names the operation", body = ChangeAnswer),
        (status = 412, description = "The app was changed since", body = ProblemView, content_type = "application/problem+json")))]
pub async fn start_app(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<DryRunQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    change(&api, &who, &path.0, &query, &request, Change::Start).await
}

/// What apps, procs and instances have in common to be done with them.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// One instance after another.
    Restart,
    /// Until started again.
    Stop,
    /// Now.
    Start,
}

/// Restarts, stops or starts what the path names.
///
/// # Errors
/// 412, and what the control host says.
pub async fn change(
    api: &Api,
    who: &Who,
    target: &impl Target,
    query: &DryRunQuery,
    request: &HttpRequest,
    change: Change,
) -> Result<HttpResponse, Problem> {
    let selector = target.selector();
    params::check_revision(api, request.headers(), &selector.app).await?;
    let (control, caller) = (&api.control, who.caller());
    let answer = match change {
        Change::Restart => control.restart(selector, query.dry_run, caller).await?,
        Change::Stop => control.stop(selector, query.dry_run, caller).await?,
        Change::Start => control.start(selector, query.dry_run, caller).await?,
    };
    Ok(params::changed(&answer))
}
