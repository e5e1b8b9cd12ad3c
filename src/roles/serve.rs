//! What all daemons do while they run: wait for a signal, give systemd its sign of life.

use crate::actors::supervise::Tree;
use crate::cli::error::{CliError, Result};
use crate::roles::notify::Notifier;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM, or for the tree's own end. A second signal ends the process at once.
///
/// # Errors
/// Where signals cannot be waited for, or the tree ended by itself.
pub async fn until_told(tree: &Tree) -> Result<()> {
    tokio::select! {
        outcome = until_signal() => outcome,
        reason = tree.wait() => Err(CliError::failed(format!(
            "lain's own supervision tree ended: {reason}; containers run on"
        ))),
    }
}

/// Waits for SIGINT or SIGTERM. A second signal ends the process at once.
///
/// # Errors
/// Where signals cannot be waited for.
pub async fn until_signal() -> Result<()> {
    let failed = |e: std::io::Error| CliError::failed(format!("cannot wait for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
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
