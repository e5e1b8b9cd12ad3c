//! Certificates and keys in PEM files that the configuration names, for what listens and for what connects. Errors
//! are sentences: which file is wrong, and why.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// That the file of this key of the configuration cannot be used.
pub fn wrong(key: &str, path: &Path, error: impl std::fmt::Display) -> String {
    format!("TLS: {key} {} cannot be used: {error}", path.display())
}

/// Its certificates, in their order.
///
/// # Errors
/// [`wrong`].
pub fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|e| wrong(key, path, e))
}

/// Its certificates as authorities to trust.
///
/// # Errors
/// [`wrong`].
pub fn roots(key: &str, path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        roots.add(certificate).map_err(|e| wrong(key, path, e))?;
    }
    Ok(roots)
}

/// Its private key.
///
/// # Errors
/// [`wrong`].
pub fn key(key: &str, path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| wrong(key, path, e))
}
