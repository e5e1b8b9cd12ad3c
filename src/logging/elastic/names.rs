//! Where to search, and how fields are named there.

use crate::logging::query::Plan;
use serde_json::{Map, Value};

/// Where to search.
#[derive(Clone)]
pub struct Target {
    /// The index, or a pattern of indices.
    pub index: String,
    /// Our names of fields, and the index's where they differ.
    pub names: Vec<(String, String)>,
    /// A keyword field of the index that differs in every event, to order those of the same time.
    pub tiebreak: String,
    /// Fields of the index that are others by another name: asked for, but not listed and not shown.
    pub aliases: Vec<String>,
}

impl Target {
    /// An index whose fields have our names.
    pub fn plain(index: &str) -> Self {
        Self {
            index: index.to_owned(),
            names: Vec::new(),
            tiebreak: "event_id".to_owned(),
            aliases: Vec::new(),
        }
    }

    /// What lain's own sink makes: our names, and those of the Elastic Common Schema as aliases of them.
    pub fn lain(index: &str) -> Self {
        let aliases = [
            "@timestamp",
            "log.level",
            "host.name",
            "service.name",
            "container.id",
            "container.name",
            "container.image.name",
            "event.id",
            "event.sequence",
        ];
        Self {
            aliases: aliases.map(str::to_owned).to_vec(),
            ..Self::plain(index)
        }
    }

    /// Whether a field of the index is another one by another name.
    pub(super) fn is_alias(&self, name: &str) -> bool {
        self.aliases.iter().any(|alias| alias == name)
    }

    /// Indices with the names of the Elastic Common Schema.
    pub fn ecs(index: &str) -> Self {
        let names = [
            ("timestamp", "@timestamp"),
            ("level", "log.level"),
            ("host", "host.name"),
            ("app", "service.name"),
            ("container_id", "container.id"),
            ("container_name", "container.name"),
            ("image", "container.image.name"),
            ("event_id", "event.id"),
            ("label", "labels"),
        ];
        Self {
            index: index.to_owned(),
            names: names
                .map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned()))
                .to_vec(),
            tiebreak: "event.id".to_owned(),
            aliases: Vec::new(),
        }
    }

    pub(super) fn theirs(&self, name: &str) -> String {
        renamed(
            name,
            self.names
                .iter()
                .map(|(ours, theirs)| (ours.as_str(), theirs.as_str())),
        )
    }

    pub(super) fn ours(&self, name: &str) -> String {
        renamed(
            name,
            self.names
                .iter()
                .map(|(ours, theirs)| (theirs.as_str(), ours.as_str())),
        )
    }

    /// A plan over the index's names.
    pub(super) fn plan(&self, plan: Plan) -> Plan {
        let each = |all: Vec<Plan>| all.into_iter().map(|p| self.plan(p)).collect();
        match plan {
            Plan::And(all) => Plan::And(each(all)),
            Plan::Or(all) => Plan::Or(each(all)),
            Plan::Not(inner) => Plan::Not(Box::new(self.plan(*inner))),
            Plan::Field(name, check) => Plan::Field(self.theirs(&name), check),
            Plan::Nested(path, inner) => {
                Plan::Nested(self.theirs(&path), Box::new(self.plan(*inner)))
            }
            other => other,
        }
    }

    /// An event with our names.
    pub(super) fn event(&self, mut event: Map<String, Value>) -> Map<String, Value> {
        for (ours, theirs) in &self.names {
            if let Some(value) = take(&mut event, theirs) {
                event.insert(ours.clone(), value);
            }
        }
        for alias in &self.aliases {
            event.remove(alias);
        }
        event
    }
}

/// A name, or the object that it lies in, renamed.
fn renamed<'a>(name: &str, mut names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let found = names.find_map(|(from, to)| {
        let rest = name.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
    });
    found.unwrap_or_else(|| name.to_owned())
}

/// Takes the value at a dotted path, and the objects that it leaves empty.
fn take(event: &mut Map<String, Value>, path: &str) -> Option<Value> {
    if let Some(value) = event.remove(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    let inner = event.get_mut(first)?.as_object_mut()?;
    let value = take(inner, rest);
    if inner.is_empty() {
        event.remove(first);
    }
    value
}
