//! The control host as the API sees it: [`Control`] over the actors.
//!
//! Changes are committed to the store, then mirrored, then handed to the app's rollout. Reads come from the
//! mirror and the cells, and never wait for an actor. One file a group of calls.

mod command;
mod commit;
mod deploy;
mod doctor;
mod exec;
mod history;
mod logs;
mod nodes;
mod sinks;
mod trail;
mod tree;

pub use sinks::{act_on_sink, ask_for_sink, reload};
pub use tree::{act_on, actor_of, tree_of};

use crate::actors::control::{census, views, world};
use crate::actors::shared::Shared;
use crate::domain::census::Census;
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, CrashId, InstanceId, NodeName, OperationId, ProcName};
use crate::domain::record::keys;
use crate::domain::view::{
    ActorView, AppView, AuditView, ChangeAnswer, DeployRequest, EventView, Finding, InputView,
    JoinTokenView, LogLineView, MovesView, NodeChange, NodeView, OperationView, Page, PlanAction,
    RevisionView, ScaleRequest, SinkView, SinksReloaded, VersionView, WhyView,
};
use crate::ports::control::{
    Caller, ChildAction, Control, ControlError, CrashFilter, DriftRequest, EventStream, LogsQuery,
    Precondition, Selector, SinkAction,
};
use crate::ports::log_index::LogsPort;
use crate::ports::log_intake::LogIntake;
use crate::ports::runtime::{ExecRequest, ExecSession};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tokio_stream::wrappers::WatchStream;

/// The control host.
pub struct Handle {
    shared: Arc<Shared>,
    rates: tree::Rates,
}

impl Handle {
    /// A handle on the actors that share this environment.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            rates: tree::Rates::default(),
        }
    }

    fn find_app(&self, name: &AppName) -> Result<world::Versioned, ControlError> {
        self.shared.world.app(name).ok_or_else(|| {
            let names = self
                .shared
                .world
                .apps()
                .into_iter()
                .map(|(name, _)| name.to_string());
            not_found("app", name.as_str(), names)
        })
    }
}

/// "Does not exist", with the nearest name that does.
fn not_found(kind: &'static str, name: &str, others: impl Iterator<Item = String>) -> ControlError {
    let nearest = others
        .map(|other| (strsim::damerau_levenshtein(name, &other), other))
        .min()
        .filter(|(distance, other)| *distance <= 2.max(other.len() / 3));
    let hint = nearest
        .map(|(_, other)| format!(" (did you mean {other}?)"))
        .unwrap_or_default();
    ControlError::NotFound {
        kind,
        name: name.to_owned(),
        hint,
    }
}

#[async_trait]
impl Control for Handle {
    fn version(&self) -> VersionView {
        VersionView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            role: self.shared.settings.role.to_owned(),
            node: self.shared.settings.node.to_string(),
            started_at: self.shared.started_at,
        }
    }

    async fn ready(&self) -> Result<(), ControlError> {
        self.shared.store.get(keys::OWNER).await?;
        match self.shared.is_settled() {
            true => Ok(()),
            false => Err(ControlError::Unavailable("it is still starting".to_owned())),
        }
    }

    async fn apps(&self) -> Result<Vec<AppView>, ControlError> {
        Ok(self
            .shared
            .world
            .apps()
            .iter()
            .map(|(name, app)| views::app(&self.shared, name, app))
            .collect())
    }

    async fn app(&self, app: &AppName) -> Result<AppView, ControlError> {
        Ok(views::app(&self.shared, app, &self.find_app(app)?))
    }

    async fn deploy(
        &self,
        app: &AppName,
        request: DeployRequest,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self
            .deploy_app(app, request, precondition, dry_run, &caller)
            .await;
        self.audit_change(dry_run, &caller, "deploy", app, outcome)
    }

    async fn undeploy(
        &self,
        app: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self.undeploy_app(app, precondition, dry_run, &caller).await;
        self.audit_change(dry_run, &caller, "undeploy", app, outcome)
    }

    async fn scale(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ScaleRequest,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self.scale_proc(app, proc, &request, dry_run, &caller).await;
        if dry_run {
            return outcome;
        }
        let detail = serde_json::to_string(&request).unwrap_or_default();
        self.audit(&caller, "scale", &format!("{app}/{proc}"), detail, outcome)
    }

    async fn revisions(&self, app: &AppName) -> Result<Vec<RevisionView>, ControlError> {
        self.list_revisions(app).await
    }

    async fn revision(&self, app: &AppName, revision: u64) -> Result<RevisionView, ControlError> {
        self.read_revision(app, revision).await
    }

    async fn rollback(
        &self,
        app: &AppName,
        to: Option<u64>,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self
            .roll_back_app(app, to, precondition, dry_run, &caller)
            .await;
        self.audit_change(dry_run, &caller, "rollback", app, outcome)
    }

    async fn promote(
        &self,
        app: &AppName,
        precondition: Precondition,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self.promote_canary(app, precondition, &caller).await;
        self.audit_change(false, &caller, "promote", app, outcome)
    }

    async fn abort(
        &self,
        app: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self.abort_canary(app, precondition, dry_run, &caller).await;
        self.audit_change(dry_run, &caller, "abort", app, outcome)
    }

    fn endpoint_changes(&self) -> BoxStream<'static, ()> {
        WatchStream::from_changes(self.shared.world.watch_endpoints())
            .map(drop)
            .boxed()
    }

    async fn restart(
        &self,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        self.command(PlanAction::Restart, selector, dry_run, caller)
            .await
    }

    async fn stop(
        &self,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        self.command(PlanAction::Stop, selector, dry_run, caller)
            .await
    }

    async fn start(
        &self,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        self.command(PlanAction::Start, selector, dry_run, caller)
            .await
    }

    fn log_port(&self) -> Option<LogsPort> {
        self.shared.logs().map(|logs| logs.port.clone())
    }

    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<'static, Result<LogLineView, ControlError>>, ControlError> {
        self.read_logs(query)
    }

    async fn exec(
        &self,
        instance: &InstanceId,
        request: ExecRequest,
        caller: Caller,
    ) -> Result<ExecSession, ControlError> {
        let outcome = self.exec_in(instance, request).await;
        self.audit(
            &caller,
            "exec",
            &instance.to_string(),
            String::new(),
            outcome,
        )
    }

    async fn run(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ExecRequest,
        caller: Caller,
    ) -> Result<ExecSession, ControlError> {
        let outcome = self.run_one_off(app, proc, request).await;
        self.audit(
            &caller,
            "run",
            &format!("{app}/{proc}"),
            String::new(),
            outcome,
        )
    }

    async fn crashes(&self, filter: CrashFilter) -> Result<Page<CrashReport>, ControlError> {
        self.list_crashes(filter).await
    }

    async fn crash(&self, id: &CrashId) -> Result<CrashReport, ControlError> {
        match self.shared.store.get(&keys::crash(id.as_str())).await? {
            Some(entry) => Ok(world::decode(&entry)?),
            None => Err(not_found("crash report", id.as_str(), std::iter::empty())),
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, ControlError> {
        let nodes = self.shared.nodes.all();
        Ok(nodes.iter().map(|n| views::node(&self.shared, n)).collect())
    }

    async fn join_token(
        &self,
        lifetime: Option<std::time::Duration>,
        caller: Caller,
    ) -> Result<JoinTokenView, ControlError> {
        let outcome = self.make_join_token(lifetime, &caller.name).await;
        self.audit(&caller, "node_token", "", String::new(), outcome)
    }

    async fn change_node(
        &self,
        node: &NodeName,
        change: NodeChange,
        caller: Caller,
    ) -> Result<NodeView, ControlError> {
        let detail = serde_json::to_string(&change).unwrap_or_default();
        let outcome = Handle::change_node(self, node, change).await;
        self.audit(&caller, "node_change", node.as_str(), detail, outcome)?;
        Ok(views::node(&self.shared, &*self.find_node(node)?))
    }

    async fn remove_node(
        &self,
        node: &NodeName,
        force: bool,
        caller: Caller,
    ) -> Result<(), ControlError> {
        let outcome = Handle::remove_node(self, node, force).await;
        let detail = format!("force: {force}");
        self.audit(&caller, "node_remove", node.as_str(), detail, outcome)
    }

    async fn drain(
        &self,
        node: &NodeName,
        unavailable: u32,
        caller: Caller,
    ) -> Result<MovesView, ControlError> {
        let outcome = self.drain_node(node, unavailable).await;
        let detail = format!("unavailable: {unavailable}");
        self.audit(&caller, "node_drain", node.as_str(), detail, outcome)
    }

    async fn drift(
        &self,
        request: DriftRequest,
        caller: Caller,
    ) -> Result<MovesView, ControlError> {
        let detail = format!("{request:?}");
        let outcome = self.drift_instances(request);
        self.audit(&caller, "drift", "", detail, outcome)
    }

    async fn moves(&self, id: &str) -> Result<MovesView, ControlError> {
        self.read_moves(id)
    }

    async fn why(&self, instance: &InstanceId) -> Result<WhyView, ControlError> {
        self.explain(instance)
    }

    async fn operations(
        &self,
        app: Option<AppName>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<OperationView>, ControlError> {
        Ok(self.list_operations(app, after, limit))
    }

    async fn operation(&self, id: &OperationId) -> Result<OperationView, ControlError> {
        if let Some(operation) = self.shared.world.operation(id) {
            return Ok((*operation).clone());
        }
        match self.shared.store.get(&keys::operation(id.as_str())).await? {
            Some(entry) => Ok(world::decode(&entry)?),
            None => Err(not_found("operation", id.as_str(), std::iter::empty())),
        }
    }

    async fn cancel(
        &self,
        id: &OperationId,
        caller: Caller,
    ) -> Result<OperationView, ControlError> {
        let outcome = self.cancel_operation(id, &caller).await;
        self.audit(&caller, "cancel", id.as_str(), String::new(), outcome)
    }

    fn recent_events(&self, limit: usize) -> Vec<EventView> {
        self.shared.hub.recent(limit)
    }

    fn events(&self, after: Option<u64>) -> EventStream {
        self.shared.hub.subscribe(after)
    }

    fn census(&self) -> Result<Census, ControlError> {
        Ok(census::take(&self.shared))
    }

    fn tree(&self, path: &str, depth: Option<u32>) -> Result<ActorView, ControlError> {
        self.read_tree(path, depth)
    }

    async fn actor(&self, path: &str) -> Result<ActorView, ControlError> {
        self.read_actor(path).await
    }

    async fn act_on_child(
        &self,
        path: &str,
        action: ChildAction,
        caller: Caller,
    ) -> Result<ActorView, ControlError> {
        let outcome = self.act(path, action).await;
        let word = match action {
            ChildAction::Restart => "restart_child",
            ChildAction::Terminate => "terminate_child",
        };
        self.audit(&caller, word, path, String::new(), outcome)
    }

    async fn audit(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<AuditView>, ControlError> {
        self.read_audit(after, limit).await
    }

    async fn sinks(&self) -> Result<Vec<SinkView>, ControlError> {
        Ok(self.list_sinks())
    }

    async fn inputs(&self) -> Result<Vec<InputView>, ControlError> {
        Ok(self.list_inputs())
    }

    fn log_intake(&self) -> Option<Arc<dyn LogIntake>> {
        let pipeline = self.shared.pipeline()?;
        Some(Arc::<crate::logging::inputs::http::HttpIntake>::clone(
            &pipeline.http,
        ))
    }

    async fn act_on_sink(
        &self,
        sink: &str,
        node: Option<NodeName>,
        action: SinkAction,
        caller: Caller,
    ) -> Result<Vec<SinkView>, ControlError> {
        self.act_on(sink, node, action, &caller).await
    }

    async fn reload_sinks(&self, caller: Caller) -> Result<SinksReloaded, ControlError> {
        self.reload(&caller).await
    }

    async fn doctor(&self) -> Result<Vec<Finding>, ControlError> {
        Ok(self.examine().await)
    }
}
