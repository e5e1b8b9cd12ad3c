//! What the actors of a node share of the pipeline: the spool, the sinks, the readers of containers.
//!
//! Made by a role, handed to the actors. Holds no loop of its own: `spool` syncs and trims, each `sink/<name>`
//! drives its pump, each container's `logs` reads.

use super::cell::SinkCell;
use super::pause;
use super::pump::{Command, Parts, Pump, Settings};
use super::route::{Filter, Redaction};
use crate::domain::log::{LogEvent, Stamp};
use crate::domain::view::{InputView, SinkView};
use crate::logging::event::multiline::Rule;
use crate::logging::inputs::gate::PLACES;
use crate::logging::inputs::http::HttpIntake;
use crate::logging::inputs::{InputEntry, InputSpec};
use crate::logging::sources::watch::Watcher;
use crate::logging::spool::{Batch, Figures, From, Spool, SpoolError};
use crate::ports::clock::Clock;
use crate::ports::sink::{SinkError, SinkFactory};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// This host, as events name it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The host's own name.
    pub host: String,
    /// lain's name of the node.
    pub node: String,
}

/// A sink as the configuration has it.
#[derive(Clone)]
pub struct SinkSpec {
    /// Its name.
    pub name: String,
    /// The same for the same settings: a sink with another one has changed.
    pub mark: String,
    /// Makes it.
    pub factory: Arc<dyn SinkFactory>,
    /// Which events it gets.
    pub filter: Filter,
    /// What it may not see.
    pub redaction: Arc<Redaction>,
    /// How it is driven.
    pub settings: Settings,
    /// Where it begins when it is new.
    pub from: From,
}

/// Lines of these apps belong together by this rule.
#[derive(Debug, Clone)]
pub struct Multiline {
    /// Which events it is for.
    pub filter: Filter,
    /// How.
    pub rule: Rule,
}

/// A sink of the pipeline.
pub struct SinkEntry {
    /// What it is.
    pub spec: SinkSpec,
    /// What is shown of it.
    pub cell: Arc<SinkCell>,
    sender: mpsc::UnboundedSender<Command>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<Command>>,
}

/// What another configuration changes of the sinks.
#[derive(Default)]
pub struct Changes {
    /// New ones.
    pub added: Vec<Arc<SinkEntry>>,
    /// Those with other settings.
    pub changed: Vec<Arc<SinkEntry>>,
    /// The names of those that are gone.
    pub removed: Vec<String>,
    /// The names of those that go on untouched.
    pub kept: Vec<String>,
}

/// The reader of one container, as others see it.
#[derive(Debug, Default)]
pub struct ReaderHandle {
    /// Wakes it.
    pub wake: Notify,
    asked: AtomicU64,
    drained: watch::Sender<u64>,
}

impl ReaderHandle {
    /// The number of the newest request to drain; 0 before the first.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// All that there was at request `number` is in the spool.
    pub fn drained(&self, number: u64) {
        self.drained.send_modify(|n| *n = (*n).max(number));
    }
}

/// The pipeline of a node.
pub struct Pipeline {
    /// The spool.
    pub spool: Spool,
    /// This host.
    pub host: Host,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    multiline: RwLock<Vec<Multiline>>,
    /// Held from a change of the sinks to the end of carrying it out.
    pub changing: tokio::sync::Mutex<()>,
    sinks: RwLock<Vec<Arc<SinkEntry>>>,
    /// Made once, when it opens: a change of them takes a restart.
    inputs: OnceLock<Vec<Arc<InputEntry>>>,
    /// Events that the API takes.
    pub http: Arc<HttpIntake>,
    readers: Mutex<HashMap<String, Arc<ReaderHandle>>>,
    watcher: OnceLock<Option<Watcher>>,
    own: AtomicU64,
    /// The number of the last of lain's events that is in the spool; 0 for none.
    event: AtomicU64,
}

impl Pipeline {
    /// Over an opened spool.
    pub fn new(
        spool: Spool,
        host: Host,
        clock: Arc<dyn Clock>,
        sinks: Vec<SinkSpec>,
        multiline: Vec<Multiline>,
    ) -> Self {
        // Above what the process before reached, as the event hub's numbers are.
        let own = u64::try_from(clock.now_utc().timestamp_micros()).unwrap_or(1);
        let http = HttpIntake::new(spool.clone(), host.clone(), Arc::clone(&clock));
        Self {
            spool,
            host,
            clock,
            multiline: RwLock::new(multiline),
            changing: tokio::sync::Mutex::default(),
            inputs: OnceLock::new(),
            http: Arc::new(http),
            sinks: RwLock::new(sinks.into_iter().map(entry).collect()),
            readers: Mutex::default(),
            watcher: OnceLock::new(),
            own: AtomicU64::new(own),
            event: AtomicU64::new(0),
        }
    }

    /// The sinks.
    pub fn sinks(&self) -> Vec<Arc<SinkEntry>> {
        self.sinks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Option<Arc<SinkEntry>> {
        self.sinks().into_iter().find(|sink| sink.spec.name == name)
    }

    /// Tells `reader` when something happens in the folder of `file`. Whether it will be told: where not, it has to
    /// look more often.
    pub fn watch(&self, file: &Path, reader: &Arc<Notify>) -> bool {
        let watcher = self.watcher.get_or_init(|| {
            Watcher::new()
                .inspect_err(|error| tracing::warn!(%error, "log files cannot be watched"))
                .ok()
        });
        let folder = file.parent().unwrap_or(Path::new("."));
        let watched = watcher.as_ref().map(|w| w.watch(folder, reader));
        matches!(watched, Some(Ok(())))
    }

    /// Puts other sinks and rules in place of these. Nothing is removed from the spool until the new ones have
    /// opened their cursors; whoever drives sinks carries out what this returns. Rules hold for containers that
    /// start from now on.
    pub fn change(&self, sinks: Vec<SinkSpec>, multiline: Vec<Multiline>) -> Changes {
        let mut changes = Changes::default();
        let mut present = self.sinks.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Vec::with_capacity(sinks.len());
        for spec in sinks {
            let before = present.iter().find(|entry| entry.spec.name == spec.name);
            let entry = match before {
                Some(before) if before.spec.mark == spec.mark => {
                    changes.kept.push(spec.name);
                    next.push(Arc::clone(before));
                    continue;
                }
                Some(_) => {
                    let entry = entry(spec);
                    changes.changed.push(Arc::clone(&entry));
                    entry
                }
                None => {
                    let entry = entry(spec);
                    changes.added.push(Arc::clone(&entry));
                    entry
                }
            };
            next.push(entry);
        }
        let names = present.iter().map(|entry| entry.spec.name.clone());
        changes.removed = names
            .filter(|name| !next.iter().any(|entry| entry.spec.name == *name))
            .collect();
        *present = next;
        drop(present);
        *self
            .multiline
            .write()
            .unwrap_or_else(PoisonError::into_inner) = multiline;
        changes
    }

    /// What is shown of the sinks, by name.
    pub fn views(&self) -> Vec<SinkView> {
        let figures = self.spool.figures();
        let mut views: Vec<_> = self
            .sinks()
            .iter()
            .map(|sink| sink.cell.view(&figures, &self.host.node))
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Gives it its inputs, once; those that it has stay.
    pub fn set_inputs(&self, specs: Vec<InputSpec>) {
        self.inputs.get_or_init(|| {
            let made = specs.into_iter().map(|spec| InputEntry::new(spec, self));
            made.map(Arc::new).collect()
        });
    }

    /// The inputs.
    pub fn inputs(&self) -> &[Arc<InputEntry>] {
        self.inputs.get().map_or(&[], Vec::as_slice)
    }

    /// What is shown of the inputs, by name.
    pub fn input_views(&self) -> Vec<InputView> {
        let views = self.inputs().iter().map(|input| input.gate.cell.view());
        let mut views: Vec<_> = views.chain([self.http.cell().view()]).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// The spool's figures.
    pub fn figures(&self) -> Figures {
        self.spool.figures()
    }

    /// The rule by which lines of this source belong together.
    pub fn multiline_of(&self, source: &Arc<crate::domain::log::LogSource>) -> Option<Rule> {
        let probe = LogEvent {
            source: Arc::clone(source),
            at: Stamp(0),
            seq: 0,
            ordinal: 0,
            body: crate::domain::log::LogBody::Object(bytes::Bytes::new()),
        };
        let rules = self
            .multiline
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let found = rules.iter().find(|m| m.filter.takes(&probe));
        found.map(|m| m.rule.clone())
    }

    /// A number for one of lain's own events.
    pub fn number(&self) -> u64 {
        self.own.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the last event of the hub that is in the spool.
    pub fn last_event(&self) -> Option<u64> {
        match self.event.load(Ordering::Acquire) {
            0 => None,
            seq => Some(seq),
        }
    }

    /// Notes an event of the hub as being in the spool.
    pub fn note_event(&self, seq: u64) {
        self.event.store(seq, Ordering::Release);
    }

    /// Puts one of lain's own events into the spool. Where that fails it is said, in lain's own log.
    pub fn emit(&self, event: &LogEvent) {
        let mut batch = Batch::new();
        batch.push(event);
        if let Err(error) = self.spool.append(&mut batch) {
            tracing::warn!(%error, "an event of lain itself is missing from the logs");
        }
    }

    /// Removes what every sink has read. What one has that has not started yet is not known: nothing goes.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn trim(&self) -> Result<(), SpoolError> {
        let needs: Option<Vec<u64>> = self.sinks().iter().map(|sink| sink.cell.needs()).collect();
        match needs {
            Some(needs) => self
                .spool
                .trim(needs.into_iter().min().unwrap_or(self.spool.end())),
            None => Ok(()),
        }
    }

    /// Enters the reader of a container, replacing a former one.
    pub fn enter(&self, container: &str) -> Arc<ReaderHandle> {
        let handle = Arc::new(ReaderHandle::default());
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.insert(container.to_owned(), Arc::clone(&handle));
        handle
    }

    /// Takes the reader of a container out, unless another one has taken its place.
    pub fn leave(&self, container: &str, handle: &Arc<ReaderHandle>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers
            .get(container)
            .is_some_and(|present| Arc::ptr_eq(present, handle))
        {
            readers.remove(container);
        }
    }

    /// Waits until all that a container has printed is in the spool, or `most` has passed. `None` when nobody
    /// reads it, else whether it is.
    pub async fn drain(&self, container: &str, most: Duration) -> Option<bool> {
        let handle = {
            let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.get(container).cloned()?
        };
        let mut drained = handle.drained.subscribe();
        let number = handle.asked.fetch_add(1, Ordering::AcqRel) + 1;
        handle.wake.notify_one();
        let done = drained.wait_for(|n| *n >= number);
        Some(matches!(tokio::time::timeout(most, done).await, Ok(Ok(_))))
    }

    /// Forgets how far the files of a container were read: it is gone.
    pub fn forget(&self, container: &str) {
        let mut batch = Batch::new();
        for key in self.spool.places() {
            // What inputs note is of no container.
            if !key.starts_with(PLACES) && container_of(&key) == container {
                batch.forget(&key);
            }
        }
        if let Err(error) = self.spool.append(&mut batch) {
            tracing::debug!(%error, container, "the place of a removed container stays");
        }
    }

    /// Forgets all containers but those.
    pub fn retain(&self, containers: &[String]) {
        let mut gone: Vec<String> = self
            .spool
            .places()
            .iter()
            .filter(|key| !key.starts_with(PLACES))
            .map(|key| container_of(key).to_owned())
            .collect();
        gone.dedup();
        for container in gone {
            if !containers.contains(&container) {
                self.forget(&container);
            }
        }
    }
}

/// The container that a place is of: keys are `<container>` and `<container>/<file>`.
fn container_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(container, _)| container)
}

fn entry(spec: SinkSpec) -> Arc<SinkEntry> {
    let (sender, receiver) = mpsc::unbounded_channel();
    Arc::new(SinkEntry {
        cell: Arc::new(SinkCell::new(&spec.name, spec.factory.kind())),
        spec,
        sender,
        receiver: tokio::sync::Mutex::new(receiver),
    })
}

impl SinkEntry {
    /// Drives it until it is told to stop.
    ///
    /// # Errors
    /// A sentence: what the configuration cannot mean, or what the disk said.
    pub async fn run(&self, pipeline: &Pipeline) -> Result<(), String> {
        let sink = self
            .spec
            .factory
            .make()
            .map_err(|e: SinkError| e.to_string())?;
        let parts = Parts {
            spool: pipeline.spool.clone(),
            sink,
            name: self.spec.name.clone(),
            from: self.spec.from,
            filter: self.spec.filter.clone(),
            redaction: Arc::clone(&self.spec.redaction),
            settings: self.spec.settings,
            cell: Arc::clone(&self.cell),
            clock: Arc::clone(&pipeline.clock),
        };
        let pump = Pump::open(parts).map_err(|e| e.to_string())?;
        let mut commands = self.receiver.lock().await;
        pump.run(&mut commands).await.map_err(|e| e.to_string())
    }

    /// Sends nothing until it is resumed, also over restarts of lain and while the sink cannot be driven.
    ///
    /// # Errors
    /// That this cannot be noted on disk.
    pub fn pause(&self, pipeline: &Pipeline) -> Result<(), SpoolError> {
        pause::set(&pipeline.spool, &self.spec.name, true)?;
        self.command(Command::Pause);
        self.cell
            .change(|view| "paused".clone_into(&mut view.state));
        Ok(())
    }

    /// Goes on, at once, also after a refusal or while the breaker is open.
    ///
    /// # Errors
    /// That this cannot be noted on disk.
    pub fn resume(&self, pipeline: &Pipeline) -> Result<(), SpoolError> {
        pause::set(&pipeline.spool, &self.spec.name, false)?;
        self.command(Command::Resume);
        Ok(())
    }

    /// What is shown of it.
    pub fn view(&self, pipeline: &Pipeline) -> SinkView {
        self.cell.view(&pipeline.figures(), &pipeline.host.node)
    }

    /// Gives a command. It waits while the sink is not driven.
    pub fn command(&self, command: Command) {
        // The receiver lives in this very struct: sending cannot fail.
        let _ = self.sender.send(command);
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Command,
        most: Duration,
    ) -> Result<(), String> {
        let (sender, receiver) = oneshot::channel();
        self.command(command(sender));
        match tokio::time::timeout(most, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the sink's actor restarted meanwhile; try again".to_owned()),
            Err(_) => Err(format!(
                "the sink did not answer within {}s: it waits for its receiver",
                most.as_secs()
            )),
        }
    }

    /// Settles what was sent and ends its pump.
    pub async fn stop(&self) {
        let (sender, receiver) = oneshot::channel();
        self.command(Command::Stop(sender));
        // A pump that is gone has nothing to settle.
        let _ = receiver.await;
    }
}
