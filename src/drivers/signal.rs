//! Signals by the names that Docker accepts. Pure.
//!
//! Called by the runtimes that send signals themselves.

use crate::domain::crash::signal_name;
use crate::domain::id::ContainerId;
use crate::ports::runtime::RuntimeError;

/// The number of `SIGKILL`, `KILL` or `9`.
///
/// # Errors
/// [`RuntimeError::Refused`] when there is no such signal.
pub(super) fn number(name: &str, id: &ContainerId) -> Result<i32, RuntimeError> {
    parse(name).ok_or_else(|| RuntimeError::Refused {
        action: format!("signal container {id}"),
        reason: format!("there is no signal {name}"),
    })
}

fn parse(name: &str) -> Option<i32> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let named = (1..=31).find(|n| signal_name(*n).is_some_and(|full| &full[3..] == bare));
    named.or_else(|| name.parse().ok().filter(|n| (1..=64).contains(n)))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(parse("SIGKILL"), Some(9));
        assert_eq!(parse("TERM"), Some(15));
        assert_eq!(parse("9"), Some(9));
        assert_eq!(parse("NONSENSE"), None);
        assert_eq!(parse("65"), None);
    }
}
