//! The world around supervisors: workers, callers, messages and virtual time.
//!
//! The same world drives the state machine and the reference model. Everything
//! takes time, and how long is decided by who does it for the how-manieth time,
//! so that two runs which do the same see the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::{ExitReason, Flags, Pid, ReportContext, Restart, Shutdown};

use crate::plan::{ChildPlan, End, Kind, Plan, Start, Stimulus, Stop, SupPlan, What};

pub type Token = u64;
pub type CallerId = usize;

/// What a supervisor is told.
#[derive(Debug, Clone)]
pub enum Letter {
    Call(CallerId, Ask),
    Exited(Token, ExitReason),
    Started(Token, StartEnd),
    Retry(Token),
    ParentExit(ExitReason),
}

#[derive(Debug, Clone)]
pub enum StartEnd {
    Ok(Pid),
    Ignore,
    Err(ExitReason),
}

#[derive(Debug, Clone)]
pub enum Ask {
    StartChild(Arc<ChildPlan>),
    StartInstance(u32),
    Terminate(Arc<str>),
    TerminatePid(Pid, bool),
    Restart(Arc<str>),
    Delete(Arc<str>),
    Which,
    Count,
    Change(Flags, Vec<Arc<ChildPlan>>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Done,
    Started(Option<Pid>),
    Children(Vec<(Option<Arc<str>>, Shown)>),
    Counts(usize, usize, usize, usize),
    AlreadyStarted(Pid),
    AlreadyPresent,
    NotFound,
    Running,
    Restarting,
    Simple,
    NotSimple,
    StartFailed(ExitReason),
    Invalid,
    Exited(ExitReason),
    NoProc,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Running(Pid),
    Restarting,
    Undefined,
}

/// What a supervisor does.
#[derive(Debug)]
pub enum Action {
    Start(Token, Arc<ChildPlan>, Option<u32>),
    Terminate(Token),
    Kill(Token),
    Retry(Token),
    Reply(CallerId, Answer),
    Report(ReportContext, ExitReason),
    Ready,
    Exit(ExitReason),
}

/// A supervisor's mind.
pub trait Brain {
    fn boot(&mut self, now: Duration) -> Vec<Action>;
    fn deliver(&mut self, letter: Letter, now: Duration) -> Vec<Action>;
    fn wake(&mut self, now: Duration) -> Vec<Action>;
    fn deadline(&self) -> Option<Duration>;
}

/// What happened, to be compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Start(usize),
    Terminate(usize),
    Kill(usize),
    Up(usize),
    Down(usize, ExitReason),
    Reply(CallerId, Answer),
    Report(usize, ReportContext, ExitReason),
}

pub type Trace = Vec<(Duration, Deed)>;

/// What the stimuli came to, once it was clear whom they meet; paths without the root.
#[derive(Debug, Clone)]
pub enum Blow {
    End(String, End),
    Kill(String),
    ParentExit(String),
    Ask(String, Ask, Option<String>),
}

/// How a schedule went.
pub struct Outcome {
    pub trace: Trace,
    pub blows: Vec<Blow>,
    /// The paths of the workers that live at the end.
    pub alive: BTreeSet<String>,
    /// How often each worker was started.
    pub starts: BTreeMap<String, u32>,
    /// How the root ended, if it did.
    pub exit: Option<ExitReason>,
}

enum Happening {
    Deliver(usize, Letter),
    StartOver(usize),
    Exit(usize, ExitReason),
    Wake(usize),
    Stimulus(usize),
    /// An order that has travelled to a process.
    Order(usize, bool, ExitReason),
}

struct Process {
    parent: Option<usize>,
    token: Token,
    path: Arc<str>,
    plan: Arc<ChildPlan>,
    alive: bool,
    up: bool,
    stopping: bool,
    incarnation: u32,
    brain: Option<Box<dyn Brain>>,
    woken_at: Option<Duration>,
    children: HashMap<Token, usize>,
    instances: u32,
    last_to_parent: Duration,
    sent: u32,
}

pub type Maker = fn(&Arc<SupPlan>, u64) -> Box<dyn Brain>;

pub struct World {
    make: Maker,
    plan: Plan,
    now: Duration,
    heap: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: HashMap<u64, Happening>,
    sequence: u64,
    processes: Vec<Process>,
    /// Every place there ever was, in order of appearance.
    places: Vec<(Arc<str>, Arc<ChildPlan>)>,
    incarnations: HashMap<Arc<str>, u32>,
    calls: usize,
    answered: usize,
    /// Who was asked by callers that wait.
    open: BTreeMap<CallerId, usize>,
    trace: Trace,
    blows: Vec<Blow>,
}

/// Schedules that go round in circles (a budget that never trips) are cut here.
const LONGEST: Duration = Duration::from_secs(120);
const MOST: u64 = 4_000;

/// A path as the real tree has it, whose root has none.
fn below_root(path: &str) -> String {
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

    fn at(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    /// Some nanoseconds that only this process's n-th deed takes.
    fn noise(&mut self, process: usize) -> Duration {
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

    fn exit(&mut self, process: usize, reason: ExitReason) {
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

    fn stimulate(&mut self, nth: usize) {
        let Stimulus { place, what, .. } = self.plan.stimuli[nth].clone();
        self.next_stimulus(nth + 1);
        // The root is spared most of the time, or little would be left to watch.
        let nth = match (self.places.len(), usize::from(place)) {
            (1, _) | (_, 0) => 0,
            (places, place) => 1 + place % (places - 1),
        };
        let (path, plan) = self.places[nth].clone();
        let Some(process) = self.living(&path) else {
            // Nobody there: its supervisor may still be asked about it.
            return self.ask(&path, &plan, what, None);
        };
        match what {
            What::End(end)
                if self.processes[process].brain.is_none() && self.processes[process].up =>
            {
                let reason = match end {
                    End::Normal => ExitReason::Normal,
                    End::Shutdown => ExitReason::Shutdown,
                    End::Error => ExitReason::error("crash"),
                };
                self.blows.push(Blow::End(below_root(&path), end));
                self.exit(process, reason);
            }
            What::End(_) => {}
            What::Kill if self.processes[process].up => {
                self.blows.push(Blow::Kill(below_root(&path)));
                self.exit(process, ExitReason::Killed);
            }
            What::Kill => {}
            // Only a running supervisor can be told to end from outside.
            What::ParentExit
                if self.processes[process].up && self.processes[process].brain.is_some() =>
            {
                self.blows.push(Blow::ParentExit(below_root(&path)));
                let at = self.now + self.noise(process);
                self.at(at, Happening::Order(process, false, ExitReason::Shutdown));
            }
            What::ParentExit => {}
            what => self.ask(&path, &plan, what, Some(process)),
        }
    }

    /// The living process at a path.
    fn living(&self, path: &str) -> Option<usize> {
        self.processes
            .iter()
            .rposition(|process| process.alive && *process.path == *path)
    }

    /// Asks the supervisor of a place about it.
    fn ask(&mut self, path: &str, plan: &Arc<ChildPlan>, what: What, process: Option<usize>) {
        // A supervisor is asked about its own children, others through theirs.
        let about_its_own = !matches!(what, What::Terminate | What::Restart | What::Delete);
        let own =
            process.filter(|process| about_its_own && self.processes[*process].brain.is_some());
        let above = || {
            path.rsplit_once('/')
                .and_then(|(above, _)| self.living(above))
        };
        let Some(supervisor) = own.or_else(above) else {
            return;
        };
        let Kind::Supervisor(above) = &self.processes[supervisor].plan.kind else {
            return;
        };
        let (above, id) = (above.clone(), plan.id.clone());
        let ask = match what {
            What::Terminate if above.is_simple() => match process {
                Some(pid) => Ask::TerminatePid(Pid::from_u64(pid as u64), true),
                None => Ask::Terminate(id),
            },
            What::Terminate => Ask::Terminate(id),
            What::Restart => Ask::Restart(id),
            What::Delete => Ask::Delete(id),
            What::Which => Ask::Which,
            What::Count => Ask::Count,
            What::StartChild { fresh: false } => Ask::StartChild(plan.clone()),
            What::StartChild { fresh: true } => {
                let id = format!("n{}", self.calls).into();
                Ask::StartChild(Arc::new(ChildPlan {
                    id,
                    ..(**plan).clone()
                }))
            }
            What::StartInstance => {
                self.processes[supervisor].instances += 1;
                Ask::StartInstance(self.processes[supervisor].instances)
            }
            What::StopInstance { nth } => {
                let nth = usize::from(nth) % self.processes.len();
                Ask::TerminatePid(Pid::from_u64(nth as u64), self.processes[nth].alive)
            }
            What::Change {
                intensity,
                auto,
                keep,
            } => {
                let flags = Flags {
                    intensity,
                    auto_shutdown: auto,
                    ..above.flags
                };
                let kept = |nth: usize| above.is_simple() || keep & (1 << (nth % 8)) != 0;
                let children = above
                    .children
                    .iter()
                    .enumerate()
                    .filter(|(nth, _)| kept(*nth));
                Ask::Change(flags, children.map(|(_, child)| child.clone()).collect())
            }
            What::End(_) | What::Kill | What::ParentExit => return,
        };
        let of = match &ask {
            Ask::TerminatePid(pid, true) => {
                Some(below_root(&self.processes[pid.as_u64() as usize].path))
            }
            _ => None,
        };
        self.blows.push(Blow::Ask(
            below_root(&self.processes[supervisor].path),
            ask.clone(),
            of,
        ));
        let caller = self.calls;
        self.calls += 1;
        let noise = self.noise(supervisor);
        let at = self.now + noise;
        self.at(
            at,
            Happening::Deliver(supervisor, Letter::Call(caller, ask)),
        );
    }

    fn next_stimulus(&mut self, nth: usize) {
        if let Some(Stimulus { after, .. }) = self.plan.stimuli.get(nth) {
            let mut hasher = DefaultHasher::new();
            (self.plan.seed, nth).hash(&mut hasher);
            let noise = Duration::from_nanos(hasher.finish() % 900_000);
            // Most trees are up by then; some are caught on the way.
            let head_start = if nth == 0 {
                Duration::from_millis(400)
            } else {
                Duration::ZERO
            };
            let at = self.now + head_start + Duration::from_millis((*after).into()) + noise;
            self.at(at, Happening::Stimulus(nth));
        }
    }
}
