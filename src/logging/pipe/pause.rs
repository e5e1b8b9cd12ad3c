//! Which sinks are paused: a file for each, so that a pause outlives the process.

use crate::logging::spool::{Spool, SpoolError};
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

fn path(spool: &Spool, sink: &str) -> PathBuf {
    spool.dir().join("paused").join(sink)
}

/// Whether a sink is paused.
pub(super) fn is(spool: &Spool, sink: &str) -> bool {
    path(spool, sink).exists()
}

/// Notes whether a sink is paused, durably.
pub(super) fn set(spool: &Spool, sink: &str, paused: bool) -> Result<(), SpoolError> {
    let path = path(spool, sink);
    let failed = |action| {
        let path = path.clone();
        move |error| SpoolError::Io {
            action,
            path,
            error,
        }
    };
    if !paused {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove")(error)),
            _ => Ok(()),
        };
    }
    let folder = spool.dir().join("paused");
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(failed("make the folder of"))?;
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path);
    opened.map_err(failed("write"))?;
    let synced = fs::File::open(&folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("sync the folder of"))
}
