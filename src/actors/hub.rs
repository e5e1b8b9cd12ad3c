//! The event hub: everything that happens, numbered, kept for a while, and streamed.
//!
//! Any actor emits into it without waiting; the API reads from it. Soft state: a restart of lain begins
//! a new ring, with numbers that go on above the old ones because they start from the clock.

use crate::domain::id::InstanceId;
use crate::domain::view::EventView;
use crate::ports::clock::Clock;
use crate::ports::control::EventStream;
use futures_util::{StreamExt, stream};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Events kept for those who resume.
const KEPT: usize = 8192;
/// Events that a slow listener may lag behind before its stream ends.
const LAG: usize = 2048;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A change of state.
    Info,
    /// May need someone.
    Warn,
    /// Someone must act.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Builds one event.
#[derive(Debug, Clone)]
pub struct Event(EventView);

impl Event {
    /// An event of a stable kind with a sentence that reads alone.
    pub fn new(kind: &str, level: Level, message: impl Into<String>) -> Self {
        Self(EventView {
            seq: 0,
            at: chrono::DateTime::UNIX_EPOCH,
            kind: kind.to_owned(),
            level: level.as_str().to_owned(),
            app: None,
            proc: None,
            instance: None,
            node: None,
            path: None,
            operation: None,
            crash: None,
            message: message.into(),
        })
    }

    /// Concerns this instance.
    pub fn instance(mut self, id: &InstanceId) -> Self {
        self.0.app = Some(id.app.to_string());
        self.0.proc = Some(id.full_name());
        self.0.instance = Some(id.no);
        self
    }

    /// Concerns this app.
    pub fn app(mut self, app: impl ToString) -> Self {
        self.0.app = Some(app.to_string());
        self
    }

    /// Concerns this proc, by its full name.
    pub fn proc(mut self, full_name: impl ToString) -> Self {
        self.0.proc = Some(full_name.to_string());
        self
    }

    /// Concerns this node.
    pub fn node(mut self, node: impl ToString) -> Self {
        self.0.node = Some(node.to_string());
        self
    }

    /// Concerns the actor at this path.
    pub fn path(mut self, path: impl ToString) -> Self {
        self.0.path = Some(path.to_string());
        self
    }

    /// Belongs to this operation.
    pub fn operation(mut self, id: impl ToString) -> Self {
        self.0.operation = Some(id.to_string());
        self
    }

    /// Belongs to this crash report.
    pub fn crash(mut self, id: impl ToString) -> Self {
        self.0.crash = Some(id.to_string());
        self
    }
}

/// The hub; cheap to clone.
#[derive(Clone)]
pub struct EventHub {
    ring: Arc<Mutex<Ring>>,
    sender: broadcast::Sender<Kept>,
    clock: Arc<dyn Clock>,
}

struct Ring {
    next: u64,
    events: VecDeque<Kept>,
}

/// An event, and whether it happened in this process.
#[derive(Clone)]
struct Kept {
    event: EventView,
    own: bool,
}

impl EventHub {
    /// An empty hub.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // Microseconds since 1970: above whatever the last process reached.
        let next = u64::try_from(clock.now_utc().timestamp_micros()).unwrap_or(1);
        let (sender, _) = broadcast::channel(LAG);
        Self {
            ring: Arc::new(Mutex::new(Ring {
                next,
                events: VecDeque::new(),
            })),
            sender,
            clock,
        }
    }

    /// Numbers, keeps and sends an event, and writes it to lain's own log.
    pub fn emit(&self, event: Event) {
        let Event(mut event) = event;
        event.at = self.clock.now_utc();
        self.keep(event, true);
    }

    /// Takes in an event of another host: numbered here, dated there.
    pub fn pass_on(&self, event: EventView) {
        self.keep(event, false);
    }

    fn keep(&self, mut event: EventView, own: bool) {
        log(&event);
        // The send happens under the lock, so that listeners see events in the order of their numbers.
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        event.seq = ring.next;
        ring.next += 1;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        let kept = Kept { event, own };
        ring.events.push_back(kept.clone());
        // No listener is no error.
        let _ = self.sender.send(kept);
    }

    /// The last events, oldest first.
    pub fn recent(&self, limit: usize) -> Vec<EventView> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.events
            .iter()
            .skip(ring.events.len().saturating_sub(limit))
            .map(|kept| kept.event.clone())
            .collect()
    }

    /// Events after `after`, or only new ones. A listener that lags too far behind is cut off.
    pub fn subscribe(&self, after: Option<u64>) -> EventStream {
        self.listen(after, |_| true)
    }

    /// As [`EventHub::subscribe`], without those of other hosts: these are in their own hosts' logs.
    pub fn subscribe_own(&self, after: Option<u64>) -> EventStream {
        self.listen(after, |kept| kept.own)
    }

    fn listen(&self, after: Option<u64>, wanted: fn(&Kept) -> bool) -> EventStream {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let missed: Vec<Kept> = match after {
            None => Vec::new(),
            Some(seq) => {
                let oldest = ring.events.front().map_or(ring.next, |k| k.event.seq);
                if seq + 1 < oldest || seq >= ring.next {
                    return EventStream::TooOld;
                }
                ring.events
                    .iter()
                    .filter(|k| k.event.seq > seq)
                    .cloned()
                    .collect()
            }
        };
        let live = BroadcastStream::new(receiver)
            .take_while(|e| std::future::ready(e.is_ok()))
            .filter_map(|e| async { e.ok() });
        let events = stream::iter(missed).chain(live);
        let events = events
            .filter(move |kept| std::future::ready(wanted(kept)))
            .map(|kept| kept.event);
        EventStream::Events(events.boxed())
    }
}

fn log(event: &EventView) {
    let EventView { kind, message, .. } = event;
    let (app, proc, node) = (
        event.app.as_deref(),
        event.proc.as_deref(),
        event.node.as_deref(),
    );
    let instance = event.instance;
    match event.level.as_str() {
        "error" => tracing::error!(kind, app, proc, instance, node, "{message}"),
        "warn" => tracing::warn!(kind, app, proc, instance, node, "{message}"),
        _ if kind.starts_with("actor_") => tracing::debug!(kind, "{message}"),
        _ => tracing::info!(kind, app, proc, instance, node, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::SystemClock;

    #[tokio::test]
    async fn what_other_hosts_report_is_not_among_the_own() {
        let hub = EventHub::new(Arc::new(SystemClock::new()));
        let tell = |kind: &str| hub.emit(Event::new(kind, Level::Info, kind));
        tell("one");
        let start = hub.recent(1)[0].seq - 1;
        let Event(foreign) = Event::new("foreign", Level::Warn, "from an agent");
        hub.pass_on(foreign);
        let kinds = async |stream: EventStream, count: usize| -> Vec<String> {
            let EventStream::Events(events) = stream else {
                panic!("they are all kept");
            };
            events.take(count).map(|event| event.kind).collect().await
        };
        let (all, own) = (hub.subscribe(Some(start)), hub.subscribe_own(Some(start)));
        tell("two");
        assert_eq!(kinds(all, 3).await, ["one", "foreign", "two"]);
        assert_eq!(kinds(own, 2).await, ["one", "two"]);
    }
}
