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

/// The first pause between attempts to reach an engine that is away; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

type Messages = BoxStream<'static, Result<EventMessage, Error>>;

struct Subscription {
    docker: Docker,
    filters: HashMap<String, Vec<String>>,
    /// The instant, in ns since 1970 by the engine's clock, after which events are wanted.
    since: i64,
    backoff: Duration,
    messages: Option<Messages>,
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
        messages: None,
    };
    stream::unfold(
        subscription,
        |mut s| async move { Some((s.next().await, s)) },
    )
    .boxed()
}

impl Subscription {
    async fn next(&mut self) -> EngineEvent {
        loop {
            let Some(messages) = &mut self.messages else {
                self.connect().await;
                return EngineEvent::Resynchronise;
            };
            match messages.next().await {
                Some(Ok(message)) => {
                    self.backoff = MIN_BACKOFF;
                    self.since = self.since.max(message.time_nano.unwrap_or_default() + 1);
                    if let Some(event) = event(message) {
                        return event;
                    }
                }
                Some(Err(_)) | None => {
                    self.messages = None;
                    self.pause().await;
                }
            }
        }
    }

    /// Subscribes once the engine answers. What happens between its answer and the subscription
    /// comes too, since the subscription begins at `since`.
    async fn connect(&mut self) {
        loop {
            match self.docker.client().get().await {
                Ok(client) if client.ping().await.is_ok() => {
                    self.messages = Some(self.subscribe(&client).boxed());
                    return;
                }
                _ => self.pause().await,
            }
        }
    }

    fn subscribe(
        &self,
        client: &bollard::Docker,
    ) -> impl Stream<Item = Result<EventMessage, Error>> + use<> {
        let since = format!(
            "{}.{:09}",
            self.since / 1_000_000_000,
            self.since % 1_000_000_000
        );
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
