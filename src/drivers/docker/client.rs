//! One bollard client for an engine, made and negotiated when first needed.
//!
//! Called by the rest of the driver. An engine that was away may come back as another version, so
//! the client is made anew after the engine did not answer.

use super::error::{self, Subject};
use crate::ports::runtime::RuntimeError;
use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// How long an engine may take to begin its answer; `stop` and pulls take longer and say so.
const ANSWER_TIMEOUT: u64 = 120;
/// How long an engine may take to say its version.
const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of one engine.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: String,
    ready: RwLock<Option<bollard::Docker>>,
}

impl Client {
    pub(super) fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            ready: RwLock::new(None),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The client; connects and negotiates the API version if that was not done yet.
    pub(super) async fn get(&self) -> Result<bollard::Docker, RuntimeError> {
        let ready = self
            .ready
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(client) = ready {
            return Ok(client);
        }
        let subject = || Subject::engine("say its version");
        let client = self.connect().map_err(|e| self.failure(e, subject()))?;
        let client = tokio::time::timeout(NEGOTIATION_TIMEOUT, client.negotiate_version())
            .await
            .unwrap_or(Err(Error::RequestTimeoutError))
            .map_err(|e| self.failure(e, subject()))?;
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    fn connect(&self) -> Result<bollard::Docker, Error> {
        if self.endpoint.starts_with("unix://") {
            bollard::Docker::connect_with_unix(&self.endpoint, ANSWER_TIMEOUT, API_DEFAULT_VERSION)
        } else if self.endpoint.starts_with("tcp://") || self.endpoint.starts_with("http://") {
            bollard::Docker::connect_with_http(&self.endpoint, ANSWER_TIMEOUT, API_DEFAULT_VERSION)
        } else {
            Err(Error::UnsupportedURISchemeError {
                uri: self.endpoint.clone(),
            })
        }
    }

    /// What an error of bollard means to a caller. Forgets the client when the engine is away.
    pub(super) fn failure(&self, error: Error, subject: Subject<'_>) -> RuntimeError {
        let failure = error::translate(error, &subject, &self.endpoint);
        if matches!(failure, RuntimeError::Unreachable { .. }) {
            *self.ready.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        failure
    }
}
