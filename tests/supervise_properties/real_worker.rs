//! The workers of schedules on real actors, and the specifications of plans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use lain::actors::supervise::{
    Birth, Child, ChildSpec, Cleanup, Context, ExitReason, Init, Pid, SupervisorSpec,
};

use crate::plan::{ChildPlan, End, Kind, Start, Stop, SupPlan};

#[derive(Default)]
pub struct Register {
    pub starts: BTreeMap<String, u32>,
    pub alive: BTreeMap<String, i32>,
}

#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Register>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
pub struct Part {
    pub path: String,
    pub starts: Arc<[Start]>,
    pub takes: u32,
    pub stop: Stop,
    pub shared: Shared,
}

pub struct Worker(pub Part);

impl Drop for Worker {
    fn drop(&mut self) {
        *self
            .0
            .shared
            .lock()
            .alive
            .entry(self.0.path.clone())
            .or_default() -= 1;
    }
}

impl actix::Actor for Worker {
    type Context = Context<Self>;
}

impl Child for Worker {
    type Args = Part;

    async fn init(part: Part, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let nth = {
            let mut register = part.shared.lock();
            let count = register.starts.entry(part.path.clone()).or_default();
            *count += 1;
            *count as usize - 1
        };
        if part.takes > 0 {
            tokio::time::sleep(Duration::from_millis(part.takes.into())).await;
        }
        match part.starts.get(nth).copied().unwrap_or(Start::Run) {
            Start::Run => {
                *part
                    .shared
                    .lock()
                    .alive
                    .entry(part.path.clone())
                    .or_default() += 1;
                Ok(Init::Ready(Self(part)))
            }
            Start::Ignore => Ok(Init::Ignore),
            Start::Fail => Err(ExitReason::error("start")),
            Start::AlreadyStarted => Err(ExitReason::AlreadyStarted(Pid::from_u64(0))),
        }
    }

    fn terminate(&mut self, reason: &ExitReason, _: &mut Self::Context) -> Cleanup {
        // An end of its own takes no time.
        if !matches!(reason, ExitReason::Shutdown | ExitReason::Killed)
            || self.0.stop == Stop::Within(0)
        {
            return None;
        }
        let stop = self.0.stop;
        Some(Box::pin(async move {
            match stop {
                Stop::Within(millis) | Stop::Normal(millis) => sleep(millis).await,
                Stop::WithError(millis) => {
                    sleep(millis).await;
                    panic!("stop");
                }
                Stop::Deaf => std::future::pending().await,
            }
        }))
    }
}

pub async fn sleep(millis: u32) {
    tokio::time::sleep(Duration::from_millis(millis.into())).await;
}

#[derive(Message)]
#[rtype(result = "()")]
pub struct EndWith(pub End);

impl Handler<EndWith> for Worker {
    type Result = ();

    fn handle(&mut self, EndWith(end): EndWith, ctx: &mut Self::Context) {
        self.0.stop = Stop::Within(0);
        match end {
            End::Normal => ctx.exit(ExitReason::Normal),
            End::Shutdown => ctx.exit(ExitReason::Shutdown),
            End::Error => panic!("crash"),
        }
    }
}

pub fn join(above: &str, id: &str) -> String {
    if above.is_empty() {
        id.to_owned()
    } else {
        format!("{above}/{id}")
    }
}

pub fn part(plan: &ChildPlan, path: String, shared: &Shared) -> Option<Part> {
    let Kind::Worker {
        starts,
        start_takes,
        stop,
    } = &plan.kind
    else {
        return None;
    };
    let starts = starts.clone().into();
    Some(Part {
        path,
        starts,
        takes: *start_takes,
        stop: *stop,
        shared: shared.clone(),
    })
}

pub fn dressed(spec: ChildSpec, plan: &ChildPlan) -> ChildSpec {
    let spec = spec
        .restart(plan.restart)
        .significant(plan.significant)
        .shutdown(plan.shutdown);
    match plan.budget {
        Some(budget) => spec.budget(budget),
        None => spec,
    }
}

pub fn spec(plan: &ChildPlan, above: &str, shared: &Shared) -> ChildSpec {
    let path = join(above, &plan.id);
    let spec = match (&plan.kind, part(plan, path.clone(), shared)) {
        (_, Some(part)) => ChildSpec::worker::<Worker>(&*plan.id, part),
        (Kind::Supervisor(below), None) => {
            ChildSpec::supervisor(&*plan.id, supervisor(below, &path, shared))
        }
        (Kind::Worker { .. }, None) => unreachable!("workers have a part"),
    };
    dressed(spec, plan)
}

pub fn template(plan: &ChildPlan, above: &str, shared: &Shared) -> ChildSpec {
    let above = above.to_owned();
    let spec = match (&plan.kind, part(plan, String::new(), shared)) {
        (_, Some(part)) => ChildSpec::template::<Worker, u32, _>(&*plan.id, move |number| Part {
            path: join(&above, &format!("#{number}")),
            ..part.clone()
        }),
        (Kind::Supervisor(below), None) => {
            let (below, shared) = (below.clone(), shared.clone());
            ChildSpec::supervisor_template::<u32, _>(&*plan.id, move |number| {
                supervisor(&below, &join(&above, &format!("#{number}")), &shared)
            })
        }
        (Kind::Worker { .. }, None) => unreachable!("workers have a part"),
    };
    dressed(spec, plan)
}

pub fn child(plan: &ChildPlan, simple: bool, above: &str, shared: &Shared) -> ChildSpec {
    if simple {
        template(plan, above, shared)
    } else {
        spec(plan, above, shared)
    }
}

pub fn supervisor(plan: &SupPlan, path: &str, shared: &Shared) -> SupervisorSpec {
    let simple = plan.is_simple();
    let children = plan
        .children
        .iter()
        .map(|plan| child(plan, simple, path, shared))
        .collect();
    SupervisorSpec {
        flags: plan.flags,
        children,
    }
}
