//! The lain binary: arguments → role or verb → exit code.

use lain::cli::daemon::Roles;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The composition roots are connected here and nowhere else.
    let roles = Roles {
        dev: lain::roles::dev::run,
        server: lain::roles::server::run,
        agent: lain::roles::agent::run,
        watchdog: lain::roles::agent::watchdog,
        sim: lain::roles::sim::command::run,
    };
    ExitCode::from(lain::cli::run(std::env::args_os(), roles))
}
