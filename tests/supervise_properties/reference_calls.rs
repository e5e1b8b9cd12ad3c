//! The reference model's answers to calls (section 3 of the rules).

use std::sync::Arc;

use lain::actors::supervise::{AutoShutdown, ExitReason, Flags, Restart};

use crate::letters::{Answer, Ask, Shown, StartEnd};
use crate::plan::{ChildPlan, Kind};
use crate::reference::{Child, State, Supervisor};

impl Supervisor {
    fn position(&self, id: &str) -> Option<usize> {
        self.children.iter().position(|child| *child.plan.id == *id)
    }

    pub async fn answer(&mut self, ask: Ask) -> Answer {
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
