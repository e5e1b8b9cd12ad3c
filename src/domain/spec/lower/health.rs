//! Puts a proc's health check together from LAIN's two keys and our full form.

use super::super::error::SpecCode;
use super::super::model::{HealthCheck, Port, Probe, Protocol};
use super::super::report::{Finding, Path, Report};
use super::super::yaml::{Entry, Node};
use super::procs::Declared;
use super::read::{command, duration, number, text};
use crate::domain::id::ProcType;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);
const RETRIES: u32 = 3;
const START_PERIOD: Duration = Duration::from_secs(30);

/// The health check of a proc; `None`: running is healthy.
pub(super) fn lower(
    declared: &Declared<'_>,
    ports: &[Port],
    setup_time: Duration,
    report: &mut Report<'_>,
) -> Option<HealthCheck> {
    let plain = |probe| HealthCheck {
        probe,
        interval: INTERVAL,
        timeout: TIMEOUT,
        retries: RETRIES,
        start_period: START_PERIOD.max(setup_time),
    };
    let body = declared.body;
    let path = body.entry("healthcheck");
    if let Some(container) = body.entry("container_healthcheck") {
        return of_container(declared, path, container, plain, report);
    }
    let entry = path?;
    if let Some(path) = entry.node.text().filter(|text| !text.is_empty()) {
        let port = tcp_port(ports)?;
        return Some(plain(Probe::Http {
            port,
            path: path.to_owned(),
        }));
    }
    entry.node.entries()?;
    let probe =
        declared.with_path(|at| probe(&entry.node, ports, &at.key("healthcheck"), report))?;
    let default = plain(probe);
    let node = &entry.node;
    Some(HealthCheck {
        interval: duration(node, "interval").unwrap_or(default.interval),
        timeout: duration(node, "timeout").unwrap_or(default.timeout),
        retries: number(node, "retries").unwrap_or(default.retries),
        start_period: duration(node, "start_period").unwrap_or(default.start_period),
        probe: default.probe,
    })
}

fn tcp_port(ports: &[Port]) -> Option<u16> {
    ports
        .iter()
        .find(|port| port.protocol == Protocol::Tcp)
        .map(|port| port.port)
}

/// The probe of the full form. Its type is what is written, or else what the other keys imply.
fn probe(body: &Node, ports: &[Port], path: &Path<'_>, report: &mut Report<'_>) -> Option<Probe> {
    let kind = probe_kind(body)?;
    refuse_foreign_keys(body, kind, path, report)?;
    if kind == "command" {
        return command_probe(body, path, report);
    }
    let written = number(body, "port").and_then(|port| u16::try_from(port).ok());
    let Some(port) = written.or_else(|| tcp_port(ports)) else {
        if body.get("port").is_none() {
            let message = format!("the {kind} check has no port, and the proc has no tcp port");
            let finding = Finding::new(SpecCode::MissingKey, body.place, path.key("port"), message);
            report.error(
                finding
                    .width(body.width)
                    .expected("port, here or in the proc"),
            );
        }
        return None;
    };
    let path = || text(body, "path").unwrap_or("/").to_owned();
    Some(if kind == "http" {
        Probe::Http { port, path: path() }
    } else {
        Probe::Tcp { port }
    })
}

/// What the check says that it is, or else what its other keys imply.
fn probe_kind(body: &Node) -> Option<&str> {
    match body.get("type") {
        Some(node) => node.text(),
        None if body.get("command").is_some() => Some("command"),
        None if body.get("path").is_some() => Some("http"),
        None => Some("tcp"),
    }
}

/// Refuses keys of other kinds of check; `None` if there is no such kind.
fn refuse_foreign_keys(
    body: &Node,
    kind: &str,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<()> {
    let foreign: &[&str] = match kind {
        "http" => &["command"],
        "tcp" => &["command", "path"],
        "command" => &["path", "port"],
        _ => return None,
    };
    for entry in foreign.iter().filter_map(|key| body.entry(key)) {
        let message = format!("a {kind} check has no `{}`", entry.key);
        let finding = Finding::new(
            SpecCode::Conflict,
            entry.place,
            path.key(&entry.key),
            message,
        );
        report.error(finding.width(entry.width));
    }
    Some(())
}

fn command_probe(body: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<Probe> {
    let words = command(body, "command");
    // A command that is there but cannot be read was refused by `check`, unless it is empty.
    let unreadable = body
        .get("command")
        .and_then(Node::text)
        .is_some_and(|line| shell_words::split(line).is_err());
    if words.is_none() && !unreadable {
        let message = "the command check has no command";
        let finding = Finding::new(
            SpecCode::MissingKey,
            body.place,
            path.key("command"),
            message,
        );
        report.error(
            finding
                .width(body.width)
                .expected("command: a command line, or a list of words"),
        );
    }
    words.map(|command| Probe::Command { command })
}

/// LAIN's `container_healthcheck`, with its floors: a command, or `none`.
fn of_container(
    declared: &Declared<'_>,
    path: Option<&Entry>,
    container: &Entry,
    plain: impl Fn(Probe) -> HealthCheck,
    report: &mut Report<'_>,
) -> Option<HealthCheck> {
    if let Some(other) = path {
        both_given(declared, other, container, report);
    }
    let cmd = text(&container.node, "cmd").filter(|cmd| !cmd.trim().is_empty())?;
    let shell = ["/bin/sh", "-c", cmd].map(str::to_owned).to_vec();
    let mut check = plain(Probe::Command { command: shell });
    let Some(options) = container.node.get("options") else {
        return Some(check);
    };
    declared.with_path(|at| {
        let at = at.key("container_healthcheck");
        let at = at.key("options");
        check.interval = at_least(options, "interval", INTERVAL, &at, report);
        check.timeout = at_least(options, "timeout", TIMEOUT, &at, report);
        if let Some(retries) = number(options, "retries") {
            check.retries = retries.max(RETRIES);
            if retries < RETRIES {
                raised(options, "retries", &format!("{RETRIES}"), &at, report);
            }
        }
    });
    Some(check)
}

fn at_least(
    options: &Node,
    key: &str,
    floor: Duration,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Duration {
    let written = duration(options, key).unwrap_or(floor);
    if written < floor {
        raised(
            options,
            key,
            &format!("{} s", floor.as_secs()),
            path,
            report,
        );
    }
    written.max(floor)
}

fn raised(options: &Node, key: &str, floor: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(node) = options.get(key) else { return };
    let finding = Finding::new(
        SpecCode::Raised,
        node.place,
        path.key(key),
        format!("raised to {floor}, the least here"),
    );
    report.warn(
        finding
            .width(node.width)
            .suggest("use `healthcheck` with `command` for shorter times"),
    );
}

/// A path besides is of no use, as routes follow the container's health; a full form contradicts.
fn both_given(declared: &Declared<'_>, other: &Entry, container: &Entry, report: &mut Report<'_>) {
    let key = declared.with_path(|path| path.key("healthcheck").to_string());
    if other.node.entries().is_some() {
        let message =
            "`healthcheck` in its full form and `container_healthcheck` exclude each other";
        let finding = Finding::new(SpecCode::Conflict, other.place, key, message);
        report.error(finding.width(other.width).other(container.place));
    } else if other.node.text().is_some_and(|text| !text.is_empty())
        && declared.proc_type == ProcType::Web
    {
        let message = "this path has no effect: `container_healthcheck` decides";
        let finding = Finding::new(SpecCode::Unused, other.place, key, message);
        report.warn(finding.width(other.width).other(container.place));
    }
}
