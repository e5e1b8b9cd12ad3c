//! The watchdog's process: waits until the lease that it was told of has ended, then kills what ran under it.
//!
//! Started by the agent and a sibling of its containers' processes. Does nothing but this, so that there is
//! little that could keep it from it. When its agent is gone it goes on until the lease has ended, or until
//! another start of the agent has written a note of its own.

use crate::domain::id::ContainerId;
use crate::drivers::boot_id;
use crate::drivers::pidfd::{self, Process};
use crate::drivers::watchdog::note::{Note, Notes};
use crate::ports::clock::since_boot;
use crate::ports::watchdog::Guarded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// How long after the end of the lease: an agent that can does it itself, in good order.
const MARGIN: Duration = Duration::from_millis(100);
/// How often the note is read at least.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    /// Nothing, for so long at most.
    Wait(Duration),
    /// The lease has ended.
    Kill,
    /// There is nothing to be guarded any more.
    Leave,
}

/// Pure: what is to be done at `now` with this note, by the watchdog of `owner`, whose agent is there or gone.
fn decide(note: Option<&Note>, boot: &str, owner: &str, gone: bool, now: Duration) -> Act {
    let mine = note.filter(|note| note.owner == owner && note.boot == boot);
    let Some(note) = mine.filter(|note| !note.guarded.is_empty()) else {
        // Not written yet, empty, or that of another start of the agent, which has a watchdog of its own.
        return match gone {
            true => Act::Leave,
            false => Act::Wait(LOOK),
        };
    };
    let ends = note.deadline.map_or(Duration::ZERO, |at| at + MARGIN);
    match ends.checked_sub(now).filter(|left| !left.is_zero()) {
        Some(left) => Act::Wait(left.min(LOOK)),
        None => Act::Kill,
    }
}

/// Guards until the agent at the other end of standard input is gone and nothing is left to be guarded.
///
/// # Errors
/// That the note cannot be opened, or standard input not be watched.
pub fn run(path: &Path, owner: &str) -> io::Result<()> {
    let notes = Notes::open(path)?;
    let (boot, input) = (boot_id(), io::stdin());
    let mut gone = false;
    loop {
        let note = notes.read();
        match decide(note.as_ref(), &boot, owner, gone, since_boot()) {
            Act::Leave => return Ok(()),
            Act::Kill => {
                let guarded = note.map(|note| note.guarded).unwrap_or_default();
                let killed = guarded.iter().filter(|one| kill(one)).count();
                if killed == 0 && gone {
                    return Ok(());
                }
                pause(&input, LOOK, &mut gone)?;
            }
            Act::Wait(time) => pause(&input, time, &mut gone)?,
        }
    }
}

/// Waits, but not past the end of the agent. Once that is known nothing more is to be heard from it.
fn pause(input: &impl AsFd, time: Duration, gone: &mut bool) -> io::Result<()> {
    if *gone {
        std::thread::sleep(time);
        return Ok(());
    }
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    let mut watched = [PollFd::new(input, PollFlags::HUP)];
    match poll(&mut watched, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    *gone = watched[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    Ok(())
}

/// Kills a container; says whether there was anything to kill.
fn kill(guarded: &Guarded) -> bool {
    let Guarded { name, id, pid } = guarded;
    // Its first process takes all others of the container with it.
    let first = pid.filter(|pid| pidfd::is_first_of_container(*pid, id.as_str()));
    let pids = match first {
        Some(pid) => vec![pid],
        None => processes_of(id),
    };
    let mut killed = false;
    for pid in pids {
        let Ok(process) = Process::open(pid) else {
            continue;
        };
        // Held by now, and still the same: its pid cannot become another's between the look and the signal.
        if process.has_ended() || !belongs(pid, id) {
            continue;
        }
        match process.signal(Signal::KILL) {
            Ok(()) => {
                killed = true;
                eprintln!(
                    "lain watchdog: the lease has ended and the agent is silent: killed {name}"
                );
            }
            Err(error) => eprintln!("lain watchdog: {name} cannot be killed: {error}"),
        }
    }
    killed
}

/// The processes of a container, by their control groups.
fn processes_of(id: &ContainerId) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| belongs(*pid, id)).collect()
}

fn belongs(pid: u32, id: &ContainerId) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    groups.is_ok_and(|groups| groups.contains(id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn note(deadline: Option<u64>, guarded: usize) -> Note {
        let one = Guarded {
            name: "a".to_owned(),
            id: ContainerId::new("ab".repeat(32)).unwrap(),
            pid: None,
        };
        Note {
            boot: "boot".to_owned(),
            owner: "me".to_owned(),
            deadline: deadline.map(ms),
            guarded: vec![one; guarded],
        }
    }

    #[test]
    fn it_kills_when_the_lease_has_ended_and_leaves_when_there_is_nothing_to_guard() {
        let held = note(Some(10_000), 1);
        let none = note(None, 1);
        let empty = note(Some(10_000), 0);
        let others = Note {
            owner: "my successor".to_owned(),
            ..held.clone()
        };
        let old = Note {
            boot: "before".to_owned(),
            ..held.clone()
        };
        let table = [
            ("no note yet", None, false, 0, Act::Wait(LOOK)),
            ("no note, agent gone", None, true, 0, Act::Leave),
            ("lease holds", Some(&held), false, 5000, Act::Wait(LOOK)),
            (
                "lease ends soon",
                Some(&held),
                false,
                10_070,
                Act::Wait(ms(30)),
            ),
            ("lease has ended", Some(&held), false, 10_100, Act::Kill),
            (
                "lease holds, agent gone",
                Some(&held),
                true,
                5000,
                Act::Wait(LOOK),
            ),
            (
                "lease has ended, agent gone",
                Some(&held),
                true,
                10_100,
                Act::Kill,
            ),
            ("no lease", Some(&none), false, 1000, Act::Kill),
            (
                "nothing guarded",
                Some(&empty),
                false,
                20_000,
                Act::Wait(LOOK),
            ),
            (
                "nothing guarded, agent gone",
                Some(&empty),
                true,
                0,
                Act::Leave,
            ),
            (
                "the agent's next start",
                Some(&others),
                true,
                20_000,
                Act::Leave,
            ),
            (
                "before the machine's start",
                Some(&old),
                false,
                20_000,
                Act::Wait(LOOK),
            ),
        ];
        for (what, note, gone, at, expected) in table {
            assert_eq!(decide(note, "boot", "me", gone, ms(at)), expected, "{what}");
        }
    }

    #[test]
    fn what_is_in_no_container_is_never_killed() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let guarded = Guarded {
            name: "a".to_owned(),
            id: ContainerId::new("cd".repeat(32)).unwrap(),
            pid: Some(child.id()),
        };
        assert!(!kill(&guarded));
        assert!(pidfd::runs(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
