//! Lays the layers over each other, each value with its origin.

use crate::config::document;
use crate::config::error::{ConfigError, ConfigErrors};
use crate::config::logging::Lists;
use crate::config::schema::{KEYS, Key};
use crate::config::sources::Sources;
use crate::config::value::{AUTO, Value};
use crate::domain::secret::MASK;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.toml`.
    BuiltIn,
    /// A file.
    File {
        /// Which.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built-in"),
            Origin::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A checked value of a key, and where it came from.
#[derive(Clone)]
pub struct Setting {
    /// Which key.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// Where it stands.
    pub origin: Origin,
}

impl Setting {
    /// The value as text, masked when it is secret (an empty one hides nothing).
    pub fn shown_value(&self) -> String {
        let shown = self.value.shown();
        match self.key.secret && !shown.is_empty() {
            true => MASK.to_owned(),
            false => shown,
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} ({})",
            self.key.name,
            self.shown_value(),
            self.origin
        )
    }
}

/// Reads all layers and combines them; one setting for every key, in the order of [`KEYS`], and the lists.
///
/// # Errors
/// Every problem of every layer.
pub fn resolve(sources: &Sources) -> Result<(Vec<Setting>, Lists), ConfigErrors> {
    let mut layers = Layers::default();
    layers.document(document::parse(crate::config::DEFAULTS, None));
    for file in &sources.files {
        match std::fs::read_to_string(&file.path) {
            Ok(text) => layers.document(document::parse(&text, Some(&file.path))),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !file.required => {}
            Err(e) => layers.errors.push(ConfigError {
                origin: Origin::File {
                    path: file.path.clone(),
                    line: 1,
                    column: 1,
                },
                problem: format!("cannot be read: {e}"),
            }),
        }
    }
    layers.add(sources.environment());
    layers.add(sources.flags());
    layers.derive(sources);
    ConfigErrors::unless_empty(layers.errors)?;
    let settings: Vec<Setting> = KEYS
        .iter()
        .filter_map(|key| layers.settings.remove(key.name))
        .collect();
    Ok((settings, layers.lists))
}

/// The layers laid over each other so far.
#[derive(Default)]
struct Layers {
    settings: BTreeMap<&'static str, Setting>,
    lists: Lists,
    errors: Vec<ConfigError>,
}

impl Layers {
    fn document(&mut self, (settings, lists, errors): (Vec<Setting>, Lists, Vec<ConfigError>)) {
        self.add((settings, errors));
        self.lists.merge(lists);
    }

    fn add(&mut self, (settings, errors): (Vec<Setting>, Vec<ConfigError>)) {
        self.errors.extend(errors);
        for setting in settings {
            self.settings.insert(setting.key.name, setting);
        }
    }

    /// Replaces `auto` by what it means on this machine.
    fn derive(&mut self, sources: &Sources) {
        for setting in self.settings.values_mut() {
            if setting.value.shown() != AUTO {
                continue;
            }
            let Some(derived) = sources.facts.derive(setting.key.name) else {
                continue;
            };
            match derived {
                Ok((text, origin)) => {
                    setting.value = Value::String(text);
                    setting.origin = origin.unwrap_or_else(|| setting.origin.clone());
                    if let Err(problem) = (setting.key.check)(&setting.value) {
                        let origin = setting.origin.clone();
                        let problem = format!("{}: {problem}", setting.key.name);
                        self.errors.push(ConfigError { origin, problem });
                    }
                }
                Err(problem) => self.errors.push(ConfigError {
                    origin: setting.origin.clone(),
                    problem: format!("{}: {problem}", setting.key.name),
                }),
            }
        }
    }
}

/// The key of a dotted name.
pub fn find_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// `unknown key server.lisen; did you mean server.listen?`
pub fn unknown<'a>(
    what: &str,
    name: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let hint = nearest(name, candidates).map(|near| format!("; did you mean {near}?"));
    format!("unknown {what} {name}{}", hint.unwrap_or_default())
}

/// The candidate that `name` was most likely meant to be.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let close = candidates
        .clone()
        .map(|c| (strsim::damerau_levenshtein(name, c), c))
        .min()
        .filter(|(distance, _)| *distance <= (name.len() / 4).max(2));
    let last = |n: &str| n.rsplit(['.', '_']).next().map(str::to_owned);
    close
        .map(|(_, candidate)| candidate)
        .or_else(|| candidates.into_iter().find(|c| last(c) == last(name)))
}
