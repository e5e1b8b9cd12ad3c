//! `time`: cron procs run when they are due.
//!
//! Child of the root. Every second it compares the clock with each cron proc's schedule; what is due is started
//! as an instance of that proc, by the overlap policy. A restart of lain forgets no run: runs are kept, and what
//! fell into the time when lain was down is recorded as skipped, once, not made up for.

use crate::actors::agent::node;
use crate::actors::agent::put_away::Removal;
use crate::actors::control::app;
use crate::actors::control::carry;
use crate::actors::control::evict::evict;
use crate::actors::control::job::RUNS_KEPT;
use crate::actors::control::placing;
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::cron::{self, Due};
use crate::domain::id::{AppName, InstanceId, ProcType};
use crate::domain::record::{AppRecord, Placement, ended_well, keys};
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::RunView;
use crate::ports::store::Change;
use actix::prelude::*;
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How often schedules are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A tick that comes this much late (the machine slept, the clock jumped) skips what it missed.
const LATE: i64 = 60;

/// A cron proc.
type Key = (AppName, String);

/// The actor.
pub struct Schedule {
    shared: Arc<Shared>,
    /// Up to when each proc's schedule has been looked at.
    seen: HashMap<Key, DateTime<Utc>>,
    waiting: HashSet<Key>,
}

impl Actor for Schedule {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, ctx| actor.tick(ctx));
    }
}

impl Child for Schedule {
    type Args = Arc<Shared>;

    async fn init(shared: Arc<Shared>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self {
            shared,
            seen: HashMap::new(),
            waiting: HashSet::new(),
        }))
    }
}

impl Schedule {
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now_utc();
        let mut known = HashSet::new();
        for (name, app) in self.shared.world.apps() {
            if app.record.removing {
                continue;
            }
            for proc in app
                .record
                .procs()
                .into_iter()
                .filter(|p| p.proc_type == ProcType::Cron)
            {
                let key = (name.clone(), proc.full_name());
                known.insert(key.clone());
                self.settle_runs(&key, &proc);
                let stopped = app.record.is_stopped(&key.1, 0);
                self.look_at(key, proc, stopped, now, ctx);
            }
        }
        self.seen.retain(|key, _| known.contains(key));
        self.waiting.retain(|key| known.contains(key));
    }

    fn look_at(
        &mut self,
        key: Key,
        proc: ProcSpec,
        stopped: bool,
        now: DateTime<Utc>,
        ctx: &mut Context<Self>,
    ) {
        let Some(schedule) = proc.schedule.clone() else {
            return;
        };
        let since = *self.seen.entry(key.clone()).or_insert(now);
        // A clock that was set back: begin again from where it stands now.
        let since = since.min(now);
        let due = cron::next_after(&schedule.cron, since)
            .ok()
            .flatten()
            .filter(|at| *at <= now);
        self.seen.insert(key.clone(), now);
        let running = self.running(&key, &proc).len();
        if let Some(at) = due.filter(|_| !stopped) {
            if (now - at).num_seconds() > LATE {
                self.skip(&key, at, "lain or the machine was not running at that time");
                return;
            }
            match cron::on_due(schedule.overlap, running, self.waiting.contains(&key)) {
                Due::Start => self.begin(key, proc, now, ctx),
                Due::Skip => self.skip(&key, at, "the run before has not ended"),
                Due::Wait => {
                    self.waiting.insert(key);
                }
                Due::Replace => self.replace(key, proc, now, ctx),
            }
        } else if running == 0 && self.waiting.remove(&key) {
            self.begin(key, proc, now, ctx);
        }
    }

    /// The instances of a cron proc that run.
    fn running(&self, key: &Key, proc: &ProcSpec) -> Vec<InstanceId> {
        let placed = self.shared.world.placements(&key.0);
        let mine = placed
            .into_iter()
            .filter(|p| p.instance.proc == proc.name && p.finished.is_none());
        mine.map(|p| p.instance).collect()
    }

    fn skip(&self, key: &Key, at: DateTime<Utc>, why: &str) {
        let run = RunView {
            started_at: at,
            ended_at: Some(at),
            result: "skipped".to_owned(),
            detail: Some(why.to_owned()),
        };
        self.push_run(key, run);
        let message = format!(
            "{} {}: the run of {} was skipped: {why}",
            key.0,
            key.1,
            at.format("%H:%M UTC")
        );
        self.shared.hub.emit(
            Event::new("run_skipped", Level::Warn, message)
                .app(&key.0)
                .proc(&key.1),
        );
    }

    fn push_run(&self, key: &Key, run: RunView) {
        let mut runs = self.shared.world.runs(&key.0, &key.1);
        runs.insert(0, run);
        runs.truncate(RUNS_KEPT);
        self.keep(key, runs);
    }

    fn keep(&self, key: &Key, runs: Vec<RunView>) {
        self.shared.world.put_runs(&key.0, &key.1, runs.clone());
        self.shared
            .recorder
            .send(Record::Runs(key.0.clone(), key.1.clone(), runs));
    }

    fn begin(&self, key: Key, proc: ProcSpec, now: DateTime<Utc>, ctx: &mut Context<Self>) {
        let busy: HashSet<u32> = self.running(&key, &proc).iter().map(|id| id.no).collect();
        let no = (1..).find(|n| !busy.contains(n)).unwrap_or(1);
        let id = InstanceId {
            app: key.0.clone(),
            proc_type: proc.proc_type,
            proc: proc.name.clone(),
            no,
        };
        let run = RunView {
            started_at: now,
            ended_at: None,
            result: "running".to_owned(),
            detail: None,
        };
        self.push_run(&key, run);
        let shared = Arc::clone(&self.shared);
        let work = async move { start_run(&shared, &id, &proc).await };
        ctx.spawn(work.into_actor(self).map(move |outcome, actor, _| {
            if let Err(reason) = outcome {
                actor.end_run(&key, "failed", &reason);
            }
        }));
    }

    fn replace(&self, key: Key, proc: ProcSpec, now: DateTime<Utc>, ctx: &mut Context<Self>) {
        let (shared, ids) = (Arc::clone(&self.shared), self.running(&key, &proc));
        let work = async move {
            for id in ids {
                for cell in shared.node.of(&id) {
                    let _ = node::retire(&shared, &cell, Removal::Remove).await;
                }
                let text = Some("replaced by the next run".to_owned());
                shared.world.change_placement(&id, |p| p.finished = text);
            }
        };
        ctx.spawn(work.into_actor(self).map(move |(), actor, ctx| {
            actor.end_run(&key, "failed", "replaced by the next run");
            actor.begin(key, proc, now, ctx);
        }));
    }

    /// Runs that have ended since the last look are marked so.
    fn settle_runs(&self, key: &Key, proc: &ProcSpec) {
        let runs = self.shared.world.runs(&key.0, &key.1);
        let open = runs.iter().filter(|r| r.ended_at.is_none()).count();
        let placed = self.shared.world.placements(&key.0);
        let mine: Vec<_> = placed
            .iter()
            .filter(|p| p.instance.proc == proc.name)
            .collect();
        if open == 0
            || open <= mine.iter().filter(|p| p.finished.is_none()).count()
            || mine.is_empty()
        {
            return;
        }
        // The newest placement that finished tells how.
        let text = mine
            .iter()
            .filter_map(|p| p.finished.clone())
            .next_back()
            .unwrap_or_default();
        let result = if ended_well(&text) {
            "succeeded"
        } else {
            "failed"
        };
        self.end_run(key, result, &text);
    }

    /// Marks the oldest open run as ended.
    fn end_run(&self, key: &Key, result: &str, detail: &str) {
        let mut runs = self.shared.world.runs(&key.0, &key.1);
        let now = self.shared.clock.now_utc();
        if let Some(run) = runs.iter_mut().rev().find(|r| r.ended_at.is_none()) {
            run.ended_at = Some(now);
            run.result = result.to_owned();
            run.detail = Some(detail.to_owned());
        }
        self.keep(key, runs);
        let level = if result == "succeeded" {
            Level::Info
        } else {
            Level::Warn
        };
        let message = format!("{} {}: the run {result}: {detail}", key.0, key.1);
        self.shared.hub.emit(
            Event::new("run_ended", level, message)
                .app(&key.0)
                .proc(&key.1),
        );
    }
}

/// A node and host ports for a run.
async fn place_run(
    shared: &Arc<Shared>,
    id: &InstanceId,
    proc: &ProcSpec,
    record: &AppRecord,
) -> Result<Placement, String> {
    let version = record.version(&proc.full_name());
    let _turn = shared.placing.lock().await;
    let wanted = [(id.clone(), Arc::new(proc.clone()), version)];
    let (nodes, evictions) = placing::place_new(shared, &wanted)?;
    let node = nodes.first().ok_or("there is no node")?;
    let placement = carry::allocate(shared, node, id, proc, &HashSet::new())?;
    shared.world.put_placement(placement.clone());
    evict(shared, &evictions).await?;
    Ok(placement)
}

/// Places and starts one run: durable first, so that a restart of lain finds it.
async fn start_run(shared: &Arc<Shared>, id: &InstanceId, proc: &ProcSpec) -> Result<(), String> {
    let app = shared.world.app(&id.app).ok_or("the app is gone")?;
    let mut placement = match shared.world.placement(id) {
        Some(placement) => Arc::unwrap_or_clone(placement),
        None => place_run(shared, id, proc, &app.record).await?,
    };
    let version = app.record.version(&proc.full_name());
    // A run of another version leaves nothing behind of the one before.
    for cell in shared
        .node
        .of(id)
        .into_iter()
        .filter(|c| c.assignment.version != version)
    {
        node::retire(shared, &cell, Removal::Remove)
            .await
            .map_err(|e| e.to_string())?;
    }
    (placement.version, placement.finished, placement.gave_up) = (version, None, 0);
    let json = serde_json::to_vec(&placement).map_err(|e| e.to_string())?;
    shared
        .store
        .transact(Vec::new(), vec![Change::Put(keys::instance(id), json)])
        .await
        .map_err(|e| e.to_string())?;
    shared.world.put_placement(placement);
    shared
        .hub
        .emit(Event::new("run_started", Level::Info, format!("{id}: a run starts")).instance(id));
    app::ensure_instance(shared, id)
        .await
        .map_err(|f| f.reason)?;
    carry::create(shared, id, true).await.map_err(|f| f.reason)
}
