//! `lain dev`: control host and node in one process, embedded defaults, no configuration needed.

use crate::actors::agent::logs;
use crate::cli::daemon::{DevOptions, Engine, LogFormat};
use crate::cli::error::{CliError, Result};
use crate::config::{Config, Flag, Sources};
use crate::logging::tracing_setup;
use crate::roles::host::{self, Host};
use crate::roles::notify::Notifier;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a container may take to stop when `lain dev` takes its containers down, besides its own kill timeout.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What was in the way of the start, or ended it.
pub fn run(options: DevOptions) -> Result<()> {
    let keep = options.keep;
    let ready_file = options.ready_file.clone();
    let sources = Sources::of_process(options.config.clone(), flags(&options));
    let config = Config::load(&sources)
        .map_err(|e| CliError::new(crate::cli::error::Exit::Invalid, e.to_string()))?;
    let _log = tracing_setup::init(&config.log).map_err(|e| CliError::failed(e.to_string()))?;
    actix_rt::System::new().block_on(async move {
        let host = host::start("dev", &config)
            .await
            .map_err(|e| CliError::failed(e.to_string()))?;
        if let Some(path) = ready_file {
            std::fs::write(&path, format!("{}\n", host.url))
                .map_err(|e| CliError::failed(format!("cannot write {}: {e}", path.display())))?;
        }
        banner(&host);
        Notifier.ready(&format!("serving {}", host.url));
        let outcome = serve(&host).await;
        Notifier.stopping("stopping");
        host.tree.stop().await;
        if !keep && outcome.is_ok() {
            take_down(&host).await;
        }
        outcome
    })
}

/// Each flag that was given, as the setting that it stands for.
fn flags(options: &DevOptions) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut set = |flag: &str, key: &'static str, value: Option<String>| {
        if let Some(value) = value {
            flags.push(Flag {
                flag: flag.to_owned(),
                key,
                value,
            });
        }
    };
    let engine = options.engine.map(|engine| match engine {
        Engine::Auto => "auto",
        Engine::Docker => "docker",
        Engine::Process => "process",
    });
    let format = options.log_format.map(|format| match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    });
    set(
        "--data-dir",
        "server.data_dir",
        options
            .data_dir
            .as_ref()
            .map(|dir| dir.display().to_string()),
    );
    set("--listen", "server.listen", options.listen.clone());
    set("--node-name", "node.name", options.node_name.clone());
    set("--engine", "engine.kind", engine.map(str::to_owned));
    set(
        "--docker-host",
        "engine.docker_host",
        options.docker_host.clone(),
    );
    set("--log-level", "log.level", options.log_level.clone());
    set("--log-format", "log.format", format.map(str::to_owned));
    flags
}

fn banner(host: &Host) {
    eprintln!("lain dev serves {}", host.url);
    eprintln!("token    {}", host.token_file.display());
    eprintln!("next     lain deploy        in a folder with a lain.yaml");
    eprintln!("         lain tree --watch  to see the supervision tree");
}

/// Waits for a signal, giving systemd its sign of life meanwhile, or for the tree's own end.
async fn serve(host: &Host) -> Result<()> {
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
            reason = host.tree.wait() => {
                return Err(CliError::failed(format!("lain's own supervision tree ended: {reason}; containers run on")));
            }
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
