//! Tokens in a list, as they are: for tests only.

use crate::ports::auth::{Principal, Scope, TokenError, TokenVerifier};

/// Tokens and whose they are.
#[derive(Debug, Default)]
pub struct MemoryTokens(Vec<(String, Principal)>, Option<Principal>);

impl MemoryTokens {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, token: &str, name: &str, scopes: Vec<Scope>) -> Self {
        let principal = Principal {
            name: name.to_owned(),
            scopes,
        };
        self.0.push((token.to_owned(), principal));
        self
    }

    /// Asks for no token: every request stands for this one.
    #[must_use]
    pub fn none_needed(mut self, name: &str, scopes: Vec<Scope>) -> Self {
        self.1 = Some(Principal {
            name: name.to_owned(),
            scopes,
        });
        self
    }
}

impl TokenVerifier for MemoryTokens {
    fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let found = self.0.iter().find(|(known, _)| known == token);
        match found {
            Some((_, principal)) => Ok(principal.clone()),
            None => Err(TokenError::Unknown),
        }
    }

    fn anonymous(&self) -> Option<Principal> {
        self.1.clone()
    }
}
