//! The outermost layer: request ids, problems rendered, security headers, metrics and the log line.
//!
//! Wraps the whole app, so that also what has no route passes here.

use super::error::{Kind, Problem};
use super::intake::IDEMPOTENCY_REPLAYED;
use super::origin;
use super::state::{Api, RequestId};
use super::unread::{self, Unread};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// The header with the request's id.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The route of requests that have none, in metrics.
const UNMATCHED: &str = "unmatched";

/// What `serve` notes of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The address on our side.
    pub local: SocketAddr,
}

/// What is known of a request before it is handled.
struct Seen {
    id: String,
    method: Method,
    path: String,
    route: String,
    began: Instant,
}

/// See the module.
///
/// # Errors
/// Only with a finished answer, where the request is gone (a panic, a timeout).
pub async fn observe(
    api: Data<Api>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let seen = Seen {
        id: request_id(request.headers()),
        method: request.method().clone(),
        path: request.path().to_owned(),
        route: request.match_pattern().unwrap_or(UNMATCHED.to_owned()),
        began: Instant::now(),
    };
    request.extensions_mut().insert(RequestId(seen.id.clone()));
    let answered = match check_host(&api, &request) {
        Ok(()) => next.call(request).await,
        Err(problem) => Ok(refuse(request, &problem)),
    };
    match answered {
        Ok(response) => {
            let (request, response) = response.into_parts();
            let response = finish(&api, &seen, response);
            Ok(ServiceResponse::new(request, response))
        }
        Err(error) => {
            let response = finish(&api, &seen, error.error_response());
            Err(Finished::new(response).into())
        }
    }
}

/// Answers with a problem; what is left of the request's body goes along.
pub fn refuse(mut request: ServiceRequest, problem: &Problem) -> ServiceResponse<BoxBody> {
    let unread = Unread::take(&mut request);
    let mut response = problem.error_response();
    unread.go_with(&mut response);
    request.into_response(response)
}

/// A request names one of our hosts, or none can be told and it is refused.
fn check_host(api: &Api, request: &ServiceRequest) -> Result<(), Problem> {
    let host = host_of(request.headers())
        .or_else(|| request.uri().authority().map(|a| a.as_str()))
        .unwrap_or_default();
    let local = request.conn_data::<Connection>().map(|c| c.local.ip());
    if origin::host_is_ours(host, local, &api.allowed_hosts) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::ForbiddenHost,
        format!(
            "the host {host:?} is not served here; call lain by its address, or add the name to server.allowed_hosts"
        ),
    ))
}

/// The `Host` header as text.
pub fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
}

/// The client's id where it is a harmless word, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    headers
        .get(&X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(harmless)
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

fn finish(api: &Api, seen: &Seen, response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
    let mut response = render(seen, response);
    let status = response.status();
    let headers = response.headers_mut();
    secure(headers);
    if let Ok(id) = HeaderValue::from_str(&seen.id) {
        headers.insert(X_REQUEST_ID.clone(), id);
    }
    let took = seen.began.elapsed();
    // A method that a path does not have is no use of that path.
    let route = match status {
        StatusCode::METHOD_NOT_ALLOWED => UNMATCHED,
        _ => &seen.route,
    };
    api.metrics.request(&seen.method, route, status, took);
    log(seen, status, took.as_secs_f64() * 1000.0);
    if seen.method == Method::HEAD && response.body().size() == BodySize::Stream {
        return response.set_body(BoxBody::new(()));
    }
    response
}

/// Makes a problem of every answer that carries one, or that something else than us made.
fn render(seen: &Seen, mut response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
    let unread = response.extensions_mut().remove::<Unread>();
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    let problem = response.extensions().get::<Problem>().cloned();
    let problem = problem.or_else(|| {
        let text = || status.to_string();
        let detail = response.error().map_or_else(text, ToString::to_string);
        failed.then(|| Problem::new(Kind::of_status(status), detail))
    });
    let Some(problem) = problem else {
        return unread::hold(unread, response);
    };
    let mut rendered = problem.render(&seen.path, &seen.id);
    if let Some(mark) = response.headers().get(&IDEMPOTENCY_REPLAYED) {
        let name = IDEMPOTENCY_REPLAYED.clone();
        rendered.headers_mut().insert(name, mark.clone());
    }
    unread::hold(unread, rendered)
}

/// The headers that keep browsers from misusing an answer.
fn secure(headers: &mut HeaderMap) {
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in defaults {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

fn log(seen: &Seen, status: StatusCode, ms: f64) {
    let (method, path, request_id) = (seen.method.as_str(), &*seen.path, &*seen.id);
    let status = status.as_u16();
    if status >= 500 {
        tracing::error!(method, path, status, ms, request_id, "request failed");
    } else if seen.method.is_safe() || status >= 400 {
        tracing::debug!(method, path, status, ms, request_id, "request answered");
    } else {
        tracing::info!(method, path, status, ms, request_id, "request carried out");
    }
}

/// A finished answer on the road of errors, where the request that it answers is gone.
struct Finished(std::cell::RefCell<Option<HttpResponse>>, StatusCode);

impl Finished {
    fn new(response: HttpResponse) -> Self {
        let status = response.status();
        Self(std::cell::RefCell::new(Some(response)), status)
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.fmt(f)
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.fmt(f)
    }
}

impl ResponseError for Finished {
    fn status_code(&self) -> StatusCode {
        self.1
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let response = self.0.borrow_mut().take();
        response.unwrap_or_else(|| HttpResponse::new(self.1))
    }
}
