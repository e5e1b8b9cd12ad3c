//! Which events are shown: what the server need not know, and what a reconnection repeats. Pure.

use crate::domain::view::EventView;
use clap::ValueEnum;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// State changes.
    Info,
    /// May need someone.
    Warn,
    /// Someone must act.
    Error,
}

impl Level {
    /// The word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    /// The level that a word names.
    pub fn of(word: &str) -> Level {
        match word {
            "error" => Level::Error,
            "warn" => Level::Warn,
            _ => Level::Info,
        }
    }
}

/// What the server need not know to leave events out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The proc's name.
    pub proc: Option<String>,
    /// The instance number.
    pub instance: Option<u32>,
    /// The least level.
    pub level: Option<Level>,
    /// Also what an actor tells of a container that its instance tells too.
    pub repeats: bool,
    /// Only actors at or below this path.
    pub below: Option<String>,
    /// At most this many of the past.
    pub past: usize,
}

impl Filter {
    /// Of the actors at or below a path; all of them if it is empty.
    pub fn below(path: String) -> Self {
        Self {
            below: Some(path).filter(|path| !path.is_empty()),
            repeats: true,
            past: 10,
            ..Self::default()
        }
    }

    /// Whether an event is wanted.
    pub fn wants(&self, event: &EventView) -> bool {
        let proc = event
            .proc
            .as_deref()
            .map(|full| full.rsplit('.').next().unwrap_or(full));
        let path = event.path.as_deref().unwrap_or("");
        self.proc
            .as_deref()
            .is_none_or(|wanted| proc == Some(wanted))
            && self
                .instance
                .is_none_or(|wanted| event.instance == Some(wanted))
            && self
                .level
                .is_none_or(|least| Level::of(&event.level) >= least)
            && (self.repeats || !is_repeat(event))
            && self.below.as_deref().is_none_or(|below| {
                path.strip_prefix(below)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

/// Whether an actor tells what its instance tells too: a container's end is the end of its `process` actor, and
/// `instance_crashed` says more of it than `actor_crashed`.
fn is_repeat(event: &EventView) -> bool {
    const TOLD_BY_THE_INSTANCE: [&str; 3] = ["actor_crashed", "actor_exited", "actor_restarted"];
    let path = event.path.as_deref().unwrap_or("");
    path.ends_with("/process") && TOLD_BY_THE_INSTANCE.contains(&event.kind.as_str())
}

/// Leaves out what a reconnection repeats. A server that has begun to count anew is told by its clock.
#[derive(Debug, Default)]
pub struct Seen {
    last: Option<(u64, chrono::DateTime<chrono::Utc>)>,
}

impl Seen {
    /// Whether it has not been seen yet; from now on it has.
    pub fn is_new(&mut self, event: &EventView) -> bool {
        let new = self
            .last
            .is_none_or(|(seq, at)| event.seq > seq || event.at > at);
        if new {
            self.last = Some((event.seq, event.at));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, second: i64, level: &str) -> EventView {
        EventView {
            seq,
            at: chrono::DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap(),
            kind: "instance_crashed".to_owned(),
            level: level.to_owned(),
            app: Some("hello".to_owned()),
            proc: Some("web.web".to_owned()),
            instance: Some(2),
            node: None,
            path: Some("apps/app/hello/proc/web.web".to_owned()),
            operation: None,
            crash: None,
            message: "x".to_owned(),
        }
    }

    #[test]
    fn filters_by_proc_instance_level_and_path() {
        let wants = |filter: Filter| filter.wants(&event(1, 0, "warn"));
        assert!(wants(Filter::default()));
        assert!(wants(Filter {
            proc: Some("web".into()),
            ..Filter::default()
        }));
        assert!(!wants(Filter {
            proc: Some("api".into()),
            ..Filter::default()
        }));
        assert!(!wants(Filter {
            instance: Some(1),
            ..Filter::default()
        }));
        assert!(wants(Filter {
            level: Some(Level::Warn),
            ..Filter::default()
        }));
        assert!(!wants(Filter {
            level: Some(Level::Error),
            ..Filter::default()
        }));
        assert!(wants(Filter::below("apps/app/hello".into())));
        assert!(!wants(Filter::below("apps/app/hell".into())));
        assert!(wants(Filter::below(String::new())));
    }

    #[test]
    fn one_crash_is_told_once() {
        let mut actor = event(1, 0, "warn");
        actor.kind = "actor_crashed".to_owned();
        assert!(Filter::default().wants(&actor), "an actor of lain's own");
        actor.path = Some("nodes/node/n1/containers/container/x/process".to_owned());
        assert!(!Filter::default().wants(&actor));
        let all = Filter {
            repeats: true,
            ..Filter::default()
        };
        assert!(all.wants(&actor));
        actor.kind = "instance_crashed".to_owned();
        assert!(Filter::default().wants(&actor));
    }

    #[test]
    fn repeated_events_are_left_out_and_a_new_count_is_not() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&event(7, 0, "info")));
        assert!(!seen.is_new(&event(7, 0, "info")));
        assert!(!seen.is_new(&event(6, -1, "info")));
        assert!(seen.is_new(&event(8, 0, "info")));
        // The server was restarted and counts from 1.
        assert!(seen.is_new(&event(1, 60, "info")));
        assert!(seen.is_new(&event(2, 60, "info")));
    }
}
