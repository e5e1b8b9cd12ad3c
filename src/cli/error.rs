//! How a command ends: the exit codes, and errors that say what failed, why and what to do.
//!
//! Every verb returns `Result<Exit>`; [`crate::cli::run`] prints the error once and turns it into the
//! code of the process. Nothing here talks to a server.

use std::fmt::Write as _;

/// What every fallible function of the CLI returns.
pub type Result<T> = std::result::Result<T, CliError>;

/// How a command ended. The numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: the thing asked for failed.
    Failed,
    /// 2: wrong usage, or a confirmation that nobody could give.
    Usage,
    /// 3: the app, proc, instance … does not exist.
    NotFound,
    /// 4: no token, or one that is not accepted.
    NotAuthenticated,
    /// 5: the token does not allow it.
    Forbidden,
    /// 6: not in this state, or the object has changed meanwhile.
    Conflict,
    /// 7: not done within `--timeout`.
    Timeout,
    /// 8: no server answers.
    Unreachable,
    /// 9: the input is not valid.
    Invalid,
    /// 10: a dry run that found changes.
    Changes,
    /// 130: interrupted.
    Interrupted,
    /// The code of a remote command.
    Remote(u8),
}

impl Exit {
    /// Every code but that of a remote command, with its meaning; for the documentation.
    pub const ALL: [(Exit, &'static str); 12] = [
        (Exit::Ok, "ok"),
        (Exit::Failed, "failed"),
        (Exit::Usage, "wrong usage, or confirmation missing"),
        (Exit::NotFound, "not found"),
        (Exit::NotAuthenticated, "not authenticated"),
        (Exit::Forbidden, "forbidden"),
        (Exit::Conflict, "conflict or stale version"),
        (Exit::Timeout, "timeout"),
        (Exit::Unreachable, "server unreachable"),
        (Exit::Invalid, "validation failed"),
        (Exit::Changes, "dry run found changes"),
        (Exit::Interrupted, "interrupted"),
    ];

    /// The code of the process.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::NotAuthenticated => 4,
            Exit::Forbidden => 5,
            Exit::Conflict => 6,
            Exit::Timeout => 7,
            Exit::Unreachable => 8,
            Exit::Invalid => 9,
            Exit::Changes => 10,
            Exit::Interrupted => 130,
            Exit::Remote(code) => code,
        }
    }

    /// What an HTTP status of the API means for the one who called.
    pub fn from_status(status: u16) -> Exit {
        match status {
            400 | 413 | 415 | 422 => Exit::Invalid,
            401 => Exit::NotAuthenticated,
            403 => Exit::Forbidden,
            404 => Exit::NotFound,
            408 | 504 => Exit::Timeout,
            409 | 412 | 428 => Exit::Conflict,
            502 | 503 => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

/// Why a command failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// How the process ends.
    pub exit: Exit,
    /// What failed and why, in one fragment.
    pub message: String,
    /// More lines: a log tail, each problem of a file.
    pub details: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// The server's id of the request, for unexpected failures.
    pub request_id: Option<String>,
    /// The HTTP status, where a server refused.
    pub status: Option<u16>,
}

impl CliError {
    /// An error with only what is always there.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            details: Vec::new(),
            hint: None,
            request_id: None,
            status: None,
        }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something on this machine that should not have failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines below the message.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }

    /// The reader of our output went away (`lain logs | head`): end quietly.
    pub fn closed_pipe() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// The text for stderr, ending in a newline; empty if there is nothing to say.
    pub fn render(&self, red: &str, reset: &str) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let mut text = format!("{red}error:{reset} {}\n", self.message);
        for line in &self.details {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        // Writing to a String cannot fail.
        if let Some(id) = &self.request_id {
            let _ = writeln!(text, "  request id: {id}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]);
    }

    #[test]
    fn statuses_map_to_codes() {
        for (status, code) in [
            (400, 9),
            (401, 4),
            (403, 5),
            (404, 3),
            (409, 6),
            (410, 1),
            (412, 6),
            (413, 9),
            (422, 9),
            (428, 6),
            (429, 1),
            (500, 1),
            (503, 8),
        ] {
            assert_eq!(Exit::from_status(status).code(), code, "{status}");
        }
    }

    #[test]
    fn an_error_shows_what_why_and_what_to_do() {
        let mut error = CliError::failed("proc web cannot be placed")
            .details(["node1: no memory".to_owned()])
            .hint("lain scale -p web --memory 256m");
        error.request_id = Some("r1".to_owned());
        assert_eq!(
            error.render("", ""),
            "error: proc web cannot be placed\n  node1: no memory\n  request id: r1\nhint: lain scale -p web --memory 256m\n"
        );
        assert_eq!(CliError::closed_pipe().render("", ""), "");
    }
}
