//! rsyslog's RELP: syslog with numbered transactions that the receiver acknowledges one by one.
//!
//! Written after the protocol's specification (rsyslog's `librelp`, "RELP - The Reliable Event Logging
//! Protocol"): a frame is `TXNR SP COMMAND SP DATALEN [SP DATA] LF`. The only way over which rsyslog loses
//! nothing; after a reconnect it may get what it had acknowledged with its last breath once more.

use super::rfc5424::{Format, Formatter};
use super::tls::{self, TlsOptions};
use crate::domain::log::LogEvent;
use crate::logging::event::json;
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Transactions on the way at a time; `librelp`'s own window.
const WINDOW: usize = 128;
/// The largest number of a transaction; the next one is 1.
const LAST: u32 = 999_999_999;
/// How long a connection, and the receiver's greeting, may take.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer is a number, a word and a short text.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A receiver.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host:port`.
    pub address: String,
    /// TLS, where the receiver has it.
    pub tls: Option<TlsOptions>,
    /// What messages look like.
    pub format: Format,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for T {}

/// The sink.
pub struct Relp {
    options: Options,
    formatter: Formatter,
    session: Option<Session>,
    message: Vec<u8>,
}

struct Session {
    stream: Box<dyn Duplex>,
    next: u32,
    received: Vec<u8>,
}

/// An answer of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which transaction; 0 for a hint.
    pub number: u32,
    /// `rsp`, or `serverclose`.
    pub command: String,
    /// `200 OK`, or what is wrong.
    pub text: String,
}

/// Reads the answer at the beginning of `bytes`, and how long it is; `None` while it is not all there. Pure.
///
/// # Errors
/// What is wrong with it.
pub fn answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let wrong = || {
        format!(
            "not RELP: {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
        )
    };
    let mut words = Vec::new();
    let mut at = 0;
    while words.len() < 3 {
        let Some(length) = bytes[at..].iter().position(|b| matches!(b, b' ' | b'\n')) else {
            return if bytes.len() - at > 32 {
                Err(wrong())
            } else {
                Ok(None)
            };
        };
        words.push(std::str::from_utf8(&bytes[at..at + length]).map_err(|_| wrong())?);
        at += length;
        if words.len() < 3 {
            if bytes[at] == b'\n' {
                return Err(wrong());
            }
            at += 1;
        }
    }
    let number = words[0].parse().map_err(|_| wrong())?;
    let length: usize = words[2].parse().map_err(|_| wrong())?;
    if length > LONGEST_ANSWER {
        return Err(wrong());
    }
    let (from, to) = match length {
        0 => (at, at),
        n => (at + 1, at + 1 + n),
    };
    match bytes.get(to) {
        None => Ok(None),
        Some(b'\n') => {
            let text = String::from_utf8_lossy(&bytes[from..to]).into_owned();
            let answer = Answer {
                number,
                command: words[1].to_owned(),
                text,
            };
            Ok(Some((answer, to + 1)))
        }
        Some(_) => Err(wrong()),
    }
}

fn frame(number: u32, command: &str, data: &[u8], out: &mut Vec<u8>) {
    json::number(u64::from(number), out);
    out.push(b' ');
    out.extend_from_slice(command.as_bytes());
    out.push(b' ');
    json::number(data.len() as u64, out);
    if !data.is_empty() {
        out.push(b' ');
        out.extend_from_slice(data);
    }
    out.push(b'\n');
}

impl Session {
    async fn answer(&mut self) -> Result<Answer, String> {
        loop {
            if let Some((answer, length)) = answer(&self.received)? {
                self.received.drain(..length);
                if answer.number == 0 {
                    return Err(format!(
                        "the receiver ends the session ({})",
                        answer.command
                    ));
                }
                return Ok(answer);
            }
            let mut buffer = [0; 4096];
            let count = self
                .stream
                .read(&mut buffer)
                .await
                .map_err(|e| e.to_string())?;
            if count == 0 {
                return Err("the receiver closed the connection".to_owned());
            }
            self.received.extend_from_slice(&buffer[..count]);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|e| e.to_string())?;
        self.stream.flush().await.map_err(|e| e.to_string())
    }

    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = if number >= LAST { 1 } else { number + 1 };
        number
    }
}

impl Relp {
    /// Not connected yet.
    pub fn new(options: Options) -> Self {
        Self {
            formatter: Formatter::new(options.format.clone()),
            options,
            session: None,
            message: Vec::new(),
        }
    }

    fn failed(&mut self, reason: impl std::fmt::Display) -> SinkError {
        self.session = None;
        SinkError::retry(format!("RELP receiver {}: {reason}", self.options.address))
    }

    async fn open(&self) -> Result<Session, String> {
        let address = &self.options.address;
        let stream = TcpStream::connect(address)
            .await
            .map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let stream: Box<dyn Duplex> = match &self.options.tls {
            Some(options) => {
                let config = tls::config(options).map_err(|e| e.to_string())?;
                let host = address
                    .rsplit_once(':')
                    .map_or(address.as_str(), |(host, _)| host);
                let shaken = tls::connect(&config, options, host, stream).await;
                Box::new(shaken.map_err(|e| e.to_string())?)
            }
            None => Box::new(stream),
        };
        let mut session = Session {
            stream,
            next: 1,
            received: Vec::new(),
        };
        let mut hello = Vec::new();
        let offers = format!(
            "relp_version=0\nrelp_software=lain,{}\ncommands=syslog",
            env!("CARGO_PKG_VERSION")
        );
        frame(session.number(), "open", offers.as_bytes(), &mut hello);
        session.write(&hello).await?;
        let greeting = session.answer().await?;
        match greeting.text.starts_with("200") {
            true => Ok(session),
            false => Err(format!(
                "the receiver refused the session: {}",
                greeting.text
            )),
        }
    }

    async fn ready(&mut self) -> Result<(), SinkError> {
        if self.session.is_none() {
            let opened = tokio::time::timeout(CONNECT, self.open()).await;
            let opened =
                opened.unwrap_or_else(|_| Err(format!("no answer within {}s", CONNECT.as_secs())));
            match opened {
                Ok(session) => self.session = Some(session),
                Err(reason) => return Err(self.failed(reason)),
            }
        }
        Ok(())
    }

    /// Sends a window's worth and waits for all its answers.
    async fn window(
        &mut self,
        events: &[LogEvent],
        base: usize,
        delivery: &mut Delivery,
    ) -> Result<(), String> {
        let Some(session) = &mut self.session else {
            return Err("not connected".to_owned());
        };
        let mut out = Vec::with_capacity(events.len() * 512);
        let mut waiting: HashMap<u32, usize> = HashMap::new();
        for (n, event) in events.iter().enumerate() {
            self.message.clear();
            self.formatter.write(event, &mut self.message);
            let number = session.number();
            frame(number, "syslog", &self.message, &mut out);
            waiting.insert(number, base + n);
        }
        session.write(&out).await?;
        delivery.bytes += out.len() as u64;
        while !waiting.is_empty() {
            let answer = session.answer().await?;
            let Some(at) = waiting.remove(&answer.number) else {
                continue;
            };
            if !answer.text.starts_with("200") {
                delivery
                    .dead
                    .push((at, format!("RELP receiver: {}", answer.text)));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Relp {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        self.ready().await?;
        let mut delivery = Delivery::default();
        for (n, window) in events.chunks(WINDOW).enumerate() {
            if let Err(reason) = self.window(window, n * WINDOW, &mut delivery).await {
                return Err(self.failed(reason));
            }
        }
        Ok(delivery)
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        self.ready().await
    }
}

impl SinkFactory for Options {
    fn kind(&self) -> &'static str {
        "relp"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        if let Some(options) = &self.tls {
            tls::config(options)?;
        }
        Ok(Box::new(Relp::new(self.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_specification() {
        let mut out = Vec::new();
        frame(7, "syslog", b"<1>x", &mut out);
        frame(8, "close", b"", &mut out);
        assert_eq!(out, b"7 syslog 4 <1>x\n8 close 0\n");
    }

    #[test]
    fn answers_are_read_whole_in_parts_or_refused() {
        let offers = "200 OK\nrelp_version=0\nrelp_software=librelp,1.2.14,http://librelp.adiscon.com\ncommands=syslog";
        let text = format!(
            "1 rsp {} {offers}\n2 rsp 6 200 OK\n0 serverclose 0\n",
            offers.len()
        );
        let text = text.as_bytes();
        let (first, length) = answer(text).unwrap().unwrap();
        assert_eq!((first.number, first.command.as_str()), (1, "rsp"));
        assert!(
            first.text.starts_with("200 OK\nrelp_version=0")
                && first.text.ends_with("commands=syslog"),
            "{}",
            first.text
        );
        for cut in 0..length {
            assert_eq!(answer(&text[..cut]), Ok(None), "{cut}");
        }
        let (second, more) = answer(&text[length..]).unwrap().unwrap();
        assert_eq!((second.number, second.text.as_str()), (2, "200 OK"));
        let (last, _) = answer(&text[length + more..]).unwrap().unwrap();
        assert_eq!((last.number, last.command.as_str()), (0, "serverclose"));
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"x rsp 3 abc\n",
            b"1 rsp 99999999 x",
            b"1 rsp 2 abc\n",
            b"1\n",
        ] {
            assert!(answer(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
