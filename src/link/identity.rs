//! Who is who on the link: the installation's own certificate authority, and what it signs.
//!
//! Keys are elliptic (P-256). A key never leaves the host that made it: a node sends a signing request.
//! Pure but for the random numbers of key generation: the caller says what time it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Datelike, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use tokio_rustls::rustls;

/// How long a node's certificate is valid. It is renewed when a third of that is left.
pub const NODE_DAYS: u64 = 90;
/// How long the control host's certificate is valid; it is made anew at each start.
const CONTROL_DAYS: u64 = 730;
/// How long the authority is valid.
const AUTHORITY_DAYS: u64 = 3650;
/// The name in the control host's certificate, wherever it runs.
pub const CONTROL_NAME: &str = "control.lain.internal";

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Making or signing failed.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It is no PEM of the kind that is expected.
    #[error("{what} cannot be read: {reason}")]
    Read {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// A certificate with its private key, both PEM. Shown without the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// `sha256:` and the hash of a certificate, in hexadecimal.
pub fn fingerprint(certificate: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(certificate)))
}

/// The first certificate of a PEM text.
///
/// # Errors
/// [`IdentityError::Read`].
pub fn certificate_of(pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| IdentityError::Read {
        what: "a certificate",
        reason: e.to_string(),
    })
}

/// A certificate as PEM (RFC 7468).
pub fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let encoded = BASE64.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII.
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// The private key of a PEM text.
///
/// # Errors
/// [`IdentityError::Read`]; never a part of the key.
pub fn key_of(pem: &str) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| IdentityError::Read {
        what: "a private key",
        reason: "it is not a PEM private key".to_owned(),
    })
}

/// Valid from yesterday (clocks differ) for so many days.
fn valid(params: &mut CertificateParams, now: DateTime<Utc>, days: u64) {
    let date = |at: DateTime<Utc>| {
        let (month, day) = (at.month(), at.day());
        // Months and days of a date fit.
        rcgen::date_time_ymd(
            at.year(),
            u8::try_from(month).unwrap_or(1),
            u8::try_from(day).unwrap_or(1),
        )
    };
    params.not_before = date(now - Days::new(1));
    params.not_after = date(now + Days::new(days + 1));
}

/// A new authority.
///
/// # Errors
/// [`IdentityError::Make`].
pub fn authority(name: &str, now: DateTime<Utc>) -> Result<Identity, IdentityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("lain {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, AUTHORITY_DAYS);
    Ok(Identity {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

fn issuer(authority: &Identity) -> Result<Issuer<'static, KeyPair>, IdentityError> {
    let key = KeyPair::from_pem(&authority.key)?;
    Ok(Issuer::from_ca_cert_pem(&authority.certificate, key)?)
}

/// The control host's own certificate.
///
/// # Errors
/// [`IdentityError`].
pub fn control(authority: &Identity, now: DateTime<Utc>) -> Result<Identity, IdentityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![CONTROL_NAME.to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, CONTROL_NAME);
    // As a client, too: a standby hands callers on to the leader.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    valid(&mut params, now, CONTROL_DAYS);
    let certificate = params.signed_by(&key, &issuer(authority)?)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// The API's certificate: for the name that the command line asks for, and for the names and addresses by
/// which other clients call it.
///
/// # Errors
/// [`IdentityError`], also where a name is none.
pub fn api(
    authority: &Identity,
    names: &[String],
    now: DateTime<Utc>,
) -> Result<Identity, IdentityError> {
    let key = KeyPair::generate()?;
    let mut all = vec![CONTROL_NAME.to_owned()];
    all.extend(names.iter().cloned());
    let mut params = CertificateParams::new(all)?;
    params
        .distinguished_name
        .push(DnType::CommonName, CONTROL_NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut params, now, CONTROL_DAYS);
    let certificate = params.signed_by(&key, &issuer(authority)?)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A node's new key, and the request to sign it; both PEM.
///
/// # Errors
/// [`IdentityError::Make`].
pub fn request(node: &str) -> Result<(String, String), IdentityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![format!("{node}.node.lain.internal")])?;
    params.distinguished_name.push(DnType::CommonName, node);
    let csr = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), csr))
}

/// Signs a node's request. What the request says of itself is not taken over, but for its key.
///
/// # Errors
/// [`IdentityError`].
pub fn sign(
    authority: &Identity,
    node: &str,
    csr: &str,
    now: DateTime<Utc>,
) -> Result<String, IdentityError> {
    let mut request = CertificateSigningRequestParams::from_pem(csr)?;
    let mut params = CertificateParams::new(vec![format!("{node}.node.lain.internal")])?;
    params.distinguished_name.push(DnType::CommonName, node);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    valid(&mut params, now, NODE_DAYS);
    request.params = params;
    Ok(request.signed_by(&issuer(authority)?)?.pem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_and_the_key_stays() {
        let now = Utc::now();
        let ca = authority("test", now).expect("made");
        let (key, csr) = request("n1").expect("made");
        let certificate = sign(&ca, "n1", &csr, now).expect("signed");
        let read = certificate_of(&certificate).expect("a certificate");
        assert_eq!(certificate_of(&pem_of(&read)).expect("the same"), read);
        assert!(key_of(&key).is_ok());
        assert!(!csr.contains("PRIVATE"));
    }

    #[test]
    fn keys_are_not_shown() {
        let ca = authority("test", Utc::now()).expect("made");
        assert!(!format!("{ca:?}").contains("PRIVATE"));
    }
}
