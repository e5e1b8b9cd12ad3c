//! Dead letters: events that a receiver will never take, kept on disk with the reason.
//!
//! One file a sink, a JSON object a line: `at`, `sink`, `reason`, `event`. When it is full it is moved aside,
//! over the one before: the newest letters are kept.

use crate::domain::log::{LogEvent, Stamp};
use crate::logging::event::{Encoder, json};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The size at which the file is moved aside.
const MOST: u64 = 32 << 20;

/// The dead letters of one sink.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    sink: String,
    encoder: Encoder,
}

impl DeadLetters {
    /// In the folder `dead` of `dir`.
    pub fn new(dir: &Path, sink: &str) -> Self {
        Self {
            path: dir.join("dead").join(format!("{sink}.ndjson")),
            sink: sink.to_owned(),
            encoder: Encoder::default(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps events with the reasons why they were not taken, durably.
    ///
    /// # Errors
    /// What the system said; none of them is to be taken as kept then.
    pub fn keep<'a>(
        &mut self,
        at: Stamp,
        letters: impl Iterator<Item = (&'a LogEvent, &'a str)>,
    ) -> io::Result<()> {
        let mut out = Vec::new();
        for (event, reason) in letters {
            out.extend_from_slice(b"{\"at\":\"");
            at.write(&mut out);
            out.extend_from_slice(b"\",\"sink\":");
            json::string(&self.sink, &mut out);
            out.extend_from_slice(b",\"reason\":");
            json::string(reason, &mut out);
            out.extend_from_slice(b",\"event\":");
            self.encoder.encode(event, &mut out);
            out.extend_from_slice(b"}\n");
        }
        if out.is_empty() {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        if fs::metadata(&self.path).is_ok_and(|m| m.len() >= MOST) {
            fs::rename(&self.path, self.path.with_extension("ndjson.1"))?;
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        file.write_all(&out)?;
        file.sync_data()
    }
}
