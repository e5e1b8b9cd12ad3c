//! A text that must never be shown: a token, a password, a key.
//!
//! Used by `config`, `auth` and the registry. It has no `Display` and no `Serialize`, so that it
//! cannot reach a log, an error or a response by accident; [`Secret::expose`] is the only way in.

use serde::{Deserialize, Deserializer};
use std::fmt;

/// What stands in for a secret wherever it would be shown.
pub const MASK: &str = "***";

/// A secret text. `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Give it to the one call that needs it, never to a formatter.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// No text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it_even_inside_other_values() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(format!("{:?}", Some(vec![secret.clone()])), "Some([***])");
        assert_eq!(secret.expose(), "hunter2");
    }
}
