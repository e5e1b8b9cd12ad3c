//! TLS of the link: both ends show a certificate of the installation's authority.
//!
//! A node that has none yet may connect to join; it knows the authority by its fingerprint, which came with
//! the token. TLS 1.3 only.

use crate::link::identity::{
    CONTROL_NAME, Identity, IdentityError, certificate_of, fingerprint, key_of,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::{TlsAcceptor, TlsConnector, rustls};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The library refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

pub(super) fn setup(error: impl ToString) -> TlsError {
    TlsError::Setup(error.to_string())
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(super) fn roots(authority: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate_of(authority)?).map_err(setup)?;
    Ok(Arc::new(roots))
}

/// The control host's end. Whoever shows a certificate must have it from `authority`; whoever shows none may
/// only join.
///
/// # Errors
/// [`TlsError`].
pub fn acceptor(authority: &str, control: &Identity) -> Result<TlsAcceptor, TlsError> {
    let clients = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(setup)?;
    // The authority's certificate goes along, so that a node that joins can compare its fingerprint.
    let chain = vec![
        certificate_of(&control.certificate)?,
        certificate_of(authority)?,
    ];
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key_of(&control.key)?)
        .map_err(setup)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A node's end, once it has joined.
///
/// # Errors
/// [`TlsError`].
pub fn connector(authority: &str, node: &Identity) -> Result<TlsConnector, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(vec![certificate_of(&node.certificate)?], key_of(&node.key)?)
        .map_err(setup)?;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A node's end while it joins: any authority with this fingerprint. Gives the authority's certificate once
/// the connection stands.
///
/// # Errors
/// [`TlsError`].
pub fn joining(authority_fingerprint: &str) -> Result<(TlsConnector, Arc<Pinned>), TlsError> {
    let pinned = Arc::new(Pinned {
        fingerprint: authority_fingerprint.to_ascii_lowercase(),
        provider: provider(),
        seen: Mutex::new(None),
    });
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&pinned) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), pinned))
}

/// The name that the control host's certificate has.
pub fn control_name() -> ServerName<'static> {
    // The constant is a DNS name.
    ServerName::try_from(CONTROL_NAME).unwrap_or(ServerName::IpAddress(
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST).into(),
    ))
}

/// Trusts the authority whose certificate has a known fingerprint, and what it signed.
#[derive(Debug)]
pub struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<CertificateDer<'static>>>,
}

impl Pinned {
    /// The fingerprint of what the server took for its authority, for the error message.
    pub fn authority(&self) -> Option<CertificateDer<'static>> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|c| fingerprint(c) == self.fingerprint)
            .ok_or_else(|| {
                Error::General(
                    "the control host's authority has another fingerprint than was given: is it the right host?"
                        .to_owned(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|e| Error::General(e.to_string()))?;
        let verified =
            verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(authority.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
