//! Child specifications and supervisor flags, with OTP's rules of validity.
//!
//! Built by whoever declares a tree; kept by the state machine, which gives
//! the start payload `F` back to the shell untouched. Plain data, no I/O.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name of a child within its supervisor, and its segment of the path.
///
/// May hold `/`; then the path has that many segments more. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChildId(Arc<str>);

impl ChildId {
    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for ChildId {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl std::borrow::Borrow<str> for ChildId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Who is restarted when a child ends (OTP rule 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Only the child that ended.
    #[default]
    OneForOne,
    /// All of them: the others are stopped in reverse order, then all are started.
    OneForAll,
    /// The child that ended and those started after it.
    RestForOne,
    /// All children are instances of one template, added at run time.
    SimpleOneForOne,
}

/// When a child is restarted (OTP rule 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// After any exit.
    #[default]
    Permanent,
    /// Only after an abnormal exit; stays listed as undefined after a clean one.
    Transient,
    /// Never; its specification goes with it.
    Temporary,
}

/// How a child is stopped (OTP rule 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// Killed without being asked; no cleanup runs.
    BrutalKill,
    /// Asked, then killed when it is not gone after this time.
    Timeout(Duration),
    /// Asked, and waited for without limit.
    Infinity,
}

/// How long a worker has to stop unless its specification says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

impl Shutdown {
    /// The default for a child of this type: 5 s for a worker, no limit for a supervisor.
    pub fn default_for(child_type: ChildType) -> Self {
        match child_type {
            ChildType::Worker => Self::Timeout(DEFAULT_TIMEOUT),
            ChildType::Supervisor => Self::Infinity,
        }
    }
}

/// When a supervisor ends by itself because significant children did (OTP rule 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// Never; significant children are refused.
    #[default]
    Never,
    /// When any significant child ends by itself.
    AnySignificant,
    /// When the last significant child has ended by itself.
    AllSignificant,
}

/// What a child is, for counting and for the default shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildType {
    /// Does work; has no children.
    #[default]
    Worker,
    /// Has children of its own.
    Supervisor,
}

/// A supervisor's flags. Defaults are OTP's: one_for_one, 1 restart in 5 s, never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// Who is restarted when a child ends.
    pub strategy: Strategy,
    /// How many restarts within `period` are borne; one more and it gives up.
    pub intensity: u32,
    /// The window of `intensity`: whole seconds, at least one.
    pub period: Duration,
    /// What the end of significant children does.
    pub auto_shutdown: AutoShutdown,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            intensity: 1,
            period: Duration::from_secs(5),
            auto_shutdown: AutoShutdown::default(),
        }
    }
}

impl Flags {
    /// Default flags with this strategy.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            ..Self::default()
        }
    }

    /// Bears `intensity` restarts within `period` (whole seconds).
    pub fn intensity(mut self, intensity: u32, period: Duration) -> Self {
        (self.intensity, self.period) = (intensity, period);
        self
    }

    /// Sets what the end of significant children does.
    pub fn auto_shutdown(mut self, mode: AutoShutdown) -> Self {
        self.auto_shutdown = mode;
        self
    }

    /// Checks the flags.
    ///
    /// # Errors
    /// [`FlagError::InvalidPeriod`] unless the period is a whole number of seconds above zero.
    pub fn check(&self) -> Result<(), FlagError> {
        if self.period.is_zero() || self.period.subsec_nanos() != 0 {
            return Err(FlagError::InvalidPeriod(format!("{:?}", self.period)));
        }
        Ok(())
    }
}

/// Waiting between restarts: an extension, off by default; OTP restarts at once.
///
/// The first restart is immediate; the n-th waits `min * factor^(n-2)`, at most
/// `max`, spread by `jitter`. A child that ran for `reset_after` starts afresh.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Wait before the second restart.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Growth from one wait to the next, at least 1.
    pub factor: f64,
    /// Share of the wait that is random: 0.2 gives 80 % to 120 %.
    pub jitter: f64,
    /// Run time after which the count begins again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(500),
            max: Duration::from_secs(60),
            factor: 2.0,
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait before restart number `attempt` (from 1), `noise` within 0..1.
    pub fn delay(&self, attempt: u32, noise: f64) -> Duration {
        if attempt <= 1 {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt - 2).unwrap_or(i32::MAX).min(1_000);
        let grown = self.min.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let capped = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * noise.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(capped * spread).unwrap_or(self.max)
    }
}

/// A restart budget of one child: an extension, off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildBudget {
    /// How many restarts of this child within `period` are borne.
    pub intensity: u32,
    /// The window, whole seconds.
    pub period: Duration,
    /// What happens when the child needs one more.
    pub then: OnExhausted,
}

/// What a spent child budget leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The supervisor gives up, as if its own budget were spent.
    Escalate,
    /// Only this child is given up: it stays listed as undefined.
    Abandon,
}

/// How to start, stop and restart one child.
///
/// `F` is what the shell needs to start it; the state machine never looks inside.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildSpec<F = super::Start> {
    /// Unique within the supervisor; ignored for a template.
    pub id: ChildId,
    /// What the shell starts. The arguments of temporary children are not kept (rule 14).
    pub start: F,
    /// When it is restarted.
    pub restart: Restart,
    /// Whether its own end may end the supervisor.
    pub significant: bool,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// Modules for the reader; `None` means the start's own.
    pub modules: Option<Arc<[String]>>,
    /// Waiting between restarts.
    pub backoff: Option<Backoff>,
    /// A restart budget of its own.
    pub budget: Option<ChildBudget>,
}

impl<F> ChildSpec<F> {
    /// A permanent child with defaults for its type.
    pub fn new(id: impl Into<ChildId>, child_type: ChildType, start: F) -> Self {
        Self {
            id: id.into(),
            start,
            restart: Restart::default(),
            significant: false,
            shutdown: Shutdown::default_for(child_type),
            child_type,
            modules: None,
            backoff: None,
            budget: None,
        }
    }

    /// Sets when it is restarted.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Restarted only after an abnormal exit.
    pub fn transient(self) -> Self {
        self.restart(Restart::Transient)
    }

    /// Never restarted.
    pub fn temporary(self) -> Self {
        self.restart(Restart::Temporary)
    }

    /// Marks it significant: its own end may end the supervisor.
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Sets how it is stopped.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Names the modules shown for it.
    pub fn modules(mut self, modules: impl IntoIterator<Item = String>) -> Self {
        self.modules = Some(modules.into_iter().collect());
        self
    }

    /// Waits between restarts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Gives it a restart budget of its own; the supervisor's then does not count it.
    pub fn budget(mut self, budget: ChildBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Checks the specification; `auto_shutdown` is `None` when the mode is not known.
    ///
    /// # Errors
    /// [`SpecError::BadCombination`] for a significant permanent child, or a
    /// significant one where the mode is `never`.
    pub fn check(&self, auto_shutdown: Option<AutoShutdown>) -> Result<(), SpecError> {
        if self.significant && self.restart == Restart::Permanent {
            return Err(SpecError::BadCombination(
                "significant with restart permanent".into(),
            ));
        }
        if self.significant && auto_shutdown == Some(AutoShutdown::Never) {
            return Err(SpecError::BadCombination(
                "significant with auto_shutdown never".into(),
            ));
        }
        Ok(())
    }
}

/// Checks a list of specifications, as before a start.
///
/// # Errors
/// The first error found, or [`SpecError::DuplicateChildName`].
pub fn check_childspecs<F>(
    specs: &[ChildSpec<F>],
    auto_shutdown: Option<AutoShutdown>,
) -> Result<(), SpecError> {
    let mut seen = std::collections::HashSet::with_capacity(specs.len());
    for spec in specs {
        spec.check(auto_shutdown)?;
        if !seen.insert(spec.id.clone()) {
            return Err(SpecError::DuplicateChildName(spec.id.clone()));
        }
    }
    Ok(())
}

/// Why a child specification is not valid; each names the offending value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", content = "value", rename_all = "snake_case")]
pub enum SpecError {
    /// The mandatory id is not there.
    #[error("missing_id")]
    MissingId,
    /// The mandatory start is not there.
    #[error("missing_start")]
    MissingStart,
    /// The start is no registered function with a list of arguments.
    #[error("invalid_mfa: {0}")]
    InvalidMfa(String),
    /// Not permanent, transient or temporary.
    #[error("invalid_restart_type: {0}")]
    InvalidRestartType(String),
    /// Not a boolean.
    #[error("invalid_significant: {0}")]
    InvalidSignificant(String),
    /// Not brutal_kill, infinity or milliseconds from 0.
    #[error("invalid_shutdown: {0}")]
    InvalidShutdown(String),
    /// Not worker or supervisor.
    #[error("invalid_child_type: {0}")]
    InvalidChildType(String),
    /// Neither `dynamic` nor a list.
    #[error("invalid_modules: {0}")]
    InvalidModules(String),
    /// An entry of modules is no name.
    #[error("invalid_module: {0}")]
    InvalidModule(String),
    /// Fields that exclude each other.
    #[error("bad_combination: {0}")]
    BadCombination(String),
    /// Not a specification at all.
    #[error("invalid_child_spec: {0}")]
    InvalidChildSpec(String),
    /// Two children of one name.
    #[error("duplicate_child_name: {0}")]
    DuplicateChildName(ChildId),
    /// Not a list of specifications, or an unknown auto_shutdown mode.
    #[error("badarg: {0}")]
    BadArg(String),
}

/// Why supervisor flags are not valid; each names the offending value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", content = "value", rename_all = "snake_case")]
pub enum FlagError {
    /// Not one of the four strategies.
    #[error("invalid_strategy: {0}")]
    InvalidStrategy(String),
    /// Not an integer from 0.
    #[error("invalid_intensity: {0}")]
    InvalidIntensity(String),
    /// Not a whole number of seconds above 0.
    #[error("invalid_period: {0}")]
    InvalidPeriod(String),
    /// Not never, any_significant or all_significant.
    #[error("invalid_auto_shutdown: {0}")]
    InvalidAutoShutdown(String),
    /// Not a set of flags at all.
    #[error("invalid_type: {0}")]
    InvalidType(String),
}

/// Why a supervisor refuses what its init callback returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitError {
    /// The flags are not valid.
    #[error("supervisor_data: {0}")]
    SupervisorData(FlagError),
    /// A specification is not valid.
    #[error("start_spec: {0}")]
    StartSpec(SpecError),
    /// simple_one_for_one needs exactly one specification; this many came.
    #[error("bad_start_spec: simple_one_for_one needs exactly one child specification, not {0}")]
    BadStartSpec(usize),
    /// The callback returned something else.
    #[error("bad_return: {0}")]
    BadReturn(String),
}

impl From<InitError> for super::ExitReason {
    fn from(error: InitError) -> Self {
        Self::BadSpec(error.to_string())
    }
}

/// Checks flags and specifications together, as before a start.
///
/// # Errors
/// [`InitError`] naming what is wrong first.
pub fn check_init<F>(flags: &Flags, specs: &[ChildSpec<F>]) -> Result<(), InitError> {
    flags.check().map_err(InitError::SupervisorData)?;
    if flags.strategy == Strategy::SimpleOneForOne && specs.len() != 1 {
        return Err(InitError::BadStartSpec(specs.len()));
    }
    check_childspecs(specs, Some(flags.auto_shutdown)).map_err(InitError::StartSpec)
}
