//! Newtypes for every identifier of lain, each with a checked constructor.
//!
//! Called by everyone; never performs I/O. Parsing an identifier is the only
//! way to make one, so a value of these types is always well formed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {kind}: {rule}")]
pub struct InvalidId {
    /// What was to be made, such as `app name`.
    pub kind: &'static str,
    /// The offending text.
    pub value: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        ///
        /// Shared by its clones: ids stand in many places each.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            /// Checks `value` and wraps it.
            ///
            /// # Errors
            /// [`InvalidId`] naming the rule that `value` breaks.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidId> {
                let value = value.into();
                let check: fn(&str) -> bool = $check;
                if check(&value) {
                    Ok(Self(value.into()))
                } else {
                    Err(InvalidId { kind: $kind, value, rule: $rule })
                }
            }

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(value: &str) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The longest name accepted for an app, proc or node: a DNS label, since names end up in DNS.
pub const MAX_NAME: usize = 63;

/// A name part: letter first, then letters and digits with single inner dashes.
fn dashed(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_NAME
        && text.as_bytes()[0].is_ascii_alphabetic()
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// An app name, or dotted parts of which each is one (`resource.redis.shop`).
fn app_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(dashed)
        && !matches!(text, "service" | "resource" | "portal")
}

text_id!(
    /// The name of an app, unique in the cluster (LAIN `appname`). Resource instances have dotted names.
    AppName, "app name",
    "letters, digits and single inner dashes, a letter first, at most 63 characters a part; `service`, `resource` and `portal` are reserved",
    app_name
);
text_id!(
    /// The name of a proc, unique in its app.
    ProcName, "proc name",
    "letters, digits and single inner dashes, a letter first, at most 63 characters",
    dashed
);
text_id!(
    /// The name of a node, unique in the cluster.
    NodeName, "node name",
    "1 to 63 letters, digits, dashes, dots or underscores, a letter or digit first",
    |text| !text.is_empty()
        && text.len() <= MAX_NAME
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
);
text_id!(
    /// The engine's own id of a container.
    ContainerId, "container id", "1 to 128 printable ASCII characters without spaces",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
);
text_id!(
    /// The id of an operation: a UUID of version 7, so that ids sort by time.
    OperationId, "operation id", "letters, digits and dashes, at most 64 characters",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
);
text_id!(
    /// The id of a crash report: a UUID of version 7.
    CrashId, "crash id", "letters, digits and dashes, at most 64 characters",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
);

/// The kind of a proc, the prefix of its section in `lain.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcType {
    /// Answers HTTP behind the router.
    Web,
    /// Runs in the background for ever.
    Worker,
    /// Runs once to its end.
    Oneshot,
    /// The proxy through which clients of a service reach it.
    Portal,
    /// Runs on a schedule (ours; LAIN has none).
    Cron,
}

impl ProcType {
    /// Whether some instances of procs of this type may be updated first and watched.
    pub fn has_canaries(self) -> bool {
        matches!(self, ProcType::Web | ProcType::Worker)
    }

    /// Every proc type, in the order of the documentation.
    pub const ALL: [ProcType; 5] = [
        ProcType::Web,
        ProcType::Worker,
        ProcType::Oneshot,
        ProcType::Portal,
        ProcType::Cron,
    ];

    /// The word used in `lain.yaml`, names and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            ProcType::Web => "web",
            ProcType::Worker => "worker",
            ProcType::Oneshot => "oneshot",
            ProcType::Portal => "portal",
            ProcType::Cron => "cron",
        }
    }
}

impl fmt::Display for ProcType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProcType {
    type Err = InvalidId;
    fn from_str(value: &str) -> Result<Self, InvalidId> {
        ProcType::ALL
            .into_iter()
            .find(|t| t.as_str() == value)
            .ok_or_else(|| InvalidId {
                kind: "proc type",
                value: value.to_owned(),
                rule: "one of web, worker, oneshot, portal, cron",
            })
    }
}

/// Names one instance of a proc: LAIN's `<app>.<type>.<proc>` and the instance number from 1.
///
/// Spares have numbers above the proc's instance count; a promoted spare keeps its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The app.
    pub app: AppName,
    /// The proc's type.
    pub proc_type: ProcType,
    /// The proc's name.
    pub proc: ProcName,
    /// The instance number, from 1.
    pub no: u32,
}

impl InstanceId {
    /// `<type>.<proc>`, the proc's full name in records and paths.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.proc_type, self.proc)
    }

    /// LAIN's pod group name, `<app>.<type>.<proc>`.
    pub fn group(&self) -> String {
        format!("{}.{}.{}", self.app, self.proc_type, self.proc)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}.i{}",
            self.app, self.proc_type, self.proc, self.no
        )
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;
    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId {
            kind: "instance id",
            value: value.to_owned(),
            rule: "<app>.<type>.<proc>.i<number>",
        };
        let mut parts = value.rsplitn(4, '.');
        let no = parts
            .next()
            .and_then(|p| p.strip_prefix('i'))
            .and_then(|p| p.parse().ok());
        let (Some(no), Some(proc), Some(kind), Some(app)) =
            (no, parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(Self {
            app: AppName::new(app)?,
            proc_type: kind.parse()?,
            proc: ProcName::new(proc)?,
            no,
        })
    }
}

/// A counter on a stored object; each write raises it. Served as the strong `ETag`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_follow_lains_schema() {
        for good in ["a", "hello-world", "A1", "resource.redis.shop"] {
            assert!(AppName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", "1a", "a_b", "a--b", "a-", "-a", "a..b", "service", "resource", "portal", "é",
        ] {
            assert!(AppName::new(bad).is_err(), "{bad}");
        }
        assert!(AppName::new("a".repeat(64)).is_err());
    }

    #[test]
    fn instance_ids_round_trip() {
        for text in [
            "hello.web.web.i1",
            "resource.redis.shop.worker.redis-ctl.i12",
        ] {
            let id: InstanceId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
        for bad in [
            "hello.web.i1",
            "hello.web.web.1",
            "hello.sock.web.i1",
            "hello.web.web.ix",
        ] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
    }
}
