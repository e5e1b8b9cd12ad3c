//! What the API says when it refuses: RFC 9457 problems, as errors of the CLI.

use crate::cli::error::{CliError, Exit};
use serde::Deserialize;

/// A refusal of the API (`application/problem+json`); unknown fields are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The kind, in a few words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong in this case.
    #[serde(default)]
    pub detail: Option<String>,
    /// The server's id of the request.
    #[serde(default)]
    pub request_id: Option<String>,
    /// 422: each mistake of the body.
    #[serde(default)]
    pub errors: Vec<Mistake>,
}

/// One mistake of a body, with its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Mistake {
    /// The key.
    #[serde(default)]
    pub pointer: String,
    /// Line from 1.
    #[serde(default)]
    pub line: Option<u32>,
    /// Column from 1.
    #[serde(default)]
    pub column: Option<u32>,
    /// What is wrong and what would be right.
    #[serde(default)]
    pub detail: String,
}

impl Problem {
    /// Reads the body of a refusal; of one that is no problem, its first line is kept. `status` counts
    /// where the problem names none.
    pub fn read(status: u16, body: &[u8], request_id: Option<String>) -> Self {
        let mut problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(body);
            let line = text.lines().next().unwrap_or("").trim();
            Problem {
                title: line.chars().take(200).collect(),
                ..Problem::default()
            }
        });
        if problem.status == 0 {
            problem.status = status;
        }
        problem.request_id = problem.request_id.or(request_id);
        problem
    }

    /// The error to show, with the exit code of the status.
    pub fn into_error(self) -> CliError {
        let said = self.detail.filter(|detail| !detail.is_empty());
        let message = match said.or(Some(self.title).filter(|title| !title.is_empty())) {
            Some(message) => message,
            None => format!("the server answered with status {}", self.status),
        };
        let mut error = CliError::new(Exit::from_status(self.status), message)
            .details(self.errors.iter().map(Mistake::line));
        error.hint = hint(self.status).map(str::to_owned);
        error.status = Some(self.status);
        // An expected refusal explains itself; of an unexpected one the log is wanted.
        if self.status >= 500 {
            error.request_id = self.request_id;
        }
        error
    }
}

impl Mistake {
    /// `12:3: web.port: expected …`
    pub fn line(&self) -> String {
        let mut text = String::new();
        if let Some(line) = self.line {
            text.push_str(&format!("{line}:{}: ", self.column.unwrap_or(1)));
        }
        if !self.pointer.is_empty() {
            text.push_str(&format!("{}: ", self.pointer));
        }
        text + &self.detail
    }
}

fn hint(status: u16) -> Option<&'static str> {
    match status {
        401 => Some(
            "on the machine of `lain dev` the token is found by itself; elsewhere name its file with --token-file or LAIN_TOKEN_FILE",
        ),
        403 => Some("use a token whose scope allows this"),
        412 => Some("look at it again with `lain ps`, then repeat the command"),
        429 => Some("too many requests: repeat in a moment"),
        500 => Some(
            "this is a defect of lain: please report it with the request id and the server's log",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_become_errors() {
        let body = br#"{"type":"x","title":"Not Found","status":404,"detail":"app helo does not exist (did you mean hello?)","request_id":"r1","new":1}"#;
        let error = Problem::read(404, body, None).into_error();
        assert_eq!(error.exit, Exit::NotFound);
        assert_eq!(
            error.message,
            "app helo does not exist (did you mean hello?)"
        );
        assert_eq!(error.request_id, None);
    }

    #[test]
    fn mistakes_have_their_place() {
        let body = br#"{"title":"Invalid","detail":"lain.yaml has 1 problem(s)","errors":[{"pointer":"web.prot","line":3,"column":2,"code":"unknown_key","detail":"unknown key; did you mean port?"}]}"#;
        let error = Problem::read(422, body, None).into_error();
        assert_eq!(error.exit, Exit::Invalid);
        assert_eq!(
            error.details,
            ["3:2: web.prot: unknown key; did you mean port?"]
        );
    }

    #[test]
    fn what_is_no_problem_is_shown_too() {
        let error =
            Problem::read(502, b"<html>bad gateway</html>\nmore", Some("r9".into())).into_error();
        assert_eq!(error.message, "<html>bad gateway</html>");
        assert_eq!(error.request_id.as_deref(), Some("r9"));
        let empty = Problem::read(500, b"", None).into_error();
        assert_eq!(empty.message, "the server answered with status 500");
    }
}
