//! The types of settings, and how each is read from a TOML value or from text.

use crate::domain::id::NodeName;
use crate::domain::placement::Strategy;
use crate::domain::secret::Secret;
use crate::domain::spec::model::duration_text;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// The word that stands for a default which depends on the machine.
pub const AUTO: &str = "auto";

/// A value as it stands in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML integer.
    Integer(i64),
    /// A TOML string.
    String(String),
    /// Text from the environment or a flag, which may stand for any of the above.
    Text(String),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Anything else: the TOML name of its type.
    Other(&'static str),
}

impl Value {
    /// The value as a person would write it.
    pub fn shown(&self) -> String {
        match self {
            Value::Boolean(b) => b.to_string(),
            Value::Integer(n) => n.to_string(),
            Value::String(s) | Value::Text(s) => s.clone(),
            Value::List(items) => items.join(","),
            Value::Other(kind) => (*kind).to_owned(),
        }
    }

    /// What it is, for "expected x, found y".
    fn found(&self) -> String {
        match self {
            Value::Boolean(b) => format!("boolean {b}"),
            Value::Integer(n) => format!("integer {n}"),
            Value::String(s) => format!("string {s:?}"),
            Value::Text(s) => format!("{s:?}"),
            Value::List(_) => "an array".to_owned(),
            Value::Other(kind) => (*kind).to_owned(),
        }
    }

    /// The text of a string.
    fn text(&self) -> Option<&str> {
        match self {
            Value::String(s) | Value::Text(s) => Some(s),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(n) => Some(*n),
            Value::Text(s) => s.parse().ok(),
            _ => None,
        }
    }
}

/// A type that a setting can have.
pub trait FromValue: Sized {
    /// Its values must not be shown.
    const SECRET: bool = false;
    /// What is expected, for the message.
    const EXPECTED: &'static str;

    /// Reads it; `None` when the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;

    /// Reads it.
    ///
    /// # Errors
    /// What was expected and what was found, without the value of a secret.
    fn read(value: &Value) -> Result<Self, String> {
        Self::from_value(value).ok_or_else(|| {
            let expected = Self::EXPECTED;
            match Self::SECRET {
                true => format!("expected {expected}"),
                false => format!("expected {expected}, found {}", value.found()),
            }
        })
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(b) => Some(*b),
            Value::Text(s) => s.parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for u32 {
    const EXPECTED: &'static str = "a whole number from 0";
    fn from_value(value: &Value) -> Option<Self> {
        value.integer()?.try_into().ok()
    }
}

impl FromValue for Duration {
    const EXPECTED: &'static str = "a duration such as \"30s\" or \"5m\"";
    fn from_value(value: &Value) -> Option<Self> {
        duration_text::parse(value.text()?)
    }
}

impl FromValue for SocketAddr {
    const EXPECTED: &'static str = "an address and port such as \"127.0.0.1:7419\"";
    fn from_value(value: &Value) -> Option<Self> {
        value.text()?.parse().ok()
    }
}

impl FromValue for IpAddr {
    const EXPECTED: &'static str = "an IP address such as \"127.0.0.1\"";
    fn from_value(value: &Value) -> Option<Self> {
        value.text()?.parse().ok()
    }
}

impl FromValue for PathBuf {
    const EXPECTED: &'static str = "a path (`~` is not expanded)";
    fn from_value(value: &Value) -> Option<Self> {
        let text = value.text()?;
        (!text.is_empty() && !text.starts_with('~')).then(|| PathBuf::from(text))
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "a string";
    fn from_value(value: &Value) -> Option<Self> {
        value.text().map(str::to_owned)
    }
}

/// In text the items are separated by commas.
impl FromValue for Vec<String> {
    const EXPECTED: &'static str = "an array of strings";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::List(items) => Some(items.clone()),
            Value::Text(text) => {
                let items = text.split(',').map(str::trim);
                Some(
                    items
                        .filter(|item| !item.is_empty())
                        .map(str::to_owned)
                        .collect(),
                )
            }
            _ => None,
        }
    }
}

impl FromValue for NodeName {
    const EXPECTED: &'static str =
        "a node name: at most 63 letters, digits, dashes, dots or underscores";
    fn from_value(value: &Value) -> Option<Self> {
        NodeName::new(value.text()?).ok()
    }
}

impl FromValue for Secret {
    const SECRET: bool = true;
    const EXPECTED: &'static str = "a string";
    fn from_value(value: &Value) -> Option<Self> {
        value.text().map(Secret::new)
    }
}

/// Empty text is `None`.
impl<T: FromValue> FromValue for Option<T> {
    const SECRET: bool = T::SECRET;
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_value(value: &Value) -> Option<Self> {
        match value.text() {
            Some("") => Some(None),
            _ => T::from_value(value).map(Some),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromValue for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64KiB\" or \"4MiB\"";
    fn from_value(value: &Value) -> Option<Self> {
        if let Some(bytes) = value.integer() {
            return bytes.try_into().ok().map(Self);
        }
        let text = value.text()?;
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let factor: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// From `first` to `last`; `None` when that is empty or has port 0.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first > 0 && first <= last).then_some(Self { first, last })
    }

    /// Every port of it.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromValue for PortRange {
    const EXPECTED: &'static str = "a range of ports such as \"20000-29999\"";
    fn from_value(value: &Value) -> Option<Self> {
        let (first, last) = value.text()?.split_once('-')?;
        Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
    }
}

impl FromValue for Strategy {
    const EXPECTED: &'static str = "spread or binpack";
    fn from_value(value: &Value) -> Option<Self> {
        match value.text()? {
            "spread" => Some(Self::Spread),
            "binpack" => Some(Self::BinPack),
            _ => None,
        }
    }
}

/// A setting that is one of a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl FromValue for $name {
            const EXPECTED: &'static str = $expected;
            fn from_value(value: &Value) -> Option<Self> {
                match value.text()? {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

choice!(
    /// Which runtime is wanted.
    EngineKind, "auto, docker or process" {
        /// Docker where it answers; `lain dev` falls back to processes.
        Auto = "auto",
        /// The Docker Engine.
        Docker = "docker",
        /// Local processes, without isolation.
        Process = "process",
    }
);

choice!(
    /// Whether the API is served by TLS.
    TlsMode, "auto, on or off" {
        /// Unless `server.listen` is a loopback address.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never: a proxy before it does.
        Off = "off",
    }
);

choice!(
    /// How lain's own log is written.
    LogFormat, "auto, text or json" {
        /// Text on a terminal, else JSON.
        Auto = "auto",
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
);

choice!(
    /// What happens when the spool is full because a sink is behind.
    WhenFull, "drop_oldest or block" {
        /// The oldest events go; what each sink loses is counted.
        DropOldest = "drop_oldest",
        /// Reading waits; the engine keeps the output until it rotates it away.
        Block = "block",
    }
);
