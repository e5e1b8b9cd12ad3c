//! Restart, stop, start and cancel: commands on instances that exist.

use super::Handle;
use super::commit::{Also, refuse_removal};
use crate::actors::control::instance::{Instance, RetryNow};
use crate::actors::control::paths;
use crate::actors::control::rollout::{Cancel, Rollout};
use crate::domain::id::{AppName, OperationId, ProcType};
use crate::domain::plan::Step;
use crate::domain::record::{AppRecord, Placement};
use crate::domain::view::{ChangeAnswer, OperationView, PlanAction, PlanView};
use crate::ports::control::{Caller, ControlError, Selector};

impl Handle {
    pub(super) async fn command(
        &self,
        action: PlanAction,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let outcome = self
            .command_inner(action, &selector, dry_run, &caller)
            .await;
        if dry_run {
            return outcome;
        }
        let proc = selector
            .proc
            .as_ref()
            .map(|p| format!("/{p}"))
            .unwrap_or_default();
        let instance = selector
            .instance
            .map(|n| format!("/{n}"))
            .unwrap_or_default();
        let target = format!("{}{proc}{instance}", selector.app);
        self.audit(&caller, verb(action), &target, String::new(), outcome)
    }

    async fn command_inner(
        &self,
        action: PlanAction,
        selector: &Selector,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let app = self.find_app(&selector.app)?;
        self.check_selector(&app.record, selector)?;
        refuse_removal(&selector.app, &app.record)?;
        let mut record = AppRecord::clone(&app.record);
        mark(&mut record, action, selector);
        let placements = self.shared.world.placements(&selector.app);
        let mut chosen: Vec<&Placement> = placements
            .iter()
            .filter(|p| selects(selector, action, p))
            .collect();
        // Stopped from the last proc of the file to the first, started the other way round.
        let order = |p: &Placement| {
            record
                .current
                .spec
                .procs
                .iter()
                .position(|proc| proc.name == p.instance.proc)
        };
        chosen.sort_by_key(|p| (order(p), p.instance.no));
        if action == PlanAction::Stop {
            chosen.reverse();
        }
        let steps: Vec<Step> = chosen.iter().map(|p| step(action, p)).collect();
        let plan = PlanView {
            app: selector.app.to_string(),
            steps: steps.iter().map(Step::view).collect(),
        };
        if dry_run {
            return Ok(ChangeAnswer {
                operation: None,
                plan,
                revision: app.record.revision,
                etag: app.record.etag(),
                warnings: Vec::new(),
            });
        }
        if action == PlanAction::Start {
            self.retry_now(&chosen);
        }
        if record.operation.is_some() {
            let operation = record
                .operation
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            return Err(ControlError::Conflict(format!(
                "operation {operation} on app {} is in progress; wait for it, or cancel it with `lain op cancel {operation}`",
                selector.app
            )));
        }
        let operation = self.new_operation(verb(action), &selector.app, &caller.name, &steps)?;
        record.operation = OperationId::new(operation.id.clone()).ok();
        record.updated_at = self.shared.clock.now_utc();
        let written = self
            .write(
                &selector.app,
                record,
                Some(app.revision),
                &operation,
                Also::default(),
            )
            .await?;
        self.hand_over(&selector.app, &operation).await?;
        Ok(ChangeAnswer {
            operation: Some(operation),
            plan,
            revision: written.revision,
            etag: written.etag(),
            warnings: Vec::new(),
        })
    }

    fn check_selector(&self, record: &AppRecord, selector: &Selector) -> Result<(), ControlError> {
        let Some(name) = &selector.proc else {
            return Ok(());
        };
        let procs = &record.current.spec.procs;
        if !procs.iter().any(|p| &p.name == name) {
            return Err(super::not_found(
                "proc",
                name.as_str(),
                procs.iter().map(|p| p.name.to_string()),
            ));
        }
        let Some(no) = selector.instance else {
            return Ok(());
        };
        let placements = self.shared.world.placements(&selector.app);
        if placements
            .iter()
            .any(|p| &p.instance.proc == name && p.instance.no == no)
        {
            return Ok(());
        }
        Err(super::not_found(
            "instance",
            &format!("{}/{name}/{no}", selector.app),
            std::iter::empty(),
        ))
    }

    /// Degraded instances need not wait for their time.
    fn retry_now(&self, chosen: &[&Placement]) {
        for placement in chosen.iter().filter(|p| p.gave_up > 0) {
            self.shared
                .tell::<Instance, _>(&paths::instance(&placement.instance), RetryNow);
        }
    }

    pub(super) async fn cancel_operation(
        &self,
        id: &OperationId,
        caller: &Caller,
    ) -> Result<OperationView, ControlError> {
        let operation = crate::ports::control::Control::operation(self, id).await?;
        if operation.state.is_final() {
            return Err(ControlError::Conflict(format!(
                "operation {id} has ended already ({:?})",
                operation.state
            )));
        }
        let app = AppName::new(operation.app.clone())
            .map_err(|e| ControlError::Internal(e.to_string()))?;
        let why = format!("cancelled by {}", caller.name);
        let rollout = self.shared.actor::<Rollout>(&paths::rollout(&app));
        rollout
            .send(Cancel(why))
            .await
            .map_err(|e| {
                let path = paths::rollout(&app);
                ControlError::Conflict(format!(
                    "{path}, which carries it out, does not run ({e}); restart it in `lain tree --watch`"
                ))
            })?;
        crate::ports::control::Control::operation(self, id).await
    }
}

fn verb(action: PlanAction) -> &'static str {
    match action {
        PlanAction::Restart => "restart",
        PlanAction::Stop => "stop",
        PlanAction::Start => "start",
        PlanAction::Create
        | PlanAction::Recreate
        | PlanAction::UpdateInPlace
        | PlanAction::Delete => "change",
    }
}

fn selects(selector: &Selector, action: PlanAction, placement: &Placement) -> bool {
    let id = &placement.instance;
    (selector.proc.is_some() || goes_with_the_app(action, placement))
        && selector.proc.as_ref().is_none_or(|name| &id.proc == name)
        && selector.instance.is_none_or(|no| id.no == no)
}

/// What runs by the clock, or to its end once, is not restarted, and not started again once it has ended, along
/// with the whole app: it is named by whoever wants that.
fn goes_with_the_app(action: PlanAction, placement: &Placement) -> bool {
    match placement.instance.proc_type {
        ProcType::Cron => false,
        ProcType::Oneshot => action != PlanAction::Restart && !placement.is_done(),
        ProcType::Web | ProcType::Worker | ProcType::Portal => true,
    }
}

/// What operators stopped is kept with the app, so that it stays so over restarts of lain.
fn mark(record: &mut AppRecord, action: PlanAction, selector: &Selector) {
    let procs = record.current.spec.procs.iter();
    let names: Vec<String> = procs
        .filter(|p| selector.proc.as_ref().is_none_or(|name| &p.name == name))
        .map(crate::domain::spec::model::ProcSpec::full_name)
        .collect();
    for name in names {
        let stopped = record.stopped.entry(name.clone()).or_default();
        match (action, selector.instance) {
            (PlanAction::Stop, None) => stopped.all = true,
            (PlanAction::Stop, Some(no)) => {
                stopped.instances.insert(no);
            }
            (PlanAction::Start | PlanAction::Restart, None) => *stopped = Default::default(),
            (PlanAction::Start | PlanAction::Restart, Some(no)) => {
                stopped.instances.remove(&no);
            }
            _ => {}
        }
        if !stopped.all && stopped.instances.is_empty() {
            record.stopped.remove(&name);
        }
    }
}

fn step(action: PlanAction, placement: &Placement) -> Step {
    Step {
        action,
        instance: placement.instance.clone(),
        role: placement.role,
        version: placement.version,
        changes: Vec::new(),
        stop_first: false,
    }
}
