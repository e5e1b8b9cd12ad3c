//! A simulated agent: speaks the link's protocol, and does with its machine what a real one does.
//!
//! It shares with the real one the messages, the comparison of what is assigned (`Assigned`, `tasks`) and the rules:
//! assignments are kept before they are acted on, what runs is adopted, what must not run twice is stopped when
//! beats are not answered. It has no supervision tree, so that thousands fit in one process.

use super::Plant;
use super::machine::{Life, Machine};
use super::truth::Why;
use super::wire::Net;
use crate::actors::agent::assigned::Assigned;
use crate::domain::crash::Exit;
use crate::domain::view::InstanceRole;
use crate::link::message::Kept;
use crate::ports::agent::{Assignment, NodeFacts, Phase, Task, Want, tasks};
use crate::ports::clock::Clock;
use crate::ports::runtime::{EngineInfo, Resources, RuntimeKind};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How often the fence is looked at.
const FENCE_TICK: Duration = Duration::from_millis(50);
/// The pause before the second restart of a container in a row.
const BACKOFF: Duration = Duration::from_millis(500);

/// What an agent knows of a container.
pub(super) struct Seen {
    pub(super) assignment: Arc<Assignment>,
    pub(super) role: InstanceRole,
    pub(super) resources: Resources,
    pub(super) phase: Phase,
    pub(super) since: Option<Duration>,
    pub(super) restarts: u64,
    crashes: VecDeque<Duration>,
}

/// One life of an agent.
pub struct Agent {
    pub(super) machine: Rc<Machine>,
    pub(super) net: Net,
    plant: Option<Plant>,
    pub(super) size: (u32, u64),
    pub(super) boot: String,
    pub(super) assigned: Assigned,
    fenced: Cell<bool>,
    pub(super) seen: RefCell<BTreeMap<String, Seen>>,
    pub(super) queues: RefCell<BTreeMap<String, VecDeque<Task>>>,
    keepers: RefCell<BTreeMap<String, JoinHandle<()>>>,
    workers: RefCell<Vec<JoinHandle<()>>>,
    pub(super) kept: RefCell<(u64, VecDeque<Kept>)>,
    pub(super) to_keep: Notify,
}

/// What a simulated node says of itself.
pub fn facts(cpus: u32, memory: u64) -> NodeFacts {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    NodeFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: Some(EngineInfo {
            kind: RuntimeKind::Simulated,
            version: "1".to_owned(),
            endpoint: "simulated".to_owned(),
            cpus,
            memory,
            can_pause: false,
            warnings: Vec::new(),
        }),
        engine_trouble: None,
        cpus,
        memory,
        address: local,
        publish: local,
        ports: (20_000, 29_999),
        volumes: "/volumes".to_owned(),
        labels: BTreeMap::new(),
    }
}

impl Agent {
    /// An agent that begins on a machine with what is on its disk.
    pub fn start(
        machine: &Rc<Machine>,
        net: &Net,
        plant: Option<Plant>,
        size: (u32, u64),
        boot: u64,
    ) -> Running {
        let agent = Rc::new(Self {
            machine: Rc::clone(machine),
            net: net.clone(),
            plant,
            size,
            boot: format!("boot-{boot}"),
            assigned: Assigned::default(),
            fenced: Cell::new(false),
            seen: RefCell::default(),
            queues: RefCell::default(),
            keepers: RefCell::default(),
            workers: RefCell::default(),
            kept: RefCell::new((1, VecDeque::new())),
            to_keep: Notify::new(),
        });
        agent.assigned.load(machine.disk());
        for desired in agent.assigned.all() {
            if desired.want == Want::Run {
                let name = desired.assignment.container.name.clone();
                agent.enqueue(&name, tasks(None, Some(&desired)));
            }
        }
        let (connecting, guarding) = (Rc::clone(&agent), Rc::clone(&agent));
        agent.work(async move { connecting.connect_for_ever().await });
        agent.work(async move { guarding.guard().await });
        Running(agent)
    }

    fn work(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        let mut workers = self.workers.borrow_mut();
        workers.retain(|w| !w.is_finished());
        workers.push(actix_rt::spawn(work));
    }

    pub(super) fn now(&self) -> Duration {
        self.machine.clock.monotonic()
    }

    fn may_run_exclusive(&self) -> bool {
        self.plant == Some(Plant::NoFence) || self.assigned.lease().may_start(self.now())
    }

    async fn guard(self: Rc<Self>) {
        loop {
            tokio::time::sleep(FENCE_TICK).await;
            let holds = self.assigned.lease().holds(self.now());
            let fence = !holds && self.plant != Some(Plant::NoFence);
            if self.fenced.replace(fence) == fence {
                continue;
            }
            let mut exclusive = self.assigned.all();
            exclusive.retain(|d| d.assignment.exclusive && d.want == Want::Run);
            for desired in exclusive {
                let name = desired.assignment.container.name.clone();
                let task = match fence {
                    true => Task::Fence,
                    false => Task::Run(desired.assignment),
                };
                self.enqueue(&name, vec![task]);
            }
        }
    }

    pub(super) fn enqueue(self: &Rc<Self>, name: &str, tasks: Vec<Task>) {
        if tasks.is_empty() {
            return;
        }
        let idle = {
            let mut queues = self.queues.borrow_mut();
            let queue = queues.entry(name.to_owned()).or_default();
            let idle = queue.is_empty();
            if matches!(tasks.first(), Some(Task::Remove | Task::Stop | Task::Fence)) {
                queue.truncate(1);
            }
            queue.extend(tasks);
            idle
        };
        if idle {
            let (agent, name) = (Rc::clone(self), name.to_owned());
            self.work(async move { agent.work_off(&name).await });
        }
    }

    async fn work_off(self: Rc<Self>, name: &str) {
        loop {
            let task = {
                let mut queues = self.queues.borrow_mut();
                let Some(task) = queues.get(name).and_then(|q| q.front().cloned()) else {
                    queues.remove(name);
                    return;
                };
                task
            };
            self.carry_out(name, task).await;
            if let Some(queue) = self.queues.borrow_mut().get_mut(name) {
                queue.pop_front();
            }
        }
    }

    async fn carry_out(self: &Rc<Self>, name: &str, task: Task) {
        match task {
            Task::Run(assignment) => self.run(name, assignment),
            Task::Stop => self.put_away(name, false, Why::Asked).await,
            Task::Fence => self.put_away(name, true, Why::Fence).await,
            Task::Restart => {
                let assignment = self.seen.borrow().get(name).map(|s| s.assignment.clone());
                if let Some(assignment) = assignment {
                    self.put_away(name, false, Why::Asked).await;
                    self.run(name, assignment);
                }
            }
            Task::Update(resources) => {
                if let Some(seen) = self.seen.borrow_mut().get_mut(name) {
                    seen.resources = resources;
                }
            }
            Task::Role(role) => {
                if let Some(seen) = self.seen.borrow_mut().get_mut(name) {
                    seen.role = role;
                }
            }
            Task::Remove => {
                self.put_away(name, false, Why::Asked).await;
                self.machine.remove(name, Why::Asked);
                self.seen.borrow_mut().remove(name);
                self.assigned.is_gone(name.to_owned());
                return;
            }
        }
        self.assigned.touch([name.to_owned()]);
    }

    async fn put_away(&self, name: &str, at_once: bool, why: Why) {
        if let Some(keeper) = self.keepers.borrow_mut().remove(name) {
            keeper.abort();
        }
        self.machine.stop(name, at_once, why).await;
        self.set_phase(name, Phase::Stopped);
    }

    fn set_phase(&self, name: &str, phase: Phase) {
        if let Some(seen) = self.seen.borrow_mut().get_mut(name) {
            seen.since = (phase == Phase::Running).then(|| self.now());
            seen.phase = phase;
        }
        self.assigned.touch([name.to_owned()]);
    }

    /// Keeps a container running from now on.
    fn run(self: &Rc<Self>, name: &str, assignment: Arc<Assignment>) {
        let kept = self.keepers.borrow();
        let up = kept.get(name).is_some_and(|k| !k.is_finished());
        drop(kept);
        if up {
            return;
        }
        let seen = Seen {
            role: assignment.role,
            resources: assignment.container.resources,
            phase: Phase::Pending("its turn".to_owned()),
            since: None,
            restarts: 0,
            crashes: VecDeque::new(),
            assignment: Arc::clone(&assignment),
        };
        self.seen.borrow_mut().insert(name.to_owned(), seen);
        let (agent, of) = (Rc::clone(self), name.to_owned());
        let keeper = actix_rt::spawn(async move { agent.keep_running(&of, &assignment).await });
        if let Some(before) = self.keepers.borrow_mut().insert(name.to_owned(), keeper) {
            before.abort();
        }
    }

    fn another_runs(&self, name: &str, assignment: &Assignment) -> bool {
        let seen = self.seen.borrow();
        let mut others = seen.iter().filter(|(other, seen)| {
            other.as_str() != name && seen.assignment.instance == assignment.instance
        });
        others.any(|(other, _)| {
            let ended = |life| matches!(life, Life::Exited(_));
            self.machine.get(other).is_some_and(|c| !ended(c.life))
        })
    }

    async fn keep_running(self: Rc<Self>, name: &str, assignment: &Assignment) {
        let mut failures = 0_u32;
        loop {
            while assignment.exclusive && !self.may_run_exclusive() {
                self.set_phase(
                    name,
                    Phase::Pending("the control host to be heard".to_owned()),
                );
                tokio::time::sleep(FENCE_TICK).await;
            }
            while assignment.exclusive && self.another_runs(name, assignment) {
                let before = "the container before it to end";
                self.set_phase(name, Phase::Pending(before.to_owned()));
                tokio::time::sleep(FENCE_TICK).await;
            }
            if self.plant != Some(Plant::AgentForgets) || !name.ends_with("i2-d0") {
                self.set_phase(name, Phase::Starting("starting the container".to_owned()));
                self.machine.start(name, assignment).await;
            } else {
                std::future::pending::<()>().await;
            }
            if self
                .machine
                .get(name)
                .is_some_and(|c| c.life == Life::Running)
            {
                self.set_phase(name, Phase::Running);
            }
            let Some(code) = self.machine.ended(name).await else {
                self.set_phase(name, Phase::Crashed("its container vanished".to_owned()));
                continue;
            };
            let exit = Exit::from_code(code, false, None);
            let restart = assignment.restart;
            let in_window = self.count_crash(name, restart.period);
            if in_window > restart.intensity {
                let reason = format!(
                    "more than {} restarts, the last one: {exit}",
                    restart.intensity
                );
                self.set_phase(name, Phase::GaveUp(reason));
                return;
            }
            self.set_phase(name, Phase::Crashed(exit.to_string()));
            self.kept
                .borrow_mut()
                .1
                .push_back(Kept::Restarted(assignment.instance.clone()));
            self.to_keep.notify_one();
            if failures > 0 {
                let pause = BACKOFF * 2_u32.saturating_pow(failures.min(4) - 1);
                tokio::time::sleep(pause.min(restart.max_backoff)).await;
            }
            failures += 1;
        }
    }

    fn count_crash(&self, name: &str, period: Duration) -> u32 {
        let now = self.now();
        let mut all = self.seen.borrow_mut();
        let Some(seen) = all.get_mut(name) else {
            return 0;
        };
        seen.restarts += 1;
        seen.crashes.retain(|at| now.saturating_sub(*at) <= period);
        seen.crashes.push_back(now);
        u32::try_from(seen.crashes.len()).unwrap_or(u32::MAX)
    }
}

/// An agent that lives until this is dropped; its machine's containers run on.
pub struct Running(Rc<Agent>);

impl Drop for Running {
    fn drop(&mut self) {
        for worker in self.0.workers.borrow_mut().drain(..) {
            worker.abort();
        }
        for keeper in std::mem::take(&mut *self.0.keepers.borrow_mut()).into_values() {
            keeper.abort();
        }
    }
}
