//! Ports, mountpoints and health paths.

use super::super::report::shown;
use super::names::dns_name;
use super::{Read, Wrong};
use crate::domain::spec::hosts::Mountpoint;
use crate::domain::spec::model::{Port, Protocol, StreamPort};

/// The router's ports that stream procs may take.
const STREAM_PORTS: std::ops::RangeInclusive<u16> = 9500..=10000;

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// A port number without sign, blank or leading zero.
fn port_number(text: &str) -> Read<u16> {
    let plain = !text.is_empty()
        && text.len() <= 5
        && text.bytes().all(|b| b.is_ascii_digit())
        && !text.starts_with('0');
    let number = if plain {
        text.parse::<u32>().ok()
    } else {
        None
    };
    match number {
        Some(number) => {
            u16::try_from(number).map_err(|_| Wrong::range(format!("port {number} is above 65535")))
        }
        None => Err(Wrong::form(format!(
            "{:?} is not a port number",
            shown(text)
        ))),
    }
}

/// `80:tcp` or `80:udp`.
pub(in super::super) fn port_text(text: &str) -> Read<Port> {
    let Some((number, name)) = text.split_once(':') else {
        let wrong = Wrong::form(format!("the text {:?} is not a port", shown(text)));
        return Err(match port_number(text) {
            Ok(number) => {
                wrong.suggest(format!("`{number}` without quotes, or `\"{number}:tcp\"`"))
            }
            Err(_) => wrong,
        });
    };
    let port = port_number(number)?;
    match protocol(name) {
        Some(protocol) => Ok(Port { port, protocol }),
        None => Err(
            Wrong::form(format!("{:?} is neither `tcp` nor `udp`", shown(name)))
                .at(number.chars().count() + 1),
        ),
    }
}

/// `type:tcp` or `type:udp`.
pub(in super::super) fn protocol_text(text: &str) -> Read<Protocol> {
    let found = text.strip_prefix("type:").and_then(protocol);
    found.ok_or_else(|| {
        Wrong::form(format!(
            "{:?} is neither `type:tcp` nor `type:udp`",
            shown(text)
        ))
    })
}

/// `SRC`, `SRC:DST`, `SRC:DST/tcp` or `SRC:DST/udp`.
pub(in super::super) fn stream_port(text: &str) -> Read<StreamPort> {
    let (ports, name) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol(name).ok_or_else(|| {
        Wrong::form(format!("{:?} is neither `tcp` nor `udp`", shown(name)))
            .at(ports.chars().count() + 1)
    })?;
    let (source, dest) = ports.split_once(':').unwrap_or((ports, ports));
    let source = port_number(source)?;
    if !STREAM_PORTS.contains(&source) {
        let (low, high) = (STREAM_PORTS.start(), STREAM_PORTS.end());
        return Err(Wrong::range(format!(
            "the router's port {source} is not between {low} and {high}"
        )));
    }
    Ok(StreamPort {
        source,
        dest: port_number(dest)?,
        protocol,
    })
}

/// `host`, `host/path` or `/path`.
pub(in super::super) fn mountpoint(text: &str) -> Read<Mountpoint> {
    if let Some((_, rest)) = text.split_once("://") {
        let wrong = Wrong::form(format!(
            "{:?} is a URL; a mountpoint has no scheme",
            shown(text)
        ));
        return Err(wrong.suggest(format!("`{}`", shown(rest))));
    }
    let (host, path) = match text.find('/') {
        Some(slash) => text.split_at(slash),
        None => (text, ""),
    };
    if text.is_empty() {
        return Err(Wrong::form("the mountpoint is empty"));
    }
    if !host.is_empty() {
        if host.contains(':') {
            return Err(Wrong::form(format!(
                "{:?} names a port; the router serves 80 and 443",
                shown(host)
            )));
        }
        dns_name(host)?;
    }
    // What nginx and other routers read as more than a path is refused here, once for all of them.
    let unusual = |c: char| !(c.is_ascii_alphanumeric() || "/-._~%+=:@,!&".contains(c));
    if let Some(offset) = path.chars().position(unusual) {
        let wrong = Wrong::form(format!(
            "the path {:?} contains a character that a mountpoint cannot have",
            shown(path)
        ));
        return Err(wrong.at(host.chars().count() + offset));
    }
    if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err(Wrong::form(format!(
            "the path {:?} is not in its simplest form",
            shown(path)
        )));
    }
    let path = if path.len() > 1 {
        path.trim_end_matches('/')
    } else {
        path
    };
    Ok(Mountpoint {
        host: host.to_ascii_lowercase(),
        path: path.to_owned(),
    })
}

/// The path of an HTTP health check, with query if any.
pub(in super::super) fn health_path(text: &str) -> Read<String> {
    if !text.starts_with('/') {
        let wrong = Wrong::form(format!(
            "the health path {:?} does not start with `/`",
            shown(text)
        ));
        return Err(if text.contains(':') {
            wrong
        } else {
            wrong.suggest(format!("`/{}`", shown(text)))
        });
    }
    match text.chars().position(|c| !c.is_ascii_graphic() || c == '#') {
        Some(offset) => Err(Wrong::form(format!(
            "the health path {:?} has a character that a URL cannot have",
            shown(text)
        ))
        .at(offset)),
        None => Ok(text.to_owned()),
    }
}
