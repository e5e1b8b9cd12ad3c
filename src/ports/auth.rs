//! What a token allows, and what the API asks of whoever keeps the tokens.
//!
//! `auth` implements it over the store; `web` calls it once for each request. The verifier
//! compares in constant time and keeps no token in clear.

use crate::domain::id::{AppName, InvalidId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a token permits: `admin`, `read` or `app:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everything.
    Admin,
    /// To read everything, and to change nothing.
    Read,
    /// To read and change one app, and to see nothing else.
    App(AppName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Admin => f.write_str("admin"),
            Scope::Read => f.write_str("read"),
            Scope::App(app) => write!(f, "app:{app}"),
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "admin" => Ok(Scope::Admin),
            "read" => Ok(Scope::Read),
            _ => match text.strip_prefix("app:") {
                Some(app) => AppName::new(app).map(Scope::App),
                None => Err(InvalidId {
                    kind: "scope",
                    value: text.to_owned(),
                    rule: "admin, read or app:<name>",
                }),
            },
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}

/// Who a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's name, for operations and audit.
    pub name: String,
    /// What it permits: the union of these.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Whether it may read what belongs to no single app: nodes, the tree, audit.
    pub fn may_read_all(&self) -> bool {
        self.scopes
            .iter()
            .any(|scope| matches!(scope, Scope::Admin | Scope::Read))
    }

    /// Whether it may change what belongs to no single app.
    pub fn may_change_all(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }

    /// Whether it may read this app.
    pub fn may_read(&self, app: &str) -> bool {
        self.may_read_all() || self.is_for(app)
    }

    /// Whether it may change this app.
    pub fn may_change(&self, app: &str) -> bool {
        self.may_change_all() || self.is_for(app)
    }

    fn is_for(&self, app: &str) -> bool {
        self.scopes
            .iter()
            .any(|scope| matches!(scope, Scope::App(name) if name.as_str() == app))
    }
}

/// Why a token is refused. Says nothing that helps to guess one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token is like that one.
    #[error("this token is not known; `lain token list` on the server shows those that are")]
    Unknown,
    /// It was known, and has expired.
    #[error("the token {0} has expired; make a new one with `lain token create`")]
    Expired(String),
    /// The tokens cannot be read just now.
    #[error("the tokens cannot be read: {0}; repeat in a moment")]
    Unavailable(String),
}

/// Tells whose a bearer token is.
pub trait TokenVerifier: Send + Sync + 'static {
    /// Whose `token` is, in constant time for a given number of tokens; it is quick and never waits.
    ///
    /// # Errors
    /// [`TokenError`] where it is nobody's.
    fn verify(&self, token: &str) -> Result<Principal, TokenError>;

    /// Whom every request stands for where no token is asked for at all; `None`: one is needed.
    fn anonymous(&self) -> Option<Principal> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_have_a_text_form() {
        for text in ["admin", "read", "app:own"] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
        }
        assert!("app:".parse::<Scope>().is_err());
        assert!("root".parse::<Scope>().is_err());
    }

    #[test]
    fn scopes_permit_what_they_say() {
        let app = |name: &str| Scope::App(AppName::new(name).unwrap());
        // scopes, may read all, may change all, may read shop, may change shop
        let rows = [
            (vec![], [false, false, false, false]),
            (vec![Scope::Admin], [true, true, true, true]),
            (vec![Scope::Read], [true, false, true, false]),
            (vec![app("shop")], [false, false, true, true]),
            (vec![app("other")], [false, false, false, false]),
            (vec![Scope::Read, app("shop")], [true, false, true, true]),
        ];
        for (scopes, wanted) in rows {
            let who = Principal {
                name: "ci".to_owned(),
                scopes,
            };
            let got = [
                who.may_read_all(),
                who.may_change_all(),
                who.may_read("shop"),
                who.may_change("shop"),
            ];
            assert_eq!(got, wanted, "{:?}", who.scopes);
        }
    }
}
