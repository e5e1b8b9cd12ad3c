//! The segment files of a spool: named by the position of their first byte.

use super::SpoolError;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of the segments in the spool's.
pub(super) fn segments_dir(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// The folder of the cursors in the spool's.
pub(super) fn cursors_dir(dir: &Path) -> PathBuf {
    dir.join("cursors")
}

/// The file of the segment that begins at `base`.
pub(super) fn path(dir: &Path, base: u64) -> PathBuf {
    segments_dir(dir).join(format!("{base:020}.log"))
}

pub(super) fn failed(action: &'static str, path: &Path, error: io::Error) -> SpoolError {
    SpoolError::Io {
        action,
        path: path.to_owned(),
        error,
    }
}

/// Makes a folder, readable by its owner only.
pub(super) fn make_dir(path: &Path) -> Result<(), SpoolError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|e| failed("make the folder", path, e))
}

/// The segments that there are: position and length, in order. Files of other names are left alone.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, u64)>, SpoolError> {
    let folder = segments_dir(dir);
    let entries = fs::read_dir(&folder).map_err(|e| failed("read", &folder, e))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed("read", &folder, e))?;
        let name = entry.file_name();
        let base = name
            .to_str()
            .and_then(|n| n.strip_suffix(".log"))
            .and_then(|n| n.parse().ok());
        if let (Some(base), Ok(meta)) = (base, entry.metadata()) {
            found.push((base, meta.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes a new segment.
pub(super) fn create(dir: &Path, base: u64) -> Result<File, SpoolError> {
    let path = path(dir, base);
    let opened = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path);
    opened.map_err(|e| failed("make", &path, e))
}

/// Makes what was created or removed in a folder durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), SpoolError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(|e| failed("sync", path, e))
}
