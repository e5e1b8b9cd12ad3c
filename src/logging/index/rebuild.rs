//! Which days are to be built again from the nodes' spools, and which nodes send theirs already; on disk.

use crate::logging::whole;
use crate::ports::log_index::MissingDay;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Its file in the index's folder.
const FILE: &str = "rebuild.json";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    path: Option<PathBuf>,
    days: BTreeMap<NaiveDate, Vec<String>>,
    /// Whether the disk does not have `days` as they are.
    changed: bool,
}

impl Rebuild {
    /// What is noted in a folder. A file that cannot be read is as none: days that are damaged are noted anew.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let read = std::fs::read(&path).ok();
        let days = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            path: Some(path),
            days: days.unwrap_or_default(),
            changed: false,
        }
    }

    pub(super) fn days(&self) -> Vec<MissingDay> {
        let day = |(day, nodes): (&NaiveDate, &Vec<String>)| MissingDay {
            day: *day,
            nodes: nodes.clone(),
        };
        self.days.iter().map(day).collect()
    }

    /// A day is damaged: whoever sent it before sends it again.
    pub(super) fn add(&mut self, day: NaiveDate) -> io::Result<()> {
        self.days.insert(day, Vec::new());
        self.changed = true;
        self.write()
    }

    pub(super) fn done(&mut self, day: NaiveDate, node: &str) -> io::Result<()> {
        if let Some(nodes) = self.days.get_mut(&day)
            && !nodes.iter().any(|known| known == node)
        {
            nodes.push(node.to_owned());
            self.changed = true;
        }
        self.write()
    }

    pub(super) fn remove(&mut self, day: NaiveDate) -> io::Result<()> {
        self.changed |= self.days.remove(&day).is_some();
        self.write()
    }

    /// Writes what has changed, also what could not be written before.
    fn write(&mut self) -> io::Result<()> {
        if let Some(path) = self.path.as_ref().filter(|_| self.changed) {
            whole::write(path, &serde_json::to_vec(&self.days)?)?;
            self.changed = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_built_again_is_known_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let day = NaiveDate::from_ymd_opt(2025, 3, 1).unwrap();
        let mut rebuild = Rebuild::open(dir.path());
        rebuild.add(day).unwrap();
        rebuild.done(day, "n1").unwrap();
        rebuild.done(day, "n1").unwrap();
        let mut again = Rebuild::open(dir.path());
        let nodes = vec!["n1".to_owned()];
        assert_eq!(again.days(), [MissingDay { day, nodes }]);
        again.remove(day).unwrap();
        assert!(Rebuild::open(dir.path()).days().is_empty());
        // What changes nothing writes nothing.
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        again.remove(day).unwrap();
        again.done(day, "n1").unwrap();
        assert!(!dir.path().join(FILE).exists());
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Rebuild::open(dir.path()).days().is_empty());
    }
}
