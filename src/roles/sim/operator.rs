//! The operator: deploys, scales, removes, cordons and drains while faults go on, and remembers what was
//! acknowledged.

use super::chance::Chance;
use super::control::ControlHost;
use super::truth::{Ground, Invariant};
use crate::domain::id::{AppName, NodeName, ProcName};
use crate::domain::record::{AppRecord, keys};
use crate::domain::view::{
    ChangeAnswer, DeployRequest, NodeChange, OperationState, OperationView, ScaleRequest,
};
use crate::ports::agent::NodeRecord;
use crate::ports::control::{Caller, Control, ControlError, Precondition, Selector};
use crate::ports::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Instances of a proc that is exclusive.
const EXCLUSIVE: u32 = 2;

/// What is wanted of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which file.
    generation: u32,
    /// Instances of `web`.
    web: u32,
    /// It is to be there.
    there: bool,
}

/// What is known of an app.
#[derive(Debug, Clone, Copy)]
struct Known {
    wanted: Wanted,
    /// The store's revision of it, as it was acknowledged.
    revision: u64,
    /// A command after that got no answer, or a bad one: it may have been taken all the same.
    unsure: bool,
    /// The file of a deploy of which nobody knows whether it was taken.
    maybe: Option<u32>,
}

impl Known {
    /// A command that would have led to this may have been taken.
    fn may_be(&mut self, tried: Wanted) {
        if self.unsure && tried.generation != self.wanted.generation {
            self.maybe = Some(tried.generation);
        }
    }
}

/// See the module.
pub struct Operator {
    chance: Chance,
    ground: Ground,
    /// Instances of each app's `web`, on average.
    size: u32,
    apps: BTreeMap<AppName, Known>,
    cordoned: BTreeMap<NodeName, (bool, bool)>,
    generation: u32,
}

fn caller() -> Caller {
    Caller {
        name: "operator".to_owned(),
        from: "127.0.0.1".to_owned(),
    }
}

/// The file of an app: what serves, and what must not run twice.
fn file(app: &AppName, generation: u32, web: u32, order: &str) -> String {
    // Every third file changes what is exclusive, too.
    let only = generation / 3;
    format!(
        "appname: {app}
web:
  image: web:1
  cmd: serve {generation}
  port: 80
  memory: 64m
  num_instances: {web}
  restart:
    intensity: 3
    period: 20s
    max_backoff: 2s
  update:
    order: {order}
    parallelism: 2
    progress_deadline: 20s
worker.only:
  image: only:1
  cmd: once {only}
  memory: 32m
  num_instances: {EXCLUSIVE}
  exclusive: true
  restart:
    intensity: 3
    period: 20s
    max_backoff: 2s
  update:
    progress_deadline: 20s
"
    )
}

impl Operator {
    /// An operator of so many instances.
    pub fn new(chance: Chance, ground: Ground, instances: u32) -> Self {
        let apps = instances.div_ceil(8).clamp(1, 16);
        let size = (instances / apps).saturating_sub(EXCLUSIVE).max(1);
        let none = Known {
            wanted: Wanted {
                generation: 0,
                web: 0,
                there: false,
            },
            revision: 0,
            unsure: false,
            maybe: None,
        };
        let apps = (1..=apps).filter_map(|n| AppName::new(format!("app{n}")).ok());
        Self {
            chance,
            ground,
            size,
            apps: apps.map(|name| (name, none)).collect(),
            cordoned: BTreeMap::new(),
            generation: 0,
        }
    }

    /// Deploys every app that is not there.
    pub async fn deploy_all(&mut self, host: &ControlHost) {
        let missing = self.apps.iter().filter(|(_, k)| !k.wanted.there);
        for app in missing.map(|(a, _)| a.clone()).collect::<Vec<_>>() {
            self.deploy(host, &app).await;
        }
    }

    /// One command, whichever.
    pub async fn act(&mut self, host: &ControlHost, nodes: &[NodeName]) {
        let names: Vec<AppName> = self.apps.keys().cloned().collect();
        let Some(app) = self.chance.pick(&names).cloned() else {
            return;
        };
        let there = self.apps.get(&app).is_some_and(|k| k.wanted.there);
        match self.chance.below(100) {
            _ if !there => self.deploy(host, &app).await,
            0..35 => self.deploy(host, &app).await,
            35..55 => self.scale(host, &app).await,
            55..63 => self.undeploy(host, &app).await,
            63..73 => self.restart(host, &app).await,
            roll => {
                let Some(node) = self.chance.pick(nodes).cloned() else {
                    return;
                };
                let (cordoned, _) = self.cordoned.get(&node).copied().unwrap_or_default();
                let others = self.cordoned.values().filter(|c| c.0).count();
                match cordoned {
                    true => self.cordon(host, &node, false).await,
                    // Enough nodes stay open for everything.
                    false if (others + 1) * 3 > nodes.len() => {}
                    false if roll < 85 => self.cordon(host, &node, true).await,
                    false => self.drain(host, &node).await,
                }
            }
        }
    }

    /// Opens every node that was closed.
    pub async fn open_all(&mut self, host: &ControlHost) {
        for node in self.cordoned.keys().cloned().collect::<Vec<_>>() {
            self.cordon(host, &node, false).await;
        }
    }

    async fn deploy(&mut self, host: &ControlHost, app: &AppName) {
        self.generation += 1;
        let generation = self.generation;
        let web = self.chance.number(1, self.size * 2 - 1);
        let order = match self.chance.percent(50) {
            true => "start_first",
            false => "stop_first",
        };
        let request = DeployRequest {
            lain_yaml: file(app, generation, web, order),
            file_name: "lain.yaml".to_owned(),
            meta_version: None,
            image: None,
            canary: None,
        };
        let asked = host
            .handle
            .deploy(app, request, Precondition::Any, false, caller());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let wanted = Wanted {
            generation,
            web,
            there: true,
        };
        let what = format!("deploy {app} as {generation} with {web}, {order}");
        self.heard(app, &what, answer, |_| wanted);
    }

    async fn scale(&mut self, host: &ControlHost, app: &AppName) {
        let web = self.chance.number(1, self.size * 2 - 1);
        let request = ScaleRequest {
            num_instances: Some(web),
            cpu: None,
            memory: None,
            spares: None,
        };
        let Ok(proc) = ProcName::new("web") else {
            return;
        };
        let asked = host.handle.scale(app, &proc, request, false, caller());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let what = format!("scale {app} to {web}");
        self.heard(app, &what, answer, |before| Wanted { web, ..before });
    }

    async fn undeploy(&mut self, host: &ControlHost, app: &AppName) {
        let asked = host
            .handle
            .undeploy(app, Precondition::Any, false, caller());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let gone = |before| Wanted {
            there: false,
            ..before
        };
        self.heard(app, &format!("undeploy {app}"), answer, gone);
    }

    async fn restart(&mut self, host: &ControlHost, app: &AppName) {
        let selector = Selector {
            app: app.clone(),
            proc: None,
            instance: None,
        };
        let asked = host.handle.restart(selector, false, caller());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        self.heard(app, &format!("restart {app}"), answer, |before| before);
    }

    fn heard(
        &mut self,
        app: &AppName,
        what: &str,
        answer: Result<Result<ChangeAnswer, ControlError>, tokio::time::error::Elapsed>,
        change: impl FnOnce(Wanted) -> Wanted,
    ) {
        let Some(known) = self.apps.get_mut(app) else {
            return;
        };
        match answer {
            Ok(Ok(answer)) => {
                let before = known.wanted.generation;
                known.wanted = change(known.wanted);
                if known.wanted.generation != before {
                    known.maybe = None;
                }
                (known.revision, known.unsure) = (answer.revision, false);
                self.ground.note(format!(
                    "operator: {what}: acknowledged, revision {}",
                    answer.revision
                ));
                if known.wanted.there {
                    let revision = answer.revision;
                    self.ground
                        .with(|truth| truth.acknowledged(app.as_str(), revision));
                }
            }
            Ok(Err(error)) => {
                self.ground.note(format!("operator: {what}: {error}"));
                // Refused for good where the caller is told so; else nobody knows.
                known.unsure |= !matches!(
                    error,
                    ControlError::Conflict(_)
                        | ControlError::NotFound { .. }
                        | ControlError::Invalid { .. }
                );
                if matches!(error, ControlError::NotFound { .. }) && known.unsure {
                    known.wanted.there = false;
                }
                known.may_be(change(known.wanted));
            }
            Err(_) => {
                self.ground.note(format!("operator: {what}: no answer"));
                known.unsure = true;
                known.may_be(change(known.wanted));
            }
        }
    }

    async fn cordon(&mut self, host: &ControlHost, node: &NodeName, cordoned: bool) {
        let change = NodeChange {
            cordoned: Some(cordoned),
            reason: None,
            labels: None,
        };
        let asked = host.handle.change_node(node, change, caller());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let word = match cordoned {
            true => "cordon",
            false => "uncordon",
        };
        let done = matches!(answer, Ok(Ok(_)));
        self.node_heard(word, node, cordoned, done);
    }

    async fn drain(&mut self, host: &ControlHost, node: &NodeName) {
        let asked = host.handle.drain(node, 1, caller());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let done = matches!(answer, Ok(Ok(_)));
        self.node_heard("drain", node, true, done);
    }

    fn node_heard(&mut self, word: &str, node: &NodeName, cordoned: bool, done: bool) {
        let said = match done {
            true => "acknowledged",
            false => "no good answer",
        };
        self.ground.note(format!("operator: {word} {node}: {said}"));
        let known = self.cordoned.entry(node.clone()).or_default();
        *known = match done {
            true => (cordoned, false),
            false => (known.0, true),
        };
    }

    /// Whether any node may still be closed.
    pub fn has_closed(&self) -> bool {
        self.cordoned
            .values()
            .any(|(cordoned, unsure)| *cordoned || *unsure)
    }

    /// Compares what was acknowledged with what the store has.
    ///
    /// # Errors
    /// What the store said; it has no faults by now.
    pub async fn check(&self, store: &dyn Store) -> Result<(), StoreError> {
        for (app, known) in &self.apps {
            if known.unsure {
                continue;
            }
            let record = match store.get(&keys::app(app)).await? {
                Some(entry) => serde_json::from_slice::<AppRecord>(&entry.value).ok(),
                None => None,
            };
            if let Err(what) = self.compare(app, known, record, store).await? {
                self.ground
                    .with(|truth| truth.violated(Invariant::AcknowledgedKept, what));
            }
        }
        for (node, (cordoned, unsure)) in &self.cordoned {
            let entry = store.get(&keys::node(node)).await?;
            let record = entry.and_then(|e| serde_json::from_slice::<NodeRecord>(&e.value).ok());
            let is = record.is_some_and(|r| r.cordoned.is_some());
            if !unsure && is != *cordoned {
                let what = format!("node {node}: cordoned {cordoned} was acknowledged, it is {is}");
                self.ground
                    .with(|truth| truth.violated(Invariant::AcknowledgedKept, what));
            }
        }
        Ok(())
    }

    async fn compare(
        &self,
        app: &AppName,
        known: &Known,
        record: Option<AppRecord>,
        store: &dyn Store,
    ) -> Result<Result<(), String>, StoreError> {
        let wanted = known.wanted;
        let Some(record) = record.filter(|r| !r.removing) else {
            return Ok(match wanted.there {
                true => Err(format!("app {app} was acknowledged and is gone")),
                false => Ok(()),
            });
        };
        if !wanted.there {
            return Ok(Err(format!("app {app} was to be gone and is there")));
        }
        if record.revision < known.revision {
            return Ok(Err(format!(
                "app {app} is at revision {}, and {} was acknowledged",
                record.revision, known.revision
            )));
        }
        let web = record
            .procs()
            .into_iter()
            .find(|p| p.name.as_str() == "web");
        let command = web.as_ref().and_then(|p| p.cmd.clone()).unwrap_or_default();
        let is = (command.last().cloned(), web.map(|p| p.num_instances));
        let want = (Some(wanted.generation.to_string()), Some(wanted.web));
        let maybe = known.maybe.map(|generation| Wanted {
            generation,
            ..wanted
        });
        let said = is == want || overrides(&record, wanted);
        if said || maybe.is_some_and(|m| overrides(&record, m)) || rolled_back(app, store).await? {
            return Ok(Ok(()));
        }
        Ok(Err(format!(
            "app {app}: {want:?} was acknowledged, and {is:?} is there"
        )))
    }

    /// What failed and waits for somebody who asks for it is asked for again: a deploy that could not be taken back.
    ///
    pub async fn look_after(&mut self, host: &ControlHost, store: &dyn Store) {
        for app in self.apps.keys().cloned().collect::<Vec<_>>() {
            let entry = store.get(&keys::app(&app)).await.ok().flatten();
            let record = entry.and_then(|e| serde_json::from_slice::<AppRecord>(&e.value).ok());
            let rests = record.is_some_and(|r| r.operation.is_none() && !r.removing);
            if rests && rolled_back(&app, store).await.unwrap_or(false) {
                self.deploy(host, &app).await;
            }
        }
    }
}

/// A scale stays in force over deploys, as LAIN has it.
fn overrides(record: &AppRecord, wanted: Wanted) -> bool {
    let over = record
        .overrides
        .get("web.web")
        .and_then(|o| o.num_instances);
    let web = record
        .current
        .spec
        .procs
        .iter()
        .find(|p| p.name.as_str() == "web");
    let command = web.and_then(|p| p.cmd.clone()).unwrap_or_default();
    over.is_some() && command.last() == Some(&wanted.generation.to_string())
}

/// Whether a deploy of the app failed, and was taken back with a reason that can be read.
async fn rolled_back(app: &AppName, store: &dyn Store) -> Result<bool, StoreError> {
    let all = store.list_back(keys::OPERATIONS, None, 1000).await?;
    let views = all
        .iter()
        .filter_map(|e| serde_json::from_slice::<OperationView>(&e.value).ok());
    let mut mine = views.filter(|v| v.app == app.as_str());
    Ok(mine.any(|v| v.kind == "deploy" && v.state == OperationState::Failed && v.error.is_some()))
}
