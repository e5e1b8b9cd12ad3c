//! The reference model: a supervisor written as one would write it in Erlang.
//!
//! Straight-line code that waits where it has to, over a plain list of children
//! and a plain list of restart times. Made from the rules in
//! `docs/supervision.md`, without a look at the state machine.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lain::actors::supervise::{
    AutoShutdown, ExitReason, Flags, OnExhausted, Pid, ReportContext, Restart, Shutdown, Strategy,
};

use crate::plan::{ChildPlan, Kind, SupPlan};
use crate::world::{Action, Answer, Ask, Brain, Letter, Shown, StartEnd, Token};

/// What the model shares with the world: clock, mailbox, deeds.
#[derive(Default)]
struct Desk {
    now: Duration,
    mailbox: VecDeque<Letter>,
    actions: Vec<Action>,
    /// When to look again although no letter came.
    alarms: Vec<Duration>,
    tokens: Token,
}

type Shared = std::rc::Rc<RefCell<Desk>>;

/// The reference model as a brain of the world.
pub struct Reference {
    desk: Shared,
    program: Pin<Box<dyn Future<Output = ExitReason>>>,
    over: bool,
}

pub fn reference(plan: &Arc<SupPlan>, _: u64) -> Box<dyn Brain> {
    let desk = Shared::default();
    let supervisor = Supervisor {
        desk: desk.clone(),
        flags: plan.flags,
        children: Vec::new(),
        restarts: Vec::new(),
        template: plan.is_simple().then(|| plan.children[0].clone()),
    };
    Box::new(Reference {
        desk,
        program: Box::pin(supervisor.run(plan.clone())),
        over: false,
    })
}

impl Reference {
    fn step(&mut self, now: Duration) -> Vec<Action> {
        self.desk.borrow_mut().now = now;
        if !self.over
            && let Poll::Ready(reason) = self
                .program
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        {
            self.over = true;
            let mut desk = self.desk.borrow_mut();
            let left = std::mem::take(&mut desk.mailbox);
            for letter in left {
                if let Letter::Call(caller, _) = letter {
                    desk.actions
                        .push(Action::Reply(caller, Answer::Exited(reason.clone())));
                }
            }
            desk.actions.push(Action::Exit(reason));
        }
        let mut desk = self.desk.borrow_mut();
        desk.alarms.retain(|at| *at > now);
        std::mem::take(&mut desk.actions)
    }
}

impl Brain for Reference {
    fn boot(&mut self, now: Duration) -> Vec<Action> {
        self.step(now)
    }

    fn deliver(&mut self, letter: Letter, now: Duration) -> Vec<Action> {
        self.desk.borrow_mut().mailbox.push_back(letter);
        self.step(now)
    }

    fn wake(&mut self, now: Duration) -> Vec<Action> {
        self.step(now)
    }

    fn deadline(&self) -> Option<Duration> {
        self.desk.borrow().alarms.iter().min().copied()
    }
}

struct Child {
    plan: Arc<ChildPlan>,
    extra: Option<u32>,
    state: State,
    /// The token of its last start.
    token: Token,
    attempts: u32,
    up_since: Duration,
    own_restarts: Vec<u64>,
}

#[derive(Clone, PartialEq)]
enum State {
    Running(Pid),
    /// With the time of a retry that waits for it.
    Restarting(Option<Duration>),
    Undefined,
}

impl Child {
    fn new(plan: Arc<ChildPlan>, extra: Option<u32>) -> Self {
        Self {
            plan,
            extra,
            state: State::Undefined,
            token: 0,
            attempts: 0,
            up_since: Duration::ZERO,
            own_restarts: Vec::new(),
        }
    }

    fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Running(pid) => Some(pid),
            _ => None,
        }
    }
}

enum Next {
    GoOn,
    End(ExitReason),
}

struct Supervisor {
    desk: Shared,
    flags: Flags,
    children: Vec<Child>,
    restarts: Vec<u64>,
    template: Option<Arc<ChildPlan>>,
}

impl Supervisor {
    async fn run(mut self, plan: Arc<SupPlan>) -> ExitReason {
        if !self.is_simple() {
            self.children = plan
                .children
                .iter()
                .map(|plan| Child::new(plan.clone(), None))
                .collect();
            let mut nth = 0;
            while nth < self.children.len() {
                match self.start(nth).await {
                    StartEnd::Ok(_) => nth += 1,
                    StartEnd::Ignore => nth += self.settle_ignored(nth),
                    StartEnd::Err(reason) => {
                        self.report(ReportContext::StartError, &reason);
                        let id = self.children[nth].plan.id.to_string().into();
                        self.stop_all().await;
                        return ExitReason::FailedToStartChild {
                            id,
                            reason: Box::new(reason),
                        };
                    }
                }
            }
        }
        self.act(Action::Ready);
        loop {
            match self.receive().await {
                Letter::ParentExit(reason) => {
                    self.stop_all().await;
                    return reason;
                }
                Letter::Exited(token, reason) => {
                    if let Some(nth) = self.running_with(token)
                        && let Next::End(reason) = self.child_ended(nth, reason).await
                    {
                        return reason;
                    }
                }
                Letter::Retry(token) => {
                    let due = |child: &Child| {
                        child.token == token && matches!(child.state, State::Restarting(_))
                    };
                    if let Some(nth) = self.children.iter().position(due)
                        && let Next::End(reason) = self.restart(nth).await
                    {
                        return reason;
                    }
                }
                Letter::Call(caller, ask) => {
                    let answer = self.answer(ask).await;
                    self.act(Action::Reply(caller, answer));
                }
                Letter::Started(..) => {}
            }
        }
    }

    fn is_simple(&self) -> bool {
        self.flags.strategy == Strategy::SimpleOneForOne
    }

    fn running_with(&self, token: Token) -> Option<usize> {
        self.children
            .iter()
            .position(|child| child.token == token && child.pid().is_some())
    }

    // Erlang's primitives.

    fn act(&self, action: Action) {
        self.desk.borrow_mut().actions.push(action);
    }

    fn now(&self) -> Duration {
        self.desk.borrow().now
    }

    /// The next letter, in order of arrival; also posts retries that are due.
    async fn receive(&mut self) -> Letter {
        poll_fn(|_| {
            self.post_due_retries();
            match self.desk.borrow_mut().mailbox.pop_front() {
                Some(letter) => Poll::Ready(letter),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The first letter that fits, leaving the others where they are.
    async fn select(
        &mut self,
        until: Option<Duration>,
        fits: impl Fn(&Letter) -> bool,
    ) -> Option<Letter> {
        poll_fn(|_| {
            self.post_due_retries();
            let mut desk = self.desk.borrow_mut();
            if let Some(index) = desk.mailbox.iter().position(&fits) {
                return Poll::Ready(desk.mailbox.remove(index));
            }
            match until {
                Some(until) if desk.now >= until => Poll::Ready(None),
                Some(until) => {
                    desk.alarms.push(until);
                    Poll::Pending
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A retry whose time has come is a letter to oneself.
    fn post_due_retries(&mut self) {
        let now = self.now();
        let mut due: Vec<_> = self
            .children
            .iter_mut()
            .filter_map(|child| match child.state {
                State::Restarting(Some(at)) if at <= now => Some((at, child)),
                _ => None,
            })
            .collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, child) in due {
            child.state = State::Restarting(None);
            self.desk
                .borrow_mut()
                .mailbox
                .push_back(Letter::Retry(child.token));
        }
        let waiting = self.children.iter().filter_map(|child| match child.state {
            State::Restarting(at) => at,
            _ => None,
        });
        let waiting: Vec<_> = waiting.collect();
        self.desk.borrow_mut().alarms.extend(waiting);
    }

    async fn start(&mut self, nth: usize) -> StartEnd {
        let token = {
            let mut desk = self.desk.borrow_mut();
            desk.tokens += 1;
            desk.tokens
        };
        let child = &mut self.children[nth];
        (child.token, child.state) = (token, State::Undefined);
        let (plan, extra) = (child.plan.clone(), child.extra);
        self.act(Action::Start(token, plan, extra));
        let started = self
            .select(
                None,
                |letter| matches!(letter, Letter::Started(of, _) if *of == token),
            )
            .await;
        let Some(Letter::Started(_, end)) = started else {
            unreachable!("only that was asked for")
        };
        if let StartEnd::Ok(pid) = &end {
            let now = self.now();
            let child = &mut self.children[nth];
            (child.state, child.up_since) = (State::Running(*pid), now);
        }
        end
    }

    /// Stops a child if it runs; reports an end that was not to be expected.
    async fn stop(&mut self, nth: usize) {
        if self.children[nth].pid().is_none() {
            return;
        }
        let token = self.children[nth].token;
        let exited = move |letter: &Letter| matches!(letter, Letter::Exited(of, _) if *of == token);
        let dead_already = self.desk.borrow().mailbox.iter().any(exited);
        let limit = self.children[nth].plan.shutdown;
        let mut letter = None;
        if dead_already {
            letter = self.select(None, exited).await;
        } else if limit == Shutdown::BrutalKill {
            self.act(Action::Kill(token));
        } else {
            self.act(Action::Terminate(token));
            if let Shutdown::Timeout(limit) = limit {
                let until = self.now() + limit;
                letter = self.select(Some(until), exited).await;
                if letter.is_none() {
                    self.act(Action::Kill(token));
                }
            }
        }
        if letter.is_none() {
            letter = self.select(None, exited).await;
        }
        let Some(Letter::Exited(_, reason)) = letter else {
            unreachable!("only that was asked for")
        };
        if !as_expected(&self.children[nth].plan, &reason) {
            self.report(ReportContext::ShutdownError, &reason);
        }
        self.children[nth].state = State::Undefined;
    }

    /// Stops those from the newest down to `first`; forgets the temporary ones.
    async fn stop_from(&mut self, first: usize) {
        let mut nth = self.children.len();
        while nth > first {
            nth -= 1;
            self.stop(nth).await;
            self.children[nth].state = State::Undefined;
            if self.children[nth].plan.restart == Restart::Temporary {
                self.children.remove(nth);
            }
        }
    }

    async fn stop_all(&mut self) {
        if !self.is_simple() {
            return self.stop_from(0).await;
        }
        // All at once: ask everybody, wait under one timer, kill the late ones.
        self.children.retain(|child| child.pid().is_some());
        let Some(template) = self.template.clone() else {
            return;
        };
        let dead =
            |letter: &Letter, token: Token| matches!(letter, Letter::Exited(of, _) if *of == token);
        for child in &self.children {
            let gone = self
                .desk
                .borrow()
                .mailbox
                .iter()
                .any(|letter| dead(letter, child.token));
            if !gone {
                self.act(match template.shutdown {
                    Shutdown::BrutalKill => Action::Kill(child.token),
                    _ => Action::Terminate(child.token),
                });
            }
        }
        let mut until = match template.shutdown {
            Shutdown::Timeout(limit) => Some(self.now() + limit),
            _ => None,
        };
        let mut unexpected: Vec<ExitReason> = Vec::new();
        while !self.children.is_empty() {
            let tokens: Vec<Token> = self.children.iter().map(|child| child.token).collect();
            let ours = move |letter: &Letter| tokens.iter().any(|token| dead(letter, *token));
            match self.select(until, ours).await {
                Some(Letter::Exited(token, reason)) => {
                    self.children.retain(|child| child.token != token);
                    if !as_expected(&template, &reason) && !unexpected.contains(&reason) {
                        unexpected.push(reason);
                    }
                }
                _ => {
                    until = None;
                    for child in &self.children {
                        self.act(Action::Kill(child.token));
                    }
                }
            }
        }
        unexpected.sort_by_key(ToString::to_string);
        for reason in unexpected {
            self.report(ReportContext::ShutdownError, &reason);
        }
    }

    fn report(&self, context: ReportContext, reason: &ExitReason) {
        self.act(Action::Report(context, reason.clone()));
    }

    /// Drops a temporary child that ignored, or an instance; tells how far to go on.
    fn settle_ignored(&mut self, nth: usize) -> usize {
        if self.children[nth].plan.restart == Restart::Temporary || self.is_simple() {
            self.children.remove(nth);
            0
        } else {
            1
        }
    }

    // What the end of a child leads to.

    async fn child_ended(&mut self, nth: usize, reason: ExitReason) -> Next {
        let now = self.now();
        let child = &mut self.children[nth];
        let plan = child.plan.clone();
        let ran_well = plan
            .backoff
            .is_none_or(|backoff| now - child.up_since >= backoff.reset_after);
        child.attempts = if ran_well { 1 } else { child.attempts + 1 };
        child.state = State::Undefined;
        let clean = reason.is_clean();
        if plan.restart == Restart::Permanent || !clean {
            self.report(ReportContext::ChildTerminated, &reason);
        }
        if plan.restart == Restart::Permanent || (plan.restart == Restart::Transient && !clean) {
            return match self.delay(nth) {
                Duration::ZERO => self.restart(nth).await,
                delay => {
                    self.children[nth].state = State::Restarting(Some(now + delay));
                    Next::GoOn
                }
            };
        }
        if plan.restart == Restart::Temporary || self.is_simple() {
            self.children.remove(nth);
        }
        if !plan.significant {
            return Next::GoOn;
        }
        let others = self
            .children
            .iter()
            .any(|child| child.plan.significant && child.state != State::Undefined);
        match self.flags.auto_shutdown {
            AutoShutdown::Never => Next::GoOn,
            AutoShutdown::AllSignificant if others => Next::GoOn,
            _ => self.give_up().await,
        }
    }

    async fn give_up(&mut self) -> Next {
        self.stop_all().await;
        Next::End(ExitReason::Shutdown)
    }

    fn delay(&self, nth: usize) -> Duration {
        let child = &self.children[nth];
        child
            .plan
            .backoff
            .map_or(Duration::ZERO, |backoff| backoff.delay(child.attempts, 0.5))
    }

    /// One restart attempt, or the end when it is one too many.
    async fn restart(&mut self, nth: usize) -> Next {
        let now = self.now().as_secs();
        let (list, intensity, period) = match self.children[nth].plan.budget {
            Some(own) => (
                &mut self.children[nth].own_restarts,
                own.intensity,
                own.period,
            ),
            None => (&mut self.restarts, self.flags.intensity, self.flags.period),
        };
        list.push(now);
        list.retain(|second| second + period.as_secs() >= now);
        if list.len() > intensity as usize {
            if let Some(OnExhausted::Abandon) = self.children[nth].plan.budget.map(|own| own.then) {
                self.children[nth].state = State::Undefined;
                return Next::GoOn;
            }
            self.report(
                ReportContext::Shutdown,
                &ExitReason::error("reached_max_restart_intensity"),
            );
            return self.give_up().await;
        }
        match self.flags.strategy {
            Strategy::OneForOne | Strategy::SimpleOneForOne => {
                self.try_start(nth).await;
            }
            Strategy::OneForAll => {
                self.stop_from(0).await;
                self.start_from(0).await;
            }
            Strategy::RestForOne => {
                self.stop_from(nth + 1).await;
                self.start_from(nth).await;
            }
        }
        Next::GoOn
    }

    async fn start_from(&mut self, first: usize) {
        let mut nth = first;
        while nth < self.children.len() {
            match self.try_start(nth).await {
                Some(step) => nth += step,
                None => return,
            }
        }
    }

    /// Starts a child again; marks it and tries again later when that fails.
    async fn try_start(&mut self, nth: usize) -> Option<usize> {
        match self.start(nth).await {
            StartEnd::Ok(_) => Some(1),
            StartEnd::Ignore => Some(self.settle_ignored(nth)),
            StartEnd::Err(reason) => {
                self.report(ReportContext::StartError, &reason);
                self.children[nth].attempts += 1;
                match self.delay(nth) {
                    Duration::ZERO => {
                        self.children[nth].state = State::Restarting(None);
                        self.act(Action::Retry(self.children[nth].token));
                    }
                    delay => self.children[nth].state = State::Restarting(Some(self.now() + delay)),
                }
                None
            }
        }
    }

    // Calls.

    fn position(&self, id: &str) -> Option<usize> {
        self.children.iter().position(|child| *child.plan.id == *id)
    }

    async fn answer(&mut self, ask: Ask) -> Answer {
        match (ask, self.is_simple()) {
            (Ask::Which, simple) => {
                let shown = |child: &Child| {
                    let state = match child.state {
                        State::Running(pid) => Shown::Running(pid),
                        State::Restarting(_) => Shown::Restarting,
                        State::Undefined => Shown::Undefined,
                    };
                    ((!simple).then(|| child.plan.id.clone()), state)
                };
                Answer::Children(self.children.iter().rev().map(shown).collect())
            }
            (Ask::Count, simple) => {
                let active = self
                    .children
                    .iter()
                    .filter(|child| child.pid().is_some())
                    .count();
                let is_supervisor = |child: &&Child| matches!(child.plan.kind, Kind::Supervisor(_));
                let supervisors = self.children.iter().filter(is_supervisor).count();
                let specs = if simple { 1 } else { self.children.len() };
                Answer::Counts(
                    specs,
                    active,
                    supervisors,
                    self.children.len() - supervisors,
                )
            }
            (Ask::Change(flags, plans), simple) => self.change(flags, plans, simple),
            (Ask::TerminatePid(pid, alive), true) => {
                match self
                    .children
                    .iter()
                    .position(|child| child.pid() == Some(pid))
                {
                    Some(nth) => {
                        self.stop(nth).await;
                        self.children.remove(nth);
                        Answer::Done
                    }
                    None if alive => Answer::NotFound,
                    None => Answer::Done,
                }
            }
            (Ask::TerminatePid(..), false) => Answer::NotFound,
            (Ask::StartInstance(number), true) => self.start_instance(number).await,
            (Ask::StartInstance(_), false) => Answer::NotSimple,
            (_, true) => Answer::Simple,
            (Ask::StartChild(plan), false) => self.start_child(plan).await,
            (Ask::Terminate(id), false) => self.terminate(&id).await,
            (Ask::Restart(id), false) => match self.idle(&id) {
                Ok(nth) => self.restart_child(nth).await,
                Err(answer) => answer,
            },
            (Ask::Delete(id), false) => match self.idle(&id) {
                Ok(nth) => {
                    self.children.remove(nth);
                    Answer::Done
                }
                Err(answer) => answer,
            },
        }
    }

    fn idle(&self, id: &str) -> Result<usize, Answer> {
        let nth = self.position(id).ok_or(Answer::NotFound)?;
        match self.children[nth].state {
            State::Running(_) => Err(Answer::Running),
            State::Restarting(_) => Err(Answer::Restarting),
            State::Undefined => Ok(nth),
        }
    }

    fn is_valid(&self, plan: &ChildPlan) -> bool {
        !plan.significant
            || (plan.restart != Restart::Permanent
                && self.flags.auto_shutdown != AutoShutdown::Never)
    }

    async fn start_child(&mut self, plan: Arc<ChildPlan>) -> Answer {
        if !self.is_valid(&plan) {
            return Answer::Invalid;
        }
        if let Some(nth) = self.position(&plan.id) {
            return self.children[nth]
                .pid()
                .map_or(Answer::AlreadyPresent, Answer::AlreadyStarted);
        }
        self.children.push(Child::new(plan, None));
        self.finish_start(Answer::StartFailed).await
    }

    async fn start_instance(&mut self, number: u32) -> Answer {
        let Some(template) = self.template.clone() else {
            return Answer::NotSimple;
        };
        self.children.push(Child::new(template, Some(number)));
        self.finish_start(Answer::StartFailed).await
    }

    async fn finish_start(&mut self, failed: fn(ExitReason) -> Answer) -> Answer {
        let nth = self.children.len() - 1;
        match self.start(nth).await {
            StartEnd::Ok(pid) => Answer::Started(Some(pid)),
            StartEnd::Ignore => {
                self.settle_ignored(nth);
                Answer::Started(None)
            }
            StartEnd::Err(reason) => {
                self.children.pop();
                match reason {
                    ExitReason::AlreadyStarted(pid) => Answer::AlreadyStarted(pid),
                    reason => failed(reason),
                }
            }
        }
    }

    async fn restart_child(&mut self, nth: usize) -> Answer {
        match self.start(nth).await {
            StartEnd::Ok(pid) => Answer::Started(Some(pid)),
            StartEnd::Ignore => {
                self.settle_ignored(nth);
                Answer::Started(None)
            }
            StartEnd::Err(ExitReason::AlreadyStarted(pid)) => Answer::AlreadyStarted(pid),
            StartEnd::Err(reason) => Answer::StartFailed(reason),
        }
    }

    async fn terminate(&mut self, id: &str) -> Answer {
        let Some(nth) = self.position(id) else {
            return Answer::NotFound;
        };
        self.stop(nth).await;
        self.children[nth].state = State::Undefined;
        if self.children[nth].plan.restart == Restart::Temporary {
            self.children.remove(nth);
        }
        Answer::Done
    }

    fn change(&mut self, flags: Flags, plans: Vec<Arc<ChildPlan>>, simple: bool) -> Answer {
        let refused = |plan: &Arc<ChildPlan>| {
            plan.significant
                && (plan.restart == Restart::Permanent
                    || flags.auto_shutdown == AutoShutdown::Never)
        };
        if plans.iter().any(refused) {
            return Answer::Invalid;
        }
        self.flags = flags;
        if simple {
            for child in &mut self.children {
                child.plan = plans[0].clone();
            }
            self.template = Some(plans[0].clone());
            return Answer::Done;
        }
        let mut old = std::mem::take(&mut self.children);
        for plan in plans {
            match old.iter().position(|child| child.plan.id == plan.id) {
                Some(nth) => {
                    let mut child = old.remove(nth);
                    child.plan = plan;
                    self.children.push(child);
                }
                None => self.children.push(Child::new(plan, None)),
            }
        }
        self.children.append(&mut old);
        Answer::Done
    }
}

/// Whether a stop went as it should.
fn as_expected(plan: &ChildPlan, reason: &ExitReason) -> bool {
    let asked = match plan.shutdown {
        Shutdown::BrutalKill => ExitReason::Killed,
        _ => ExitReason::Shutdown,
    };
    *reason == asked || (plan.restart != Restart::Permanent && reason.is_clean())
}
