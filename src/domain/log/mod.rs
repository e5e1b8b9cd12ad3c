//! Log events as plain data: where a line came from, and what it says.
//!
//! Read by the log pipeline (`logging`), carried by the sinks' port. Holds no encoding of its own:
//! `logging::event` turns an event into the one JSON text that every sink sends.

mod level;
mod stamp;

pub use level::Level;
pub use stamp::Stamp;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `source_type` of what a container printed, as Vector names it (row V2).
pub const DOCKER: &str = "docker_logs";
/// `source_type` of what a process of the process runtime printed.
pub const PROCESS: &str = "lain_process";
/// `source_type` of a log file that a proc declares under `logs`.
pub const FILE: &str = "lain_file";
/// `source_type` of what lain itself has to say: supervision, crash reports, gaps.
pub const LAIN: &str = "lain";

/// `source_type` of a log file of the host, as Vector names it.
pub const HOST_FILE: &str = "file";

/// What form the lines of a log file have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    /// None that is known.
    #[default]
    Plain,
    /// nginx's access log (`combined`, or JSON of its variables) or error log.
    Nginx,
    /// Metrics, a JSON object a line, as Open-Falcon has them.
    Metrics,
}

impl LineFormat {
    /// Every form.
    pub const ALL: [LineFormat; 3] = [Self::Plain, Self::Nginx, Self::Metrics];

    /// Its word in `lain.yaml` and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Nginx => "nginx",
            Self::Metrics => "metrics",
        }
    }

    /// The form of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == word)
    }
}

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A terminal, which has both.
    Console,
}

impl Stream {
    /// Every stream, in the order of their codes.
    pub const ALL: [Stream; 3] = [Stream::Stdout, Stream::Stderr, Stream::Console];

    /// The word in an event.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Console => "console",
        }
    }

    /// Its number in stored records and tables.
    pub fn code(self) -> u8 {
        match self {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Console => 2,
        }
    }

    /// The stream of a code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Everything that is the same for all lines of one container, or of one file of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogSource {
    /// Vector's `source_type`.
    pub source_type: String,
    /// The host's name.
    pub host: String,
    /// lain's name of the node.
    pub node: String,
    /// The app; empty for what belongs to none.
    pub app: String,
    /// The proc's type, `web`, `worker` …; empty for what belongs to none.
    pub proc_type: String,
    /// The proc's name, unique in its app; empty for what belongs to none.
    pub proc: String,
    /// The instance number from 1; 0 for what belongs to none.
    pub instance: u32,
    /// LAIN's version of the spec that runs; 0 for what belongs to none.
    pub revision: u64,
    /// The engine's id of the container.
    pub container_id: String,
    /// Its name, without a leading slash.
    pub container_name: String,
    /// When it was made.
    pub container_created_at: Option<Stamp>,
    /// Its image, as named at creation.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The declared log file, as `lain.yaml` names it; `None` for standard output and error.
    pub file: Option<String>,
}

impl LogSource {
    /// `<app>.<type>.<proc>`, LAIN's full name of the proc; empty for what belongs to none.
    pub fn group(&self) -> String {
        match self.proc.is_empty() {
            true => self.app.clone(),
            false => format!("{}.{}.{}", self.app, self.proc_type, self.proc),
        }
    }

    /// `<app>.<type>.<proc>.<instance>`: events of one key keep their order.
    pub fn key(&self) -> String {
        match self.instance {
            0 => self.group(),
            n => format!("{}.{n}", self.group()),
        }
    }
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogBody {
    /// A line of output.
    Line {
        /// Where it was written to.
        stream: Stream,
        /// Its level, where one was recognised.
        level: Option<Level>,
        /// It was longer than the cap and cut.
        truncated: bool,
        /// Its bytes without the line's end; not always UTF-8.
        message: Bytes,
    },
    /// A whole event: the text of a JSON object with sorted keys.
    Object(Bytes),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Where it came from.
    pub source: Arc<LogSource>,
    /// When.
    pub at: Stamp,
    /// Counts the events of its container from 1.
    pub seq: u64,
    /// Counts the events of its stream at this very instant from 0.
    pub ordinal: u32,
    /// What it says.
    pub body: LogBody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_the_instance_and_fall_back_to_what_there_is() {
        let mut source = LogSource {
            app: "shop".to_owned(),
            proc_type: "web".to_owned(),
            proc: "front".to_owned(),
            instance: 3,
            ..LogSource::default()
        };
        assert_eq!(source.group(), "shop.web.front");
        assert_eq!(source.key(), "shop.web.front.3");
        (source.proc, source.instance) = (String::new(), 0);
        assert_eq!(source.key(), "shop");
    }

    #[test]
    fn codes_of_streams_go_both_ways() {
        for stream in Stream::ALL {
            assert_eq!(Stream::from_code(stream.code()), Some(stream));
        }
        assert_eq!(Stream::from_code(3), None);
    }
}
