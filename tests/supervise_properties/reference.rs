//! The reference model: a supervisor written as one would write it in Erlang.
//!
//! Straight-line code that waits where it has to, over a plain list of children
//! and a plain list of restart times. Made from the rules in
//! `docs/supervision.md`, without a look at the state machine.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lain::actors::supervise::{
    AutoShutdown, ExitReason, Flags, OnExhausted, Pid, ReportContext, Restart, Shutdown, Strategy,
};

use crate::letters::{Action, Letter, StartEnd, Token};
use crate::plan::{ChildPlan, SupPlan};
use crate::reference_brain::Shared;

pub struct Child {
    pub plan: Arc<ChildPlan>,
    pub extra: Option<u32>,
    pub state: State,
    /// The token of its last start.
    pub token: Token,
    pub attempts: u32,
    pub up_since: Duration,
    pub own_restarts: Vec<u64>,
}

#[derive(Clone, PartialEq)]
pub enum State {
    Running(Pid),
    /// With the time of a retry that waits for it.
    Restarting(Option<Duration>),
    Undefined,
}

impl Child {
    pub fn new(plan: Arc<ChildPlan>, extra: Option<u32>) -> Self {
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

    pub fn pid(&self) -> Option<Pid> {
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

pub struct Supervisor {
    pub desk: Shared,
    pub flags: Flags,
    pub children: Vec<Child>,
    pub restarts: Vec<u64>,
    pub template: Option<Arc<ChildPlan>>,
}

impl Supervisor {
    pub async fn run(mut self, plan: Arc<SupPlan>) -> ExitReason {
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

    pub fn is_simple(&self) -> bool {
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

    pub async fn start(&mut self, nth: usize) -> StartEnd {
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
    pub async fn stop(&mut self, nth: usize) {
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
    pub fn settle_ignored(&mut self, nth: usize) -> usize {
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
}

/// Whether a stop went as it should.
fn as_expected(plan: &ChildPlan, reason: &ExitReason) -> bool {
    let asked = match plan.shutdown {
        Shutdown::BrutalKill => ExitReason::Killed,
        _ => ExitReason::Shutdown,
    };
    *reason == asked || (plan.restart != Restart::Permanent && reason.is_clean())
}
