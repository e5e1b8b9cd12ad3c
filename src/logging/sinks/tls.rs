//! TLS for the sinks that bring their own connections, through rustls with ring.

use crate::logging::pem;
use crate::ports::sink::SinkError;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom to trust and who to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of authorities; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with our certificate and its chain, where the receiver asks for one.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with its key.
    pub key_file: Option<PathBuf>,
    /// The name on the receiver's certificate; `None`: the host that is connected to.
    pub server_name: Option<String>,
}

fn refused(reason: String) -> SinkError {
    SinkError::Refused { reason }
}

fn unusable(what: &str, error: impl std::fmt::Display) -> SinkError {
    refused(format!("TLS: {what} cannot be used: {error}"))
}

/// The configuration that the options ask for.
///
/// # Errors
/// [`SinkError::Refused`]: which file is wrong, and why.
pub fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>, SinkError> {
    let roots = match &options.ca_file {
        Some(path) => pem::roots("ca_file", path).map_err(refused)?,
        None => {
            let mut roots = RootCertStore::empty();
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("the protocol", e))?
        .with_root_certificates(roots);
    let config = match (&options.cert_file, &options.key_file) {
        (Some(cert), Some(key)) => {
            let chain = pem::certificates("cert_file", cert).map_err(refused)?;
            let own = pem::key("key_file", key).map_err(refused)?;
            let with = builder.with_client_auth_cert(chain, own);
            with.map_err(|e| refused(pem::wrong("cert_file", cert, e)))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Shakes hands over a connection to `host`.
///
/// # Errors
/// [`SinkError::Retry`]: what went wrong; a certificate may be replaced without our doing.
pub async fn connect(
    config: &Arc<ClientConfig>,
    options: &TlsOptions,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, SinkError> {
    let name = options.server_name.as_deref().unwrap_or(host);
    let server =
        ServerName::try_from(name.to_owned()).map_err(|e| unusable("the receiver's name", e))?;
    let shaken = TlsConnector::from(Arc::clone(config))
        .connect(server, stream)
        .await;
    shaken.map_err(|e| SinkError::retry(format!("TLS with {name}: {e}")))
}
