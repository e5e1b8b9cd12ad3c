//! How a supervisor is described and started: its flags and children, or a
//! callback that says them anew at each start.
//!
//! Used by whoever declares a tree; the task that runs a supervisor is in
//! [`super::supervisor`].

use std::any::type_name;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::child::Extra;
use super::node::Target;
use super::panics;
use super::reason::ExitReason;
use super::spec::{ChildSpec, ChildType, Flags};
use super::start::{Delivery, Factory, Start};
use super::supervisor::{Shared, SupervisorTask};

/// What a supervisor starts with.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    /// Its flags.
    pub flags: Flags,
    /// Its initial children, in start order; for simple_one_for_one, the template.
    pub children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// A supervisor with these flags and no children yet.
    pub fn new(flags: Flags) -> Self {
        Self {
            flags,
            children: Vec::new(),
        }
    }

    /// Adds a child.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }
}

/// What a supervisor's init callback returns, when it does not fail.
#[derive(Debug)]
pub enum SupervisorInit {
    /// Run with this.
    Run(SupervisorSpec),
    /// There is nothing to supervise (rule 2).
    Ignore,
}

impl From<SupervisorSpec> for SupervisorInit {
    fn from(spec: SupervisorSpec) -> Self {
        Self::Run(spec)
    }
}

pub(crate) type InitFuture = Pin<Box<dyn Future<Output = Result<SupervisorInit, ExitReason>>>>;

/// The callback behind a supervisor; evaluated at each start and at each reload.
pub(crate) type InitCallback = Arc<dyn Fn() -> InitFuture + Send + Sync>;

struct SupervisorFactory<F> {
    init: F,
    name: &'static str,
}

impl<F> Factory for SupervisorFactory<F>
where
    F: Fn(Option<Extra>) -> InitCallback + Send + Sync,
{
    fn deliver(&self, delivery: Delivery) {
        let Delivery {
            life,
            tree,
            extra,
            dedicated,
            ..
        } = delivery;
        let begun = panics::contain(|| {
            let callback = (self.init)(extra);
            let init = callback();
            (callback, init)
        });
        match begun {
            Ok((callback, init)) => {
                let shared = Shared::new(life.cell.clone(), tree, callback);
                life.cell
                    .node
                    .publish(&life.cell, Target::Supervisor(shared.clone()));
                drop(actix::spawn(SupervisorTask::new(
                    life,
                    shared,
                    Some(init),
                    dedicated,
                )));
            }
            Err(payload) => life.cell.finish(panics::describe(payload, "init")),
        }
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl ChildSpec<Start> {
    /// A supervisor with these flags and children.
    pub fn supervisor(id: impl Into<super::ChildId>, spec: SupervisorSpec) -> Self {
        Self::supervisor_with(id, move || std::future::ready(Ok(spec.clone().into())))
    }

    /// A supervisor whose flags and children come from a callback, evaluated at
    /// every start of it and at [`super::SupervisorRef::reload`].
    pub fn supervisor_with<F, Fut>(id: impl Into<super::ChildId>, init: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SupervisorInit, ExitReason>> + 'static,
    {
        let callback: InitCallback = Arc::new(move || Box::pin(init()) as InitFuture);
        let init = move |_: Option<Extra>| callback.clone();
        let start = Start::new(SupervisorFactory {
            init,
            name: type_name::<F>(),
        });
        Self::new(id, ChildType::Supervisor, start)
    }

    /// The template of a simple_one_for_one supervisor whose instances are
    /// supervisors, made from what `start_instance` was given.
    pub fn supervisor_template<X, F>(id: impl Into<super::ChildId>, spec: F) -> Self
    where
        X: Send + Sync + 'static,
        F: Fn(&X) -> SupervisorSpec + Send + Sync + 'static,
    {
        let spec = Arc::new(spec);
        let init = move |extra: Option<Extra>| -> InitCallback {
            let spec = spec.clone();
            Arc::new(move || {
                let made = extra
                    .as_ref()
                    .and_then(|extra| extra.downcast_ref::<X>())
                    .map(&*spec);
                let wrong = || {
                    let wanted = type_name::<X>();
                    ExitReason::Error(format!("an instance needs arguments of type {wanted}"))
                };
                Box::pin(std::future::ready(
                    made.map(SupervisorInit::Run).ok_or_else(wrong),
                ))
            })
        };
        let start = Start::new(SupervisorFactory {
            init,
            name: type_name::<F>(),
        });
        Self::new(id, ChildType::Supervisor, start)
    }
}
