//! Connections to a Docker Engine: one for each request, over a Unix socket or TCP.
//!
//! Called by bollard, and by [`super::exec`] for terminals. A connection's buffers are bounded: a node
//! follows the output of all its containers at once.

use bollard::BollardRequest;
use bollard::errors::Error;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The most that is read of an answer before somebody takes it.
const MAX_BUFFER: usize = 64 * 1024;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl Transport {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`.
    pub(super) fn parse(endpoint: &str) -> Result<Self, Error> {
        let unknown = || Error::UnsupportedURISchemeError {
            uri: endpoint.to_owned(),
        };
        match endpoint.split_once("://").ok_or_else(unknown)? {
            ("unix", path) => Ok(Self::Unix(path.into())),
            ("tcp" | "http", address) => Ok(Self::Tcp(address.trim_end_matches('/').to_owned())),
            _ => Err(unknown()),
        }
    }

    /// Sends a request; the answer when its head has come.
    pub(super) async fn send(self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        match &self {
            Self::Unix(path) => {
                let connection = UnixStream::connect(path)
                    .await
                    .map_err(|e| match e.kind() {
                        io::ErrorKind::NotFound => {
                            Error::SocketNotFoundError(path.display().to_string())
                        }
                        _ => e.into(),
                    })?;
                exchange(connection, request, HeaderValue::from_static("docker")).await
            }
            Self::Tcp(address) => {
                let connection = TcpStream::connect(address).await?;
                let host = HeaderValue::try_from(address.as_str()).map_err(|_| {
                    Error::UnsupportedURISchemeError {
                        uri: address.clone(),
                    }
                })?;
                exchange(connection, request, host).await
            }
        }
    }
}

async fn exchange(
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: BollardRequest,
    host: HeaderValue,
) -> Result<Response<Incoming>, Error> {
    let mut http = http1::Builder::new();
    http.max_buf_size(MAX_BUFFER);
    let (mut sender, connection) = http.handshake(TokioIo::new(connection)).await?;
    // Ends with the answer, or with whatever the connection was upgraded to.
    tokio::spawn(connection.with_upgrades());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
    request.headers_mut().insert(HOST, host);
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_docker_reads_them() {
        let unix = Transport::parse("unix:///run/docker.sock").unwrap();
        assert_eq!(unix, Transport::Unix("/run/docker.sock".into()));
        for text in ["tcp://10.0.0.1:2375", "http://10.0.0.1:2375/"] {
            assert_eq!(
                Transport::parse(text).unwrap(),
                Transport::Tcp("10.0.0.1:2375".into())
            );
        }
        for bad in ["/run/docker.sock", "ssh://host", ""] {
            assert!(Transport::parse(bad).is_err(), "{bad}");
        }
    }
}
