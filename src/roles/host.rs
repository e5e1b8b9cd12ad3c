//! One host put together from its parts: store, engine, tokens, tree, API. Shared by the roles.

pub use crate::roles::address::{advertised, source_address};

use crate::actors::control::nodes::join::{self, JoinError};
use crate::actors::control::nodes::listener;
use crate::actors::control::render::Site;
use crate::actors::root;
use crate::actors::shared::{Lease, Listening, Logs, Settings, Shared};
use crate::actors::supervise::Tree;
use crate::auth::endpoint::{Announced, Endpoint, runtime_dirs};
use crate::auth::{AuthError, Authenticator};
use crate::config::{Config, EngineKind};
use crate::domain::placement::Policy;
use crate::domain::record::keys;
use crate::drivers::docker::{Docker, Options};
use crate::drivers::none::NoRuntime;
use crate::drivers::process::{Options as ProcessOptions, Processes};
use crate::drivers::redb::RedbStore;
use crate::link::identity;
use crate::logging::index::{self, Index};
use crate::logging::pipe::Host as LogHost;
use crate::logging::routes::Routes;
use crate::logging::saved::Saved;
use crate::logging::setup;
use crate::logging::spool::SpoolError;
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::log_index::LogsPort;
use crate::ports::runtime::{Runtime, RuntimeError};
use crate::ports::store::{Change, Compare, Outcome, Store, StoreError};
use crate::roles::api_tls::{self, ApiTlsError, Secured};
use crate::roles::web_server::{self, Bound};
use crate::web::{Limits, Metrics, WebOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The store's file in the data directory.
const STORE_FILE: &str = "lain.redb";
/// The log index's folder in the data directory.
const LOG_INDEX: &str = "log-index";
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
    /// The authority of the link.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The tree did not start.
    #[error("{0}")]
    Tree(String),
    /// TLS of the API.
    #[error(transparent)]
    ApiTls(#[from] ApiTlsError),
    /// The endpoint file.
    #[error("the command line cannot be told where lain serves: {0}")]
    Announce(std::io::Error),
}

/// What kind of host this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `lain dev`: control host and node in one process.
    Dev,
    /// `lain server`: the control host of nodes on other hosts.
    Server,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Dev => "dev",
            Kind::Server => "server",
        }
    }
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
    /// The command that makes the command line on another machine trust this host, where the API is served by TLS.
    pub login: Option<String>,
    _announced: Announced,
}

/// Starts a host as the configuration says.
///
/// # Errors
/// [`HostError`]: what is in the way, and what to do.
pub async fn start(kind: Kind, config: &Config) -> Result<Host, HostError> {
    let embedded = Arc::new(open_embedded(config)?);
    let host = start_on(kind, config, embedded.clone(), None).await?;
    // Whoever starts a second lain on this data is told where the first one serves.
    embedded.note_url(&host.url)?;
    Ok(host)
}

/// Opens the embedded store in the data directory, which is made where it is missing.
///
/// # Errors
/// [`HostError::DataDir`], [`HostError::Store`].
pub fn open_embedded(config: &Config) -> Result<RedbStore, HostError> {
    let data_dir = make_data_dir(config)?;
    Ok(RedbStore::open(data_dir.join(STORE_FILE))?)
}

/// Starts a host on this store; the data directory is there. The API is served on `socket` where that listens already.
///
/// # Errors
/// As [`start`].
pub async fn start_on(
    kind: Kind,
    config: &Config,
    store: Arc<dyn Store>,
    socket: Option<Arc<TcpListener>>,
) -> Result<Host, HostError> {
    let data_dir = &config.server.data_dir;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let authenticator = Arc::new(
        Authenticator::open(Arc::clone(&store), Arc::clone(&clock), config.auth.enabled).await?,
    );
    let token_file = match config.server.store.as_str() {
        "embedded" => authenticator.ensure_admin_token(data_dir).await?,
        // Several control hosts share the store; each keeps its own token.
        _ => {
            let name = format!("admin of {}", config.node.name);
            authenticator.ensure_admin_token_of(&name, data_dir).await?
        }
    };
    let runtime: Arc<dyn Runtime> = match kind {
        Kind::Dev => engine(config, data_dir).await?,
        Kind::Server => Arc::new(NoRuntime),
    };
    let settings = settings(kind.as_str(), config, owner(&*store).await?);
    let shared = Shared::new(Arc::clone(&store), runtime, Arc::clone(&clock), settings);
    if let Some(logs) = logs(config, store, Arc::clone(&clock)) {
        shared.set_logs(logs);
    }
    // A control host without containers has something to say, too, and takes events in by the API.
    let index = shared.logs().and_then(|l| l.index.clone());
    let routes = Routes::of_control(config, index);
    collect_logs(&shared, config, &clock, routes)?;
    let listener = match kind {
        Kind::Dev => None,
        Kind::Server => Some(listener(&shared, config).await?),
    };
    let agents = listener
        .as_ref()
        .map(|l| (Arc::clone(&l.bound), fingerprint_of(l)));
    let hosts = root::Hosts {
        local: kind == Kind::Dev,
        listener,
    };
    let secured = api_tls::secure(config, &*shared.store, clock.now_utc()).await?;
    let bound = Bound::default();
    let args = web_server::Args {
        shared: Arc::clone(&shared),
        authenticator,
        options: web_options(config, secured.as_ref(), socket),
        metrics: Arc::new(Metrics::new()),
        bound: bound.clone(),
    };
    let tree = root::start(&shared, hosts, move || web_server::spec(args.clone()));
    let tree = tree
        .await
        .map_err(|reason| HostError::Tree(plain(&reason)))?;
    shared.settle();
    if let Some((bound, fingerprint)) = agents {
        let port = bound.get().map_or(config.link.listen.port(), |a| a.port());
        shared.set_listening(Listening {
            address: advertised(config, port).await,
            fingerprint: fingerprint?,
        });
    }
    if let Some(address) = bound.get() {
        shared.set_api_address(address);
    }
    let url = bound
        .get()
        .map(|addr| format!("{}://{addr}", api_tls::scheme(config)))
        .unwrap_or_default();
    let login = match (&secured, bound.get()) {
        (Some(secured), Some(address)) => Some(secured.login(address).await),
        _ => None,
    };
    let authority_file = secured.as_ref().map(|s| s.authority_file.clone());
    let announced = announce(&url, &token_file, authority_file, data_dir, &shared)
        .map_err(HostError::Announce)?;
    Ok(Host {
        shared,
        tree,
        url,
        token_file,
        login,
        _announced: announced,
    })
}

/// Gives this host its log pipeline: what its containers print, what happens in lain, and what its inputs take goes
/// where `routes` say.
///
/// # Errors
/// What is in the way of the spool.
pub fn collect_logs(
    shared: &Shared,
    config: &Config,
    clock: &Arc<dyn Clock>,
    routes: Routes,
) -> Result<(), HostError> {
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host_name = host_name
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty());
    let node = shared.settings.node.to_string();
    let place = LogHost {
        host: host_name.unwrap_or_else(|| node.clone()),
        node,
    };
    let plan = routes.plan();
    if let Some(pipeline) = setup::pipeline(config, place, Arc::clone(clock), plan)? {
        shared.set_pipeline(pipeline);
    }
    // Also where this host collects nothing: its nodes may.
    shared.set_routes(Arc::new(routes));
    Ok(())
}

/// The listener for agents, with the installation's authority.
async fn listener(shared: &Arc<Shared>, config: &Config) -> Result<listener::Args, HostError> {
    let now = shared.clock.now_utc();
    let name = config.cluster.name.as_str();
    let authority = join::authority(&*shared.store, name, now).await?;
    let control = identity::control(&authority, now).map_err(JoinError::from)?;
    Ok(listener::Args {
        shared: Arc::clone(shared),
        listen: config.link.listen,
        authority,
        control,
        bound: Arc::default(),
    })
}

fn fingerprint_of(listener: &listener::Args) -> Result<String, HostError> {
    let certificate = identity::certificate_of(&listener.authority.certificate);
    Ok(identity::fingerprint(
        &certificate.map_err(JoinError::from)?,
    ))
}

/// Tells whoever waits for it that the daemon is ready.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_ready(path: &Path, text: &str) -> crate::cli::error::Result<()> {
    std::fs::write(path, format!("{text}\n")).map_err(|e| {
        crate::cli::error::CliError::failed(format!("cannot write {}: {e}", path.display()))
    })
}

/// The reason of a failed start without OTP's wrapping.
pub fn plain(reason: &crate::actors::supervise::ExitReason) -> String {
    use crate::actors::supervise::ExitReason;
    match reason {
        ExitReason::FailedToStartChild { reason, .. } => plain(reason),
        ExitReason::Error(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Makes the data directory where it is missing, for its owner only.
///
/// # Errors
/// [`HostError::DataDir`].
pub fn make_data_dir(config: &Config) -> Result<&Path, HostError> {
    use std::os::unix::fs::DirBuilderExt;
    let path = &config.server.data_dir;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|reason| HostError::DataDir {
        path: path.clone(),
        reason,
    })?;
    Ok(path)
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
///
/// # Errors
/// That no engine answers and none may stand in.
pub async fn engine(config: &Config, data_dir: &Path) -> Result<Arc<dyn Runtime>, HostError> {
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

/// The log index. Without it apps run all the same: what is in its way is said, and its routes answer so.
fn logs(config: &Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Option<Logs> {
    let saved = Arc::new(Saved::new(store));
    if let Some(elastic) = setup::elastic(config, Arc::clone(&clock)) {
        return match elastic {
            Ok(search) => Some(Logs {
                index: None,
                port: LogsPort {
                    search: Arc::new(search),
                    saved,
                },
            }),
            Err(error) => {
                tracing::error!(error, "log events cannot be searched: see log_search");
                None
            }
        };
    }
    let options = index::Options {
        keep_days: config.log_index.keep_days,
        keep_bytes: config.log_index.max_size.0,
        ..index::Options::new(config.server.data_dir.join(LOG_INDEX))
    };
    match Index::open(options, clock) {
        Ok(index) => Some(Logs {
            index: Some(Arc::<Index>::clone(&index)),
            port: LogsPort {
                search: index,
                saved,
            },
        }),
        Err(error) => {
            tracing::error!(%error, "log events are neither indexed nor searched");
            None
        }
    }
}

/// What the configuration says to the actors.
pub fn settings(role: &'static str, config: &Config, owner: String) -> Settings {
    let ports = config.node.ports.ports();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let site = Site {
        owner: owner.into(),
        domain: config.cluster.domain.as_str().into(),
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
        revisions_kept: usize::try_from(config.history.revisions).unwrap_or(usize::MAX),
        concurrent_starts: usize::try_from(config.engine.parallel_starts).unwrap_or(1),
        freeze_spares: config.engine.freeze_spares,
        data_dir: config.server.data_dir.clone(),
        policy: Policy {
            strategy: config.placement.strategy,
            spread_label: config.placement.spread_label.clone(),
            preemption: config.placement.preemption,
            ..Policy::default()
        },
        rebalance_after: config.placement.rebalance_after,
        lease: Lease {
            times: config.lease_times(),
            patience: config.link.patience,
        },
    }
}

fn web_options(
    config: &Config,
    secured: Option<&Secured>,
    socket: Option<Arc<TcpListener>>,
) -> WebOptions {
    let limits = &config.limits;
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let mut allowed_hosts = config.server.allowed_hosts.clone();
    if secured.is_some() {
        // Who asks for it by this name has checked the certificate.
        allowed_hosts.push(identity::CONTROL_NAME.to_owned());
    }
    WebOptions {
        listen: config.server.listen,
        socket,
        allowed_hosts,
        tls: secured.map(|s| Arc::clone(&s.config)),
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
    }
}

fn announce(
    url: &str,
    token_file: &Path,
    authority_file: Option<PathBuf>,
    data_dir: &Path,
    shared: &Shared,
) -> std::io::Result<Announced> {
    let root = rustix::process::geteuid().is_root();
    let endpoint = Endpoint {
        url: url.to_owned(),
        token_file: Some(token_file.to_owned()),
        authority_file,
        pid: std::process::id(),
        data_dir: data_dir.to_owned(),
        started: shared.started_at,
    };
    endpoint.announce(&runtime_dirs(std::env::var_os("XDG_RUNTIME_DIR"), root))
}
