//! Our own `tracing`: text for people on a terminal, else one JSON object a line, both to stderr.
//!
//! Installed once by `main` for the daemons. Lines go through a bounded queue to a thread of their
//! own: a terminal that is paused or a pipe that nobody reads must not stop an actor. When the
//! queue is full, lines are dropped and counted, and the count is the next line.

mod json;
mod output;

use crate::config::{LogFormat, schema};
use output::{Output, Queue};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level cannot be read.
    #[error("log.level {level:?} cannot be read: {source}")]
    Level {
        /// As configured.
        level: String,
        /// What is wrong.
        source: ParseError,
    },
    /// The writer's thread cannot be started.
    #[error("failed to start the log writer: {0}")]
    Thread(#[from] std::io::Error),
    /// Somebody installed another subscriber before.
    #[error("logging is set up already")]
    Twice(#[from] TryInitError),
    /// The level can no longer be changed.
    #[error("failed to change the log level: {0}")]
    Reload(#[from] reload::Error),
}

/// Keeps the log running; dropping it writes out what is queued, for at most a second.
#[derive(Debug)]
pub struct LogGuard {
    level: reload::Handle<Targets, Registry>,
    queue: Arc<Queue>,
}

impl LogGuard {
    /// Changes the level, as on SIGHUP.
    ///
    /// # Errors
    /// [`LogError::Level`] and [`LogError::Reload`].
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        Ok(self.level.reload(targets(level)?)?)
    }

    /// Lines dropped since the start because nobody read them.
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.queue.flush();
    }
}

/// Sets up logging for this process, to stderr.
///
/// # Errors
/// [`LogError`]; nothing is logged then.
pub fn init(config: &schema::Log) -> Result<LogGuard, LogError> {
    let terminal = stderr().is_terminal();
    let text = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let colour = terminal && colour_wanted(|name| std::env::var_os(name));
    let (level, handle) = reload::Layer::new(targets(&config.level)?);
    let queue = Queue::start(stderr(), if text { text_gap } else { json::gap })?;
    let output = Output::new(Arc::clone(&queue));
    let lines = if text {
        fmt::layer().with_ansi(colour).with_writer(output).boxed()
    } else {
        json::JsonLayer::new(output).boxed()
    };
    // The filter comes first in the stack: what it refuses costs nothing further on.
    Registry::default().with(level).with(lines).try_init()?;
    Ok(LogGuard {
        level: handle,
        queue,
    })
}

fn targets(level: &str) -> Result<Targets, LogError> {
    level.parse().map_err(|source| LogError::Level {
        level: level.to_owned(),
        source,
    })
}

/// The line that stands for `lines` dropped ones, in the text format.
fn text_gap(lines: u64) -> String {
    format!("WARN lain::logging: {lines} log lines dropped since nobody read them")
}

/// <https://no-color.org>, and terminals that can do nothing.
fn colour_wanted(var: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let set = |name| var(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_off_where_it_is_not_wanted() {
        let with = |name: &'static str, value: &'static str| {
            colour_wanted(move |asked| (asked == name).then(|| value.into()))
        };
        assert!(with("TERM", "xterm") && with("NO_COLOR", ""));
        assert!(!with("TERM", "dumb") && !with("NO_COLOR", "1"));
    }

    #[test]
    fn levels_are_those_of_the_configuration() {
        for level in ["off", "info", "info,lain::actors=debug"] {
            targets(level).unwrap();
        }
        assert!(targets("lain=loud").is_err());
    }
}
