//! The reference model as a brain of the world: a program that is resumed when
//! a letter comes or a time is reached.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lain::actors::supervise::ExitReason;

use crate::letters::{Action, Answer, Brain, Letter, Token};
use crate::plan::SupPlan;
use crate::reference::Supervisor;

/// What the model shares with the world: clock, mailbox, deeds.
#[derive(Default)]
pub struct Desk {
    pub now: Duration,
    pub mailbox: VecDeque<Letter>,
    pub actions: Vec<Action>,
    /// When to look again although no letter came.
    pub alarms: Vec<Duration>,
    pub tokens: Token,
}

pub type Shared = std::rc::Rc<RefCell<Desk>>;

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
