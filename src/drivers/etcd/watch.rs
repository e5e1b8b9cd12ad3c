//! Watching: one stream of events that survives lost connections, other members and compaction.

use crate::drivers::etcd::{MAX_MESSAGE, MAX_PAUSE, PAUSE, Shared, error, signed, unsigned};
use crate::ports::store::WatchEvent;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch as signal;

/// Changes of keys with `prefix` from now on, or after revision `since`.
///
/// "Now" is the newest revision that this client has seen: nothing that it has done itself, and nothing that it
/// has read, comes again; what others did a moment ago may.
pub(super) fn watch(
    shared: &Arc<Shared>,
    end: signal::Receiver<()>,
    prefix: &str,
    since: Option<u64>,
) -> BoxStream<'static, WatchEvent> {
    let watcher = Watcher {
        shared: Arc::clone(shared),
        end,
        prefix: prefix.to_owned(),
        after: since.unwrap_or_else(|| shared.seen.load(Ordering::Acquire)),
        asked: since,
        open: None,
        ready: VecDeque::new(),
        pause: PAUSE,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((event, watcher))
    })
    .boxed()
}

struct Watcher {
    shared: Arc<Shared>,
    end: signal::Receiver<()>,
    prefix: String,
    /// The revision up to which everything was told.
    after: u64,
    /// The revision that the caller asked for, until it has been found to be there.
    asked: Option<u64>,
    open: Option<WatchStream>,
    ready: VecDeque<WatchEvent>,
    pause: Duration,
}

impl Watcher {
    /// The next event; `None` once the store is gone.
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let mut end = self.end.clone();
            tokio::select! {
                biased;
                _ = end.changed() => return None,
                () = self.advance() => {}
            }
        }
    }

    /// Opens the stream or reads from it. Whatever fails is tried again, from the last event that was told.
    async fn advance(&mut self) {
        let result = match &mut self.open {
            None => self.connect().await,
            Some(open) => match open.message().await {
                Ok(Some(response)) => self.take(&response).await,
                Ok(None) => Err(()),
                Err(_) => Err(()),
            },
        };
        if result.is_err() {
            self.open = None;
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(MAX_PAUSE);
        }
    }

    async fn connect(&mut self) -> Result<(), ()> {
        if let Some(asked) = self.asked {
            let (_, now) = self.shared.read_revision().await.map_err(drop)?;
            if asked > now {
                self.lose(now);
            }
            self.asked = None;
        }
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(signed(self.after + 1));
        let mut client = self
            .shared
            .client
            .watch_client()
            .max_decoding_message_size(MAX_MESSAGE);
        let key = self.shared.key(&self.prefix);
        let opening = client.watch(key, Some(options));
        let opened = tokio::time::timeout(self.shared.config.call_timeout, opening);
        match opened.await {
            Ok(Ok(open)) => self.open = Some(open),
            Ok(Err(e)) if error::is_compacted(&e) => self.jump().await?,
            Ok(Err(_)) | Err(_) => return Err(()),
        }
        Ok(())
    }

    async fn take(&mut self, response: &WatchResponse) -> Result<(), ()> {
        if response.canceled() {
            self.open = None;
            // The history from where we are is gone.
            if response.compact_revision() > 0 {
                return self.jump().await;
            }
            return Err(());
        }
        self.pause = PAUSE;
        self.shared.note(response.header());
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = unsigned(kv.mod_revision());
            // A transaction's events come in one response; one that was told is not told again.
            if revision <= self.after {
                continue;
            }
            match event.event_type() {
                EventType::Put => {
                    let entry = self.shared.entry(kv);
                    self.ready.extend(entry.map(WatchEvent::Put));
                }
                EventType::Delete => {
                    let key = std::str::from_utf8(kv.key()).ok();
                    let key = key.and_then(|k| k.strip_prefix(&self.shared.config.root));
                    let deleted = key.map(|k| WatchEvent::Deleted(k.to_owned(), revision));
                    self.ready.extend(deleted);
                }
            }
        }
        let newest = response.events().iter().filter_map(|e| e.kv());
        let newest = newest.map(|kv| unsigned(kv.mod_revision())).max();
        self.after = self.after.max(newest.unwrap_or(0));
        Ok(())
    }

    /// Goes on from now, having said that something was lost. The watcher begins at a revision that is read
    /// before the loss is told, so that a list made after that misses nothing.
    async fn jump(&mut self) -> Result<(), ()> {
        let (_, now) = self.shared.read_revision().await.map_err(drop)?;
        self.lose(now);
        Ok(())
    }

    fn lose(&mut self, now: u64) {
        self.after = now;
        self.ready.push_back(WatchEvent::Lost);
    }
}
