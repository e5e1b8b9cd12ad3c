//! What is kept on disk of one container: its spec, its state, its output.
//!
//! Called by [`super::Processes`] and [`super::container`]. The spec holds secrets, so folders are
//! readable by their owner only. The state is replaced as a whole: a reader sees the old or the new.

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::ContainerSpec;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where a container is in its life, as kept on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Life {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running(Run),
    /// Its process has ended.
    Exited(Exit),
}

/// A running process, named so that no other can be mistaken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Its pid, which is its process group too.
    pub(super) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(super) ticks: u64,
    /// Which boot.
    pub(super) boot: String,
    /// Whether its group is stopped.
    pub(super) paused: bool,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) life: Life,
    pub(super) started_at: Option<DateTime<Utc>>,
}

/// The folder of one container.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    pub(super) spec: ContainerSpec,
    pub(super) state: State,
}

impl Folder {
    /// Makes the folder of a new container.
    pub(super) fn create(dir: &Path, id: &ContainerId, spec: &ContainerSpec) -> io::Result<Self> {
        let path = dir.join(id.as_str());
        let state = State {
            life: Life::Created,
            started_at: None,
        };
        let folder = Self {
            path,
            spec: spec.clone(),
            state,
        };
        make_private(&folder.path)?;
        let written = write(&folder.path, "spec.json", &folder.spec)
            .and_then(|()| save(&folder.path, &folder.state));
        if written.is_err() {
            // Half a container is none. What cannot be removed is not found either: it has no state.
            let _ = fs::remove_dir_all(&folder.path);
        }
        written.map(|()| folder)
    }

    pub(super) fn into_parts(self) -> (PathBuf, ContainerSpec, State) {
        (self.path, self.spec, self.state)
    }
}

/// Replaces the state in a container's folder.
pub(super) fn save(path: &Path, state: &State) -> io::Result<()> {
    write(path, "state.json", state)
}

/// Makes a folder that only its owner can read; one that is there is no error.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn write(path: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let temporary = path.join(format!("{name}.new"));
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    // Not synced: a power cut, from which that would save it, ends the processes too.
    serde_json::to_writer(&file, value)?;
    fs::rename(&temporary, path.join(name))
}

/// All containers in `dir`. What was half made or half removed when lain ended is removed.
pub(super) fn find(dir: &Path) -> io::Result<Vec<(ContainerId, Folder)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let id = path
            .file_name()
            .and_then(|name| ContainerId::new(name.to_str()?).ok());
        let Some(id) = id.filter(|_| path.is_dir()) else {
            continue;
        };
        match (read(&path, "spec.json"), read(&path, "state.json")) {
            (Ok(spec), Ok(state)) => found.push((id, Folder { path, spec, state })),
            (Err(e), _) | (_, Err(e)) => {
                tracing::warn!(container.id = %id, error = %e, "unreadable folder of a container removed");
                fs::remove_dir_all(&path)?;
            }
        }
    }
    Ok(found)
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path, name: &str) -> io::Result<T> {
    let text = fs::read(path.join(name))?;
    Ok(serde_json::from_slice(&text)?)
}
