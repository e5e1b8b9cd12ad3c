//! Reads one proc: every key of its body, with its default.

use super::super::error::SpecCode;
use super::super::hosts::Mountpoint;
use super::super::model::{
    AntiAffinity, BackupPolicy, CloudVolumeKind, CloudVolumes, Overlap, Port, ProcSpec, Protocol,
    RestartPolicy, RestartSpec, Schedule, Share, StreamPort, UpdateOrder, UpdateSpec, VolumeSpec,
};
use super::super::report::{Finding, Report};
use super::super::value;
use super::super::yaml::Node;
use super::health;
use super::procs::Declared;
use super::read::{Item, command, duration, flag, items, nodes, number, text, text_or_number};
use crate::domain::id::ProcType;
use std::time::Duration;

/// LAIN's default memory limit.
const DEFAULT_MEMORY: u64 = 32 * 1024 * 1024;
/// LAIN's default time between SIGTERM and SIGKILL.
const DEFAULT_KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// The drain time of web procs: enough for clients that follow the list of addresses, or read it every half second.
const WEB_DRAIN_TIME: Duration = Duration::from_secs(1);
/// A web proc's default port.
const WEB_PORT: Port = Port {
    port: 80,
    protocol: Protocol::Tcp,
};

/// Reads a declared proc. Reports what only shows when its health check is put together.
pub(super) fn lower(declared: &Declared<'_>, report: &mut Report<'_>) -> ProcSpec {
    let body = declared.body;
    let ports = ports(declared);
    let setup_time = duration(body, "setup_time").unwrap_or_default();
    let health = health::lower(declared, &ports, setup_time, report);
    let volumes = volumes(declared, report);
    let stateful = flag(body, "stateful");
    let exclusive = flag(body, "exclusive");
    let portal = declared.proc_type == ProcType::Portal;
    ProcSpec {
        name: declared.name.clone(),
        proc_type: declared.proc_type,
        image: text(body, "image").map(str::to_owned),
        entrypoint: command(body, "entrypoint"),
        cmd: command(body, "cmd"),
        user: text_or_number(body, "user").unwrap_or_default(),
        workdir: workdir(body).to_owned(),
        num_instances: number(body, "num_instances").unwrap_or(1),
        spares: number(body, "spares").unwrap_or(0),
        cpu: number(body, "cpu").unwrap_or(0),
        memory: memory(body).unwrap_or(DEFAULT_MEMORY),
        ports,
        stream_ports: meanings(stream_ports(body)),
        mountpoint: mountpoint(body),
        https_only: flag(body, "https_only"),
        health,
        env: meanings(items(body, "env", value::env_variable)),
        update: update(body, stateful || exclusive || !volumes.is_empty()),
        volumes,
        cloud_volumes: body.get("cloud_volumes").map(cloud_volumes),
        secret_files: strings(body, "secret_files", value::secret_file),
        secret_files_bypass: flag(body, "secret_files_bypass"),
        logs: logs(body).map(|(name, _)| name).collect(),
        log_formats: logs(body)
            .filter_map(|(name, format)| Some((name, format?.to_owned())))
            .collect(),
        labels: meanings(items(body, "labels", value::label)),
        filters: meanings(items(body, "filters", value::filter)),
        stateful,
        exclusive,
        priority: priority(body),
        anti_affinity: anti_affinity(body),
        setup_time,
        drain_time: duration(body, "drain_time").unwrap_or(match declared.proc_type {
            ProcType::Web => WEB_DRAIN_TIME,
            _ => Duration::ZERO,
        }),
        kill_timeout: duration(body, "kill_timeout").unwrap_or(DEFAULT_KILL_TIMEOUT),
        dns_search: strings(body, "dns_search", value::dns_name),
        service_name: service_name(declared),
        allow_clients: portal.then(|| text(body, "allow_clients").unwrap_or("**").to_owned()),
        restart: restart(body, declared.proc_type),
        schedule: body.get("schedule").and_then(schedule),
    }
}

/// The meanings of a list's items.
fn meanings<T, C: FromIterator<T>>(items: Vec<Item<'_, T>>) -> C {
    items.into_iter().map(|(_, _, meaning)| meaning).collect()
}

fn strings(body: &Node, key: &str, form: fn(&str) -> value::Read<String>) -> Vec<String> {
    meanings(items(body, key, form))
}

/// The log files with their formats: `name`, or `{name: format}`.
pub(super) fn logs(body: &Node) -> impl Iterator<Item = (String, Option<&str>)> {
    nodes(body, "logs").into_iter().filter_map(|(_, node)| {
        let (name, format) = match (node.text(), node.entries()) {
            (Some(name), _) => (name, None),
            (None, Some([entry])) => (entry.key.as_str(), entry.node.text()),
            _ => return None,
        };
        Some((value::log_name(name).ok()?, format))
    })
}

fn mountpoint(body: &Node) -> Vec<String> {
    let written: Vec<Mountpoint> = meanings(items(body, "mountpoint", value::mountpoint));
    written.iter().map(Mountpoint::to_string).collect()
}

fn workdir(body: &Node) -> &str {
    text(body, "workdir")
        .or_else(|| text(body, "working_dir"))
        .unwrap_or("")
}

/// A portal's service: what it says, or whose portal it is in the short form.
fn service_name(declared: &Declared<'_>) -> Option<String> {
    match &declared.service {
        Some(service) => Some(service.to_string()),
        None if declared.proc_type == ProcType::Portal => {
            text(declared.body, "service_name").map(str::to_owned)
        }
        None => None,
    }
}

fn memory(body: &Node) -> Option<u64> {
    let node = body.get("memory")?;
    match node.int() {
        Some(bytes) => u64::try_from(bytes).ok(),
        None => value::memory(node.text()?).ok(),
    }
}

fn ports(declared: &Declared<'_>) -> Vec<Port> {
    let Some(node) = declared.body.get("port") else {
        return if declared.proc_type == ProcType::Web {
            vec![WEB_PORT]
        } else {
            Vec::new()
        };
    };
    let single = std::slice::from_ref(node);
    node.items()
        .unwrap_or(single)
        .iter()
        .flat_map(port)
        .collect()
}

/// The ports of one item: `80`, `80:udp`, or a mapping from ports to protocols.
pub(super) fn port(node: &Node) -> Vec<Port> {
    if let Some(port) = node.int().and_then(|n| u16::try_from(n).ok()) {
        return vec![Port {
            port,
            protocol: Protocol::Tcp,
        }];
    }
    if let Some(port) = node.text().and_then(|text| value::port_text(text).ok()) {
        return vec![port];
    }
    let mut found = Vec::new();
    for entry in node.entries().unwrap_or_default() {
        let Ok(port) = entry.key.parse() else {
            continue;
        };
        let written = entry.node.items().unwrap_or_default();
        let mut protocols: Vec<Protocol> = written
            .iter()
            .filter_map(|node| value::protocol_text(node.text()?).ok())
            .collect();
        if written.is_empty() {
            protocols.push(Protocol::Tcp);
        }
        found.extend(
            protocols
                .into_iter()
                .map(|protocol| Port { port, protocol }),
        );
    }
    found
}

/// The router's ports, each with its number in the list and its node.
pub(super) fn stream_ports(body: &Node) -> Vec<(usize, &Node, StreamPort)> {
    let Some(node) = body.get("ports") else {
        return Vec::new();
    };
    if let Some(entries) = node.entries() {
        let keys = entries.iter().enumerate();
        return keys
            .filter_map(|(i, e)| Some((i, &e.node, value::stream_port(&e.key).ok()?)))
            .collect();
    }
    let read = |(index, node): (usize, &'_ Node)| {
        let text = node.scalar()?.text.as_str();
        Some((index, value::stream_port(text).ok()?))
    };
    nodes(body, "ports")
        .into_iter()
        .filter_map(|(i, node)| read((i, node)).map(|(i, port)| (i, node, port)))
        .collect()
}

fn volumes(declared: &Declared<'_>, report: &mut Report<'_>) -> Vec<VolumeSpec> {
    let key = if declared.body.get("persistent_dirs").is_some() {
        "persistent_dirs"
    } else {
        "volumes"
    };
    let mut found = Vec::new();
    for (index, node) in nodes(declared.body, key) {
        if let Some(path) = node.text().and_then(|text| value::volume(text).ok()) {
            found.push(VolumeSpec {
                path,
                backup_full: None,
                backup_increment: None,
            });
        }
        let Some([entry]) = node.entries() else {
            continue;
        };
        let Ok(path) = value::volume(&entry.key) else {
            continue;
        };
        let mut policy = |policy: &str| {
            let body = entry.node.get(policy)?;
            backup(body, report, |report_key| {
                declared.with_path(|path| {
                    format!("{path}.{key}[{index}].{}.{policy}.{report_key}", entry.key)
                })
            })
        };
        let (backup_full, backup_increment) = (policy("backup_full"), policy("backup_increment"));
        found.push(VolumeSpec {
            path,
            backup_full,
            backup_increment,
        });
    }
    found
}

fn backup(
    body: &Node,
    report: &mut Report<'_>,
    path: impl Fn(&str) -> String,
) -> Option<BackupPolicy> {
    let schedule = match text(body, "schedule") {
        None | Some("") => String::new(),
        Some(schedule) => value::cron(schedule).ok()?,
    };
    let expire = text(body, "expire").and_then(|text| value::expire(text).ok());
    if !schedule.is_empty() && body.get("expire").is_none() {
        let message = "key `expire` is missing: a scheduled backup needs an end";
        let finding = Finding::new(SpecCode::MissingKey, body.place, path("expire"), message);
        report.error(
            finding
                .width(body.width)
                .expected("expire: minutes, hours or days such as 30m, 12h or 10d"),
        );
    }
    let hook = |key: &str| text(body, key).and_then(|text| value::backup_hook(text).ok());
    Some(BackupPolicy {
        schedule,
        expire: expire.unwrap_or_default(),
        pre_run: hook("pre_run"),
        post_run: hook("post_run"),
    })
}

fn cloud_volumes(body: &Node) -> CloudVolumes {
    CloudVolumes {
        kind: if text(body, "type") == Some("single") {
            CloudVolumeKind::Single
        } else {
            CloudVolumeKind::Multi
        },
        dirs: strings(body, "dirs", value::volume),
    }
}

fn restart(body: &Node, proc_type: ProcType) -> RestartSpec {
    let default = RestartSpec::default_for(proc_type);
    let Some(node) = body.get("restart") else {
        return default;
    };
    RestartSpec {
        policy: match node.text().or_else(|| text(node, "policy")) {
            Some("permanent") => RestartPolicy::Permanent,
            Some("transient") => RestartPolicy::Transient,
            Some("temporary") => RestartPolicy::Temporary,
            _ => default.policy,
        },
        intensity: number(node, "intensity").unwrap_or(default.intensity),
        period: duration(node, "period").unwrap_or(default.period),
        max_backoff: duration(node, "max_backoff").unwrap_or(default.max_backoff),
    }
}

fn schedule(node: &Node) -> Option<Schedule> {
    let cron = value::cron(node.text().or_else(|| text(node, "cron"))?).ok()?;
    let overlap = match text(node, "overlap") {
        Some("queue") => Overlap::Queue,
        Some("replace") => Overlap::Replace,
        Some("allow") => Overlap::Allow,
        _ => Overlap::Skip,
    };
    Some(Schedule { cron, overlap })
}

fn priority(body: &Node) -> i32 {
    let number = body.get("priority").and_then(Node::int);
    number.and_then(|n| i32::try_from(n).ok()).unwrap_or(0)
}

fn anti_affinity(body: &Node) -> AntiAffinity {
    match text(body, "anti_affinity") {
        Some("none") => AntiAffinity::None,
        Some("require") => AntiAffinity::Require,
        _ => AntiAffinity::Prefer,
    }
}

/// Two instances of one number share its volumes, so those are not to overlap unless one says so.
fn update(body: &Node, exclusive: bool) -> UpdateSpec {
    let mut spec = UpdateSpec::default();
    if exclusive {
        spec.order = UpdateOrder::StopFirst;
    }
    // Of a oneshot proc, whose progress is its end.
    spec.progress_deadline = duration(body, "timeout").unwrap_or(spec.progress_deadline);
    let Some(node) = body.get("update") else {
        return spec;
    };
    match text(node, "order") {
        Some("start_first") => spec.order = UpdateOrder::StartFirst,
        Some("stop_first") => spec.order = UpdateOrder::StopFirst,
        _ => {}
    }
    spec.parallelism = number(node, "parallelism");
    spec.max_surge = share(node, "max_surge");
    spec.max_unavailable = share(node, "max_unavailable");
    spec.min_healthy_time = duration(node, "min_healthy_time").unwrap_or(spec.min_healthy_time);
    spec.canary = number(node, "canary").unwrap_or(spec.canary);
    spec.progress_deadline = duration(node, "progress_deadline").unwrap_or(spec.progress_deadline);
    spec.auto_rollback = node
        .get("auto_rollback")
        .and_then(Node::bool)
        .unwrap_or(spec.auto_rollback);
    spec
}

/// A number of instances, or per cent.
fn share(node: &Node, key: &str) -> Option<Share> {
    match number(node, key) {
        Some(count) => Some(Share::Count(count)),
        None => value::share(text(node, key)?).ok(),
    }
}
