//! Panics of children: caught, described, kept off the terminal.
//!
//! A hook, installed once and chained to whatever was there, notes where a
//! panic happened while a child is being run on this thread. Panics elsewhere
//! go to the previous hook untouched.

use std::any::Any;
use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use super::clock;
use super::reason::{ExitReason, PanicInfo};

#[cfg(panic = "abort")]
compile_error!(
    "supervision needs unwinding: a panic is how a child crashes; set panic = \"unwind\""
);

/// At most one backtrace in this time: capturing one costs a hundred times the panic.
const BACKTRACE_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Seen {
    depth: usize,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

static LAST_BACKTRACE: AtomicU64 = AtomicU64::new(0);

/// Whether backtraces are taken; off by default, since naming the frames of one
/// holds its arbiter up for milliseconds.
static BACKTRACES: AtomicBool = AtomicBool::new(false);

/// Takes backtraces from now on, at a limited rate.
pub(crate) fn take_backtraces() {
    BACKTRACES.store(true, Ordering::Relaxed);
}

/// Installs the hook; later calls do nothing.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !note(info) {
                previous(info);
            }
        }));
    });
}

/// Notes a panic inside a child; false when this thread runs none.
fn note(info: &PanicHookInfo<'_>) -> bool {
    SEEN.try_with(|seen| {
        let Ok(mut seen) = seen.try_borrow_mut() else {
            return false;
        };
        if seen.depth == 0 {
            return false;
        }
        seen.location = info.location().map(ToString::to_string);
        seen.backtrace = backtrace();
        true
    })
    .unwrap_or(false)
}

fn backtrace() -> Option<String> {
    let now = clock::nanos();
    let last = LAST_BACKTRACE.load(Ordering::Relaxed);
    let too_soon = last != 0 && Duration::from_nanos(now.saturating_sub(last)) < BACKTRACE_EVERY;
    if too_soon || !BACKTRACES.load(Ordering::Relaxed) {
        return None;
    }
    LAST_BACKTRACE.store(now, Ordering::Relaxed);
    Some(Backtrace::force_capture().to_string())
}

struct Depth;

impl Depth {
    fn enter() -> Self {
        SEEN.with(|seen| seen.borrow_mut().depth += 1);
        Self
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        SEEN.with(|seen| seen.borrow_mut().depth -= 1);
    }
}

/// Runs code of a child; a panic in it comes back as its payload.
pub(crate) fn contain<R>(run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    let _depth = Depth::enter();
    catch_unwind(AssertUnwindSafe(run))
}

/// Describes a caught panic as an exit reason; `message_type` is what was in hand.
pub(crate) fn describe(
    payload: Box<dyn Any + Send>,
    message_type: impl Into<Cow<'static, str>>,
) -> ExitReason {
    let message = match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => {
                discard(payload);
                "a payload that is no text".to_owned()
            }
        },
    };
    let (location, backtrace) = SEEN.with(|seen| {
        let mut seen = seen.borrow_mut();
        (seen.location.take(), seen.backtrace.take())
    });
    ExitReason::Panic(Arc::new(PanicInfo {
        message,
        location,
        message_type: message_type.into(),
        backtrace,
    }))
}

/// Drops something of a child's, whatever its destructor does; a panic comes back as a reason.
pub(crate) fn discard<T>(value: T) -> Option<ExitReason> {
    contain(|| drop(value)).err().map(|payload| {
        // A payload whose own destructor panics is leaked rather than dropped again.
        let text = payload.is::<&'static str>() || payload.is::<String>();
        if text {
            describe(payload, "drop")
        } else {
            std::mem::forget(payload);
            describe(Box::new("a payload that is no text"), "drop")
        }
    })
}
