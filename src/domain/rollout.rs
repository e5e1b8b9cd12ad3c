//! The state machine of one operation on an app: steps in batches, each begun, awaited, and accounted for.
//!
//! No clock and no I/O: the rollout actor feeds it events and carries out what it returns.

use crate::domain::plan::Step;
use crate::domain::view::OperationState;
use std::time::Duration;

/// What happens to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step ended as wanted.
    Done(usize),
    /// A step failed, and why.
    Failed(usize, String),
    /// An operator cancelled it, or a newer operation took its place.
    Cancel(String),
    /// The monotonic clock stands at this.
    Tick(Duration),
}

/// What the actor has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin this step.
    Begin(usize),
    /// The operation has ended; the text says why it did not succeed.
    Finish(OperationState, Option<String>),
}

/// Steps of one operation and where each stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What is to be done.
    pub steps: Vec<Step>,
    /// Where each step stands.
    pub states: Vec<OperationState>,
    batches: Vec<Vec<usize>>,
    batch: usize,
    deadlines: Vec<Duration>,
    last_progress: Duration,
    finished: bool,
}

impl Machine {
    /// A machine that has not begun. `deadlines`: the operation has failed when no step has ended for as long as
    /// the most patient of those in progress allows.
    pub fn new(steps: Vec<Step>, batches: Vec<Vec<usize>>, deadlines: Vec<Duration>) -> Self {
        let states = vec![OperationState::Pending; steps.len()];
        Self {
            steps,
            states,
            batches,
            batch: 0,
            deadlines,
            last_progress: Duration::ZERO,
            finished: false,
        }
    }

    /// Begins at `now` on the monotonic clock.
    pub fn begin(&mut self, now: Duration) -> Vec<Action> {
        self.last_progress = now;
        self.enter_batch()
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Takes one event. Late news about an operation that has ended changes nothing.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        if self.finished {
            return Vec::new();
        }
        match event {
            Event::Done(index) => self.done(index, now),
            Event::Failed(index, why) => {
                if let Some(state) = self.states.get_mut(index) {
                    *state = OperationState::Failed;
                }
                self.finish(OperationState::Failed, Some(why))
            }
            Event::Cancel(why) => self.finish(OperationState::Cancelled, Some(why)),
            Event::Tick(at) if at.saturating_sub(self.last_progress) > self.deadline() => {
                let why = format!(
                    "no progress for {}s: {}",
                    self.deadline().as_secs(),
                    self.waiting_for()
                );
                for state in &mut self.states {
                    if *state == OperationState::Running {
                        *state = OperationState::Failed;
                    }
                }
                self.finish(OperationState::Failed, Some(why))
            }
            Event::Tick(_) => Vec::new(),
        }
    }

    fn done(&mut self, index: usize, now: Duration) -> Vec<Action> {
        match self.states.get_mut(index) {
            Some(state) if *state == OperationState::Running => *state = OperationState::Succeeded,
            _ => return Vec::new(),
        }
        self.last_progress = now;
        let batch_done = self.batches[self.batch]
            .iter()
            .all(|&i| self.states[i] == OperationState::Succeeded);
        if batch_done {
            self.batch += 1;
            self.enter_batch()
        } else {
            Vec::new()
        }
    }

    fn enter_batch(&mut self) -> Vec<Action> {
        let Some(batch) = self.batches.get(self.batch) else {
            return self.finish(OperationState::Succeeded, None);
        };
        for &index in batch {
            self.states[index] = OperationState::Running;
        }
        batch.iter().map(|&index| Action::Begin(index)).collect()
    }

    /// The longest deadline of the steps in progress.
    fn deadline(&self) -> Duration {
        let running = self.states.iter().zip(&self.deadlines);
        let running = running.filter(|(state, _)| **state == OperationState::Running);
        let longest = running.map(|(_, deadline)| *deadline).max();
        longest.unwrap_or(Duration::MAX)
    }

    fn waiting_for(&self) -> String {
        let names: Vec<String> = self
            .steps
            .iter()
            .zip(&self.states)
            .filter(|(_, state)| **state == OperationState::Running)
            .map(|(step, _)| step.instance.to_string())
            .collect();
        format!("waiting for {}", names.join(", "))
    }

    fn finish(&mut self, state: OperationState, why: Option<String>) -> Vec<Action> {
        self.finished = true;
        for step in &mut self.states {
            if !step.is_final() {
                *step = OperationState::Cancelled;
            }
        }
        vec![Action::Finish(state, why)]
    }
}
