//! The faults of a schedule: which there are, and each begun and ended.

use super::chance::Chance;
use super::machine::{Habits, Machine};
use super::store::Manners;
use super::truth::Ground;
use super::wire::Net;
use crate::domain::id::NodeName;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// An instance's process ends.
    Crash,
    /// Containers of a node start slowly.
    SlowStart,
    /// A node loses its power for a while, or for longer than its lease.
    NodeLoss,
    /// An agent is killed and started again; its containers run on.
    AgentRestart,
    /// Nothing gets through between a node and the control host.
    Partition,
    /// Nothing gets through one way.
    OneWay,
    /// A node's connection breaks, and what was under way is lost.
    LinkBreak,
    /// What a node and the control host say takes long to arrive.
    Delay,
    /// Frames arrive twice.
    Duplicate,
    /// A host's time of day is set; hosts' clocks go at rates of their own.
    Clock,
    /// Calls of the control host's store fail, before or after they were carried out.
    StoreError,
    /// Calls of the control host's store take long.
    StoreDelay,
    /// The control host is killed, and started again later.
    ControlRestart,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 13] = [
        Fault::Crash,
        Fault::SlowStart,
        Fault::NodeLoss,
        Fault::AgentRestart,
        Fault::Partition,
        Fault::OneWay,
        Fault::LinkBreak,
        Fault::Delay,
        Fault::Duplicate,
        Fault::Clock,
        Fault::StoreError,
        Fault::StoreDelay,
        Fault::ControlRestart,
    ];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Crash => "crash",
            Fault::SlowStart => "slow-start",
            Fault::NodeLoss => "node-loss",
            Fault::AgentRestart => "agent-restart",
            Fault::Partition => "partition",
            Fault::OneWay => "one-way",
            Fault::LinkBreak => "link-break",
            Fault::Delay => "delay",
            Fault::Duplicate => "duplicate",
            Fault::Clock => "clock",
            Fault::StoreError => "store-error",
            Fault::StoreDelay => "store-delay",
            Fault::ControlRestart => "control-restart",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no fault's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault; there are {all}", all = Fault::ALL.map(Fault::as_str).join(", "))]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = Fault::ALL.into_iter().find(|f| f.as_str() == text);
        found.ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

/// How long a fault of this kind lasts; some are over as they begin.
pub fn lasts(fault: Fault, chance: &mut Chance) -> Duration {
    match fault {
        Fault::Crash | Fault::LinkBreak | Fault::Clock => Duration::ZERO,
        Fault::AgentRestart => chance.millis(50, 400),
        Fault::ControlRestart => chance.millis(50, 4000),
        Fault::NodeLoss => chance.millis(200, 8000),
        Fault::Partition | Fault::OneWay => chance.millis(100, 6000),
        Fault::SlowStart | Fault::Delay | Fault::Duplicate => chance.millis(500, 5000),
        Fault::StoreError | Fault::StoreDelay => chance.millis(200, 3000),
    }
}

/// Whether it is over as it begins.
pub fn lasts_no_time(fault: Fault) -> bool {
    matches!(fault, Fault::Crash | Fault::LinkBreak | Fault::Clock)
}

/// Begins a fault of the network or of a machine's habits; the others are the schedule's own.
pub fn begin_on_node(fault: Fault, machine: &Machine, net: &Net, chance: &mut Chance) {
    let name = &machine.name;
    match fault {
        Fault::Partition => net.set_way(name, |w| (w.cut_up, w.cut_down) = (true, true)),
        Fault::OneWay => {
            let up = chance.percent(50);
            net.set_way(name, |w| (w.cut_up, w.cut_down) = (up, !up));
        }
        Fault::Delay => {
            let delay = chance.millis(20, 700);
            net.set_way(name, |w| w.delay = delay);
        }
        Fault::Duplicate => {
            let repeated = chance.number(5, 60);
            net.set_way(name, |w| w.repeated = repeated);
        }
        Fault::LinkBreak => net.break_connections(name),
        Fault::SlowStart => machine.set_habits(Habits {
            start: (200, 3000),
            ..Habits::default()
        }),
        Fault::Crash => {
            let all = machine.all();
            if let Some((container, _)) = chance.pick(&all) {
                machine.crash(container);
            }
        }
        Fault::Clock => {
            let millis = i64::from(chance.number(0, 240_000)) - 120_000;
            machine.clock.jump(millis);
        }
        _ => {}
    }
}

/// Ends what [`begin_on_node`] began. A cut that heals lets through what it held, or the connection broke over it.
pub fn end_on_node(fault: Fault, machine: &Machine, net: &Net, chance: &mut Chance) {
    let name = &machine.name;
    match fault {
        Fault::Partition | Fault::OneWay => {
            if chance.percent(50) {
                net.break_connections(name);
            }
            net.set_way(name, |w| (w.cut_up, w.cut_down) = (false, false));
        }
        Fault::Delay => net.set_way(name, |w| w.delay = Duration::ZERO),
        Fault::Duplicate => net.set_way(name, |w| w.repeated = 0),
        Fault::SlowStart => machine.set_habits(Habits::default()),
        _ => {}
    }
}

/// How the store behaves under a fault.
pub fn manners(fault: Fault, chance: &mut Chance) -> Manners {
    match fault {
        Fault::StoreError => Manners {
            errors: chance.number(10, 100),
            delay: Duration::ZERO,
        },
        Fault::StoreDelay => Manners {
            errors: 0,
            delay: chance.millis(10, 800),
        },
        _ => Manners::default(),
    }
}

/// Whether a fault gives what runs on its node an excuse to be moved or restarted. A frame that comes twice, a
/// clock that is set and a slow start give none.
pub fn disturbs(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::NodeLoss
            | Fault::AgentRestart
            | Fault::Partition
            | Fault::OneWay
            | Fault::LinkBreak
            | Fault::Delay
    )
}

/// Says in the trace what begins and ends.
pub fn announce(ground: &Ground, fault: Fault, node: Option<&NodeName>, begins: bool) {
    let word = match begins {
        true => "begins",
        false => "ends",
    };
    let whom = node.map(|n| format!(" of {n}")).unwrap_or_default();
    ground.note(format!("fault: {fault}{whom} {word}"));
}
