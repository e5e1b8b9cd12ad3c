//! The lain binary: arguments → role or verb → exit code.

use lain::cli::daemon::Roles;
use lain::cli::error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The composition roots are connected here and nowhere else.
    let roles = Roles {
        dev: |_| Err(CliError::failed("this build of lain has no daemon")),
    };
    ExitCode::from(lain::cli::run(std::env::args_os(), roles))
}
