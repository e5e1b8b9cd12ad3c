//! A pump in a pipeline over a real spool, with a sink in memory.

use super::breaker;
use super::pipeline::{Host, Pipeline, SinkSpec};
use super::pump::Settings;
use super::route::{Filter, Redaction};
use crate::domain::log::{LogBody, LogEvent, LogSource, Stamp};
use crate::domain::view::SinkView;
use crate::logging::sinks::memory::Memory;
use crate::logging::spool::{Batch, From, Options, Spool};
use crate::ports::clock::SystemClock;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub struct Rig {
    pub pipeline: Arc<Pipeline>,
    pub memory: Memory,
    pub dir: tempfile::TempDir,
    pub source: Arc<LogSource>,
    next: u64,
}

pub fn settings() -> Settings {
    Settings {
        batch_events: 10,
        retry_first: Duration::from_millis(5),
        retry_most: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        breaker: breaker::Settings {
            failures: 3,
            open_for: Duration::from_millis(50),
        },
        ..Settings::default()
    }
}

pub fn pipeline(
    dir: &Path,
    memory: &Memory,
    filter: Filter,
    redaction: Redaction,
) -> Arc<Pipeline> {
    let spool = Spool::open(Options {
        segment_bytes: 4000,
        ..Options::new(dir)
    });
    let spec = SinkSpec {
        name: "m".to_owned(),
        mark: "1".to_owned(),
        factory: Arc::new(memory.clone()),
        filter,
        redaction: Arc::new(redaction),
        settings: settings(),
        from: From::Oldest,
    };
    let clock = Arc::new(SystemClock::new());
    Arc::new(Pipeline::new(
        spool.unwrap().0,
        Host::default(),
        clock,
        vec![spec],
        Vec::new(),
    ))
}

impl Rig {
    pub fn new(filter: Filter) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        Self {
            pipeline: pipeline(dir.path(), &memory, filter, Redaction::default()),
            memory,
            dir,
            source: Arc::new(LogSource {
                app: "a".to_owned(),
                ..LogSource::default()
            }),
            next: 1,
        }
    }

    pub fn add(&mut self, count: u64) {
        let mut batch = Batch::new();
        for seq in self.next..self.next + count {
            batch.push(&LogEvent {
                source: Arc::clone(&self.source),
                at: Stamp(seq.cast_signed() * 1_000_000_000),
                seq,
                ordinal: 0,
                body: LogBody::Object(format!("{{\"n\":{seq}}}").into_bytes().into()),
            });
        }
        self.next += count;
        self.pipeline.spool.append(&mut batch).unwrap();
    }

    /// Drives the sink in the background until the test ends.
    pub fn drive(&self) -> actix_rt::task::JoinHandle<Result<(), String>> {
        let pipeline = Arc::clone(&self.pipeline);
        actix_rt::spawn(async move {
            let sink = pipeline.sink("m").unwrap();
            sink.run(&pipeline).await
        })
    }

    pub fn view(&self) -> SinkView {
        self.pipeline.views().remove(0)
    }

    pub async fn until(&self, what: impl Fn(&SinkView) -> bool) -> SinkView {
        for _ in 0..2000 {
            let view = self.view();
            if what(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?}", self.view());
    }

    pub fn got(&self) -> Vec<u64> {
        self.memory.events().iter().map(|e| e.seq).collect()
    }

    /// Received = sent + discarded + buffered, with what was filtered.
    pub fn even(&self) {
        let view = self.view();
        let received = self.pipeline.figures().events;
        assert_eq!(
            view.sent + view.filtered + view.discarded + view.lag_events,
            received,
            "{view:?}"
        );
    }
}
