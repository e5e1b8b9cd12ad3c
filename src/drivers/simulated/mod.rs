//! A container engine that only pretends: deterministic, in virtual time, with faults at will.
//!
//! [`Simulated`] implements [`Runtime`] for actors; [`Handle`] breaks it for tests. All time is
//! tokio's, so `tokio::time::pause` drives it: minutes of backoff pass in milliseconds. Nothing runs
//! in the background: whoever looks first brings the world up to the present, so 100,000 containers
//! cost their memory and nothing else.

mod behaviour;
mod container;
mod handle;
mod strings;
#[cfg(test)]
mod tests;
mod world;

pub use behaviour::{Behaviour, Chance, ExecOutcome, ImagePlace, OnTerm, Run};
pub use container::Counters;
pub use handle::Handle;

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{
    ContainerSpec, ContainerStatus, EngineEvent, EngineInfo, ExecControl, ExecRequest, ExecSession,
    LogsRequest, OutputLine, OutputStream, PullObserver, PullProgress, Resources, Runtime,
    RuntimeError, RuntimeKind, Started,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use container::{Container, Life};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use world::{World, address, no_container, no_image, number};

/// The simulated engine as a [`Runtime`]. Clones share one world.
#[derive(Debug, Clone)]
pub struct Simulated {
    shared: Arc<Shared>,
}

/// The world and its clock.
#[derive(Debug)]
struct Shared {
    beginning: Instant,
    world: Mutex<World>,
}

impl Shared {
    /// Looks at the world as it is now.
    fn with<T>(&self, look: impl FnOnce(&mut World, Duration) -> T) -> T {
        let now = self.beginning.elapsed();
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.settle(now);
        look(&mut world, now)
    }
}

impl Simulated {
    /// An engine without containers, whose clock shows `beginning` now.
    pub fn new(beginning: DateTime<Utc>) -> Self {
        let world = Mutex::new(World::new(beginning));
        Self {
            shared: Arc::new(Shared {
                beginning: Instant::now(),
                world,
            }),
        }
    }

    /// The side that breaks things.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// A call of the engine: takes its latency, fails when the engine is away.
    async fn call<T>(
        &self,
        look: impl FnOnce(&mut World, Duration) -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        let latency = self.shared.with(|world, _| world.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.shared.with(|world, now| {
            if world.unreachable {
                return Err(unreachable());
            }
            look(world, now)
        })
    }

    /// Waits until `look` has an answer; asked again whenever the container changes.
    async fn until<T>(
        &self,
        id: &ContainerId,
        mut look: impl FnMut(&World, &Container) -> Option<T> + Send,
    ) -> Result<T, RuntimeError> {
        let key = number(id)?;
        loop {
            let (changed, due) = {
                let looked = self.shared.with(|world, _| {
                    let container = world.containers.get(&key).ok_or_else(|| no_container(id))?;
                    if let Some(answer) = look(world, container) {
                        return Ok(Err(answer));
                    }
                    let due = container.due();
                    let container = world.get(id)?;
                    Ok(Ok((container.changed().notified_owned(), due)))
                });
                match looked? {
                    Ok(wait) => wait,
                    Err(answer) => return Ok(answer),
                }
            };
            self.changed_or_due(changed, due).await;
        }
    }

    async fn changed_or_due(&self, changed: impl Future<Output = ()>, due: Option<Duration>) {
        match due {
            Some(due) => tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(self.shared.beginning + due) => {}
            },
            None => changed.await,
        }
    }

    /// Waits until the engine can be reached.
    async fn until_reachable(&self) {
        loop {
            let earlier = self.shared.with(|world, _| {
                world
                    .unreachable
                    .then(|| Arc::clone(&world.earlier).notified_owned())
            });
            match earlier {
                Some(earlier) => earlier.await,
                None => return,
            }
        }
    }
}

fn unreachable() -> RuntimeError {
    RuntimeError::Unreachable {
        engine: "the simulated engine".to_owned(),
        reason: "it was told not to answer".to_owned(),
        remedy: "make it reachable again".to_owned(),
    }
}

#[async_trait]
impl Runtime for Simulated {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Simulated
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.call(|_, _| {
            Ok(EngineInfo {
                kind: RuntimeKind::Simulated,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                endpoint: "simulated".to_owned(),
                cpus: 1024,
                memory: 1 << 44,
                can_pause: true,
                warnings: vec!["containers are simulated: nothing runs".to_owned()],
            })
        })
        .await
    }

    async fn ensure_image(&self, image: &str, progress: PullObserver) -> Result<(), RuntimeError> {
        let place = self
            .call(|world, _| Ok(world.behaviour(image).place))
            .await?;
        match place {
            ImagePlace::Local => Ok(()),
            ImagePlace::Nowhere => Err(no_image(image)),
            ImagePlace::Registry(pull) => {
                let step = |status: &str, current: u64| PullProgress {
                    status: status.to_owned(),
                    layer: Some("simulated".to_owned()),
                    current: Some(current),
                    total: Some(100),
                };
                progress(step("Downloading", 0));
                tokio::time::sleep(pull).await;
                progress(step("Pull complete", 100));
                self.call(|world, _| {
                    world.counters.pulls += 1;
                    let local = Behaviour {
                        place: ImagePlace::Local,
                        ..(*world.behaviour(image)).clone()
                    };
                    world.set_behaviour(image, local);
                    Ok(())
                })
                .await
            }
        }
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        self.call(|world, _| world.create(spec)).await
    }

    async fn start(&self, id: &ContainerId) -> Result<Started, RuntimeError> {
        let key = number(id)?;
        self.call(|world, now| world.start(id, now)).await?;
        self.until(id, |_, container| (!container.starting()).then_some(()))
            .await?;
        self.shared.with(|world, _| {
            let container = world.get(id)?;
            if let Some(error) = container.take_start_error() {
                return Err(error);
            }
            let stopped = || RuntimeError::Failed {
                action: format!("start container {id}"),
                reason: "it was stopped meanwhile".to_owned(),
            };
            let at = container.started_at.ok_or_else(stopped)?;
            Ok(Started {
                pid: None,
                ip: Some(address(key)),
                at: world.instant(at),
            })
        })
    }

    async fn stop(&self, id: &ContainerId, kill_timeout: Duration) -> Result<Exit, RuntimeError> {
        self.call(|world, now| world.stop(id, kill_timeout, now))
            .await?;
        self.until(id, |_, container| match &container.life {
            Life::Exited(exit) => Some(exit.clone()),
            Life::Created => Some(Exit::from_code(0, false, None)),
            Life::Running | Life::Paused => None,
        })
        .await
    }

    async fn signal(&self, id: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let number = crate::drivers::signal::number(signal, id)?;
        self.call(|world, now| world.signal(id, number, now)).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.call(|world, _| world.pause(id, true)).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.call(|world, _| world.pause(id, false)).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.call(|world, now| {
            world.remove(id, now);
            Ok(())
        })
        .await
    }

    async fn update(&self, id: &ContainerId, resources: Resources) -> Result<(), RuntimeError> {
        self.call(|world, _| {
            world.get(id)?.resources = resources;
            world.counters.updates += 1;
            Ok(())
        })
        .await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        self.call(|world, _| {
            world.counters.inspects += 1;
            world.status(number(id)?).ok_or_else(|| no_container(id))
        })
        .await
    }

    async fn list(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerStatus>, RuntimeError> {
        self.call(|world, _| {
            world.counters.lists += 1;
            Ok(world.list(labels))
        })
        .await
    }

    async fn ended(&self, id: &ContainerId, _pid: Option<u32>) -> Result<(), RuntimeError> {
        self.until(id, |world, c| {
            (!c.runs() && !c.starting() && !world.lose_ends).then_some(())
        })
        .await
    }

    async fn exit_of(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        self.until_reachable().await;
        let ended = self.until(id, |_, container| match &container.life {
            Life::Exited(exit) => Some(Some(exit.clone())),
            Life::Created => Some(None),
            Life::Running | Life::Paused => None,
        });
        ended.await?.ok_or_else(|| RuntimeError::Failed {
            action: format!("tell how container {id} ended"),
            reason: "it was made but never started".to_owned(),
        })
    }

    fn events(&self, labels: BTreeMap<String, String>) -> BoxStream<'static, EngineEvent> {
        let receiver = self.shared.with(|world, _| world.events.subscribe());
        let begin = stream::once(std::future::ready(EngineEvent::Resynchronise));
        let rest = stream::unfold((self.clone(), receiver), move |(engine, mut receiver)| {
            let labels = labels.clone();
            async move {
                loop {
                    let (due, earlier) = engine.shared.with(|world, _| {
                        (
                            world.next_due(),
                            Arc::clone(&world.earlier).notified_owned(),
                        )
                    });
                    tokio::select! {
                        biased;
                        received = receiver.recv() => match received {
                            Ok((EngineEvent::Resynchronise, _)) | Err(RecvError::Lagged(_)) => {
                                return Some((EngineEvent::Resynchronise, (engine, receiver)));
                            }
                            Ok((event, of)) if of.contain(&labels) => {
                                return Some((event, (engine, receiver)));
                            }
                            Ok(_) => {}
                            Err(RecvError::Closed) => return None,
                        },
                        () = engine.changed_or_due(earlier, due) => {}
                    }
                }
            }
        });
        begin.chain(rest).boxed()
    }

    fn logs(
        &self,
        id: &ContainerId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
        logs(self.clone(), id.clone(), request)
    }

    async fn exec(
        &self,
        id: &ContainerId,
        _request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        let outcome = self
            .call(|world, _| {
                if world.get(id)?.life != Life::Running {
                    return Err(RuntimeError::Refused {
                        action: format!("run a command in container {id}"),
                        reason: "it is not running".to_owned(),
                    });
                }
                world.counters.execs += 1;
                Ok(world.behaviour_of(number(id)?).exec.clone())
            })
            .await?;
        Ok(session(outcome))
    }

    async fn run(
        &self,
        spec: &ContainerSpec,
        _request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        self.call(|world, _| {
            world.counters.execs += 1;
            let behaviour = world.behaviour(&spec.image);
            match behaviour.place {
                ImagePlace::Nowhere => Err(no_image(&spec.image)),
                ImagePlace::Local | ImagePlace::Registry(_) => Ok(session(behaviour.exec.clone())),
            }
        })
        .await
    }
}

/// The session of a command that has ended already.
fn session(outcome: ExecOutcome) -> ExecSession {
    let output = Ok((OutputStream::Stdout, outcome.output));
    ExecSession {
        input: Box::pin(tokio::io::sink()),
        output: stream::iter([output]).boxed(),
        control: Box::new(Ended(outcome.code)),
    }
}

/// A command that has ended already.
struct Ended(i32);

#[async_trait]
impl ExecControl for Ended {
    async fn resize(&self, _columns: u16, _rows: u16) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exit_code(&self) -> Result<i32, RuntimeError> {
        Ok(self.0)
    }
}

/// What a container printed; follows until its run ends.
fn logs(
    engine: Simulated,
    id: ContainerId,
    request: LogsRequest,
) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
    let wanted = move |line: &OutputLine| {
        request.since.is_none_or(|since| line.at >= since)
            && request.until.is_none_or(|until| line.at < until)
    };
    // The place is the number of lines ever printed before the next one to tell.
    let place = None::<u64>;
    let batches = stream::unfold(
        (engine, id, place, false),
        move |(engine, id, place, over)| async move {
            if over {
                return None;
            }
            let looked = engine.until(&id, |_, container| {
                let oldest = container.printed - container.lines().len() as u64;
                let begin = match (place, request.tail) {
                    (Some(place), _) => place.max(oldest),
                    (None, Some(tail)) => container.printed.saturating_sub(tail as u64).max(oldest),
                    (None, None) => oldest,
                };
                let skip = usize::try_from(begin - oldest).unwrap_or(usize::MAX);
                let lines: Vec<_> = container
                    .lines()
                    .skip(skip)
                    .filter(|l| wanted(l))
                    .cloned()
                    .collect();
                let over = !request.follow || !container.runs();
                let news = container.printed > begin || over;
                news.then_some((lines, container.printed, over))
            });
            match looked.await {
                Ok((lines, place, over)) => {
                    let lines: Vec<_> = lines.into_iter().map(Ok).collect();
                    Some((lines, (engine, id, Some(place), over)))
                }
                Err(error) => Some((vec![Err(error)], (engine, id, place, true))),
            }
        },
    );
    batches.flat_map(stream::iter).boxed()
}
