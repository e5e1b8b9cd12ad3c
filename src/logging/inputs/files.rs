//! Log files of this host, of what runs outside lain: an nginx, a cron job. Read as the files that procs declare,
//! by inode and offset, rotated ones too.

use super::Input;
use super::gate::{Gate, PLACES};
use crate::domain::log::{HOST_FILE, LineFormat, LogSource, Stamp};
use crate::logging::event::multiline::Rule;
use crate::logging::sources::file::{FileSource, Format, Mark};
use crate::logging::spool::{Batch, Spool, SpoolError};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are read of a file at a time.
const TURN: usize = 256 << 10;
/// Turns of a file before others have theirs.
const TURNS: u32 = 8;
/// The pause after a look that found nothing new.
const IDLE: Duration = Duration::from_millis(200);
/// The pause while the spool is full, or a file cannot be read.
const TROUBLE: Duration = Duration::from_secs(1);

/// Files as an input.
#[derive(Debug, Clone)]
pub struct Files {
    /// Which.
    pub paths: Vec<PathBuf>,
    /// What form their lines have.
    pub form: LineFormat,
    /// The rule by which lines belong together.
    pub multiline: Option<Rule>,
}

/// Everything that reads them; goes to a thread for what blocks, and comes back.
struct Reader {
    files: Vec<FileSource>,
    batch: Batch,
    spool: Spool,
}

/// What a round did.
#[derive(Debug, Default)]
struct Round {
    events: u64,
    bytes: u64,
    unparsed: u64,
    /// All that is there is in the spool.
    end: bool,
}

#[async_trait(?Send)]
impl Input for Files {
    async fn run(&self, gate: &Gate) -> Result<(), String> {
        let mut reader = Some(self.open(gate));
        gate.cell.state("running");
        loop {
            // It comes back with every answer, but for a panic, which is handed on.
            let Some(mut own) = reader.take() else {
                return Err("its reader is gone".to_owned());
            };
            if !own.has_news() {
                reader = Some(own);
                tokio::time::sleep(IDLE).await;
                continue;
            }
            let time = (gate.clock.now_utc().into(), gate.clock.monotonic());
            let work = tokio::task::spawn_blocking(move || {
                let outcome = own.round(time);
                (own, outcome)
            });
            let outcome = match work.await {
                Ok((own, outcome)) => {
                    reader = Some(own);
                    outcome
                }
                // A defect: the actor crashes with it, and the next one reads on.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            match outcome {
                Ok(round) => {
                    gate.cell.change(|view| {
                        view.bytes += round.bytes;
                        view.malformed += round.unparsed;
                        "running".clone_into(&mut view.state);
                    });
                    if round.events > 0 {
                        gate.cell.took(gate.clock.now_utc().into(), round.events);
                    }
                    if round.end {
                        tokio::time::sleep(IDLE).await;
                    }
                }
                Err((state, reason)) => {
                    gate.cell.state(state);
                    gate.failed(&reason);
                    tokio::time::sleep(TROUBLE).await;
                }
            }
        }
    }
}

impl Files {
    fn open(&self, gate: &Gate) -> Reader {
        let files = self.paths.iter().map(|path| {
            let name = path.display().to_string();
            let source = Arc::new(LogSource {
                source_type: HOST_FILE.to_owned(),
                file: Some(name.clone()),
                ..(**gate.source()).clone()
            });
            let key = format!("{PLACES}{}{name}", gate.name());
            let mark = gate
                .spool()
                .place(&key)
                .and_then(|bytes| Mark::parse(&bytes));
            let rule = self.multiline.clone();
            FileSource::open(path, Format::Plain, source, &key, mark.as_ref(), rule)
                .of_form(self.form)
        });
        Reader {
            files: files.collect(),
            batch: Batch::new(),
            spool: gate.spool().clone(),
        }
    }
}

impl Reader {
    fn has_news(&self) -> bool {
        !self.batch.is_empty() || self.files.iter().any(FileSource::has_news)
    }

    /// Reads some of each file into the spool. Blocks on the disk.
    fn round(&mut self, time: (Stamp, Duration)) -> Result<Round, (&'static str, String)> {
        // What the spool has not taken yet goes first.
        let mut round = Round {
            events: self.append()?,
            end: true,
            ..Round::default()
        };
        for n in 0..self.files.len() {
            for turn in 1..=TURNS {
                let file = &mut self.files[n];
                let polled = file.poll(TURN, time, &mut self.batch, &mut |_| {});
                let polled = polled
                    .map_err(|e| ("failed", format!("{} cannot be read: {e}", file.key())))?;
                round.bytes += polled.bytes;
                round.unparsed += file.take_unparsed();
                round.events += self.append()?;
                if polled.end {
                    break;
                }
                round.end &= turn < TURNS;
            }
        }
        Ok(round)
    }

    /// Puts the batch into the spool, and tells how many events that were.
    fn append(&mut self) -> Result<u64, (&'static str, String)> {
        let events = self.batch.events();
        match self.spool.append(&mut self.batch) {
            Ok(()) => Ok(events),
            Err(error @ SpoolError::Full { .. }) => Err(("waiting", error.to_string())),
            Err(error @ SpoolError::Io { .. }) => Err(("failed", error.to_string())),
        }
    }
}
