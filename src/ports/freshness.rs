//! How whoever reads has what was gathered brought up to date first.
//!
//! To write now and then, many things together, costs a fraction of writing each at once. Nobody sees the
//! difference where readers ask before they read, as Elasticsearch does with shards on which no search ran for
//! a while (`index.search.idle.after`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Between those who read and the [`Keeper`]s who write.
#[derive(Debug)]
pub struct Freshness {
    asked: watch::Sender<u64>,
    met: watch::Sender<u64>,
    keepers: AtomicUsize,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            asked: watch::channel(0).0,
            met: watch::channel(0).0,
            keepers: AtomicUsize::new(0),
        }
    }
}

impl Freshness {
    /// Waits until what was there when this was called can be read; for `patience` at most, and not at all
    /// where nobody writes.
    pub async fn ask(&self, patience: Duration) {
        if self.keepers.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut met = self.met.subscribe();
        let mut mine = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        let answered = met.wait_for(|met| *met >= mine);
        if tokio::time::timeout(patience, answered).await.is_err() {
            tracing::debug!("what was gathered was not there in time; what is there is read");
        }
    }

    /// Whoever writes, for as long as it does.
    pub fn keep(self: &Arc<Self>) -> Keeper {
        self.keepers.fetch_add(1, Ordering::AcqRel);
        let mut asked = self.asked.subscribe();
        let met = *asked.borrow_and_update();
        Keeper {
            met,
            taken: 0,
            asked,
            of: Arc::clone(self),
        }
    }
}

/// The writing side.
#[derive(Debug)]
pub struct Keeper {
    of: Arc<Freshness>,
    asked: watch::Receiver<u64>,
    /// What was asked when the writing under way began.
    taken: u64,
    met: u64,
}

impl Keeper {
    /// Whether somebody waits. What is written from now on answers those that wait by now.
    pub fn is_asked(&mut self) -> bool {
        self.taken = *self.asked.borrow_and_update();
        self.taken > self.met
    }

    /// Until somebody waits.
    pub async fn asked(&mut self) {
        let met = self.met;
        if self.asked.wait_for(|asked| *asked > met).await.is_err() {
            // Not while this holds the other side.
            std::future::pending::<()>().await;
        }
    }

    /// Those that waited at the last [`Keeper::is_asked`] have what they waited for.
    pub fn met(&mut self) {
        if self.taken > self.met {
            self.met = self.taken;
            self.of.met.send_replace(self.met);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.of.keepers.fetch_sub(1, Ordering::AcqRel);
        // Nobody waits for what comes no more.
        self.of.met.send_replace(*self.asked.borrow());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn where_nobody_writes_nobody_waits() {
        let freshness = Arc::new(Freshness::default());
        freshness.ask(LONG).await;
        drop(freshness.keep());
        freshness.ask(LONG).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_is_answered_by_what_began_after_it_asked() {
        let freshness = Arc::new(Freshness::default());
        let mut keeper = freshness.keep();
        assert!(!keeper.is_asked());
        let mut early = pin!(freshness.ask(LONG));
        assert!(poll(early.as_mut()).is_pending());
        // Written before it was seen that somebody asked.
        keeper.met();
        assert!(poll(early.as_mut()).is_pending());
        keeper.asked().await;
        assert!(keeper.is_asked());
        let mut late = pin!(freshness.ask(LONG));
        assert!(poll(late.as_mut()).is_pending());
        keeper.met();
        early.await;
        assert!(poll(late.as_mut()).is_pending());
        assert!(keeper.is_asked());
        keeper.met();
        late.await;
        assert!(!keeper.is_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_is_gone_or_slow_holds_nobody_up() {
        let freshness = Arc::new(Freshness::default());
        let keeper = freshness.keep();
        let begun = tokio::time::Instant::now();
        freshness.ask(Duration::from_millis(500)).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(500));
        let mut waits = pin!(freshness.ask(LONG));
        assert!(poll(waits.as_mut()).is_pending());
        drop(keeper);
        waits.await;
        // The next one starts with nobody waiting.
        assert!(!freshness.keep().is_asked());
    }
}
