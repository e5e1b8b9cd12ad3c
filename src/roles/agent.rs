//! `lain agent`: a node. Joins once, then connects to the control host for ever.

use crate::actors::agent::assigned::Leaving;
use crate::actors::agent::far_index::FarIndex;
use crate::actors::agent::{facts, link, root};
use crate::actors::shared::Shared;
use crate::actors::supervise::Tree;
use crate::cli::daemon::{AgentOptions, WatchdogOptions};
use crate::cli::error::{CliError, Result};
use crate::config::{Config, schema};
use crate::domain::id::NodeName;
use crate::drivers::redb::RedbStore;
use crate::drivers::watchdog::{FileWatchdog, dog};
use crate::link::frame::split;
use crate::link::identity::{self, Identity, certificate_of};
use crate::link::message::{ToAgent, ToControl};
use crate::link::tls;
use crate::logging::routes::Routes;
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::log_index::LogIndex;
use crate::ports::store::Store;
use crate::roles::host;
use crate::roles::notify::Notifier;
use crate::roles::serve;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;

/// What a node knows of its membership, in its data directory, mode 0600.
const MEMBERSHIP: &str = "node.json";
/// Where the control host says that log events go.
const ROUTES: &str = "log-routes.json";
/// The store of an agent.
const STORE: &str = "agent.redb";
/// How long the farewell to the control host may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long joining may take.
const JOIN_WITHIN: Duration = Duration::from_secs(15);

/// What a node knows of its membership. Shown without the key.
#[derive(Clone, Serialize, Deserialize)]
struct Membership {
    node: NodeName,
    servers: Vec<String>,
    authority: String,
    identity: Identity,
    owner: String,
    issued_at: DateTime<Utc>,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What was in the way of joining or of the start, or ended it.
pub fn run(options: AgentOptions) -> Result<()> {
    let (config, log) = serve::configure(&options.common, options.flags())?;
    actix_rt::System::new().block_on(async move {
        let membership = membership(&options, &config).await?;
        let node = membership.node.clone();
        let (shared, tree) = start(&config, membership).await?;
        if let Some(path) = &options.common.ready_file {
            host::write_ready(path, node.as_str())?;
        }
        eprintln!("lain agent: node {node}");
        Notifier.ready(&format!("node {node}"));
        let outcome = serve::until_told(&shared, &tree, &log).await;
        Notifier.stopping("stopping; containers run on");
        farewell(&shared).await;
        tree.stop().await;
        outcome
    })
}

/// `lain agent-watchdog`: the process beside an agent that stops what may run only once when the agent cannot.
///
/// # Errors
/// What the system said.
pub fn watchdog(options: WatchdogOptions) -> Result<()> {
    let guarded = dog::run(&options.note, &options.owner);
    guarded.map_err(|e| CliError::failed(format!("the watchdog cannot guard: {e}")))
}

/// Says to the control host that this node will be back. Best effort: without it, the node is missed sooner.
async fn farewell(shared: &Shared) {
    let mut leaving = shared.assigned.leaving();
    shared.assigned.leave(Leaving::Asked);
    let said = leaving.wait_for(|l| *l == Leaving::Said);
    if tokio::time::timeout(FAREWELL, said).await.is_err() {
        tracing::info!("there is no link over which to say goodbye");
    }
}

/// The membership of before, or a new one.
async fn membership(options: &AgentOptions, config: &Config) -> Result<Membership> {
    let dir = host::make_data_dir(config).map_err(|e| CliError::failed(e.to_string()))?;
    let path = dir.join(MEMBERSHIP);
    let token = std::env::var("LAIN_JOIN_TOKEN")
        .ok()
        .filter(|t| !t.is_empty());
    if let Some(known) = read(&path)? {
        if token.is_none() {
            let mut known = known;
            let servers = servers(config);
            if !servers.is_empty() {
                known.servers = servers;
            }
            return Ok(known);
        }
        eprintln!("lain agent: node {} joins anew", known.node);
    }
    let Some(token) = token else {
        return Err(CliError::usage(format!(
            "this machine is no node yet: {} does not exist",
            path.display()
        ))
        .hint(
            "run `lain node token` where the control host is, and the command that it prints here",
        ));
    };
    let fingerprint = options.ca.clone().ok_or_else(|| {
        CliError::usage(
            "joining needs the fingerprint of the control host's authority: --ca sha256:…",
        )
    })?;
    let servers = servers(config);
    if servers.is_empty() {
        return Err(CliError::usage(
            "joining needs the control host's address: --join HOST:PORT",
        ));
    }
    let joined = tokio::time::timeout(JOIN_WITHIN, join(config, &servers, &token, &fingerprint));
    let joined = joined.await.map_err(|_| {
        CliError::failed(format!(
            "{} did not answer within {}s",
            servers.join(", "),
            JOIN_WITHIN.as_secs()
        ))
    })??;
    keep(&path, &joined).map_err(CliError::failed)?;
    Ok(joined)
}

fn servers(config: &Config) -> Vec<String> {
    let all = config.link.servers.split(',').map(str::trim);
    all.filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

fn read(path: &Path) -> Result<Option<Membership>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            CliError::failed(format!(
                "{} cannot be read: {e}; remove it and join this node again",
                path.display()
            ))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(CliError::failed(format!(
            "{} cannot be read: {e}",
            path.display()
        ))),
    }
}

fn keep(path: &Path, membership: &Membership) -> std::result::Result<(), String> {
    let json = serde_json::to_vec_pretty(membership).map_err(|e| e.to_string())?;
    crate::auth::private_file::write(path, &json)
        .map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

async fn join(
    config: &Config,
    servers: &[String],
    token: &str,
    fingerprint: &str,
) -> Result<Membership> {
    let mut last = String::new();
    for server in servers {
        match join_at(config, server, token, fingerprint).await {
            Ok((identity, authority, owner)) => {
                return Ok(Membership {
                    node: config.node.name.clone(),
                    servers: servers.to_vec(),
                    authority,
                    identity,
                    owner,
                    issued_at: Utc::now(),
                });
            }
            Err(reason) => last = format!("{server}: {reason}"),
        }
    }
    Err(CliError::failed(format!(
        "this node was not let in: {last}"
    )))
}

async fn join_at(
    config: &Config,
    server: &str,
    token: &str,
    fingerprint: &str,
) -> std::result::Result<(Identity, String, String), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let (connector, pinned) = tls::joining(fingerprint).map_err(|e| text(&e))?;
    let stream = TcpStream::connect(server).await.map_err(|e| text(&e))?;
    let stream = connector.connect(tls::control_name(), stream).await;
    let (mut receiver, mut sender) = split::<ToAgent, ToControl>(stream.map_err(|e| text(&e))?);
    let node = config.node.name.clone();
    let (key, csr) = identity::request(node.as_str()).map_err(|e| text(&e))?;
    let join = ToControl::Join {
        token: token.to_owned(),
        node,
        csr,
    };
    sender.send(&join).await.map_err(|e| text(&e))?;
    match receiver.next().await.map_err(|e| text(&e))? {
        Some(ToAgent::Joined {
            certificate,
            authority,
            owner,
        }) => {
            let shown = pinned.authority();
            let told = certificate_of(&authority).map_err(|e| text(&e))?;
            if shown.as_ref() != Some(&told) {
                return Err("it told of another authority than it showed".to_owned());
            }
            Ok((Identity { certificate, key }, authority, owner))
        }
        Some(ToAgent::Refused { reason, .. }) => Err(reason),
        Some(_) => Err("it answered with something else".to_owned()),
        None => Err("it closed without an answer".to_owned()),
    }
}

async fn start(config: &Config, membership: Membership) -> Result<(Arc<Shared>, Tree)> {
    let failed = |e: &dyn std::fmt::Display| CliError::failed(e.to_string());
    let dir = config.server.data_dir.clone();
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(dir.join(STORE)).map_err(|e| failed(&e))?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let runtime = host::engine(config, &dir).await.map_err(|e| failed(&e))?;
    let mut settings = host::settings("agent", config, membership.owner.clone());
    settings.node = membership.node.clone();
    let shared = Shared::new(store, runtime, Arc::clone(&clock), settings);
    let index = Arc::new(FarIndex::default());
    let far: Arc<dyn LogIndex> = index.clone();
    let routes = Routes::of_node(config, far, dir.join(ROUTES));
    host::collect_logs(&shared, config, &clock, routes).map_err(|e| failed(&e))?;
    let labels = schema::pairs(&config.node.labels).map_err(|e| failed(&e))?;
    let address = address(config, &membership.servers).await;
    let identity = Arc::new(Mutex::new(membership.identity.clone()));
    let path: PathBuf = dir.join(MEMBERSHIP);
    let (authority, servers) = (membership.authority.clone(), membership.servers.clone());
    let issued_at = Some(membership.issued_at);
    let keep_identity: link::KeepIdentity = Arc::new(move |fresh| {
        let renewed = Membership {
            identity: fresh.clone(),
            issued_at: Utc::now(),
            ..membership.clone()
        };
        keep(&path, &renewed)
    });
    let watchdog = Arc::new(FileWatchdog::open(&dir).map_err(|e| failed(&e))?);
    let guarding = Arc::clone(&watchdog);
    // Lasts as long as this process.
    actix_rt::spawn(async move { guarding.keep_alive().await });
    let args = link::Args {
        shared: Arc::clone(&shared),
        servers,
        authority,
        identity,
        keep_identity,
        index,
        facts: facts::Source::new(address, labels),
        watchdog,
        issued_at,
    };
    let tree = root::start(&shared, args).await;
    let tree = tree.map_err(|reason| CliError::failed(host::plain(&reason)))?;
    Ok((shared, tree))
}

/// Where clients reach what is published here.
async fn address(config: &Config, servers: &[String]) -> IpAddr {
    if let Ok(address) = config.node.address.parse() {
        return address;
    }
    let published = config.node.publish_address;
    if !published.is_unspecified() {
        return published;
    }
    let towards = servers.first().map(String::as_str).unwrap_or_default();
    host::source_address(towards).await.unwrap_or(published)
}
