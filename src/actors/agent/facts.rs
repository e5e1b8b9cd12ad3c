//! What a node tells of itself: its size, its engine, and how it is.

use crate::actors::shared::{EngineState, Shared};
use crate::domain::node_state::probe::Report;
use crate::ports::agent::NodeFacts;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Changes of less than this part of the whole are not told: a fifth of what the limits are.
const STEPS: u64 = 100;

/// What a node's configuration says of it.
#[derive(Clone)]
pub struct Source {
    /// Where clients reach what its containers publish.
    pub address: IpAddr,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The key of a certificate that was asked for.
    new_key: Arc<Mutex<Option<String>>>,
}

impl Source {
    /// What the configuration says.
    pub fn new(address: IpAddr, labels: BTreeMap<String, String>) -> Self {
        Self {
            address,
            labels,
            new_key: Arc::default(),
        }
    }

    /// Keeps the key of a certificate that is being asked for.
    pub fn put_new_key(&self, key: String) {
        *self.new_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// The key of the certificate that was asked for; once.
    pub fn take_new_key(&self) -> Option<String> {
        self.new_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// What the node is now.
    pub fn now(&self, shared: &Shared) -> NodeFacts {
        let (engine, engine_trouble) = match &*shared.engine.borrow() {
            EngineState::Up(info) => (Some(info.clone()), None),
            EngineState::Down(reason) => (None, Some(reason.clone())),
            EngineState::Unknown => (None, Some("it was not asked yet".to_owned())),
        };
        let site = &shared.settings.site;
        NodeFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cpus: engine.as_ref().map_or(site.cpus, |e| e.cpus),
            memory: engine.as_ref().map_or_else(total_memory, |e| e.memory),
            engine,
            engine_trouble,
            address: self.address,
            publish: site.publish,
            ports: shared.settings.port_range,
            volumes: site.volumes.clone(),
            labels: self.labels.clone(),
        }
    }
}

/// How a node is: what `domain::node_state::probe` judges it by.
pub struct Probes {
    engine_lost: Option<Duration>,
}

impl Probes {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self { engine_lost: None }
    }

    /// How the node is at `now`, rounded so that the answer does not change with every byte. `skew` is how far
    /// its time of day is from the control host's.
    pub fn take(&mut self, shared: &Shared, skew: Duration) -> Report {
        let now = shared.clock.monotonic();
        let up = matches!(*shared.engine.borrow(), EngineState::Up(_));
        self.engine_lost = match (up, self.engine_lost) {
            (true, _) => None,
            (false, since) => since.or(Some(now)),
        };
        let path = &shared.settings.data_dir;
        let (disk_free, disk_total) = space(path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "free space is not known");
            (0, 0)
        });
        let (memory_available, memory_total) = (available_memory().unwrap_or(0), total_memory());
        let silent = self
            .engine_lost
            .map_or(Duration::ZERO, |at| now.saturating_sub(at));
        Report {
            disk_free: rounded(disk_free, disk_total),
            disk_total,
            memory_available: rounded(memory_available, memory_total),
            memory_total,
            engine_silent: Duration::from_secs(silent.as_secs()),
            clock_skew: Duration::from_secs(skew.as_secs()),
        }
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::new()
    }
}

/// Down to a whole part of [`STEPS`] of the total.
fn rounded(part: u64, total: u64) -> u64 {
    let step = (total / STEPS).max(1);
    part / step * step
}

/// Bytes that may still be written where a path is.
///
/// # Errors
/// What the system said.
pub fn free_space(path: &Path) -> std::io::Result<u64> {
    space(path).map(|(free, _)| free)
}

/// Bytes that may still be written where a path is, and bytes in all.
fn space(path: &Path) -> std::io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

fn meminfo(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    let kib: u64 = line
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()?;
    Some(kib << 10)
}

fn available_memory() -> Option<u64> {
    meminfo("MemAvailable")
}

fn total_memory() -> u64 {
    meminfo("MemTotal").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_changes_by_whole_steps_only() {
        assert_eq!(rounded(1234, 10_000), 1200);
        assert_eq!(rounded(1299, 10_000), 1200);
        assert_eq!(rounded(7, 50), 7, "less than the steps");
        assert_eq!(rounded(0, 0), 0);
    }

    #[test]
    fn the_kernel_says_how_much_memory_there_is() {
        assert!(total_memory() > available_memory().expect("known"));
        assert_eq!(meminfo("NoSuchField"), None);
    }
}
