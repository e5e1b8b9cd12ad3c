//! The world around supervisors: workers, callers, messages and virtual time.
//!
//! The same world drives the state machine and the reference model. Everything
//! takes time, and how long is decided by who does it for the how-manieth time,
//! so that two runs which do the same see the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::{ExitReason, Pid, Restart, Shutdown};

use crate::letters::{
    Action, Answer, Blow, Brain, CallerId, Deed, Letter, Outcome, StartEnd, Token, Trace,
};
use crate::plan::{ChildPlan, Kind, Plan, Start, Stop, SupPlan};

pub enum Happening {
    Deliver(usize, Letter),
    StartOver(usize),
    Exit(usize, ExitReason),
    Wake(usize),
    Stimulus(usize),
    /// An order that has travelled to a process.
    Order(usize, bool, ExitReason),
}

pub struct Process {
    pub parent: Option<usize>,
    pub token: Token,
    pub path: Arc<str>,
    pub plan: Arc<ChildPlan>,
    pub alive: bool,
    pub up: bool,
    pub stopping: bool,
    pub incarnation: u32,
    pub brain: Option<Box<dyn Brain>>,
    pub woken_at: Option<Duration>,
    pub children: HashMap<Token, usize>,
    pub instances: u32,
    pub last_to_parent: Duration,
    pub sent: u32,
}

pub type Maker = fn(&Arc<SupPlan>, u64) -> Box<dyn Brain>;

pub struct World {
    pub make: Maker,
    pub plan: Plan,
    pub now: Duration,
    pub heap: BinaryHeap<Reverse<(Duration, u64)>>,
    pub happenings: HashMap<u64, Happening>,
    pub sequence: u64,
    pub processes: Vec<Process>,
    /// Every place there ever was, in order of appearance.
    pub places: Vec<(Arc<str>, Arc<ChildPlan>)>,
    pub incarnations: HashMap<Arc<str>, u32>,
    pub calls: usize,
    pub answered: usize,
    /// Who was asked by callers that wait.
    pub open: BTreeMap<CallerId, usize>,
    pub trace: Trace,
    pub blows: Vec<Blow>,
}

/// Schedules that go round in circles (a budget that never trips) are cut here.
const LONGEST: Duration = Duration::from_secs(120);
const MOST: u64 = 4_000;

/// A path as the real tree has it, whose root has none.
pub fn below_root(path: &str) -> String {
    path.split_once('/')
        .map_or(String::new(), |(_, below)| below.to_owned())
}

impl World {
    /// Lives the plan through and tells what happened.
    pub fn live(plan: &Plan, make: Maker) -> Outcome {
        let mut world = Self {
            make,
            plan: plan.clone(),
            now: Duration::ZERO,
            heap: BinaryHeap::new(),
            happenings: HashMap::new(),
            sequence: 0,
            processes: Vec::new(),
            places: Vec::new(),
            incarnations: HashMap::new(),
            calls: 0,
            answered: 0,
            open: BTreeMap::new(),
            trace: Vec::new(),
            blows: Vec::new(),
        };
        let root = ChildPlan {
            id: "root".into(),
            restart: Restart::Temporary,
            significant: false,
            shutdown: Shutdown::Infinity,
            backoff: None,
            budget: None,
            kind: Kind::Supervisor(plan.root.clone()),
        };
        world.spawn(None, 0, Arc::new(root), None);
        world.next_stimulus(0);
        world.run();
        world.outcome()
    }

    fn outcome(self) -> Outcome {
        let is_worker = |process: &&Process| matches!(process.plan.kind, Kind::Worker { .. });
        let workers = || self.processes.iter().filter(is_worker);
        let alive = workers()
            .filter(|worker| worker.alive)
            .map(|worker| below_root(&worker.path))
            .collect();
        let mut starts = BTreeMap::new();
        for worker in workers() {
            *starts.entry(below_root(&worker.path)).or_default() += 1;
        }
        let exit = self.trace.iter().find_map(|(_, deed)| match deed {
            Deed::Down(0, reason) => Some(reason.clone()),
            _ => None,
        });
        Outcome {
            trace: self.trace,
            blows: self.blows,
            alive,
            starts,
            exit,
        }
    }

    fn run(&mut self) {
        while let Some(Reverse((at, sequence))) = self.heap.pop() {
            if at > LONGEST || self.sequence > MOST {
                return;
            }
            self.now = at;
            match self.happenings.remove(&sequence) {
                Some(Happening::Deliver(process, letter)) => self.deliver(process, letter),
                Some(Happening::StartOver(process)) => self.start_over(process),
                Some(Happening::Exit(process, reason)) => self.exit(process, reason),
                Some(Happening::Wake(process)) => self.wake(process),
                Some(Happening::Stimulus(nth)) => self.stimulate(nth),
                Some(Happening::Order(process, kill, reason)) => self.obey(process, kill, reason),
                None => {}
            }
        }
        assert_eq!(self.calls, self.answered, "every call is answered");
    }

    pub fn at(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    /// Some nanoseconds that only this process's n-th deed takes.
    pub fn noise(&mut self, process: usize) -> Duration {
        let process = &mut self.processes[process];
        process.sent += 1;
        let mut hasher = DefaultHasher::new();
        (
            self.plan.seed,
            &process.path,
            process.incarnation,
            process.sent,
        )
            .hash(&mut hasher);
        Duration::from_nanos(1 + hasher.finish() % 900_000)
    }

    fn spawn(
        &mut self,
        parent: Option<usize>,
        token: Token,
        plan: Arc<ChildPlan>,
        extra: Option<u32>,
    ) {
        let name = match extra {
            Some(number) => format!("#{number}").into(),
            None => plan.id.clone(),
        };
        let path: Arc<str> = match parent {
            Some(parent) => format!("{}/{name}", self.processes[parent].path).into(),
            None => name,
        };
        if !self.places.iter().any(|(known, _)| *known == path) {
            self.places.push((path.clone(), plan.clone()));
        }
        let incarnation = self.incarnations.entry(path.clone()).or_insert(0);
        *incarnation += 1;
        let incarnation = *incarnation;
        let process = self.processes.len();
        self.trace.push((self.now, Deed::Start(process)));
        self.processes.push(Process {
            parent,
            token,
            path,
            plan: plan.clone(),
            alive: true,
            up: false,
            stopping: false,
            incarnation,
            brain: None,
            woken_at: None,
            children: HashMap::new(),
            instances: 0,
            last_to_parent: self.now,
            sent: 0,
        });
        if let Some(parent) = parent {
            self.processes[parent].children.insert(token, process);
        }
        match &plan.kind {
            Kind::Worker { start_takes, .. } => {
                let at =
                    self.now + Duration::from_millis((*start_takes).into()) + self.noise(process);
                self.at(at, Happening::StartOver(process));
            }
            Kind::Supervisor(below) => {
                let mut brain = (self.make)(below, self.plan.seed);
                let actions = brain.boot(self.now);
                self.processes[process].brain = Some(brain);
                self.act(process, actions);
            }
        }
    }

    fn start_over(&mut self, process: usize) {
        if !self.processes[process].alive {
            return;
        }
        let Kind::Worker { starts, .. } = &self.processes[process].plan.kind else {
            return;
        };
        let nth = self.processes[process].incarnation as usize - 1;
        let result = match starts.get(nth).copied().unwrap_or(Start::Run) {
            Start::Run => StartEnd::Ok(Pid::from_u64(process as u64)),
            Start::Ignore => StartEnd::Ignore,
            Start::Fail => StartEnd::Err(ExitReason::error("start")),
            Start::AlreadyStarted => StartEnd::Err(ExitReason::AlreadyStarted(Pid::from_u64(0))),
        };
        let up = matches!(result, StartEnd::Ok(_));
        (self.processes[process].up, self.processes[process].alive) = (up, up);
        if up {
            self.trace.push((self.now, Deed::Up(process)));
        }
        self.tell_parent(process, |token| Letter::Started(token, result));
    }

    /// Messages from one process to another keep their order.
    fn tell_parent(&mut self, process: usize, letter: impl FnOnce(Token) -> Letter) {
        let noise = self.noise(process);
        let now = self.now;
        let sender = &mut self.processes[process];
        let at = (now + noise).max(sender.last_to_parent + Duration::from_nanos(1));
        sender.last_to_parent = at;
        let letter = letter(sender.token);
        if let Some(parent) = sender.parent {
            // Now and then old news comes once more, long after.
            let echo =
                matches!(letter, Letter::Exited(..)) && noise.subsec_nanos().is_multiple_of(8);
            if echo {
                let late = at + Duration::from_millis(150) + noise;
                self.at(late, Happening::Deliver(parent, letter.clone()));
            }
            self.at(at, Happening::Deliver(parent, letter));
        }
    }

    fn deliver(&mut self, process: usize, letter: Letter) {
        let now = self.now;
        let Process { alive, brain, .. } = &mut self.processes[process];
        match (brain, *alive) {
            (Some(brain), true) => {
                if let Letter::Call(caller, _) = &letter {
                    self.open.insert(*caller, process);
                }
                let actions = brain.deliver(letter, now);
                self.act(process, actions);
            }
            _ => {
                if let Letter::Call(caller, _) = letter {
                    self.reply(caller, Answer::NoProc);
                }
            }
        }
    }

    fn wake(&mut self, process: usize) {
        self.processes[process].woken_at = None;
        let now = self.now;
        let Process {
            alive: true,
            brain: Some(brain),
            ..
        } = &mut self.processes[process]
        else {
            return;
        };
        let actions = brain.wake(now);
        self.act(process, actions);
    }

    fn act(&mut self, process: usize, actions: Vec<Action>) {
        let mut own = Vec::new();
        for action in actions {
            match action {
                Action::Start(token, plan, extra) => self.spawn(Some(process), token, plan, extra),
                Action::Terminate(token) => self.order(process, token, false),
                Action::Kill(token) => self.order(process, token, true),
                Action::Retry(token) => own.push(token),
                Action::Reply(caller, answer) => self.reply(caller, answer),
                Action::Report(context, reason) => {
                    self.trace
                        .push((self.now, Deed::Report(process, context, reason)));
                }
                Action::Ready => {
                    self.processes[process].up = true;
                    self.trace.push((self.now, Deed::Up(process)));
                    let pid = Pid::from_u64(process as u64);
                    self.tell_parent(process, |token| Letter::Started(token, StartEnd::Ok(pid)));
                }
                Action::Exit(reason) => self.exit(process, reason),
            }
        }
        for token in own {
            self.deliver(process, Letter::Retry(token));
        }
        self.arm(process);
    }

    fn arm(&mut self, process: usize) {
        let Process {
            alive,
            brain,
            woken_at,
            ..
        } = &mut self.processes[process];
        let Some(deadline) = brain
            .as_ref()
            .filter(|_| *alive)
            .and_then(|brain| brain.deadline())
        else {
            return;
        };
        if woken_at.is_none_or(|at| deadline < at) {
            *woken_at = Some(deadline);
            let at = deadline.max(self.now);
            self.at(at, Happening::Wake(process));
        }
    }

    /// An order takes a while to arrive.
    fn order(&mut self, process: usize, token: Token, kill: bool) {
        let Some(child) = self.processes[process].children.get(&token).copied() else {
            panic!("an order for a child that was never started");
        };
        self.trace.push((
            self.now,
            if kill {
                Deed::Kill(child)
            } else {
                Deed::Terminate(child)
            },
        ));
        let at = self.now + self.noise(child);
        let reason = if kill {
            ExitReason::Killed
        } else {
            ExitReason::Shutdown
        };
        self.at(at, Happening::Order(child, kill, reason));
    }

    fn obey(&mut self, process: usize, kill: bool, reason: ExitReason) {
        if !self.processes[process].alive {
            return;
        }
        if kill {
            return self.exit(process, ExitReason::Killed);
        }
        if self.processes[process].brain.is_some() {
            return self.deliver(process, Letter::ParentExit(reason));
        }
        if std::mem::replace(&mut self.processes[process].stopping, true) {
            return;
        }
        let Kind::Worker { stop, .. } = &self.processes[process].plan.kind else {
            return;
        };
        let (millis, end) = match *stop {
            Stop::Within(millis) => (millis, reason),
            Stop::WithError(millis) => (millis, ExitReason::error("stop")),
            Stop::Normal(millis) => (millis, ExitReason::Normal),
            Stop::Deaf => return,
        };
        let at = self.now + Duration::from_millis(millis.into()) + self.noise(process);
        self.at(at, Happening::Exit(process, end));
    }

    pub fn exit(&mut self, process: usize, reason: ExitReason) {
        if !self.processes[process].alive {
            return;
        }
        self.trace
            .push((self.now, Deed::Down(process, reason.clone())));
        let up = std::mem::take(&mut self.processes[process].up);
        self.processes[process].alive = false;
        if self.processes[process].brain.is_some() {
            self.leave_behind(process, &reason);
        }
        self.tell_parent(process, |token| match up {
            true => Letter::Exited(token, reason),
            false => Letter::Started(token, StartEnd::Err(reason)),
        });
    }

    /// A supervisor ended: its children lose their link, its callers their answer.
    fn leave_behind(&mut self, process: usize, reason: &ExitReason) {
        let mut children: Vec<usize> = self.processes[process].children.values().copied().collect();
        children.retain(|child| self.processes[*child].alive);
        children.sort_unstable();
        for child in children {
            assert!(
                !reason.is_clean(),
                "a supervisor that ends cleanly leaves nobody behind"
            );
            let at = self.now + self.noise(child);
            self.at(at, Happening::Order(child, false, ExitReason::Killed));
            let limit = match self.processes[child].plan.shutdown {
                Shutdown::Timeout(limit) => limit,
                Shutdown::BrutalKill => Duration::from_secs(5),
                Shutdown::Infinity => continue,
            };
            let at = at + limit;
            self.at(at, Happening::Order(child, true, ExitReason::Killed));
        }
        let open: Vec<CallerId> = self
            .open
            .iter()
            .filter(|(_, asked)| **asked == process)
            .map(|(caller, _)| *caller)
            .collect();
        for caller in open {
            self.reply(caller, Answer::Exited(reason.clone()));
        }
    }

    fn reply(&mut self, caller: CallerId, answer: Answer) {
        self.answered += 1;
        self.open.remove(&caller);
        self.trace.push((self.now, Deed::Reply(caller, answer)));
    }
}
