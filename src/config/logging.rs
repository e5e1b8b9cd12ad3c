//! `[[logging.sink]]`, `[[logging.multiline]]` and `logging.redact`: the parts of a configuration that are lists,
//! with `[[logging.input]]` of `inputs`.
//!
//! Read strictly: an unknown key, a key of another kind of sink, a pattern that is none are errors with
//! their places. A later file's sink replaces an earlier one of its name.

use crate::config::checks::{self, Kind, Wrong, at, duration_of, named, one_of, size_of};
use crate::config::inputs::InputConfig;
use crate::domain::log::Level;
use crate::domain::secret::Secret;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

/// What can be said of a sink. Which keys a kind takes is in [`KINDS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct SinkConfig {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    // Which events, for every kind.
    pub apps: Vec<String>,
    pub exclude_apps: Vec<String>,
    pub procs: Vec<String>,
    pub source_types: Vec<String>,
    pub min_level: Option<String>,
    #[serde(rename = "match")]
    pub matching: Vec<String>,
    pub exclude: Vec<String>,
    pub sample: Option<f64>,
    // How it is driven, for every kind.
    pub from: Option<String>,
    pub batch_events: Option<u32>,
    pub batch_size: Option<String>,
    pub timeout: Option<String>,
    pub retry_max: Option<String>,
    // Of some kinds.
    pub address: Option<String>,
    pub transport: Option<String>,
    pub framing: Option<String>,
    pub format: Option<String>,
    pub facility: Option<u8>,
    pub enterprise: Option<u32>,
    pub max_message: Option<String>,
    pub brokers: Option<String>,
    pub topic: Option<String>,
    pub compression: Option<String>,
    pub linger: Option<String>,
    pub sasl_mechanism: Option<String>,
    pub settings: BTreeMap<String, String>,
    pub urls: Vec<String>,
    pub index_prefix: Option<String>,
    pub data_stream: Option<String>,
    pub namespace: Option<String>,
    pub manage_template: Option<bool>,
    pub keep_days: Option<u32>,
    pub typed_fields: Option<bool>,
    pub url: Option<String>,
    pub path: Option<PathBuf>,
    pub max_size: Option<String>,
    pub keep: Option<u32>,
    pub compress: Option<bool>,
    pub username: Option<String>,
    #[serde(serialize_with = "exposed")]
    pub password: Option<Secret>,
    #[serde(serialize_with = "exposed")]
    pub api_key: Option<Secret>,
    #[serde(serialize_with = "exposed")]
    pub token: Option<Secret>,
    pub tls: Option<bool>,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub server_name: Option<String>,
}

/// A secret as it is: only in what [`Lists::sealed`] makes, which is a secret itself.
#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn exposed<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// The keys that every kind takes.
const COMMON: &[&str] = &[
    "name",
    "type",
    "apps",
    "exclude_apps",
    "procs",
    "source_types",
    "min_level",
    "match",
    "exclude",
    "sample",
    "from",
    "batch_events",
    "batch_size",
    "timeout",
    "retry_max",
];

/// Names that a sink cannot have: the log index's own sink, and a word of the API.
const RESERVED: [&str; 2] = ["index", "reload"];

/// The kinds: which keys each must have, and which it may have.
pub const KINDS: &[Kind] = &[
    (
        "syslog",
        &["address"],
        &[
            "transport",
            "framing",
            "format",
            "facility",
            "enterprise",
            "max_message",
            "ca_file",
            "cert_file",
            "key_file",
            "server_name",
        ],
    ),
    (
        "relp",
        &["address"],
        &[
            "format",
            "facility",
            "enterprise",
            "max_message",
            "tls",
            "ca_file",
            "cert_file",
            "key_file",
            "server_name",
        ],
    ),
    (
        "kafka",
        &["brokers"],
        &[
            "topic",
            "compression",
            "linger",
            "tls",
            "ca_file",
            "cert_file",
            "key_file",
            "sasl_mechanism",
            "username",
            "password",
            "settings",
        ],
    ),
    (
        "elasticsearch",
        &["urls"],
        &[
            "index_prefix",
            "data_stream",
            "namespace",
            "manage_template",
            "keep_days",
            "typed_fields",
            "username",
            "password",
            "api_key",
            "ca_file",
        ],
    ),
    (
        "http",
        &["url"],
        &["compress", "username", "password", "token"],
    ),
    ("file", &["path"], &["max_size", "keep", "compress"]),
];

/// Lines that belong together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct MultilineConfig {
    pub apps: Vec<String>,
    pub procs: Vec<String>,
    pub start_pattern: String,
    pub condition_pattern: String,
    pub mode: String,
    pub timeout: Option<String>,
}

/// The lists of a configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    /// The sinks.
    pub sinks: Vec<SinkConfig>,
    /// The inputs.
    pub inputs: Vec<InputConfig>,
    /// The rules of lines that belong together; the first that fits an app is taken.
    pub multiline: Vec<MultilineConfig>,
    /// Patterns that are blotted out.
    pub redact: Vec<String>,
}

/// A problem with the place in the text.
type Fault = (Range<usize>, String);

impl Lists {
    /// The dotted names that are lists.
    pub fn is_list(name: &str) -> bool {
        matches!(
            name,
            "logging.sink" | "logging.input" | "logging.multiline" | "logging.redact"
        )
    }

    /// Reads one of them; what is wrong is told with its place.
    pub fn read(&mut self, name: &str, value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) {
        let DeValue::Array(items) = value.get_ref() else {
            let wanted = match name {
                "logging.redact" => "a list of patterns".to_owned(),
                _ => format!("tables: write [[{name}]]"),
            };
            faults.push((value.span(), format!("{name}: expected {wanted}")));
            return;
        };
        for item in items {
            let place = item.span();
            let outcome = match name {
                "logging.sink" => typed::<SinkConfig>(item).and_then(|sink| {
                    let keys = keys(item);
                    sink.check(&keys)
                        .map_err(|(key, problem)| (key_place(item, &key), problem))?;
                    self.sinks.retain(|s| s.name != sink.name);
                    self.sinks.push(sink);
                    Ok(())
                }),
                "logging.input" => typed::<InputConfig>(item).and_then(|input| {
                    input
                        .check(&keys(item))
                        .map_err(|(key, problem)| (key_place(item, &key), problem))?;
                    self.put_input(input);
                    Ok(())
                }),
                "logging.multiline" => typed::<MultilineConfig>(item).and_then(|rule| {
                    rule.check().map_err(|problem| (place.clone(), problem))?;
                    self.multiline.push(rule);
                    Ok(())
                }),
                _ => typed::<String>(item).and_then(|pattern| {
                    regex(&pattern).map_err(|problem| (place.clone(), problem))?;
                    self.redact.push(pattern);
                    Ok(())
                }),
            };
            if let Err((place, problem)) = outcome {
                faults.push((place, format!("{name}: {problem}")));
            }
        }
    }

    /// Lays another file's lists over these.
    pub fn merge(&mut self, later: Lists) {
        for sink in later.sinks {
            self.sinks.retain(|s| s.name != sink.name);
            self.sinks.push(sink);
        }
        for input in later.inputs {
            self.put_input(input);
        }
        self.multiline.extend(later.multiline);
        self.redact.extend(later.redact);
    }

    fn put_input(&mut self, input: InputConfig) {
        self.inputs.retain(|i| i.name != input.name);
        self.inputs.push(input);
    }
}

fn typed<T: for<'de> Deserialize<'de>>(item: &Spanned<DeValue<'_>>) -> Result<T, Fault> {
    T::deserialize(ValueDeserializer::from(item.clone())).map_err(|error| {
        let place = error.span().unwrap_or_else(|| item.span());
        (place, error.message().to_owned())
    })
}

/// The keys of a table as written.
fn keys(item: &Spanned<DeValue<'_>>) -> Vec<String> {
    match item.get_ref() {
        DeValue::Table(table) => table.keys().map(|key| key.get_ref().to_string()).collect(),
        _ => Vec::new(),
    }
}

/// Where a key stands; the table where it does not.
fn key_place(item: &Spanned<DeValue<'_>>, key: &str) -> Range<usize> {
    let found = match item.get_ref() {
        DeValue::Table(table) => table.keys().find(|k| k.get_ref().as_ref() == key),
        _ => None,
    };
    found.map_or_else(|| item.span(), Spanned::span)
}

/// Whether a pattern is one.
pub(super) fn regex(pattern: &str) -> Result<(), String> {
    let wrong = |e: regex::Error| {
        let last = e.to_string();
        let last = last.lines().last().unwrap_or_default().to_owned();
        format!("{pattern:?} is no pattern: {last}")
    };
    Regex::new(pattern).map(drop).map_err(wrong)
}

impl SinkConfig {
    /// What is wrong, and with which key.
    pub(super) fn check(&self, keys: &[String]) -> Result<(), Wrong> {
        named("name", &self.name)?;
        if RESERVED.contains(&self.name.as_str()) {
            let problem = format!("{:?} is lain's own; choose another", self.name);
            return Err(at("name", problem));
        }
        checks::kind("a sink", &self.kind, keys, KINDS, COMMON)?;
        for (key, patterns) in [("match", &self.matching), ("exclude", &self.exclude)] {
            patterns
                .iter()
                .try_for_each(|p| regex(p))
                .map_err(|problem| at(key, problem))?;
        }
        if let Some(level) = &self.min_level {
            let known = Level::ALL.iter().any(|l| l.as_str() == level);
            let problem = format_args!("{level:?} is no level; one is \"warn\"");
            known
                .then_some(())
                .ok_or_else(|| at("min_level", problem))?;
        }
        if self
            .sample
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            return Err(at("sample", "must be from 0 to 1"));
        }
        duration_of("timeout", self.timeout.as_ref())?;
        duration_of("retry_max", self.retry_max.as_ref())?;
        duration_of("linger", self.linger.as_ref())?;
        size_of("batch_size", self.batch_size.as_ref())?;
        size_of("max_message", self.max_message.as_ref())?;
        size_of("max_size", self.max_size.as_ref())?;
        one_of("from", self.from.as_ref(), &["oldest", "now"])?;
        one_of("transport", self.transport.as_ref(), &["tcp", "tls", "udp"])?;
        one_of(
            "framing",
            self.framing.as_ref(),
            &["octet-counting", "newline"],
        )?;
        one_of("format", self.format.as_ref(), &["rfc5424", "rfc3164"])?;
        if self.kind == "kafka" {
            one_of(
                "compression",
                self.compression.as_ref(),
                &["none", "gzip", "lz4", "snappy", "zstd"],
            )?;
        }
        if self.facility.is_some_and(|f| f > 23) {
            return Err(at("facility", "must be from 0 to 23"));
        }
        if self.batch_events == Some(0) {
            return Err(at("batch_events", "must be at least 1"));
        }
        Ok(())
    }

    /// A duration that was checked.
    pub fn duration(text: Option<&String>) -> Option<Duration> {
        text.and_then(|t| checks::duration(t).ok())
    }

    /// A size that was checked, in bytes.
    pub fn size(text: Option<&String>) -> Option<u64> {
        text.and_then(|t| checks::size(t).ok())
    }

    /// The values of this sink that nobody may see.
    pub fn secrets(&self) -> Vec<String> {
        let all = [&self.password, &self.api_key, &self.token];
        all.into_iter()
            .flatten()
            .map(|s| s.expose().to_owned())
            .collect()
    }
}

impl MultilineConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        regex(&self.start_pattern).map_err(|e| format!("start_pattern: {e}"))?;
        regex(&self.condition_pattern).map_err(|e| format!("condition_pattern: {e}"))?;
        let modes = [
            "continue_through",
            "continue_past",
            "halt_before",
            "halt_with",
        ];
        one_of("mode", Some(&self.mode), &modes)
            .and_then(|()| duration_of("timeout", self.timeout.as_ref()).map(drop))
            .map_err(|(_, problem)| problem)
    }
}
