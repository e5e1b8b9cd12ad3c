//! Configuration: built-in defaults < files < environment < flags.
//!
//! Each layer is read on its own ([`document`] for TOML, [`sources`] for the rest), every key and
//! every value is checked where it stands, the layers are laid over each other with their origins
//! ([`resolve`]), and the result is typed ([`schema`]). All errors are reported at once, each with
//! its place. Called once by the roles and by `lain config`; nothing else reads the environment.

mod checks;
pub mod document;
pub mod error;
pub mod inputs;
pub mod logging;
pub mod resolve;
pub mod schema;
mod sealed;
pub mod sources;
pub mod value;

pub use error::{ConfigError, ConfigErrors};
pub use inputs::InputConfig;
pub use logging::{Lists, MultilineConfig, SinkConfig};
pub use resolve::{Origin, Setting};
pub use schema::{Config, KEYS};
use sources::Kept;
pub use sources::{Facts, FileSource, Flag, Sources};
pub use value::{ByteSize, EngineKind, LogFormat, PortRange, TlsMode, WhenFull};

use crate::domain::node_state::lease::Times;

/// The built-in settings: `config/default.toml`.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

impl Config {
    /// Reads, checks and combines all layers.
    ///
    /// # Errors
    /// Every unknown key, wrong value and unreadable file, each with its place.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let (settings, lists) = resolve::resolve(sources)?;
        let config = Config::build(settings, lists, Kept::of(sources))?;
        config.check_combinations()?;
        Ok(config)
    }

    /// Reads all layers again: files as they are now, environment and flags as they were.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read_again(&self) -> Result<Self, ConfigErrors> {
        Self::load(self.sources.get())
    }

    /// Every key with its value as text and where it came from, in the order of `default.toml`.
    /// Secrets are masked.
    pub fn origins(&self) -> Vec<(&'static str, String, Origin)> {
        let settings = self.settings().iter();
        settings
            .map(|s| (s.key.name, s.shown_value(), s.origin.clone()))
            .collect()
    }

    /// What no single key can be blamed for.
    fn check_combinations(&self) -> Result<(), ConfigErrors> {
        let mut errors = Vec::new();
        if !self.auth.enabled && !self.server.listen.ip().is_loopback() {
            errors.push(self.error_at(
                "auth.enabled",
                "false is possible only while server.listen is a loopback address; \
                 anyone who reaches another address would be an administrator",
            ));
        }
        if self.server.cert_file.is_some() != self.server.key_file.is_some() {
            errors.push(self.error_at(
                "server.cert_file",
                "and server.key_file go together: give both or none",
            ));
        }
        if self.supervision.first_backoff > self.supervision.max_backoff {
            errors.push(self.error_at(
                "supervision.first_backoff",
                "must not be longer than supervision.max_backoff",
            ));
        }
        if self.link.beat * 4 > self.link.lease {
            errors.push(self.error_at(
                "link.beat",
                "must be at most a quarter of link.lease, so that a lost beat is no lost node",
            ));
        }
        if let Err(problem) = self.lease_times().check() {
            errors.push(self.error_at("link.takeover", &problem.to_string()));
        }
        if self.log_search.backend == "elasticsearch" && self.log_search.urls.trim().is_empty() {
            errors.push(self.error_at(
                "log_search.urls",
                "must name the servers that log_search.backend asks, such as \"http://es:9200\"",
            ));
        }
        if self.limits.request_burst < self.limits.request_rate {
            errors.push(self.error_at(
                "limits.request_burst",
                "must be at least limits.request_rate",
            ));
        }
        ConfigErrors::unless_empty(errors)
    }

    /// Whether the API is served by TLS.
    pub fn api_tls(&self) -> bool {
        match self.server.tls {
            TlsMode::Auto => !self.server.listen.ip().is_loopback(),
            TlsMode::On => true,
            TlsMode::Off => false,
        }
    }

    /// The times of the lease between the control host and its agents.
    pub fn lease_times(&self) -> Times {
        Times {
            heartbeat: self.link.beat,
            suspect_after: self.link.lease / 2,
            down_after: self.link.lease,
            takeover_after: self.link.takeover,
            stop_within: self.link.stop,
            ..Times::default()
        }
    }

    fn error_at(&self, key: &'static str, problem: &str) -> ConfigError {
        let setting = self.settings().iter().find(|s| s.key.name == key);
        ConfigError {
            origin: setting.map_or(Origin::BuiltIn, |s| s.origin.clone()),
            problem: format!("{key}: {problem}"),
        }
    }
}
