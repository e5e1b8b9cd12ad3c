//! What happens in one schedule: a random tree, how its children behave, and
//! what is done to it when.

use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::{
    AutoShutdown, Backoff, ChildBudget, Flags, OnExhausted, Restart, Shutdown, Strategy as Rule,
};
use proptest::prelude::*;

/// One schedule.
#[derive(Debug, Clone)]
pub struct Plan {
    pub root: Arc<SupPlan>,
    pub stimuli: Vec<Stimulus>,
    /// Feeds the latencies of messages.
    pub seed: u64,
}

#[derive(Debug, Clone)]
pub struct SupPlan {
    pub flags: Flags,
    /// The initial children, or the one template.
    pub children: Vec<Arc<ChildPlan>>,
}

impl SupPlan {
    pub fn is_simple(&self) -> bool {
        self.flags.strategy == Rule::SimpleOneForOne
    }
}

#[derive(Debug, Clone)]
pub struct ChildPlan {
    pub id: Arc<str>,
    pub restart: Restart,
    pub significant: bool,
    pub shutdown: Shutdown,
    pub backoff: Option<Backoff>,
    pub budget: Option<ChildBudget>,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Worker {
        starts: Vec<Start>,
        start_takes: u32,
        stop: Stop,
    },
    Supervisor(Arc<SupPlan>),
}

/// How one start of a worker goes; those not listed go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Run,
    Ignore,
    Fail,
    AlreadyStarted,
}

/// How a worker takes an order to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Within(u32),
    WithError(u32),
    Normal(u32),
    Deaf,
}

#[derive(Debug, Clone)]
pub struct Stimulus {
    /// Milliseconds after the one before.
    pub after: u32,
    /// Which place it is about, among those there are (modulo).
    pub place: u8,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// The child at the place ends by itself.
    End(End),
    /// The child at the place is killed by a stranger.
    Kill,
    /// The supervisor of the place is asked something about it.
    Terminate,
    Restart,
    Delete,
    Which,
    Count,
    /// Add a child of the place's kind under its id, or a new one.
    StartChild {
        fresh: bool,
    },
    /// Where the supervisor of the place has a template.
    StartInstance,
    StopInstance {
        nth: u8,
    },
    /// New flags; the listed children are kept, dropped or replaced.
    Change {
        intensity: u32,
        auto: AutoShutdown,
        keep: u8,
    },
    /// The parent of the place asks it to end.
    ParentExit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Normal,
    Shutdown,
    Error,
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        3 => Just(Rule::OneForOne),
        3 => Just(Rule::OneForAll),
        3 => Just(Rule::RestForOne),
        2 => Just(Rule::SimpleOneForOne),
    ]
}

fn auto() -> impl Strategy<Value = AutoShutdown> {
    prop_oneof![
        3 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant),
    ]
}

fn flags() -> impl Strategy<Value = Flags> {
    (rule(), 0u32..6, 1u64..4, auto()).prop_map(|(strategy, intensity, period, auto)| {
        Flags::new(strategy)
            .intensity(intensity, Duration::from_secs(period))
            .auto_shutdown(auto)
    })
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        6 => Just(Start::Run),
        4 => Just(Start::Fail),
        1 => Just(Start::Ignore),
        1 => Just(Start::AlreadyStarted),
    ]
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        4 => (0u32..300).prop_map(Stop::Within),
        1 => (0u32..300).prop_map(Stop::WithError),
        1 => (0u32..300).prop_map(Stop::Normal),
        1 => Just(Stop::Deaf),
    ]
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ]
}

fn shutdown() -> impl Strategy<Value = Shutdown> {
    prop_oneof![
        1 => Just(Shutdown::BrutalKill),
        3 => (0u64..400).prop_map(|ms| Shutdown::Timeout(Duration::from_millis(ms))),
        // Nobody waits for the deaf for ever: see `ChildPlan::tidy`.
        1 => Just(Shutdown::Infinity),
    ]
}

fn extras() -> impl Strategy<Value = (Option<Backoff>, Option<ChildBudget>)> {
    let backoff = (1u64..2000).prop_map(|ms| Backoff {
        min: Duration::from_millis(ms),
        max: Duration::from_millis(3000),
        factor: 2.0,
        jitter: 0.0,
        reset_after: Duration::from_millis(700),
    });
    let budget = (0u32..3, any::<bool>()).prop_map(|(intensity, abandon)| ChildBudget {
        intensity,
        period: Duration::from_secs(2),
        then: if abandon {
            OnExhausted::Abandon
        } else {
            OnExhausted::Escalate
        },
    });
    (
        prop::option::weighted(0.1, backoff),
        prop::option::weighted(0.1, budget),
    )
}

/// The first start mostly goes well: a tree that never comes up shows little.
fn starts() -> impl Strategy<Value = Vec<Start>> {
    let first =
        prop_oneof![40 => Just(Start::Run), 1 => Just(Start::Ignore), 1 => Just(Start::Fail)];
    (first, prop::collection::vec(start(), 0..6)).prop_map(|(first, mut later)| {
        later.insert(0, first);
        later
    })
}

fn worker() -> impl Strategy<Value = Kind> {
    (starts(), 0u32..120, stop()).prop_map(|(starts, start_takes, stop)| Kind::Worker {
        starts,
        start_takes,
        stop,
    })
}

fn child(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = ChildPlan> {
    (restart(), any::<bool>(), shutdown(), extras(), kind).prop_map(
        |(restart, significant, shutdown, (backoff, budget), kind)| ChildPlan {
            id: "".into(),
            restart,
            significant,
            shutdown,
            backoff,
            budget,
            kind,
        },
    )
}

/// Makes a valid supervisor of what came out at random.
fn assemble((flags, children): (Flags, Vec<ChildPlan>)) -> Kind {
    let simple = flags.strategy == Rule::SimpleOneForOne;
    let wanted = if simple { 1 } else { children.len() };
    let children = children.into_iter().take(wanted).enumerate();
    let children = children
        .map(|(nth, child)| Arc::new(child.tidy(nth, flags.auto_shutdown)))
        .collect();
    Kind::Supervisor(Arc::new(SupPlan { flags, children }))
}

impl ChildPlan {
    /// Names it and takes back what OTP refuses.
    fn tidy(mut self, nth: usize, auto: AutoShutdown) -> Self {
        self.id = format!("c{nth}").into();
        self.significant &= auto != AutoShutdown::Never && self.restart != Restart::Permanent;
        if let (
            Kind::Worker {
                stop: stop @ Stop::Deaf,
                ..
            },
            Shutdown::Infinity,
        ) = (&mut self.kind, self.shutdown)
        {
            *stop = Stop::Within(250);
        }
        if let (Kind::Supervisor(_), Shutdown::Timeout(_)) = (&self.kind, self.shutdown) {
            self.shutdown = Shutdown::Infinity;
        }
        self
    }
}

fn supervisor() -> impl Strategy<Value = Kind> {
    let leaf = worker().boxed();
    leaf.prop_recursive(3, 12, 4, |inner| {
        (flags(), prop::collection::vec(child(inner), 1..5)).prop_map(assemble)
    })
}

fn what() -> impl Strategy<Value = What> {
    let end = prop_oneof![
        1 => Just(End::Normal),
        1 => Just(End::Shutdown),
        3 => Just(End::Error),
    ];
    prop_oneof![
        8 => end.prop_map(What::End),
        2 => Just(What::Kill),
        3 => Just(What::Terminate),
        3 => Just(What::Restart),
        2 => Just(What::Delete),
        1 => Just(What::Which),
        1 => Just(What::Count),
        3 => any::<bool>().prop_map(|fresh| What::StartChild { fresh }),
        4 => Just(What::StartInstance),
        1 => (0u8..4).prop_map(|nth| What::StopInstance { nth }),
        1 => (0u32..4, auto(), any::<u8>()).prop_map(|(intensity, auto, keep)| What::Change { intensity, auto, keep }),
        1 => Just(What::ParentExit),
    ]
}

fn stimulus() -> impl Strategy<Value = Stimulus> {
    let after = prop_oneof![4 => 0u32..30, 4 => 30u32..600, 1 => 600u32..4000];
    (after, any::<u8>(), what()).prop_map(|(after, place, what)| Stimulus { after, place, what })
}

/// Any schedule.
pub fn plan() -> impl Strategy<Value = Plan> {
    let root = (flags(), prop::collection::vec(child(supervisor()), 1..4)).prop_map(assemble);
    (root, prop::collection::vec(stimulus(), 0..24), any::<u64>()).prop_map(
        |(root, stimuli, seed)| {
            let Kind::Supervisor(root) = root else {
                unreachable!("assemble makes supervisors")
            };
            Plan {
                root,
                stimuli,
                seed,
            }
        },
    )
}
