//! Docker Engine, through bollard: [`Docker`] implements [`Runtime`].
//!
//! Made by `roles`, called by the agent's actors. Holds no containers of its own: the engine is the
//! truth, and every call asks it. Never prints an environment variable's value.
//!
//! ```text
//! mod.rs        Docker, its options, the trait
//! transport.rs  connections
//! client.rs     one negotiated bollard client, made when first needed
//! error.rs      engine errors → RuntimeError           (pure)
//! spec.rs       ContainerSpec → what the engine wants  (pure)
//! status.rs     what the engine says → ContainerStatus (pure)
//! lifecycle.rs  create, start, stop, signal, remove
//! ending.rs     how an end is noticed and told
//! runs.rs       what is remembered, to ask the engine less
//! listing.rs images.rs events.rs logs.rs exec.rs
//! ```

mod client;
mod ending;
mod error;
mod events;
mod exec;
mod images;
mod lifecycle;
mod listing;
mod logs;
mod one_off;
mod runs;
mod spec;
mod status;
mod terminal;
mod transport;

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{
    ContainerSpec, ContainerStatus, EngineEvent, EngineInfo, ExecRequest, ExecSession, LogOrigin,
    LogsRequest, OutputLine, PullObserver, Resources, Runtime, RuntimeError, RuntimeKind, Started,
};
use async_trait::async_trait;
use client::Client;
use error::Subject;
use futures_util::stream::BoxStream;
use images::Images;
use runs::Runs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where Docker Engine listens when nothing else is said.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// How the driver is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the engine listens: `unix:///path` or `tcp://host:port` (plain HTTP).
    pub endpoint: String,
    /// The OCI runtime for new containers, as named in the engine's configuration; `None` is its default.
    pub oci_runtime: Option<String>,
    /// The size at which the engine rotates a container's log file, such as `10m`.
    pub log_max_size: String,
    /// How many log files the engine keeps of a container.
    pub log_max_files: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            oci_runtime: None,
            log_max_size: "10m".to_owned(),
            log_max_files: 3,
        }
    }
}

impl Options {
    /// The defaults, with the endpoint that `DOCKER_HOST` names if it is set.
    pub fn from_env() -> Self {
        match std::env::var("DOCKER_HOST") {
            Ok(endpoint) if !endpoint.is_empty() => Self {
                endpoint,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

/// Docker Engine as a [`Runtime`]. Cheap to clone: clones share the client.
#[derive(Debug, Clone)]
pub struct Docker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    options: Options,
    runs: Runs,
    images: Images,
}

impl Docker {
    /// A driver for the engine at `options.endpoint`; connects when first used, so the engine may
    /// be down now.
    pub fn new(options: Options) -> Self {
        let client = Client::new(options.endpoint.clone());
        Self {
            shared: Arc::new(Shared {
                client,
                options,
                runs: Runs::default(),
                images: Images::default(),
            }),
        }
    }

    fn client(&self) -> &Client {
        &self.shared.client
    }

    fn runs(&self) -> &Runs {
        &self.shared.runs
    }
}

#[async_trait]
impl Runtime for Docker {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.client().info().await
    }

    async fn ensure_image(&self, image: &str, progress: PullObserver) -> Result<(), RuntimeError> {
        images::ensure(self.client(), &self.shared.images, image, &progress).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        lifecycle::create(self, spec).await
    }

    async fn start(&self, id: &ContainerId) -> Result<Started, RuntimeError> {
        lifecycle::start(self, id).await
    }

    async fn stop(&self, id: &ContainerId, kill_timeout: Duration) -> Result<Exit, RuntimeError> {
        lifecycle::stop(self, id, kill_timeout).await
    }

    async fn signal(&self, id: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        lifecycle::signal(self, id, signal).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let done = self
            .client()
            .get()
            .await?
            .pause_container(id.as_str())
            .await;
        done.map_err(|e| self.client().failure(e, Subject::container("pause", id)))
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let done = self
            .client()
            .get()
            .await?
            .unpause_container(id.as_str())
            .await;
        done.map_err(|e| self.client().failure(e, Subject::container("unpause", id)))
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        lifecycle::remove(self, id).await
    }

    async fn update(&self, id: &ContainerId, resources: Resources) -> Result<(), RuntimeError> {
        let body = spec::update_body(resources);
        let done = self
            .client()
            .get()
            .await?
            .update_container(id.as_str(), body)
            .await;
        done.map_err(|e| {
            self.client()
                .failure(e, Subject::container("change the limits of", id))
        })
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        listing::inspect(self, id).await
    }

    async fn list(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerStatus>, RuntimeError> {
        listing::list(self, labels).await
    }

    async fn ended(&self, id: &ContainerId, pid: Option<u32>) -> Result<(), RuntimeError> {
        ending::ended(self, id, pid).await
    }

    async fn exit_of(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        ending::exit_of(self, id).await
    }

    fn events(&self, labels: BTreeMap<String, String>) -> BoxStream<'static, EngineEvent> {
        events::stream(self.clone(), labels)
    }

    fn logs(
        &self,
        id: &ContainerId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
        logs::stream(self.clone(), id.clone(), request)
    }

    async fn log_origin(&self, id: &ContainerId) -> Result<LogOrigin, RuntimeError> {
        listing::log_origin(self, id).await
    }

    async fn run(
        &self,
        spec: &ContainerSpec,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        one_off::run(self, spec, request).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        exec::run(self, id, request).await
    }
}
