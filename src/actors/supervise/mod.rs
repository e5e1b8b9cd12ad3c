//! OTP's supervision on actix: trees of actors that are started in order,
//! watched, restarted by rule, and stopped in reverse.
//!
//! A library in itself: it imports nothing else of this crate. The rules are
//! those of Erlang/OTP's `supervisor`; `docs/supervision.md` lists them, with
//! what is added and what differs.
//!
//! # Flow
//! An actor that implements [`Child`] is described by a [`ChildSpec`] and put
//! under a supervisor ([`SupervisorSpec`]); [`Tree::builder`] starts the root.
//! Each incarnation runs in a task of its own (`task.rs`) that catches panics
//! and tells its supervisor how it ended. The supervisor (`supervisor.rs`,
//! `shell.rs`) asks a pure state machine (`machine/`) what follows.
//!
//! # Guarantees
//! - A start returns only after init and `started` have ended.
//! - Every end is noticed exactly once, with a reason, panics included.
//! - A value that has panicked is dropped, never called again.
//! - [`ActorRef`] and [`SupervisorRef`] outlive restarts; reading the tree
//!   waits for no actor.
//!
//! # Example
//! ```
//! use lain::actors::supervise::*;
//! use actix::prelude::*;
//!
//! struct Echo;
//! impl Actor for Echo { type Context = supervise::Context<Self>; }
//! # use lain::actors::supervise;
//!
//! impl Child for Echo {
//!     type Args = ();
//!     async fn init(_: (), _: Birth<Self>) -> Result<Init<Self>, ExitReason> { Ok(Init::Ready(Echo)) }
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "u32")]
//! struct Say(u32);
//!
//! impl Handler<Say> for Echo {
//!     type Result = u32;
//!     fn handle(&mut self, Say(number): Say, _: &mut Self::Context) -> u32 { number }
//! }
//!
//! # actix_rt::System::new().block_on(async {
//! let root = SupervisorSpec::new(Flags::new(Strategy::OneForOne))
//!     .child(ChildSpec::worker::<Echo>("echo", ()));
//! let tree = Tree::builder().start(root).await?;
//! let echo = tree.actor::<Echo>("echo");
//! assert_eq!(echo.send(Say(7)).await, Ok(7));
//! tree.kill("echo");
//! assert_eq!(tree.stop().await, ExitReason::Shutdown);
//! # Ok::<(), ExitReason>(())
//! # }).expect("the tree starts");
//! ```

mod arbiter;
mod cell;
mod child;
mod clock;
mod context;
mod events;
mod group;
pub mod machine;
mod mailbox;
mod node;
mod panics;
pub mod raw;
mod reason;
mod refs;
mod report;
mod shell;
mod snapshot;
mod spec;
mod start;
mod stats;
mod supervisor;
mod sync;
mod task;
mod teller;
#[cfg(test)]
mod tests;
mod totals;
mod tree;
mod watchdog;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

pub use self::child::{Birth, Child, Cleanup, Extra, Init};
pub use self::context::Context;
pub use self::events::{EventKind, LifecycleEvent, LogReports, Observer};
pub use self::group::{SupervisorInit, SupervisorSpec};
pub use self::machine::{CallError, ChildInfo, ChildState, Counts};
pub use self::node::{PastRestart, State};
pub use self::reason::{ExitReason, Info, PanicInfo, StuckInfo};
pub use self::refs::{ActorRef, RefError, Started, SupervisorRef};
pub use self::report::{Context as ReportContext, Limits, Offender, Progress, Report, Who};
pub use self::snapshot::{Awaiting, Crash, Current, Supervises, TreeNode, Work};
pub use self::spec::{
    AutoShutdown, Backoff, ChildBudget, ChildId, ChildSpec, ChildType, FlagError, Flags, InitError,
    OnExhausted, Restart, Shutdown, SpecError, Strategy, check_childspecs, check_init,
};
pub use self::start::{Placement, Start};
pub use self::totals::Totals;
pub use self::tree::{STUCK_AFTER, Tree, TreeBuilder};

/// The identity of one incarnation, unique in this program: OTP's pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pid(u64);

impl Pid {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The identity as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The identity of this number, for tests of the state machine.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.0)
    }
}
