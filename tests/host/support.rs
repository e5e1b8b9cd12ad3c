//! One host over the simulated engine and the in-memory store: a harness that reads as prose.

use chrono::Utc;
use lain::actors::control::handle::Handle;
use lain::actors::control::render::Site;
use lain::actors::no_web;
use lain::actors::root;
use lain::actors::shared::{Settings, Shared};
use lain::actors::supervise::Tree;
use lain::domain::id::{AppName, InstanceId};
use lain::domain::placement::Policy;
use lain::domain::view::{
    AppState, AppView, ChangeAnswer, DeployRequest, EventView, InstanceView, OperationState,
    OperationView, ScaleRequest,
};
use lain::drivers::memory::MemoryStore;
use lain::drivers::simulated::{Handle as Engine, Simulated};
use lain::ports::clock::Clock;
use lain::ports::control::{Caller, Control, ControlError, Precondition, Selector};
use lain::ports::store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The patience of a test, in virtual time.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// What outlives a lain: the engine and the store.
#[derive(Clone)]
pub struct Machine {
    pub runtime: Arc<Simulated>,
    pub engine: Engine,
    pub store: Arc<MemoryStore>,
    pub clock: VirtualClock,
    /// Which node of several; here, who may stay on the one.
    pub policy: Policy,
}

/// Clocks that go with tokio's, paused or not.
#[derive(Clone)]
pub struct VirtualClock {
    base: chrono::DateTime<Utc>,
    origin: tokio::time::Instant,
    /// How far the wall clock was set, in seconds; the monotonic one knows nothing of it.
    set: Arc<AtomicI64>,
}

impl VirtualClock {
    /// Sets the wall clock by this many seconds, as an administrator or NTP would.
    pub fn jump(&self, seconds: i64) {
        self.set.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now_utc(&self) -> chrono::DateTime<Utc> {
        let set = chrono::TimeDelta::seconds(self.set.load(Ordering::SeqCst));
        self.base + self.origin.elapsed() + set
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

impl Machine {
    pub fn new() -> Self {
        let runtime = Arc::new(Simulated::new(Utc::now()));
        let clock = VirtualClock {
            base: Utc::now(),
            origin: tokio::time::Instant::now(),
            set: Arc::default(),
        };
        Self {
            engine: runtime.handle(),
            runtime,
            store: Arc::new(MemoryStore::new()),
            clock,
            policy: Policy::default(),
        }
    }

    /// The environment of a lain on this machine.
    pub fn shared(&self, role: &'static str) -> Arc<Shared> {
        let site = Site {
            owner: "test".into(),
            domain: "lain.local".into(),
            volumes: "/tmp/lain-test-volumes".to_owned(),
            cpus: 4,
            publish: std::net::Ipv4Addr::LOCALHOST.into(),
            registry: String::new(),
        };
        let settings = Settings {
            role,
            node: "n1".parse().unwrap(),
            site,
            port_range: (42_000, 42_999),
            reconcile_every: Duration::from_secs(30),
            degraded_retry: Duration::from_secs(10),
            degraded_retry_max: Duration::from_secs(300),
            recovered_after: Duration::from_secs(30),
            crashes_kept: 1000,
            revisions_kept: 10,
            concurrent_starts: 8,
            freeze_spares: true,
            data_dir: std::env::temp_dir(),
            lease: Default::default(),
            policy: self.policy.clone(),
            rebalance_after: Duration::ZERO,
        };
        let store: Arc<dyn Store> = self.store.clone();
        Shared::new(
            store,
            self.runtime.clone(),
            Arc::new(self.clock.clone()),
            settings,
        )
    }

    /// Starts a lain on this machine.
    pub async fn boot(&self) -> Host {
        let shared = self.shared("dev");
        let hosts = root::Hosts {
            local: true,
            listener: None,
        };
        let tree = root::start(&shared, hosts, no_web::spec)
            .await
            .expect("the tree starts");
        shared.settle();
        Host {
            machine: self.clone(),
            handle: Handle::new(shared),

            tree,
        }
    }
}

/// A running lain.
pub struct Host {
    pub machine: Machine,
    pub handle: Handle,
    pub tree: Tree,
}

pub fn caller() -> Caller {
    Caller {
        name: "tester".to_owned(),
        from: "127.0.0.1".to_owned(),
    }
}

pub fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

impl Host {
    /// Deploys a file, whatever was there before.
    pub async fn deploy(&self, yaml: &str) -> Result<ChangeAnswer, ControlError> {
        let name = yaml
            .lines()
            .find_map(|l| l.strip_prefix("appname:"))
            .expect("an appname")
            .trim();
        let request = Self::request(yaml);
        self.handle
            .deploy(&app(name), request, Precondition::Any, false, caller())
            .await
    }

    /// The request to deploy a file.
    pub fn request(yaml: &str) -> DeployRequest {
        DeployRequest {
            lain_yaml: yaml.to_owned(),
            file_name: "lain.yaml".to_owned(),
            meta_version: None,
            image: None,
            canary: None,
        }
    }

    /// Deploys and waits for the end of the operation.
    pub async fn deployed(&self, yaml: &str) -> OperationView {
        let answer = self.deploy(yaml).await.expect("the deploy is accepted");
        self.ended(&answer).await
    }

    /// Waits for the end of a change's operation.
    pub async fn ended(&self, answer: &ChangeAnswer) -> OperationView {
        let id = answer
            .operation
            .as_ref()
            .expect("an operation")
            .id
            .parse()
            .unwrap();
        self.until("the operation ends", async || {
            let operation = self.handle.operation(&id).await.unwrap();
            operation.state.is_final().then_some(operation)
        })
        .await
    }

    /// Polls, in virtual time, until there is an answer.
    pub async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if tokio::time::Instant::now() > deadline {
                panic!("{what}: not within {PATIENCE:?}\n{}", self.story());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What happened, for failures.
    pub fn story(&self) -> String {
        let lines = self.handle.recent_events(200);
        lines
            .iter()
            .map(|e| format!("  {} {}\n", e.kind, e.message))
            .collect()
    }

    pub async fn view(&self, name: &str) -> AppView {
        self.handle.app(&app(name)).await.unwrap()
    }

    pub async fn instance(&self, id: &str) -> InstanceView {
        let id: InstanceId = id.parse().unwrap();
        let view = self.view(id.app.as_str()).await;
        let all = view.procs.into_iter().flat_map(|p| p.instances);
        all.into_iter()
            .find(|i| i.id == id.to_string())
            .unwrap_or_else(|| panic!("no instance {id}"))
    }

    pub async fn runs(&self, name: &str) -> AppView {
        self.until("the app runs", async || {
            let view = self.view(name).await;
            (view.state == AppState::Running).then_some(view)
        })
        .await
    }

    pub fn events(&self, kind: &str) -> Vec<EventView> {
        self.handle
            .recent_events(10_000)
            .into_iter()
            .filter(|e| e.kind == kind)
            .collect()
    }

    pub async fn scale(&self, name: &str, proc: &str, request: ScaleRequest) -> OperationView {
        let answer = self
            .handle
            .scale(&app(name), &proc.parse().unwrap(), request, false, caller())
            .await
            .unwrap();
        self.ended(&answer).await
    }

    pub fn selector(name: &str, proc: Option<&str>, instance: Option<u32>) -> Selector {
        Selector {
            app: app(name),
            proc: proc.map(|p| p.parse().unwrap()),
            instance,
        }
    }

    /// Stops this lain in good order; machine and store stay.
    pub async fn die(self) -> Machine {
        self.tree.stop().await;
        self.machine
    }

    /// Lets this lain die without any farewell, as SIGKILL would; machine and store stay.
    pub async fn killed(self) -> Machine {
        self.tree.kill("");
        self.tree.wait().await;
        self.machine
    }
}

pub fn succeeded(operation: &OperationView) {
    assert_eq!(operation.state, OperationState::Succeeded, "{operation:#?}");
}
