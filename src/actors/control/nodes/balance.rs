//! `nodes/balance`: is it the node, and is the load even?
//!
//! Parent: `nodes`. A node on which many different instances fail while the others are well is cordoned and
//! drained. After nodes came or came back, and once all has been calm for a while, instances are moved to
//! them one at a time. Soft state: a crash forgets what failed lately, and nothing else.

use crate::actors::control::nodes::join;
use crate::actors::control::nodes::table::{Node, Presence};
use crate::actors::control::relocate::Cause;
use crate::actors::control::{moves, placing};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::node_state::blame::{Book, Settings, Verdict};
use crate::domain::placement::NodeState;
use actix::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often the evenness of the cluster is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Moves begun at one look.
const BUDGET: usize = 1;

/// A node's agent gave up on an instance.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Failed {
    /// Which node.
    pub node: NodeName,
    /// Which instance.
    pub instance: InstanceId,
}

/// The actor.
pub struct Balance {
    shared: Arc<Shared>,
    book: Book,
    moving: bool,
}

/// Where it lives.
pub const PATH: &str = "nodes/balance";

impl Actor for Balance {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK, |actor, ctx| actor.look(ctx));
    }
}

impl Child for Balance {
    type Args = Arc<Shared>;

    async fn init(shared: Arc<Shared>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self {
            shared,
            book: Book::default(),
            moving: false,
        }))
    }
}

impl Balance {
    /// Moves one instance where that makes the cluster more even, nothing is in progress, and all nodes have
    /// been as they are for a while.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let calm_for = self.shared.settings.rebalance_after;
        if self.moving || calm_for.is_zero() || !self.is_calm(calm_for) {
            return;
        }
        let moves = placing::cluster(&self.shared).rebalance(BUDGET);
        let Some(step) = moves.into_iter().next() else {
            return;
        };
        self.moving = true;
        let shared = Arc::clone(&self.shared);
        let id = step.demand.instance();
        let work = async move {
            let cause = Cause::Even(step.to_node.clone(), step.cause.to_string());
            moves::move_instance(&shared, &id, cause).await
        };
        ctx.spawn(work.into_actor(self).map(|outcome, actor, _| {
            actor.moving = false;
            if let Err(reason) = outcome {
                tracing::info!(reason, "an instance stays where it is");
            }
        }));
    }

    fn is_calm(&self, calm_for: Duration) -> bool {
        let nodes = self.shared.nodes.all();
        let now = self.shared.clock.monotonic();
        let steady = nodes.iter().filter(|n| !n.local).all(|n| {
            n.presence() == Presence::Down || now.saturating_sub(n.steady_since()) >= calm_for
        });
        let apps = self.shared.world.apps();
        nodes.len() > 1 && steady && apps.iter().all(|(_, a)| a.record.operation.is_none())
    }

    fn blame(&mut self, ctx: &mut Context<Self>) {
        let nodes = self.shared.nodes.all();
        let ready: BTreeSet<NodeName> = nodes
            .iter()
            .filter(|n| n.state() == NodeState::Ready)
            .map(|n| n.name.clone())
            .collect();
        let blamed = nodes.len() - ready.len();
        let now = self.shared.clock.monotonic();
        let verdicts = self
            .book
            .to_blame(&ready, blamed, now, &Settings::default());
        for (name, verdict) in verdicts {
            self.book.forget(&name);
            let Some(node) = self.shared.nodes.get(&name) else {
                continue;
            };
            let shared = Arc::clone(&self.shared);
            let work = async move { put_out_of_service(&shared, &node, &verdict).await };
            ctx.spawn(work.into_actor(self));
        }
    }
}

async fn put_out_of_service(shared: &Arc<Shared>, node: &Arc<Node>, verdict: &Verdict) {
    let reason = verdict.to_string();
    let changed = join::change(shared, node, |record| {
        record.cordoned = Some(reason.clone());
        record.draining = true;
    });
    if let Err(error) = changed.await {
        tracing::error!(node = %node.name, %error, "a node that is to blame could not be cordoned");
        return;
    }
    let text = format!("node {} is cordoned and drained: {reason}", node.name);
    let event = Event::new("node_blamed", Level::Error, text);
    shared.hub.emit(event.node(&node.name));
    moves::drain(shared, &node.name, 1);
}

impl Handler<Failed> for Balance {
    type Result = ();
    fn handle(&mut self, Failed { node, instance }: Failed, ctx: &mut Self::Context) {
        let now = self.shared.clock.monotonic();
        self.book.failed(&node, &instance, now);
        self.blame(ctx);
    }
}
