//! What goes to and fro between supervisors, their children and their callers,
//! and what is noted of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lain::actors::supervise::{ExitReason, Flags, Pid, ReportContext};

use crate::plan::{ChildPlan, End};

pub type Token = u64;
pub type CallerId = usize;

/// What a supervisor is told.
#[derive(Debug, Clone)]
pub enum Letter {
    Call(CallerId, Ask),
    Exited(Token, ExitReason),
    Started(Token, StartEnd),
    Retry(Token),
    ParentExit(ExitReason),
}

#[derive(Debug, Clone)]
pub enum StartEnd {
    Ok(Pid),
    Ignore,
    Err(ExitReason),
}

#[derive(Debug, Clone)]
pub enum Ask {
    StartChild(Arc<ChildPlan>),
    StartInstance(u32),
    Terminate(Arc<str>),
    TerminatePid(Pid, bool),
    Restart(Arc<str>),
    Delete(Arc<str>),
    Which,
    Count,
    Change(Flags, Vec<Arc<ChildPlan>>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Done,
    Started(Option<Pid>),
    Children(Vec<(Option<Arc<str>>, Shown)>),
    Counts(usize, usize, usize, usize),
    AlreadyStarted(Pid),
    AlreadyPresent,
    NotFound,
    Running,
    Restarting,
    Simple,
    NotSimple,
    StartFailed(ExitReason),
    Invalid,
    Exited(ExitReason),
    NoProc,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Running(Pid),
    Restarting,
    Undefined,
}

/// What a supervisor does.
#[derive(Debug)]
pub enum Action {
    Start(Token, Arc<ChildPlan>, Option<u32>),
    Terminate(Token),
    Kill(Token),
    Retry(Token),
    Reply(CallerId, Answer),
    Report(ReportContext, ExitReason),
    Ready,
    Exit(ExitReason),
}

/// A supervisor's mind.
pub trait Brain {
    fn boot(&mut self, now: Duration) -> Vec<Action>;
    fn deliver(&mut self, letter: Letter, now: Duration) -> Vec<Action>;
    fn wake(&mut self, now: Duration) -> Vec<Action>;
    fn deadline(&self) -> Option<Duration>;
}

/// What happened, to be compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Start(usize),
    Terminate(usize),
    Kill(usize),
    Up(usize),
    Down(usize, ExitReason),
    Reply(CallerId, Answer),
    Report(usize, ReportContext, ExitReason),
}

pub type Trace = Vec<(Duration, Deed)>;

/// What the stimuli came to, once it was clear whom they meet; paths without the root.
#[derive(Debug, Clone)]
pub enum Blow {
    End(String, End),
    Kill(String),
    ParentExit(String),
    Ask(String, Ask, Option<String>),
}

/// How a schedule went.
pub struct Outcome {
    pub trace: Trace,
    pub blows: Vec<Blow>,
    /// The paths of the workers that live at the end.
    pub alive: BTreeSet<String>,
    /// How often each worker was started.
    pub starts: BTreeMap<String, u32>,
    /// How the root ended, if it did.
    pub exit: Option<ExitReason>,
}
