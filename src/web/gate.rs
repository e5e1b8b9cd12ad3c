//! What stands before every route: method, origin, rate, token, scope, known parameters, body,
//! idempotency, and the time that an answer may take.
//!
//! Wraps each resource of `router`. Denies by default: a route without rules cannot be made.

use super::error::{Kind, Problem};
use super::extract;
use super::idempotency::{self, Answer, Decision, Pending};
use super::limits::Source;
use super::observe::{host_of, refuse};
use super::origin;
use super::router::{Access, Body, Rules};
use super::state::{Api, Who};
use super::unread::Unread;
use crate::ports::auth::{Principal, TokenError};
use actix_web::body::{BodyStream, BoxBody, MessageBody, to_bytes_limited};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, rt};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio::task::JoinHandle;

/// The header with an idempotency key.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that is given again.
pub static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// See the module.
///
/// # Errors
/// With a [`Problem`] where the request is gone: its handler panicked, or took too long.
pub async fn gate(
    methods: Rc<BTreeMap<&'static str, Rules>>,
    api: Data<Api>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let admitted = match admit(&methods, &api, &request) {
        Ok(rules) => rules,
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    if request.method().is_safe() {
        let unread = (admitted.access != Access::WebSocket).then(|| Unread::take(&mut request));
        let mut response = carry_out(&api, next, request, true).await?;
        if let Some(unread) = unread {
            unread.go_with(response.response_mut());
        }
        return Ok(response);
    }
    let pending = match prepare(admitted, &api, &mut request).await {
        Ok(Decision::CarryOut(pending)) => Some(pending),
        Ok(Decision::Repeat(answer)) => return Ok(repeat(request, answer)),
        Ok(Decision::InProgress) => {
            return Ok(refuse(request, &busy()));
        }
        Ok(Decision::OtherRequest) => return Ok(refuse(request, &other_request())),
        Err(Refusal::NoKey) => None,
        Err(Refusal::Problem(problem)) => return Ok(refuse(request, &problem)),
    };
    let response = carry_out(&api, next, request, false).await?;
    Ok(remember(response, pending))
}

fn busy() -> Problem {
    Problem::new(
        Kind::IdempotencyInProgress,
        "the first request with this Idempotency-Key has not been answered yet; repeat in a moment",
    )
}

fn other_request() -> Problem {
    Problem::new(
        Kind::IdempotencyConflict,
        "this Idempotency-Key was used within 24 hours for another request; use a new key for each change",
    )
}

/// Everything that can be told without the body. Notes who asks in the request.
fn admit<'a>(
    methods: &'a BTreeMap<&'static str, Rules>,
    api: &Api,
    request: &ServiceRequest,
) -> Result<&'a Rules, Problem> {
    let method = match request.method() {
        &Method::HEAD if !methods.contains_key("HEAD") => "GET",
        other => other.as_str(),
    };
    let rules = methods
        .get(method)
        .filter(|rules| request.method() != Method::HEAD || rules.access != Access::WebSocket);
    let rules = rules.ok_or_else(|| not_allowed(methods, request))?;
    check_origin(api, rules, request)?;
    let address = peer(request);
    if rules.access == Access::Open {
        limit_rate(api, &Source::new("", address))?;
    } else {
        let principal = authenticate(api, request, address)?;
        let source = Source::new(&principal.name, address);
        limit_rate(api, &source)?;
        let who = Who {
            principal,
            source,
            from: request
                .peer_addr()
                .map_or("unknown".to_owned(), |a| a.to_string()),
        };
        authorize(rules.access, &who, request)?;
        request.extensions_mut().insert(who);
    }
    check_parameters(rules, request.query_string())?;
    Ok(rules)
}

fn not_allowed(methods: &BTreeMap<&'static str, Rules>, request: &ServiceRequest) -> Problem {
    let mut allow: Vec<&str> = Vec::new();
    for (method, rules) in methods {
        allow.push(method);
        if *method == "GET" && rules.access != Access::WebSocket {
            allow.push("HEAD");
        }
    }
    let allow = allow.join(", ");
    let detail = format!(
        "{} does not have {}; it has {allow}",
        request.path(),
        request.method()
    );
    let mut problem = Problem::new(Kind::MethodNotAllowed, detail);
    problem.allow = Some(allow);
    problem
}

/// Browsers say which page makes them change something or open a WebSocket.
fn check_origin(api: &Api, rules: &Rules, request: &ServiceRequest) -> Result<(), Problem> {
    if request.method().is_safe() && rules.access != Access::WebSocket {
        return Ok(());
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(());
    };
    let host = host_of(request.headers()).unwrap_or_default();
    let text = origin.to_str().unwrap_or_default();
    if origin::origin_is_ours(text, host, &api.allowed_hosts) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::ForbiddenOrigin,
        format!("a page of {text:?} may not do this; name its host in web.allowed_hosts if it may"),
    ))
}

/// The address that a request came from. Without one (in-process tests) all count as one.
fn peer(request: &ServiceRequest) -> IpAddr {
    request
        .peer_addr()
        .map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

fn limit_rate(api: &Api, source: &Source) -> Result<(), Problem> {
    api.rate.admit(source, Instant::now()).map_err(|wait| {
        limited(
            wait.as_secs() + 1,
            format!("more than {} requests a second", api.limits.rate),
        )
    })
}

fn limited(seconds: u64, what: String) -> Problem {
    let detail = format!("{what}; repeat after {seconds} s");
    let mut problem = Problem::new(Kind::RateLimited, detail);
    problem.retry_after = Some(seconds);
    problem
}

/// Whose the bearer token is. Only refusals are counted, so nobody is locked out by another.
fn authenticate(
    api: &Api,
    request: &ServiceRequest,
    address: IpAddr,
) -> Result<Principal, Problem> {
    let token = bearer(request)?;
    api.verifier.verify(token).map_err(|error| match error {
        TokenError::Unavailable(_) => Problem::new(Kind::Unavailable, error.to_string()),
        TokenError::Unknown | TokenError::Expired(_) => {
            api.metrics.refused_token();
            let counted = api
                .refusals
                .admit(&Source::new("", address), Instant::now());
            match counted {
                Ok(()) => Problem::new(Kind::Unauthorized, error.to_string()),
                Err(wait) => limited(wait.as_secs() + 1, "too many refused tokens".to_owned()),
            }
        }
    })
}

fn bearer(request: &ServiceRequest) -> Result<&str, Problem> {
    let missing = || {
        Problem::new(
            Kind::Unauthorized,
            "send a token as `Authorization: Bearer <token>`; `lain` on the server's machine finds its own",
        )
    };
    let value = request
        .headers()
        .get(header::AUTHORIZATION)
        .ok_or_else(missing)?;
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(missing)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(missing())
    }
}

/// Whether this caller may use a route like this; handlers of `Own` routes look further.
fn authorize(access: Access, who: &Who, request: &ServiceRequest) -> Result<(), Problem> {
    let app = request.match_info().get("app");
    match access {
        Access::Open | Access::Own => Ok(()),
        Access::Read => who.must_read(app),
        Access::Change | Access::WebSocket => who.must_change(app),
    }
}

fn check_parameters(rules: &Rules, query: &str) -> Result<(), Problem> {
    if query.is_empty() {
        return Ok(());
    }
    let known = &rules.query;
    for (name, _) in extract::pairs(query)? {
        if !known.contains(&name) {
            let which = if known.is_empty() {
                "this takes none".to_owned()
            } else {
                format!("known are {}", known.join(", "))
            };
            let detail = format!("query parameter {name:?} is not known; {which}");
            return Err(Problem::new(Kind::UnknownParameter, detail));
        }
    }
    Ok(())
}

/// Why there is no decision about a key.
enum Refusal {
    NoKey,
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal::Problem(problem)
    }
}

/// Reads the body of a change within its limits, puts it back, and looks its key up.
async fn prepare(
    rules: &Rules,
    api: &Api,
    request: &mut ServiceRequest,
) -> Result<Decision, Refusal> {
    let body = read_body(api, request).await?;
    if rules.body == Body::None && !matches!(body.trim_ascii(), b"" | b"{}") {
        return Err(Problem::new(Kind::MalformedBody, "this takes no body").into());
    }
    let key = idempotency_key(request)?;
    let decision = match key {
        Some(key) => {
            let who = request
                .extensions()
                .get::<Who>()
                .map(|w| w.principal.name.clone());
            let condition = |name| {
                let value = request.headers().get(name);
                value.map(header::HeaderValue::as_bytes).unwrap_or_default()
            };
            let fingerprint = idempotency::fingerprint(&[
                request.method().as_str().as_bytes(),
                request.path().as_bytes(),
                request.query_string().as_bytes(),
                condition(header::IF_MATCH),
                condition(header::IF_NONE_MATCH),
                &body,
            ]);
            let key = (who.unwrap_or_default(), key);
            Ok(api.answers.begin(key, fingerprint, Instant::now()))
        }
        None => Err(Refusal::NoKey),
    };
    request.set_payload(body.into());
    decision
}

fn idempotency_key(request: &ServiceRequest) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get(&IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=idempotency::MAX_KEY).contains(&key.len()) {
        return Ok(Some(key.to_owned()));
    }
    let detail = format!(
        "the Idempotency-Key is 1 to {} printable ASCII characters without spaces, such as a UUID",
        idempotency::MAX_KEY
    );
    Err(Problem::new(Kind::BadParameter, detail))
}

async fn read_body(api: &Api, request: &mut ServiceRequest) -> Result<Bytes, Problem> {
    let limit = api.limits.body;
    let too_large = || {
        let detail = format!("the body is larger than {limit} bytes, the most that is taken");
        Problem::new(Kind::TooLarge, detail)
    };
    let headers = request.headers();
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "the body has a Content-Encoding; send it as it is";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok());
    let announced = announced.and_then(|l| l.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut payload = request.take_payload();
    let whole = to_bytes_limited(BodyStream::new(&mut payload), limit);
    let whole = tokio::time::timeout(api.limits.body_time, whole).await;
    // What was not read goes with the refusal.
    request.set_payload(payload);
    match whole {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => {
            let detail = format!("the body did not come whole: {error}");
            Err(Problem::new(Kind::BadRequest, detail))
        }
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let seconds = api.limits.body_time.as_secs_f64();
            let detail = format!("the body did not come within {seconds} s");
            Err(Problem::new(Kind::RequestTimeout, detail))
        }
    }
}

/// Runs a handler in a task of its own, which contains its panics. A change is carried out to its
/// end even if the client goes away; a read is dropped.
async fn carry_out(
    api: &Api,
    next: Next<BoxBody>,
    request: ServiceRequest,
    droppable: bool,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut task = Task {
        handle: rt::spawn(next.call(request)),
        droppable,
    };
    match tokio::time::timeout(api.limits.answer_time, &mut task.handle).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            api.metrics.handler_panicked();
            let reason = panic_text(error);
            let detail = format!("internal error: {reason}; please report it with the request id");
            Err(Problem::new(Kind::Internal, detail).into())
        }
        Err(_) => {
            let seconds = api.limits.answer_time.as_secs_f64();
            let detail = format!("no answer within {seconds} s; it may still be carried out");
            Err(Problem::new(Kind::Timeout, detail).into())
        }
    }
}

struct Task {
    handle: JoinHandle<Result<ServiceResponse<BoxBody>, Error>>,
    droppable: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.droppable {
            self.handle.abort();
        }
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "the handler was cancelled".to_owned();
    };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".to_owned())
}

/// Keeps the answer for repetitions of its key, unless it is one that may differ the next time.
fn remember(
    response: ServiceResponse<BoxBody>,
    pending: Option<Pending>,
) -> ServiceResponse<BoxBody> {
    let Some(pending) = pending else {
        return response;
    };
    let status = response.status();
    let problem = response.response().extensions().get::<Problem>().cloned();
    if let Some(problem) = problem {
        if !status.is_server_error() {
            pending.keep(Answer::Failed(problem));
        }
        return response;
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    match body.try_into_bytes() {
        Ok(body) => {
            pending.keep(Answer::Done {
                status,
                headers: head.headers().clone(),
                body: body.clone(),
            });
            ServiceResponse::new(request, head.set_body(BoxBody::new(body)))
        }
        Err(body) => ServiceResponse::new(request, head.set_body(body)),
    }
}

fn repeat(request: ServiceRequest, answer: Answer) -> ServiceResponse<BoxBody> {
    let mut response = match answer {
        Answer::Failed(problem) => problem.error_response(),
        Answer::Done {
            status,
            headers,
            body,
        } => replay(status, &headers, body),
    };
    let replayed = header::HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert(IDEMPOTENCY_REPLAYED.clone(), replayed);
    request.into_response(response)
}

fn replay(status: StatusCode, headers: &header::HeaderMap, body: Bytes) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body));
    for (name, value) in headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}
