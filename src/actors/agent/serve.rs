//! Answers what the control host asks of this node besides its assignments: output, commands, actors.
//!
//! Owned by one connection of `link`; what is being answered ends with it.

use crate::actors::agent::link::Args;
use crate::actors::control::handle;
use crate::actors::shared::Shared;
use crate::domain::id::ContainerId;
use crate::link::identity;
use crate::link::message::{Command, Failure, FailureKind, Input, Reply, Request, ToControl};
use crate::ports::control::{ChildAction, ControlError};
use crate::ports::runtime::{ContainerSpec, ExecRequest, ExecSession, LogsRequest, RuntimeError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Days, Utc};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Input that may wait for a command.
const INPUT: usize = 64;

/// See the module.
pub struct Server {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<ToControl>,
    open: HashMap<u64, Open>,
    renewal_asked: Option<DateTime<Utc>>,
}

struct Open {
    work: JoinHandle<()>,
    input: mpsc::Sender<Input>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for open in self.open.values() {
            open.work.abort();
        }
    }
}

/// Where the parts of one answer go.
#[derive(Clone)]
struct Answer {
    id: u64,
    outgoing: mpsc::Sender<ToControl>,
}

impl Answer {
    /// Whether anybody still listens.
    async fn say(&self, reply: Reply) -> bool {
        let id = self.id;
        self.outgoing
            .send(ToControl::Reply { id, reply })
            .await
            .is_ok()
    }

    async fn fail(&self, error: &RuntimeError) {
        self.say(Reply::Failed(failure(error))).await;
    }
}

fn failure(error: &RuntimeError) -> Failure {
    let kind = match error {
        RuntimeError::NoContainer(_) | RuntimeError::NoImage { .. } => FailureKind::NotFound,
        RuntimeError::Unreachable { .. } => FailureKind::Unreachable,
        RuntimeError::PortTaken { .. } | RuntimeError::NameTaken(_) => FailureKind::Conflict,
        RuntimeError::DiskFull(_)
        | RuntimeError::Refused { .. }
        | RuntimeError::Failed { .. }
        | RuntimeError::Unsupported { .. } => FailureKind::Failed,
    };
    Failure {
        kind,
        reason: error.to_string(),
    }
}

impl Server {
    /// Answers go to `outgoing`.
    pub fn new(shared: Arc<Shared>, outgoing: mpsc::Sender<ToControl>) -> Self {
        Self {
            shared,
            outgoing,
            open: HashMap::new(),
            renewal_asked: None,
        }
    }

    /// Begins to answer.
    pub fn asked(&mut self, id: u64, request: Request) {
        self.open.retain(|_, open| !open.work.is_finished());
        let (input, inputs) = mpsc::channel(INPUT);
        let answer = Answer {
            id,
            outgoing: self.outgoing.clone(),
        };
        let shared = Arc::clone(&self.shared);
        let work = actix_rt::spawn(async move {
            match request {
                Request::Logs { container, request } => {
                    logs(&shared, &answer, &container, request).await;
                }
                Request::Exec { container, command } => {
                    exec(&shared, &answer, inputs, &container, command).await;
                }
                Request::RunOnce { spec, command } => {
                    run_once(&shared, &answer, inputs, &spec, command).await;
                }
                Request::Act { path, restart } => act(&shared, &answer, &path, restart).await,
                Request::Actor { path } => {
                    actor(&answer, handle::actor_of(&shared, &path)).await;
                }
                Request::Sink { sink, action } => {
                    let outcome = handle::act_on_sink(&shared, &sink, action).await;
                    last(&answer, outcome.map(|view| Reply::Sink(Box::new(view)))).await;
                }
            }
        });
        self.open.insert(id, Open { work, input });
    }

    /// Hands input to a command.
    pub fn input(&mut self, id: u64, input: Input) {
        let Some(open) = self.open.get(&id) else {
            return;
        };
        if open.input.try_send(input).is_err() {
            // A command that does not read: what cannot be buffered ends it, rather than the link.
            self.cancel(id);
        }
    }

    /// The asker does not wait any more.
    pub fn cancel(&mut self, id: u64) {
        if let Some(open) = self.open.remove(&id) {
            open.work.abort();
        }
    }

    /// Asks for a new certificate when a third of the time of the present one is left; once a day.
    pub fn renew_if_due(&mut self, args: &Args, outgoing: &mpsc::Sender<ToControl>) {
        let now = self.shared.clock.now_utc();
        let since = self.renewal_asked.unwrap_or(self.shared.started_at);
        let certificate_days = identity::NODE_DAYS * 2 / 3;
        let due = match self.renewal_asked {
            Some(asked) => now - asked > chrono::TimeDelta::days(1),
            None => args
                .issued_at
                .is_none_or(|at| now > at + Days::new(certificate_days)),
        };
        if !due || since > now {
            return;
        }
        match identity::request(self.shared.settings.node.as_str()) {
            Ok((key, csr)) => {
                args.facts.put_new_key(key);
                // A full queue: asked again with the next message.
                if outgoing.try_send(ToControl::Renew { csr }).is_ok() {
                    self.renewal_asked = Some(now);
                }
            }
            Err(error) => tracing::error!(%error, "a new certificate cannot be asked for"),
        }
    }
}

async fn logs(shared: &Shared, answer: &Answer, container: &ContainerId, request: LogsRequest) {
    let mut lines = shared.runtime.logs(container, request);
    while let Some(line) = lines.next().await {
        let going = match line {
            Ok(line) => answer.say(Reply::Line(line)).await,
            Err(error) => return answer.fail(&error).await,
        };
        if !going {
            return;
        }
    }
    answer.say(Reply::End).await;
}

fn exec_request(command: Command) -> ExecRequest {
    ExecRequest {
        command: command.words,
        env: command.env,
        stdin: command.stdin,
        tty: command.tty,
    }
}

async fn exec(
    shared: &Shared,
    answer: &Answer,
    inputs: mpsc::Receiver<Input>,
    container: &ContainerId,
    command: Command,
) {
    match shared.runtime.exec(container, exec_request(command)).await {
        Ok(session) => pump(answer, inputs, session).await,
        Err(error) => answer.fail(&error).await,
    }
}

async fn run_once(
    shared: &Shared,
    answer: &Answer,
    inputs: mpsc::Receiver<Input>,
    spec: &ContainerSpec,
    command: Command,
) {
    let runtime = &shared.runtime;
    if let Err(error) = runtime.ensure_image(&spec.image, Box::new(|_| {})).await {
        return answer.fail(&error).await;
    }
    match runtime.run(spec, exec_request(command)).await {
        Ok(session) => pump(answer, inputs, session).await,
        Err(error) => answer.fail(&error).await,
    }
}

/// Passes a command's input and output on until it has ended.
async fn pump(answer: &Answer, mut inputs: mpsc::Receiver<Input>, session: ExecSession) {
    if !answer.say(Reply::Begun).await {
        return;
    }
    let ExecSession {
        mut input,
        mut output,
        control,
    } = session;
    let mut reading = true;
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(Ok((stream, bytes))) => {
                    if !answer.say(Reply::Output(stream, BASE64.encode(bytes))).await {
                        return;
                    }
                }
                Some(Err(error)) => return answer.fail(&error).await,
                None => break,
            },
            part = inputs.recv(), if reading => match part {
                Some(Input::Bytes(text)) => {
                    let written = match BASE64.decode(text) {
                        Ok(bytes) => input.write_all(&bytes).await.is_ok() && input.flush().await.is_ok(),
                        Err(_) => false,
                    };
                    // A command that closed its input may well go on.
                    reading = written;
                }
                Some(Input::Eof) | None => {
                    // As above.
                    let _ = input.shutdown().await;
                    reading = false;
                }
                Some(Input::Resize(columns, rows)) => {
                    if let Err(error) = control.resize(columns, rows).await {
                        tracing::debug!(%error, "the terminal keeps its size");
                    }
                }
            },
        }
    }
    match control.exit_code().await {
        Ok(code) => {
            answer.say(Reply::Exit(code)).await;
        }
        Err(error) => answer.fail(&error).await,
    }
}

async fn act(shared: &Arc<Shared>, answer: &Answer, path: &str, restart: bool) {
    let action = match restart {
        true => ChildAction::Restart,
        false => ChildAction::Terminate,
    };
    actor(answer, handle::act_on(shared, path, action).await).await;
}

async fn actor(answer: &Answer, outcome: Result<crate::domain::view::ActorView, ControlError>) {
    last(answer, outcome.map(|view| Reply::Actor(Box::new(view)))).await;
}

async fn last(answer: &Answer, outcome: Result<Reply, ControlError>) {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(error) => Reply::Failed(Failure {
            kind: match error {
                ControlError::NotFound { .. } => FailureKind::NotFound,
                ControlError::Conflict(_) => FailureKind::Conflict,
                _ => FailureKind::Failed,
            },
            reason: error.to_string(),
        }),
    };
    answer.say(reply).await;
}
