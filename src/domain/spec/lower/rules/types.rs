//! What a proc's type, or its being stateful or a service's portal, excludes.

use super::super::super::error::SpecCode;
use super::super::super::keys::PROC;
use super::super::super::model::{Protocol, RestartPolicy, UpdateOrder};
use super::super::super::report::Finding;
use super::Rules;
use crate::domain::id::ProcType;

impl Rules<'_, '_, '_, '_> {
    pub(super) fn keys_of_other_types(&mut self) {
        let this = self.declared.proc_type;
        for entry in self.declared.body.entries().unwrap_or_default() {
            let Some(key) = PROC.key(&entry.key).filter(|key| !key.allowed_for(this)) else {
                continue;
            };
            let types: Vec<&str> = key.only.iter().map(|t| t.as_str()).collect();
            let message = format!(
                "`{}` is for {} procs; this is a {this} proc",
                key.name,
                types.join(" and ")
            );
            self.refuse(SpecCode::NotForThisType, entry, message, "");
        }
        let health = self.entry("healthcheck").filter(|_| this != ProcType::Web);
        if let Some(entry) = health.filter(|e| e.node.text().is_some_and(|path| !path.is_empty())) {
            let message =
                format!("`healthcheck` as a path is for web procs; this is a {this} proc");
            let help = "its full form: `healthcheck: {type: tcp}` or `healthcheck: {command: …}`";
            self.refuse(SpecCode::NotForThisType, entry, message, help);
        }
    }

    /// A oneshot's or cron proc's health is its exit code, and it is not there all the time.
    pub(super) fn runs_to_its_end(&mut self) {
        let this = self.declared.proc_type;
        if !matches!(this, ProcType::Oneshot | ProcType::Cron) {
            return;
        }
        for key in ["update", "spares", "healthcheck", "container_healthcheck"] {
            let Some(entry) = self.entry(key) else {
                continue;
            };
            let given = match key {
                "spares" => entry.node.int() != Some(0),
                "healthcheck" => entry.node.entries().is_some(),
                "container_healthcheck" => entry.node.text() != Some("none"),
                _ => true,
            };
            if given {
                let message =
                    format!("`{key}` has no meaning for a {this} proc, which runs to its end");
                self.refuse(SpecCode::NotForThisType, entry, message, "");
            }
        }
        let permanent = self.spec.restart.policy == RestartPolicy::Permanent;
        if let Some(entry) = self.entry("restart").filter(|_| permanent) {
            let message = format!("a {this} proc that is restarted after success would never end");
            self.refuse(
                SpecCode::Conflict,
                entry,
                message,
                "`transient`, or make it a worker",
            );
        }
        let several = this == ProcType::Cron && self.spec.num_instances > 1;
        if let Some(entry) = self.entry("num_instances").filter(|_| several) {
            self.refuse(
                SpecCode::Conflict,
                entry,
                "a cron proc has one instance a run",
                "",
            );
        }
    }

    pub(super) fn stateful(&mut self) {
        let word = match (self.spec.stateful, self.spec.exclusive) {
            (true, _) => "a `stateful` proc",
            (false, true) => "an `exclusive` proc",
            (false, false) => return,
        };
        if let Some(entry) = self.entry("spares").filter(|_| self.spec.spares > 0) {
            let message = format!("{word} never runs twice, so it cannot have spares");
            self.refuse(SpecCode::Conflict, entry, &message, "");
        }
        let overlapping = self.spec.update.order == UpdateOrder::StartFirst;
        if let Some(entry) = self.entry("update").filter(|_| overlapping) {
            let message = format!("{word} never runs twice, so the old one must stop first");
            self.refuse(
                SpecCode::Conflict,
                entry,
                &message,
                "`order: stop_first`, or leave `order` out",
            );
        }
    }

    pub(super) fn portal_of_service(&mut self) {
        let (Some(service), Some(entry)) = (&self.declared.service, self.entry("service_name"))
        else {
            return;
        };
        if entry
            .node
            .text()
            .is_some_and(|name| name != service.as_str())
        {
            let message = format!("the portal of service.{service} stands for `{service}`");
            self.refuse(SpecCode::Conflict, entry, message, "leave it out");
        }
    }

    pub(super) fn web(&mut self) {
        let spec = self.spec;
        if spec.proc_type != ProcType::Web {
            return;
        }
        let reachable = spec.name.as_str() == "web" || spec.mountpoint.iter().any(|m| m != "/");
        // A mountpoint that `check` refused is missing from the spec, but not from the file.
        let written = self
            .entry("mountpoint")
            .and_then(|e| e.node.items())
            .map_or(0, <[_]>::len);
        if !reachable && written == spec.mountpoint.len() {
            let message = format!(
                "web proc `{}` needs a `mountpoint`: only the proc named web has the default hosts",
                spec.name
            );
            let key = self.path.key("mountpoint");
            let finding = Finding::new(SpecCode::MissingKey, self.declared.place, key, message);
            let finding = finding
                .width(self.declared.width)
                .expected("a list of HOST, HOST/PATH or /PATH");
            self.report
                .error(finding.suggest(format!("mountpoint: [/{}]", spec.name)));
        }
        let udp_only =
            !spec.ports.is_empty() && spec.ports.iter().all(|port| port.protocol == Protocol::Udp);
        if let Some(entry) = self.entry("port").filter(|_| udp_only) {
            self.refuse(
                SpecCode::Conflict,
                entry,
                "a web proc needs a tcp port for the router",
                "",
            );
        }
    }
}
