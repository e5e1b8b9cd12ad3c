//! The live tail over a server that tells nobody of new events: asked again and again, as Kibana does.

use super::ElasticSearch;
use crate::ports::log_index::{LogFilter, LogSearch, SearchRequest};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long after its own time an event may come to be found and still be shown.
const LATE: TimeDelta = TimeDelta::seconds(60);
/// Events that are asked for at once.
const PAGE: usize = 1000;

struct Tail {
    search: ElasticSearch,
    filter: LogFilter,
    since: DateTime<Utc>,
    /// Events that were shown, with when.
    shown: HashMap<String, DateTime<Utc>>,
    waiting: VecDeque<Map<String, Value>>,
}

/// Events whose time is later than now, as they come to be found.
pub(super) fn follow(
    search: ElasticSearch,
    filter: LogFilter,
) -> BoxStream<'static, Result<Map<String, Value>, u64>> {
    let since = search.clock.now_utc();
    let tail = Tail {
        search,
        filter,
        since,
        shown: HashMap::new(),
        waiting: VecDeque::new(),
    };
    stream::unfold(tail, |mut tail| async move {
        loop {
            if let Some(event) = tail.waiting.pop_front() {
                return Some((Ok(event), tail));
            }
            tokio::time::sleep(EVERY).await;
            tail.look().await;
        }
    })
    .boxed()
}

impl Tail {
    async fn look(&mut self) {
        let now = self.search.clock.now_utc();
        self.shown.retain(|_, at| now - *at < LATE * 2);
        let from = self.since.max(now - LATE);
        let mut after = None;
        loop {
            let request = SearchRequest {
                filter: LogFilter {
                    from: Some(from.to_rfc3339_opts(SecondsFormat::Millis, true)),
                    to: None,
                    ..self.filter.clone()
                },
                limit: PAGE,
                ascending: true,
                after,
                ..SearchRequest::default()
            };
            let page = match self.search.search(request).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "the live tail asks again");
                    return;
                }
            };
            for hit in page.items {
                let id = hit.event.get("event_id").and_then(Value::as_str);
                let id = id.unwrap_or(&hit.cursor).to_owned();
                if self.shown.insert(id, now).is_none() {
                    self.waiting.push_back(hit.event);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return,
            }
        }
    }
}
