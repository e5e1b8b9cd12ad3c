//! The forms of single values: each a function from text to its meaning, or to what is wrong.
//!
//! Used twice: by the table of keys, to check a value where it stands, and by `lower`, to read it.
//! So a form is defined once. Knows nothing of keys or places.

mod names;
mod network;
mod paths;
mod settings;

pub(super) use names::{
    app_name, build_argument, dns_name, env_variable, image, label, no_blank, prepare_version,
    proc_name,
};
pub(super) use network::{health_path, mountpoint, port_text, protocol_text, stream_port};
pub(super) use paths::{
    absolute_or_app, backup_hook, copy_path, kept_name, log_name, secret_file, volume,
};
pub(super) use settings::{
    MIN_MEMORY, command, cron, duration, expire, filter, memory, non_empty, share,
};

use super::error::SpecCode;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Not of the form, or beyond its limits.
    pub code: SpecCode,
    /// What is wrong, as a sentence without its subject's key.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// How many characters into the value the problem is.
    pub offset: usize,
}

impl Wrong {
    /// A value that is not of the form.
    pub fn form(message: impl Into<String>) -> Self {
        Self {
            code: SpecCode::InvalidValue,
            message: message.into(),
            suggestion: None,
            offset: 0,
        }
    }

    /// A value beyond its limits.
    pub fn range(message: impl Into<String>) -> Self {
        Self {
            code: SpecCode::OutOfRange,
            ..Self::form(message)
        }
    }

    /// What was probably meant.
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Where in the value the problem is.
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }
}

/// A value's meaning, or what is wrong with it.
pub(super) type Read<T> = Result<T, Wrong>;
