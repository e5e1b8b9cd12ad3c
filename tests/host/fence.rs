//! An agent's lease and its watchdog: what is told, and what the next start of the agent takes over.

use crate::support::Machine;
use lain::actors::agent::fence::{Args, Guard};
use lain::actors::supervise::{ChildSpec, Flags, Strategy, SupervisorInit, SupervisorSpec, Tree};
use lain::drivers::memory::MemoryWatchdog;
use lain::ports::clock::Clock;
use lain::ports::watchdog::Inherited;
use std::sync::Arc;
use std::time::Duration;

#[actix_rt::test]
async fn a_lease_is_inherited_and_then_told_to_the_watchdog() {
    tokio::time::pause();
    let machine = Machine::new();
    let shared = machine.shared("agent");
    let watchdog = Arc::new(MemoryWatchdog::with(Inherited {
        left: Duration::from_secs(1),
        guarded: Vec::new(),
    }));
    let args = Args {
        shared: shared.clone(),
        watchdog: watchdog.clone(),
    };
    let init = move || {
        let flags = Flags::new(Strategy::OneForOne);
        let spec =
            SupervisorSpec::new(flags).child(ChildSpec::worker::<Guard>("fence", args.clone()));
        std::future::ready(Ok(SupervisorInit::Run(spec)))
    };
    let tree = Tree::builder().name("root").start_root(init).await.unwrap();
    let holds = || shared.assigned.lease().holds(machine.clock.monotonic());
    // What ran before this start may run on; nothing may be started.
    assert!(holds() && !shared.may_run_exclusive());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(!holds());
    let second = Duration::from_secs(1);
    let now = machine.clock.monotonic();
    shared.assigned.change_lease(|lease| {
        lease.set_fence(2 * second);
        lease.acknowledged(now);
    });
    assert!(holds() && shared.may_run_exclusive());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let told = watchdog.told();
    let first = told.first().unwrap().0.unwrap();
    let last = told.last().unwrap().0.unwrap();
    assert!(first > second / 2 && first <= second, "{told:?}");
    assert!(last > second && last <= 2 * second, "{told:?}");
    assert_eq!(told.len(), 2, "told when something changes, and only then");
    tree.stop().await;
}
