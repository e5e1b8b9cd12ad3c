//! A watchdog that remembers what it was told and stops nothing.

use crate::ports::watchdog::{Guarded, Inherited, Watchdog};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a watchdog was told.
pub type Told = (Option<Duration>, Vec<Guarded>);

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryWatchdog {
    inherited: Mutex<Option<Inherited>>,
    told: Mutex<Vec<Told>>,
}

impl MemoryWatchdog {
    /// One that has something to give to the agent.
    pub fn with(inherited: Inherited) -> Self {
        Self {
            inherited: Mutex::new(Some(inherited)),
            told: Mutex::default(),
        }
    }

    /// All that it was told, in order.
    pub fn told(&self) -> Vec<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }
}

impl Watchdog for MemoryWatchdog {
    fn inherited(&self) -> Option<Inherited> {
        let mut inherited = self
            .inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inherited.take()
    }

    fn tell(&self, left: Option<Duration>, guarded: &[Guarded]) -> Result<(), String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((left, guarded.to_vec()));
        Ok(())
    }
}
