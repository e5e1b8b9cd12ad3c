//! TLS for inputs that listen, through rustls with ring.

use crate::logging::pem;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Who we are, and who may come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// A PEM file with our certificate and its chain.
    pub cert_file: PathBuf,
    /// A PEM file with its key.
    pub key_file: PathBuf,
    /// A PEM file of authorities: only clients with a certificate of one of these may come. `None`: all may.
    pub ca_file: Option<PathBuf>,
}

/// What accepts connections.
///
/// # Errors
/// A sentence: which file is wrong, and why.
pub fn acceptor(files: &Files) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?;
    let builder = match &files.ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(pem::roots("ca_file", path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| pem::wrong("ca_file", path, e))?)
        }
    };
    let chain = pem::certificates("cert_file", &files.cert_file)?;
    let key = pem::key("key_file", &files.key_file)?;
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|e| pem::wrong("cert_file", &files.cert_file, e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
