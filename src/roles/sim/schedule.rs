//! One schedule: a cluster, faults and commands by chance from one seed, and an end at which all has to be as wanted.

use super::agent::{Agent, Running};
use super::chance::Chance;
use super::clock::SimClock;
use super::control::{ControlHost, Home, certificate};
use super::faults::{self, Fault};
use super::machine::Machine;
use super::operator::Operator;
use super::store::{Disk, Manners};
use super::truth::{Ground, Invariant, Violation};
use super::wire::Net;
use super::{Options, Plant, converge, memory_of_a_node};
use crate::actors::control::nodes::table::Presence;
use crate::domain::id::NodeName;
use crate::domain::record::keys;
use crate::ports::agent::NodeRecord;
use crate::ports::store::{Change, Store};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long all nodes may take to be there at first.
const JOINED_WITHIN: Duration = Duration::from_secs(20);
/// How long after the last fault all has to be as wanted: a change without progress fails after 20 s, is taken back
/// in as long, and what is not as wanted is looked for every 30 s.
const BOUND: Duration = Duration::from_secs(150);
/// How long what lain does not put right by itself (a first deploy that failed) waits for the operator.
const OPERATOR_LOOKS: Duration = Duration::from_secs(10);
/// How often it is looked at whether all is as wanted.
const LOOK: Duration = Duration::from_millis(250);
/// What runs is watched for so long after all was as wanted.
const CALM: Duration = Duration::from_secs(2);
/// CPUs of a node.
const CPUS: u32 = 4;

/// How a schedule ended.
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What did not hold; empty where all did.
    pub violations: Vec<Violation>,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// The same for two runs in which the same happened.
    pub fingerprint: u64,
    /// Virtual time that passed.
    pub took: Duration,
}

/// Runs one schedule in a runtime of its own, on this thread, in virtual time.
///
/// # Errors
/// That the runtime could not be made.
pub fn run(seed: u64, options: &Options) -> std::io::Result<Outcome> {
    // Made here first, so that a failure is an error and no panic.
    let runtime = RefCell::new(Some(
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?,
    ));
    let system = actix_rt::System::with_tokio_rt(|| {
        let made = runtime.borrow_mut().take();
        made.expect("a system asks for its runtime once")
    });
    Ok(system.block_on(Schedule::run(seed, options)))
}

struct Node {
    machine: Rc<Machine>,
    agent: RefCell<Option<Running>>,
    lives: Cell<u64>,
    /// Faults in progress that give an excuse.
    disturbances: Cell<u32>,
}

struct Schedule {
    options: Options,
    ground: Ground,
    home: Home,
    nodes: Vec<Node>,
    memory: u64,
    control: RefCell<Option<Rc<ControlHost>>>,
    control_wanted: Cell<bool>,
    over: Cell<bool>,
}

impl Schedule {
    async fn run(seed: u64, options: &Options) -> Outcome {
        let schedule = Rc::new(Self::new(seed, options).await);
        let keeper = {
            let schedule = Rc::clone(&schedule);
            actix_rt::spawn(async move { schedule.keep_control().await })
        };
        schedule.begin().await;
        let mut operator = Operator::new(
            Chance::new(seed, 3),
            schedule.ground.clone(),
            schedule.options.instances,
        );
        if let Some(host) = schedule.host() {
            operator.deploy_all(&host).await;
        }
        let operating = {
            let (schedule, chance) = (Rc::clone(&schedule), Chance::new(seed, 4));
            actix_rt::spawn(async move { schedule.operate(operator, chance).await })
        };
        let mut chance = Chance::new(seed, 5);
        schedule.faults(&mut chance).await;
        schedule.over.set(true);
        schedule.ground.note("no more faults");
        match operating.await {
            Ok(operator) => schedule.end(operator).await,
            Err(error) => schedule.not_converged(format!("the operator is gone: {error}")),
        }
        keeper.abort();
        if let Some(host) = schedule.host() {
            host.kill().await;
        }
        schedule.ground.with(|truth| Outcome {
            seed,
            violations: std::mem::take(&mut truth.violations),
            trace: truth.trace.lines().to_vec(),
            fingerprint: truth.trace.fingerprint(),
            took: truth.trace.now(),
        })
    }

    async fn new(seed: u64, options: &Options) -> Self {
        let ground = Ground::new();
        let origin = Instant::now();
        let mut chance = Chance::new(seed, 1);
        let mut rate = || match options.faults.contains(&Fault::Clock) {
            // Real oscillators differ by less than a thousandth.
            true => chance.factor(0.98, 1.02),
            false => 1.0,
        };
        let clock = Arc::new(SimClock::new(origin, rate()));
        let memory = memory_of_a_node(options);
        let mut nodes = Vec::new();
        for number in 1..=options.nodes {
            let Ok(name) = NodeName::new(format!("n{number}")) else {
                continue;
            };
            ground.with(|truth| truth.add_host(&name, u64::from(CPUS) * 1000, memory));
            let clock = Arc::new(SimClock::new(origin, rate()));
            let chance = Chance::new(seed, 1000 + u64::from(number));
            nodes.push(Node {
                machine: Machine::new(name, clock, ground.clone(), chance),
                agent: RefCell::new(None),
                lives: Cell::new(0),
                disturbances: Cell::new(0),
            });
        }
        let disk = Disk::new(Chance::new(seed, 6), ground.clone(), options.plant);
        let home = Home {
            net: Net::new(Chance::new(seed, 2)),
            disk,
            clock,
            ground: ground.clone(),
            plant: options.plant,
        };
        let schedule = Self {
            options: options.clone(),
            ground,
            home,
            nodes,
            memory,
            control: RefCell::new(None),
            control_wanted: Cell::new(true),
            over: Cell::new(false),
        };
        schedule.join_all().await;
        schedule
    }

    /// Every node has joined before the schedule begins.
    async fn join_all(&self) {
        let mut changes = Vec::new();
        for node in &self.nodes {
            let name = node.machine.name.clone();
            let record = NodeRecord {
                labels: BTreeMap::new(),
                cordoned: None,
                draining: false,
                joined_at: chrono::DateTime::UNIX_EPOCH,
                certificates: vec![certificate(&name)],
                facts: None,
                name,
            };
            if let Ok(json) = serde_json::to_vec(&record) {
                changes.push(Change::Put(keys::node(&record.name), json));
            }
        }
        if let Err(error) = self.home.disk.data.transact(Vec::new(), changes).await {
            self.not_converged(format!("the nodes could not join: {error}"));
        }
    }

    fn host(&self) -> Option<Rc<ControlHost>> {
        self.control.borrow().clone()
    }

    fn not_converged(&self, what: String) {
        self.ground
            .with(|truth| truth.violated(Invariant::Converges, what));
    }

    /// As systemd would: a control host that is wanted and is not there is started.
    async fn keep_control(&self) {
        loop {
            let ended = self.host().is_some_and(|h| h.has_ended());
            if ended {
                self.ground.note("the control host has ended by itself");
                let gone = self.control.borrow_mut().take();
                if let Some(gone) = gone {
                    gone.kill().await;
                }
            }
            if self.control_wanted.get()
                && self.host().is_none()
                && let Ok(name) = NodeName::new("control")
            {
                let host = ControlHost::start(&self.home, &name).await;
                *self.control.borrow_mut() = Some(Rc::new(host));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn begin(&self) {
        for node in &self.nodes {
            self.start_agent(node);
        }
        let deadline = Instant::now() + JOINED_WITHIN;
        while Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Some(host) = self.host() else { continue };
            let up = host.shared.nodes.all();
            if up.iter().all(|n| n.presence() == Presence::Up) {
                return;
            }
        }
        self.not_converged("the nodes were not ready in time".to_owned());
    }

    fn start_agent(&self, node: &Node) {
        node.lives.set(node.lives.get() + 1);
        let told = match self.options.plant {
            Some(Plant::IgnoresCapacity) => self.memory * 8,
            _ => self.memory,
        };
        let agent = Agent::start(
            &node.machine,
            &self.home.net,
            self.options.plant,
            (CPUS, told),
            node.lives.get(),
        );
        self.ground
            .note(format!("{}: agent starts", node.machine.name));
        *node.agent.borrow_mut() = Some(agent);
    }

    /// Commands, one after another, while faults go on.
    async fn operate(&self, mut operator: Operator, mut chance: Chance) -> Operator {
        let names: Vec<NodeName> = self.nodes.iter().map(|n| n.machine.name.clone()).collect();
        while !self.over.get() {
            tokio::time::sleep(chance.millis(100, 4000)).await;
            if let Some(host) = self.host().filter(|_| !self.over.get()) {
                operator.act(&host, &names).await;
            }
        }
        operator
    }

    async fn faults(&self, chance: &mut Chance) {
        let kinds: Vec<Fault> = self.options.faults.iter().copied().collect();
        let end = Instant::now() + self.options.span;
        let mut active: Vec<(Instant, Fault, Option<usize>)> = Vec::new();
        let mut next = Instant::now() + chance.millis(200, 2000);
        loop {
            active.sort_by_key(|a| a.0);
            let first = active.first().map_or(end, |a| a.0);
            let at = first.min(next).min(end);
            tokio::time::sleep_until(at).await;
            if at == end {
                break;
            }
            if at == first {
                let (_, fault, node) = active.remove(0);
                self.end_fault(fault, node, chance);
                continue;
            }
            next = Instant::now() + chance.millis(50, 2500);
            let Some(fault) = chance.pick(&kinds).copied() else {
                continue;
            };
            let whole = matches!(
                fault,
                Fault::ControlRestart | Fault::StoreError | Fault::StoreDelay
            );
            let node = (!whole).then(|| chance.below(self.nodes.len()));
            if active
                .iter()
                .any(|(_, f, n)| clashes((fault, node), (*f, *n)))
            {
                continue;
            }
            let lasts = faults::lasts(fault, chance);
            if self.begin_fault(fault, node, chance) {
                active.push((Instant::now() + lasts, fault, node));
            }
        }
        for (_, fault, node) in active {
            self.end_fault(fault, node, chance);
        }
        self.home.disk.behave(Manners::default());
    }

    fn begin_fault(&self, fault: Fault, node: Option<usize>, chance: &mut Chance) -> bool {
        let node = node.and_then(|i| self.nodes.get(i));
        if let Some(node) = node {
            let needs_an_agent = matches!(fault, Fault::AgentRestart | Fault::NodeLoss);
            if needs_an_agent && node.agent.borrow().is_none() {
                return false;
            }
        }
        faults::announce(&self.ground, fault, node.map(|n| &n.machine.name), true);
        match (fault, node) {
            (Fault::ControlRestart, _) => {
                self.control_wanted.set(false);
                let host = self.control.borrow_mut().take();
                if let Some(host) = host {
                    actix_rt::spawn(async move { host.kill().await });
                }
            }
            (Fault::StoreError | Fault::StoreDelay, _) => {
                self.home.disk.behave(faults::manners(fault, chance));
            }
            (_, Some(node)) => {
                if faults::disturbs(fault) {
                    node.disturbances.set(node.disturbances.get() + 1);
                    self.ground.with(|t| t.disturb(&node.machine.name));
                }
                if matches!(fault, Fault::AgentRestart | Fault::NodeLoss) {
                    if fault == Fault::NodeLoss {
                        self.home.net.vanish(&node.machine.name);
                    }
                    drop(node.agent.borrow_mut().take());
                }
                if fault == Fault::NodeLoss {
                    node.machine.set_power(false);
                }
                faults::begin_on_node(fault, &node.machine, &self.home.net, chance);
            }
            _ => {}
        }
        true
    }

    fn end_fault(&self, fault: Fault, node: Option<usize>, chance: &mut Chance) {
        let node = node.and_then(|i| self.nodes.get(i));
        if !faults::lasts_no_time(fault) {
            faults::announce(&self.ground, fault, node.map(|n| &n.machine.name), false);
        }
        match (fault, node) {
            (Fault::ControlRestart, _) => self.control_wanted.set(true),
            (Fault::StoreError | Fault::StoreDelay, _) => {
                self.home.disk.behave(Manners::default());
            }
            (_, Some(node)) => {
                faults::end_on_node(fault, &node.machine, &self.home.net, chance);
                if fault == Fault::NodeLoss {
                    node.machine.set_power(true);
                }
                if matches!(fault, Fault::AgentRestart | Fault::NodeLoss) {
                    self.start_agent(node);
                }
                if faults::disturbs(fault) {
                    let left = node.disturbances.get().saturating_sub(1);
                    node.disturbances.set(left);
                    if left == 0 {
                        self.ground.with(|t| t.undisturb(&node.machine.name));
                    }
                }
            }
            _ => {}
        }
    }

    /// Faults are over: within a bound all has to be as the operator wants it.
    async fn end(&self, mut operator: Operator) {
        let begun = Instant::now();
        let mut why = "the control host is not there".to_owned();
        let mut looked = false;
        while begun.elapsed() < BOUND {
            tokio::time::sleep(LOOK).await;
            let Some(host) = self.host() else { continue };
            if operator.has_closed() {
                operator.open_all(&host).await;
                continue;
            }
            let machines: Vec<&Machine> = self.nodes.iter().map(|n| &*n.machine).collect();
            match converge::missing(&self.home.disk.data, &machines).await {
                Some(missing) => why = missing,
                None => {
                    self.ground.note(format!(
                        "all is as wanted {} ms after the last fault",
                        begun.elapsed().as_millis()
                    ));
                    tokio::time::sleep(CALM).await;
                    if let Err(error) = operator.check(&self.home.disk.data).await {
                        self.not_converged(error.to_string());
                    }
                    return;
                }
            }
            if !looked && begun.elapsed() > OPERATOR_LOOKS {
                looked = true;
                operator.look_after(&host, &self.home.disk.data).await;
            }
        }
        self.not_converged(format!("{} s after the last fault: {why}", BOUND.as_secs()));
    }
}

/// Whether a fault cannot begin while another one is in progress.
fn clashes(one: (Fault, Option<usize>), other: (Fault, Option<usize>)) -> bool {
    let group = |fault: Fault| match fault {
        Fault::OneWay => Fault::Partition,
        Fault::StoreDelay => Fault::StoreError,
        Fault::AgentRestart => Fault::NodeLoss,
        fault => fault,
    };
    one.1 == other.1 && group(one.0) == group(other.0)
}
