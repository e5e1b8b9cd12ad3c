//! `…/exec` and `…/run`: a command in a running instance, or in a container of its own, over a WebSocket.

use super::error::{Kind, Problem, ProblemView};
use super::extract::{self, InPath};
use super::instances::find_instance;
use super::params::{InstancePath, ProcPath};
use super::procs::find_proc;
use super::state::{Api, Who};
use super::ws;
use crate::domain::id::InstanceId;
use crate::ports::runtime::ExecRequest;
use actix_web::http::header::{CONNECTION, UPGRADE};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

/// The most words of a command, and bytes of them in all.
const MAX_WORDS: usize = 256;
const MAX_BYTES: usize = 32 * 1024;

/// What to run; `command` is given once for each word.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct CommandQuery {
    /// A word of the command; given once for each, in order.
    #[param(required = true, explode = true, style = Form, min_items = 1, max_items = 256)]
    pub command: Vec<String>,
    /// Attach standard input.
    #[param(value_type = Option<bool>, default = false)]
    pub stdin: bool,
    /// Give it a terminal.
    #[param(value_type = Option<bool>, default = false)]
    pub tty: bool,
    /// The terminal's columns; 80 if not given.
    #[param(minimum = 1, maximum = 10000)]
    pub columns: Option<u16>,
    /// The terminal's rows; 24 if not given.
    #[param(minimum = 1, maximum = 10000)]
    pub rows: Option<u16>,
}

impl CommandQuery {
    /// # Errors
    /// 400 naming the parameter.
    fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = extract::pairs(query)?;
        let (words, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(n, _)| n == "command");
        let rest: Vec<(&str, &str)> = rest.iter().map(|(n, v)| (&**n, &**v)).collect();
        let mut parsed: Self = extract::parse_query(&extract::encode(&rest))?;
        parsed.command = words.into_iter().map(|(_, word)| word).collect();
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<(), Problem> {
        let bad = |detail: &str| Err(Problem::new(Kind::BadParameter, detail));
        let bytes: usize = self.command.iter().map(String::len).sum();
        if self.command.first().is_none_or(String::is_empty) {
            return bad("query parameter command is needed: once for each word of the command");
        }
        if self.command.len() > MAX_WORDS || bytes > MAX_BYTES {
            return bad("query parameter command: at most 256 words of 32768 bytes in all");
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return bad("query parameter command: a word of a command cannot hold NUL");
        }
        let sizes = [self.columns, self.rows];
        if sizes
            .into_iter()
            .flatten()
            .any(|n| !(1..=10_000).contains(&n))
        {
            return bad("query parameters columns and rows are from 1 to 10000");
        }
        if !self.tty && sizes != [None, None] {
            return bad("query parameters columns and rows need tty=true");
        }
        Ok(())
    }

    fn request(self) -> ExecRequest {
        let size = (self.columns.unwrap_or(80), self.rows.unwrap_or(24));
        ExecRequest {
            command: self.command,
            env: Vec::new(),
            stdin: self.stdin,
            tty: self.tty.then_some(size),
        }
    }
}

/// Runs a command in a running instance (WebSocket)
///
/// Client to server: binary frames are standard input; text frames are
/// `{"type":"resize","columns":80,"rows":24}` and `{"type":"close_stdin"}`. Server to client: binary
/// frames are one byte, 1 for standard output or 2 for standard error, and the output; then a text
/// frame `{"type":"exit","code":0}` or `{"type":"error","problem":{…}}`, then close.
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs/{proc}/instances/{no}/exec",
    params(InstancePath, CommandQuery),
    responses(
        (status = 101, description = "The connection is a WebSocket now"),
        (status = 409, description = "The instance does not run, or the engine refuses", body = ProblemView, content_type = "application/problem+json"),
        (status = 426, description = "The request asks for no WebSocket", body = ProblemView, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests or streams", body = ProblemView, content_type = "application/problem+json")))]
pub async fn exec_command(
    api: Data<Api>,
    who: Who,
    path: InPath<InstancePath>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let query = CommandQuery::parse(request.query_string())?;
    must_upgrade(&request)?;
    let proc = find_proc(api.control.app(&path.app).await?, path.proc.as_str())?;
    let proc_type = proc.spec.proc_type;
    find_instance(proc, path.no)?;
    let slot = api.stream_slot(&who)?;
    let instance = InstanceId {
        app: path.app.clone(),
        proc_type,
        proc: path.proc.clone(),
        no: path.no,
    };
    let exec = api.control.exec(&instance, query.request(), who.caller());
    ws::attach(&api, &request, payload, exec.await?, slot)
}

/// Runs a one-off command in a new container made like an instance of the proc (WebSocket)
///
/// The container is removed when the command ends. Frames are those of `exec`.
#[utoipa::path(get, path = "/api/v1/apps/{app}/procs/{proc}/run",
    params(ProcPath, CommandQuery),
    responses(
        (status = 101, description = "The connection is a WebSocket now"),
        (status = 409, description = "The engine refuses", body = ProblemView, content_type = "application/problem+json"),
        (status = 426, description = "The request asks for no WebSocket", body = ProblemView, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests or streams", body = ProblemView, content_type = "application/problem+json")))]
pub async fn run_command(
    api: Data<Api>,
    who: Who,
    path: InPath<ProcPath>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let query = CommandQuery::parse(request.query_string())?;
    must_upgrade(&request)?;
    find_proc(api.control.app(&path.app).await?, path.proc.as_str())?;
    let slot = api.stream_slot(&who)?;
    let run = api
        .control
        .run(&path.app, &path.proc, query.request(), who.caller());
    ws::attach(&api, &request, payload, run.await?, slot)
}

/// Nothing is run for a client that could not see its output.
fn must_upgrade(request: &HttpRequest) -> Result<(), Problem> {
    let has = |name, word: &str| {
        let value = request.headers().get(name).and_then(|v| v.to_str().ok());
        value.is_some_and(|v| {
            v.split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(word))
        })
    };
    if has(UPGRADE, "websocket") && has(CONNECTION, "upgrade") {
        return Ok(());
    }
    let detail = "open a WebSocket at this path, as `lain enter` and `lain run` do";
    Err(Problem::new(Kind::UpgradeRequired, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_and_sizes_need_a_terminal() {
        let rows = [
            (
                "command=ls&command=-l&command=a+b",
                Ok(vec!["ls", "-l", "a b"]),
            ),
            (
                "command=sh&tty=true&columns=100&rows=30&stdin=true",
                Ok(vec!["sh"]),
            ),
            ("command=echo&command=", Ok(vec!["echo", ""])),
            ("", Err("command is needed")),
            ("command=", Err("command is needed")),
            ("command=a%00b", Err("NUL")),
            ("command=sh&columns=80", Err("need tty")),
            ("command=sh&tty=true&columns=0", Err("from 1")),
            ("command=sh&tty=true&rows=70000", Err("rows")),
            ("command=sh&tty=maybe", Err("tty")),
            ("command=sh&tty=true&tty=true", Err("duplicate")),
            ("command=sh&user=root", Err("user")),
        ];
        for (query, wanted) in rows {
            match (CommandQuery::parse(query), wanted) {
                (Ok(parsed), Ok(words)) => assert_eq!(parsed.command, words, "{query}"),
                (Err(problem), Err(part)) => {
                    assert!(problem.detail.contains(part), "{query}: {problem}");
                }
                (got, _) => panic!("{query}: {got:?}"),
            }
        }
        let many = "command=x&".repeat(MAX_WORDS + 1);
        assert!(CommandQuery::parse(many.trim_end_matches('&')).is_err());
    }
}
