//! One host put together from its parts: store, engine, tokens, tree, API. Shared by the roles.

use crate::actors::control::render::Site;
use crate::actors::root;
use crate::actors::shared::{Settings, Shared};
use crate::actors::supervise::Tree;
use crate::auth::endpoint::{Announced, Endpoint, runtime_dirs};
use crate::auth::{AuthError, Authenticator};
use crate::config::{Config, EngineKind};
use crate::domain::record::keys;
use crate::drivers::docker::{Docker, Options};
use crate::drivers::process::{Options as ProcessOptions, Processes};
use crate::drivers::redb::RedbStore;
use crate::logging::pipe::Host as LogHost;
use crate::logging::spool::SpoolError;
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::runtime::{Runtime, RuntimeError};
use crate::ports::store::{Change, Compare, Outcome, Store, StoreError};
use crate::roles::web_server::{self, Bound};
use crate::web::{Limits, Metrics, WebOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The store's file in the data directory.
const STORE_FILE: &str = "lain.redb";
/// Threads that serve the API.
const WEB_WORKERS: usize = 1;

/// Why a host could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used: {reason}; choose another with --data-dir")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The tokens.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// No engine answers, and none may stand in.
    #[error("{0}")]
    Engine(RuntimeError),
    /// The tree did not start.
    #[error("{0}")]
    Tree(String),
    /// The endpoint file.
    #[error("the command line cannot be told where lain serves: {0}")]
    Announce(std::io::Error),
}

/// A running host.
pub struct Host {
    /// The environment of the actors.
    pub shared: Arc<Shared>,
    /// The tree.
    pub tree: Tree,
    /// Where the API is served.
    pub url: String,
    /// The file with the admin token.
    pub token_file: PathBuf,
    _announced: Announced,
}

/// Starts a host as the configuration says.
///
/// # Errors
/// [`HostError`]: what is in the way, and what to do.
pub async fn start(role: &'static str, config: &Config) -> Result<Host, HostError> {
    let data_dir = config.server.data_dir.clone();
    make_data_dir(&data_dir).map_err(|reason| HostError::DataDir {
        path: data_dir.clone(),
        reason,
    })?;
    let embedded = Arc::new(RedbStore::open(data_dir.join(STORE_FILE))?);
    let store: Arc<dyn Store> = embedded.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let authenticator = Arc::new(
        Authenticator::open(Arc::clone(&store), Arc::clone(&clock), config.auth.enabled).await?,
    );
    let token_file = authenticator.ensure_admin_token(&data_dir).await?;
    let runtime = engine(config, &data_dir).await?;
    let settings = settings(role, config, owner(&*store).await?);
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host_name = host_name
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty());
    let place = LogHost {
        host: host_name.unwrap_or_else(|| settings.node.to_string()),
        node: settings.node.to_string(),
    };
    let pipeline = crate::logging::setup::pipeline(config, place, Arc::clone(&clock))?;
    let shared = Shared::new(store, runtime, clock, settings);
    if let Some(pipeline) = pipeline {
        shared.set_pipeline(pipeline);
    }
    let bound = Bound::default();
    let args = web_server::Args {
        shared: Arc::clone(&shared),
        authenticator,
        options: web_options(config),
        metrics: Arc::new(Metrics::new()),
        bound: bound.clone(),
    };
    let tree = root::start(&shared, move || web_server::spec(args.clone()));
    let tree = tree
        .await
        .map_err(|reason| HostError::Tree(plain(&reason)))?;
    shared.settle();
    let url = bound
        .get()
        .map(|addr| format!("http://{addr}"))
        .unwrap_or_default();
    // Whoever starts a second lain on this data is told where the first one serves.
    embedded.note_url(&url)?;
    let announced = announce(&url, &token_file, &data_dir, &shared).map_err(HostError::Announce)?;
    Ok(Host {
        shared,
        tree,
        url,
        token_file,
        _announced: announced,
    })
}

/// The reason of a failed start without OTP's wrapping.
fn plain(reason: &crate::actors::supervise::ExitReason) -> String {
    use crate::actors::supervise::ExitReason;
    match reason {
        ExitReason::FailedToStartChild { reason, .. } => plain(reason),
        ExitReason::Error(text) => text.clone(),
        other => other.to_string(),
    }
}

fn make_data_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// The installation's own id, made at the first start: two lains on one engine never touch each other's containers.
async fn owner(store: &dyn Store) -> Result<String, StoreError> {
    let fresh = uuid::Uuid::now_v7().simple().to_string();
    let absent = vec![Compare::Absent(keys::OWNER.to_owned())];
    let put = vec![Change::Put(
        keys::OWNER.to_owned(),
        fresh.clone().into_bytes(),
    )];
    match store.transact(absent, put).await? {
        Outcome::Committed(_) => Ok(fresh),
        Outcome::Refused(_, Some(entry)) => Ok(String::from_utf8_lossy(&entry.value).into_owned()),
        Outcome::Refused(key, None) => Err(StoreError::Failed {
            action: format!("read {key}"),
            reason: "it was there and is not".to_owned(),
        }),
    }
}

/// The runtime that the configuration names; `auto` is Docker where it answers.
async fn engine(config: &Config, data_dir: &Path) -> Result<Arc<dyn Runtime>, HostError> {
    let docker = Docker::new(Options {
        endpoint: config.engine.docker_host.clone(),
        ..Options::default()
    });
    let process = || {
        Processes::open(ProcessOptions::new(data_dir.join("processes"))).map_err(HostError::Engine)
    };
    match config.engine.kind {
        EngineKind::Docker => Ok(Arc::new(docker)),
        EngineKind::Process => Ok(Arc::new(process()?)),
        EngineKind::Auto => match docker.info().await {
            Ok(_) => Ok(Arc::new(docker)),
            Err(error) => {
                tracing::warn!(%error, "no Docker Engine answers: procs run as plain local processes, WITHOUT isolation; not for production");
                Ok(Arc::new(process()?))
            }
        },
    }
}

fn settings(role: &'static str, config: &Config, owner: String) -> Settings {
    let ports = config.node.ports.ports();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let site = Site {
        owner,
        domain: config.cluster.domain.clone(),
        volumes: config.server.data_dir.join("volumes").display().to_string(),
        cpus: u32::try_from(cpus).unwrap_or(1),
        publish: config.node.publish_address,
        registry: config.registry.address.clone().unwrap_or_default(),
    };
    Settings {
        role,
        node: config.node.name.clone(),
        site,
        port_range: (*ports.start(), *ports.end()),
        reconcile_every: config.reconcile.interval,
        degraded_retry: config.supervision.degraded_retry,
        degraded_retry_max: config.supervision.degraded_retry * 10,
        recovered_after: config.supervision.healthy_after,
        crashes_kept: usize::try_from(config.crashes.keep_per_proc)
            .unwrap_or(usize::MAX)
            .saturating_mul(100),
        concurrent_starts: usize::try_from(config.engine.parallel_starts).unwrap_or(1),
        freeze_spares: config.engine.freeze_spares,
        data_dir: config.server.data_dir.clone(),
    }
}

fn web_options(config: &Config) -> WebOptions {
    let limits = &config.limits;
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    WebOptions {
        listen: config.server.listen,
        workers: WEB_WORKERS,
        limits: Limits {
            body: usize::try_from(limits.max_body.0).unwrap_or(usize::MAX),
            head_time: limits.header_timeout,
            answer_time: limits.request_timeout,
            rate: limits.request_rate,
            burst: limits.request_burst,
            connections: count(limits.connections),
            streams: count(limits.streams),
            ..Limits::default()
        },
        stop_deadline: config.server.shutdown_timeout.min(Duration::from_secs(60)),
        ..WebOptions::default()
    }
}

fn announce(
    url: &str,
    token_file: &Path,
    data_dir: &Path,
    shared: &Shared,
) -> std::io::Result<Announced> {
    let root = rustix::process::geteuid().is_root();
    let endpoint = Endpoint {
        url: url.to_owned(),
        token_file: Some(token_file.to_owned()),
        pid: std::process::id(),
        data_dir: data_dir.to_owned(),
        started: shared.started_at,
    };
    endpoint.announce(&runtime_dirs(std::env::var_os("XDG_RUNTIME_DIR"), root))
}
