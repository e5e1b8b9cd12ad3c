//! A control host that is not the leader: it waits for its turn, and hands the API's callers on to the leader.
//!
//! Handing on happens to connections, not to requests: streams and WebSockets go through like everything
//! else. Between hosts the bytes go through the link's TLS, with the certificate of a control host.

use crate::link::frame::split;
use crate::link::identity::Identity;
use crate::link::message::{ToAgent, ToControl};
use crate::link::{frame, tls};
use crate::ports::lease::{Election, Leader};
use futures_util::StreamExt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long the leader may take to answer.
const CONNECT: Duration = Duration::from_secs(3);

/// The handing on; ends when it is dropped.
pub struct Standby {
    accepting: JoinHandle<()>,
    observing: JoinHandle<()>,
    socket: std::net::TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.accepting.abort();
        self.observing.abort();
    }
}

impl Standby {
    /// Ends the handing on, and gives the socket to whoever serves there from now on. It listens all the while:
    /// callers wait in its queue, and none is refused between a standby's last and a leader's first answer.
    pub async fn end(mut self) -> io::Result<std::net::TcpListener> {
        self.accepting.abort();
        // Cut off, as it was told: there is no other outcome.
        drop((&mut self.accepting).await);
        self.socket.try_clone()
    }
}

/// What a standby hands on with.
#[derive(Clone)]
pub struct Credentials {
    /// The authority's certificate, PEM.
    pub authority: String,
    /// A control host's own.
    pub control: Identity,
    /// Where the API is served by TLS: how a caller is refused by it. Whoever is handed on speaks TLS with the
    /// leader itself.
    pub api: Option<TlsAcceptor>,
}

/// Begins to hand on what arrives at `listen`.
///
/// # Errors
/// What the system said.
pub async fn start(
    listen: SocketAddr,
    election: Arc<dyn Election>,
    credentials: Credentials,
) -> io::Result<Standby> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let listener = listener.into_std()?;
    let socket = listener.try_clone()?;
    let listener = TcpListener::from_std(listener)?;
    let (leader, known) = watch::channel(None::<Leader>);
    let observing = actix_rt::spawn(async move {
        let mut changes = election.observe();
        while let Some(now) = changes.next().await {
            leader.send_replace(now);
        }
    });
    let accepting = actix_rt::spawn(async move {
        loop {
            let Ok((caller, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let leader = known.borrow().clone();
            let credentials = credentials.clone();
            actix_rt::spawn(async move {
                if let Err(error) = hand_on(caller, leader, &credentials).await {
                    tracing::debug!(%error, "a caller could not be handed on to the leader");
                }
            });
        }
    });
    Ok(Standby {
        accepting,
        observing,
        socket,
        address,
    })
}

async fn hand_on(
    mut caller: TcpStream,
    leader: Option<Leader>,
    credentials: &Credentials,
) -> io::Result<()> {
    let connected = match &leader {
        Some(leader) => tokio::time::timeout(CONNECT, connect(leader, credentials)).await,
        None => Ok(Err(io::Error::other("no control host leads at the moment"))),
    };
    let mut leader = match connected {
        Ok(Ok(leader)) => leader,
        Ok(Err(error)) => return refuse(caller, credentials, &error.to_string()).await,
        Err(_) => return refuse(caller, credentials, "the leader does not answer").await,
    };
    tokio::io::copy_bidirectional(&mut caller, &mut leader)
        .await
        .map(drop)
}

/// A connection to the leader's API through its link.
async fn connect(leader: &Leader, credentials: &Credentials) -> io::Result<frame::Whole> {
    let stream = TcpStream::connect(&leader.url).await?;
    stream.set_nodelay(true)?;
    let connector = tls::connector(&credentials.authority, &credentials.control);
    let connector = connector.map_err(io::Error::other)?;
    let stream = connector.connect(tls::control_name(), stream).await?;
    let (mut receiver, mut sender) = split::<ToAgent, ToControl>(stream);
    sender.send(&ToControl::HandOn).await?;
    match receiver.next().await? {
        Some(ToAgent::HandedOn) => Ok(frame::whole(receiver, sender)),
        _ => Err(io::Error::other(
            "the leader does not take callers of others",
        )),
    }
}

/// Refuses as the API itself would, by TLS where that is how it is served.
async fn refuse(caller: TcpStream, credentials: &Credentials, why: &str) -> io::Result<()> {
    match &credentials.api {
        Some(tls) => unavailable(&mut tls.accept(caller).await?, why).await,
        None => unavailable(&mut { caller }, why).await,
    }
}

/// 503 with a problem (RFC 9457).
async fn unavailable(caller: &mut (impl AsyncWrite + Unpin), why: &str) -> io::Result<()> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "code": "unavailable",
        "detail": format!("this control host is a standby, and {why}; repeat in a moment"),
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    caller.write_all(head.as_bytes()).await?;
    caller.write_all(body.as_bytes()).await?;
    caller.shutdown().await
}
