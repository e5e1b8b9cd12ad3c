//! The mailbox of one actor: actix's channel, plus a look inside for readers.
//!
//! Its actor takes messages out one by one. A reader may ask for length and
//! age at any time, from any thread, also while the actor is blocked: it moves
//! what has arrived into a queue that can be counted.

use std::any::Any;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use actix::dev::Envelope;
use actix::dev::channel::{AddressReceiver, channel};
use actix::{Actor, Addr, AsyncContext};
use futures_util::Stream;

use super::clock;
use super::sync::lock;

/// actix's own default: `try_send` pushes back beyond it, `do_send` never does.
pub(crate) const CAPACITY: usize = 16;

struct Inbox<A: Actor>
where
    A::Context: AsyncContext<A>,
{
    receiver: Option<AddressReceiver<A>>,
    /// Messages that a reader has counted, and when they were first seen.
    seen: VecDeque<(Envelope<A>, u64)>,
    waker: Option<Waker>,
}

/// The mailbox of an actor; outlives a restart when its specification says so.
pub(crate) struct Mailbox<A: Actor>
where
    A::Context: AsyncContext<A>,
{
    inbox: Mutex<Inbox<A>>,
}

impl<A: Actor> Mailbox<A>
where
    A::Context: AsyncContext<A>,
{
    pub(crate) fn new() -> Arc<Self> {
        let (_, receiver) = channel(CAPACITY);
        let inbox = Inbox {
            receiver: Some(receiver),
            seen: VecDeque::new(),
            waker: None,
        };
        Arc::new(Self {
            inbox: Mutex::new(inbox),
        })
    }

    /// An address of the actor; `None` once the mailbox is closed.
    pub(crate) fn address(&self) -> Option<Addr<A>> {
        lock(&self.inbox)
            .receiver
            .as_ref()
            .map(|receiver| Addr::new(receiver.sender()))
    }

    /// The next message, or none for now; then the task is woken for the next.
    pub(crate) fn next(&self, task: &mut TaskContext<'_>) -> Option<Envelope<A>> {
        let mut inbox = lock(&self.inbox);
        if !inbox
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(task.waker()))
        {
            inbox.waker = Some(task.waker().clone());
        }
        if let Some((message, _)) = inbox.seen.pop_front() {
            return Some(message);
        }
        match Pin::new(inbox.receiver.as_mut()?).poll_next(task) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        if let Some(receiver) = lock(&self.inbox).receiver.as_mut() {
            receiver.set_capacity(capacity);
        }
    }

    /// Closes it; what waited is handed back, to be dropped outside of the lock.
    pub(crate) fn close(&self) -> impl Sized + use<A> {
        let mut inbox = lock(&self.inbox);
        (
            inbox.receiver.take(),
            std::mem::take(&mut inbox.seen),
            inbox.waker.take(),
        )
    }
}

/// What a reader may ask of a mailbox without knowing its actor.
pub(crate) trait Probe: Send + Sync {
    /// How many messages wait, and for how long the oldest is known to.
    fn probe(&self) -> (usize, Duration);
    /// The mailbox itself, to be recognised by its type.
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<A: Actor> Probe for Mailbox<A>
where
    A::Context: AsyncContext<A>,
{
    fn probe(&self) -> (usize, Duration) {
        let mut inbox = lock(&self.inbox);
        let inbox = &mut *inbox;
        // Before its first poll there is no task to wake, and that poll looks anyway.
        let waker = inbox.waker.as_ref().unwrap_or(Waker::noop());
        let mut task = TaskContext::from_waker(waker);
        while let Some(receiver) = inbox.receiver.as_mut()
            && let Poll::Ready(Some(message)) = Pin::new(receiver).poll_next(&mut task)
        {
            inbox.seen.push_back((message, clock::nanos()));
        }
        let age = inbox
            .seen
            .front()
            .map_or(Duration::ZERO, |(_, seen)| clock::since(*seen));
        (inbox.seen.len(), age)
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
