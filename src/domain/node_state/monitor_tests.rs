//! A node's life, case by case and at random.

use super::*;
use crate::domain::node_state::probe::tests::well;
use proptest::prelude::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Round figures, so that the tables can be checked by eye.
fn settings() -> Settings {
    Settings {
        times: Times {
            heartbeat: ms(250),
            suspect_after: ms(750),
            down_after: ms(2000),
            takeover_after: ms(3000),
            ..Times::default()
        },
        ..Settings::default()
    }
}

/// A node that was heard at 0, and a reading of what it tells as text.
struct Life {
    monitor: Monitor,
    told: Vec<String>,
}

impl Life {
    fn new() -> Self {
        let mut life = Self {
            monitor: Monitor::new(settings(), ms(0)),
            told: Vec::new(),
        };
        life.on(Event::Heard, 0);
        life.told.clear();
        life
    }

    fn on(&mut self, event: Event, at: u64) {
        for notice in self.monitor.on(event, ms(at)) {
            self.told.push(match notice {
                Notice::State { to, cause, .. } => format!("{at} {to}: {cause}"),
                Notice::TakeOver => format!("{at} take over"),
            });
        }
    }

    /// Ticks each 50 ms, with a heartbeat each 250 ms where it is heard.
    fn pass(&mut self, range: std::ops::RangeInclusive<u64>, heard: bool) {
        for at in range.step_by(50) {
            self.on(Event::Tick, at);
            if heard && at % 250 == 0 {
                self.on(Event::Heard, at);
            }
        }
    }
}

#[test]
fn a_lost_node_is_suspect_then_down_then_taken_over() {
    let mut life = Life::new();
    life.pass(50..=10_000, true);
    assert_eq!(life.told, [""; 0]);
    life.pass(10_050..=20_000, false);
    let expected = [
        "10750 suspect: not heard for 0.8 s",
        "12000 down: not heard for 2.0 s",
        "13000 take over",
    ];
    assert_eq!(life.told, expected);
}

#[test]
fn a_short_silence_changes_nothing_that_runs() {
    let mut life = Life::new();
    life.pass(50..=1750, false);
    life.on(Event::Heard, 1751);
    let expected = [
        "750 suspect: not heard for 0.8 s",
        "1751 ready: it is heard, and nothing is wrong with it",
    ];
    assert_eq!(life.told, expected);
}

#[test]
fn a_closed_connection_is_suspect_at_once_but_not_down() {
    let mut life = Life::new();
    life.on(Event::LinkClosed, 100);
    life.pass(150..=1000, false);
    life.on(Event::Heard, 1050);
    let expected = [
        "100 suspect: its agent is not connected",
        "1050 ready: it is heard, and nothing is wrong with it",
    ];
    assert_eq!(life.told, expected);
}

#[test]
fn a_node_that_comes_back_has_to_stay_for_a_while() {
    let mut life = Life::new();
    life.pass(50..=2450, false);
    life.told.clear();
    life.pass(2500..=4000, true);
    let expected = [
        "2500 suspect: it has just come back",
        "3500 ready: it is heard, and nothing is wrong with it",
    ];
    assert_eq!(
        life.told, expected,
        "before the takeover: what may not run twice stayed"
    );
    assert!(!life.monitor.taken_over());
    let mut life = Life::new();
    life.pass(50..=2450, false);
    life.on(Event::Heard, 2500);
    life.told.clear();
    life.pass(2550..=6000, false);
    assert_eq!(
        life.told,
        ["3250 down: not heard for 0.8 s", "5500 take over"]
    );
}

#[test]
fn a_control_host_that_stood_still_alarms_nobody() {
    let mut life = Life::new();
    life.pass(50..=1000, true);
    // A minute passes without a call; then the heartbeats that had waited are read.
    life.on(Event::Tick, 61_000);
    life.on(Event::Heard, 61_001);
    assert_eq!(life.told, [""; 0]);
    // The node was lost meanwhile: that is found out as late as if the silence had begun now.
    let mut life = Life::new();
    life.pass(50..=1000, true);
    life.pass(61_000..=65_000, false);
    assert_eq!(life.told[1], "62750 down: not heard for 2.0 s");
}

#[test]
fn a_control_host_that_is_frozen_and_thawed_declares_nobody_down() {
    // For any length of the freeze, whatever is done first when it goes on, and also when it is frozen again.
    for frozen in [600, 1700, 5000, 10_000, 60_000] {
        for beats_first in [false, true] {
            let mut life = Life::new();
            life.pass(50..=1000, true);
            let thawed = 1000 + frozen;
            if beats_first {
                life.on(Event::Heard, thawed);
            }
            life.on(Event::Tick, thawed + 1);
            life.on(Event::Tick, thawed + 1 + frozen);
            life.on(Event::Heard, thawed + 2 + frozen);
            life.on(Event::Tick, thawed + 50 + frozen);
            assert_eq!(life.told, [""; 0], "{frozen} {beats_first}");
        }
    }
}

#[test]
fn an_agent_that_said_goodbye_is_waited_for() {
    let mut life = Life::new();
    life.on(Event::Away(ms(10_000)), 1000);
    life.pass(1050..=5000, false);
    // A control host that is frozen meanwhile waits no longer, and no shorter, for that.
    life.on(Event::Tick, 9000);
    life.pass(9050..=15_000, false);
    let expected = [
        "1000 suspect: its agent is not connected",
        "13000 down: not heard for 2.0 s",
        "14000 take over",
    ];
    assert_eq!(life.told, expected);
    // It is back.
    let mut life = Life::new();
    life.on(Event::Away(ms(10_000)), 1000);
    life.on(Event::Heard, 2000);
    assert_eq!(life.monitor.presence(), Presence::Up);
}

#[test]
fn what_may_not_run_twice_leaves_later_and_never_for_a_dead_engine() {
    let mut life = Life::new();
    let mut left = Vec::new();
    for at in (0..=3500).step_by(500) {
        life.on(Event::Tick, at);
        left.push((at, life.monitor.is_left(false), life.monitor.is_left(true)));
    }
    let first = |exclusive: bool| {
        let found = left
            .iter()
            .find(|(_, any, one)| if exclusive { *one } else { *any });
        found.map(|f| f.0)
    };
    assert_eq!((first(false), first(true)), (Some(2000), Some(3000)));
    let mut life = Life::new();
    let dead = Report {
        engine_silent: ms(31_000),
        ..well()
    };
    life.on(Event::Probed(dead), 100);
    assert!(life.monitor.is_left(false) && !life.monitor.is_left(true));
}

#[test]
fn a_new_leader_waits_for_nodes_that_it_has_not_heard() {
    let mut life = Life {
        monitor: Monitor::new(settings(), ms(5000)),
        told: Vec::new(),
    };
    assert_eq!(life.monitor.state(), NodeState::Suspect);
    life.pass(5050..=8000, false);
    assert_eq!(
        life.told,
        ["7000 down: not heard for 2.0 s", "8000 take over"]
    );
}

#[test]
fn operators_probes_and_blame_are_weighed() {
    let full = Report {
        disk_free: 1,
        ..well()
    };
    let dead = Report {
        engine_silent: ms(31_000),
        ..well()
    };
    let mut life = Life::new();
    let mut at = 0;
    let mut step = |event: Event| {
        at += 100;
        life.on(Event::Heard, at);
        life.on(event, at);
        let cause = life.monitor.cause(ms(at)).to_string();
        let cause: String = cause.chars().take(24).collect();
        format!("{} {cause}", life.monitor.state())
    };
    let table = [
        (Event::Cordon, "cordoned an operator wants it so"),
        (Event::Probed(full), "cordoned an operator wants it so"),
        (Event::Uncordon, "cordoned the disk is nearly full:"),
        (Event::Drain, "draining an operator wants it so"),
        (Event::Probed(well()), "draining an operator wants it so"),
        (Event::Cordon, "cordoned an operator wants it so"),
        (Event::Probed(dead), "draining the engine has not answe"),
        (Event::Probed(well()), "cordoned an operator wants it so"),
        (Event::Uncordon, "ready it is heard, and nothing"),
    ];
    for (event, expected) in table {
        let what = format!("{event:?}");
        assert_eq!(step(event), expected, "{what}");
    }
}

#[test]
fn a_draining_node_that_is_lost_and_found_drains_on() {
    let mut life = Life::new();
    life.on(Event::Drain, 100);
    life.pass(150..=3000, false);
    assert_eq!(life.monitor.state(), NodeState::Down);
    life.pass(3050..=5000, true);
    assert_eq!(life.monitor.state(), NodeState::Draining);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Whatever comes in: a node is down only after the silence that was agreed on, taken over only when down and
    /// only once, and every change of state is told with what was before it.
    #[test]
    fn no_false_alarm_and_nothing_untold(
        steps in prop::collection::vec((0..8u8, 1..900u64), 1..120),
    ) {
        let settings = settings();
        let mut monitor = Monitor::new(settings, ms(0));
        let (mut now, mut heard) = (0, 0);
        let mut state = monitor.state();
        let mut taken = false;
        for (what, later) in steps {
            now += later;
            let event = match what {
                0 | 1 => Event::Heard,
                2 => Event::LinkClosed,
                3 => Event::Cordon,
                4 => Event::Uncordon,
                5 => Event::Probed(Report { engine_silent: ms(later * 10), ..well() }),
                _ => Event::Tick,
            };
            if event == Event::Heard {
                heard = now;
            }
            for notice in monitor.on(event, ms(now)) {
                match notice {
                    Notice::State { from, to, .. } => {
                        prop_assert_eq!(from, state);
                        prop_assert_ne!(from, to);
                        if to == NodeState::Down && from != NodeState::Suspect {
                            prop_assert!(ms(now - heard) >= settings.times.down_after);
                        }
                        state = to;
                    }
                    Notice::TakeOver => {
                        prop_assert_eq!(state, NodeState::Down);
                        prop_assert!(ms(now - heard) >= settings.times.takeover_after);
                        prop_assert!(!taken);
                        taken = true;
                    }
                }
            }
            taken &= monitor.taken_over();
            prop_assert_eq!(monitor.state(), state);
        }
    }
}
