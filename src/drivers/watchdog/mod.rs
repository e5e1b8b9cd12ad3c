//! An agent's watchdog: a process of this very binary that stops what may run only once when the agent cannot.
//!
//! The agent writes into a small file ([`note`]) until when its lease lasts and what runs under it; the watchdog
//! ([`dog`]) reads that when the time has come. Both look at the same clock, which goes on while the machine is
//! suspended. A file, since it outlives both: an agent that is started anew goes on under the lease of before.

pub mod dog;
mod note;

use crate::drivers::boot_id;
use crate::ports::clock::since_boot;
use crate::ports::watchdog::{Guarded, Inherited, Watchdog};
use note::{Note, Notes};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::process::Command;

/// The hidden verb by which the binary becomes a watchdog.
pub const VERB: &str = "agent-watchdog";
/// The pause before a watchdog that has ended is started anew.
const AGAIN: Duration = Duration::from_millis(500);

/// The agent's end of its watchdog.
pub struct FileWatchdog {
    notes: Notes,
    path: PathBuf,
    owner: String,
    inherited: Mutex<Option<Inherited>>,
}

impl FileWatchdog {
    /// The watchdog of the agent whose data is in `dir`. Its process is started by [`FileWatchdog::keep_alive`].
    ///
    /// # Errors
    /// What the system said of the file.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(note::FILE);
        let notes = Notes::open(&path)?;
        let inherited = notes.read().and_then(|note| left_of(note, since_boot()));
        Ok(Self {
            notes,
            path,
            owner: uuid::Uuid::now_v7().to_string(),
            inherited: Mutex::new(inherited),
        })
    }

    /// Keeps the watchdog's process running for as long as this one does.
    pub async fn keep_alive(&self) {
        loop {
            match self.start() {
                Ok(mut process) => match process.wait().await {
                    Ok(status) => {
                        tracing::warn!(%status, "the watchdog has ended; it is started anew")
                    }
                    Err(error) => tracing::warn!(%error, "the watchdog cannot be waited for"),
                },
                Err(error) => tracing::error!(
                    %error,
                    "the watchdog cannot be started: what may run only once is not stopped while this agent is stopped"
                ),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn start(&self) -> io::Result<tokio::process::Child> {
        // The binary that runs, also where another one has taken its place on disk meanwhile.
        Command::new("/proc/self/exe")
            .arg(VERB)
            .arg("--note")
            .arg(&self.path)
            .args(["--owner", &self.owner])
            // Ends when this process does.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A stop from the terminal is for the agent alone.
            .process_group(0)
            .spawn()
    }
}

impl Watchdog for FileWatchdog {
    fn inherited(&self) -> Option<Inherited> {
        let mut inherited = self
            .inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inherited.take()
    }

    fn tell(&self, left: Option<Duration>, guarded: &[Guarded]) -> Result<(), String> {
        let note = Note {
            boot: boot_id(),
            owner: self.owner.clone(),
            deadline: left.map(|left| since_boot() + left),
            guarded: guarded.to_vec(),
        };
        self.notes
            .write(&note)
            .map_err(|e| format!("{} cannot be written: {e}", self.path.display()))
    }
}

/// What is left of the lease of an incarnation before: nothing of one from before the machine was started.
fn left_of(note: Note, now: Duration) -> Option<Inherited> {
    let left = note.deadline?.checked_sub(now)?;
    (note.boot == boot_id()).then_some(Inherited {
        left,
        guarded: note.guarded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ContainerId;

    fn guarded(name: &str) -> Guarded {
        Guarded {
            name: name.to_owned(),
            id: ContainerId::new("ab".repeat(32)).unwrap(),
            pid: Some(7),
        }
    }

    #[test]
    fn the_next_incarnation_goes_on_under_the_lease_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let first = FileWatchdog::open(dir.path()).unwrap();
        assert_eq!(first.inherited(), None);
        let long = Duration::from_secs(3600);
        first.tell(Some(long), &[guarded("a")]).unwrap();
        let second = FileWatchdog::open(dir.path()).unwrap();
        let inherited = second.inherited().unwrap();
        assert_eq!(inherited.guarded, [guarded("a")]);
        assert!(inherited.left <= long && inherited.left > long / 2);
        assert_eq!(second.inherited(), None, "once");
        // No lease, or one that has ended, leaves nothing.
        for left in [None, Some(Duration::ZERO)] {
            first.tell(left, &[guarded("a")]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(FileWatchdog::open(dir.path()).unwrap().inherited(), None);
        }
    }

    #[test]
    fn a_lease_from_before_the_machine_was_started_is_none() {
        let note = Note {
            boot: "another".to_owned(),
            owner: "x".to_owned(),
            deadline: Some(Duration::from_secs(u64::MAX / 4)),
            guarded: Vec::new(),
        };
        assert_eq!(left_of(note, since_boot()), None);
    }
}
