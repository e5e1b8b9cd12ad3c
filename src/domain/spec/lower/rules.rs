//! Combinations of keys that cannot be, and some that can but will surprise.

use super::super::error::{Place, SpecCode};
use super::super::hosts::Mountpoint;
use super::super::keys::PROC;
use super::super::model::{ProcSpec, Protocol, RestartPolicy, UpdateOrder};
use super::super::report::{Finding, Path, Report, shown, to_u32};
use super::super::value;
use super::super::yaml::{Entry, Node};
use super::proc::{port, stream_ports};
use super::procs::Declared;
use super::read::{is_literal, items, nodes, unique};
use crate::domain::id::ProcType;
use std::collections::HashMap;

/// Environment variables that lain sets itself.
const OWN_VARIABLES: [&str; 9] = [
    "LAIN_APPNAME",
    "LAIN_PROCNAME",
    "LAIN_APP_RELEASE_VERSION",
    "LAIN_DOMAIN",
    "LAIN_SERVICE_NAME",
    "LAIN_INSTANCE_NO",
    "DEPLOYD_POD_INSTANCE_NO",
    "DEPLOYD_POD_NAME",
    "DEPLOYD_POD_NAMESPACE",
];

/// Words that mean something to a shell only.
const SHELL_WORDS: [&str; 8] = ["&&", "||", "|", ";", ">", ">>", "<", "&"];

/// The rules about one proc.
pub(super) fn check_proc(declared: &Declared<'_>, spec: &ProcSpec, report: &mut Report<'_>) {
    declared.with_path(|path| {
        let mut rules = Rules {
            declared,
            spec,
            path,
            report,
        };
        rules.keys_of_other_types();
        rules.runs_to_its_end();
        rules.stateful();
        rules.portal_of_service();
        rules.web();
        rules.repeated_items();
        rules.surprises();
    });
}

struct Rules<'r, 'n, 'p, 't> {
    declared: &'r Declared<'n>,
    spec: &'r ProcSpec,
    path: &'r Path<'p>,
    report: &'r mut Report<'t>,
}

impl<'n> Rules<'_, 'n, '_, '_> {
    fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.declared.body.entry(key)
    }

    fn refuse(&mut self, code: SpecCode, entry: &Entry, message: String, suggestion: &str) {
        let finding =
            Finding::new(code, entry.place, self.path.key(&entry.key), message).width(entry.width);
        self.report.error(if suggestion.is_empty() {
            finding
        } else {
            finding.suggest(suggestion)
        });
    }

    fn warn(
        &mut self,
        code: SpecCode,
        (node, key): (&Node, &str),
        message: String,
        suggestion: &str,
    ) {
        let finding = Finding::new(code, node.place, self.path.key(key), message).width(node.width);
        self.report.warn(if suggestion.is_empty() {
            finding
        } else {
            finding.suggest(suggestion)
        });
    }

    fn keys_of_other_types(&mut self) {
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
        if let Some(entry) = self.entry("healthcheck").filter(|_| this != ProcType::Web) {
            if entry.node.text().is_some_and(|path| !path.is_empty()) {
                let message =
                    format!("`healthcheck` as a path is for web procs; this is a {this} proc");
                self.refuse(
                    SpecCode::NotForThisType,
                    entry,
                    message,
                    "use its full form: `healthcheck: {type: tcp}` or `{command: …}`",
                );
            }
        }
    }

    /// A oneshot's or cron proc's health is its exit code, and it is not there all the time.
    fn runs_to_its_end(&mut self) {
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
        if let Some(entry) = self
            .entry("restart")
            .filter(|_| self.spec.restart.policy == RestartPolicy::Permanent)
        {
            let message = format!("a {this} proc that is restarted after success would never end");
            self.refuse(
                SpecCode::Conflict,
                entry,
                message,
                "`transient`, or make it a worker",
            );
        }
        if let Some(entry) = self
            .entry("num_instances")
            .filter(|_| this == ProcType::Cron && self.spec.num_instances > 1)
        {
            self.refuse(
                SpecCode::Conflict,
                entry,
                "a cron proc has one instance a run".to_owned(),
                "",
            );
        }
    }

    fn stateful(&mut self) {
        if !self.spec.stateful {
            return;
        }
        if let Some(entry) = self.entry("spares").filter(|_| self.spec.spares > 0) {
            let message = "a `stateful` proc never runs twice, so it cannot have spares".to_owned();
            self.refuse(SpecCode::Conflict, entry, message, "");
        }
        if let Some(entry) = self
            .entry("update")
            .filter(|_| self.spec.update.order == UpdateOrder::StartFirst)
        {
            let message =
                "a `stateful` proc never runs twice, so the old one must stop first".to_owned();
            self.refuse(
                SpecCode::Conflict,
                entry,
                message,
                "`order: stop_first`, or leave `order` out",
            );
        }
    }

    fn portal_of_service(&mut self) {
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

    fn web(&mut self) {
        let spec = self.spec;
        if spec.proc_type != ProcType::Web {
            return;
        }
        let named_web = spec.name.as_str() == "web";
        let own = spec.mountpoint.iter().any(|m| m != "/");
        let refused = self.entry("mountpoint").is_some_and(|e| {
            e.node
                .items()
                .is_some_and(|i| i.len() != spec.mountpoint.len())
        });
        if !named_web && !own && !refused {
            let message = format!(
                "web proc `{}` needs a `mountpoint`: only the proc named web has the default hosts",
                spec.name
            );
            let finding = Finding::new(
                SpecCode::MissingKey,
                self.declared.place,
                self.path.key("mountpoint"),
                message,
            );
            let finding = finding
                .width(self.declared.width)
                .expected("a list of HOST, HOST/PATH or /PATH");
            self.report
                .error(finding.suggest(format!("mountpoint: [/{}]", spec.name)));
        }
        if let Some(entry) = self.entry("port").filter(|_| !spec.ports.is_empty()) {
            if !spec.ports.iter().any(|port| port.protocol == Protocol::Tcp) {
                self.refuse(
                    SpecCode::Conflict,
                    entry,
                    "a web proc needs a tcp port for the router".to_owned(),
                    "",
                );
            }
        }
    }

    fn repeated_items(&mut self) {
        let body = self.declared.body;
        self.unique("port", "port", ports(body));
        self.unique(
            "env",
            "variable",
            items(body, "env", value::env_variable)
                .into_iter()
                .map(|(i, n, v)| (i, n, v.name)),
        );
        self.unique(
            "labels",
            "label",
            items(body, "labels", value::label)
                .into_iter()
                .map(|(i, n, (key, _))| (i, n, key)),
        );
        self.unique("logs", "log file", items(body, "logs", value::log_name));
        self.unique(
            "secret_files",
            "secret file",
            items(body, "secret_files", value::secret_file),
        );
        self.unique(
            "mountpoint",
            "mountpoint",
            items(body, "mountpoint", value::mountpoint)
                .into_iter()
                .map(|(i, n, m)| (i, n, m.to_string())),
        );
        self.unique(
            "dns_search",
            "domain",
            items(body, "dns_search", value::dns_name),
        );
        self.volumes();
    }

    fn unique(
        &mut self,
        key: &str,
        what: &str,
        all: impl IntoIterator<Item = (usize, &'n Node, String)>,
    ) {
        let mut seen = HashMap::new();
        self.unique_in(&mut seen, key, what, all);
    }

    fn unique_in(
        &mut self,
        seen: &mut HashMap<String, Place>,
        key: &str,
        what: &str,
        all: impl IntoIterator<Item = (usize, &'n Node, String)>,
    ) {
        let path = self.path.key(key);
        for (index, node, name) in all {
            unique(seen, what, &name, (node, &path.index(index)), self.report);
        }
    }

    /// No path may be mounted twice, be it from the node or from the network.
    fn volumes(&mut self) {
        let mut seen = HashMap::new();
        for key in ["volumes", "persistent_dirs"] {
            let paths: Vec<(usize, &Node, String)> = nodes(self.declared.body, key)
                .into_iter()
                .filter_map(|(i, n)| {
                    let written = n
                        .text()
                        .or_else(|| n.entries()?.first().map(|e| e.key.as_str()))?;
                    Some((i, n, value::volume(written).ok()?))
                })
                .collect();
            for (_, node, _) in paths.iter().filter(|(_, _, path)| path == "/lain/logs") {
                self.warn(
                    SpecCode::Unused,
                    (node, key),
                    "/lain/logs is always a volume".to_owned(),
                    "leave it out",
                );
            }
            self.unique_in(&mut seen, key, "volume", paths);
        }
        if let Some(cloud) = self.declared.body.get("cloud_volumes") {
            self.unique_in(
                &mut seen,
                "cloud_volumes",
                "volume",
                items(cloud, "dirs", value::volume),
            );
        }
    }

    fn surprises(&mut self) {
        let body = self.declared.body;
        for key in ["cmd", "entrypoint"] {
            self.command(key);
        }
        for (_, node, variable) in items(body, "env", value::env_variable) {
            if OWN_VARIABLES.contains(&variable.name.as_str()) {
                let message = format!(
                    "lain sets {} itself; this value will not be seen",
                    variable.name
                );
                self.warn(
                    SpecCode::Unused,
                    (node, "env"),
                    message,
                    "choose another name",
                );
            }
        }
        if let Some(entries) = body.get("ports").and_then(Node::entries) {
            for entry in entries.iter().filter(|e| !e.node.is_null()) {
                let empty = entry.node.items().is_some_and(<[_]>::is_empty)
                    || entry.node.entries().is_some_and(<[_]>::is_empty);
                if !empty && entry.node.text() != Some("") {
                    self.warn(
                        SpecCode::Unused,
                        (&entry.node, "ports"),
                        "a value here has no effect".to_owned(),
                        "write a list of ports",
                    );
                }
            }
        }
    }

    /// A command line that wants a shell has none.
    fn command(&mut self, key: &str) {
        let Some(node) = self.declared.body.get(key) else {
            return;
        };
        let Some((line, words)) = node
            .text()
            .and_then(|line| Some((line, value::command(line).ok()?)))
        else {
            return;
        };
        let is_shell = |word: &String| SHELL_WORDS.contains(&word.as_str());
        let Some(word) = words.iter().find(|word| is_shell(word)) else {
            return;
        };
        let mut place = node.place;
        if let (true, Some(at)) = (is_literal(node), line.find(word.as_str())) {
            place.column = place
                .column
                .saturating_add(to_u32(line[..at].chars().count()));
        }
        let message = format!(
            "no shell runs this, so `{}` is passed to the program as it is",
            shown(word)
        );
        let finding = Finding::new(SpecCode::Suspicious, place, self.path.key(key), message);
        self.report.warn(
            finding
                .width(to_u32(word.len()))
                .suggest("`sh -c '…'` runs a shell"),
        );
    }
}

/// The ports of `port`, named so that the same port and protocol have the same name.
fn ports(body: &Node) -> Vec<(usize, &Node, String)> {
    let Some(node) = body.get("port") else {
        return Vec::new();
    };
    let written = node.items().unwrap_or(std::slice::from_ref(node));
    let all = written
        .iter()
        .enumerate()
        .flat_map(|(i, n)| port(n).into_iter().map(move |p| (i, n, p)));
    all.map(|(i, n, p)| {
        (
            i,
            n,
            format!(
                "{}/{}",
                p.port,
                if p.protocol == Protocol::Udp {
                    "udp"
                } else {
                    "tcp"
                }
            ),
        )
    })
    .collect()
}

/// The rules between procs: what each may have only once in the app.
pub(super) fn check_procs(declared: &[Declared<'_>], specs: &[ProcSpec], report: &mut Report<'_>) {
    let mut sources: HashMap<String, Place> = HashMap::new();
    let mut mounts: HashMap<Mountpoint, (Place, usize)> = HashMap::new();
    for (number, one) in declared.iter().enumerate() {
        one.with_path(|path| {
            let key = path.key("ports");
            for (index, node, port) in stream_ports(one.body) {
                unique(
                    &mut sources,
                    "router port",
                    &port.source.to_string(),
                    (node, &key.index(index)),
                    report,
                );
            }
            if specs
                .get(number)
                .is_none_or(|spec| spec.proc_type != ProcType::Web)
            {
                return;
            }
            let key = path.key("mountpoint");
            for (index, node, mount) in items(one.body, "mountpoint", value::mountpoint) {
                match mounts.get(&mount) {
                    Some((first, other)) if *other != number => {
                        let message = format!(
                            "mountpoint {} leads to two procs",
                            shown(&mount.to_string())
                        );
                        let finding = Finding::new(
                            SpecCode::DuplicateValue,
                            node.place,
                            key.index(index),
                            message,
                        );
                        report.error(finding.width(node.width).other(*first));
                    }
                    _ => {
                        mounts.insert(mount, (node.place, number));
                    }
                }
            }
        });
    }
}
