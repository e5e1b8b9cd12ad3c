//! What a configuration is made from: files, environment, flags, and a few facts of the machine.

use crate::config::error::ConfigError;
use crate::config::resolve::{Origin, Setting, find_key, unknown};
use crate::config::schema::KEYS;
use crate::config::value::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The prefix of our environment variables.
const PREFIX: &str = "LAIN_";

/// Short variables for keys, from LAIN and from habit. The long form wins.
const ALIASES: [(&str, &str); 2] = [("LAIN_DOMAIN", "cluster.domain"), ("LAIN_LOG", "log.level")];

/// Variables that begin like ours and are no settings: those of the command line, and those that
/// LAIN puts into containers, where `lain` may run too.
pub const OTHER_VARIABLES: [&str; 16] = [
    "LAIN_JOIN_TOKEN",
    "LAIN_CONFIG",
    "LAIN_TOKEN",
    "LAIN_TOKEN_FILE",
    "LAIN_CA_FILE",
    "LAIN_SERVER",
    "LAIN_CONTEXT",
    "LAIN_APP",
    "LAIN_PROC",
    "LAIN_INSTANCE",
    "LAIN_OUTPUT",
    "LAIN_APPNAME",
    "LAIN_PROCNAME",
    "LAIN_APP_RELEASE_VERSION",
    "LAIN_SERVICE_NAME",
    "LAIN_INSTANCE_NO",
];

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Where it is.
    pub path: PathBuf,
    /// Its absence is an error.
    pub required: bool,
}

/// A flag that stands for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As the user typed it, such as `--listen`.
    pub flag: String,
    /// The dotted key that it sets.
    pub key: &'static str,
    /// The value as text.
    pub value: String,
}

/// Everything that a configuration is made from, later layers last.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The files, later wins.
    pub files: Vec<FileSource>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// The flags.
    pub flags: Vec<Flag>,
    /// What `auto` depends on.
    pub facts: Facts,
}

/// The sources of a configuration, to read it again. Not shown: the environment has secrets.
#[derive(Clone)]
pub struct Kept(Arc<Sources>);

impl Kept {
    pub(super) fn of(sources: &Sources) -> Self {
        Self(Arc::new(sources.clone()))
    }

    pub(super) fn get(&self) -> &Sources {
        &self.0
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sources")
    }
}

/// What `auto` depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// lain runs as root.
    pub root: bool,
    /// Where this user's data goes: `$XDG_DATA_HOME` or `~/.local/share`.
    pub data_home: Option<PathBuf>,
    /// The host's name.
    pub host_name: Option<String>,
    /// `$DOCKER_HOST`.
    pub docker_host: Option<String>,
}

impl Sources {
    /// The sources of this process: the usual files, then `config` (`--config`, else
    /// `$LAIN_CONFIG`) which must exist, the environment, and `flags`.
    pub fn of_process(config: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let home = var("HOME").map(PathBuf::from);
        let under_home = |xdg: &str, usual: &str| {
            let xdg = var(xdg).map(PathBuf::from);
            xdg.or_else(|| home.as_ref().map(|home| home.join(usual)))
        };
        let optional = |path| FileSource {
            path,
            required: false,
        };
        let mut files = vec![optional(PathBuf::from("/etc/lain/lain.toml"))];
        if let Some(dir) = under_home("XDG_CONFIG_HOME", ".config") {
            files.push(optional(dir.join("lain/config.toml")));
        }
        if let Some(path) = config.or_else(|| var("LAIN_CONFIG").map(PathBuf::from)) {
            let required = true;
            files.push(FileSource { path, required });
        }
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        Self {
            files,
            env: std::env::vars_os().collect(),
            flags,
            facts: Facts {
                root: rustix::process::geteuid().is_root(),
                data_home: under_home("XDG_DATA_HOME", ".local/share"),
                host_name: host_name.map(|name| name.trim().to_owned()),
                docker_host: var("DOCKER_HOST").and_then(|v| v.into_string().ok()),
            },
        }
    }

    /// Sources that see nothing of the machine: the defaults with `data_dir` as the data directory
    /// and `local` as the node's name. For tests and for `lain config show` of the defaults.
    pub fn isolated(data_dir: &Path) -> Self {
        Self {
            flags: vec![Flag {
                flag: "--data-dir".to_owned(),
                key: "server.data_dir",
                value: data_dir.display().to_string(),
            }],
            facts: Facts {
                host_name: Some("local".to_owned()),
                ..Facts::default()
            },
            ..Self::default()
        }
    }

    /// The settings in the environment, and what is wrong with it.
    pub fn environment(&self) -> (Vec<Setting>, Vec<ConfigError>) {
        let mut settings = Vec::new();
        let mut errors = Vec::new();
        let mut ours: Vec<_> = self
            .env
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(name))
            .collect();
        // Aliases first, so that the long form is laid over them; then by name, for stable messages.
        ours.sort_by_key(|(name, _)| (name.contains("__"), *name));
        for (name, value) in ours {
            let origin = Origin::Environment(name.to_owned());
            let Some(key) = variable_key(name) else {
                let problem = unknown_variable(name);
                errors.push(ConfigError { origin, problem });
                continue;
            };
            let Some(text) = value.to_str() else {
                let problem = format!("{key}: not UTF-8");
                errors.push(ConfigError { origin, problem });
                continue;
            };
            match setting(key, text, origin) {
                Ok(setting) => settings.push(setting),
                Err(error) => errors.push(error),
            }
        }
        (settings, errors)
    }

    /// The settings among the flags, and what is wrong with them.
    pub fn flags(&self) -> (Vec<Setting>, Vec<ConfigError>) {
        let mut settings = Vec::new();
        let mut errors = Vec::new();
        for flag in &self.flags {
            let origin = Origin::Flag(flag.flag.clone());
            let made = match find_key(flag.key) {
                Some(key) if key.secret => Err(ConfigError {
                    origin,
                    problem: format!(
                        "{} is secret: give it in a file or the environment, since every user sees the command line",
                        key.name
                    ),
                }),
                _ => setting(flag.key, &flag.value, origin),
            };
            match made {
                Ok(setting) => settings.push(setting),
                Err(error) => errors.push(error),
            }
        }
        (settings, errors)
    }
}

impl Facts {
    /// What `auto` means for a key, and the origin when that is not the word itself; `None` when
    /// the key takes `auto` as it is.
    pub fn derive(&self, key: &str) -> Option<Result<(String, Option<Origin>), String>> {
        match key {
            "server.data_dir" => Some(self.data_dir().map(|dir| (dir, None))),
            "node.name" => Some(
                self.host_name
                    .clone()
                    .map(|name| (name, None))
                    .ok_or_else(|| "this host has no name; set one".to_owned()),
            ),
            "engine.docker_host" => Some(Ok(match &self.docker_host {
                Some(host) => {
                    let origin = Origin::Environment("DOCKER_HOST".to_owned());
                    (host.clone(), Some(origin))
                }
                None => ("unix:///var/run/docker.sock".to_owned(), None),
            })),
            _ => None,
        }
    }

    fn data_dir(&self) -> Result<String, String> {
        if self.root {
            return Ok("/var/lib/lain".to_owned());
        }
        let home = self.data_home.as_ref();
        home.map(|home| home.join("lain").display().to_string())
            .ok_or_else(|| "neither HOME nor XDG_DATA_HOME is set; name a directory".to_owned())
    }
}

/// The variable of a key: `LAIN_SERVER__LISTEN`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The key of a variable.
fn variable_key(name: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let key = alias.map(|(_, key)| *key);
    key.or_else(|| KEYS.iter().map(|k| k.name).find(|k| variable(k) == name))
}

fn unknown_variable(name: &str) -> String {
    let mut known: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
    known.extend(ALIASES.map(|(alias, _)| alias.to_owned()));
    known.extend(OTHER_VARIABLES.map(str::to_owned));
    unknown("variable", name, known.iter().map(String::as_str))
}

fn setting(name: &str, text: &str, origin: Origin) -> Result<Setting, ConfigError> {
    let failed = |problem| ConfigError {
        origin: origin.clone(),
        problem,
    };
    let key = find_key(name)
        .ok_or_else(|| failed(unknown("key", name, KEYS.iter().map(|key| key.name))))?;
    let value = Value::Text(text.to_owned());
    (key.check)(&value).map_err(|problem| failed(format!("{name}: {problem}")))?;
    Ok(Setting { key, value, origin })
}
