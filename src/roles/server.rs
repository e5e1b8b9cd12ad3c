//! `lain server`: the control host. Runs no containers itself; agents connect to it.

use crate::cli::daemon::ServerOptions;
use crate::cli::error::{CliError, Exit, Result};
use crate::config::{Config, Sources};
use crate::logging::tracing_setup;
use crate::roles::host::{self, Kind};
use crate::roles::notify::Notifier;
use crate::roles::serve;

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// What was in the way of the start, or ended it.
pub fn run(options: ServerOptions) -> Result<()> {
    let sources = Sources::of_process(options.common.config.clone(), options.flags());
    let config = Config::load(&sources).map_err(|e| CliError::new(Exit::Invalid, e.to_string()))?;
    let _log = tracing_setup::init(&config.log).map_err(|e| CliError::failed(e.to_string()))?;
    actix_rt::System::new().block_on(async move {
        let host = host::start(Kind::Server, &config)
            .await
            .map_err(|e| CliError::failed(e.to_string()))?;
        if let Some(path) = &options.common.ready_file {
            host::write_ready(path, &host.url)?;
        }
        eprintln!("lain server serves {}", host.url);
        if let Some(listening) = host.shared.listening() {
            eprintln!("agents   {}", listening.address);
        }
        eprintln!("token    {}", host.token_file.display());
        eprintln!("next     lain node token    prints the command that joins a node");
        Notifier.ready(&format!("serving {}", host.url));
        let outcome = serve::until_told(&host.tree).await;
        Notifier.stopping("stopping; containers run on");
        host.tree.stop().await;
        outcome
    })
}
