//! The trail of changes: what is kept of who asked for what, and lists of it and of operations.

use super::Handle;
use crate::actors::control::world;
use crate::actors::recorder::Record;
use crate::domain::id::AppName;
use crate::domain::record::keys;
use crate::domain::view::{AuditView, ChangeAnswer, OperationView, Page};
use crate::ports::control::{Caller, ControlError};

impl Handle {
    /// Keeps what was asked for, by whom, and how it went.
    pub(super) fn audit<T>(
        &self,
        caller: &Caller,
        action: &str,
        target: &str,
        detail: String,
        outcome: Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let said = outcome
            .as_ref()
            .map_or_else(ToString::to_string, |_| "ok".to_owned());
        let record = AuditView {
            at: self.shared.clock.now_utc(),
            actor: caller.name.clone(),
            from: caller.from.clone(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail,
            outcome: said,
        };
        self.shared.recorder.send(Record::Audit(Box::new(record)));
        outcome
    }

    /// The same for a change of an app, by what it plans; a dry run leaves no trace.
    pub(super) fn audit_change(
        &self,
        dry_run: bool,
        caller: &Caller,
        action: &str,
        app: &AppName,
        outcome: Result<ChangeAnswer, ControlError>,
    ) -> Result<ChangeAnswer, ControlError> {
        if dry_run {
            return outcome;
        }
        let detail = outcome.as_ref().map(summary).unwrap_or_default();
        self.audit(caller, action, app.as_str(), detail, outcome)
    }

    /// The audit records before a cursor, newest first.
    pub(super) async fn read_audit(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<AuditView>, ControlError> {
        let before = after.as_deref().map(keys::audit);
        let entries = self
            .shared
            .store
            .list_back(keys::AUDIT, before.as_deref(), limit.saturating_add(1))
            .await?;
        let more = entries.len() > limit;
        let shown: Vec<_> = entries.into_iter().take(limit).collect();
        let next = shown
            .last()
            .filter(|_| more)
            .map(|e| e.key.trim_start_matches(keys::AUDIT).to_owned());
        let items = shown.iter().map(world::decode).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// The operations before a cursor, newest first.
    pub(super) fn list_operations(
        &self,
        app: Option<AppName>,
        after: Option<String>,
        limit: usize,
    ) -> Page<OperationView> {
        let all = self.shared.world.operations();
        let wanted = all
            .iter()
            .filter(|o| app.as_ref().is_none_or(|a| a.as_str() == o.app));
        let from = wanted.filter(|o| after.as_ref().is_none_or(|after| &o.id < after));
        let mut items: Vec<OperationView> = from
            .take(limit.saturating_add(1))
            .map(|o| (**o).clone())
            .collect();
        let next = (items.len() > limit)
            .then(|| items.truncate(limit))
            .and_then(|()| items.last().map(|o| o.id.clone()));
        Page { items, next }
    }
}

/// What a change does, for the audit: `3 create, 1 delete`.
fn summary(answer: &ChangeAnswer) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for step in &answer.plan.steps {
        *counts
            .entry(format!("{:?}", step.action).to_lowercase())
            .or_insert(0u32) += 1;
    }
    let parts: Vec<String> = counts
        .into_iter()
        .map(|(action, n)| format!("{n} {action}"))
        .collect();
    if parts.is_empty() {
        "nothing to do".to_owned()
    } else {
        parts.join(", ")
    }
}
