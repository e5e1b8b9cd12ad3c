//! One actor of the supervision tree in words: shared by the printed tree and the live one.

use crate::cli::output::style::{Tone, plain};
use crate::cli::output::time;
use crate::domain::view::ActorView;
use chrono::{DateTime, Utc};

/// How an actor's state looks.
pub fn tone(state: &str) -> Tone {
    match state {
        "running" => Tone::Good,
        "starting" | "restarting" | "stopping" => Tone::Warn,
        "stuck" => Tone::Bad,
        // `undefined`: terminated, its child specification kept.
        _ => Tone::Dim,
    }
}

/// Its name in the tree: its id, `lain` for the root.
pub fn name(actor: &ActorView) -> String {
    match actor.id.is_empty() {
        true => "lain".to_owned(),
        false => plain(&actor.id),
    }
}

/// Restarts in the current window of those allowed in it, for a supervisor: `1/3 in 5s`.
pub fn window(actor: &ActorView) -> String {
    let (Some(used), Some(allowed)) = (actor.restarts_in_window, actor.intensity) else {
        return String::new();
    };
    match actor.period_ms {
        Some(period) if period.is_multiple_of(1000) => {
            format!("{used}/{allowed} in {}s", period / 1000)
        }
        Some(period) => format!("{used}/{allowed} in {period}ms"),
        None => format!("{used}/{allowed}"),
    }
}

/// How the use of that window looks: the next crash is one too many when it is full.
pub fn window_tone(actor: &ActorView) -> Tone {
    match (actor.restarts_in_window, actor.intensity) {
        (Some(used), Some(allowed)) if used > 0 && used >= allowed => Tone::Bad,
        (Some(used), _) if used > 0 => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// How long it has been up; `-` while it is not.
pub fn uptime(actor: &ActorView, now: DateTime<Utc>) -> String {
    match actor.state.as_str() {
        "running" | "stuck" | "stopping" => time::since(actor.started_at, now),
        _ => "-".to_owned(),
    }
}

/// Messages that wait, and since when the oldest does if that is long: `3 (1.2s)`.
pub fn mailbox(actor: &ActorView) -> String {
    let Some(mailbox) = &actor.mailbox else {
        return String::new();
    };
    match mailbox.oldest_age_ms {
        Some(age) if mailbox.length > 0 && age >= 100 => {
            let age = time::took(chrono::Duration::milliseconds(
                i64::try_from(age).unwrap_or(i64::MAX / 2),
            ));
            format!("{} ({age})", mailbox.length)
        }
        _ => mailbox.length.to_string(),
    }
}

/// What else there is to say: its strategy, its note, what it waits for, why it crashed last.
pub fn remarks(actor: &ActorView, now: DateTime<Utc>) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(actor.strategy.clone());
    if actor.kind != "supervisor" && actor.restart != "permanent" {
        parts.push(actor.restart.clone());
    }
    parts.extend(actor.note.clone());
    if let Some(at) = actor.restart_at {
        parts.push(format!("restart in {}", time::took(at - now)));
    }
    if let Some(child) = &actor.awaiting {
        parts.push(format!("waits for {child}"));
    }
    if let Some(crash) = &actor.last_crash {
        let ago = time::since(Some(crash.at), now);
        parts.push(format!("crashed {ago} ago: {}", crash.reason));
    }
    plain(&parts.join(", "))
}
