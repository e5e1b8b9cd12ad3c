//! What all daemons do: read their configuration, begin their log, wait for a signal, give systemd its sign
//! of life.

use crate::actors::control::handle;
use crate::actors::shared::Shared;
use crate::actors::supervise::Tree;
use crate::cli::daemon::Common;
use crate::cli::error::{CliError, Exit, Result};
use crate::config::{Config, Flag, Sources};
use crate::drivers::pages;
use crate::logging::tracing_setup::{self, LogGuard};
use crate::roles::notify::Notifier;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How soon what the start needed is given back.
const GIVE_BACK_FIRST: Duration = Duration::from_secs(3);
/// How often pages of the program are given back; those in use come back within a few page faults.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(30);

/// Reads the configuration and begins the process's own log, which goes on as long as the guard lives.
///
/// # Errors
/// A setting that is wrong, with its place; a log that cannot be written.
pub fn configure(common: &Common, flags: Vec<Flag>) -> Result<(Config, LogGuard)> {
    let sources = Sources::of_process(common.config.clone(), flags);
    let config = Config::load(&sources).map_err(|e| CliError::new(Exit::Invalid, e.to_string()))?;
    let log = tracing_setup::init(&config.log).map_err(|e| CliError::failed(e.to_string()))?;
    Ok((config, log))
}

/// Waits for SIGINT or SIGTERM, or for the tree's own end. A second signal ends the process at once.
///
/// # Errors
/// Where signals cannot be waited for, or the tree ended by itself.
pub async fn until_told(shared: &Arc<Shared>, tree: &Tree, log: &LogGuard) -> Result<()> {
    tokio::select! {
        outcome = until_signal() => outcome,
        never = give_back_for_ever() => never,
        outcome = reload_for_ever(shared, log) => outcome,
        reason = tree.wait() => Err(CliError::failed(format!(
            "lain's own supervision tree ended: {reason}; containers run on"
        ))),
    }
}

/// Gives back the pages that the start needed, and those that were needed once since.
async fn give_back_for_ever() -> Result<()> {
    let mut pause = GIVE_BACK_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = GIVE_BACK_EVERY;
        if let Err(error) = pages::give_back_code() {
            tracing::debug!(%error, "pages of the program cannot be given back; more memory stays in use");
            return std::future::pending().await;
        }
    }
}

/// On SIGHUP reads again what may change while lain runs: where log events go, and the level of lain's own log.
/// On a terminal the signal means that the terminal is gone, and ends the process as it ends others.
async fn reload_for_ever(shared: &Arc<Shared>, log: &LogGuard) -> Result<()> {
    if std::io::stdin().is_terminal() {
        return std::future::pending().await;
    }
    let failed = |e: std::io::Error| CliError::failed(format!("cannot wait for signals: {e}"));
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    while hangup.recv().await.is_some() {
        Notifier.reloading();
        match handle::reload(shared).await {
            Ok(_) => {
                let level = shared.routes().map(|routes| routes.log_level());
                if let Some(Err(error)) = level.map(|level| log.set_level(&level)) {
                    tracing::error!(%error, "the level of the log stays");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the configuration was not taken up; all stays as it was")
            }
        }
        Notifier.ready("reloaded");
    }
    std::future::pending().await
}

/// Waits for SIGINT or SIGTERM. A second signal ends the process at once.
///
/// # Errors
/// Where signals cannot be waited for.
pub async fn until_signal() -> Result<()> {
    let failed = |e: std::io::Error| CliError::failed(format!("cannot wait for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // A standby has nothing to read again, and must not end by being told to.
    let _hangup = match std::io::stdin().is_terminal() {
        true => None,
        false => Some(signal(SignalKind::hangup()).map_err(failed)?),
    };
    let pause = Notifier
        .watchdog_interval()
        .unwrap_or(Duration::from_secs(3600));
    let mut watchdog = tokio::time::interval(pause);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = watchdog.tick() => Notifier.alive(),
        }
    }
    tracing::info!("stopping");
    // A second signal means: at once.
    actix_rt::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(130);
    });
    Ok(())
}
