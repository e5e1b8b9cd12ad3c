//! The simulated engine's state: containers, and what is due when. Pure: time is handed in.
//!
//! Called by [`super::Simulated`] and [`super::Handle`] under their lock. Never sleeps: whoever looks
//! first brings it up to the present with [`World::settle`]. Time is counted from the world's
//! beginning.

use super::behaviour::{Behaviour, ImagePlace, OnTerm};
use super::container::{Container, Counters, Life};
use super::strings::{Interner, Labels};
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{
    ContainerSpec, ContainerState, ContainerStatus, EngineEvent, OutputLine, OutputStream,
    RuntimeError,
};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// Events kept for a subscriber that is behind; more, and it must look again.
const EVENTS: usize = 4096;

/// What happens at an instant.
#[derive(Debug, Clone)]
enum Due {
    Starts,
    Ends(Exit),
}

/// The engine.
#[derive(Debug)]
pub(super) struct World {
    beginning: DateTime<Utc>,
    strings: Interner,
    pub(super) containers: BTreeMap<u64, Container>,
    names: HashMap<Arc<str>, u64>,
    bound: HashMap<(IpAddr, u16), u64>,
    due: BTreeMap<(Duration, u64), (u64, u32, Due)>,
    sequence: u64,
    behaviours: HashMap<Arc<str>, Arc<Behaviour>>,
    default_behaviour: Arc<Behaviour>,
    pub(super) counters: Counters,
    pub(super) failing_start: HashMap<u64, RuntimeError>,
    pub(super) unreachable: bool,
    pub(super) latency: Duration,
    pub(super) lose_events: bool,
    pub(super) lose_ends: bool,
    pub(super) events: broadcast::Sender<(EngineEvent, Labels)>,
    /// Told when something is due earlier than before, and when reachability changes.
    pub(super) earlier: Arc<Notify>,
}

pub(super) fn no_container(id: &ContainerId) -> RuntimeError {
    RuntimeError::NoContainer(id.to_string())
}

fn refused(action: &str, id: &ContainerId, reason: &str) -> RuntimeError {
    RuntimeError::Refused {
        action: format!("{action} container {id}"),
        reason: reason.to_owned(),
    }
}

/// The number in an id that this world gave.
pub(super) fn number(id: &ContainerId) -> Result<u64, RuntimeError> {
    let digits = id
        .as_str()
        .strip_prefix("sim-")
        .ok_or_else(|| no_container(id))?;
    digits.parse().map_err(|_| no_container(id))
}

pub(super) fn container_id(number: u64) -> ContainerId {
    ContainerId::new(format!("sim-{number:08}")).expect("digits and a dash are a container id")
}

impl World {
    pub(super) fn new(beginning: DateTime<Utc>) -> Self {
        Self {
            beginning,
            strings: Interner::default(),
            containers: BTreeMap::new(),
            names: HashMap::new(),
            bound: HashMap::new(),
            due: BTreeMap::new(),
            sequence: 0,
            behaviours: HashMap::new(),
            default_behaviour: Arc::default(),
            counters: Counters::default(),
            failing_start: HashMap::new(),
            unreachable: false,
            latency: Duration::ZERO,
            lose_events: false,
            lose_ends: false,
            events: broadcast::channel(EVENTS).0,
            earlier: Arc::default(),
        }
    }

    pub(super) fn set_behaviour(&mut self, image: &str, behaviour: Behaviour) {
        let image = self.strings.get(image);
        self.behaviours.insert(image, Arc::new(behaviour));
    }

    pub(super) fn behaviour(&self, image: &str) -> Arc<Behaviour> {
        Arc::clone(
            self.behaviours
                .get(image)
                .unwrap_or(&self.default_behaviour),
        )
    }

    pub(super) fn behaviour_of(&self, number: u64) -> Arc<Behaviour> {
        let image = self.containers.get(&number).map(|c| &*c.image);
        image.map_or_else(
            || Arc::clone(&self.default_behaviour),
            |image| self.behaviour(image),
        )
    }

    pub(super) fn instant(&self, at: Duration) -> DateTime<Utc> {
        self.beginning + at
    }

    /// When the next thing is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Brings the world up to `now`.
    pub(super) fn settle(&mut self, now: Duration) {
        while let Some(entry) = self.due.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                return;
            }
            let (number, epoch, due) = entry.remove();
            if self
                .containers
                .get(&number)
                .is_some_and(|c| c.epoch == epoch)
            {
                match due {
                    Due::Starts => self.begin(number, at),
                    Due::Ends(exit) => self.end(number, exit, at),
                }
            }
        }
    }

    fn plan(&mut self, at: Duration, number: u64, due: Due) {
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        if let Due::Ends(_) = due {
            container.ends_at = Some(container.ends_at.map_or(at, |other| other.min(at)));
            container.tell();
        }
        let first = self.next_due().is_none_or(|next| at < next);
        self.sequence += 1;
        self.due.insert(
            (at, self.sequence),
            (number, self.containers[&number].epoch, due),
        );
        if first {
            self.earlier.notify_waiters();
        }
    }

    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        if self.behaviour(&spec.image).place == ImagePlace::Nowhere {
            return Err(no_image(&spec.image));
        }
        let name = self.strings.get(&spec.name);
        if self.names.contains_key(&name) {
            return Err(RuntimeError::NameTaken(spec.name.clone()));
        }
        self.counters.creates += 1;
        let number = self.counters.creates;
        self.names.insert(Arc::clone(&name), number);
        let container = Container {
            name,
            image: self.strings.get(&spec.image),
            labels: self.strings.labels(&spec.labels),
            ports: spec.ports.clone().into_boxed_slice(),
            resources: spec.resources,
            life: Life::Created,
            starts_at: None,
            start_error: None,
            started_at: None,
            attempts: 0,
            starts: 0,
            epoch: 0,
            ends_at: None,
            changed: None,
            lines: Default::default(),
            printed: 0,
        };
        self.containers.insert(number, container);
        Ok(container_id(number))
    }

    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(super) fn get(&mut self, id: &ContainerId) -> Result<&mut Container, RuntimeError> {
        self.containers
            .get_mut(&number(id)?)
            .ok_or_else(|| no_container(id))
    }

    /// Begins a start, which happens even when nobody waits for it. One that runs is left alone.
    pub(super) fn start(&mut self, id: &ContainerId, now: Duration) -> Result<(), RuntimeError> {
        let number = number(id)?;
        let behaviour = self.behaviour_of(number);
        let container = self.get(id)?;
        if container.runs() || container.starting() {
            return Ok(());
        }
        container.attempts += 1;
        let fails = container.attempts <= behaviour.failing_starts;
        self.counters.starts += 1;
        if let Some(error) = self.failing_start.remove(&number) {
            return Err(error);
        }
        if fails {
            return Err(refused("start", id, "its image is made to fail"));
        }
        let container = self.get(id)?;
        container.epoch += 1;
        container.starts_at = Some(now + behaviour.start_delay);
        container.start_error = None;
        self.plan(now + behaviour.start_delay, number, Due::Starts);
        self.settle(now);
        Ok(())
    }

    fn begin(&mut self, number: u64, at: Duration) {
        let behaviour = self.behaviour_of(number);
        let bound = self.bind(number);
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        container.starts_at = None;
        if let Err(error) = bound {
            container.start_error = Some(Box::new(error));
            container.tell();
            return;
        }
        container.life = Life::Running;
        container.started_at = Some(at);
        container.ends_at = None;
        let run = container.starts;
        container.starts += 1;
        container.tell();
        for line in &behaviour.output {
            self.print(number, OutputStream::Stdout, line.clone(), at);
        }
        let last = behaviour.runs.len().saturating_sub(1);
        if let Some(planned) = behaviour.runs.get(last.min(run as usize))
            && let Some(lasts) = planned.lasts
        {
            self.plan(at + lasts, number, Due::Ends(planned.exit()));
        }
        if let Some(chance) = behaviour.chance {
            let exit = Exit::from_code(chance.code, false, None);
            self.plan(at + chance.length(number, run), number, Due::Ends(exit));
        }
        self.publish(number, "start");
    }

    fn bind(&mut self, number: u64) -> Result<(), RuntimeError> {
        let Some(container) = self.containers.get(&number) else {
            return Ok(());
        };
        let keys: Vec<_> = container
            .ports
            .iter()
            .map(|p| (p.host_ip, p.host_port))
            .collect();
        if let Some((ip, port)) = keys.iter().find(|key| self.bound.contains_key(key)) {
            let reason = format!("Bind for {ip}:{port} failed: port is already allocated");
            return Err(RuntimeError::PortTaken {
                port: *port,
                reason,
            });
        }
        self.bound.extend(keys.into_iter().map(|key| (key, number)));
        Ok(())
    }

    pub(super) fn end(&mut self, number: u64, exit: Exit, at: Duration) {
        let instant = self.instant(at);
        let Some(container) = self.containers.get_mut(&number).filter(|c| c.runs()) else {
            return;
        };
        container.life = Life::Exited(Exit {
            at: Some(instant),
            ..exit
        });
        container.ends_at = None;
        container.epoch += 1;
        for port in &container.ports {
            self.bound.remove(&(port.host_ip, port.host_port));
        }
        container.tell();
        self.publish(number, "die");
    }

    /// SIGTERM, then SIGKILL after `kill_timeout`, both whether or not anybody waits.
    pub(super) fn stop(
        &mut self,
        id: &ContainerId,
        kill_timeout: Duration,
        now: Duration,
    ) -> Result<(), RuntimeError> {
        let number = number(id)?;
        let container = self.get(id)?;
        if !container.runs() {
            container.epoch += u32::from(container.starting());
            container.starts_at = None;
            container.tell();
            return Ok(());
        }
        self.counters.stops += 1;
        self.terminate(number, now);
        self.plan(
            now + kill_timeout,
            number,
            Due::Ends(Exit::from_code(137, false, None)),
        );
        self.settle(now);
        Ok(())
    }

    fn terminate(&mut self, number: u64, now: Duration) {
        if let OnTerm::Exit { after, code } = self.behaviour_of(number).on_term {
            self.plan(
                now + after,
                number,
                Due::Ends(Exit::from_code(code, false, None)),
            );
        }
    }

    pub(super) fn signal(
        &mut self,
        id: &ContainerId,
        signal: i32,
        now: Duration,
    ) -> Result<(), RuntimeError> {
        let number = number(id)?;
        if !self.get(id)?.runs() {
            return Err(refused("signal", id, "it is not running"));
        }
        self.counters.signals += 1;
        match signal {
            15 => self.terminate(number, now),
            // By default these are ignored, or stop and continue.
            17..=23 | 28 => {}
            _ => self.end(number, Exit::from_code(128 + signal, false, None), now),
        }
        self.settle(now);
        Ok(())
    }

    pub(super) fn pause(&mut self, id: &ContainerId, frozen: bool) -> Result<(), RuntimeError> {
        let number = number(id)?;
        let container = self.get(id)?;
        let (action, from, to) = if frozen {
            ("pause", Life::Running, Life::Paused)
        } else {
            ("unpause", Life::Paused, Life::Running)
        };
        if container.life != from {
            return Err(refused(action, id, "it is not in the state for that"));
        }
        container.life = to;
        container.tell();
        if frozen {
            self.counters.pauses += 1;
        } else {
            self.counters.unpauses += 1;
        }
        self.publish(number, action);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &ContainerId, now: Duration) {
        let Ok(number) = number(id) else { return };
        self.end(number, Exit::from_code(137, false, None), now);
        if self.containers.contains_key(&number) {
            self.counters.removes += 1;
            self.publish(number, "destroy");
        }
        if let Some(container) = self.containers.remove(&number) {
            self.names.remove(&container.name);
            container.tell();
        }
        self.failing_start.remove(&number);
    }

    fn publish(&self, number: u64, action: &str) {
        let Some(container) = self.containers.get(&number) else {
            return;
        };
        if self.lose_events || self.unreachable {
            return;
        }
        let id = container_id(number);
        let event = match action {
            "die" => EngineEvent::Died { id },
            action => EngineEvent::Changed {
                id,
                action: action.to_owned(),
            },
        };
        // Nobody may be listening.
        let _ = self.events.send((event, container.labels.clone()));
    }

    pub(super) fn print(&mut self, number: u64, stream: OutputStream, line: String, at: Duration) {
        let at = self.instant(at);
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        container.print(OutputLine { at, stream, line });
    }

    pub(super) fn status(&self, number: u64) -> Option<ContainerStatus> {
        let container = self.containers.get(&number)?;
        let state = match &container.life {
            Life::Created => ContainerState::Created,
            Life::Running => ContainerState::Running,
            Life::Paused => ContainerState::Paused,
            Life::Exited(exit) => ContainerState::Exited(exit.clone()),
        };
        Some(ContainerStatus {
            id: container_id(number),
            name: container.name.to_string(),
            labels: container.labels.to_map(),
            state,
            // No process of this host.
            pid: None,
            started_at: container.started_at.map(|at| self.instant(at)),
            ip: container.runs().then(|| address(number)),
            image: container.image.to_string(),
        })
    }

    pub(super) fn list(&self, labels: &BTreeMap<String, String>) -> Vec<ContainerStatus> {
        let wanted = self
            .containers
            .iter()
            .filter(|(_, c)| c.labels.contain(labels));
        wanted
            .filter_map(|(number, _)| self.status(*number))
            .collect()
    }
}

/// A loopback address: whoever talks to a simulated container talks to this host.
pub(super) fn address(number: u64) -> IpAddr {
    let low = u32::try_from(number % (1 << 23)).unwrap_or_default();
    IpAddr::V4(Ipv4Addr::from(0x7f80_0000 | low))
}

pub(super) fn no_image(image: &str) -> RuntimeError {
    RuntimeError::NoImage {
        image: image.to_owned(),
        reason: "it is nowhere".to_owned(),
    }
}
