//! What excludes what in `update`: windows through which nothing could ever pass, and times that never come.

use super::super::super::error::SpecCode;
use super::super::super::model::{Share, UpdateOrder};
use super::super::super::report::Finding;
use super::super::super::yaml::Entry;
use super::Rules;
use crate::domain::spec::model::duration_text;

impl<'n> Rules<'_, 'n, '_, '_> {
    pub(super) fn update(&mut self) {
        self.shares();
        self.times();
        self.canary();
    }

    fn update_key(&self, key: &str) -> Option<&'n Entry> {
        self.entry("update")?.node.entry(key)
    }

    fn refuse_update(&mut self, code: SpecCode, entry: &Entry, message: String, help: &str) {
        let update = self.path.key("update");
        let finding = Finding::new(code, entry.place, update.key(&entry.key), message);
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.report
            .error(finding.width(entry.width).suggest_if(help));
    }

    fn shares(&mut self) {
        let spec = self.spec.update;
        if spec.parallelism.is_some() {
            for key in ["max_surge", "max_unavailable"] {
                if let Some(entry) = self.update_key(key) {
                    let message = format!("`parallelism` and `{key}` exclude each other");
                    self.refuse_update(SpecCode::Conflict, entry, message, "leave one out");
                }
            }
            return;
        }
        let surges = spec.max_surge.is_some_and(|share| !share.is_zero());
        let never_down = spec.max_unavailable.is_some_and(Share::is_zero);
        if spec.order == UpdateOrder::StopFirst {
            let why = self.why_stop_first();
            if let Some(entry) = self.update_key("max_surge").filter(|_| surges) {
                let message =
                    format!("{why} is stopped before its successor starts: no surge can be");
                self.refuse_update(SpecCode::Conflict, entry, message, "`max_unavailable`");
            }
            if let Some(entry) = self.update_key("max_unavailable").filter(|_| never_down) {
                let message = format!(
                    "{why} is stopped before its successor starts: with 0 unavailable none could ever be replaced"
                );
                self.refuse_update(SpecCode::Conflict, entry, message, "at least 1");
            }
        } else if spec.max_surge.is_some_and(Share::is_zero)
            && never_down
            && let Some(entry) = self.update_key("max_unavailable")
        {
            let message =
                "with `max_surge` and `max_unavailable` both 0 no instance could ever be replaced";
            self.refuse_update(
                SpecCode::Conflict,
                entry,
                message.to_owned(),
                "at least one of them above 0",
            );
        }
    }

    /// Whose old version goes first, in words.
    fn why_stop_first(&self) -> &'static str {
        match (self.spec.stateful, self.spec.exclusive) {
            (true, _) => "an instance of a `stateful` proc",
            (false, true) => "an instance of an `exclusive` proc",
            (false, false) if !self.spec.volumes.is_empty() => {
                "an instance with volumes, unless `order` says `start_first`,"
            }
            (false, false) => "with `order: stop_first` an instance",
        }
    }

    /// What an update waits for with each instance has to fit into its deadline.
    fn times(&mut self) {
        let deadline = self.spec.update.progress_deadline;
        let shown = duration_text::render(deadline);
        let late = |time| {
            format!(
                "an update fails after {shown} without progress, before this time is over: {}",
                duration_text::render(time)
            )
        };
        let help = "a longer `progress_deadline`";
        let steady = self.spec.update.min_healthy_time;
        if let Some(entry) = self
            .update_key("min_healthy_time")
            .filter(|_| steady >= deadline)
        {
            self.refuse_update(SpecCode::Conflict, entry, late(steady), help);
        }
        let own = [
            ("setup_time", self.spec.setup_time),
            ("drain_time", self.spec.drain_time),
        ];
        for (key, time) in own {
            if let Some(entry) = self.entry(key).filter(|_| time >= deadline) {
                self.refuse(SpecCode::Conflict, entry, late(time), help);
            }
        }
    }

    fn canary(&mut self) {
        let (canary, this) = (self.spec.update.canary, self.spec.proc_type);
        let Some(entry) = self.update_key("canary").filter(|_| canary > 0) else {
            return;
        };
        if !this.has_canaries() {
            let message = format!("`canary` is for web and worker procs; this is a {this} proc");
            self.refuse_update(SpecCode::NotForThisType, entry, message, "");
        } else if canary > self.spec.num_instances {
            let wanted = self.spec.num_instances;
            let message =
                format!("there are only {wanted} instances, so {canary} cannot be updated first");
            self.refuse_update(SpecCode::Conflict, entry, message, "");
        }
    }
}
