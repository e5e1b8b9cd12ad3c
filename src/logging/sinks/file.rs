//! A file of JSON lines, rotated by size, the rotated ones compressed. Durable when a batch is acknowledged.

use crate::domain::log::LogEvent;
use crate::logging::event::Encoder;
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where, and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; its folder is made when absent.
    pub path: PathBuf,
    /// The size in bytes at which it is rotated.
    pub max_bytes: u64,
    /// How many rotated files are kept, `x.1` or `x.1.gz` being the newest.
    pub keep: u32,
    /// Whether rotated files are compressed.
    pub compress: bool,
}

impl Options {
    /// 100 MiB, ten rotated files, compressed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 100 << 20,
            keep: 10,
            compress: true,
        }
    }
}

/// The sink.
pub struct FileSink {
    options: Options,
    encoder: Encoder,
}

impl FileSink {
    /// Nothing is opened yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            encoder: Encoder::default(),
        }
    }
}

fn rotated(path: &Path, number: u32, packed: bool) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}{}", if packed { ".gz" } else { "" }));
    name.into()
}

fn open(options: &Options) -> io::Result<File> {
    if let Some(folder) = options.path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(&options.path)
}

/// Moves the rotated files up, and the present one to their head.
fn rotate(options: &Options) -> io::Result<()> {
    let path = &options.path;
    for packed in [false, true] {
        let _ = fs::remove_file(rotated(path, options.keep, packed));
        for number in (1..options.keep).rev() {
            // Most numbers have one form only.
            let _ = fs::rename(
                rotated(path, number, packed),
                rotated(path, number + 1, packed),
            );
        }
    }
    if options.keep == 0 {
        return fs::remove_file(path);
    }
    let first = rotated(path, 1, false);
    fs::rename(path, &first)?;
    if options.compress {
        let packed = rotated(path, 1, true);
        let mut encoder = GzEncoder::new(File::create(&packed)?, Compression::fast());
        io::copy(&mut File::open(&first)?, &mut encoder)?;
        encoder.finish()?.sync_all()?;
        fs::remove_file(&first)?;
    }
    Ok(())
}

fn append(options: &Options, bytes: &[u8]) -> io::Result<()> {
    let mut file = open(options)?;
    let size = file.metadata()?.len();
    if size > 0 && size + bytes.len() as u64 > options.max_bytes {
        rotate(options)?;
        file = open(options)?;
    }
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // The batch is written again as a whole.
        file.set_len(before)?;
    }
    written
}

#[async_trait]
impl Sink for FileSink {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        let mut out = Vec::with_capacity(events.len() * 600);
        for event in events {
            self.encoder.encode(event, &mut out);
            out.push(b'\n');
        }
        let (options, bytes) = (self.options.clone(), out.len() as u64);
        let written = tokio::task::spawn_blocking(move || append(&options, &out)).await;
        let failed =
            |reason: String| SinkError::retry(format!("{}: {reason}", self.options.path.display()));
        match written {
            Ok(Ok(())) => Ok(Delivery {
                bytes,
                ..Delivery::default()
            }),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        let opened = open(&self.options);
        opened
            .map(drop)
            .map_err(|e| SinkError::retry(format!("{}: {e}", self.options.path.display())))
    }
}

impl SinkFactory for Options {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(FileSink::new(self.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::{LogBody, LogSource, Stamp};
    use std::io::Read;
    use std::sync::Arc;

    fn event(n: usize) -> LogEvent {
        LogEvent {
            source: Arc::new(LogSource::default()),
            at: Stamp(0),
            seq: n as u64,
            ordinal: 0,
            body: LogBody::Object(format!("{{\"n\":{n}}}").into_bytes().into()),
        }
    }

    #[actix_rt::test]
    async fn files_are_rotated_and_compressed_and_hold_every_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/all.ndjson");
        let mut sink = FileSink::new(Options {
            max_bytes: 100,
            keep: 3,
            ..Options::new(&path)
        });
        for n in 0..40 {
            sink.send(&[event(n)]).await.unwrap();
        }
        let mut text = String::new();
        for number in (1..=3).rev() {
            let file = File::open(rotated(&path, number, true)).unwrap();
            flate2::read::GzDecoder::new(file)
                .read_to_string(&mut text)
                .unwrap();
        }
        text.push_str(&fs::read_to_string(&path).unwrap());
        let kept: Vec<String> = text.lines().map(str::to_owned).collect();
        let wanted: Vec<String> = (40 - kept.len()..40)
            .map(|n| format!("{{\"n\":{n}}}"))
            .collect();
        assert_eq!(kept, wanted);
        assert!(kept.len() >= 30);
        assert!(!rotated(&path, 4, true).exists());
        sink.check().await.unwrap();
    }
}
