//! `…/container/<container>/health`: probes, and the verdict that a container is as good as dead.
//!
//! Parent: the container's supervisor (rest_for_one), so that it starts afresh with every start of the
//! container. It only counts; what follows from "unhealthy" is the `process` actor's business.

use crate::actors::agent::cell::{ContainerCell, Health, Phase, probe_name};
use crate::actors::agent::paths;
use crate::actors::agent::process::{Process, Settle, Unhealthy};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::health::{HealthCounter, Verdict};
use crate::domain::spec::model::{HealthCheck, Probe};
use crate::ports::runtime::ExecRequest;
use actix::prelude::*;
use futures_util::StreamExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// While a container is coming up, probes follow each other this quickly at first.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Characters of a probe's output that are kept.
const OUTPUT_KEPT: usize = 300;

/// What a [`HealthWatch`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// The container.
    pub cell: Arc<ContainerCell>,
    /// The check.
    pub check: HealthCheck,
}

/// The actor.
pub struct HealthWatch {
    args: Args,
    counter: HealthCounter,
    /// The pause before the next probe while the container is coming up.
    pause: Duration,
    /// The start of the container that is being counted for.
    since: Option<Duration>,
}

impl Actor for HealthWatch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.probe(ctx);
    }
}

impl Child for HealthWatch {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let counter = match args.cell.look(|o| o.health) {
            Health::Healthy => HealthCounter::healthy(args.check.retries),
            Health::None | Health::Starting | Health::Unhealthy => {
                HealthCounter::new(args.check.retries)
            }
        };
        Ok(Init::Ready(Self {
            args,
            counter,
            pause: FIRST_PAUSE,
            since: None,
        }))
    }
}

impl HealthWatch {
    /// Waits until the container runs, then probes it once.
    fn probe(&mut self, ctx: &mut Context<Self>) {
        let args = self.args.clone();
        let work = async move {
            let mut changed = args.cell.subscribe();
            while !args.cell.look(|o| o.phase == Phase::Running) {
                changed.changed().await;
            }
            let probed = tokio::time::timeout(args.check.timeout, run(&args)).await;
            probed.unwrap_or_else(|_| {
                Err(format!(
                    "no answer within {}ms",
                    args.check.timeout.as_millis()
                ))
            })
        };
        ctx.spawn(
            work.into_actor(self)
                .map(|outcome, actor, ctx| actor.probed(outcome, ctx)),
        );
    }

    fn probed(&mut self, outcome: Result<String, String>, ctx: &mut Context<Self>) {
        let cell = Arc::clone(&self.args.cell);
        let now = self.args.shared.clock.monotonic();
        let running = cell.look(|o| {
            (o.phase == Phase::Running)
                .then_some(o.running_since)
                .flatten()
        });
        let Some(since) = running else {
            // It ended, was frozen, or is being restarted during the probe: that probe says nothing.
            ctx.run_later(FIRST_PAUSE, |actor, ctx| actor.probe(ctx));
            return;
        };
        if self
            .since
            .replace(since)
            .is_some_and(|counted| counted != since)
        {
            // Restarted in place meanwhile: the count begins again.
            self.counter = HealthCounter::new(self.args.check.retries);
            self.pause = FIRST_PAUSE;
        }
        let in_start_period = now.saturating_sub(since) < self.args.check.start_period;
        let (ok, output) = match outcome {
            Ok(output) => (true, output),
            Err(output) => (false, output),
        };
        let said = format!("{}: {output}", probe_name(&self.args.check.probe));
        cell.note(|o| o.push_probe(said.clone()));
        let verdict = self.counter.record(ok, in_start_period);
        self.apply(verdict, said, now, ctx);
        let pause = match verdict {
            Verdict::Starting => {
                self.pause = (self.pause * 2).min(self.args.check.interval);
                self.pause
            }
            Verdict::Healthy | Verdict::Unhealthy => self.args.check.interval,
        };
        let rest = rest(Arc::clone(&cell), pause, since);
        ctx.spawn(rest.into_actor(self).map(|(), actor, ctx| actor.probe(ctx)));
    }

    fn apply(&self, verdict: Verdict, said: String, now: Duration, _: &mut Context<Self>) {
        let cell = &self.args.cell;
        let process = paths::process(&self.args.shared, cell.name());
        match verdict {
            Verdict::Starting => {}
            Verdict::Healthy if cell.look(|o| o.health != Health::Healthy) => {
                cell.change(|o| {
                    o.health = Health::Healthy;
                    o.ready_since = Some(now);
                });
                self.args.shared.tell::<Process, _>(&process, Settle);
            }
            Verdict::Healthy => {}
            Verdict::Unhealthy => {
                let verdict = Unhealthy {
                    failures: self.counter.failures(),
                    output: said,
                };
                self.args.shared.tell::<Process, _>(&process, verdict);
            }
        }
    }
}

/// Resolves after a pause, or as soon as the container runs anew: a restart on request is not to wait for the next
/// regular probe of what ran `since` then.
async fn rest(cell: Arc<ContainerCell>, pause: Duration, since: Duration) {
    let mut changed = cell.subscribe();
    let anew = || cell.look(|o| o.phase == Phase::Running && o.running_since != Some(since));
    let restarted = async {
        while !anew() {
            changed.changed().await;
        }
    };
    // Either end is the one that was waited for.
    let _ = tokio::time::timeout(pause, restarted).await;
}

/// One probe: what it said, as success or failure.
async fn run(args: &Args) -> Result<String, String> {
    match &args.check.probe {
        Probe::Http { port, path } => http(args, *port, path).await,
        Probe::Tcp { port } => tcp(args, *port).await,
        Probe::Command { command } => command_probe(args, command).await,
    }
}

fn address(args: &Args, port: u16) -> Result<SocketAddr, String> {
    args.cell
        .address_of(port)
        .map(SocketAddr::from)
        .ok_or_else(|| format!("port {port} has no address yet"))
}

async fn tcp(args: &Args, port: u16) -> Result<String, String> {
    TcpStream::connect(address(args, port)?)
        .await
        .map(|_| "connected".to_owned())
        .map_err(|e| e.to_string())
}

async fn http(args: &Args, port: u16, path: &str) -> Result<String, String> {
    let url = format!("http://{}{path}", address(args, port)?);
    let answer = args
        .shared
        .http
        .get(url)
        .send()
        .await
        .map_err(|e| innermost(&e))?;
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        return Ok(status.to_string());
    }
    let body = answer.text().await.unwrap_or_default();
    Err(format!("{status} {}", shorten(body.trim())))
}

/// The last cause of an error: "connection refused" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

async fn command_probe(args: &Args, command: &[String]) -> Result<String, String> {
    let id = args.cell.look(|o| o.id.clone()).ok_or("no container yet")?;
    let request = ExecRequest {
        command: command.to_vec(),
        env: Vec::new(),
        stdin: false,
        tty: None,
    };
    let mut session = args
        .shared
        .runtime
        .exec(&id, request)
        .await
        .map_err(|e| e.to_string())?;
    let mut said = Vec::new();
    while let Some(chunk) = session.output.next().await {
        let (_, bytes) = chunk.map_err(|e| e.to_string())?;
        said.extend_from_slice(&bytes[..bytes.len().min(OUTPUT_KEPT.saturating_sub(said.len()))]);
    }
    let code = session
        .control
        .exit_code()
        .await
        .map_err(|e| e.to_string())?;
    let said = shorten(String::from_utf8_lossy(&said).trim());
    if code == 0 {
        Ok(format!("exit 0 {said}"))
    } else {
        Err(format!("exit {code} {said}"))
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(OUTPUT_KEPT).collect()
}
