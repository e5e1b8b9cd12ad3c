//! Docker Engine's event stream, reconnecting for ever.
//!
//! Called by [`super::Docker::events`]. Every connection, the first one too, begins with
//! [`EngineEvent::Resynchronise`]: what happened before it is unknown.

use super::Docker;
use crate::domain::id::ContainerId;
use crate::ports::runtime::EngineEvent;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use chrono::Utc;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The first pause between attempts to reach an engine that is away; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Events that wait for a listener; then the engine has to wait.
const WAITING: usize = 64;
/// The longest pause between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

type Messages = BoxStream<'static, Result<EventMessage, Error>>;

struct Subscription {
    docker: Docker,
    filters: HashMap<String, Vec<String>>,
    /// The instant, in ns since 1970 by the engine's clock, after which events are wanted.
    since: i64,
    backoff: Duration,
}

pub(super) fn stream(
    docker: Docker,
    labels: BTreeMap<String, String>,
) -> BoxStream<'static, EngineEvent> {
    let labels = labels
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let actions = ["die", "start", "pause", "unpause", "destroy"];
    let subscription = Subscription {
        docker,
        filters: HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), actions.map(str::to_owned).to_vec()),
            ("label".to_owned(), labels),
        ]),
        since: Utc::now().timestamp_nanos_opt().unwrap_or_default(),
        backoff: MIN_BACKOFF,
    };
    // On a task of its own: a cut is noticed even while the caller is not listening.
    let begun = stream::once(async move {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = subscription.tell(&sender) => {}
            }
        });
        ReceiverStream::new(receiver)
    });
    begun.flatten().boxed()
}

impl Subscription {
    /// Tells for ever, or until nobody listens.
    async fn tell(mut self, listener: &mpsc::Sender<EngineEvent>) {
        loop {
            let mut messages = self.connect().await;
            if listener.send(EngineEvent::Resynchronise).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = messages.next().await {
                self.backoff = MIN_BACKOFF;
                self.since = self.since.max(message.time_nano.unwrap_or_default() + 1);
                if let Some(event) = event(message)
                    && listener.send(event).await.is_err()
                {
                    return;
                }
            }
            self.pause().await;
        }
    }

    /// Subscribes once the engine answers. What happens between its answer and the subscription
    /// comes too, since the subscription begins at `since`.
    async fn connect(&mut self) -> Messages {
        loop {
            if let Ok(client) = self.docker.client().ping().await {
                return self.subscribe(&client).boxed();
            }
            self.pause().await;
        }
    }

    fn subscribe(
        &self,
        client: &bollard::Docker,
    ) -> impl Stream<Item = Result<EventMessage, Error>> + use<> {
        let since = since(self.since);
        let options = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&self.filters)
            .build();
        client.events(Some(options))
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }
}

fn event(message: EventMessage) -> Option<EngineEvent> {
    let id = ContainerId::new(message.actor?.id?).ok()?;
    match message.action? {
        action if action == "die" => Some(EngineEvent::Died { id }),
        action => Some(EngineEvent::Changed { id, action }),
    }
}

/// An instant in ns since 1970, as the engine reads it.
pub(super) fn since(nanoseconds: i64) -> String {
    format!(
        "{}.{:09}",
        nanoseconds / 1_000_000_000,
        nanoseconds % 1_000_000_000
    )
}
