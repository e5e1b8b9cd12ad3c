//! rsyslog and other syslog receivers, over TCP, TLS or UDP.
//!
//! TCP knows no acknowledgement: what lay in the receiver's buffers when it died is gone. So a batch counts as
//! arrived only when its connection has stayed up for a second after it; when the connection ends, what was
//! sent within that second is sent again. Only RELP (`relp`) is free of loss; UDP is lossy by nature.

use super::rfc5424::{Format, Formatter};
use super::tls::{self, TlsOptions};
use crate::domain::log::LogEvent;
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use futures_util::FutureExt;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::client::TlsStream;

/// How long a batch must have been on the way before its connection vouches for it.
const SETTLES: Duration = Duration::from_secs(1);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The size of a datagram that passes everywhere.
pub const DATAGRAM: usize = 1180;

/// How messages travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each.
    Udp,
    /// Over TCP.
    Tcp,
    /// Over TLS (RFC 5425): octet counting only.
    Tls(TlsOptions),
}

/// How messages are told apart on a connection (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Each with its length before it: line feeds within a message survive.
    OctetCounting,
    /// Each ends with a line feed; those within it become `#012`, as at rsyslog.
    Newline,
}

/// A receiver.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host:port`.
    pub address: String,
    /// How messages travel.
    pub transport: Transport,
    /// How they are told apart.
    pub framing: Framing,
    /// What they look like.
    pub format: Format,
}

enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Udp(UdpSocket),
}

/// The sink.
pub struct Syslog {
    options: Options,
    formatter: Formatter,
    connection: Option<Connection>,
    buffer: Vec<u8>,
    message: Vec<u8>,
}

impl Syslog {
    /// Not connected yet.
    pub fn new(mut options: Options) -> Self {
        if options.transport == Transport::Udp {
            options.format.max_bytes = options.format.max_bytes.min(DATAGRAM);
        }
        Self {
            formatter: Formatter::new(options.format.clone()),
            options,
            connection: None,
            buffer: Vec::new(),
            message: Vec::new(),
        }
    }

    fn host(&self) -> &str {
        self.options
            .address
            .rsplit_once(':')
            .map_or(&self.options.address, |(host, _)| host)
    }

    async fn connected(&mut self) -> Result<&mut Connection, SinkError> {
        if self.connection.as_mut().is_some_and(|c| !c.alive()) {
            // What went over it may be lost: a new connection must not vouch for it.
            self.connection = None;
            return Err(SinkError::retry(format!(
                "syslog receiver {}: the connection ended",
                self.options.address
            )));
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn connect(&self) -> Result<Connection, SinkError> {
        let address = &self.options.address;
        let failed =
            |e: std::io::Error| SinkError::retry(format!("syslog receiver {address}: {e}"));
        if self.options.transport == Transport::Udp {
            let socket = UdpSocket::bind("[::]:0").await;
            let socket = match socket {
                Ok(socket) => socket,
                Err(_) => UdpSocket::bind("0.0.0.0:0").await.map_err(failed)?,
            };
            socket.connect(address).await.map_err(failed)?;
            return Ok(Connection::Udp(socket));
        }
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connecting
            .map_err(|_| {
                SinkError::retry(format!(
                    "syslog receiver {address}: no answer within {}s",
                    CONNECT.as_secs()
                ))
            })?
            .map_err(failed)?;
        // Batches are large: waiting to fill packets gains nothing.
        stream.set_nodelay(true).map_err(failed)?;
        match &self.options.transport {
            Transport::Tls(options) => {
                let config = tls::config(options)?;
                let stream = tls::connect(&config, options, self.host(), stream).await?;
                Ok(Connection::Tls(Box::new(stream)))
            }
            Transport::Tcp | Transport::Udp => Ok(Connection::Plain(stream)),
        }
    }

    fn frame(&mut self, event: &LogEvent) {
        self.message.clear();
        self.formatter.write(event, &mut self.message);
        match self.options.framing {
            Framing::OctetCounting => {
                crate::logging::event::json::number(self.message.len() as u64, &mut self.buffer);
                self.buffer.push(b' ');
                self.buffer.extend_from_slice(&self.message);
            }
            Framing::Newline => {
                for byte in &self.message {
                    match byte {
                        b'\n' => self.buffer.extend_from_slice(b"#012"),
                        b'\0' => self.buffer.extend_from_slice(b"#000"),
                        byte => self.buffer.push(*byte),
                    }
                }
                self.buffer.push(b'\n');
            }
        }
    }

    async fn datagrams(&mut self, events: &[LogEvent]) -> Result<u64, SinkError> {
        let address = self.options.address.clone();
        let mut bytes = 0;
        for event in events {
            self.message.clear();
            self.formatter.write(event, &mut self.message);
            let message = std::mem::take(&mut self.message);
            let sent = match self.connected().await? {
                Connection::Udp(socket) => socket.send(&message).await,
                Connection::Plain(_) | Connection::Tls(_) => Ok(0),
            };
            bytes += message.len() as u64;
            self.message = message;
            if let Err(error) = sent {
                self.connection = None;
                return Err(SinkError::retry(format!(
                    "syslog receiver {address}: {error}"
                )));
            }
        }
        Ok(bytes)
    }
}

impl Connection {
    /// Whether the other end is there, as far as the kernel knows. A syslog receiver never sends anything over
    /// TCP; over TLS it may, and that stays unread until the next write.
    fn alive(&mut self) -> bool {
        let stream = match self {
            Connection::Plain(stream) => &*stream,
            Connection::Tls(stream) => stream.get_ref().0,
            Connection::Udp(_) => return true,
        };
        let mut byte = [0];
        !matches!(stream.peek(&mut byte).now_or_never(), Some(Ok(0) | Err(_)))
    }
}

#[async_trait]
impl Sink for Syslog {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        if self.options.transport == Transport::Udp {
            let bytes = self.datagrams(events).await?;
            return Ok(Delivery {
                bytes,
                ..Delivery::default()
            });
        }
        self.buffer.clear();
        for event in events {
            self.frame(event);
        }
        let buffer = std::mem::take(&mut self.buffer);
        let address = self.options.address.clone();
        let written = match self.connected().await? {
            Connection::Plain(stream) => stream.write_all(&buffer).await,
            Connection::Tls(stream) => match stream.write_all(&buffer).await {
                Ok(()) => stream.flush().await,
                Err(error) => Err(error),
            },
            Connection::Udp(_) => Ok(()),
        };
        let bytes = buffer.len() as u64;
        self.buffer = buffer;
        if let Err(error) = written {
            self.connection = None;
            return Err(SinkError::retry(format!(
                "syslog receiver {address}: {error}"
            )));
        }
        Ok(Delivery {
            bytes,
            ..Delivery::default()
        })
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        self.connected().await.map(drop)
    }

    fn settles_after(&self) -> Duration {
        match self.options.transport {
            Transport::Udp => Duration::ZERO,
            Transport::Tcp | Transport::Tls(_) => SETTLES,
        }
    }

    fn still_there(&mut self) -> bool {
        let alive = self.connection.as_mut().is_some_and(Connection::alive);
        if !alive {
            self.connection = None;
        }
        alive
    }
}

impl SinkFactory for Options {
    fn kind(&self) -> &'static str {
        "syslog"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        if let Transport::Tls(options) = &self.transport {
            tls::config(options)?;
        }
        Ok(Box::new(Syslog::new(self.clone())))
    }
}
