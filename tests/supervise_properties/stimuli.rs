//! What is done to the tree: stimuli find a place, and become a blow or a call.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::{ExitReason, Flags, Pid};

use crate::letters::{Ask, Blow, Letter};
use crate::plan::{ChildPlan, End, Kind, Stimulus, What};
use crate::world::{Happening, World, below_root};

impl World {
    pub fn stimulate(&mut self, nth: usize) {
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

    pub fn next_stimulus(&mut self, nth: usize) {
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
