//! [`Control`] over the memory world.

use super::changes::{self, Asked};
use super::feed::event;
use super::world::not_found;
use super::{MemoryControl, commands, tree, views};
use crate::domain::census::Census;
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, CrashId, InstanceId, NodeName, OperationId, ProcName};
use crate::domain::view::{
    ActorView, AppView, AuditView, ChangeAnswer, DeployRequest, EventView, Finding, LogLineView,
    NodeView, OperationState, OperationView, Page, PlanAction, RevisionView, ScaleRequest,
    SinkView, SinksReloaded, VersionView,
};
use crate::ports::control::{
    Caller, ChildAction, Control, ControlError, CrashFilter, EventStream, LogsQuery, Precondition,
    Selector, SinkAction,
};
use crate::ports::log_index::LogsPort;
use crate::ports::log_intake::LogIntake;
use crate::ports::runtime::{ExecRequest, ExecSession};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::future::ready;
use std::sync::Arc;
use tokio_stream::wrappers::BroadcastStream;

type Answer = Result<ChangeAnswer, ControlError>;

/// A sink that is a little behind.
fn sink(name: &str) -> SinkView {
    SinkView {
        name: name.to_owned(),
        node: "n1".to_owned(),
        kind: "syslog".to_owned(),
        state: "idle".to_owned(),
        breaker: "closed".to_owned(),
        sent: 41,
        lag_events: 1,
        ..SinkView::default()
    }
}

impl MemoryControl {
    /// Notes a change that was asked for in audit and events, unless it was a dry run.
    fn told(&self, action: &str, target: &str, asked: &Asked<'_>, answer: Answer) -> Answer {
        if asked.dry_run {
            return answer;
        }
        let outcome = answer
            .as_ref()
            .map_or_else(ToString::to_string, |_| "ok".to_owned());
        self.world().note(asked.caller, action, target, &outcome);
        if let Ok(ChangeAnswer {
            operation: Some(operation),
            ..
        }) = &answer
        {
            self.feed.emit(EventView {
                app: Some(operation.app.clone()),
                operation: Some(operation.id.clone()),
                ..event(
                    "operation_accepted",
                    "info",
                    &format!("{action} of {target} was accepted"),
                )
            });
        }
        answer
    }

    /// There is none here.
    async fn no_canary(&self, app: &AppName) -> Answer {
        self.fault().await?;
        self.world().app(app)?;
        let text = format!("no canary of app {app} is in progress");
        Err(ControlError::Conflict(text))
    }

    async fn command(
        &self,
        action: PlanAction,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Answer {
        self.fault().await?;
        let asked = Asked {
            dry_run,
            caller: &caller,
        };
        let answer = changes::command(&mut self.world(), action, &selector, &asked);
        let verb = format!("{action:?}").to_lowercase();
        self.told(&verb, selector.app.as_str(), &asked, answer)
    }

    fn wanted(query: &LogsQuery, line: &LogLineView) -> bool {
        let Ok(id) = line.instance.parse::<InstanceId>() else {
            return false;
        };
        let selector = &query.selector;
        id.app == selector.app
            && selector.proc.as_ref().is_none_or(|proc| proc == &id.proc)
            && selector.instance.is_none_or(|no| no == id.no)
            && query.since.is_none_or(|since| line.at >= since)
            && query.until.is_none_or(|until| line.at < until)
    }
}

#[async_trait]
impl Control for MemoryControl {
    fn version(&self) -> VersionView {
        VersionView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            role: "dev".to_owned(),
            node: "local".to_owned(),
            started_at: self.started_at,
        }
    }

    async fn ready(&self) -> Result<(), ControlError> {
        self.fault().await
    }

    async fn apps(&self) -> Result<Vec<AppView>, ControlError> {
        self.fault().await?;
        Ok(self.world().apps.values().map(views::app).collect())
    }

    async fn app(&self, app: &AppName) -> Result<AppView, ControlError> {
        self.fault().await?;
        self.world().app(app).map(views::app)
    }

    async fn deploy(
        &self,
        app: &AppName,
        request: DeployRequest,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Answer {
        self.fault().await?;
        let asked = Asked {
            dry_run,
            caller: &caller,
        };
        let answer = changes::deploy(&mut self.world(), app, request, precondition, &asked);
        self.told("deploy", app.as_str(), &asked, answer)
    }

    async fn undeploy(
        &self,
        app: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Answer {
        self.fault().await?;
        let asked = Asked {
            dry_run,
            caller: &caller,
        };
        let answer = changes::undeploy(&mut self.world(), app, precondition, &asked);
        self.told("undeploy", app.as_str(), &asked, answer)
    }

    async fn scale(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ScaleRequest,
        dry_run: bool,
        caller: Caller,
    ) -> Answer {
        self.fault().await?;
        let asked = Asked {
            dry_run,
            caller: &caller,
        };
        let answer = changes::scale(&mut self.world(), app, proc, &request, &asked);
        self.told("scale", &format!("{app}/{proc}"), &asked, answer)
    }

    async fn revisions(&self, app: &AppName) -> Result<Vec<RevisionView>, ControlError> {
        self.fault().await?;
        let world = self.world();
        let current = world.app(app)?.revision;
        let all = changes::revisions(&world, app)?;
        Ok(all.iter().map(|r| r.view(current, false)).collect())
    }

    async fn revision(&self, app: &AppName, revision: u64) -> Result<RevisionView, ControlError> {
        self.fault().await?;
        let world = self.world();
        let current = world.app(app)?.revision;
        let all = changes::revisions(&world, app)?;
        let found = all.iter().find(|r| r.revision == revision);
        let found = found.map(|r| r.view(current, true));
        found.ok_or_else(|| not_found("revision", &revision.to_string(), std::iter::empty()))
    }

    async fn rollback(
        &self,
        app: &AppName,
        to: Option<u64>,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Answer {
        self.fault().await?;
        let asked = Asked {
            dry_run,
            caller: &caller,
        };
        let answer = changes::rollback(&mut self.world(), app, to, precondition, &asked);
        self.told("rollback", app.as_str(), &asked, answer)
    }

    async fn promote(&self, app: &AppName, _: Precondition, _: Caller) -> Answer {
        self.no_canary(app).await
    }

    async fn abort(&self, app: &AppName, _: Precondition, _: bool, _: Caller) -> Answer {
        self.no_canary(app).await
    }

    fn endpoint_changes(&self) -> BoxStream<'static, ()> {
        match self.events(None) {
            EventStream::Events(news) => news.map(drop).boxed(),
            EventStream::TooOld => stream::empty().boxed(),
        }
    }

    async fn restart(&self, selector: Selector, dry_run: bool, caller: Caller) -> Answer {
        self.command(PlanAction::Restart, selector, dry_run, caller)
            .await
    }

    async fn stop(&self, selector: Selector, dry_run: bool, caller: Caller) -> Answer {
        self.command(PlanAction::Stop, selector, dry_run, caller)
            .await
    }

    async fn start(&self, selector: Selector, dry_run: bool, caller: Caller) -> Answer {
        self.command(PlanAction::Start, selector, dry_run, caller)
            .await
    }

    fn log_port(&self) -> Option<LogsPort> {
        super::lock(&self.logs).clone()
    }

    fn log_intake(&self) -> Option<Arc<dyn LogIntake>> {
        super::lock(&self.intake).clone()
    }

    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<'static, Result<LogLineView, ControlError>>, ControlError> {
        self.fault().await?;
        let world = self.world();
        let live = BroadcastStream::new(self.lines.subscribe());
        let mut kept: Vec<LogLineView> = world.lines.clone();
        kept.retain(|line| Self::wanted(&query, line));
        let surplus = kept.len().saturating_sub(query.tail.unwrap_or(usize::MAX));
        let kept = stream::iter(kept.split_off(surplus)).map(Ok);
        if !query.follow {
            return Ok(kept.boxed());
        }
        let fresh = live
            .take_while(|line| ready(line.is_ok()))
            .filter_map(move |line| ready(line.ok().filter(|l| Self::wanted(&query, l)).map(Ok)));
        Ok(kept.chain(fresh).boxed())
    }

    async fn exec(
        &self,
        instance: &InstanceId,
        request: ExecRequest,
        caller: Caller,
    ) -> Result<ExecSession, ControlError> {
        self.fault().await?;
        self.world()
            .note(&caller, "exec", &instance.to_string(), "ok");
        Ok(commands::start(&request)?)
    }

    async fn run(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ExecRequest,
        caller: Caller,
    ) -> Result<ExecSession, ControlError> {
        self.fault().await?;
        self.world()
            .note(&caller, "run", &format!("{app}/{proc}"), "ok");
        Ok(commands::start(&request)?)
    }

    async fn crashes(&self, filter: CrashFilter) -> Result<Page<CrashReport>, ControlError> {
        self.fault().await?;
        Ok(self.world().crashes(&filter))
    }

    async fn crash(&self, id: &CrashId) -> Result<CrashReport, ControlError> {
        self.fault().await?;
        self.world().crash_report(id).cloned()
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, ControlError> {
        self.fault().await?;
        let containers = self
            .world()
            .apps
            .values()
            .map(|app| app.placements.len())
            .sum();
        Ok(vec![views::node(containers)])
    }

    async fn operations(
        &self,
        app: Option<AppName>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<OperationView>, ControlError> {
        self.fault().await?;
        Ok(self
            .world()
            .operations(app.as_ref(), after.as_deref(), limit))
    }

    async fn operation(&self, id: &OperationId) -> Result<OperationView, ControlError> {
        self.fault().await?;
        let found = self.world().operations.get(id.as_str()).cloned();
        found.ok_or_else(|| not_found("operation", id.as_str(), std::iter::empty()))
    }

    async fn cancel(
        &self,
        id: &OperationId,
        caller: Caller,
    ) -> Result<OperationView, ControlError> {
        let known = self.operation(id).await?;
        let ended = self.world().end_operation(id, OperationState::Cancelled);
        let outcome = ended.ok_or_else(|| {
            let state = known.state;
            ControlError::Conflict(format!("operation {id} has ended already ({state:?})"))
        });
        let word = outcome
            .as_ref()
            .map_or_else(ToString::to_string, |_| "ok".to_owned());
        self.world().note(&caller, "cancel", id.as_str(), &word);
        outcome
    }

    fn recent_events(&self, limit: usize) -> Vec<EventView> {
        self.feed.recent(limit)
    }

    fn events(&self, after: Option<u64>) -> EventStream {
        self.feed.subscribe(after)
    }

    fn census(&self) -> Result<Census, ControlError> {
        self.may_fail()?;
        let world = self.world();
        let apps: Vec<AppView> = world.apps.values().map(views::app).collect();
        Ok(Census::of(&apps, &tree::tree(&world, "", None)?))
    }

    fn tree(&self, path: &str, depth: Option<u32>) -> Result<ActorView, ControlError> {
        self.may_fail()?;
        tree::tree(&self.world(), path, depth)
    }

    async fn actor(&self, path: &str) -> Result<ActorView, ControlError> {
        self.fault().await?;
        tree::tree(&self.world(), path, Some(0))
    }

    async fn act_on_child(
        &self,
        path: &str,
        action: ChildAction,
        caller: Caller,
    ) -> Result<ActorView, ControlError> {
        self.fault().await?;
        let answer = tree::act(&mut self.world(), path, action);
        let outcome = answer
            .as_ref()
            .map_or_else(ToString::to_string, |_| "ok".to_owned());
        let (verb, kind) = match action {
            ChildAction::Restart => ("restart_child", "actor_restarted"),
            ChildAction::Terminate => ("terminate_child", "actor_terminated"),
        };
        self.world().note(&caller, verb, path, &outcome);
        if answer.is_ok() {
            self.feed.emit(EventView {
                path: Some(path.to_owned()),
                ..event(kind, "warn", &format!("an operator acted on {path}"))
            });
        }
        answer
    }

    async fn audit(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<AuditView>, ControlError> {
        self.fault().await?;
        Ok(self.world().audit(after.as_deref(), limit))
    }

    async fn sinks(&self) -> Result<Vec<SinkView>, ControlError> {
        self.fault().await?;
        Ok(vec![sink("central")])
    }

    async fn act_on_sink(
        &self,
        name: &str,
        node: Option<NodeName>,
        action: SinkAction,
        caller: Caller,
    ) -> Result<Vec<SinkView>, ControlError> {
        self.fault().await?;
        let mut sink = sink("central");
        let there = node.is_none_or(|node| node.as_str() == sink.node);
        let outcome = match (name == sink.name && there, action) {
            (false, _) => Err(not_found("sink", name, std::iter::once("central"))),
            (true, SinkAction::Pause) => {
                "paused".clone_into(&mut sink.state);
                Ok(sink)
            }
            (true, SinkAction::Test) => Err(ControlError::Conflict(
                "sink central: syslog receiver logs.example:514: connection refused".to_owned(),
            )),
            (true, _) => Ok(sink),
        };
        let said = outcome
            .as_ref()
            .map_or_else(ToString::to_string, |_| "ok".to_owned());
        self.world().note(&caller, "act_on_sink", name, &said);
        outcome.map(|sink| vec![sink])
    }

    async fn reload_sinks(&self, caller: Caller) -> Result<SinksReloaded, ControlError> {
        self.fault().await?;
        self.world().note(&caller, "reload_sinks", "sinks", "ok");
        Ok(SinksReloaded {
            changed: vec!["central".to_owned()],
            ..SinksReloaded::default()
        })
    }

    async fn doctor(&self) -> Result<Vec<Finding>, ControlError> {
        self.fault().await?;
        Ok(views::findings())
    }
}
