//! The other side of the simulated engine: what a test or a chaos run does to it.
//!
//! Called by tests and by `roles`; actors see only [`super::Simulated`] as a runtime.

use super::Shared;
use super::behaviour::Behaviour;
use super::container::Counters;
use super::world::{container_id, no_container, number};
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{ContainerStatus, EngineEvent, OutputStream, RuntimeError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Breaks a simulated engine, and tells what was asked of it.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Sets how the containers of an image behave, from their next start on.
    pub fn set_behaviour(&self, image: &str, behaviour: Behaviour) {
        self.shared
            .with(|world, _| world.set_behaviour(image, behaviour));
    }

    /// Ends a container now. One that does not run stays as it is.
    ///
    /// # Errors
    /// [`RuntimeError::NoContainer`].
    pub fn kill(&self, id: &ContainerId, exit: Exit) -> Result<(), RuntimeError> {
        self.shared.with(|world, now| {
            let number = number(id)?;
            world.get(id)?;
            world.end(number, exit, now);
            Ok(())
        })
    }

    /// Makes the next start of a container fail.
    ///
    /// # Errors
    /// [`RuntimeError::NoContainer`].
    pub fn fail_next_start(
        &self,
        id: &ContainerId,
        error: RuntimeError,
    ) -> Result<(), RuntimeError> {
        self.shared.with(|world, _| {
            world.get(id)?;
            world.failing_start.insert(number(id)?, error);
            Ok(())
        })
    }

    /// Takes the engine away, or brings it back. Containers run on; events meanwhile are lost.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.shared.with(|world, _| {
            let back = world.unreachable && !unreachable;
            world.unreachable = unreachable;
            if back {
                let none = super::strings::Interner::default().labels::<&str>(&BTreeMap::new());
                // Nobody may be listening.
                let _ = world.events.send((EngineEvent::Resynchronise, none));
                world.earlier.notify_waiters();
            }
        });
    }

    /// Makes every call take this much longer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.with(|world, _| world.latency = latency);
    }

    /// Loses events from now on, or no longer.
    pub fn lose_events(&self, lose: bool) {
        self.shared.with(|world, _| world.lose_events = lose);
    }

    /// Keeps [`crate::ports::runtime::Runtime::ended`] from resolving, as if no pid could be seen.
    pub fn lose_ends(&self, lose: bool) {
        self.shared.with(|world, _| {
            world.lose_ends = lose;
            world
                .containers
                .values_mut()
                .for_each(|c| c.changed().notify_waiters());
        });
    }

    /// Prints a line, as the container would.
    ///
    /// # Errors
    /// [`RuntimeError::NoContainer`].
    pub fn print(
        &self,
        id: &ContainerId,
        stream: OutputStream,
        line: &str,
    ) -> Result<(), RuntimeError> {
        self.shared.with(|world, now| {
            let number = number(id)?;
            world.get(id)?;
            world.print(number, stream, line.to_owned(), now);
            Ok(())
        })
    }

    /// What was asked of the engine so far.
    pub fn counters(&self) -> Counters {
        self.shared.with(|world, _| world.counters)
    }

    /// How often a container was started.
    ///
    /// # Errors
    /// [`RuntimeError::NoContainer`].
    pub fn starts_of(&self, id: &ContainerId) -> Result<u32, RuntimeError> {
        self.shared
            .with(|world, _| world.get(id).map(|container| container.starts))
    }

    /// All containers, in the order in which they were made.
    pub fn containers(&self) -> Vec<ContainerStatus> {
        self.shared.with(|world, _| world.list(&BTreeMap::new()))
    }

    /// The id of the container with this name.
    ///
    /// # Errors
    /// [`RuntimeError::NoContainer`].
    pub fn by_name(&self, name: &str) -> Result<ContainerId, RuntimeError> {
        self.shared.with(|world, _| {
            let number = world.number_of(name);
            let missing = || RuntimeError::NoContainer(name.to_owned());
            number.map(container_id).ok_or_else(missing)
        })
    }

    /// Removes a container behind everybody's back.
    ///
    /// # Errors
    /// [`RuntimeError::NoContainer`].
    pub fn vanish(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.shared.with(|world, now| {
            world.get(id).map_err(|_| no_container(id))?;
            world.remove(id, now);
            world.counters.removes -= 1;
            Ok(())
        })
    }
}
