//! How a child is started: what [`super::ChildSpec`] carries for the shell.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::ArbiterHandle;

use super::cell::{Cell, Life};
use super::child::{Birth, Child, Extra, Init};
use super::mailbox::Mailbox;
use super::node::Target;
use super::panics;
use super::reason::ExitReason;
use super::spec::{ChildId, ChildSpec, ChildType};
use super::task::{ActorTask, InitFuture, Options};
use super::{Tree, arbiter, watchdog};

/// Where a child runs.
#[derive(Debug, Clone, Default)]
pub enum Placement {
    /// On the arbiter of its supervisor.
    #[default]
    Inherit,
    /// On an arbiter of its own, which ends with it: for work that may block.
    Dedicated,
    /// On this one.
    On(ArbiterHandle),
}

/// What starting a child needs at run time.
pub(crate) struct Delivery {
    pub(crate) life: Life,
    pub(crate) tree: Tree,
    pub(crate) extra: Option<Extra>,
    pub(crate) keep_mailbox: bool,
    pub(crate) dedicated: Option<Dedicated>,
}

/// An arbiter that ends with its only child.
pub(crate) struct Dedicated(pub(crate) ArbiterHandle);

impl Drop for Dedicated {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Makes the task of a child and spawns it on the present arbiter.
pub(crate) trait Factory: Send + Sync {
    fn deliver(&self, delivery: Delivery);
    fn name(&self) -> &'static str;
}

/// The start of a child, with the options that concern the shell alone.
#[derive(Clone)]
pub struct Start {
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) placement: Placement,
    pub(crate) keep_mailbox: bool,
    pub(crate) stuck_after: Option<Duration>,
}

impl Start {
    pub(crate) fn new(factory: impl Factory + 'static) -> Self {
        Self {
            factory: Arc::new(factory),
            placement: Placement::Inherit,
            keep_mailbox: false,
            stuck_after: None,
        }
    }

    /// The same for the reader, but without its arguments and unable to start.
    pub(crate) fn without_arguments(&self) -> Self {
        let factory = Arc::new(Forgotten(self.name()));
        Self {
            factory,
            placement: Placement::Inherit,
            ..*self
        }
    }

    /// The name of what is started, for reports.
    pub fn name(&self) -> &'static str {
        self.factory.name()
    }

    /// Starts a life where its placement says.
    pub(crate) fn begin(&self, cell: Arc<Cell>, tree: Tree, extra: Option<Extra>) {
        if let Some(limit) = self.stuck_after {
            watchdog::heed(limit);
        }
        cell.arbiter.store(arbiter::current_id(), Ordering::Relaxed);
        let life = Life::new(cell);
        let mut delivery = Delivery {
            life,
            tree,
            extra,
            keep_mailbox: self.keep_mailbox,
            dedicated: None,
        };
        match &self.placement {
            Placement::Inherit => self.factory.deliver(delivery),
            Placement::On(arbiter) => self.send(arbiter, delivery),
            Placement::Dedicated => match actix::Arbiter::try_new() {
                Ok(arbiter) => {
                    delivery.dedicated = Some(Dedicated(arbiter.handle()));
                    self.send(&arbiter.handle(), delivery);
                }
                Err(error) => delivery.life.cell.finish(ExitReason::Error(format!(
                    "cannot start a thread for it: {error}"
                ))),
            },
        }
    }

    /// A delivery that a dead arbiter drops tells of its loss by itself.
    fn send(&self, arbiter: &ArbiterHandle, delivery: Delivery) {
        let factory = self.factory.clone();
        arbiter.spawn_fn(move || factory.deliver(delivery));
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Start {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.factory, &other.factory)
    }
}

/// What is left of the start of a temporary child (rule 14).
struct Forgotten(&'static str);

impl Factory for Forgotten {
    fn deliver(&self, delivery: Delivery) {
        let reason = "its arguments were not kept, since it is temporary";
        delivery.life.cell.finish(ExitReason::Error(reason.into()));
    }

    fn name(&self) -> &'static str {
        self.0
    }
}

struct Worker<A, F> {
    make: F,
    actor: std::marker::PhantomData<fn() -> A>,
}

impl<A, F> Factory for Worker<A, F>
where
    A: Child,
    F: Fn(Option<Extra>, Birth<A>) -> InitFuture<A> + Send + Sync,
{
    fn deliver(&self, delivery: Delivery) {
        let Delivery {
            life,
            tree,
            extra,
            keep_mailbox,
            dedicated,
        } = delivery;
        let cell = life.cell.clone();
        let kept = keep_mailbox.then(|| kept_mailbox::<A>(&cell)).flatten();
        let mailbox = kept.unwrap_or_else(Mailbox::new);
        cell.node.publish(&cell, Target::Actor(mailbox.clone()));
        let birth = Birth {
            cell,
            mailbox: mailbox.clone(),
            tree: tree.clone(),
        };
        match panics::contain(|| (self.make)(extra, birth)) {
            Ok(init) => {
                let options = Options {
                    keep_mailbox,
                    dedicated,
                };
                drop(actix::spawn(ActorTask::new(
                    life, mailbox, tree, options, init,
                )));
            }
            Err(payload) => life.cell.finish(panics::describe(payload, "init")),
        }
    }

    fn name(&self) -> &'static str {
        type_name::<A>()
    }
}

/// The mailbox that the last incarnation left behind.
fn kept_mailbox<A: Child>(cell: &Cell) -> Option<Arc<Mailbox<A>>> {
    match cell.node.target().1? {
        Target::Actor(probe) => {
            let mailbox = probe.any().downcast::<Mailbox<A>>().ok()?;
            mailbox.address().is_some().then_some(mailbox)
        }
        Target::Supervisor(_) => None,
    }
}

impl ChildSpec<Start> {
    /// A worker whose every incarnation is made from `args`.
    pub fn worker<A: Child>(id: impl Into<ChildId>, args: A::Args) -> Self {
        Self::worker_with::<A, _, _>(id, move |birth| A::init(args.clone(), birth))
    }

    /// A worker whose every incarnation is made by `init`, in place of [`Child::init`].
    pub fn worker_with<A, F, Fut>(id: impl Into<ChildId>, init: F) -> Self
    where
        A: Child,
        F: Fn(Birth<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Init<A>, ExitReason>> + 'static,
    {
        let make = move |_: Option<Extra>, birth| Box::pin(init(birth)) as InitFuture<A>;
        Self::new(
            id,
            ChildType::Worker,
            Start::new(Worker {
                make,
                actor: std::marker::PhantomData,
            }),
        )
    }

    /// The template of a simple_one_for_one supervisor: `args` makes the arguments
    /// of an instance from what `start_instance` was given.
    pub fn template<A, X, F>(id: impl Into<ChildId>, args: F) -> Self
    where
        A: Child,
        X: Send + Sync + 'static,
        F: Fn(&X) -> A::Args + Send + Sync + 'static,
    {
        let make = move |extra: Option<Extra>, birth| {
            let made = extra
                .as_ref()
                .and_then(|extra| extra.downcast_ref::<X>())
                .map(&args);
            match made {
                Some(args) => Box::pin(A::init(args, birth)) as InitFuture<A>,
                None => Box::pin(async {
                    Err(ExitReason::Error(format!(
                        "an instance needs arguments of type {}",
                        type_name::<X>()
                    )))
                }),
            }
        };
        Self::new(
            id,
            ChildType::Worker,
            Start::new(Worker {
                make,
                actor: std::marker::PhantomData,
            }),
        )
    }

    /// The modules shown for it: those named, or what is started.
    pub fn module_names(&self) -> Vec<String> {
        match &self.modules {
            Some(modules) => modules.to_vec(),
            None => vec![self.start.name().to_owned()],
        }
    }

    /// Sets where it runs.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.with_start(|start| start.placement = placement);
        self
    }

    /// Keeps address and queued messages over a restart; OTP loses them.
    /// Only the message that crashed it is gone.
    pub fn keep_mailbox(mut self, keep: bool) -> Self {
        self.with_start(|start| start.keep_mailbox = keep);
        self
    }

    /// How long one of its handlers may run without returning before it counts
    /// as stuck; the tree's own limit by default.
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.with_start(|start| start.stuck_after = Some(limit));
        self
    }

    fn with_start(&mut self, change: impl FnOnce(&mut Start)) {
        change(&mut self.start);
    }
}
