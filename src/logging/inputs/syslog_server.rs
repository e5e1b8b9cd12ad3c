//! Takes syslog in over UDP, TCP and TLS.
//!
//! Connections hand what they read to one writer through a short queue. While the spool is full the writer
//! waits, the queue fills, and connections stop reading: their senders wait, too. UDP has nobody to wait: what
//! comes then is lost, and counted. Everything here ends with the future of [`Syslog::run`].

use super::framing::Framer;
use super::gate::{Gate, Taken};
use super::{Input, syslog, tls};
use crate::domain::log::Stamp;
use crate::logging::spool::SpoolError;
use async_trait::async_trait;
use chrono_tz::Tz;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// Bytes that are read of a connection at a time.
const READ: usize = 64 << 10;
/// Reads that wait for the writer, of all connections together.
const QUEUE: usize = 16;
/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// The receive buffer that is asked of the system for UDP.
const UDP_BUFFER: usize = 4 << 20;
/// The pause while the spool is full, or its disk fails.
const FULL: Duration = Duration::from_millis(200);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The pause after a failed `accept`: usually there are no file descriptors left.
const ACCEPT: Duration = Duration::from_millis(100);

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One message a datagram.
    Udp,
    /// A stream of them (RFC 6587).
    Tcp,
    /// Both, at one port.
    TcpAndUdp,
    /// A stream over TLS (RFC 5425).
    Tls,
}

/// A syslog input.
#[derive(Debug, Clone)]
pub struct Syslog {
    /// Where it listens.
    pub address: SocketAddr,
    /// How messages come.
    pub transport: Transport,
    /// The longest message in bytes; what is beyond is cut.
    pub max_message: usize,
    /// Connections that may be open at once.
    pub connections: usize,
    /// A connection that is silent for so long is closed; `None`: never.
    pub idle: Option<Duration>,
    /// The zone of times that name none; `None`: this host's.
    pub zone: Option<Tz>,
    /// Certificate, key and authorities of clients.
    pub tls: tls::Files,
}

/// The instant of a message: its own, unless a broken clock, or somebody who means ill, names one that is far off.
/// Anyone may send, and each day that is named costs an index a partition of its own.
fn plausible(told: Option<Stamp>, arrival: Stamp) -> Stamp {
    const DAY: i64 = 86_400_000_000_000;
    let near = arrival.0.saturating_sub(30 * DAY)..=arrival.0.saturating_add(DAY);
    told.filter(|at| near.contains(&at.0)).unwrap_or(arrival)
}

/// Messages of one read, with who sent them.
struct Received {
    from: IpAddr,
    at: Stamp,
    messages: Vec<(Vec<u8>, bool)>,
}

type Connection<'a> = LocalBoxFuture<'a, ()>;

#[async_trait(?Send)]
impl Input for Syslog {
    async fn run(&self, gate: &Gate) -> Result<(), String> {
        let failed = |what: &str, error: io::Error| {
            format!(
                "syslog cannot {what} {}: {error}; choose another address",
                self.address
            )
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let streams = match self.transport {
            Transport::Udp => None,
            _ => Some(
                TcpListener::bind(self.address)
                    .await
                    .map_err(|e| failed("listen at", e))?,
            ),
        };
        let datagrams = match self.transport {
            Transport::Udp | Transport::TcpAndUdp => Some(
                UdpSocket::bind(self.address)
                    .await
                    .map_err(|e| failed("receive at", e))?,
            ),
            _ => None,
        };
        let acceptor = match self.transport {
            Transport::Tls => Some(tls::acceptor(&self.tls)?),
            _ => None,
        };
        gate.cell.change(|view| {
            "running".clone_into(&mut view.state);
            view.connections = 0;
        });
        let accepting = async {
            match &streams {
                Some(listener) => {
                    self.accept(gate, listener, acceptor.as_ref(), &sender)
                        .await
                }
                None => std::future::pending().await,
            }
        };
        let receiving = async {
            match &datagrams {
                Some(socket) => self.receive(gate, socket, &sender).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = accepting => {}
            error = receiving => return Err(failed("receive at", error)),
            () = self.write(gate, receiver) => {}
        }
        Err("syslog ended without a reason".to_owned())
    }
}

impl Syslog {
    async fn accept(
        &self,
        gate: &Gate,
        listener: &TcpListener,
        acceptor: Option<&TlsAcceptor>,
        sender: &mpsc::Sender<Received>,
    ) {
        let mut open: FuturesUnordered<Connection<'_>> = FuturesUnordered::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(()) = open.next() => {
                    gate.cell.change(|view| view.connections = view.connections.saturating_sub(1));
                    continue;
                }
            };
            match accepted {
                // Closed at once: the sender sees it, and tries again.
                Ok((_, from)) if open.len() >= self.connections => {
                    gate.cell.change(|view| view.refused += 1);
                    let most = self.connections;
                    let reason = format!("{from} was refused: {most} connections are open");
                    gate.failed(&reason);
                }
                Ok((stream, from)) => {
                    gate.cell.change(|view| view.connections += 1);
                    open.push(Box::pin(
                        self.connection(gate, stream, from, acceptor, sender),
                    ));
                }
                Err(error) => {
                    gate.failed(&format!("a connection failed: {error}"));
                    tokio::time::sleep(ACCEPT).await;
                }
            }
        }
    }

    async fn connection(
        &self,
        gate: &Gate,
        stream: TcpStream,
        from: SocketAddr,
        acceptor: Option<&TlsAcceptor>,
        sender: &mpsc::Sender<Received>,
    ) {
        // So that a peer that vanished does not hold its place for ever.
        if let Err(error) = rustix::net::sockopt::set_socket_keepalive(&stream, true) {
            tracing::debug!(%from, %error, "no keep-alive for a syslog connection");
        }
        let ended = match acceptor {
            None => self.read(gate, stream, from, sender).await,
            Some(acceptor) => {
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.read(gate, stream, from, sender).await,
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(io::Error::other("the TLS handshake took too long")),
                }
            }
        };
        if let Err(error) = ended {
            gate.failed(&format!("connection of {from}: {error}"));
        }
    }

    async fn read(
        &self,
        gate: &Gate,
        mut stream: impl AsyncRead + Unpin,
        from: SocketAddr,
        sender: &mpsc::Sender<Received>,
    ) -> io::Result<()> {
        let mut framer = Framer::new(self.max_message);
        let mut buffer = vec![0; READ];
        loop {
            let read = stream.read(&mut buffer);
            let count = match self.idle {
                None => read.await,
                Some(idle) => match tokio::time::timeout(idle, read).await {
                    Ok(read) => read,
                    Err(_) => Err(io::Error::other("it was silent for too long")),
                },
            };
            let mut messages = Vec::new();
            let mut visit = |message: &[u8], cut: bool| messages.push((message.to_vec(), cut));
            match &count {
                Ok(count) if *count > 0 => framer.push(&buffer[..*count], &mut visit),
                // Also after a failure: what came before it is here.
                _ => framer.finish(&mut visit),
            }
            if !messages.is_empty() {
                let received = Received {
                    from: from.ip(),
                    at: gate.clock.now_utc().into(),
                    messages,
                };
                if sender.send(received).await.is_err() {
                    return Ok(());
                }
            }
            match count {
                Ok(0) => return Ok(()),
                Ok(count) => gate.cell.change(|view| view.bytes += count as u64),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes datagrams; returns when the socket fails.
    async fn receive(
        &self,
        gate: &Gate,
        socket: &UdpSocket,
        sender: &mpsc::Sender<Received>,
    ) -> io::Error {
        if let Err(error) = rustix::net::sockopt::set_socket_recv_buffer_size(socket, UDP_BUFFER) {
            tracing::debug!(%error, "syslog receives with the usual buffer");
        }
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (count, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // An answer to something that was sent from here before, to a port where nobody listens.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return error,
            };
            gate.cell.change(|view| view.bytes += count as u64);
            let whole = buffer[..count].trim_ascii_end();
            let kept = &whole[..whole.len().min(self.max_message)];
            if kept.is_empty() {
                continue;
            }
            let received = Received {
                from: from.ip(),
                at: gate.clock.now_utc().into(),
                messages: vec![(kept.to_vec(), kept.len() < whole.len())],
            };
            if let Err(error) = sender.try_send(received) {
                match error {
                    mpsc::error::TrySendError::Closed(_) => {
                        return io::Error::other("its writer has ended");
                    }
                    // A burst: the writer gets its turn. Where the spool is full, it does not help.
                    mpsc::error::TrySendError::Full(received) => {
                        let waited = tokio::time::timeout(FULL, sender.send(received)).await;
                        if waited.is_err() {
                            gate.cell.change(|view| view.dropped += 1);
                        }
                    }
                }
            }
        }
    }

    /// Puts what was received into the spool, as much at a time as there is.
    async fn write(&self, gate: &Gate, mut receiver: mpsc::Receiver<Received>) {
        let (mut ready, mut events) = (Vec::new(), Vec::new());
        while receiver.recv_many(&mut ready, QUEUE).await > 0 {
            for received in ready.drain(..) {
                events.extend(self.events(gate, received));
            }
            while let Err(error) = gate.put(&mut events) {
                gate.failed(&error.to_string());
                gate.cell.state(match error {
                    SpoolError::Full { .. } => "waiting",
                    SpoolError::Io { .. } => "failed",
                });
                tokio::time::sleep(FULL).await;
            }
            gate.cell.state("running");
            // Reading gets its turn, too: all of this is one task.
            tokio::task::yield_now().await;
        }
    }

    fn events(&self, gate: &Gate, received: Received) -> Vec<Taken> {
        let from = received.from.to_canonical().to_string();
        let (mut malformed, mut truncated) = (0, 0);
        let now = received.at.into();
        let messages = received.messages.into_iter();
        let events = messages
            .map(|(message, cut)| {
                let parsed = syslog::parse(&message, now, self.zone);
                let mut object = parsed.object;
                malformed += u64::from(parsed.malformed);
                truncated += u64::from(cut);
                let host = object.get("hostname").cloned();
                object.insert(
                    "host".to_owned(),
                    host.unwrap_or_else(|| from.clone().into()),
                );
                object.insert("source_ip".to_owned(), from.clone().into());
                if cut {
                    object.insert("truncated".to_owned(), true.into());
                }
                let at = plausible(parsed.at, received.at);
                if let (Some(told), true) = (parsed.at, parsed.at != Some(at)) {
                    object.insert("reported_at".to_owned(), told.to_string().into());
                }
                Taken { at, object }
            })
            .collect();
        if malformed + truncated > 0 {
            gate.cell.change(|view| {
                view.malformed += malformed;
                view.truncated += truncated;
            });
        }
        events
    }
}
