//! What a node tells of itself: its size, its engine, and what its own probes find wrong.

use crate::actors::shared::{EngineState, Shared};
use crate::ports::agent::NodeFacts;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Free space below which a node takes nothing new, in bytes.
const NO_DISK: u64 = 200 << 20;
/// Free memory below which a node takes nothing new, in bytes.
const NO_MEMORY: u64 = 64 << 20;

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
            findings: findings(shared),
        }
    }
}

/// What speaks against placing anything new here. Thresholds only, so that the answer does not change with
/// every byte.
fn findings(shared: &Shared) -> Vec<String> {
    let mut findings = Vec::new();
    let path = &shared.settings.data_dir;
    match free_space(path) {
        Ok(free) if free < NO_DISK => {
            findings.push(format!(
                "less than {} MiB free at {}",
                NO_DISK >> 20,
                path.display()
            ));
        }
        Ok(_) => {}
        Err(error) => findings.push(format!("{} cannot be looked at: {error}", path.display())),
    }
    if available_memory().is_some_and(|free| free < NO_MEMORY) {
        findings.push(format!(
            "less than {} MiB of memory available",
            NO_MEMORY >> 20
        ));
    }
    findings
}

/// Bytes that may still be written where a path is.
///
/// # Errors
/// What the system said.
pub fn free_space(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
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
    fn the_kernel_says_how_much_memory_there_is() {
        assert!(total_memory() > available_memory().expect("known"));
        assert_eq!(meminfo("NoSuchField"), None);
    }
}
