//! Frames: a length of four bytes, then that many bytes of JSON.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::marker::PhantomData;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// The largest frame in bytes: all containers of a large node.
pub const LARGEST: usize = 64 << 20;

/// A connection, whatever carries it.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(LARGEST)
        .new_codec()
}

/// The receiving half.
pub struct Receiver<In> {
    frames: FramedRead<ReadHalf<Box<dyn Wire>>, LengthDelimitedCodec>,
    what: PhantomData<fn() -> In>,
}

/// The sending half.
pub struct Sender<Out> {
    frames: FramedWrite<WriteHalf<Box<dyn Wire>>, LengthDelimitedCodec>,
    what: PhantomData<fn(Out)>,
}

/// Splits a connection into its halves.
pub fn split<In, Out>(wire: impl Wire) -> (Receiver<In>, Sender<Out>) {
    let boxed: Box<dyn Wire> = Box::new(wire);
    let (read, write) = tokio::io::split(boxed);
    (
        Receiver {
            frames: FramedRead::new(read, codec()),
            what: PhantomData,
        },
        Sender {
            frames: FramedWrite::new(write, codec()),
            what: PhantomData,
        },
    )
}

/// A connection without frames again.
pub type Whole = Box<dyn Wire>;

/// Puts a connection together again, once both ends have agreed that no frame follows.
pub fn whole<In, Out>(receiver: Receiver<In>, sender: Sender<Out>) -> Whole {
    receiver
        .frames
        .into_inner()
        .unsplit(sender.frames.into_inner())
}

impl<In: DeserializeOwned> Receiver<In> {
    /// The next message; `None` when the other end has closed.
    ///
    /// # Errors
    /// What the connection said, or that a frame was no message.
    pub async fn next(&mut self) -> io::Result<Option<In>> {
        match self.frames.next().await {
            None => Ok(None),
            Some(frame) => serde_json::from_slice(&frame?)
                .map(Some)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e)),
        }
    }
}

impl<Out: Serialize> Sender<Out> {
    /// Sends a message; returns once it is handed to the connection.
    ///
    /// # Errors
    /// What the connection said.
    pub async fn send(&mut self, message: &Out) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        self.frames.send(Bytes::from(json)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::message::ToControl;

    #[actix_rt::test]
    async fn messages_arrive_in_order_and_the_end_is_seen() {
        let (a, b) = tokio::io::duplex(64);
        let (_, mut send) = split::<ToControl, ToControl>(a);
        let (mut receive, _keep) = split::<ToControl, ToControl>(b);
        let sent = async {
            for seq in 0..100 {
                send.send(&ToControl::Beat { seq }).await.expect("sent");
            }
        };
        let seen = async {
            for wanted in 0..100 {
                let next = receive.next().await.expect("read");
                assert!(matches!(next, Some(ToControl::Beat { seq }) if seq == wanted));
            }
        };
        futures_util::future::join(sent, seen).await;
    }

    #[actix_rt::test]
    async fn a_frame_that_is_no_message_is_an_error() {
        let (mut a, b) = tokio::io::duplex(64);
        let (mut receive, _keep) = split::<ToControl, ToControl>(b);
        tokio::io::AsyncWriteExt::write_all(&mut a, b"\0\0\0\x03{x}")
            .await
            .expect("written");
        assert!(receive.next().await.is_err());
    }
}
