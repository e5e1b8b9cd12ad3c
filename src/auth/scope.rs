//! What a token allows. Pure.

use crate::domain::id::{AppName, InvalidId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a token allows: `admin`, `read` or `app:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everything.
    Admin,
    /// Reading everything but tokens and secrets.
    Read,
    /// Reading and changing one app.
    App(AppName),
}

impl Scope {
    /// Whether this scope alone suffices for `access`.
    pub fn allows(&self, access: &Access<'_>) -> bool {
        match (self, access) {
            (Scope::Admin, _) => true,
            (Scope::Read, Access::Read | Access::ReadApp(_)) => true,
            (Scope::App(own), Access::ReadApp(app) | Access::ChangeApp(app)) => own == *app,
            (Scope::Read, Access::ChangeApp(_) | Access::Admin) => false,
            (Scope::App(_), Access::Read | Access::Admin) => false,
        }
    }
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

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Reading what is not one app's: nodes, lists, events, the tree.
    Read,
    /// Reading one app: its state, logs and crashes.
    ReadApp(&'a AppName),
    /// Changing one app, or running commands in it.
    ChangeApp(&'a AppName),
    /// Anything else: tokens, nodes, lain's own actors.
    Admin,
}

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's name, for the audit trail.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Whether any of its scopes suffices for `access`.
    pub fn allows(&self, access: Access<'_>) -> bool {
        self.scopes.iter().any(|scope| scope.allows(&access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_allows_what_it_says_and_no_more() {
        let (own, other) = (AppName::new("own").unwrap(), AppName::new("other").unwrap());
        let accesses = [
            Access::Read,
            Access::ReadApp(&own),
            Access::ReadApp(&other),
            Access::ChangeApp(&own),
            Access::ChangeApp(&other),
            Access::Admin,
        ];
        let table = [
            ("admin", [true, true, true, true, true, true]),
            ("read", [true, true, true, false, false, false]),
            ("app:own", [false, true, false, true, false, false]),
        ];
        for (text, expected) in table {
            let scope: Scope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            for (access, expected) in accesses.iter().zip(expected) {
                assert_eq!(scope.allows(access), expected, "{scope} {access:?}");
            }
        }
        assert!("app:".parse::<Scope>().is_err());
        assert!("root".parse::<Scope>().is_err());
    }

    #[test]
    fn scopes_add_up() {
        let app = AppName::new("own").unwrap();
        let principal = Principal {
            name: "ci".to_owned(),
            scopes: vec![Scope::Read, Scope::App(app.clone())],
        };
        assert!(principal.allows(Access::Read) && principal.allows(Access::ChangeApp(&app)));
        assert!(!principal.allows(Access::Admin));
    }
}
