//! Every route of the API, in one table.
//!
//! A row says method, path, who may, what body, and the handler with its documentation. Routing,
//! access, 405 with `Allow`, known query parameters and OpenAPI all come from it.

use super::error::{Kind, Problem};
use super::gate::gate;
use super::observe::observe;
use super::openapi;
use super::state::Api;
use super::unread::Unread;
use super::{
    apps, audit, crashes, docs, doctor, endpoints, events, exec, instances, log_export, log_intake,
    log_routes, log_search, logs, nodes, operations, procs, revisions, sinks, supervision, system,
};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::{Any, Get, Head, Method as Of};
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{
    App, Error, FromRequest, Handler, HttpRequest, HttpResponse, Responder, ResponseError, Route,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, ParameterIn};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone, without a token.
    Open,
    /// Every token; the handler leaves out, or refuses, what is not its own.
    Own,
    /// Tokens that may read the app in the path, or everything where there is none.
    Read,
    /// Tokens that may change the app in the path, or everything where there is none.
    Change,
    /// As [`Access::Change`], by a GET that becomes a WebSocket.
    WebSocket,
}

/// What body a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// None.
    None,
    /// A JSON object.
    Json,
    /// Log events: JSON, also compressed.
    Events,
}

/// One row of the table.
pub struct Row {
    /// `GET` rows answer `HEAD` too, but for WebSockets.
    pub method: Method,
    /// With `{parameters}`.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// What body.
    pub body: Body,
    /// Its documentation, from the handler.
    pub operation: fn() -> Operation,
    /// The method and path that the handler documents, for a test.
    pub documented: fn() -> (Vec<utoipa::openapi::HttpMethod>, String),
    mount: Box<dyn Fn() -> Route>,
}

/// What `gate` needs to know of a row.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who may.
    pub access: Access,
    /// What body.
    pub body: Body,
    /// The query parameters that it knows.
    pub query: Vec<String>,
}

fn row<P, F, Args>(
    method: Method,
    path: &'static str,
    access: Access,
    body: Body,
    handler: F,
) -> Row
where
    P: utoipa::Path,
    F: Handler<Args> + Copy,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let guard = method.clone();
    let heads = method == Method::GET && access != Access::WebSocket;
    Row {
        method,
        path,
        access,
        body,
        operation: P::operation,
        documented: || (P::methods(), P::path()),
        mount: Box::new(move || {
            let route = web::route();
            let route = match heads {
                true => route.guard(Any(Get()).or(Head())),
                false => route.guard(Of(guard.clone())),
            };
            route.to(handler)
        }),
    }
}

fn get<P, F, Args>(path: &'static str, access: Access, handler: F) -> Row
where
    P: utoipa::Path,
    F: Handler<Args> + Copy,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    row::<P, F, Args>(Method::GET, path, access, Body::None, handler)
}

fn post<P, F, Args>(path: &'static str, access: Access, handler: F) -> Row
where
    P: utoipa::Path,
    F: Handler<Args> + Copy,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    row::<P, F, Args>(Method::POST, path, access, Body::None, handler)
}

fn post_json<P, F, Args>(path: &'static str, access: Access, handler: F) -> Row
where
    P: utoipa::Path,
    F: Handler<Args> + Copy,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    row::<P, F, Args>(Method::POST, path, access, Body::Json, handler)
}

/// The table.
#[rustfmt::skip]
pub fn table() -> Vec<Row> {
    use Access::{Change, Open, Own, Read, WebSocket};
    vec![
        get::<system::__path_healthz, _, _>("/healthz", Open, system::healthz),
        get::<system::__path_readyz, _, _>("/readyz", Open, system::readyz),
        get::<system::__path_version, _, _>("/version", Open, system::version),
        get::<system::__path_api_version, _, _>("/api/v1/version", Open, system::api_version),
        get::<system::__path_metrics, _, _>("/metrics", Read, system::metrics),
        get::<docs::__path_openapi_json, _, _>("/api/v1/openapi.json", Open, docs::openapi_json),
        get::<docs::__path_docs_page, _, _>("/api/v1/docs", Open, docs::docs_page),
        get::<docs::__path_docs_script, _, _>("/api/v1/docs/docs.js", Open, docs::docs_script),
        get::<docs::__path_docs_style, _, _>("/api/v1/docs/docs.css", Open, docs::docs_style),

        get::<apps::__path_list_apps, _, _>("/api/v1/apps", Own, apps::list_apps),
        get::<apps::__path_get_app, _, _>("/api/v1/apps/{app}", Read, apps::get_app),
        row::<apps::__path_deploy_app, _, _>(Method::PUT, "/api/v1/apps/{app}", Change, Body::Json, apps::deploy_app),
        row::<apps::__path_undeploy_app, _, _>(Method::DELETE, "/api/v1/apps/{app}", Change, Body::None, apps::undeploy_app),
        post::<apps::__path_restart_app, _, _>("/api/v1/apps/{app}/restart", Change, apps::restart_app),
        post::<apps::__path_stop_app, _, _>("/api/v1/apps/{app}/stop", Change, apps::stop_app),
        post::<apps::__path_start_app, _, _>("/api/v1/apps/{app}/start", Change, apps::start_app),
        get::<endpoints::__path_list_endpoints, _, _>("/api/v1/apps/{app}/endpoints", Read, endpoints::list_endpoints),
        get::<revisions::__path_list_revisions, _, _>("/api/v1/apps/{app}/revisions", Read, revisions::list_revisions),
        get::<revisions::__path_get_revision, _, _>("/api/v1/apps/{app}/revisions/{revision}", Read, revisions::get_revision),
        post_json::<revisions::__path_rollback_app, _, _>("/api/v1/apps/{app}/rollback", Change, revisions::rollback_app),
        post::<revisions::__path_promote_app, _, _>("/api/v1/apps/{app}/promote", Change, revisions::promote_app),
        post::<revisions::__path_abort_app, _, _>("/api/v1/apps/{app}/abort", Change, revisions::abort_app),
        get::<logs::__path_app_logs, _, _>("/api/v1/apps/{app}/logs", Read, logs::app_logs),
        get::<crashes::__path_app_crashes, _, _>("/api/v1/apps/{app}/crashes", Read, crashes::app_crashes),

        get::<procs::__path_list_procs, _, _>("/api/v1/apps/{app}/procs", Read, procs::list_procs),
        get::<procs::__path_get_proc, _, _>("/api/v1/apps/{app}/procs/{proc}", Read, procs::get_proc),
        row::<procs::__path_scale_proc, _, _>(Method::PATCH, "/api/v1/apps/{app}/procs/{proc}", Change, Body::Json, procs::scale_proc),
        post::<procs::__path_restart_proc, _, _>("/api/v1/apps/{app}/procs/{proc}/restart", Change, procs::restart_proc),
        post::<procs::__path_stop_proc, _, _>("/api/v1/apps/{app}/procs/{proc}/stop", Change, procs::stop_proc),
        post::<procs::__path_start_proc, _, _>("/api/v1/apps/{app}/procs/{proc}/start", Change, procs::start_proc),
        get::<exec::__path_run_command, _, _>("/api/v1/apps/{app}/procs/{proc}/run", WebSocket, exec::run_command),

        get::<instances::__path_list_instances, _, _>("/api/v1/apps/{app}/procs/{proc}/instances", Read, instances::list_instances),
        get::<instances::__path_get_instance, _, _>("/api/v1/apps/{app}/procs/{proc}/instances/{no}", Read, instances::get_instance),
        post::<instances::__path_restart_instance, _, _>("/api/v1/apps/{app}/procs/{proc}/instances/{no}/restart", Change, instances::restart_instance),
        post::<instances::__path_stop_instance, _, _>("/api/v1/apps/{app}/procs/{proc}/instances/{no}/stop", Change, instances::stop_instance),
        post::<instances::__path_start_instance, _, _>("/api/v1/apps/{app}/procs/{proc}/instances/{no}/start", Change, instances::start_instance),
        get::<nodes::__path_why, _, _>("/api/v1/apps/{app}/procs/{proc}/instances/{no}/why", Read, nodes::why),
        get::<exec::__path_exec_command, _, _>("/api/v1/apps/{app}/procs/{proc}/instances/{no}/exec", WebSocket, exec::exec_command),

        get::<crashes::__path_list_crashes, _, _>("/api/v1/crashes", Own, crashes::list_crashes),
        get::<crashes::__path_get_crash, _, _>("/api/v1/crashes/{id}", Own, crashes::get_crash),
        get::<nodes::__path_list_nodes, _, _>("/api/v1/nodes", Read, nodes::list_nodes),
        post_json::<nodes::__path_make_token, _, _>("/api/v1/nodes/tokens", Change, nodes::make_token),
        get::<nodes::__path_get_node, _, _>("/api/v1/nodes/{node}", Read, nodes::get_node),
        row::<nodes::__path_change_node, _, _>(Method::PATCH, "/api/v1/nodes/{node}", Change, Body::Json, nodes::change_node),
        row::<nodes::__path_remove_node, _, _>(Method::DELETE, "/api/v1/nodes/{node}", Change, Body::None, nodes::remove_node),
        post::<nodes::__path_drain_node, _, _>("/api/v1/nodes/{node}/drain", Change, nodes::drain_node),
        post_json::<nodes::__path_drift, _, _>("/api/v1/drift", Change, nodes::drift),
        get::<nodes::__path_get_moves, _, _>("/api/v1/moves/{id}", Read, nodes::get_moves),
        get::<operations::__path_list_operations, _, _>("/api/v1/operations", Own, operations::list_operations),
        get::<operations::__path_get_operation, _, _>("/api/v1/operations/{id}", Own, operations::get_operation),
        post::<operations::__path_cancel_operation, _, _>("/api/v1/operations/{id}/cancel", Own, operations::cancel_operation),
        get::<events::__path_list_events, _, _>("/api/v1/events", Own, events::list_events),

        get::<supervision::__path_get_tree, _, _>("/api/v1/supervision", Read, supervision::get_tree),
        get::<supervision::__path_get_actor, _, _>("/api/v1/supervision/actor", Read, supervision::get_actor),
        get::<supervision::__path_watch_actors, _, _>("/api/v1/supervision/events", Read, supervision::watch_actors),
        post::<supervision::__path_restart_actor, _, _>("/api/v1/supervision/restart", Change, supervision::restart_actor),
        post::<supervision::__path_terminate_actor, _, _>("/api/v1/supervision/terminate", Change, supervision::terminate_actor),

        get::<log_search::__path_search_logs, _, _>("/api/v1/logs/search", Own, log_search::search_logs),
        get::<log_search::__path_log_histogram, _, _>("/api/v1/logs/histogram", Own, log_search::log_histogram),
        get::<log_search::__path_log_values, _, _>("/api/v1/logs/values", Own, log_search::log_values),
        get::<log_search::__path_log_fields, _, _>("/api/v1/logs/fields", Own, log_search::log_fields),
        get::<log_search::__path_log_surrounding, _, _>("/api/v1/logs/surrounding", Own, log_search::log_surrounding),
        get::<log_search::__path_log_stats, _, _>("/api/v1/logs/stats", Own, log_search::log_stats),
        get::<log_routes::__path_log_routes, _, _>("/api/v1/logs/routes", Own, log_routes::log_routes),
        row::<log_intake::__path_take_events, _, _>(Method::POST, "/api/v1/logs/events", Own, Body::Events, log_intake::take_events),
        get::<log_intake::__path_list_inputs, _, _>("/api/v1/inputs", Read, log_intake::list_inputs),
        get::<log_search::__path_log_tail, _, _>("/api/v1/logs/tail", Own, log_search::log_tail),
        get::<log_export::__path_log_export, _, _>("/api/v1/logs/export", Own, log_export::log_export),
        get::<log_search::__path_log_index, _, _>("/api/v1/logs/index", Read, log_search::log_index),
        get::<sinks::__path_list_sinks, _, _>("/api/v1/sinks", Read, sinks::list_sinks),
        post::<sinks::__path_reload_sinks, _, _>("/api/v1/sinks/reload", Change, sinks::reload_sinks),
        get::<sinks::__path_get_sink, _, _>("/api/v1/sinks/{sink}", Read, sinks::get_sink),
        post::<sinks::__path_test_sink, _, _>("/api/v1/sinks/{sink}/test", Change, sinks::test_sink),
        post::<sinks::__path_pause_sink, _, _>("/api/v1/sinks/{sink}/pause", Change, sinks::pause_sink),
        post::<sinks::__path_resume_sink, _, _>("/api/v1/sinks/{sink}/resume", Change, sinks::resume_sink),
        post::<sinks::__path_rewind_sink, _, _>("/api/v1/sinks/{sink}/rewind", Change, sinks::rewind_sink),
        get::<log_export::__path_list_saved, _, _>("/api/v1/logs/saved", Read, log_export::list_saved),
        get::<log_export::__path_get_saved, _, _>("/api/v1/logs/saved/{name}", Read, log_export::get_saved),
        row::<log_export::__path_put_saved, _, _>(Method::PUT, "/api/v1/logs/saved/{name}", Change, Body::Json, log_export::put_saved),
        row::<log_export::__path_delete_saved, _, _>(Method::DELETE, "/api/v1/logs/saved/{name}", Change, Body::None, log_export::delete_saved),

        get::<audit::__path_list_audit, _, _>("/api/v1/audit", Read, audit::list_audit),
        get::<doctor::__path_run_doctor, _, _>("/api/v1/doctor", Read, doctor::run_doctor),
    ]
}

/// The rules of a row, its known parameters from its documentation.
fn rules(row: &Row) -> Rules {
    let operation = openapi::documented(row);
    let parameters = operation.parameters.unwrap_or_default().into_iter();
    let query = parameters.filter_map(|parameter| match parameter {
        RefOr::T(p) if matches!(p.parameter_in, ParameterIn::Query) => Some(p.name),
        _ => None,
    });
    Rules {
        access: row.access,
        body: row.body,
        query: query.collect(),
    }
}

/// Mounts the table, each path behind its gate, and answers 404 to the rest.
pub fn mount(config: &mut ServiceConfig) {
    let mut by_path: BTreeMap<&'static str, Vec<Row>> = BTreeMap::new();
    for row in table() {
        by_path.entry(row.path).or_default().push(row);
    }
    for (path, rows) in by_path {
        let methods: BTreeMap<&'static str, Rules> = rows
            .iter()
            .map(|row| (name_of(&row.method), rules(row)))
            .collect();
        let methods = Rc::new(methods);
        let mut resource = web::resource(path);
        for row in &rows {
            resource = resource.route((row.mount)());
        }
        config.service(resource.wrap(from_fn(move |api: Data<Api>, request, next| {
            gate(Rc::clone(&methods), api, request, next)
        })));
    }
    config.default_service(web::to(no_route));
}

/// The methods of the table as constants.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "GET",
    }
}

async fn no_route(request: HttpRequest, body: Payload) -> HttpResponse {
    let detail = format!(
        "there is nothing at {}; /api/v1/docs lists what there is",
        request.path()
    );
    let mut response = Problem::new(Kind::NoRoute, detail).error_response();
    Unread::new(body.into_inner()).go_with(&mut response);
    response
}

/// The whole app over `api`, for `serve` and for tests without a socket.
pub fn app(
    api: Data<Api>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse,
        Error = Error,
        InitError = (),
    >,
> {
    // `gate` has limited the body; what hands it on to a handler must not be stricter (256 KiB if unset).
    let handed_on = web::PayloadConfig::new(api.limits.body);
    App::new()
        .app_data(handed_on)
        .app_data(api)
        .configure(mount)
        .wrap(from_fn(observe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_document_the_row_that_they_are_in() {
        for row in table() {
            let (methods, path) = (row.documented)();
            assert_eq!(path, row.path, "{} {}", row.method, row.path);
            let documented: Vec<String> = methods
                .iter()
                .map(|m| serde_json::to_value(m).unwrap().to_string().to_uppercase())
                .collect();
            assert_eq!(documented, [format!("\"{}\"", row.method)], "{}", row.path);
        }
    }

    #[test]
    fn what_changes_needs_more_than_to_read() {
        for row in table() {
            let changes = row.method != Method::GET || row.access == Access::WebSocket;
            let guarded = matches!(row.access, Access::Change | Access::WebSocket)
                // Of their own: the handlers look at what it is about.
                || ["/api/v1/operations/{id}/cancel", "/api/v1/logs/events"].contains(&row.path);
            assert_eq!(changes, guarded, "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn only_these_need_no_token() {
        let open: Vec<&str> = table()
            .iter()
            .filter(|row| row.access == Access::Open)
            .map(|row| row.path)
            .collect();
        let wanted = [
            "/healthz",
            "/readyz",
            "/version",
            "/api/v1/version",
            "/api/v1/openapi.json",
            "/api/v1/docs",
            "/api/v1/docs/docs.js",
            "/api/v1/docs/docs.css",
        ];
        assert_eq!(open, wanted);
    }
}
