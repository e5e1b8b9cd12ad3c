//! TLS for inputs that listen, through rustls with ring.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
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

fn wrong(key: &str, path: &Path, error: impl std::fmt::Display) -> String {
    format!("TLS: {key} {} cannot be used: {error}", path.display())
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|e| wrong(key, path, e))
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
            let mut roots = RootCertStore::empty();
            for certificate in certificates("ca_file", path)? {
                roots
                    .add(certificate)
                    .map_err(|e| wrong("ca_file", path, e))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| wrong("ca_file", path, e))?)
        }
    };
    let chain = certificates("cert_file", &files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|e| wrong("key_file", &files.key_file, e))?;
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|e| wrong("cert_file", &files.cert_file, e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
