//! The state machine of one operation on an app: steps in stages, each begun, awaited, and accounted for.
//!
//! No clock and no I/O: the rollout actor feeds it events and carries out what it returns.

use crate::domain::id::InstanceId;
use crate::domain::plan::{Stage, Step};
use crate::domain::spec::model::Window;
use crate::domain::view::{OperationState, PlanAction};
use std::time::Duration;

/// What happens to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The new container of a step serves, and clients are no longer sent to the old one, which is on its way out.
    Serving(usize),
    /// A step ended as wanted.
    Done(usize),
    /// A step failed, and why.
    Failed(usize, String),
    /// What was updated first has failed while it was watched.
    CanaryFailed(String),
    /// What was updated first is good: go on.
    Promote,
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
    /// What is updated first is up: wait for [`Event::Promote`].
    Wait,
    /// The operation has ended; the text says why it did not succeed.
    Finish(OperationState, Option<String>),
}

/// What the old containers are given to be drained and stopped in: more than the longest times that `lain.yaml` allows.
const LEAVING: Duration = Duration::from_secs(600);

/// Whether an instance serves now, as far as is known.
pub type Available<'a> = &'a dyn Fn(&InstanceId) -> bool;

/// Steps of one operation and where each stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What is to be done.
    pub steps: Vec<Step>,
    /// Where each step stands.
    pub states: Vec<OperationState>,
    /// Steps that were in progress when the operation ended before its time.
    pub cut_off: Vec<usize>,
    stages: Vec<Stage>,
    stage: usize,
    /// The stage that waits for promotion.
    gate: Option<usize>,
    waiting: bool,
    /// Steps whose new container serves already.
    serving: Vec<bool>,
    deadlines: Vec<Duration>,
    last_progress: Duration,
    finished: bool,
}

impl Machine {
    /// A machine that has not begun. `deadlines`: the operation has failed when nothing has moved for as long as
    /// the most patient of the steps in progress allows.
    pub fn new(steps: Vec<Step>, stages: Vec<Stage>, deadlines: Vec<Duration>) -> Self {
        let states = vec![OperationState::Pending; steps.len()];
        Self {
            serving: vec![false; steps.len()],
            steps,
            states,
            cut_off: Vec::new(),
            stages,
            stage: 0,
            gate: None,
            waiting: false,
            deadlines,
            last_progress: Duration::ZERO,
            finished: false,
        }
    }

    /// The same, waiting for promotion before it enters this stage.
    pub fn gated(mut self, stage: usize) -> Self {
        self.gate = Some(stage);
        self
    }

    /// Begins at `now` on the monotonic clock.
    pub fn begin(&mut self, now: Duration, available: Available<'_>) -> Vec<Action> {
        self.last_progress = now;
        self.enter_stage(available)
    }

    /// Whether it waits for promotion.
    pub fn is_waiting(&self) -> bool {
        self.waiting && !self.finished
    }

    /// The step in progress on an instance.
    pub fn running(&self, id: &InstanceId) -> Option<usize> {
        let of = |i: &usize| {
            self.states[*i] == OperationState::Running && &self.steps[*i].instance == id
        };
        (0..self.steps.len()).find(of)
    }

    /// Takes one event. Late news about an operation that has ended changes nothing.
    pub fn on(&mut self, event: Event, now: Duration, available: Available<'_>) -> Vec<Action> {
        if self.finished {
            return Vec::new();
        }
        match event {
            Event::Serving(index) => {
                let running = self.states.get(index) == Some(&OperationState::Running);
                if !running || std::mem::replace(&mut self.serving[index], true) {
                    return Vec::new();
                }
                self.last_progress = now;
                self.fill(available)
            }
            Event::Done(index) => self.done(index, now, available),
            Event::Failed(index, why) => {
                if let Some(state) = self.states.get_mut(index) {
                    *state = OperationState::Failed;
                }
                self.finish(OperationState::Failed, Some(why))
            }
            Event::CanaryFailed(why) if self.waiting => {
                self.finish(OperationState::Failed, Some(why))
            }
            Event::Promote if self.waiting => {
                (self.waiting, self.gate) = (false, None);
                self.last_progress = now;
                self.enter_stage(available)
            }
            // Promoted before it was asked for: it will not be.
            Event::Promote => {
                self.gate = None;
                Vec::new()
            }
            Event::Cancel(why) => self.finish(OperationState::Cancelled, Some(why)),
            Event::Tick(at) if at.saturating_sub(self.last_progress) > self.deadline() => {
                self.too_late()
            }
            Event::CanaryFailed(_) => Vec::new(),
            // What was unavailable may be back.
            Event::Tick(_) => self.fill(available),
        }
    }

    fn too_late(&mut self) -> Vec<Action> {
        let why = format!(
            "no progress for {}s: {}",
            self.deadline().as_secs(),
            self.waiting_for()
        );
        let actions = self.finish(OperationState::Failed, Some(why));
        for &index in &self.cut_off {
            self.states[index] = OperationState::Failed;
        }
        actions
    }

    fn in_progress(&self) -> impl Iterator<Item = usize> + '_ {
        let states = self.states.iter().enumerate();
        states
            .filter(|(_, state)| **state == OperationState::Running)
            .map(|(index, _)| index)
    }

    fn done(&mut self, index: usize, now: Duration, available: Available<'_>) -> Vec<Action> {
        match self.states.get_mut(index) {
            Some(state) if *state == OperationState::Running => *state = OperationState::Succeeded,
            _ => return Vec::new(),
        }
        self.last_progress = now;
        let stage = &self.stages[self.stage];
        let is_done = |&i: &usize| self.states[i] == OperationState::Succeeded;
        if stage.steps.iter().all(is_done) {
            self.stage += 1;
            return self.enter_stage(available);
        }
        self.fill(available)
    }

    fn enter_stage(&mut self, available: Available<'_>) -> Vec<Action> {
        if self.gate == Some(self.stage) {
            self.waiting = true;
            return vec![Action::Wait];
        }
        match self.stages.get(self.stage) {
            Some(_) => self.fill(available),
            None => self.finish(OperationState::Succeeded, None),
        }
    }

    /// Begins what there is room for in the stage.
    fn fill(&mut self, available: Available<'_>) -> Vec<Action> {
        let Some(stage) = self.stages.get(self.stage).filter(|_| !self.waiting) else {
            return Vec::new();
        };
        let pending = |i: &usize| self.states[*i] == OperationState::Pending;
        let pending: Vec<usize> = stage.steps.iter().copied().filter(pending).collect();
        let begun = match stage.window {
            None => pending.into_iter().map(|i| (i, false)).collect(),
            Some(window) => self.choose(window, &stage.steps, pending, available),
        };
        for &(index, stop_first) in &begun {
            self.states[index] = OperationState::Running;
            self.steps[index].stop_first = stop_first;
        }
        let begun = begun.into_iter();
        begun.map(|(index, _)| Action::Begin(index)).collect()
    }

    /// Which steps the window has room for, and whether each stops the old one first.
    ///
    /// Those on their way count until the new container serves. One that is not available anyway is replaced first,
    /// and costs nothing but its place; what else is stopped first counts with those that are down.
    fn choose(
        &self,
        window: Window,
        all: &[usize],
        pending: Vec<usize>,
        available: Available<'_>,
    ) -> Vec<(usize, bool)> {
        let under_way =
            |i: &&usize| self.states[**i] == OperationState::Running && !self.serving[**i];
        let (mut surge, mut down) = (0, 0);
        for &index in all.iter().filter(under_way) {
            match self.steps[index].stop_first {
                true => down += 1,
                false => surge += 1,
            }
        }
        let serves = |i: &usize| available(&self.steps[*i].instance);
        let (up, lost): (Vec<usize>, Vec<usize>) = pending.into_iter().partition(serves);
        // Those that are down count until they are up again, whoever brought them down.
        let replaced =
            |i: &&usize| self.states[**i] == OperationState::Succeeded || self.serving[**i];
        let fallen = all.iter().filter(replaced).filter(|i| !serves(i)).count();
        let mut missing = down + u32::try_from(lost.len() + fallen).unwrap_or(u32::MAX);
        let room = window.surge.saturating_add(window.unavailable);
        let mut begun = Vec::new();
        for index in lost {
            if surge + down < room {
                down += 1;
                begun.push((index, true));
            }
        }
        for index in up {
            // A restart in place takes one away, whatever the window says: one after another at least.
            let restarts = self.steps[index].action == PlanAction::Restart;
            let most = match restarts {
                true => window.unavailable.max(1),
                false => window.unavailable,
            };
            if !restarts && surge < window.surge && surge + down < room {
                surge += 1;
                begun.push((index, false));
            } else if missing < most && surge + down < room {
                (missing, down) = (missing + 1, down + 1);
                begun.push((index, true));
            }
        }
        begun
    }

    /// The longest deadline of the steps in progress, or of the stage where none can be begun.
    fn deadline(&self) -> Duration {
        if self.waiting {
            return Duration::MAX;
        }
        let coming = self.in_progress().filter(|index| !self.serving[*index]);
        let longest = coming.map(|index| self.deadlines[index]).max();
        if longest.is_none() && self.in_progress().next().is_some() {
            return LEAVING;
        }
        let of_stage = || {
            let steps = self.stages.get(self.stage).into_iter();
            let steps = steps.flat_map(|stage| &stage.steps);
            steps.map(|&index| self.deadlines[index]).max()
        };
        longest.or_else(of_stage).unwrap_or(Duration::MAX)
    }

    fn waiting_for(&self) -> String {
        if self.in_progress().next().is_none() {
            return "too few instances are available to go on".to_owned();
        }
        let names: Vec<String> = self
            .in_progress()
            .map(|index| self.steps[index].instance.to_string())
            .collect();
        format!("waiting for {}", names.join(", "))
    }

    fn finish(&mut self, state: OperationState, why: Option<String>) -> Vec<Action> {
        self.finished = true;
        self.cut_off = self.in_progress().collect();
        for step in &mut self.states {
            if !step.is_final() {
                *step = OperationState::Cancelled;
            }
        }
        vec![Action::Finish(state, why)]
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
