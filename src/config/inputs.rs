//! `[[logging.input]]`: what is taken in besides the output of containers.
//!
//! Read strictly, as sinks are: an unknown key, a key of another kind of input, a wrong value are errors with
//! their places. A later file's input replaces an earlier one of its name.

use super::checks::{self, Kind, Wrong, at, duration_of, named, one_of, size_of};
use crate::domain::log::LineFormat;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What can be said of an input. Which keys a kind takes is in [`KINDS`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct InputConfig {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub app: Option<String>,
    pub proc: Option<String>,
    // Of syslog.
    pub address: Option<String>,
    pub transport: Option<String>,
    pub max_message: Option<String>,
    pub connections: Option<u32>,
    pub idle_timeout: Option<String>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub zone: Option<String>,
    // Of files.
    pub paths: Vec<PathBuf>,
    pub format: Option<String>,
}

/// The keys that every kind takes.
const COMMON: &[&str] = &["name", "type", "app", "proc"];

/// The kinds: which keys each must have, and which it may have.
pub const KINDS: &[Kind] = &[
    (
        "syslog",
        &[],
        &[
            "address",
            "transport",
            "max_message",
            "connections",
            "idle_timeout",
            "cert_file",
            "key_file",
            "ca_file",
            "zone",
        ],
    ),
    ("file", &["paths"], &["format"]),
];

impl InputConfig {
    /// What is wrong, and with which key.
    pub(super) fn check(&self, keys: &[String]) -> Result<(), Wrong> {
        named("name", &self.name)?;
        checks::kind("an input", &self.kind, keys, KINDS, COMMON)?;
        self.app.iter().try_for_each(|app| named("app", app))?;
        self.proc.iter().try_for_each(|proc| named("proc", proc))?;
        if self.proc.is_some() && self.app.is_none() {
            return Err(at("proc", "needs app: whose proc it is"));
        }
        if let Some(address) = &self.address {
            address.parse::<SocketAddr>().map_err(|_| {
                at(
                    "address",
                    format_args!(
                        "expected an address and port such as \"127.0.0.1:514\", found {address:?}"
                    ),
                )
            })?;
        }
        one_of(
            "transport",
            self.transport.as_ref(),
            &["tcp", "udp", "tls", "tcp+udp"],
        )?;
        let formats = LineFormat::ALL.map(LineFormat::as_str);
        one_of("format", self.format.as_ref(), &formats)?;
        let tls = self.transport.as_deref() == Some("tls");
        for (key, file) in [("cert_file", &self.cert_file), ("key_file", &self.key_file)] {
            if tls && file.is_none() {
                return Err(at(key, "transport = \"tls\" needs it"));
            }
        }
        for (key, file) in [
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
            ("ca_file", &self.ca_file),
        ] {
            if !tls && file.is_some() {
                return Err(at(key, "goes with transport = \"tls\" only"));
            }
        }
        let bytes = size_of("max_message", self.max_message.as_ref())?;
        if bytes.is_some_and(|bytes| !(480..=1 << 20).contains(&bytes)) {
            return Err(at("max_message", "must be from 480B to 1MiB"));
        }
        duration_of("idle_timeout", self.idle_timeout.as_ref())?;
        if self.connections == Some(0) {
            return Err(at("connections", "must be at least 1"));
        }
        if let Some(zone) = &self.zone {
            zone.parse::<chrono_tz::Tz>().map_err(|_| {
                at(
                    "zone",
                    format_args!("{zone:?} is no zone; one is \"Europe/Berlin\""),
                )
            })?;
        }
        if self.kind == "file" && self.paths.is_empty() {
            return Err(at("paths", "at least one is needed"));
        }
        if let Some(path) = self.paths.iter().find(|path| !path.is_absolute()) {
            return Err(at(
                "paths",
                format_args!("{} is not absolute", path.display()),
            ));
        }
        Ok(())
    }

    /// The longest message in bytes, where it is said.
    pub fn max_message(&self) -> Option<usize> {
        let text = self.max_message.as_ref()?;
        super::SinkConfig::size(Some(text)).and_then(|n| usize::try_from(n).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), Wrong> {
        let table: toml::Table = text.parse().unwrap();
        let keys: Vec<String> = table.keys().cloned().collect();
        let input: InputConfig = table.try_into().unwrap();
        input.check(&keys)
    }

    #[test]
    fn right_inputs_pass_and_wrong_ones_name_their_key() {
        for right in [
            "name = 'a'\ntype = 'syslog'",
            "name = 'a'\ntype = 'syslog'\naddress = '0.0.0.0:5514'",
            "name = 'a'\ntype = 'syslog'\naddress = '[::1]:514'\ntransport = 'udp'\nmax_message = '8KiB'\nzone = 'Europe/Berlin'",
            "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:6514'\ntransport = 'tls'\ncert_file = '/c'\nkey_file = '/k'\nca_file = '/a'",
            "name = 'a'\ntype = 'file'\npaths = ['/var/log/nginx/access.log']\nformat = 'nginx'\napp = 'edge'\nproc = 'nginx'",
        ] {
            assert_eq!(checked(right), Ok(()), "{right}");
        }
        for (wrong, key) in [
            (
                "name = 'a/b'\ntype = 'syslog'\naddress = '127.0.0.1:1'",
                "name",
            ),
            ("name = 'a'\ntype = 'gelf'", "type"),
            ("name = 'a'\ntype = 'file'", "paths"),
            (
                "name = 'a'\ntype = 'syslog'\naddress = 'localhost'",
                "address",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\npaths = ['/x']",
                "paths",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\ntransport = 'quic'",
                "transport",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\ntransport = 'tls'\ncert_file = '/c'",
                "key_file",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\ncert_file = '/c'",
                "cert_file",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\nmax_message = '1B'",
                "max_message",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\nzone = 'Mars'",
                "zone",
            ),
            (
                "name = 'a'\ntype = 'syslog'\naddress = '127.0.0.1:1'\nproc = 'p'",
                "proc",
            ),
            ("name = 'a'\ntype = 'file'\npaths = []", "paths"),
            ("name = 'a'\ntype = 'file'\npaths = ['x.log']", "paths"),
            (
                "name = 'a'\ntype = 'file'\npaths = ['/x']\nformat = 'xml'",
                "format",
            ),
        ] {
            assert_eq!(checked(wrong).unwrap_err().0, key, "{wrong}");
        }
    }
}
