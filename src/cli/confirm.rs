//! Questions before something is lost. Without a terminal and without `--yes` the answer is exit 2.

use crate::cli::error::{CliError, Result};
use crate::cli::session::Session;
use std::io::{BufRead, Write};

/// Fails at once where nobody could answer, before anything else is done.
///
/// # Errors
/// [`crate::cli::error::Exit::Usage`].
pub fn possible(session: &Session, yes: bool, what: &str) -> Result<()> {
    if yes || session.screen.stdin_is_terminal {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "{what} must be confirmed, and there is no terminal to ask on"
    ))
    .hint("add --yes if you are sure"))
}

/// Asks for `name` to be typed.
///
/// # Errors
/// [`crate::cli::error::Exit::Usage`] for any other answer.
pub fn by_name(session: &Session, yes: bool, what: &str, name: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    let place = match &session.client.connection().context {
        Some(context) => format!("context {context}, {}", session.client.connection().server),
        None => session.client.connection().server.clone(),
    };
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{what} ({place}). Type {name} to go on: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() == name {
        true => Ok(()),
        false => Err(CliError::usage(format!(
            "not confirmed: {name} was not typed; nothing was changed"
        ))),
    }
}
