//! `lain server`: the control host. Runs no containers itself; agents connect to it.
//!
//! With the embedded store it is the only one. With etcd several elect a leader: the others stand by, hand
//! their callers on to it, and take its place when it is gone. A leader that cannot renew its lease ends
//! itself before another one may lead; systemd starts it again, as a standby.

use crate::actors::control::nodes::join;
use crate::backup::{self, Existing};
use crate::cli::daemon::{ServerOptions, ServerVerb};
use crate::cli::error::{CliError, Result};
use crate::config::Config;
use crate::drivers::election::StoreElection;
use crate::drivers::etcd::{EtcdConfig, EtcdStore, EtcdTls};
use crate::drivers::guarded::GuardedStore;
use crate::link::identity;
use crate::logging::tracing_setup::LogGuard;
use crate::ports::lease::{Election, Leadership};
use crate::ports::store::{Compare, Store};
use crate::roles::api_tls;
use crate::roles::host::{self, Host, Kind};
use crate::roles::notify::Notifier;
use crate::roles::serve;
use crate::roles::standby::{self, Credentials};
use chrono::Utc;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// Runs until SIGINT or SIGTERM; or backs up, restores, moves the store.
///
/// # Errors
/// What was in the way of the start, or ended it.
pub fn run(options: ServerOptions) -> Result<()> {
    let (config, log) = serve::configure(&options.common, options.flags())?;
    actix_rt::System::new().block_on(async move {
        if let Some(verb) = &options.verb {
            return keep(verb, &config).await;
        }
        match config.server.store.as_str() {
            "embedded" => {
                let host = host::start(Kind::Server, &config)
                    .await
                    .map_err(|e| failed(&e))?;
                announce(&options, &host)?;
                serve_on(&host, &log, std::future::pending()).await
            }
            _ => stand(&options, &config, &log).await,
        }
    })
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(error.to_string())
}

fn announce(options: &ServerOptions, host: &Host) -> Result<()> {
    if let Some(path) = &options.common.ready_file {
        host::write_ready(path, &host.url)?;
    }
    eprintln!("lain server serves {}", host.url);
    if let Some(listening) = host.shared.listening() {
        eprintln!("agents   {}", listening.address);
    }
    eprintln!("token    {}", host.token_file.display());
    if let Some(login) = &host.login {
        eprintln!("login    {login}");
    }
    eprintln!("next     lain node token    prints the command that joins a node");
    Notifier.ready(&format!("serving {}", host.url));
    Ok(())
}

/// Until a signal, the tree's own end, or that of the leadership.
async fn serve_on(
    host: &Host,
    log: &LogGuard,
    deposed: impl Future<Output = CliError>,
) -> Result<()> {
    let outcome = tokio::select! {
        outcome = serve::until_told(&host.shared, &host.tree, log) => outcome,
        error = deposed => Err(error),
    };
    Notifier.stopping("stopping; containers run on");
    host.tree.stop().await;
    outcome
}

/// Connects to the etcd that the configuration names.
async fn etcd(config: &Config, url: &str) -> Result<EtcdStore> {
    let mut etcd = EtcdConfig::parse(url).map_err(|e| failed(&e))?;
    let settings = &config.etcd;
    if let Some(user) = settings.username.clone() {
        etcd.user = Some((user, settings.password.clone().unwrap_or_default()));
    }
    if let Some(ca) = &settings.ca_file {
        let identity = settings.cert_file.as_ref().zip(settings.key_file.as_ref());
        etcd.tls = Some(EtcdTls {
            ca: ca.into(),
            identity: identity.map(|(cert, key)| (cert.into(), key.into())),
            domain: None,
        });
    }
    EtcdStore::connect(etcd).await.map_err(|e| failed(&e))
}

/// Stands by until it is elected, then leads.
async fn stand(options: &ServerOptions, config: &Config, log: &LogGuard) -> Result<()> {
    host::make_data_dir(config).map_err(|e| failed(&e))?;
    let etcd = Arc::new(etcd(config, &config.server.store).await?);
    let store: Arc<dyn Store> = etcd.clone();
    if backup::is_incomplete(&*store)
        .await
        .map_err(|e| failed(&e))?
    {
        return Err(CliError::failed(
            "a restore of this store was begun and not ended: run it again with --replace",
        ));
    }
    let ttl = config.etcd.leader_lease;
    let election: Arc<dyn Election> =
        Arc::new(StoreElection::new(store.clone(), etcd, "control", ttl));
    let name = format!("{}-{}", config.node.name, uuid::Uuid::now_v7().simple());
    let url = host::advertised(config, config.link.listen.port()).await;
    let now = Utc::now();
    let authority = join::authority(&*store, config.cluster.name.as_str(), now)
        .await
        .map_err(|e| failed(&e))?;
    let control = identity::control(&authority, now).map_err(|e| failed(&e))?;
    let secured = api_tls::secure(config, &*store, now)
        .await
        .map_err(|e| failed(&e))?;
    let credentials = Credentials {
        authority: authority.certificate,
        control,
        api: secured.map(|s| TlsAcceptor::from(s.config)),
    };
    let standing = standby::start(config.server.listen, Arc::clone(&election), credentials);
    let standing = standing.await.map_err(|e| {
        CliError::failed(format!(
            "the API cannot be served at {}: {e}",
            config.server.listen
        ))
    })?;
    // Whoever waits for this process need not wait for its election: callers are handed on.
    if let Some(path) = &options.common.ready_file {
        host::write_ready(path, &url_of(config, standing.address))?;
    }
    eprintln!(
        "lain server stands by at {}",
        url_of(config, standing.address)
    );
    Notifier.ready("standing by");
    let leadership = tokio::select! {
        elected = election.campaign(&name, &url) => elected.map_err(|e| failed(&e))?,
        outcome = serve::until_signal() => return outcome,
    };
    let mut config = config.clone();
    config.server.listen = standing.address;
    let socket = standing.end().await.map_err(|e| failed(&e))?;
    tracing::info!(
        token = leadership.leader.token,
        "this control host leads now"
    );
    let elected = Elected {
        store,
        socket,
        leadership,
    };
    lead(options, &config, log, &*election, elected).await
}

/// What a control host leads with.
struct Elected {
    store: Arc<dyn Store>,
    /// Where it stood by, listening still.
    socket: TcpListener,
    leadership: Leadership,
}

fn url_of(config: &Config, address: std::net::SocketAddr) -> String {
    format!("{}://{address}", api_tls::scheme(config))
}

async fn lead(
    options: &ServerOptions,
    config: &Config,
    log: &LogGuard,
    election: &dyn Election,
    elected: Elected,
) -> Result<()> {
    let Elected {
        store,
        socket,
        leadership,
    } = elected;
    let guard = leadership.guard.clone().unwrap_or_else(|| {
        // An election of one: nothing to guard against.
        Compare::Absent("election/none".to_owned())
    });
    let guarded = Arc::new(GuardedStore::new(store, guard));
    let mut lost = guarded.lost();
    let held = leadership.clone();
    let renewing = renew_for_ever(election, &held, config.etcd.leader_lease);
    tokio::pin!(renewing);
    let started = host::start_on(Kind::Server, config, guarded, Some(Arc::new(socket)));
    let host = tokio::select! {
        host = started => host.map_err(|e| failed(&e))?,
        reason = &mut renewing => return Err(deposed(&reason)),
    };
    announce(options, &host)?;
    let end = async {
        let reason = tokio::select! {
            reason = &mut renewing => reason,
            _ = lost.wait_for(|lost| *lost) => "another control host has taken its place".to_owned(),
        };
        deposed(&reason)
    };
    let outcome = serve_on(&host, log, end).await;
    if outcome.is_ok()
        && let Err(error) = election.resign(leadership).await
    {
        tracing::warn!(%error, "the leadership could not be given up; it ends by itself");
    }
    outcome
}

fn deposed(reason: &str) -> CliError {
    CliError::failed(format!(
        "this control host leads no longer: {reason}; containers run on, and a restart makes it a standby"
    ))
}

/// Extends the leadership; ends with the reason when that cannot be relied on any more. A leader has to stop
/// before another one may begin: after three quarters of its lease without success it gives up.
async fn renew_for_ever(
    election: &dyn Election,
    leadership: &Leadership,
    lease: Duration,
) -> String {
    let mut extended = Instant::now();
    loop {
        tokio::time::sleep(lease / 6).await;
        let begun = Instant::now();
        let left = (lease * 3 / 4).saturating_sub(extended.elapsed());
        match tokio::time::timeout(left, election.renew(leadership)).await {
            Ok(Ok(true)) => extended = begun,
            Ok(Ok(false)) => return "its lease has ended".to_owned(),
            Ok(Err(error)) if extended.elapsed() >= lease * 3 / 4 => return error.to_string(),
            Ok(Err(error)) => tracing::warn!(%error, "the leadership could not be extended yet"),
            Err(_) => return "etcd does not answer in time".to_owned(),
        }
    }
}

/// The store that the configuration names, for a moment.
async fn open(config: &Config, url: &str) -> Result<Arc<dyn Store>> {
    if url == "embedded" {
        return Ok(Arc::new(
            host::open_embedded(config).map_err(|e| failed(&e))?,
        ));
    }
    Ok(Arc::new(etcd(config, url).await?))
}

/// Backs the store up, restores it, or moves it.
async fn keep(verb: &ServerVerb, config: &Config) -> Result<()> {
    let store = open(config, &config.server.store).await?;
    let existing = |replace: bool| match replace {
        true => Existing::Replace,
        false => Existing::Refuse,
    };
    let (what, summary) = match verb {
        ServerVerb::Backup { file } => {
            let done = backup::back_up_to_file(&*store, file, Utc::now()).await;
            (format!("backed up to {}", file.display()), done)
        }
        ServerVerb::Restore { file, replace } => {
            let done = backup::restore_from_file(&*store, file, existing(*replace)).await;
            (format!("restored from {}", file.display()), done)
        }
        ServerVerb::MigrateStore { to, replace } => {
            let target = open(config, to).await?;
            let done = backup::migrate(&*store, &*target, existing(*replace)).await;
            (format!("copied to {to}; set server.store to it"), done)
        }
    };
    let summary = summary.map_err(|e| failed(&e))?;
    eprintln!("{} keys {what}", summary.entries);
    Ok(())
}
