//! How the command line trusts a server.
//!
//! Where the installation's authority is known, the server is asked for by the control host's fixed name, whatever
//! address leads to it, and no other authority counts. Elsewhere the system's authorities do, and the name in the URL.

use crate::cli::connection::Connection;
use crate::cli::error::{CliError, Exit, Result};
use crate::link::identity::CONTROL_NAME;
use crate::link::{api_tls, identity, tls};
use reqwest::{Certificate, Client, ClientBuilder, Url};
use rustls::pki_types::ServerName;
use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long a connection and its handshake may take.
const WITHIN: Duration = Duration::from_secs(5);

/// A connection, with TLS or without.
pub type Connected = Box<dyn Stream>;

/// Both directions of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Host and port of a server's address.
fn place(server: &str) -> Option<(String, u16)> {
    let url = Url::parse(server).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_or_known_default()?))
}

/// What requests are sent to, and the HTTP client that trusts it.
///
/// # Errors
/// Where the address leads nowhere, or the authority's certificate is none.
pub fn prepare(connection: &Connection) -> Result<(String, ClientBuilder)> {
    let server = &connection.server;
    let Some(pem) = &connection.authority else {
        return Ok((server.clone(), Client::builder()));
    };
    let wrong = |why: String| CliError::new(Exit::Invalid, format!("{server}: {why}"));
    let certificate = Certificate::from_pem(pem.as_bytes()).map_err(|e| wrong(e.to_string()))?;
    let place = place(server).ok_or_else(|| wrong("it has no host".to_owned()))?;
    let addresses = place.to_socket_addrs().map_err(|error| {
        CliError::new(
            Exit::Unreachable,
            format!("{server} cannot be found: {error}"),
        )
    })?;
    let addresses: Vec<_> = addresses.collect();
    let mut url = Url::parse(server).map_err(|e| wrong(e.to_string()))?;
    url.set_host(Some(CONTROL_NAME))
        .map_err(|e| wrong(e.to_string()))?;
    let base = url.as_str().trim_end_matches('/').to_owned();
    let builder = Client::builder()
        .tls_certs_only([certificate])
        // A proxy would look the fixed name up.
        .no_proxy()
        .resolve_to_addrs(CONTROL_NAME, &addresses);
    Ok((base, builder))
}

/// A connection to the server for a WebSocket.
///
/// # Errors
/// What the system or TLS said.
pub async fn connect(connection: &Connection) -> io::Result<Connected> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "it has no host");
    let (host, port) = place(&connection.server).ok_or_else(invalid)?;
    let within = tokio::time::timeout(WITHIN, TcpStream::connect((host.as_str(), port)));
    let stream = within.await??;
    stream.set_nodelay(true)?;
    if !connection.server.starts_with("https:") {
        return Ok(Box::new(stream));
    }
    let (connector, name) = match &connection.authority {
        Some(pem) => (api_tls::trusting(pem), tls::control_name()),
        None => (
            api_tls::trusting_the_system(),
            ServerName::try_from(host).map_err(io::Error::other)?,
        ),
    };
    let connector = connector.map_err(io::Error::other)?;
    let secured = tokio::time::timeout(WITHIN, connector.connect(name, stream));
    Ok(Box::new(secured.await??))
}

/// The certificate (PEM) of the authority with this fingerprint, from the server whose certificate it signed.
///
/// # Errors
/// Where the server does not answer by TLS, or its authority is another one.
pub async fn authority(server: &str, fingerprint: &str) -> Result<String> {
    let failed = |why: String| {
        CliError::new(
            Exit::Unreachable,
            format!("{server} cannot be trusted: {why}"),
        )
        .hint("`lain server` prints its address and the authority's fingerprint at its start")
    };
    if !server.starts_with("https:") {
        return Err(CliError::usage(format!(
            "--ca is for servers that are called by https, and {server} is not"
        )));
    }
    let (host, port) = place(server).ok_or_else(|| failed("it has no host".to_owned()))?;
    let (connector, pinned) = tls::joining(fingerprint).map_err(|e| failed(e.to_string()))?;
    let shake = async {
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        connector.connect(tls::control_name(), stream).await
    };
    let shaken = tokio::time::timeout(WITHIN, shake).await;
    shaken
        .map_err(|_| failed(format!("no answer within {}s", WITHIN.as_secs())))?
        .map_err(|e| failed(e.to_string()))?;
    let seen = pinned.authority();
    let seen = seen.ok_or_else(|| failed("it showed no authority".to_owned()))?;
    Ok(identity::pem_of(&seen))
}
