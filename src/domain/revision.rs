//! The history of an app: its revisions, which of them a rollback goes to, and the canary that is being tried.
//!
//! Plain data and pure questions to it. Written by the control handle and at the end of operations.

use crate::domain::id::ProcName;
use crate::domain::record::{AppRecord, Canary, Placement, Release};
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::{RevisionOutcome, RevisionView};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

impl AppRecord {
    /// The canary in progress: not promoted yet.
    pub fn canary_in_progress(&self) -> Option<&Canary> {
        self.canary.as_ref().filter(|c| !c.promoted)
    }

    /// How many instances of a proc are updated first and watched; 0 where the change in progress is no canary, or
    /// was promoted.
    pub fn canaries(&self, proc: &ProcSpec) -> u32 {
        let wanted = self
            .canary_in_progress()
            .map_or(0, |c| c.instances.unwrap_or(proc.update.canary));
        match proc.proc_type.has_canaries() {
            true => wanted.min(proc.num_instances),
            false => 0,
        }
    }

    /// How many of them are still to be updated, of a proc by its name.
    pub fn canaries_left(&self, name: &ProcName, placements: &[Placement]) -> u32 {
        let Some(proc) = self.proc(name) else {
            return 0;
        };
        let version = self.version(&proc.full_name());
        let updated = placements
            .iter()
            .filter(|p| &p.instance.proc == name && p.version == version && !p.waits);
        let updated = u32::try_from(updated.count()).unwrap_or(u32::MAX);
        self.canaries(&proc).saturating_sub(updated)
    }

    /// Whether an instance is one of those that were updated first and are watched now.
    pub fn is_canary(&self, placement: &Placement) -> bool {
        if placement.waits || self.canary_in_progress().is_none() {
            return false;
        }
        let id = &placement.instance;
        let version = self.version(&id.full_name());
        let watched = self.proc(&id.proc).is_some_and(|p| self.canaries(&p) > 0);
        // A version that nothing else ever ran has nothing to be held against.
        let replaces = self.previous.as_ref().is_some_and(|p| {
            p.versions
                .get(&id.full_name())
                .is_some_and(|v| *v != version)
        });
        watched && replaces && placement.version == version
    }
}

/// One release of an app in its history: who brought it, when, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The app's revision that brought it.
    pub revision: u64,
    /// `deploy`, `rollback` or `abort`.
    pub kind: String,
    /// Who asked for it.
    pub by: String,
    /// When it was accepted.
    pub at: DateTime<Utc>,
    /// When its operation ended.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    /// The operation that rolled it out.
    pub operation: String,
    /// What became of it.
    pub outcome: RevisionOutcome,
    /// Why it ended so, where it did not end well.
    #[serde(default)]
    pub reason: Option<String>,
    /// The revision that it goes back to.
    #[serde(default)]
    pub back_to: Option<u64>,
    /// The image of each proc by full name.
    pub images: BTreeMap<String, String>,
    /// All of it.
    pub release: Release,
}

impl Revision {
    /// As the API shows it. `current`: the revision whose release is wanted now.
    pub fn view(&self, current: u64, whole: bool) -> RevisionView {
        RevisionView {
            revision: self.revision,
            outcome: self.outcome,
            current: self.revision == current,
            kind: self.kind.clone(),
            by: self.by.clone(),
            at: self.at,
            ended_at: self.ended_at,
            operation: self.operation.clone(),
            reason: self.reason.clone(),
            back_to: self.back_to,
            meta_version: self.release.meta_version.clone(),
            images: self.images.clone(),
            lain_yaml: whole.then(|| self.release.lain_yaml.clone()),
        }
    }
}

/// The revision that a rollback without a named one goes to: the newest that was rolled out to its end and says
/// something else than what is wanted now.
pub fn rollback_target<'r>(current: &Release, history: &'r [Revision]) -> Option<&'r Revision> {
    let good = |r: &&Revision| {
        r.outcome == RevisionOutcome::Deployed
            && r.revision != current.revision
            && !r.release.same_as(current)
    };
    history.iter().filter(good).max_by_key(|r| r.revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ProcType;
    use crate::domain::plan_tests::{placed, proc, record};
    use crate::domain::record::Canary;
    use crate::domain::view::InstanceRole;

    fn revision(number: u64, outcome: RevisionOutcome, image: &str) -> Revision {
        let mut release = record(vec![], 1).current;
        release.image = Some(image.to_owned());
        release.revision = number;
        Revision {
            revision: number,
            kind: "deploy".to_owned(),
            by: "tester".to_owned(),
            at: "2026-01-01T00:00:00Z".parse().expect("a time"),
            ended_at: None,
            operation: "1".to_owned(),
            outcome,
            reason: None,
            back_to: None,
            images: BTreeMap::new(),
            release,
        }
    }

    #[test]
    fn a_rollback_goes_to_the_newest_good_revision_that_differs() {
        use RevisionOutcome::{Aborted, Deployed, RolledBack};
        let rows = [
            (vec![(1, Deployed, "a")], None),
            (vec![(1, Deployed, "a"), (2, Deployed, "b")], Some(1)),
            // One that was never good is no way back.
            (
                vec![(1, Deployed, "a"), (4, RolledBack, "c"), (5, Deployed, "b")],
                Some(1),
            ),
            (
                vec![(1, Deployed, "a"), (2, Aborted, "c"), (3, Deployed, "a")],
                None,
            ),
            // Back and forth, as `kubectl rollout undo` does.
            (
                vec![(1, Deployed, "a"), (2, Deployed, "b"), (3, Deployed, "a")],
                Some(2),
            ),
            (vec![], None),
        ];
        for (history, wanted) in rows {
            let history: Vec<Revision> = history
                .into_iter()
                .map(|(n, outcome, image)| revision(n, outcome, image))
                .collect();
            let current = match history.last() {
                Some(last) => last.release.clone(),
                None => record(vec![], 1).current,
            };
            let target = rollback_target(&current, &history);
            assert_eq!(target.map(|r| r.revision), wanted, "{history:#?}");
        }
    }

    #[test]
    fn canaries_are_counted_down_as_they_are_updated() {
        let procs = vec![
            proc("web", ProcType::Web, 3, 0),
            proc("once", ProcType::Oneshot, 1, 0),
        ];
        let mut record = record(procs.clone(), 2);
        let mut before = record.current.clone();
        before.versions = [("web.web".to_owned(), 1)].into();
        record.previous = Some(before);
        let placements = [
            placed("shop.web.web.i1", 2, InstanceRole::Active),
            placed("shop.web.web.i2", 1, InstanceRole::Active),
            placed("shop.oneshot.once.i1", 2, InstanceRole::Active),
        ];
        let left = |record: &AppRecord| record.canaries_left(&procs[0].name, &placements);
        let canaries = |record: &AppRecord| placements.clone().map(|p| record.is_canary(&p));
        assert_eq!((left(&record), canaries(&record)), (0, [false; 3]));
        for (instances, promoted, wanted) in [
            (Some(1), false, 0),
            (Some(2), false, 1),
            (Some(9), false, 2),
            (Some(2), true, 0),
            (None, false, 0),
        ] {
            record.canary = Some(Canary {
                instances,
                promoted,
            });
            assert_eq!(left(&record), wanted, "{instances:?} {promoted}");
            let watched = instances.is_some() && !promoted;
            assert_eq!(
                canaries(&record),
                [watched, false, false],
                "{instances:?} {promoted}"
            );
        }
        assert_eq!(record.canaries(&procs[1]), 0);
    }
}
