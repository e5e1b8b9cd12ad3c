//! `link` (agent only): the connection to the control host; it connects for ever.
//!
//! Last child of an agent's root. Takes assignments up, tells what this node sees, and answers requests. Beats
//! that are answered prolong the lease that `fence` watches. A crash costs the connection; no container notices.

use crate::actors::agent::assigned::Leaving;
use crate::actors::agent::assignments::{Apply, Assignments};
use crate::actors::agent::far_index::FarIndex;
use crate::actors::agent::outbox::Outbox;
use crate::actors::agent::serve::Server;
use crate::actors::agent::tell::{Pulse, report_for_ever, tell_for_ever};
use crate::actors::agent::{facts, logging, paths};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::link::frame::{Receiver, Sender, split};
use crate::link::identity::Identity;
use crate::link::message::{PROTOCOL, PROTOCOL_MIN, Routing, ToAgent, ToControl};
use crate::link::tls;
use crate::ports::log_index::Appended;
use crate::ports::watchdog::Watchdog;
use actix::prelude::*;
use rand::RngExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch::error::RecvError;
use tokio::sync::{mpsc, watch};

/// The first pause between attempts to connect; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How long connecting and greeting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Messages that may wait for the connection.
const OUTGOING: usize = 256;
/// Where the control host is, and how this node shows who it is.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// Control hosts, `host:port`; tried in turn.
    pub servers: Vec<String>,
    /// The authority's certificate, PEM.
    pub authority: String,
    /// This node's own certificate; renewed ones are put here.
    pub identity: Arc<Mutex<Identity>>,
    /// Keeps a renewed certificate on disk.
    pub keep_identity: KeepIdentity,
    /// The control host's log index.
    pub index: Arc<FarIndex>,
    /// What this node tells of itself.
    pub facts: facts::Source,
    /// Stops what may run only once when this process cannot.
    pub watchdog: Arc<dyn Watchdog>,
    /// When the present certificate was made; `None`: long ago.
    pub issued_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Keeps a renewed identity on disk.
pub type KeepIdentity = Arc<dyn Fn(&Identity) -> Result<(), String> + Send + Sync>;

/// The actor.
pub struct Link {
    args: Args,
    boot: String,
}

impl Actor for Link {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (args, boot) = (self.args.clone(), self.boot.clone());
        ctx.spawn(async move { connect_for_ever(&args, &boot).await }.into_actor(self));
    }
}

impl Child for Link {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let boot = uuid::Uuid::now_v7().to_string();
        Ok(Init::Ready(Self { args, boot }))
    }
}

/// How a connection ended.
enum End {
    /// It broke; try again.
    Broken(String),
    /// The control host does not want this node; trying again soon will not help.
    Refused(String),
}

async fn connect_for_ever(args: &Args, boot: &str) {
    let outbox = Arc::new(Outbox::new(&args.shared));
    let mut pause = FIRST_PAUSE;
    let mut attempt = 0_usize;
    let mut told = None;
    loop {
        let server = &args.servers[attempt % args.servers.len().max(1)];
        let connected = tokio::time::timeout(CONNECT, connect(args, boot, server)).await;
        let end = match connected {
            Ok(Ok(link)) => {
                pause = FIRST_PAUSE;
                told = None;
                announce(
                    &args.shared,
                    "link_up",
                    Level::Info,
                    format!("connected to the control host at {server}"),
                );
                let end = talk(args, link, &outbox).await;
                announce(
                    &args.shared,
                    "link_down",
                    Level::Warn,
                    "the link to the control host has ended; this node goes on by itself"
                        .to_owned(),
                );
                end
            }
            Ok(Err(end)) => end,
            Err(_) => End::Broken(format!("no answer within {}s", CONNECT.as_secs())),
        };
        attempt += 1;
        let reason = match end {
            End::Broken(reason) => reason,
            End::Refused(reason) => {
                pause = LAST_PAUSE;
                reason
            }
        };
        if told.as_ref() != Some(&reason) {
            tracing::warn!(server, reason, "no link to the control host; trying again");
            told = Some(reason);
        }
        let jitter = rand::rng().random_range(0.8..1.2);
        tokio::time::sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

fn announce(shared: &Shared, kind: &str, level: Level, text: String) {
    let node = &shared.settings.node;
    shared
        .hub
        .emit(Event::new(kind, level, format!("{node}: {text}")).node(node));
}

/// A connection that stands.
struct Connected {
    receiver: Receiver<ToAgent>,
    sender: Sender<ToControl>,
    beat: Duration,
    fence: Duration,
}

async fn connect(args: &Args, boot: &str, server: &str) -> Result<Connected, End> {
    let broken = |e: &dyn std::fmt::Display| End::Broken(e.to_string());
    let stream = TcpStream::connect(server).await.map_err(|e| broken(&e))?;
    stream.set_nodelay(true).map_err(|e| broken(&e))?;
    let identity = args
        .identity
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let connector = tls::connector(&args.authority, &identity).map_err(|e| broken(&e))?;
    let stream = connector.connect(tls::control_name(), stream).await;
    let (mut receiver, mut sender) =
        split::<ToAgent, ToControl>(stream.map_err(|e| End::Broken(format!("TLS failed: {e}")))?);
    let hello = ToControl::Hello {
        protocol: (PROTOCOL_MIN, PROTOCOL),
        node: args.shared.settings.node.clone(),
        boot: boot.to_owned(),
        facts: Box::new(args.facts.now(&args.shared)),
    };
    sender.send(&hello).await.map_err(|e| broken(&e))?;
    match receiver.next().await.map_err(|e| broken(&e))? {
        Some(ToAgent::Welcome {
            beat_ms, fence_ms, ..
        }) => Ok(Connected {
            receiver,
            sender,
            beat: Duration::from_millis(beat_ms.max(1)),
            fence: Duration::from_millis(fence_ms),
        }),
        Some(ToAgent::Refused { reason, forever }) if forever => Err(End::Refused(reason)),
        Some(ToAgent::Refused { reason, .. }) => Err(End::Broken(reason)),
        Some(_) => Err(End::Broken(
            "it answered with something else than a welcome".to_owned(),
        )),
        None => Err(End::Broken("it closed without an answer".to_owned())),
    }
}

/// Both directions, until one breaks.
async fn talk(args: &Args, link: Connected, outbox: &Arc<Outbox>) -> End {
    let shared = &args.shared;
    let Connected {
        receiver,
        sender,
        beat,
        fence,
    } = link;
    shared.assigned.connected();
    shared.assigned.change_lease(|lease| lease.set_fence(fence));
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    args.index.set_link(Some(outgoing.clone()));
    let beats = Pulse::default();
    let server = Server::new(Arc::clone(shared), outgoing.clone());
    let reading = read(args, receiver, server, &beats, outbox, &outgoing);
    let writing = write(shared, sender, queue, beat, &beats);
    let reporting = report_for_ever(shared, &outgoing);
    let keeping = outbox.send_for_ever(&outgoing);
    let telling = tell_for_ever(args, &outgoing, &beats);
    let reason = tokio::select! {
        end = reading => {
            args.index.set_link(None);
            return end;
        }
        end = writing => end,
        () = reporting => Ok(()),
        () = keeping => Ok(()),
        () = telling => Ok(()),
    };
    args.index.set_link(None);
    End::Broken(match reason {
        Ok(()) => "the connection was closed".to_owned(),
        Err(error) => error.to_string(),
    })
}

/// Sends beats in time, whatever else waits, and what waits.
async fn write(
    shared: &Shared,
    mut sender: Sender<ToControl>,
    mut queue: mpsc::Receiver<ToControl>,
    beat: Duration,
    beats: &Pulse,
) -> std::io::Result<()> {
    let mut ticks = tokio::time::interval(beat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seq = 0;
    let mut leaving = shared.assigned.leaving();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                seq += 1;
                beats.sent(seq, shared.clock.monotonic());
                sender.send(&ToControl::Beat { seq }).await?;
            }
            message = queue.recv() => match message {
                Some(message) => sender.send(&message).await?,
                None => return Ok(()),
            },
            Ok(()) = asked_to_leave(&mut leaving) => {
                // The last word: whatever came after it would say that this node is there.
                let said = sender.send(&ToControl::Goodbye).await;
                shared.assigned.leave(Leaving::Said);
                return said;
            }
        }
    }
}

/// Resolves once the farewell is to be said. What it saw is let go of: it is a lock on what is then changed.
async fn asked_to_leave(leaving: &mut watch::Receiver<Leaving>) -> Result<(), RecvError> {
    let asked = leaving.wait_for(|l| *l == Leaving::Asked);
    asked.await.map(drop)
}

async fn read(
    args: &Args,
    mut receiver: Receiver<ToAgent>,
    mut server: Server,
    beats: &Pulse,
    outbox: &Outbox,
    outgoing: &mpsc::Sender<ToControl>,
) -> End {
    let shared = &args.shared;
    loop {
        let message = match receiver.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return End::Broken("the control host closed the link".to_owned()),
            Err(error) => return End::Broken(error.to_string()),
        };
        match message {
            ToAgent::BeatHeard { seq, utc_ms } => {
                beats.heard(&shared.assigned, &*shared.clock, seq, utc_ms)
            }
            ToAgent::Assign {
                revision,
                put,
                gone,
                base,
                keep,
            } => {
                let all = base.is_none();
                shared.tell::<Assignments, _>(
                    paths::ASSIGNMENTS,
                    Apply {
                        revision,
                        put,
                        gone,
                        all,
                        keep,
                    },
                );
                if all {
                    shared.assigned.report_all();
                    beats.knows_all();
                }
            }
            ToAgent::Appended {
                id,
                added,
                duplicates,
                refused,
                failed,
            } => {
                let appended = Appended {
                    added,
                    duplicates,
                    refused,
                };
                args.index.answered(id, failed.map_or(Ok(appended), Err));
            }
            ToAgent::Logging { routing } => take_routing(shared, routing),
            ToAgent::KeptUpTo(number) => outbox.kept_up_to(number.n),
            ToAgent::Ask { id, request } => server.asked(id, request),
            ToAgent::Input { id, input } => server.input(id, input),
            ToAgent::Cancel { id } => server.cancel(id),
            ToAgent::Renewed { certificate } => renewed(args, certificate),
            ToAgent::Refused { reason, .. } => return End::Refused(reason),
            ToAgent::Welcome { .. }
            | ToAgent::Joined { .. }
            | ToAgent::HandedOn
            | ToAgent::Unknown => {}
        }
        server.renew_if_due(args, outgoing);
    }
}

/// Sends log events where the control host says, beside the link's other work: sinks settle in their own time.
fn take_routing(shared: &Arc<Shared>, routing: Routing) {
    let shared = Arc::clone(shared);
    actix_rt::spawn(async move {
        let Some(routes) = shared.routes() else {
            return;
        };
        let changed = match routes.take(&routing.0) {
            Ok(true) => logging::change(&shared).await.map(drop),
            Ok(false) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = changed {
            tracing::error!(reason, "log sinks are not as the control host says");
        }
    });
}

fn renewed(args: &Args, certificate: String) {
    let mut identity = args.identity.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(key) = args.facts.take_new_key() else {
        return;
    };
    let fresh = Identity { certificate, key };
    match (args.keep_identity)(&fresh) {
        Ok(()) => *identity = fresh,
        Err(error) => tracing::error!(
            error,
            "the new certificate cannot be kept; the one before is used on"
        ),
    }
}
