//! `fence` (agent only): what may run only once is stopped here before the control host starts it elsewhere.
//!
//! Watches the lease that answered beats give (`domain::node_state::lease`), with and without a connection, and
//! keeps the watchdog informed, which does the same when this process cannot. A crash loses nothing: the lease
//! is kept outside of it.

use crate::actors::agent::assignments::{Assignments, Fence, Unfence};
use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::paths;
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::node_state::lease::AgentLease;
use crate::ports::agent::Want;
use crate::ports::watchdog::{Guarded, Watchdog};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// How often the lease is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What a [`Guard`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// Stops what this process cannot.
    pub watchdog: Arc<dyn Watchdog>,
}

/// The actor.
pub struct Guard {
    args: Args,
    /// What ran under the lease of the agent's incarnation before and was not seen again yet.
    before: Vec<Guarded>,
    /// What the watchdog was last told.
    told: Option<(AgentLease, Vec<Guarded>)>,
}

impl Actor for Guard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look();
        ctx.run_interval(TICK, |actor, _| actor.look());
    }
}

impl Child for Guard {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let mut before = Vec::new();
        if let Some(inherited) = args.watchdog.inherited() {
            before = inherited.guarded;
            let until = args.shared.clock.monotonic() + inherited.left;
            args.shared.assigned.change_lease(|lease| {
                if lease.deadline().is_none() {
                    *lease = AgentLease::inherited(until);
                }
            });
        }
        Ok(Init::Ready(Self {
            args,
            before,
            told: None,
        }))
    }
}

impl Guard {
    fn look(&mut self) {
        let shared = Arc::clone(&self.args.shared);
        let (now, lease) = (shared.clock.monotonic(), shared.assigned.lease());
        match lease.holds(now) {
            true => shared.tell::<Assignments, _>(paths::ASSIGNMENTS, Unfence),
            false => shared.tell::<Assignments, _>(paths::ASSIGNMENTS, Fence),
        }
        let seen = shared
            .node
            .all()
            .iter()
            .filter_map(guarded)
            .collect::<Vec<Guarded>>();
        self.before.retain(|one| {
            let runs = shared.assigned.get(&one.name);
            let is_seen = seen.iter().any(|s| s.name == one.name);
            let is_put_away = shared
                .node
                .get(&one.name)
                .is_some_and(|c| c.look(|o| o.phase == Phase::Stopped));
            runs.is_some_and(|d| d.want == Want::Run) && !is_seen && !is_put_away
        });
        let mut guarded = seen;
        guarded.extend(self.before.iter().cloned());
        if self.told.as_ref() == Some(&(lease, guarded.clone())) {
            return;
        }
        let left = lease.deadline().map(|at| at.saturating_sub(now));
        match self.args.watchdog.tell(left, &guarded) {
            Ok(()) => self.told = Some((lease, guarded)),
            Err(reason) => tracing::error!(reason, "the watchdog cannot be told"),
        }
    }
}

/// What is guarded of a container: one that may run only once and that the engine knows.
fn guarded(cell: &Arc<ContainerCell>) -> Option<Guarded> {
    if !cell.assignment.exclusive {
        return None;
    }
    cell.look(|o| match (&o.id, &o.phase) {
        (_, Phase::Stopped | Phase::Finished(_)) | (None, _) => None,
        (Some(id), _) => Some(Guarded {
            name: cell.name().to_owned(),
            id: id.clone(),
            pid: o.pid,
        }),
    })
}
