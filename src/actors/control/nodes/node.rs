//! `nodes/node/<name>`: a node on another host.
//!
//! Parent: `nodes`. Owns the link to the node's agent, and makes known what the node's monitor
//! (`domain::node_state`) makes of its beats, its probes and its absence: to operators, and to the instances on
//! it. A crash of this actor costs the connection, which the agent makes anew; no container notices.

use crate::actors::control::instance::{Instance, NodeChanged};
use crate::actors::control::nodes::table::{Link, Node};
use crate::actors::control::nodes::{generation, join, remote};
use crate::actors::control::{moves, paths};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::id::NodeName;
use crate::domain::node_state::{Cause, Event as Sign, NodeState, Notice};
use crate::domain::secret::Secret;
use crate::link::frame::{Receiver, Sender};
use crate::link::message::{FarEvent, Kept, Number, Routing, ToAgent, ToControl};
use crate::ports::agent::NodeFacts;
use crate::ports::log_index::{Appended, IndexEvent, LogIndexError};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often the lease is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Messages that may wait for the connection.
const OUTGOING: usize = 1024;

/// The node's agent has connected.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// What it sends.
    pub receiver: Receiver<ToControl>,
    /// Where answers go.
    pub sender: Sender<ToAgent>,
    /// What the node is.
    pub facts: Box<NodeFacts>,
}

/// The node is to be left: refuse its agent, now and from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dismiss(pub String);

/// What a [`RemoteNode`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// Which node.
    pub name: NodeName,
}

/// The actor.
pub struct RemoteNode {
    shared: Arc<Shared>,
    node: Arc<Node>,
    connection: Option<SpawnHandle>,
    /// It was down and has not been back for long.
    was_down: bool,
    /// It was made known that something is wrong with it.
    unfit: bool,
}

impl Actor for RemoteNode {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, _| actor.tick());
        if self.node.record().draining {
            // Begun before a restart of lain: taken up again, one at a time.
            moves::drain(&self.shared, &self.node.name, 1);
        }
    }
}

impl Child for RemoteNode {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let Args { shared, name } = args;
        let Some(node) = shared.nodes.get(&name) else {
            return Ok(Init::Ignore);
        };
        // Whatever connection the incarnation before had is gone with it.
        node.set_link(None, shared.clock.monotonic());
        Ok(Init::Ready(Self {
            shared,
            node,
            connection: None,
            was_down: false,
            unfit: false,
        }))
    }
}

impl RemoteNode {
    fn tick(&mut self) {
        self.node.on(Sign::Tick, self.shared.clock.monotonic());
        for notice in self.node.notices() {
            match notice {
                Notice::State { from, to, cause } => {
                    self.announce(from, to, &cause);
                    let left = to == NodeState::Draining && matches!(cause, Cause::Problem(_));
                    let back = self.was_down && to != NodeState::Suspect;
                    if left || back || to == NodeState::Down || from == NodeState::Down {
                        self.tell_instances();
                    }
                    self.was_down = match to {
                        NodeState::Down => true,
                        NodeState::Suspect => self.was_down,
                        _ => false,
                    };
                }
                Notice::TakeOver => self.tell_instances(),
            }
        }
    }

    fn announce(&mut self, from: NodeState, to: NodeState, cause: &Cause) {
        let name = &self.node.name;
        let problem = matches!(cause, Cause::Problem(_));
        let was_unfit = std::mem::replace(&mut self.unfit, problem);
        let (kind, level, text) = match (from, to) {
            (_, NodeState::Down) => (
                "node_down",
                Level::Error,
                format!("node {name} is down: {cause}; its instances are moved to other nodes"),
            ),
            (NodeState::Down, NodeState::Suspect) => (
                "node_returning",
                Level::Info,
                format!("node {name} is back; what was moved away meanwhile is put away there"),
            ),
            (_, NodeState::Suspect) => (
                "node_suspect",
                Level::Warn,
                format!("node {name} is suspect: {cause}"),
            ),
            (_, NodeState::Draining) if problem => (
                "node_unfit",
                Level::Error,
                format!("node {name} is left by what may run elsewhere: {cause}"),
            ),
            (_, NodeState::Cordoned) if problem => (
                "node_unfit",
                Level::Warn,
                format!("node {name} takes nothing new: {cause}"),
            ),
            (NodeState::Suspect, _) => ("node_up", Level::Info, format!("node {name} is {to}")),
            (_, NodeState::Ready) if was_unfit => (
                "node_fit",
                Level::Info,
                format!("nothing is wrong with node {name} any more"),
            ),
            // What an operator does is made known where it is done.
            _ => return,
        };
        self.shared
            .hub
            .emit(Event::new(kind, level, text).node(name));
    }

    /// Every instance on the node looks for itself what that means for it; so do those that wait for a node.
    fn tell_instances(&self) {
        for placement in self.shared.world.placements_on(&self.node.name) {
            self.shared
                .tell::<Instance, _>(&paths::instance(&placement.instance), NodeChanged);
        }
    }

    fn drop_connection(&mut self, ctx: &mut Context<Self>) {
        if let Some(connection) = self.connection.take() {
            ctx.cancel_future(connection);
        }
        let now = self.shared.clock.monotonic();
        self.node.set_link(None, now);
    }
}

impl Handler<Dismiss> for RemoteNode {
    type Result = ();
    fn handle(&mut self, Dismiss(reason): Dismiss, ctx: &mut Self::Context) {
        if let Some(link) = self.node.link() {
            // Told, if that is possible, and cut off in any case.
            let refused = ToAgent::Refused {
                reason,
                forever: true,
            };
            let _ = link.outgoing.try_send(refused);
            ctx.run_later(Duration::from_millis(200), |actor, ctx| {
                actor.drop_connection(ctx);
            });
        }
    }
}

impl Handler<Attach> for RemoteNode {
    type Result = ();
    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        self.drop_connection(ctx);
        let Attach {
            receiver,
            sender,
            facts,
        } = attach;
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let link = Link::new(outgoing);
        let now = self.shared.clock.monotonic();
        self.node.on(Sign::Heard, now);
        join::keep_facts(&self.shared, &self.node, *facts);
        self.node.set_link(Some(Arc::clone(&link)), now);
        let (shared, node) = (Arc::clone(&self.shared), Arc::clone(&self.node));
        let work = async move {
            let reading = read(&shared, &node, &link, receiver);
            let writing = write(&shared, &node, sender, queue);
            let ended = tokio::select! {
                biased;
                ended = reading => ended,
                ended = writing => ended,
            };
            node.drop_link(&link, shared.clock.monotonic());
            ended
        };
        let name = self.node.name.clone();
        let handle = ctx.spawn(work.into_actor(self).map(move |ended, actor, _| {
            actor.connection = None;
            match ended {
                Ok(()) => tracing::info!(node = %name, "the agent has closed its link"),
                Err(error) => tracing::info!(node = %name, %error, "the link has ended"),
            }
        }));
        self.connection = Some(handle);
        self.tick();
    }
}

/// Sends what waits, and what is to be on the node whenever that changes.
async fn write(
    shared: &Arc<Shared>,
    node: &Arc<Node>,
    mut sender: Sender<ToAgent>,
    mut queue: mpsc::Receiver<ToAgent>,
) -> std::io::Result<()> {
    let times = &shared.settings.lease.times;
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let welcome = ToAgent::Welcome {
        protocol: crate::link::message::PROTOCOL,
        owner: shared.settings.site.owner.to_string(),
        beat_ms: millis(times.heartbeat),
        fence_ms: millis(times.fence_after()),
    };
    sender.send(&welcome).await?;
    let mut revisions = node.revisions();
    let mut settled = shared.settled_signal();
    let mut sent: Option<u64> = None;
    let mut routes = shared.routes().map(|routes| routes.told());
    if let Some(routes) = &mut routes {
        routes.mark_changed();
    }
    let mut next: Option<ToAgent> = None;
    loop {
        // Before anything else, above all before a beat is acknowledged: whoever is told that it may run what
        // may run only once must know what that is by now.
        let due = *settled.borrow() && sent != Some(*revisions.borrow_and_update());
        if due {
            let assign = assignments(shared, node, sent);
            if let ToAgent::Assign { revision, .. } = &assign {
                sent = Some(*revision);
            }
            sender.send(&assign).await?;
        }
        if let Some(message) = next.take() {
            sender.send(&message).await?;
        }
        tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(message) => next = Some(message),
                None => return Ok(()),
            },
            changed = revisions.changed() => if changed.is_err() { return Ok(()) },
            changed = settled.changed() => if changed.is_err() { return Ok(()) },
            routing = told(&mut routes) => next = Some(ToAgent::Logging { routing }),
        }
    }
}

/// Where log events go, at first and whenever that changes.
async fn told(routes: &mut Option<watch::Receiver<Arc<Secret>>>) -> Routing {
    if let Some(routes) = routes
        && routes.changed().await.is_ok()
    {
        return Routing(routes.borrow_and_update().expose().to_owned());
    }
    std::future::pending().await
}

/// All assignments at first, then what changed.
fn assignments(shared: &Shared, node: &Node, sent: Option<u64>) -> ToAgent {
    match sent {
        Some(base) => {
            let delta = node.since(base);
            ToAgent::Assign {
                revision: delta.revision,
                put: delta.put,
                gone: delta.gone,
                base: Some(base),
                keep: Vec::new(),
            }
        }
        None => {
            let all = node.all();
            let mut keep = Vec::new();
            for placement in shared.world.placements_on(&node.name) {
                let name = crate::actors::control::render::name_of(&placement);
                // One that is being put away is placed until that is done, and must not be kept for that.
                if !node.desires(&name) && !all.gone.contains(&name) {
                    keep.push(name);
                }
            }
            ToAgent::Assign {
                revision: all.revision,
                put: all.put,
                gone: all.gone,
                base: None,
                keep,
            }
        }
    }
}

async fn read(
    shared: &Arc<Shared>,
    node: &Arc<Node>,
    link: &Arc<Link>,
    mut receiver: Receiver<ToControl>,
) -> std::io::Result<()> {
    let mut kept_up_to = 0;
    while let Some(message) = receiver.next().await? {
        // Whatever arrives is a sign of life.
        let now = shared.clock.monotonic();
        node.on(Sign::Heard, now);
        match message {
            // What it ran may be somebody else's by now: it has to stay for a while, and learn what is, first.
            ToControl::Beat { .. } if node.is_taken_over() => {}
            ToControl::Beat { seq } => {
                let utc_ms = Some(shared.clock.now_utc().timestamp_millis());
                // A full queue means that the agent does not read: its own fence decides then.
                let _ = link.outgoing.try_send(ToAgent::BeatHeard { seq, utc_ms });
            }
            ToControl::Health(report) => node.on(Sign::Probed(report), now),
            ToControl::Facts(facts) => join::keep_facts(shared, node, *facts),
            ToControl::Report {
                revision,
                cells,
                gone,
                full,
            } => {
                remote::take_report(shared, node, revision, cells, gone, full);
            }
            ToControl::Keep { first, records } => {
                let last = keep(shared, first, records, kept_up_to);
                kept_up_to = kept_up_to.max(last);
                let _ = link
                    .outgoing
                    .send(ToAgent::KeptUpTo(Number { n: last }))
                    .await;
            }
            ToControl::Events { events } => {
                for event in events {
                    shared.hub.pass_on(event);
                }
            }
            ToControl::Tree(tree) => node.set_tree(*tree),
            ToControl::Sinks { sinks } => node.set_sinks(sinks),
            ToControl::Append { id, events } => {
                let (shared, link) = (Arc::clone(shared), Arc::clone(link));
                // Beside the link's other work: durability takes its time.
                actix_rt::spawn(async move {
                    let answer = append(&shared, id, events).await;
                    let _ = link.outgoing.send(answer).await;
                });
            }
            ToControl::Reply { id, reply } => link.answered(id, reply),
            ToControl::Renew { csr } => match join::renew(shared, node, &csr).await {
                Ok(certificate) => {
                    let _ = link.outgoing.send(ToAgent::Renewed { certificate }).await;
                }
                Err(error) => {
                    tracing::warn!(node = %node.name, %error, "certificate could not be renewed");
                }
            },
            ToControl::Goodbye => {
                node.on(Sign::Away(shared.settings.lease.patience), now);
            }
            ToControl::Join { .. }
            | ToControl::Hello { .. }
            | ToControl::HandOn
            | ToControl::Unknown => {
                tracing::debug!(node = %node.name, "a message that does not belong here was passed over");
            }
        }
    }
    Ok(())
}

/// Puts a node's log events into the index.
async fn append(shared: &Shared, id: u64, events: Vec<FarEvent>) -> ToAgent {
    let events = events.into_iter().map(|event| IndexEvent {
        id: event.id,
        at: event.at,
        json: generation::checked(shared, event.json),
    });
    let outcome = match shared.logs().and_then(|logs| logs.index.as_ref()) {
        Some(index) => index.append(events.collect()).await,
        None => Err(LogIndexError::Unavailable(
            "the control host has none".to_owned(),
        )),
    };
    let (appended, failed) = match outcome {
        Ok(appended) => (appended, None),
        Err(error) => (Appended::default(), Some(error.to_string())),
    };
    ToAgent::Appended {
        id,
        added: appended.added,
        duplicates: appended.duplicates,
        refused: appended.refused,
        failed,
    }
}

/// Keeps records that were not kept before; the number of the last one.
fn keep(shared: &Shared, first: u64, records: Vec<Kept>, kept_up_to: u64) -> u64 {
    let mut number = first;
    for record in records {
        if number > kept_up_to {
            shared.recorder.send(match record {
                Kept::Crash(report) => Record::Crash(report),
                Kept::Role(id, role) => Record::Role(id, role),
                Kept::Restarted(id) => Record::Restarted(id),
            });
        }
        number += 1;
    }
    number - 1
}
