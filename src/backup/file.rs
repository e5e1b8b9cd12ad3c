//! Backup files: written under another name and moved into place, 0600, since they hold what the store holds.

use crate::backup::format::{Header, decode, encode};
use crate::backup::{BackupError, Existing, Summary, fill, snapshot, summary};
use crate::ports::store::Store;
use chrono::{DateTime, Utc};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// Writes a backup of `store` to a new file.
///
/// # Errors
/// [`BackupError::Exists`], [`BackupError::Io`], and what can happen to the store.
pub async fn back_up_to_file(
    store: &dyn Store,
    path: &Path,
    now: DateTime<Utc>,
) -> Result<Summary, BackupError> {
    let failed = |action: &'static str| {
        move |source: io::Error| BackupError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let kind = store.describe().await?.kind;
    let items = snapshot(store).await?;
    let bytes = encode(&Header::new(now, kind), &items).map_err(failed("make"))?;
    let part = part_of(path);
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&part).await.map_err(failed("make"))?;
    file.write_all(&bytes).await.map_err(failed("write"))?;
    file.sync_all().await.map_err(failed("write"))?;
    // A link, not a rename: it fails where there is something already.
    let linked = tokio::fs::hard_link(&part, path).await;
    let removed = tokio::fs::remove_file(&part).await;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(path.to_owned()));
        }
        linked => linked.and(removed).map_err(failed("write"))?,
    }
    sync_directory(path).await.map_err(failed("write"))?;
    Ok(summary(&items, Some(now)))
}

/// Fills `store` from a backup file; nothing is changed where the file is not whole.
///
/// # Errors
/// Those of [`decode`] and [`fill`], and [`BackupError::Io`].
pub async fn restore_from_file(
    store: &dyn Store,
    path: &Path,
    existing: Existing,
) -> Result<Summary, BackupError> {
    let bytes = tokio::fs::read(path).await;
    let bytes = bytes.map_err(|source| BackupError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let (header, items) = decode(&bytes)?;
    fill(store, &items, existing).await?;
    Ok(summary(&items, Some(header.created_at)))
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    PathBuf::from(name)
}

/// Makes the file's name durable.
async fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let directory = tokio::fs::File::open(parent.unwrap_or(Path::new("."))).await?;
    directory.sync_all().await
}
