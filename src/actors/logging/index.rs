//! `index`: keeps the log index open and in bounds.
//!
//! Child of `logging`. Events and queries do not pass through its mailbox: the sink and the API call the
//! port. When the index's writer has ended, so does this actor, and its next incarnation opens it anew;
//! nothing acknowledged is lost by that.

use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::ports::log_index::LogIndex;
use actix::prelude::*;
use std::sync::Arc;

/// The actor.
pub struct IndexKeeper {
    index: Arc<dyn LogIndex>,
}

impl Actor for IndexKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let index = Arc::clone(&self.index);
        let tend = async move { index.tend().await };
        let tend = tend
            .into_actor(self)
            .map(|error, _, ctx: &mut Context<Self>| ctx.exit(ExitReason::error(error)));
        ctx.spawn(tend);
    }
}

impl Child for IndexKeeper {
    type Args = Arc<dyn LogIndex>;

    async fn init(index: Arc<dyn LogIndex>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        index.open().await.map_err(ExitReason::error)?;
        Ok(Init::Ready(Self { index }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::supervise::{
        ChildSpec, Flags, Strategy, SupervisorInit, SupervisorSpec, Tree,
    };
    use crate::ports::log_index::{Appended, IndexEvent, IndexStatus, LogIndexError};
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    /// An index whose writer ends when it is told to.
    #[derive(Default)]
    struct Breaks {
        opened: AtomicU32,
        end: Notify,
    }

    #[async_trait::async_trait]
    impl LogIndex for Breaks {
        async fn append(&self, _: Vec<IndexEvent>) -> Result<Appended, LogIndexError> {
            Ok(Appended::default())
        }

        async fn tend(&self) -> LogIndexError {
            self.end.notified().await;
            LogIndexError::Unavailable("its writer has ended".to_owned())
        }

        async fn open(&self) -> Result<(), LogIndexError> {
            self.opened.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }

        fn status(&self) -> IndexStatus {
            IndexStatus::default()
        }
    }

    #[actix_rt::test]
    async fn when_the_index_ends_it_is_opened_anew() {
        let index = Arc::new(Breaks::default());
        let child: Arc<dyn LogIndex> = index.clone();
        let init = move || {
            let flags = Flags::new(Strategy::OneForOne);
            let spec = SupervisorSpec::new(flags).child(ChildSpec::worker::<IndexKeeper>(
                "index",
                Arc::clone(&child),
            ));
            std::future::ready(Ok(SupervisorInit::Run(spec)))
        };
        let tree = Tree::builder().name("root").start_root(init).await.unwrap();
        for opened in 1..=2 {
            for _ in 0..500 {
                if index.opened.load(Ordering::SeqCst) == opened {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert_eq!(index.opened.load(Ordering::SeqCst), opened);
            index.end.notify_one();
        }
        tree.stop().await;
    }
}
