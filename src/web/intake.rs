//! The body of a change, within its limits, and its idempotency key: whether it is to be carried out, and
//! what becomes of its answer.
//!
//! `gate` calls it for every method that is not safe.

use super::error::{Kind, Problem};
use super::idempotency::{self, Answer, Decision, Fingerprint, Pending};
use super::router::{Body, Rules};
use super::state::{Api, Who};
use actix_web::body::{BodyStream, BoxBody, MessageBody, to_bytes_limited};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpResponse, ResponseError};
use std::time::Instant;

/// The header with an idempotency key.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that is given again.
pub static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is to be done with a change.
pub enum Intake {
    /// Carry it out; where it has a key, keep its answer.
    CarryOut(Option<Pending>),
    /// It was carried out already: give its answer again.
    Repeat(Answer),
}

/// Reads the body of a change within its limits, puts it back, and looks its key up.
///
/// # Errors
/// What is wrong with body or key; 409 where the key is another request's, or still busy.
pub async fn take(
    rules: &Rules,
    api: &Api,
    request: &mut ServiceRequest,
) -> Result<Intake, Problem> {
    let body = read_body(rules, api, request).await?;
    if rules.body == Body::None && !matches!(body.trim_ascii(), b"" | b"{}") {
        return Err(Problem::new(Kind::MalformedBody, "this takes no body"));
    }
    let Some(key) = idempotency_key(request)? else {
        request.set_payload(body.into());
        return Ok(Intake::CarryOut(None));
    };
    let who = request
        .extensions()
        .get::<Who>()
        .map(|who| who.principal.name.clone());
    let fingerprint = fingerprint_of(request, &body);
    request.set_payload(body.into());
    let key = (who.unwrap_or_default(), key);
    match api.answers.begin(key, fingerprint, Instant::now()) {
        Decision::CarryOut(pending) => Ok(Intake::CarryOut(Some(pending))),
        Decision::Repeat(answer) => Ok(Intake::Repeat(answer)),
        Decision::InProgress => Err(Problem::new(
            Kind::IdempotencyInProgress,
            "the first request with this Idempotency-Key has not been answered yet; repeat in a moment",
        )),
        Decision::OtherRequest => Err(Problem::new(
            Kind::IdempotencyConflict,
            "this Idempotency-Key was used within 24 hours for another request; use a new key for each change",
        )),
    }
}

fn fingerprint_of(request: &ServiceRequest, body: &[u8]) -> Fingerprint {
    let condition = |name| {
        let value = request.headers().get(name);
        value.map(HeaderValue::as_bytes).unwrap_or_default()
    };
    idempotency::fingerprint(&[
        request.method().as_str().as_bytes(),
        request.path().as_bytes(),
        request.query_string().as_bytes(),
        condition(header::IF_MATCH),
        condition(header::IF_NONE_MATCH),
        body,
    ])
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

async fn read_body(
    rules: &Rules,
    api: &Api,
    request: &mut ServiceRequest,
) -> Result<Bytes, Problem> {
    let limit = api.limits.body;
    let too_large = || {
        let detail = format!("the body is larger than {limit} bytes, the most that is taken");
        Problem::new(Kind::TooLarge, detail)
    };
    let headers = request.headers();
    let encoding = headers.get(header::CONTENT_ENCODING);
    let plain = encoding.is_none_or(|e| e.as_bytes().eq_ignore_ascii_case(b"identity"));
    // What takes log events unpacks them itself.
    if !plain && rules.body != Body::Events {
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

/// Keeps the answer for repetitions of its key, unless it is one that may differ the next time.
pub fn remember(
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

/// Gives an answer again.
pub fn repeat(request: ServiceRequest, answer: Answer) -> ServiceResponse<BoxBody> {
    let mut response = match answer {
        Answer::Failed(problem) => problem.error_response(),
        Answer::Done {
            status,
            headers,
            body,
        } => replay(status, &headers, body),
    };
    let replayed = HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert(IDEMPOTENCY_REPLAYED.clone(), replayed);
    request.into_response(response)
}

fn replay(status: StatusCode, headers: &HeaderMap, body: Bytes) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body));
    for (name, value) in headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}
