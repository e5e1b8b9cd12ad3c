//! From what the library and the system say to [`StoreError`]: damage, full disk, or anything else.

use crate::ports::store::StoreError;
use std::any::Any;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Any failure that is neither damage nor a full disk.
pub fn failed(action: &str, reason: &dyn Display) -> StoreError {
    StoreError::Failed {
        action: action.to_owned(),
        reason: reason.to_string(),
    }
}

/// The file is damaged; says how to go on.
pub fn corrupt(path: &Path, reason: &dyn Display) -> StoreError {
    let path = path.display().to_string();
    StoreError::Corrupt {
        reason: reason.to_string(),
        remedy: format!(
            "put a backup copy in its place, or keep the damaged file with `mv {path} {path}.damaged` \
             and start lain again with an empty store: containers go on running, deploy the apps again"
        ),
        path,
    }
}

/// An input or output error while doing `action`, a verb, to the file.
pub fn io(path: &Path, action: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull {
            path: path.display().to_string(),
        },
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => corrupt(path, error),
        _ => failed(&format!("{action} {}", path.display()), error),
    }
}

/// An error of the library while doing `action`, a verb, to the file.
pub fn redb(path: &Path, action: &str, error: impl Into<::redb::Error>) -> StoreError {
    match error.into() {
        ::redb::Error::Io(e) => io(path, action, &e),
        ::redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.display().to_string(),
            owner: String::new(),
        },
        e @ (::redb::Error::Corrupted(_)
        | ::redb::Error::RepairAborted
        | ::redb::Error::TableTypeMismatch { .. }
        | ::redb::Error::TableIsMultimap(_)
        | ::redb::Error::TableDoesNotExist(_)) => corrupt(path, &e),
        e => failed(&format!("{action} {}", path.display()), &e),
    }
}

/// Runs `body`; a panic in it is damage that the library did not foresee.
pub fn catching<T>(
    path: &Path,
    body: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(corrupt(path, &message(panic.as_ref()))))
}

/// The text of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}
