//! What every handler shares: the control host, the tokens, the limits and the metrics.
//!
//! Made once by `serve`; each worker thread has a handle to the same one.

use super::error::{Kind, Problem};
use super::idempotency::Answers;
use super::limits::{Limits, RateLimiter, Slot, Slots, Source};
use super::metrics::Metrics;
use crate::ports::auth::{Principal, TokenVerifier};
use crate::ports::control::{Caller, Control};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What every handler shares.
pub struct Api {
    /// The control host.
    pub control: Arc<dyn Control>,
    /// Tells whose a token is.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The limits.
    pub limits: Limits,
    /// Host names that are served besides the address itself.
    pub allowed_hosts: Vec<String>,
    /// Requests of tokens and addresses.
    pub rate: RateLimiter,
    /// Refused tokens of addresses.
    pub refusals: RateLimiter,
    /// Open streams.
    pub slots: Arc<Slots>,
    /// Answers to idempotency keys.
    pub answers: Arc<Answers>,
    /// Turns true when the server is to stop; streams end then.
    pub stopping: watch::Receiver<bool>,
}

impl Api {
    /// Over these parts, with fresh counters.
    pub fn new(
        control: Arc<dyn Control>,
        verifier: Arc<dyn TokenVerifier>,
        metrics: Arc<Metrics>,
        limits: Limits,
        allowed_hosts: Vec<String>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let second = Duration::from_secs(1);
        let minute = Duration::from_secs(60);
        Self {
            rate: RateLimiter::new(limits.rate, second, limits.burst),
            refusals: RateLimiter::new(limits.refusals, minute, limits.refusals),
            slots: Slots::new(limits.streams, limits.streams_each),
            answers: Answers::new(limits.idempotency_keys, limits.idempotency_bytes),
            control,
            verifier,
            metrics,
            limits,
            allowed_hosts,
            stopping,
        }
    }

    /// A slot for a stream of this caller, until it is dropped.
    ///
    /// # Errors
    /// 429 when too many are open.
    pub fn stream_slot(&self, who: &Who) -> Result<Slot, Problem> {
        self.slots.take(&who.source).ok_or_else(|| {
            Problem::new(
                Kind::TooManyStreams,
                format!(
                    "{} streams may be open at a time, {} of one token and address; close one and repeat",
                    self.limits.streams, self.limits.streams_each
                ),
            )
        })
    }
}

/// Who makes a request, as `gate` found.
#[derive(Debug, Clone)]
pub struct Who {
    /// Whose token it is.
    pub principal: Principal,
    /// Token and address, for limits.
    pub source: Source,
    /// The address and port, for audit.
    pub from: String,
}

impl Who {
    /// For operations and audit.
    pub fn caller(&self) -> Caller {
        Caller {
            name: self.principal.name.clone(),
            from: self.from.clone(),
        }
    }

    /// # Errors
    /// 403 where this token may not read this app; `None` stands for what belongs to none.
    pub fn must_read(&self, app: Option<&str>) -> Result<(), Problem> {
        let may = match app {
            Some(app) => self.principal.may_read(app),
            None => self.principal.may_read_all(),
        };
        may.then_some(()).ok_or_else(|| self.refuse("read", app))
    }

    /// # Errors
    /// 403 where this token may not change this app; `None` stands for what belongs to none.
    pub fn must_change(&self, app: Option<&str>) -> Result<(), Problem> {
        let may = match app {
            Some(app) => self.principal.may_change(app),
            None => self.principal.may_change_all(),
        };
        may.then_some(()).ok_or_else(|| self.refuse("change", app))
    }

    fn refuse(&self, verb: &str, app: Option<&str>) -> Problem {
        let what = app.map_or("this".to_owned(), |app| format!("app {app}"));
        Problem::new(
            Kind::Forbidden,
            format!(
                "the token {} may not {verb} {what}; use one with a wider scope",
                self.principal.name
            ),
        )
    }
}

impl FromRequest for Who {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let who = request.extensions().get::<Who>().cloned();
        ready(who.ok_or_else(|| Problem::new(Kind::Unauthorized, "this needs a bearer token")))
    }
}

/// The id of a request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// The id that `observe` gave the request.
    pub fn of(request: &HttpRequest) -> String {
        let id = request
            .extensions()
            .get::<RequestId>()
            .map(|id| id.0.clone());
        id.unwrap_or_default()
    }
}
