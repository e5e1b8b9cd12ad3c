//! From what etcd says to [`StoreError`]: which failures pass, which leave it unknown what happened.

use crate::ports::store::StoreError;
use etcd_client::Error;
use std::fmt::Display;
use tokio::time::error::Elapsed;

/// gRPC's codes, by number: the crate that names them is no dependency of ours.
const CANCELLED: i32 = 1;
const UNKNOWN: i32 = 2;
const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const RESOURCE_EXHAUSTED: i32 = 8;
const ABORTED: i32 = 10;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;

/// Any failure.
pub fn failed(action: &str, reason: &dyn Display) -> StoreError {
    StoreError::Failed {
        action: action.to_owned(),
        reason: reason.to_string(),
    }
}

/// What a failure says, without the parts of gRPC that tell nobody anything.
pub fn text(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) if !status.message().is_empty() => status.message().to_owned(),
        other => other.to_string(),
    }
}

/// Whether the same call may succeed a moment later: etcd is not there, or has no leader now.
pub fn is_passing(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => matches!(
            status.code() as i32,
            CANCELLED | UNKNOWN | DEADLINE_EXCEEDED | ABORTED | INTERNAL | UNAVAILABLE
        ),
        Error::IoError(_)
        | Error::TransportError(_)
        | Error::WatchError(_)
        | Error::EndpointError(_) => true,
        _ => false,
    }
}

/// Whether a revision was asked for that is no longer, or not yet, there.
pub fn is_compacted(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("required revision"))
}

/// The result of a call that is made once: a failure that passes leaves it unknown whether it was carried out.
pub fn flat<T>(action: &str, done: Result<Result<T, Error>, Elapsed>) -> Result<T, StoreError> {
    let unknown = |why: &str| {
        let reason =
            format!("{why}; it is unknown whether it was carried out: read before you repeat it");
        failed(action, &reason)
    };
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) if refused_at_once(&e) || !is_passing(&e) => Err(failed(action, &advice(&e))),
        Ok(Err(e)) => Err(unknown(&text(&e))),
        Err(_) => Err(unknown("no answer in time")),
    }
}

/// Whether the connection was never made, so that nothing can have happened.
pub fn refused_at_once(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        source = cause.source();
    }
    false
}

/// What to do about a failure that etcd's own limits or rules have caused.
fn advice(error: &Error) -> String {
    let text = text(error);
    let Error::GRpcStatus(status) = error else {
        return text;
    };
    let advice = match status.code() as i32 {
        RESOURCE_EXHAUSTED if text.contains("space") => {
            "; etcd's quota is used up: compact and defragment it, then `etcdctl alarm disarm`"
        }
        INVALID_ARGUMENT if text.contains("too many operations") => {
            "; start etcd with a higher --max-txn-ops"
        }
        INVALID_ARGUMENT | RESOURCE_EXHAUSTED
            if text.contains("too large") || text.contains("larger than max") =>
        {
            "; start etcd with a higher --max-request-bytes"
        }
        _ => "",
    };
    format!("{text}{advice}")
}
