//! What can be asked of a supervisor, and its answers (section 3).

use std::sync::Arc;
use std::time::Duration;

use super::operation::Op;
use super::{ChildState, Effect, Key, Machine, Note, Payload, StartResult, Why};
use crate::actors::supervise::Pid;
use crate::actors::supervise::reason::{ExitReason, Info};
use crate::actors::supervise::spec::{
    ChildId, ChildSpec, ChildType, Flags, InitError, Restart, SpecError,
};

/// A request to a supervisor.
#[derive(Debug)]
pub enum Request<P: Payload> {
    /// Add a child and start it.
    StartChild(Box<ChildSpec<P::Start>>),
    /// Add an instance of the template, with arguments of its own.
    StartInstance(Option<P::Extra>),
    /// Stop a child; a temporary one is forgotten.
    Terminate(ChildId),
    /// Stop an instance of the template.
    TerminatePid(Pid),
    /// Start a child that does not run.
    Restart(ChildId),
    /// Forget a child that does not run.
    Delete(ChildId),
    /// List the children, newest first.
    Which,
    /// Count the children.
    Count,
    /// The specification of a child.
    GetSpec(ChildId),
    /// The template, by the pid of one of its instances.
    GetSpecOf(Pid),
    /// Replace flags and specifications at run time (rule 13).
    Change(Flags, Vec<ChildSpec<P::Start>>),
}

/// The answer to a request that went well.
#[derive(Debug)]
pub enum Reply<P: Payload> {
    /// The child runs (or ignored, without a pid), with what its start had to tell.
    Started(Option<Pid>, Option<Info>),
    /// Done.
    Done,
    /// The pid is no instance: an error if it is alive, nothing to do if not.
    Stranger,
    /// The children, newest first.
    Children(Vec<ChildInfo>),
    /// Their counts.
    Counts(Counts),
    /// A specification with its defaults filled in.
    Spec(Arc<ChildSpec<P::Start>>),
}

/// One child in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildInfo {
    /// Its id; none for an instance of a template.
    pub id: Option<ChildId>,
    /// What it is doing.
    pub state: ChildState,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// The modules named in its specification; `None` means the start's own.
    pub modules: Option<Arc<[String]>>,
}

/// What `count_children` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Specifications known; 1 for a template.
    pub specs: usize,
    /// Children that run.
    pub active: usize,
    /// Supervisors, alive or not.
    pub supervisors: usize,
    /// Workers, alive or not.
    pub workers: usize,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A child of this id runs.
    #[error("already_started as {0}")]
    AlreadyStarted(Pid),
    /// A child of this id is known but does not run; restart or delete it.
    #[error("already_present")]
    AlreadyPresent,
    /// The specification is not valid.
    #[error(transparent)]
    Spec(SpecError),
    /// The child did not start; its specification was not kept.
    #[error("child {child} did not start: {reason}")]
    StartFailed {
        /// Why.
        reason: ExitReason,
        /// The child.
        child: ChildId,
    },
    /// The instance, or the child that was to be restarted, did not start.
    #[error("did not start: {0}")]
    Start(ExitReason),
    /// No such child.
    #[error("not_found")]
    NotFound,
    /// The child runs.
    #[error("running")]
    Running,
    /// The child waits for a restart.
    #[error("restarting")]
    Restarting,
    /// Not possible with a template; address instances by pid.
    #[error("simple_one_for_one")]
    SimpleOneForOne,
    /// Only possible with a template.
    #[error("not_simple_one_for_one")]
    NotSimpleOneForOne,
    /// The new flags or specifications are not valid; nothing changed.
    #[error(transparent)]
    Init(InitError),
    /// The supervisor ended before it answered.
    #[error("the supervisor ended: {0}")]
    Exited(ExitReason),
    /// There is no such supervisor.
    #[error("noproc")]
    NoProc,
}

impl<P: Payload> Machine<P> {
    pub(super) fn serve_call(
        &mut self,
        caller: P::Caller,
        request: Request<P>,
        out: &mut Vec<Effect<P>>,
    ) {
        let simple = self.is_simple();
        let answer = match request {
            Request::StartChild(spec) if !simple => return self.start_child(caller, *spec, out),
            Request::StartInstance(extra) if simple => {
                return self.start_instance(caller, extra, out);
            }
            Request::Terminate(id) if !simple => match self.ids.get(&id) {
                Some(key) => return self.terminate(caller, *key),
                None => Err(CallError::NotFound),
            },
            Request::TerminatePid(pid) => match self.pids.get(&pid) {
                Some(key) => return self.terminate(caller, *key),
                None if simple => Ok(Reply::Stranger),
                None => Err(CallError::NotFound),
            },
            Request::Restart(id) if !simple => match self.restartable(&id) {
                Ok(key) => {
                    self.op = Some(Op::AskedStart {
                        caller,
                        key,
                        known: true,
                    });
                    return;
                }
                Err(error) => Err(error),
            },
            Request::Delete(id) if !simple => self.restartable(&id).map(|key| {
                self.forget(key, out);
                Reply::Done
            }),
            Request::Which => Ok(Reply::Children(self.which_children())),
            Request::Count => Ok(Reply::Counts(self.count_children())),
            Request::GetSpec(id) => self.spec_at(self.ids.get(&id).copied()),
            Request::GetSpecOf(pid) => self.spec_at(self.pids.get(&pid).copied()),
            Request::Change(flags, specs) => self.change(flags, specs, out),
            Request::StartInstance(_) => Err(CallError::NotSimpleOneForOne),
            Request::StartChild(_)
            | Request::Terminate(_)
            | Request::Restart(_)
            | Request::Delete(_) => Err(CallError::SimpleOneForOne),
        };
        out.push(Effect::Reply(caller, answer));
    }

    fn start_child(
        &mut self,
        caller: P::Caller,
        spec: ChildSpec<P::Start>,
        out: &mut Vec<Effect<P>>,
    ) {
        let checked = spec
            .check(Some(self.flags.auto_shutdown))
            .map_err(CallError::Spec);
        let present = match self
            .ids
            .get(&spec.id)
            .and_then(|key| self.children.get(*key))
        {
            None => Ok(()),
            Some(slot) => Err(slot
                .pid()
                .map_or(CallError::AlreadyPresent, CallError::AlreadyStarted)),
        };
        if let Err(error) = checked.and(present) {
            out.push(Effect::Reply(caller, Err(error)));
            return;
        }
        let spec = Arc::new(spec);
        let key = self.insert(spec.clone(), None);
        out.push(Effect::Note(key, Note::Added(spec)));
        self.op = Some(Op::AskedStart {
            caller,
            key,
            known: false,
        });
    }

    fn start_instance(
        &mut self,
        caller: P::Caller,
        extra: Option<P::Extra>,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(template) = self.template.clone() else {
            out.push(Effect::Reply(caller, Err(CallError::NotSimpleOneForOne)));
            return;
        };
        let key = self.insert(template.clone(), extra);
        out.push(Effect::Note(key, Note::Added(template)));
        self.op = Some(Op::AskedStart {
            caller,
            key,
            known: false,
        });
    }

    /// The start that a caller waits for came to its end.
    pub(super) fn started_as_asked(
        &mut self,
        caller: P::Caller,
        key: Key,
        known: bool,
        result: StartResult,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        let answer = match result {
            StartResult::Ok(pid, info) => {
                self.mark_up(key, pid, Why::Asked, now, out);
                if !known {
                    self.drop_arguments(key, out);
                }
                Ok(Reply::Started(Some(pid), info))
            }
            StartResult::Ignore => {
                out.push(Effect::Note(key, Note::Ignored));
                self.settle_stopped(key, out);
                Ok(Reply::Started(None, None))
            }
            StartResult::Err(reason) => {
                out.push(Effect::Note(key, Note::StartFailed(reason.clone())));
                let error = self.start_error(key, known, reason);
                if !known {
                    self.forget(key, out);
                }
                Err(error)
            }
        };
        out.push(Effect::Reply(caller, answer));
    }

    fn start_error(&self, key: Key, known: bool, reason: ExitReason) -> CallError {
        match (reason, self.children.get(key)) {
            (ExitReason::AlreadyStarted(pid), _) => CallError::AlreadyStarted(pid),
            (reason, Some(slot)) if !known && !self.is_simple() => CallError::StartFailed {
                reason,
                child: slot.spec.id.clone(),
            },
            (reason, _) => CallError::Start(reason),
        }
    }

    /// The arguments of a temporary child are not kept (rule 14).
    fn drop_arguments(&mut self, key: Key, out: &mut Vec<Effect<P>>) {
        let simple = self.is_simple();
        let Some(slot) = self.children.get_mut(key) else {
            return;
        };
        if slot.spec.restart != Restart::Temporary {
            return;
        }
        slot.extra = None;
        if !simple {
            let start = P::forget(&slot.spec.start);
            slot.spec = Arc::new(ChildSpec {
                start,
                ..(*slot.spec).clone()
            });
            out.push(Effect::Note(key, Note::Respecified(slot.spec.clone())));
        }
    }

    fn terminate(&mut self, caller: P::Caller, key: Key) {
        self.op = Some(Op::AskedStop { caller, key });
    }

    pub(super) fn step_asked_stop(
        &mut self,
        caller: P::Caller,
        key: Key,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        if self.begin_stop(key, now, out) {
            self.op = Some(Op::AskedStop { caller, key });
            return;
        }
        self.settle_stopped(key, out);
        out.push(Effect::Reply(caller, Ok(Reply::Done)));
    }

    /// The child of this id, if it neither runs nor waits for a restart.
    fn restartable(&self, id: &ChildId) -> Result<Key, CallError> {
        let key = *self.ids.get(id).ok_or(CallError::NotFound)?;
        match self.children.get(key).map(|slot| &slot.state) {
            None => Err(CallError::NotFound),
            Some(ChildState::Running(_)) => Err(CallError::Running),
            Some(ChildState::Restarting { .. }) => Err(CallError::Restarting),
            Some(ChildState::Undefined) => Ok(key),
        }
    }

    fn spec_at(&self, key: Option<Key>) -> Result<Reply<P>, CallError> {
        let slot = key
            .and_then(|key| self.children.get(key))
            .ok_or(CallError::NotFound)?;
        Ok(Reply::Spec(slot.spec.clone()))
    }

    fn which_children(&self) -> Vec<ChildInfo> {
        let simple = self.is_simple();
        let info = |slot: &super::Slot<P>| ChildInfo {
            id: (!simple).then(|| slot.spec.id.clone()),
            state: slot.state.clone(),
            child_type: slot.spec.child_type,
            modules: slot.spec.modules.clone(),
        };
        self.children
            .iter_rev()
            .map(|(_, slot)| info(slot))
            .collect()
    }

    fn count_children(&self) -> Counts {
        let mut counts = Counts {
            specs: self.children.len(),
            ..Counts::default()
        };
        if self.is_simple() {
            counts.specs = 1;
        }
        for (_, slot) in self.children.iter() {
            counts.active += usize::from(slot.pid().is_some());
            match slot.spec.child_type {
                ChildType::Worker => counts.workers += 1,
                ChildType::Supervisor => counts.supervisors += 1,
            }
        }
        counts
    }
}
