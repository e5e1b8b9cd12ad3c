//! One bollard client for an engine, made and negotiated when first needed.
//!
//! Called by the rest of the driver. An engine that was away may come back as another version, so
//! the client is made anew after the engine did not answer.

use super::error::{self, Subject};
use super::status;
use super::transport::Transport;
use crate::ports::runtime::{EngineInfo, RuntimeError};
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest};
use hyper::Response;
use hyper::body::Incoming;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long an engine may take to begin its answer; `stop` and pulls take longer and say so.
const ANSWER_TIMEOUT: u64 = 120;
/// For how long what an engine says of itself is taken for true: it starts processes to find it out.
const INFO: Duration = Duration::from_secs(300);
/// How long an engine may take to say its version.
const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of one engine.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: String,
    ready: RwLock<Option<bollard::Docker>>,
    info: Mutex<Option<(Instant, EngineInfo)>>,
}

impl Client {
    pub(super) fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            ready: RwLock::new(None),
            info: Mutex::new(None),
        }
    }

    fn ready(&self) -> Option<bollard::Docker> {
        self.ready
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The client; connects and negotiates the API version if that was not done yet.
    pub(super) async fn get(&self) -> Result<bollard::Docker, RuntimeError> {
        if let Some(client) = self.ready() {
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
        let transport = Transport::parse(&self.endpoint)?;
        // Where a request goes is the transport's affair: bollard only wants a well-formed address.
        let address = Some("http://docker");
        bollard::Docker::connect_with_custom_transport(
            move |request| transport.clone().send(request),
            address,
            ANSWER_TIMEOUT,
            API_DEFAULT_VERSION,
        )
    }

    /// Asks whether the engine answers.
    pub(super) async fn ping(&self) -> Result<bollard::Docker, RuntimeError> {
        let client = self.get().await?;
        match client.ping().await {
            Ok(_) => Ok(client),
            Err(error) => Err(self.failure(error, Subject::engine("answer"))),
        }
    }

    /// Who the engine is, and that it answers now.
    pub(super) async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let client = self.ping().await?;
        let known = self
            .info
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((_, info)) = known.filter(|(asked, _)| asked.elapsed() < INFO) {
            return Ok(info);
        }
        let info = client.info().await;
        let info = info.map_err(|e| self.failure(e, Subject::engine("say who it is")))?;
        let info = status::engine_info(&info, &self.endpoint);
        let known = Some((Instant::now(), info.clone()));
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(info)
    }

    /// Sends a request that bollard has no form for; `path` is without the API version.
    pub(super) async fn send(
        &self,
        path: &str,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, Error> {
        let transport = Transport::parse(&self.endpoint)?;
        let version = self.ready().map(|engine| engine.client_version());
        let version = version
            .map(|version| format!("/v{version}"))
            .unwrap_or_default();
        *request.uri_mut() = format!("{version}{path}").parse()?;
        transport.send(request).await
    }

    /// What an error of bollard means to a caller. Forgets the client when the engine is away.
    pub(super) fn failure(&self, error: Error, subject: Subject<'_>) -> RuntimeError {
        let failure = error::translate(error, &subject, &self.endpoint);
        if matches!(failure, RuntimeError::Unreachable { .. }) {
            *self.info.lock().unwrap_or_else(PoisonError::into_inner) = None;
            *self.ready.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        failure
    }
}
