//! What stands before every route: method, origin, rate, token, scope, known parameters, body,
//! idempotency, and the time that an answer may take.
//!
//! Wraps each resource of `router`. Denies by default: a route without rules cannot be made.

use super::error::{Kind, Problem};
use super::extract;
use super::intake::{self, Intake};
use super::limits::Source;
use super::observe::{host_of, refuse};
use super::origin;
use super::router::{Access, Rules};
use super::state::{Api, Who};
use super::unread::Unread;
use crate::ports::auth::{Principal, TokenError};
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, rt};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio::task::JoinHandle;

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
        return read(&api, admitted, request, &next).await;
    }
    let pending = match intake::take(admitted, &api, &mut request).await {
        Ok(Intake::CarryOut(pending)) => pending,
        Ok(Intake::Repeat(answer)) => return Ok(intake::repeat(request, answer)),
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    let answer = next.call(request);
    // The answer is kept in the task, so also if nobody waits for it any more.
    let kept = async move { Ok(intake::remember(answer.await?, pending)) };
    carry_out(&api, kept, false).await
}

/// Answers a GET or HEAD; a body that nobody reads goes with the answer.
async fn read(
    api: &Api,
    rules: &Rules,
    mut request: ServiceRequest,
    next: &Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let unread = (rules.access != Access::WebSocket).then(|| Unread::take(&mut request));
    let mut response = carry_out(api, next.call(request), true).await?;
    if let Some(unread) = unread {
        unread.go_with(response.response_mut());
    }
    Ok(response)
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
        format!(
            "a page of {text:?} may not do this: only pages that lain itself serves at {host} may"
        ),
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
    if let Some(everyone) = api.verifier.anonymous() {
        return Ok(everyone);
    }
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

/// Runs a handler in a task of its own, which contains its panics. A change is carried out to its
/// end even if the client goes away; a read is dropped.
async fn carry_out(
    api: &Api,
    answer: impl Future<Output = Result<ServiceResponse<BoxBody>, Error>> + 'static,
    droppable: bool,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut task = Task {
        handle: rt::spawn(answer),
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
