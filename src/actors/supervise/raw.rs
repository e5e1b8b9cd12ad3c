//! Specifications that come as data: JSON in, checked specs out.
//!
//! For trees that are described by a file or a request. Start functions are
//! registered by name. OTP's rules for maps hold: unknown keys are ignored,
//! missing ones get their defaults, and every error names the value.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::child::Init;
use super::group::{SupervisorInit, SupervisorSpec};
use super::machine::CallError;
use super::reason::ExitReason;
use super::refs::{Started, SupervisorRef};
use super::spec::{
    AutoShutdown, ChildSpec, ChildType, FlagError, Flags, InitError, Restart, Shutdown, SpecError,
    Strategy, check_childspecs, check_init,
};
use super::start::Start;

type Function = Arc<dyn Fn(&[Value]) -> ChildSpec + Send + Sync>;

/// Start functions by name.
#[derive(Clone, Default)]
pub struct Functions(HashMap<String, Function>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Functions {
    /// Registers what makes the start of a child from a list of arguments. Only
    /// the start of the specification that it returns is used.
    pub fn register<F>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(&[Value]) -> ChildSpec + Send + Sync + 'static,
    {
        self.0.insert(name.into(), Arc::new(function));
        self
    }

    /// Reads one child specification; its combination with a mode is not checked.
    ///
    /// # Errors
    /// [`SpecError`] naming the value that is wrong.
    pub fn spec(&self, value: &Value) -> Result<ChildSpec, SpecError> {
        let Value::Object(map) = value else {
            return Err(SpecError::InvalidChildSpec(value.to_string()));
        };
        let id = match map.get("id") {
            None => return Err(SpecError::MissingId),
            Some(Value::String(id)) => id.clone(),
            Some(other) => other.to_string(),
        };
        let start = self.start(map.get("start").ok_or(SpecError::MissingStart)?)?;
        let restart = restart(map.get("restart"))?;
        let significant = significant(map.get("significant"))?;
        let child_type = child_type(map.get("type"))?;
        let shutdown = shutdown(map.get("shutdown"), child_type)?;
        let modules = modules(map.get("modules"))?;
        let spec = ChildSpec::new(id, child_type, start)
            .restart(restart)
            .significant(significant)
            .shutdown(shutdown);
        Ok(ChildSpec { modules, ..spec })
    }

    /// Reads a list of child specifications and checks it (`check_childspecs`).
    ///
    /// # Errors
    /// The first [`SpecError`] found; [`SpecError::BadArg`] when it is no list
    /// or the mode is none.
    pub fn check_childspecs(
        &self,
        list: &Value,
        mode: Option<&Value>,
    ) -> Result<Vec<ChildSpec>, SpecError> {
        let Value::Array(entries) = list else {
            return Err(SpecError::BadArg(list.to_string()));
        };
        let mode = mode
            .map(|mode| auto_shutdown(Some(mode)).map_err(|_| SpecError::BadArg(mode.to_string())))
            .transpose()?;
        let specs = entries
            .iter()
            .map(|entry| self.spec(entry))
            .collect::<Result<Vec<_>, _>>()?;
        check_childspecs(&specs, mode)?;
        Ok(specs)
    }

    /// Reads what an init callback returned: `"ignore"`, or an object with
    /// `flags` and `children`.
    ///
    /// # Errors
    /// [`InitError`]; [`InitError::BadReturn`] for anything else.
    pub fn init(&self, value: &Value) -> Result<SupervisorInit, InitError> {
        if value == "ignore" {
            return Ok(SupervisorInit::Ignore);
        }
        let bad_return = || InitError::BadReturn(value.to_string());
        let flags =
            flags(value.get("flags").ok_or_else(bad_return)?).map_err(InitError::SupervisorData)?;
        let Some(Value::Array(entries)) = value.get("children") else {
            return Err(bad_return());
        };
        let specs = entries
            .iter()
            .map(|entry| self.spec(entry))
            .collect::<Result<Vec<_>, _>>();
        let children = specs.map_err(InitError::StartSpec)?;
        check_init(&flags, &children)?;
        Ok(SupervisorInit::Run(SupervisorSpec { flags, children }))
    }

    /// A supervisor whose callback returns data, evaluated at every start.
    pub fn supervisor<F>(&self, id: &str, callback: F) -> ChildSpec
    where
        F: Fn() -> Value + Send + Sync + 'static,
    {
        let functions = self.clone();
        ChildSpec::supervisor_with(id, move || {
            ready(functions.init(&callback()).map_err(ExitReason::from))
        })
    }

    fn start(&self, value: &Value) -> Result<Start, SpecError> {
        let wrong = || SpecError::InvalidMfa(value.to_string());
        let name = value
            .get("function")
            .and_then(Value::as_str)
            .ok_or_else(wrong)?;
        let none = Vec::new();
        let arguments = match value.get("args") {
            None => &none,
            Some(Value::Array(arguments)) => arguments,
            Some(_) => return Err(wrong()),
        };
        let function = self.0.get(name).ok_or_else(wrong)?;
        Ok(function(arguments).start)
    }
}

/// What a start function that speaks data returned: `"ok"`, `"ignore"`,
/// `{"error": reason}`; anything else is an error with that term.
///
/// # Errors
/// The reason, or the unknown value.
pub fn start_result<A>(value: &Value, actor: A) -> Result<Init<A>, ExitReason> {
    match (value.as_str(), value.get("error")) {
        (Some("ok"), _) => Ok(Init::Ready(actor)),
        (Some("ignore"), _) => Ok(Init::Ignore),
        (_, Some(reason)) => Err(ExitReason::Error(reason.to_string())),
        _ => Err(ExitReason::Error(value.to_string())),
    }
}

impl SupervisorRef {
    /// As [`SupervisorRef::start_child`], with the specification as data.
    ///
    /// # Errors
    /// [`CallError`], specification errors among them.
    pub async fn start_child_raw(
        &self,
        functions: &Functions,
        spec: &Value,
    ) -> Result<Started, CallError> {
        self.start_child(functions.spec(spec).map_err(CallError::Spec)?)
            .await
    }

    /// As [`SupervisorRef::change`], with what a callback returned as data;
    /// `"ignore"` changes nothing.
    ///
    /// # Errors
    /// [`CallError::Init`]; then nothing changes.
    pub async fn change_raw(&self, functions: &Functions, init: &Value) -> Result<(), CallError> {
        match functions.init(init).map_err(CallError::Init)? {
            SupervisorInit::Ignore => Ok(()),
            SupervisorInit::Run(spec) => self.change(spec.flags, spec.children).await,
        }
    }
}

/// Reads supervisor flags; missing ones get their defaults.
///
/// # Errors
/// [`FlagError`] naming the value that is wrong.
pub fn flags(value: &Value) -> Result<Flags, FlagError> {
    let Value::Object(map) = value else {
        return Err(FlagError::InvalidType(value.to_string()));
    };
    let mut flags = Flags::default();
    if let Some(value) = map.get("strategy") {
        flags.strategy = strategy(value)?;
    }
    if let Some(value) = map.get("intensity") {
        let wrong = || FlagError::InvalidIntensity(value.to_string());
        flags.intensity = value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(wrong)?;
    }
    if let Some(value) = map.get("period") {
        let seconds = value.as_u64().filter(|seconds| *seconds > 0);
        let wrong = || FlagError::InvalidPeriod(value.to_string());
        flags.period = Duration::from_secs(seconds.ok_or_else(wrong)?);
    }
    flags.auto_shutdown = auto_shutdown(map.get("auto_shutdown"))?;
    Ok(flags)
}

fn strategy(value: &Value) -> Result<Strategy, FlagError> {
    match value.as_str() {
        Some("one_for_one") => Ok(Strategy::OneForOne),
        Some("one_for_all") => Ok(Strategy::OneForAll),
        Some("rest_for_one") => Ok(Strategy::RestForOne),
        Some("simple_one_for_one") => Ok(Strategy::SimpleOneForOne),
        _ => Err(FlagError::InvalidStrategy(value.to_string())),
    }
}

fn auto_shutdown(value: Option<&Value>) -> Result<AutoShutdown, FlagError> {
    let Some(value) = value else {
        return Ok(AutoShutdown::Never);
    };
    match value.as_str() {
        Some("never") => Ok(AutoShutdown::Never),
        Some("any_significant") => Ok(AutoShutdown::AnySignificant),
        Some("all_significant") => Ok(AutoShutdown::AllSignificant),
        _ => Err(FlagError::InvalidAutoShutdown(value.to_string())),
    }
}

fn restart(value: Option<&Value>) -> Result<Restart, SpecError> {
    let Some(value) = value else {
        return Ok(Restart::Permanent);
    };
    match value.as_str() {
        Some("permanent") => Ok(Restart::Permanent),
        Some("transient") => Ok(Restart::Transient),
        Some("temporary") => Ok(Restart::Temporary),
        _ => Err(SpecError::InvalidRestartType(value.to_string())),
    }
}

fn significant(value: Option<&Value>) -> Result<bool, SpecError> {
    let Some(value) = value else { return Ok(false) };
    value
        .as_bool()
        .ok_or_else(|| SpecError::InvalidSignificant(value.to_string()))
}

fn child_type(value: Option<&Value>) -> Result<ChildType, SpecError> {
    let Some(value) = value else {
        return Ok(ChildType::Worker);
    };
    match value.as_str() {
        Some("worker") => Ok(ChildType::Worker),
        Some("supervisor") => Ok(ChildType::Supervisor),
        _ => Err(SpecError::InvalidChildType(value.to_string())),
    }
}

fn shutdown(value: Option<&Value>, child_type: ChildType) -> Result<Shutdown, SpecError> {
    let Some(value) = value else {
        return Ok(Shutdown::default_for(child_type));
    };
    match (value.as_str(), value.as_u64()) {
        (Some("brutal_kill"), _) => Ok(Shutdown::BrutalKill),
        (Some("infinity"), _) => Ok(Shutdown::Infinity),
        (_, Some(millis)) => Ok(Shutdown::Timeout(Duration::from_millis(millis))),
        _ => Err(SpecError::InvalidShutdown(value.to_string())),
    }
}

fn modules(value: Option<&Value>) -> Result<Option<Arc<[String]>>, SpecError> {
    let name = |module: &Value| {
        let text = module.as_str().map(ToOwned::to_owned);
        text.ok_or_else(|| SpecError::InvalidModule(module.to_string()))
    };
    match value {
        None => Ok(None),
        Some(Value::String(word)) if word == "dynamic" => Ok(Some(Arc::new([word.clone()]))),
        Some(Value::Array(modules)) => {
            Ok(Some(modules.iter().map(name).collect::<Result<_, _>>()?))
        }
        Some(other) => Err(SpecError::InvalidModules(other.to_string())),
    }
}
