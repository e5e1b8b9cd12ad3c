//! Where log events go, as it is now: the lists of this process's own configuration, over those that a control
//! host gives to its nodes. Read again while lain runs; the actors carry out what changed.
//!
//! A control host tells its nodes its own lists ([`Routes::told`]); a node keeps them on disk, so that it goes on
//! with them while the control host is away.

use crate::config::{Config, Lists};
use crate::domain::secret::Secret;
use crate::logging::setup::{self, Plan};
use crate::logging::whole;
use crate::ports::log_index::LogIndex;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What a control host tells its nodes.
#[derive(Default, Serialize, Deserialize)]
struct Document {
    /// [`Lists::sealed`].
    lists: String,
    /// Whether it takes events into its index.
    index: bool,
}

struct State {
    config: Config,
    /// The control host's lists, and whether it has an index; `None` before it said so.
    control: Option<(Lists, bool)>,
}

/// See the module.
pub struct Routes {
    state: Mutex<State>,
    /// The index that the events of this node go to.
    index: Option<Arc<dyn LogIndex>>,
    /// Where a node keeps what its control host said; `None` on a control host.
    kept: Option<PathBuf>,
    told: watch::Sender<Arc<Secret>>,
}

impl Routes {
    /// Of a control host, whose lists its nodes get too. `index`: where the events of its own node go, besides, and
    /// those of the others.
    pub fn of_control(config: &Config, index: Option<Arc<dyn LogIndex>>) -> Self {
        Self {
            told: watch::channel(Arc::new(document(config, index.is_some()))).0,
            state: Mutex::new(State {
                config: config.clone(),
                control: None,
            }),
            index,
            kept: None,
        }
    }

    /// Of a node, which keeps at `kept` what its control host says.
    pub fn of_node(config: &Config, index: Arc<dyn LogIndex>, kept: PathBuf) -> Self {
        let control = match std::fs::read_to_string(&kept) {
            Ok(text) => match parse(&text) {
                Ok((control, unknown)) => {
                    complain(&unknown);
                    Some(control)
                }
                Err(reason) => {
                    tracing::warn!(reason, path = %kept.display(), "what the control host said of log sinks cannot be read; it says it again");
                    None
                }
            },
            Err(_) => None,
        };
        Self {
            told: watch::channel(Arc::default()).0,
            state: Mutex::new(State {
                config: config.clone(),
                control,
            }),
            index: Some(index),
            kept: Some(kept),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node is to do with its events.
    pub fn plan(&self) -> Plan {
        let state = self.lock();
        let (mut lists, indexes) = state.control.clone().unwrap_or((Lists::default(), true));
        // A node's own sink takes the place of the control host's of its name; its own rules come first.
        let theirs = std::mem::take(&mut lists.multiline);
        lists.merge(state.config.lists.clone());
        lists.multiline.extend(theirs);
        let index = self.index.clone().filter(|_| indexes);
        setup::plan(&lists, &setup::secrets(&state.config), index)
    }

    /// What nodes are told, now and whenever it changes. It has passwords in it.
    pub fn told(&self) -> watch::Receiver<Arc<Secret>> {
        self.told.subscribe()
    }

    /// Reads the configuration again; the one before stays where there is an error.
    ///
    /// # Errors
    /// Every error of the configuration, with its place.
    pub fn reload(&self) -> Result<(), String> {
        let before = self.lock().config.clone();
        let config = before.read_again().map_err(|e| e.to_string())?;
        if self.kept.is_none() {
            self.told
                .send_replace(Arc::new(document(&config, self.index.is_some())));
        }
        self.lock().config = config;
        Ok(())
    }

    /// The level of lain's own log, as it was last read.
    pub fn log_level(&self) -> String {
        self.lock().config.log.level.clone()
    }

    /// Takes up what the control host says; kept before it is acted on. Says whether that is new.
    ///
    /// # Errors
    /// That it cannot be read, or not be kept; what was before stays.
    pub fn take(&self, text: &str) -> Result<bool, String> {
        let (control, unknown) = parse(text)?;
        complain(&unknown);
        if self.lock().control.as_ref() == Some(&control) {
            return Ok(false);
        }
        if let Some(path) = &self.kept {
            whole::write(path, text.as_bytes())
                .map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
        }
        self.lock().control = Some(control);
        Ok(true)
    }
}

fn document(config: &Config, index: bool) -> Secret {
    let document = Document {
        lists: config.lists.sealed().expose().to_owned(),
        index,
    };
    // Two fields of plain types: it has a JSON form.
    Secret::new(serde_json::to_string(&document).unwrap_or_default())
}

type Control = (Lists, bool);

fn parse(text: &str) -> Result<(Control, Vec<String>), String> {
    let document: Document = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let (lists, unknown) = Lists::unseal(&document.lists)?;
    Ok(((lists, document.index), unknown))
}

fn complain(unknown: &[String]) {
    for what in unknown {
        tracing::error!(
            what,
            "the control host's configuration has what this agent does not understand; bring the agent up to date"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FileSource, Sources};
    use crate::ports::log_index::{Appended, IndexEvent, IndexStatus, LogIndexError};
    use std::path::Path;

    struct Nowhere;

    #[async_trait::async_trait]
    impl LogIndex for Nowhere {
        async fn append(&self, _: Vec<IndexEvent>) -> Result<Appended, LogIndexError> {
            Ok(Appended::default())
        }
        async fn tend(&self) -> LogIndexError {
            std::future::pending().await
        }
        async fn open(&self) -> Result<(), LogIndexError> {
            Ok(())
        }
        fn status(&self) -> IndexStatus {
            IndexStatus::default()
        }
    }

    fn config(dir: &Path, file: &str, text: &str) -> Config {
        let path = dir.join(file);
        std::fs::write(&path, text).unwrap();
        let mut sources = Sources::isolated(dir);
        sources.files.push(FileSource {
            path,
            required: true,
        });
        Config::load(&sources).unwrap()
    }

    fn names(routes: &Routes) -> Vec<String> {
        routes.plan().sinks.into_iter().map(|s| s.name).collect()
    }

    const FILE: &str = "[[logging.sink]]\nname = \"all\"\ntype = \"file\"\npath = \"/x\"\n";
    const HTTP: &str = "[[logging.sink]]\nname = \"all\"\ntype = \"http\"\nurl = \"http://y\"\ntoken = \"hunter2\"\n";

    #[test]
    fn a_node_lays_its_own_sinks_over_the_control_hosts_and_keeps_those() {
        let dir = tempfile::tempdir().unwrap();
        let more = format!(
            "{HTTP}[[logging.sink]]\nname = \"bus\"\ntype = \"kafka\"\nbrokers = \"k:1\"\n"
        );
        let control = config(dir.path(), "control.toml", &more);
        let control = Routes::of_control(&control, Some(Arc::new(Nowhere)));
        assert_eq!(names(&control), ["all", "bus", "index"]);
        let kept = dir.path().join("routes.json");
        let own = config(dir.path(), "node.toml", FILE);
        let node = Routes::of_node(&own, Arc::new(Nowhere), kept.clone());
        assert_eq!(names(&node), ["all", "index"]);
        let told = control.told().borrow().clone();
        assert_eq!(node.take(told.expose()), Ok(true));
        assert_eq!(node.take(told.expose()), Ok(false), "nothing new");
        assert_eq!(names(&node), ["bus", "all", "index"]);
        assert_eq!(node.plan().sinks[1].factory.kind(), "file", "its own");
        let again = Routes::of_node(&own, Arc::new(Nowhere), kept.clone());
        assert_eq!(names(&again), ["bus", "all", "index"]);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&kept).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        // Without an index at the control host nothing is sent there.
        let control = Routes::of_control(&config(dir.path(), "control.toml", &more), None);
        assert_eq!(names(&control), ["all", "bus"]);
        let told = control.told().borrow().clone();
        assert_eq!(node.take(told.expose()), Ok(true));
        assert_eq!(names(&node), ["bus", "all"]);
    }

    #[test]
    fn a_configuration_is_read_again_and_a_wrong_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let routes = Routes::of_control(&config(dir.path(), "a.toml", FILE), None);
        let mut told = routes.told();
        let mark = routes.plan().sinks[0].mark.clone();
        routes.reload().unwrap();
        assert_eq!(routes.plan().sinks[0].mark, mark, "the same is the same");
        std::fs::write(dir.path().join("a.toml"), HTTP).unwrap();
        told.borrow_and_update();
        routes.reload().unwrap();
        assert!(told.has_changed().unwrap());
        assert_eq!(routes.plan().sinks[0].factory.kind(), "http");
        assert_ne!(routes.plan().sinks[0].mark, mark);
        std::fs::write(
            dir.path().join("a.toml"),
            "[[logging.sink]]\nname = \"x\"\n",
        )
        .unwrap();
        let error = routes.reload().unwrap_err();
        assert!(
            error.contains("a.toml:1") && !error.contains("hunter2"),
            "{error}"
        );
        assert_eq!(names(&routes), ["all"]);
    }
}
