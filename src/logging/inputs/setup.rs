//! `[[logging.input]]` → inputs. Called by `logging::setup`, and by nobody else.

use super::InputSpec;
use super::files::Files;
use super::gate::Label;
use super::syslog_server::{Syslog, Transport};
use super::tls;
use crate::config::{InputConfig, SinkConfig};
use crate::domain::log::{HOST_FILE, LineFormat, LogSource};
use crate::logging::pipe::Pipeline;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where syslog is taken in, unless told otherwise: by this host alone.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5514);
/// The longest message, unless told otherwise; Vector's.
const MAX_MESSAGE: usize = 100 << 10;
/// Connections at once, unless told otherwise.
const CONNECTIONS: usize = 256;

/// The input of a configuration. `None` for a kind that the configuration does not let through.
pub fn spec(config: &InputConfig, pipeline: &Pipeline) -> Option<InputSpec> {
    let label = |source_type| Label {
        source_type,
        app: config.app.clone(),
        proc: config.proc.clone(),
    };
    Some(match config.kind.as_str() {
        "syslog" => {
            let syslog = syslog(config)?;
            let transport = config.transport.as_deref().unwrap_or("tcp");
            InputSpec {
                name: config.name.clone(),
                kind: "syslog",
                at: format!("{transport} {}", syslog.address),
                label: label("syslog"),
                input: Arc::new(syslog),
            }
        }
        "file" => {
            let form = config.format.as_deref().and_then(LineFormat::from_word);
            let paths = config.paths.iter().map(|path| path.display().to_string());
            let source = Arc::new(LogSource {
                app: config.app.clone().unwrap_or_default(),
                proc: config.proc.clone().unwrap_or_default(),
                ..LogSource::default()
            });
            InputSpec {
                name: config.name.clone(),
                kind: "file",
                at: paths.collect::<Vec<_>>().join(", "),
                label: label(HOST_FILE),
                input: Arc::new(Files {
                    paths: config.paths.clone(),
                    form: form.unwrap_or_default(),
                    multiline: pipeline.multiline_of(&source),
                }),
            }
        }
        _ => return None,
    })
}

fn syslog(config: &InputConfig) -> Option<Syslog> {
    let count = config.connections.and_then(|n| usize::try_from(n).ok());
    Some(Syslog {
        address: match &config.address {
            None => ADDRESS,
            Some(address) => address.parse().ok()?,
        },
        transport: match config.transport.as_deref() {
            Some("udp") => Transport::Udp,
            Some("tls") => Transport::Tls,
            Some("tcp+udp") => Transport::TcpAndUdp,
            _ => Transport::Tcp,
        },
        max_message: config.max_message().unwrap_or(MAX_MESSAGE),
        connections: count.unwrap_or(CONNECTIONS),
        idle: SinkConfig::duration(config.idle_timeout.as_ref()),
        zone: config.zone.as_ref().and_then(|zone| zone.parse().ok()),
        tls: tls::Files {
            cert_file: config.cert_file.clone().unwrap_or_default(),
            key_file: config.key_file.clone().unwrap_or_default(),
            ca_file: config.ca_file.clone(),
        },
    })
}
