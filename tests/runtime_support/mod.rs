//! What every runtime promises, as tests that run over each of them.
//!
//! `tests/runtime_docker.rs`, `runtime_process.rs` and `runtime_simulated.rs` each make a [`Bed`] and
//! say [`conformance!`]. A promise that a runtime cannot keep is named in its [`Bed`].

pub mod suite;

use futures_util::StreamExt;
use lain::domain::id::ContainerId;
use lain::ports::runtime::{ContainerSpec, LogsRequest, Resources, Runtime, RuntimeError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a container of a test does.
#[derive(Debug, Clone, Copy)]
pub enum Does {
    /// Runs until SIGTERM, then ends with 0.
    RunsOn,
    /// Runs on, whatever SIGTERM says.
    IgnoresTerm,
    /// Ends with this code after a moment.
    Ends(i32),
    /// Prints `out 1`, `err 1`, `out 2` and runs on.
    Prints,
}

/// A runtime to be tested.
pub struct Bed {
    pub runtime: Arc<dyn Runtime>,
    /// Makes a container do something.
    pub prepare: fn(&mut ContainerSpec, Does),
    /// Commands can be run inside.
    pub commands: bool,
    /// Standard output and standard error are kept apart.
    pub two_streams: bool,
    /// Limits can be changed.
    pub limits: bool,
    /// What goes with the test.
    pub dir: Option<tempfile::TempDir>,
    owner: String,
}

impl Bed {
    pub fn new(runtime: Arc<dyn Runtime>, prepare: fn(&mut ContainerSpec, Does)) -> Self {
        let owner = format!("test-{}", uuid::Uuid::now_v7().simple());
        Self {
            runtime,
            prepare,
            commands: true,
            two_streams: true,
            limits: true,
            dir: None,
            owner,
        }
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(lain::domain::labels::OWNER.to_owned(), self.owner.clone())])
    }

    /// A name that no other test uses.
    pub fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.owner)
    }

    pub fn spec(&self, name: &str, does: Does) -> ContainerSpec {
        let mut spec = ContainerSpec {
            name: self.name(name),
            image: "lain/hello:1".to_owned(),
            entrypoint: None,
            cmd: None,
            env: Vec::new(),
            labels: self
                .labels()
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            user: String::new(),
            workdir: String::new(),
            hostname: String::new(),
            resources: Resources {
                cpu_millis: 0,
                memory: 0,
            },
            ports: Vec::new(),
            mounts: Vec::new(),
            dns_search: Vec::new(),
            kill_timeout: Duration::from_secs(5),
        };
        (self.prepare)(&mut spec, does);
        spec
    }

    pub async fn created(&self, name: &str, does: Does) -> ContainerId {
        self.runtime.create(&self.spec(name, does)).await.unwrap()
    }

    pub async fn running(&self, name: &str, does: Does) -> (ContainerId, Option<u32>) {
        let id = self.created(name, does).await;
        let started = self.runtime.start(&id).await.unwrap();
        (id, started.pid)
    }

    /// Kills a container, and waits until its end is noticed.
    pub async fn killed(&self, id: &ContainerId, pid: Option<u32>) {
        self.runtime.signal(id, "SIGKILL").await.unwrap();
        within(10, self.runtime.ended(id, pid)).await.unwrap();
    }

    /// What it printed so far, without instants.
    pub async fn printed(&self, id: &ContainerId, request: LogsRequest) -> Vec<String> {
        let lines = self
            .runtime
            .logs(id, request)
            .map(|line| line.unwrap().line);
        within(10, lines.collect()).await
    }
}

impl Drop for Bed {
    /// Removes what a test left, also when it failed.
    fn drop(&mut self) {
        let (runtime, labels) = (Arc::clone(&self.runtime), self.labels());
        let cleaner = std::thread::spawn(move || {
            let own = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            own.block_on(async {
                for left in runtime.list(&labels).await.unwrap_or_default() {
                    let _ = runtime.remove(&left.id).await;
                }
            });
        });
        let _ = cleaner.join();
        drop(self.dir.take());
    }
}

/// Fails when something takes longer than it can.
pub async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(seconds);
    tokio::time::timeout(limit, what)
        .await
        .expect("this takes too long")
}

/// Looks again and again until something is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("10 s and still not: {what}");
}

/// Fails unless a call says that there is no such container.
pub fn no_container<T>(answer: Result<T, RuntimeError>) {
    match answer {
        Err(RuntimeError::NoContainer(_)) => {}
        Err(other) => panic!("not `no such container`: {other}"),
        Ok(_) => panic!("a container that is not there answered"),
    }
}

/// Makes one test of each promise.
#[macro_export]
macro_rules! conformance {
    ($bed:expr) => {
        $crate::conformance!($bed,
            a_new_container_is_created_and_listed_by_its_labels
            starting_twice_is_starting_once
            an_exit_code_is_told
            a_signal_is_told
            a_start_right_after_a_death_starts_again
            each_run_has_its_own_end
            stop_asks_first
            stop_kills_who_does_not_listen
            stop_of_what_does_not_run_is_no_error
            remove_ends_what_runs_and_forgets_it
            what_is_not_there_is_said_to_be_so
            a_name_has_one_holder
            a_frozen_container_thaws_and_ends
            what_does_not_run_has_ended
            output_is_kept_in_order
            output_is_followed_to_its_end
            commands_run_inside
            a_one_off_goes_with_its_command
            events_tell_of_ones_own_and_no_others
            limits_change_in_place
            a_call_that_was_dropped_leaves_no_riddle
        );
    };
    ($bed:expr, $($promise:ident)*) => {
        $(
            #[actix_web::rt::test]
            async fn $promise() {
                let bed = $bed;
                runtime_support::suite::$promise(&bed).await;
            }
        )*
    };
}
