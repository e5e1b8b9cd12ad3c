//! What may be there only once: in a list, in a proc, in the app.

use super::super::super::error::{Place, SpecCode};
use super::super::super::hosts::Mountpoint;
use super::super::super::report::{Finding, Path, Report, shown};
use super::super::super::value::{self, Read};
use super::super::super::yaml::Node;
use super::super::proc::{port, stream_ports};
use super::super::procs::Declared;
use super::super::read::{items, nodes, unique};
use super::Rules;
use crate::domain::id::ProcType;
use crate::domain::spec::model::Protocol;
use std::collections::HashMap;

/// The items of a list, each with the name by which it may be there once.
type Named<'n> = Vec<(usize, &'n Node, String)>;

/// Items of a form, named by `name`.
fn named<'n, T>(
    body: &'n Node,
    key: &str,
    form: fn(&str) -> Read<T>,
    name: fn(T) -> String,
) -> Named<'n> {
    items(body, key, form)
        .into_iter()
        .map(|(index, node, item)| (index, node, name(item)))
        .collect()
}

impl<'n> Rules<'_, 'n, '_, '_> {
    pub(super) fn repeated_items(&mut self) {
        let body = self.declared.body;
        self.once("port", "port", ports(body));
        self.once(
            "env",
            "variable",
            named(body, "env", value::env_variable, |variable| variable.name),
        );
        self.once(
            "labels",
            "label",
            named(body, "labels", value::label, |(key, _)| key),
        );
        self.once("logs", "log file", paths(body, "logs", value::log_name));
        self.once(
            "secret_files",
            "secret file",
            items(body, "secret_files", value::secret_file),
        );
        self.once(
            "mountpoint",
            "mountpoint",
            named(body, "mountpoint", value::mountpoint, |m| m.to_string()),
        );
        self.once(
            "dns_search",
            "domain",
            items(body, "dns_search", value::dns_name),
        );
        self.volumes();
    }

    fn once(&mut self, key: &str, what: &str, all: Named<'n>) {
        self.once_among(&mut HashMap::new(), (key, what), all);
    }

    fn once_among(
        &mut self,
        seen: &mut HashMap<String, Place>,
        (key, what): (&str, &str),
        all: Named<'n>,
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
            let paths = paths(self.declared.body, key, value::volume);
            for (_, node, _) in paths.iter().filter(|(_, _, path)| path == "/lain/logs") {
                self.warn(
                    SpecCode::Unused,
                    key,
                    node,
                    "/lain/logs is always a volume",
                    "leave it out",
                );
            }
            self.once_among(&mut seen, (key, "volume"), paths);
        }
        if let Some(cloud) = self.declared.body.get("cloud_volumes") {
            self.once_among(
                &mut seen,
                ("cloud_volumes", "volume"),
                items(cloud, "dirs", value::volume),
            );
        }
    }
}

/// Paths, alone or with something said of them.
fn paths<'n>(body: &'n Node, key: &str, form: fn(&str) -> Read<String>) -> Named<'n> {
    let path = |node: &'n Node| {
        let written = node
            .text()
            .or_else(|| node.entries()?.first().map(|entry| entry.key.as_str()))?;
        form(written).ok()
    };
    nodes(body, key)
        .into_iter()
        .filter_map(|(index, node)| Some((index, node, path(node)?)))
        .collect()
}

/// The ports of `port`, named so that the same port and protocol have the same name.
fn ports(body: &Node) -> Named<'_> {
    let Some(node) = body.get("port") else {
        return Vec::new();
    };
    let written = node.items().unwrap_or(std::slice::from_ref(node));
    let all = written.iter().enumerate();
    all.flat_map(|(index, node)| port(node).into_iter().map(move |port| (index, node, port)))
        .map(|(index, node, port)| {
            let protocol = if port.protocol == Protocol::Udp {
                "udp"
            } else {
                "tcp"
            };
            (index, node, format!("{}/{protocol}", port.port))
        })
        .collect()
}

/// A port of the router leads to one proc.
pub(super) fn router_ports(declared: &[Declared<'_>], report: &mut Report<'_>) {
    let mut seen: HashMap<String, Place> = HashMap::new();
    for one in declared {
        one.with_path(|path| {
            let key = path.key("ports");
            for (index, node, port) in stream_ports(one.body) {
                let name = port.source.to_string();
                unique(
                    &mut seen,
                    "router port",
                    &name,
                    (node, &key.index(index)),
                    report,
                );
            }
        });
    }
}

/// A mountpoint leads to one proc. Twice in one proc is another rule's affair.
pub(super) fn mountpoints(declared: &[Declared<'_>], report: &mut Report<'_>) {
    let mut seen: HashMap<Mountpoint, (Place, usize)> = HashMap::new();
    for (number, one) in declared
        .iter()
        .enumerate()
        .filter(|(_, one)| one.proc_type == ProcType::Web)
    {
        one.with_path(|path| {
            let key = path.key("mountpoint");
            for (index, node, mountpoint) in items(one.body, "mountpoint", value::mountpoint) {
                let earlier = seen
                    .get(&mountpoint)
                    .filter(|(_, other)| *other != number)
                    .copied();
                match earlier {
                    Some((first, _)) => {
                        led_twice(&mountpoint, (node, first), &key.index(index), report)
                    }
                    None => drop(seen.insert(mountpoint, (node.place, number))),
                }
            }
        });
    }
}

fn led_twice(
    mountpoint: &Mountpoint,
    (node, first): (&Node, Place),
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let message = format!(
        "mountpoint {} leads to two procs",
        shown(&mountpoint.to_string())
    );
    let finding = Finding::new(SpecCode::DuplicateValue, node.place, path, message);
    report.error(finding.width(node.width).other(first));
}
