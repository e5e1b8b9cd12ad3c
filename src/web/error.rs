//! The problems of the API (RFC 9457), and how every error becomes one.
//!
//! Handlers and middleware return [`Problem`]; `observe` renders it with the request's id and path.
//! The list of kinds is a contract: `docs/api.md` documents each, and a test compares the two.

use crate::ports::control::{self, ControlError};
use crate::ports::runtime::RuntimeError;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";
const TYPE_PREFIX: &str = "urn:lain:problem:";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal $word:literal $title:literal,)*) => {
        /// What kind of problem it is: the stable last part of `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind, by status.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let code = match self { $(Kind::$name => $status,)* };
                StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The word in `type`.
            pub fn word(self) -> &'static str {
                match self { $(Kind::$name => $word,)* }
            }

            /// The title: the same for every problem of this kind.
            pub fn title(self) -> &'static str {
                match self { $(Kind::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// The request line, a header or the body cannot be read.
    BadRequest = 400 "bad-request" "The request cannot be read",
    /// A path, query or header parameter has a wrong value.
    BadParameter = 400 "bad-parameter" "A parameter has a wrong value",
    /// A query parameter is not known here.
    UnknownParameter = 400 "unknown-parameter" "A query parameter is not known",
    /// The body is no JSON object of the wanted form.
    MalformedBody = 400 "malformed-body" "The body has the wrong form",
    /// A field of the body is not known.
    UnknownField = 400 "unknown-field" "A field of the body is not known",
    /// No token, or one that is not known.
    Unauthorized = 401 "unauthorized" "A valid bearer token is needed",
    /// The token does not permit this.
    Forbidden = 403 "forbidden" "The token does not permit this",
    /// The `Host` is none of ours: DNS rebinding.
    ForbiddenHost = 403 "forbidden-host" "This host name is not served here",
    /// The `Origin` is none of ours.
    ForbiddenOrigin = 403 "forbidden-origin" "Pages of other origins may not do this",
    /// What was asked for does not exist.
    NotFound = 404 "not-found" "It does not exist",
    /// No such route.
    NoRoute = 404 "no-such-route" "There is nothing at this path",
    /// The path exists, the method does not.
    MethodNotAllowed = 405 "method-not-allowed" "This path does not have this method",
    /// The body did not come in time.
    RequestTimeout = 408 "request-timeout" "The request did not come in time",
    /// Not in this state.
    Conflict = 409 "conflict" "It is not in a state for this",
    /// The idempotency key was used for another request.
    IdempotencyConflict = 409 "idempotency-conflict" "The idempotency key belongs to another request",
    /// The first request with this idempotency key has not ended.
    IdempotencyInProgress = 409 "idempotency-in-progress" "The first request with this idempotency key has not ended",
    /// The engine refuses, and repeating does not help.
    EngineRefused = 409 "engine-refused" "The container engine refuses this",
    /// The event to resume after is no longer kept.
    Gone = 410 "gone" "The event to resume after is no longer kept",
    /// `If-Match` or `If-None-Match` does not hold.
    Stale = 412 "stale" "The precondition does not hold",
    /// The body is too large.
    TooLarge = 413 "too-large" "The body is too large",
    /// The body is of a type that is not understood.
    UnsupportedMediaType = 415 "unsupported-media-type" "The body is of a type that is not understood",
    /// The body is well formed, but what it says is wrong.
    Invalid = 422 "invalid" "What the body says is wrong",
    /// This path speaks WebSocket only.
    UpgradeRequired = 426 "upgrade-required" "This path speaks WebSocket only",
    /// `If-Match` is needed.
    PreconditionRequired = 428 "precondition-required" "If-Match is needed",
    /// Too many requests.
    RateLimited = 429 "rate-limited" "Too many requests",
    /// Too many streams.
    TooManyStreams = 429 "too-many-streams" "Too many open streams",
    /// A defect of lain.
    Internal = 500 "internal" "A defect of lain",
    /// Starting or stopping.
    Unavailable = 503 "unavailable" "lain is not ready",
    /// The store failed.
    StoreFailed = 503 "store-failed" "The store failed",
    /// The container engine does not answer, or failed.
    EngineFailed = 503 "engine-failed" "The container engine failed",
    /// It took too long.
    Timeout = 503 "timeout" "It took too long",
}

impl Kind {
    /// The whole `type`.
    pub fn uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.word())
    }

    /// The kind that stands for a status that something else than a handler of ours answered.
    pub fn of_status(status: StatusCode) -> Kind {
        Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.status() == status)
            .unwrap_or(if status.is_server_error() {
                Kind::Internal
            } else {
                Kind::BadRequest
            })
    }
}

/// A problem on its way to the client.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    /// What failed, on what, and what to do next.
    pub detail: String,
    /// Each problem of the body, for 422.
    pub errors: Vec<ProblemItem>,
    /// Seconds, for `Retry-After`.
    pub retry_after: Option<u64>,
    /// The methods that exist, for `Allow`.
    pub allow: Option<String>,
}

/// The body of every answer that is no success (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView {
    /// `urn:lain:problem:` and a stable word; `docs/api.md` lists them.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, and what to do next.
    pub detail: String,
    /// The path of the request.
    pub instance: String,
    /// The id of the request, also in `X-Request-Id` and in lain's log.
    pub request_id: String,
    /// Each problem of the body, with its place (422 only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
}

/// One problem of a body, with its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemItem {
    /// Dotted key of the `lain.yaml`, or JSON pointer into the body.
    pub pointer: String,
    /// Line of the `lain.yaml` from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Stable snake_case word.
    pub code: String,
    /// What is wrong, what was expected, and the nearest right key.
    pub detail: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = match kind {
            Kind::Unavailable | Kind::StoreFailed | Kind::EngineFailed | Kind::Timeout => Some(2),
            Kind::RateLimited | Kind::TooManyStreams | Kind::IdempotencyInProgress => Some(1),
            _ => None,
        };
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after,
            allow: None,
        }
    }

    /// The body for a request with this path and id.
    pub fn view(&self, instance: &str, request_id: &str) -> ProblemView {
        ProblemView {
            kind: self.kind.uri(),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        }
    }

    /// The whole answer for a request with this path and id.
    pub fn render(&self, instance: &str, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.kind.status());
        response.content_type(PROBLEM_JSON);
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, methods.as_str()));
        }
        match self.kind {
            Kind::Unauthorized => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"lain\""));
            }
            Kind::UpgradeRequired => {
                response.insert_header((UPGRADE, HeaderValue::from_static("websocket")));
            }
            _ => {}
        }
        response.json(self.view(instance, request_id))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    /// An empty answer that carries the problem; `observe` renders it.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::new(self.kind.status());
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let kind = match &error {
            ControlError::NotFound { .. } => Kind::NotFound,
            ControlError::Invalid { .. } => Kind::Invalid,
            ControlError::Conflict(_) => Kind::Conflict,
            ControlError::Stale { .. } => Kind::Stale,
            ControlError::PreconditionRequired(_) => Kind::PreconditionRequired,
            ControlError::Store(_) => Kind::StoreFailed,
            ControlError::Runtime(error) => kind_of_runtime(error),
            ControlError::Unavailable(_) => Kind::Unavailable,
            ControlError::Internal(_) => Kind::Internal,
        };
        let mut problem = Problem::new(kind, error.to_string());
        if let ControlError::Invalid { problems, .. } = error {
            problem.errors = problems.into_iter().map(ProblemItem::from).collect();
        }
        problem
    }
}

impl From<RuntimeError> for Problem {
    fn from(error: RuntimeError) -> Self {
        Problem::new(kind_of_runtime(&error), error.to_string())
    }
}

/// What gets better by itself is 503; what needs someone to act is 409.
fn kind_of_runtime(error: &RuntimeError) -> Kind {
    match error {
        RuntimeError::Unreachable { .. }
        | RuntimeError::DiskFull(_)
        | RuntimeError::Failed { .. } => Kind::EngineFailed,
        RuntimeError::NoContainer(_)
        | RuntimeError::NoImage { .. }
        | RuntimeError::PortTaken { .. }
        | RuntimeError::NameTaken(_)
        | RuntimeError::Refused { .. }
        | RuntimeError::Unsupported { .. } => Kind::EngineRefused,
    }
}

impl From<control::Problem> for ProblemItem {
    fn from(problem: control::Problem) -> Self {
        Self {
            pointer: problem.key,
            line: problem.line,
            column: problem.column,
            code: problem.code,
            detail: problem.detail,
        }
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
