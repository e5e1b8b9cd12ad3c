//! What the memory control host keeps, and plain changes to it.

use super::tree;
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, CrashId, OperationId, ProcName};
use crate::domain::record::{AppRecord, Placement};
use crate::domain::view::{
    AuditView, LogLineView, OperationState, OperationStep, OperationView, Page, PlanStep,
};
use crate::ports::control::{Caller, ControlError, CrashFilter, Selector};
use crate::web::params::did_you_mean;
use chrono::Utc;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most that is kept of operations, reports, audit records and lines, each.
const KEPT: usize = 10_000;

/// An app and what is placed of it.
#[derive(Debug, Clone)]
pub struct App {
    pub record: AppRecord,
    pub revision: u64,
    pub placements: Vec<Placement>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct World {
    pub apps: BTreeMap<AppName, App>,
    pub revision: u64,
    pub hold: bool,
    /// By id, which sorts by time.
    pub operations: BTreeMap<String, OperationView>,
    pub crashes: BTreeMap<String, CrashReport>,
    pub audit: Vec<AuditView>,
    pub lines: Vec<LogLineView>,
    /// Paths of actors that an operator terminated.
    pub terminated: BTreeSet<String>,
    /// Restarts of actors by an operator.
    pub restarted: BTreeMap<String, u64>,
}

/// `kind` `name` does not exist; the nearest of `others` is offered.
pub fn not_found<'a>(
    kind: &'static str,
    name: &str,
    others: impl Iterator<Item = &'a str>,
) -> ControlError {
    ControlError::NotFound {
        kind,
        name: name.to_owned(),
        hint: did_you_mean(name, others),
    }
}

impl World {
    /// # Errors
    /// If there is no such app.
    pub fn app(&self, name: &AppName) -> Result<&App, ControlError> {
        let missing = || not_found("app", name.as_str(), self.apps.keys().map(AppName::as_str));
        self.apps.get(name).ok_or_else(missing)
    }

    /// # Errors
    /// If the app, the proc or the instance does not exist.
    pub fn select(&self, selector: &Selector) -> Result<(&App, Vec<&Placement>), ControlError> {
        let app = self.app(&selector.app)?;
        if let Some(name) = &selector.proc {
            proc_name(app, name)?;
        }
        let chosen: Vec<&Placement> = app
            .placements
            .iter()
            .filter(|p| {
                selector
                    .proc
                    .as_ref()
                    .is_none_or(|name| &p.instance.proc == name)
            })
            .filter(|p| selector.instance.is_none_or(|no| p.instance.no == no))
            .collect();
        match selector.instance {
            Some(no) if chosen.is_empty() => {
                Err(not_found("instance", &no.to_string(), std::iter::empty()))
            }
            _ => Ok((app, chosen)),
        }
    }

    /// The next revision.
    pub fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// Notes a new operation; it has ended already unless operations are held.
    ///
    /// # Errors
    /// A defect of this host.
    pub fn begin(
        &mut self,
        kind: &str,
        app: &AppName,
        steps: &[PlanStep],
        caller: &Caller,
    ) -> Result<OperationView, ControlError> {
        let state = match self.hold {
            true => OperationState::Running,
            false => OperationState::Succeeded,
        };
        let now = Utc::now();
        let ended_at = state.is_final().then_some(now);
        let step = |step: &PlanStep| OperationStep {
            step: Arc::new(step.clone()),
            state,
            detail: String::new(),
            started_at: Some(now),
            ended_at,
        };
        let operation = OperationView {
            id: uuid::Uuid::now_v7().to_string(),
            kind: kind.to_owned(),
            app: app.to_string(),
            state,
            actor: caller.name.clone(),
            started_at: now,
            ended_at,
            steps: steps.iter().map(step).collect(),
            error: None,
            revision: None,
            waiting: None,
            crashes: Vec::new(),
        };
        let id = OperationId::new(operation.id.clone());
        let id = id.map_err(|error| ControlError::Internal(error.to_string()))?;
        if !state.is_final()
            && let Some(app) = self.apps.get_mut(app)
        {
            app.record.operation = Some(id);
        }
        self.operations
            .insert(operation.id.clone(), operation.clone());
        trim(&mut self.operations);
        Ok(operation)
    }

    /// Ends an operation that has not ended; `None`: there is none such.
    pub fn end_operation(
        &mut self,
        id: &OperationId,
        state: OperationState,
    ) -> Option<OperationView> {
        let operation = self.operations.get_mut(id.as_str())?;
        if operation.state.is_final() {
            return None;
        }
        operation.state = state;
        operation.ended_at = Some(Utc::now());
        for step in &mut operation.steps {
            step.state = state;
            step.ended_at = operation.ended_at;
        }
        for app in self.apps.values_mut() {
            app.record.operation = app.record.operation.take().filter(|o| o != id);
        }
        self.apps
            .retain(|_, app| !app.record.removing || app.record.operation.is_some());
        Some(operation.clone())
    }

    /// Notes a change in the audit log.
    pub fn note(&mut self, caller: &Caller, action: &str, target: &str, outcome: &str) {
        self.audit.push(AuditView {
            at: Utc::now(),
            actor: caller.name.clone(),
            from: caller.from.clone(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail: format!("{action} {target}"),
            outcome: outcome.to_owned(),
        });
        if self.audit.len() > KEPT {
            self.audit.remove(0);
        }
    }

    /// Audit records, newest first.
    pub fn audit(&self, after: Option<&str>, limit: usize) -> Page<AuditView> {
        let before = after
            .and_then(|text| text.parse().ok())
            .unwrap_or(usize::MAX);
        let numbered = self.audit.iter().enumerate().rev();
        let mut rest = numbered.filter(|(at, _)| *at < before);
        let items: Vec<(usize, &AuditView)> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let next = items.last().filter(|_| more).map(|(at, _)| at.to_string());
        Page {
            items: items
                .into_iter()
                .map(|(_, record)| record.clone())
                .collect(),
            next,
        }
    }

    /// Operations, newest first.
    pub fn operations(
        &self,
        app: Option<&AppName>,
        after: Option<&str>,
        limit: usize,
    ) -> Page<OperationView> {
        newest(&self.operations, after, limit, |operation| {
            app.is_none_or(|app| app.as_str() == operation.app)
        })
    }

    /// Crash reports, newest first.
    pub fn crashes(&self, filter: &CrashFilter) -> Page<CrashReport> {
        newest(
            &self.crashes,
            filter.after.as_deref(),
            filter.limit,
            |report| {
                let of = &report.instance;
                filter.app.as_ref().is_none_or(|app| app == &of.app)
                    && filter.proc.as_ref().is_none_or(|proc| proc == &of.proc)
                    && filter.instance.is_none_or(|no| no == of.no)
            },
        )
    }

    /// # Errors
    /// If there is no such report.
    pub fn crash_report(&self, id: &CrashId) -> Result<&CrashReport, ControlError> {
        let missing = || not_found("crash report", id.as_str(), std::iter::empty());
        self.crashes.get(id.as_str()).ok_or_else(missing)
    }

    /// Keeps a report and counts the restart; the path of the actor.
    ///
    /// # Errors
    /// If the instance does not exist.
    pub fn crash(&mut self, report: CrashReport) -> Result<String, ControlError> {
        let name = report.instance.to_string();
        let app = self.apps.get_mut(&report.instance.app);
        let placement = app.and_then(|app| {
            let mut all = app.placements.iter_mut();
            all.find(|placement| placement.instance == report.instance)
        });
        let placement =
            placement.ok_or_else(|| not_found("instance", &name, std::iter::empty()))?;
        placement.restarts += 1;
        placement.last_crash = Some(report.id.to_string());
        let path = tree::path_of(&report.instance);
        self.crashes.insert(report.id.to_string(), report);
        trim(&mut self.crashes);
        Ok(path)
    }

    /// Keeps a line of output.
    pub fn write_line(&mut self, line: LogLineView) {
        self.lines.push(line);
        if self.lines.len() > KEPT {
            self.lines.remove(0);
        }
    }
}

/// # Errors
/// If the app has no such proc.
pub fn proc_name(app: &App, name: &ProcName) -> Result<(), ControlError> {
    let procs = &app.record.current.spec.procs;
    match procs.iter().any(|proc| &proc.name == name) {
        true => Ok(()),
        false => Err(not_found(
            "proc",
            name.as_str(),
            procs.iter().map(|p| p.name.as_str()),
        )),
    }
}

fn trim<T>(kept: &mut BTreeMap<String, T>) {
    while kept.len() > KEPT {
        kept.pop_first();
    }
}

/// A page of what is kept by ids that sort by time, newest first.
fn newest<T: Clone>(
    kept: &BTreeMap<String, T>,
    after: Option<&str>,
    limit: usize,
    fits: impl Fn(&T) -> bool,
) -> Page<T> {
    let older = kept
        .iter()
        .rev()
        .filter(|(id, _)| after.is_none_or(|after| id.as_str() < after));
    let mut fitting = older.filter(|(_, item)| fits(item));
    let page: Vec<(&String, &T)> = fitting.by_ref().take(limit).collect();
    let more = fitting.next().is_some();
    let next = page.last().filter(|_| more).map(|(id, _)| (*id).clone());
    Page {
        items: page.into_iter().map(|(_, item)| item.clone()).collect(),
        next,
    }
}
