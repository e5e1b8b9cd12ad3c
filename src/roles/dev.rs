//! `lain dev`: control host and node in one process, embedded defaults, no configuration needed.

use crate::actors::agent::logs;
use crate::cli::daemon::DevOptions;
use crate::cli::error::{CliError, Result};
use crate::roles::host::{self, Host, Kind};
use crate::roles::notify::Notifier;
use crate::roles::serve;
use futures_util::future::join_all;
use std::time::Duration;

/// How long a container may take to stop when `lain dev` takes its containers down, besides its own kill timeout.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What was in the way of the start, or ended it.
pub fn run(options: DevOptions) -> Result<()> {
    let keep = options.keep;
    let ready_file = options.common.ready_file.clone();
    let (config, log) = serve::configure(&options.common, options.flags())?;
    actix_rt::System::new().block_on(async move {
        let host = host::start(Kind::Dev, &config)
            .await
            .map_err(|e| CliError::failed(e.to_string()))?;
        if let Some(path) = ready_file {
            host::write_ready(&path, &host.url)?;
        }
        banner(&host);
        Notifier.ready(&format!("serving {}", host.url));
        let outcome = serve::until_told(&host.shared, &host.tree, &log).await;
        Notifier.stopping("stopping");
        host.tree.stop().await;
        if !keep && outcome.is_ok() {
            take_down(&host).await;
        }
        outcome
    })
}

fn banner(host: &Host) {
    eprintln!("lain dev serves {}", host.url);
    eprintln!("token    {}", host.token_file.display());
    if let Some(login) = &host.login {
        eprintln!("login    {login}");
    }
    eprintln!("next     lain deploy        in a folder with a lain.yaml");
    eprintln!("         lain tree --watch  to see the supervision tree");
}

/// Stops and removes this installation's containers; desired state stays, so that the next start brings them back.
async fn take_down(host: &Host) {
    let runtime = &host.shared.runtime;
    let mine = match runtime.list(&host.shared.owner_labels()).await {
        Ok(mine) => mine,
        Err(error) => {
            tracing::warn!(%error, "containers are left as they are");
            return;
        }
    };
    if !mine.is_empty() {
        eprintln!(
            "stopping {} containers (leave them running with --keep)",
            mine.len()
        );
    }
    join_all(mine.iter().map(|container| async move {
        // A frozen spare cannot obey SIGTERM; thawing one that runs is no harm.
        let _ = runtime.unpause(&container.id).await;
        let stopped = runtime.stop(&container.id, STOP_WITHIN).await;
        if let Err(error) = stopped.map(drop) {
            tracing::warn!(container = container.name, %error, "container could not be stopped");
        }
        if let Err(error) = logs::remove(&host.shared, &container.id).await {
            tracing::warn!(container = container.name, %error, "container could not be removed");
        }
    }))
    .await;
}
