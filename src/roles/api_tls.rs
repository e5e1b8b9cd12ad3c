//! TLS of the API as the configuration says: a certificate of the installation's own authority, made at each
//! start, and the operator's own where there is one.

use crate::actors::control::nodes::join::{self, JoinError};
use crate::config::Config;
use crate::link::identity::{self, Identity};
use crate::link::{api_tls, tls};
use crate::ports::store::Store;
use crate::roles::host;
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The authority's certificate in the data directory, for the command line on the same machine.
const AUTHORITY_FILE: &str = "authority.pem";

/// Why the API cannot be served by TLS.
#[derive(Debug, thiserror::Error)]
pub enum ApiTlsError {
    /// The authority.
    #[error(transparent)]
    Authority(#[from] JoinError),
    /// A file that the configuration names, or our own.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The certificate that the configuration names.
    #[error("server.cert_file and server.key_file cannot be used: {0}")]
    Given(tls::TlsError),
    /// Our own certificate.
    #[error("the API's certificate cannot be made: {0}")]
    Own(#[from] identity::IdentityError),
}

/// What the API is served with.
pub struct Secured {
    /// For the server.
    pub config: Arc<ServerConfig>,
    /// The authority's fingerprint.
    pub fingerprint: String,
    /// Its certificate, for the command line on the same machine.
    pub authority_file: PathBuf,
}

impl Secured {
    /// The command that makes the command line on another machine trust the API at this address.
    pub async fn login(&self, address: SocketAddr) -> String {
        let ip = match address.ip() {
            ip if ip.is_unspecified() => host::source_address("").await.unwrap_or(ip),
            ip => ip,
        };
        let address = SocketAddr::new(ip, address.port());
        let fingerprint = &self.fingerprint;
        format!("lain login https://{address} --ca {fingerprint} --token-file FILE")
    }
}

/// Prepares TLS where the configuration asks for it; the data directory is there.
///
/// # Errors
/// [`ApiTlsError`].
pub async fn secure(
    config: &Config,
    store: &dyn Store,
    now: DateTime<Utc>,
) -> Result<Option<Secured>, ApiTlsError> {
    if !config.api_tls() {
        return Ok(None);
    }
    let authority = join::authority(store, config.cluster.name.as_str(), now).await?;
    let own = identity::api(&authority, &names(config).await, now)?;
    let given = given(config)?;
    let server = api_tls::server(&authority.certificate, &own, given.as_ref());
    // Whoever reads where it is stands in another folder.
    let path = config.server.data_dir.join(AUTHORITY_FILE);
    let path = std::path::absolute(&path).map_err(|reason| file(path.display(), reason))?;
    let written = std::fs::write(&path, &authority.certificate);
    written.map_err(|reason| file(path.display(), reason))?;
    let certificate = identity::certificate_of(&authority.certificate)?;
    Ok(Some(Secured {
        config: server.map_err(ApiTlsError::Given)?,
        fingerprint: identity::fingerprint(&certificate),
        authority_file: path,
    }))
}

fn file(path: impl std::fmt::Display, reason: std::io::Error) -> ApiTlsError {
    let path = path.to_string();
    ApiTlsError::File { path, reason }
}

/// The operator's own certificate.
fn given(config: &Config) -> Result<Option<Identity>, ApiTlsError> {
    let server = &config.server;
    let Some((certificate, key)) = server.cert_file.as_ref().zip(server.key_file.as_ref()) else {
        return Ok(None);
    };
    let read = |path: &String| std::fs::read_to_string(path).map_err(|e| file(path, e));
    Ok(Some(Identity {
        certificate: read(certificate)?,
        key: read(key)?,
    }))
}

/// The names and addresses by which clients that trust the authority may call the API.
async fn names(config: &Config) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    names.extend(config.server.allowed_hosts.iter().cloned());
    let ip = config.server.listen.ip();
    match ip.is_unspecified() {
        true => {
            let found = host::source_address("").await;
            names.extend(found.map(|ip| ip.to_string()));
        }
        false => names.push(ip.to_string()),
    }
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        let name = name.trim().to_ascii_lowercase();
        let usable = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if !name.is_empty() && name.chars().all(usable) {
            names.push(name);
        }
    }
    names.sort();
    names.dedup();
    names
}

/// `https` or `http`.
pub fn scheme(config: &Config) -> &'static str {
    match config.api_tls() {
        true => "https",
        false => "http",
    }
}
