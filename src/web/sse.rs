//! Server-sent events: frames with ids, heartbeats, a bounded buffer, and an end for slow readers.
//!
//! A stream is pumped by a task of its own into a small buffer. A reader that takes nothing for
//! `stream_stall` is cut off rather than buffered for; it resumes with `Last-Event-ID`.

use super::error::{Kind, Problem};
use super::limits::Slot;
use super::state::{Api, RequestId, Who};
use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, rt};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use utoipa::ToSchema;

/// Frames that wait for a slow reader.
const BUFFER: usize = 64;
/// How long a client waits before it resumes, in milliseconds.
const RETRY_MS: u32 = 1000;

/// One event of a `text/event-stream`, as the description shows it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "events are written as text; this is their schema")]
pub struct StreamEvent {
    /// Where to resume after it, for `Last-Event-ID`.
    #[schema(nullable = false)]
    id: Option<String>,
    /// `message` for an object of the API; `synced` or `error`.
    event: String,
    /// JSON on one line: the object, or with `error` a problem.
    data: String,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where to resume after it.
    pub id: Option<String>,
    /// Its name; `None`: `message`.
    pub event: Option<&'static str>,
    /// One line.
    pub data: String,
}

impl Frame {
    /// An object of the API.
    pub fn object(id: Option<String>, value: &impl Serialize) -> Self {
        // Views are plain structs with text keys; those always serialise.
        let data = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        Self {
            id,
            event: None,
            data,
        }
    }

    /// All that was there when the client came has been sent.
    pub fn synced(id: Option<String>) -> Self {
        Self {
            id,
            event: Some("synced"),
            data: "{}".to_owned(),
        }
    }

    /// Something failed; the stream ends after it.
    pub fn problem(problem: &Problem, request: &HttpRequest) -> Self {
        let view = problem.view(request.path(), &RequestId::of(request));
        Self {
            event: Some("error"),
            ..Self::object(None, &view)
        }
    }

    fn render(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 48);
        for (field, value) in [("id", self.id.as_deref()), ("event", self.event)] {
            if let Some(value) = value {
                text.push_str(field);
                text.push_str(": ");
                text.push_str(value);
                text.push('\n');
            }
        }
        text.push_str("data: ");
        text.push_str(&self.data);
        text.push_str("\n\n");
        Bytes::from(text)
    }
}

/// What `Last-Event-ID` says, for streams whose ids are numbers.
///
/// # Errors
/// 400 where it is no number.
pub fn last_event_id(request: &HttpRequest) -> Result<Option<String>, Problem> {
    static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
    let Some(value) = request.headers().get(&LAST_EVENT_ID) else {
        return Ok(None);
    };
    let text = value.to_str().ok().map(str::trim);
    match text {
        Some("") => Ok(None),
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Problem::new(
            Kind::BadParameter,
            "Last-Event-ID is not ASCII",
        )),
    }
}

/// Answers with a stream of events.
///
/// # Errors
/// 429 when too many streams are open.
pub fn respond(
    api: &Api,
    who: &Who,
    frames: impl Stream<Item = Frame> + 'static,
) -> Result<HttpResponse, Problem> {
    let slot = api.stream_slot(who)?;
    let (sender, receiver) = mpsc::channel(BUFFER);
    let pump = Pump {
        sender,
        heartbeat: api.limits.heartbeat,
        stall: api.limits.stream_stall,
        ends: Instant::now() + api.limits.stream_life,
        stopping: api.stopping.clone(),
    };
    rt::spawn(pump.run(frames));
    let body = Body {
        receiver,
        _slot: slot,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(body))
}

struct Pump {
    sender: mpsc::Sender<Bytes>,
    heartbeat: Duration,
    stall: Duration,
    ends: Instant,
    stopping: watch::Receiver<bool>,
}

impl Pump {
    /// Until the frames end, the reader is gone or too slow, its time is up, or the server stops.
    async fn run(mut self, frames: impl Stream<Item = Frame>) {
        let mut frames = pin!(frames);
        let mut beat = tokio::time::interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hello = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
        if !self.send(hello).await {
            return;
        }
        loop {
            let chunk = tokio::select! {
                frame = frames.next() => match frame {
                    Some(frame) => frame.render(),
                    None => return,
                },
                _ = beat.tick() => Bytes::from_static(b": heartbeat\n\n"),
                () = self.sender.closed() => return,
                () = tokio::time::sleep_until(self.ends) => return,
                () = stopped(&mut self.stopping) => return,
            };
            if !self.send(chunk).await {
                return;
            }
        }
    }

    /// Whether the reader took it, or has room for it.
    async fn send(&self, chunk: Bytes) -> bool {
        let sent = self.sender.send_timeout(chunk, self.stall).await;
        if let Err(mpsc::error::SendTimeoutError::Timeout(_)) = sent {
            tracing::debug!(
                seconds = self.stall.as_secs(),
                "a stream's reader is too slow and was cut off"
            );
        }
        sent.is_ok()
    }
}

/// Resolves when the server is to stop.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        // The server is gone without a word; so is this connection, soon.
        std::future::pending::<()>().await;
    }
}

/// The body of the answer: holds the slot until the connection lets go of it.
struct Body {
    receiver: mpsc::Receiver<Bytes>,
    _slot: Slot,
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.receiver.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_as_the_standard_says() {
        let rows = [
            (
                Frame::object(Some("7".to_owned()), &serde_json::json!({"a": "x\ny"})),
                "id: 7\ndata: {\"a\":\"x\\ny\"}\n\n",
            ),
            (Frame::synced(None), "event: synced\ndata: {}\n\n"),
        ];
        for (frame, wanted) in rows {
            assert_eq!(frame.render(), wanted);
        }
    }

    fn pump(sender: mpsc::Sender<Bytes>, stopping: watch::Receiver<bool>) -> Pump {
        Pump {
            sender,
            heartbeat: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            ends: Instant::now() + Duration::from_secs(3600),
            stopping,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_cut_off() {
        let (sender, _unread) = mpsc::channel(BUFFER);
        let (_stop, stopping) = watch::channel(false);
        let endless = futures_util::stream::repeat(Frame::synced(None));
        let began = Instant::now();
        pump(sender, stopping).run(endless).await;
        assert_eq!(began.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_streams_beat_and_end_in_time() {
        let (sender, mut receiver) = mpsc::channel(1000);
        let (_stop, stopping) = watch::channel(false);
        pump(sender, stopping)
            .run(futures_util::stream::pending())
            .await;
        let mut beats = 0;
        while let Some(chunk) = receiver.recv().await {
            beats += usize::from(chunk == ": heartbeat\n\n");
        }
        assert!((238..=240).contains(&beats), "{beats} in an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_end_when_the_server_stops_or_the_reader_goes() {
        let (sender, receiver) = mpsc::channel(1000);
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(
            pump(sender.clone(), stopping.clone()).run(futures_util::stream::pending()),
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(true);
        running.await.unwrap();
        drop(receiver);
        let (_stop, stopping) = watch::channel(false);
        pump(sender, stopping)
            .run(futures_util::stream::pending())
            .await;
    }
}
