//! The table of keys: every key of `lain.yaml` with its form, default and meaning.
//!
//! One declaration drives the unknown-key check and the type check (`check`), the JSON Schema
//! (`schema`) and the reference in `docs/lain-yaml.md` (a test compares them), so that they
//! cannot diverge. What a value means is `lower`'s affair; what keys mean together is in `rules`.

mod form;
mod health;
mod procs;
mod top;

#[cfg(test)]
pub(super) use form::ALL_FORMS;
pub use form::Form;
pub(super) use form::{DURATION, MEMORY};
pub(super) use procs::{PROC, SERVICE, SERVICE_PORTAL, TYPED};
pub use top::TOP;

use crate::domain::id::ProcType;

/// Who made a key up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// LAIN v2.
    Lain,
    /// This project.
    Ours,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// It may be left out.
    No,
    /// It must be there.
    Yes,
    /// It must be there in procs of this type.
    For(ProcType),
}

/// One key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: &'static Kind,
    /// What it means, one sentence.
    pub doc: &'static str,
    /// What holds without it, in words; empty if that goes without saying.
    pub default: &'static str,
    /// Who made it up.
    pub origin: Origin,
    /// Whether it must be there.
    pub required: Required,
    /// The types of proc that may have it; empty: all.
    pub only: &'static [ProcType],
    /// The older or newer name of the same key.
    pub same_as: Option<&'static str>,
}

/// Starts a key that LAIN has and that may be left out.
const fn key(name: &'static str, kind: &'static Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        doc,
        default: "",
        origin: Origin::Lain,
        required: Required::No,
        only: &[],
        same_as: None,
    }
}

impl Key {
    /// What holds without it.
    const fn default(mut self, default: &'static str) -> Key {
        self.default = default;
        self
    }

    /// Not LAIN's.
    const fn ours(mut self) -> Key {
        self.origin = Origin::Ours;
        self
    }

    /// It must be there.
    const fn required(mut self) -> Key {
        self.required = Required::Yes;
        self
    }

    /// Only procs of these types have it.
    const fn only(mut self, types: &'static [ProcType]) -> Key {
        self.only = types;
        self
    }

    /// Procs of this type, which alone have it, must have it.
    const fn required_for(mut self, proc_type: ProcType) -> Key {
        self.required = Required::For(proc_type);
        self
    }

    /// Another name of the same key.
    const fn same_as(mut self, name: &'static str) -> Key {
        self.same_as = Some(name);
        self
    }

    /// Whether procs of this type may have it.
    pub fn allowed_for(&self, proc_type: ProcType) -> bool {
        self.only.is_empty() || self.only.contains(&proc_type)
    }
}

/// What a value looks like.
#[derive(Debug)]
pub enum Kind {
    /// Text of a form.
    Text(&'static Form),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number within limits, both included.
    Int(i64, i64),
    /// `true` or `false`; YAML 1.1's `yes`, `no`, `on`, `off` with a warning.
    Bool,
    /// Nothing: `null`.
    Null,
    /// A duration within limits in seconds, both included: text with a unit, or a number of seconds.
    Duration(u64, u64),
    /// An amount of memory: text with a unit, or a number of bytes.
    Memory,
    /// A list; nothing at all counts as an empty one, with a warning.
    List(&'static Kind),
    /// A mapping of fixed keys.
    Keys(&'static Section),
    /// A mapping from a form of text to one kind of value.
    Map(&'static Form, &'static Kind),
    /// The same with exactly one entry.
    Single(&'static Form, &'static Kind),
    /// Whatever one likes.
    Anything,
    /// Any of these; no two of them take the same YAML type.
    OneOf(&'static [Kind]),
}

/// A mapping of fixed keys.
#[derive(Debug)]
pub struct Section {
    /// Its name in the JSON Schema and the docs.
    pub name: &'static str,
    /// What it describes.
    pub doc: &'static str,
    /// Its keys, in the order of the docs.
    pub keys: &'static [&'static [Key]],
    /// Families of keys: `web` and `web.NAME`.
    pub families: &'static [Family],
    /// What other keys hold, if there may be others.
    pub rest: Option<(&'static Form, &'static Kind)>,
    /// Wrong keys that people write, and what to write.
    pub hints: &'static [(&'static str, &'static str)],
}

/// A family of top-level keys that each declare a proc.
#[derive(Debug)]
pub struct Family {
    /// What stands before the dot.
    pub prefix: &'static str,
    /// Whether it may stand alone: `web` is the proc named web.
    pub bare: bool,
    /// The type of the procs; `None`: by their key `type`.
    pub proc_type: Option<ProcType>,
    /// The body.
    pub section: &'static Section,
    /// Who made it up.
    pub origin: Origin,
    /// What it means.
    pub doc: &'static str,
}

impl Section {
    /// A section with fixed keys only.
    const fn new(
        name: &'static str,
        doc: &'static str,
        keys: &'static [&'static [Key]],
    ) -> Section {
        Section {
            name,
            doc,
            keys,
            families: &[],
            rest: None,
            hints: &[],
        }
    }

    /// With hints for wrong keys.
    const fn hints(mut self, hints: &'static [(&'static str, &'static str)]) -> Section {
        self.hints = hints;
        self
    }

    /// All its keys.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|keys| keys.iter())
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.all_keys().find(|key| key.name == name)
    }

    /// The family that a key belongs to, by what stands before its first dot.
    pub fn family(&self, name: &str) -> Option<&'static Family> {
        let (prefix, dotted) = name
            .split_once('.')
            .map_or((name, false), |(prefix, _)| (prefix, true));
        self.families
            .iter()
            .find(|f| f.prefix == prefix && (dotted || f.bare))
    }
}

impl Kind {
    /// What it looks like, in words: `a list of text, or nothing`.
    pub fn describe(&self) -> String {
        match self {
            Kind::Text(form) => form.expected.to_owned(),
            Kind::Words(words) => one_of(words),
            Kind::Int(0, i64::MAX) => "a whole number, not negative".to_owned(),
            Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Bool => "true or false".to_owned(),
            Kind::Null => "null".to_owned(),
            Kind::Duration(min, max) => {
                format!(
                    "a duration such as 30s or 5m, or a number of seconds, from {min} to {max} seconds"
                )
            }
            Kind::Memory => form::MEMORY.expected.to_owned(),
            Kind::List(item) => format!("a list, each item {}", item.describe()),
            Kind::Keys(section) => {
                let keys: Vec<&str> = section.all_keys().map(|key| key.name).collect();
                match keys.len() {
                    0 => "a mapping".to_owned(),
                    1..=8 => format!("a mapping with keys from {}", keys.join(", ")),
                    _ => format!("a mapping ({})", section.doc),
                }
            }
            Kind::Map(key, value) => {
                format!("a mapping from {} to {}", key.expected, value.describe())
            }
            Kind::Single(key, value) => format!(
                "a mapping with one key, {}, to {}",
                key.expected,
                value.describe()
            ),
            Kind::Anything => "anything".to_owned(),
            Kind::OneOf(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(Kind::describe).collect();
                kinds.join("; or ")
            }
        }
    }
}

/// `one`, or `one of one, two`.
fn one_of(words: &[&str]) -> String {
    match words {
        [word] => format!("`{word}`"),
        words => format!("one of {}", words.join(", ")),
    }
}

#[cfg(test)]
mod reference_tests;
