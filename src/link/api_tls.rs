//! TLS of the API: what the control host serves it with, and how a client trusts it.
//!
//! Two ways to trust. A client that knows the installation's authority asks for the control host by its fixed
//! name, whatever address leads to it. Any other client trusts the authorities of its own system, which needs a
//! certificate of the operator's own.

use crate::link::identity::{CONTROL_NAME, Identity, certificate_of, key_of};
use crate::link::tls::{TlsError, provider, roots, setup};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::sync::Arc;
use tokio_rustls::{TlsConnector, rustls};

/// Chooses by the name that the client asks for.
struct Resolver {
    own: Arc<CertifiedKey>,
    given: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let ours = hello.server_name() == Some(CONTROL_NAME);
        match &self.given {
            Some(given) if !ours => Some(Arc::clone(given)),
            _ => Some(Arc::clone(&self.own)),
        }
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &str) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key_of(key)?, &provider()).map_err(setup)
}

/// The server's end: `own` is signed by `authority`, which goes along so that a client can compare its
/// fingerprint; `given` is the operator's own certificate chain with its key, both PEM.
///
/// # Errors
/// [`TlsError`], also where a certificate does not fit its key.
pub fn server(
    authority: &str,
    own: &Identity,
    given: Option<&Identity>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = vec![
        certificate_of(&own.certificate)?,
        certificate_of(authority)?,
    ];
    let own = Arc::new(certified(chain, &own.key)?);
    let given = given.map(|given| {
        let chain = CertificateDer::pem_slice_iter(given.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(setup)?;
        certified(chain, &given.key).map(Arc::new)
    });
    let resolver = Resolver {
        own,
        given: given.transpose()?,
    };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    Ok(Arc::new(config))
}

/// A client's end that trusts one authority.
///
/// # Errors
/// [`TlsError`].
pub fn trusting(authority: &str) -> Result<TlsConnector, TlsError> {
    client(roots(authority)?)
}

/// A client's end that trusts the authorities of this system.
///
/// # Errors
/// [`TlsError`], also where the system has none.
pub fn trusting_the_system() -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(setup(
            "this system has no certificates of authorities; install ca-certificates",
        ));
    }
    client(Arc::new(roots))
}

fn client(roots: Arc<RootCertStore>) -> Result<TlsConnector, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::identity;
    use crate::link::tls::control_name;
    use chrono::Utc;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    /// Whether a client that asks for `name` accepts what the server shows.
    async fn accepted(
        tls: &Arc<ServerConfig>,
        connector: &TlsConnector,
        name: ServerName<'static>,
    ) -> bool {
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(Arc::clone(tls));
        let serve = async {
            if let Ok(mut stream) = acceptor.accept(far).await {
                let _ = stream.write_all(b"x").await;
                let _ = stream.shutdown().await;
            }
        };
        let call = async {
            let Ok(mut stream) = connector.connect(name, near).await else {
                return false;
            };
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).await.is_ok()
        };
        tokio::join!(serve, call).1
    }

    #[tokio::test]
    async fn a_client_accepts_its_own_installation_and_no_other() {
        let now = Utc::now();
        let authority = identity::authority("a", now).expect("made");
        let other = identity::authority("b", now).expect("made");
        let names = vec!["lain.example.com".to_owned(), "10.0.0.5".to_owned()];
        let own = identity::api(&authority, &names, now).expect("made");
        let tls = server(&authority.certificate, &own, None).expect("made");
        let ours = trusting(&authority.certificate).expect("made");
        let theirs = trusting(&other.certificate).expect("made");
        let name = |text: &str| ServerName::try_from(text.to_owned()).expect("a name");
        assert!(accepted(&tls, &ours, control_name()).await);
        assert!(accepted(&tls, &ours, name("lain.example.com")).await);
        assert!(accepted(&tls, &ours, name("10.0.0.5")).await);
        assert!(!accepted(&tls, &ours, name("example.com")).await);
        assert!(!accepted(&tls, &theirs, control_name()).await);
    }

    #[tokio::test]
    async fn an_operators_certificate_is_shown_to_all_but_the_command_line() {
        let now = Utc::now();
        let authority = identity::authority("a", now).expect("made");
        let public = identity::authority("public", now).expect("made");
        let own = identity::api(&authority, &[], now).expect("made");
        let given = identity::api(&public, &["paas.example.com".to_owned()], now).expect("made");
        let tls = server(&authority.certificate, &own, Some(&given)).expect("made");
        let ours = trusting(&authority.certificate).expect("made");
        let theirs = trusting(&public.certificate).expect("made");
        let public_name = ServerName::try_from("paas.example.com").expect("a name");
        assert!(accepted(&tls, &ours, control_name()).await);
        assert!(accepted(&tls, &theirs, public_name).await);
        assert!(!accepted(&tls, &theirs, control_name()).await);
    }

    #[tokio::test]
    async fn a_node_cannot_stand_in_for_the_control_host() {
        let now = Utc::now();
        let authority = identity::authority("a", now).expect("made");
        let (key, csr) = identity::request("control").expect("made");
        let certificate = identity::sign(&authority, "control", &csr, now).expect("signed");
        let node = Identity { certificate, key };
        let tls = server(&authority.certificate, &node, None).expect("made");
        let ours = trusting(&authority.certificate).expect("made");
        let name = ServerName::try_from("control.node.lain.internal").expect("a name");
        assert!(!accepted(&tls, &ours, name).await);
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_and_no_key_is_shown() {
        let now = Utc::now();
        let authority = identity::authority("a", now).expect("made");
        let own = identity::api(&authority, &[], now).expect("made");
        let other = identity::api(&authority, &[], now).expect("made");
        let mixed = Identity {
            certificate: own.certificate.clone(),
            key: other.key,
        };
        assert!(server(&authority.certificate, &own, Some(&mixed)).is_err());
        let tls = server(&authority.certificate, &own, None).expect("made");
        assert!(!format!("{tls:?}").contains("PRIVATE"));
    }
}
