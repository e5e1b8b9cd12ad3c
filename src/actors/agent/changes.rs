//! A count of changes that can be waited for: what `tokio::sync::watch` does, in an eighth of its room, since there is
//! one for each container of the cluster.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// What can be waited for.
#[derive(Default)]
pub struct Changes {
    count: AtomicU64,
    notify: Notify,
}

impl Changes {
    /// Wakes all who wait.
    pub fn tell(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.notify.notify_waiters();
    }

    /// Waits for changes from now on.
    pub fn subscribe(&self) -> Subscription<'_> {
        Subscription {
            changes: self,
            seen: self.count.load(Ordering::Acquire),
        }
    }
}

/// Waits for changes; one between two waits is not missed.
pub struct Subscription<'a> {
    changes: &'a Changes,
    seen: u64,
}

impl Subscription<'_> {
    /// Resolves at the next change, or at once when there was one since it last did.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.changes.notify.notified();
            tokio::pin!(notified);
            // Before the count is read: whoever changes it afterwards wakes this.
            notified.as_mut().enable();
            let now = self.changes.count.load(Ordering::Acquire);
            if now != self.seen {
                self.seen = now;
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_change_between_two_waits_is_not_missed_and_none_is_told_twice() {
        let changes = Changes::default();
        changes.tell();
        let mut waiting = changes.subscribe();
        let second = Duration::from_secs(1);
        let mut changed = async || {
            let within = tokio::time::timeout(second, waiting.changed());
            within.await.is_ok()
        };
        assert!(!changed().await);
        changes.tell();
        changes.tell();
        assert!(changed().await);
        assert!(!changed().await);
    }

    #[tokio::test]
    async fn all_who_wait_are_woken() {
        let changes = Arc::new(Changes::default());
        let wait = |changes: Arc<Changes>| async move { changes.subscribe().changed().await };
        let waiting: Vec<_> = (0..3)
            .map(|_| tokio::spawn(wait(Arc::clone(&changes))))
            .collect();
        tokio::task::yield_now().await;
        changes.tell();
        for task in waiting {
            task.await.unwrap();
        }
    }
}
