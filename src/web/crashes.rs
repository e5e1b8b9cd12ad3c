//! `/api/v1/crashes`: what is kept of each crash.

use super::error::Problem;
use super::extract::{InPath, InQuery};
use super::params::{self, AppPath, Cursor, InstanceNo, Limit};
use super::precondition;
use super::state::{Api, Who};
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, CrashId, ProcName};
use crate::domain::view::Page;
use crate::ports::control::CrashFilter;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which crash reports.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct CrashesQuery {
    /// Of this app.
    #[param(value_type = Option<String>, max_length = 253, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*(\.[A-Za-z](-?[A-Za-z0-9])*)*$")]
    pub app: Option<AppName>,
    /// Of this proc.
    #[param(value_type = Option<String>, max_length = 63, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*$")]
    pub proc: Option<ProcName>,
    /// Of this instance.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub instance: Option<InstanceNo>,
    /// At most this many items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f][0-9a-f])+$")]
    pub after: Option<Cursor>,
}

/// Which crash reports of an app.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AppCrashesQuery {
    /// Of this proc.
    #[param(value_type = Option<String>, max_length = 63, pattern = r"^[A-Za-z](-?[A-Za-z0-9])*$")]
    pub proc: Option<ProcName>,
    /// Of this instance.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub instance: Option<InstanceNo>,
    /// At most this many items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f][0-9a-f])+$")]
    pub after: Option<Cursor>,
}

/// A crash report in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CrashPath {
    /// The report's id.
    #[param(value_type = String, max_length = 64, pattern = "^[A-Za-z0-9-]+$")]
    pub id: CrashId,
}

/// Lists crash reports, newest first
///
/// Tokens of single apps see reports of those only; a page of theirs may be short.
#[utoipa::path(get, path = "/api/v1/crashes", params(CrashesQuery),
    responses((status = 200, description = "A page of crash reports", body = Page<CrashReport>)))]
pub async fn list_crashes(
    api: Data<Api>,
    who: Who,
    query: InQuery<CrashesQuery>,
) -> Result<HttpResponse, Problem> {
    if let Some(app) = &query.app {
        who.must_read(Some(app.as_str()))?;
    }
    let query = query.0;
    list(&api, &who, query).await
}

/// Lists crash reports of an app, newest first
#[utoipa::path(get, path = "/api/v1/apps/{app}/crashes",
    params(AppPath, AppCrashesQuery),
    responses((status = 200, description = "A page of crash reports", body = Page<CrashReport>)))]
pub async fn app_crashes(
    api: Data<Api>,
    who: Who,
    path: InPath<AppPath>,
    query: InQuery<AppCrashesQuery>,
) -> Result<HttpResponse, Problem> {
    // An app that never was has no empty list.
    api.control.app(&path.app).await?;
    let query = query.0;
    let query = CrashesQuery {
        app: Some(path.0.app),
        proc: query.proc,
        instance: query.instance,
        limit: query.limit,
        after: query.after,
    };
    list(&api, &who, query).await
}

async fn list(api: &Api, who: &Who, query: CrashesQuery) -> Result<HttpResponse, Problem> {
    let filter = CrashFilter {
        after: params::after(query.after.as_ref(), "crashes")?,
        app: query.app,
        proc: query.proc,
        instance: query.instance.map(|no| no.0),
        limit: query.limit.0,
    };
    let mut page = params::wrap("crashes", api.control.crashes(filter).await?);
    let visible = |report: &CrashReport| who.principal.may_read(report.instance.app.as_str());
    page.items.retain(visible);
    Ok(HttpResponse::Ok().json(page))
}

/// Reads a crash report
///
/// A report never changes: its `ETag` is its id, and `If-None-Match` is answered 304.
#[utoipa::path(get, path = "/api/v1/crashes/{id}",
    params(CrashPath,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` that is known already")),
    responses(
        (status = 200, description = "The crash report", body = CrashReport,
            headers(("ETag" = String, description = "The report's id"))),
        (status = 304, description = "It is what `If-None-Match` knows")))]
pub async fn get_crash(
    api: Data<Api>,
    who: Who,
    path: InPath<CrashPath>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let report = api.control.crash(&path.id).await?;
    who.must_read(Some(report.instance.app.as_str()))?;
    let tag = format!("\"{}\"", report.id);
    Ok(precondition::unless_known(
        request.headers(),
        &tag,
        |full| full.json(&report),
    ))
}
