//! Compares two versions of a proc: what changed, and whether its containers must be replaced.
//!
//! Called by plans and by the reconciler. What the engine fixes when it creates a container
//! (image, command, environment, mounts …) asks for a new one; everything else, limits included,
//! is changed in place. The app's release image is not part of a [`ProcSpec`]: callers that
//! resolve it compare it themselves.

use super::model::ProcSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use utoipa::ToSchema;

/// The fields that a container is created with and keeps.
///
/// `name` and `proc_type` are part of the container's name, and the engine publishes stream ports. Of
/// a volume only the path counts.
const CREATED_WITH: [&str; 17] = [
    "name",
    "proc_type",
    "image",
    "entrypoint",
    "cmd",
    "user",
    "workdir",
    "ports",
    "stream_ports",
    "env",
    "volumes",
    "cloud_volumes",
    "secret_files",
    "secret_files_bypass",
    "labels",
    "dns_search",
    "service_name",
];

/// What a changed field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// New containers.
    Recreate,
    /// Nothing that its containers would notice but by their limits and routes.
    InPlace,
}

/// One field that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldDiff {
    /// The field of [`ProcSpec`].
    pub field: String,
    /// What it asks for.
    pub effect: Effect,
    /// Its value before.
    #[schema(value_type = Object)]
    pub old: Value,
    /// Its value now.
    #[schema(value_type = Object)]
    pub new: Value,
}

impl fmt::Display for FieldDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Recreate => "recreate",
            Effect::InPlace => "in place",
        };
        write!(f, "{}: {} → {} ({effect})", self.field, self.old, self.new)
    }
}

/// Every field that differs, in alphabetical order.
pub fn changes(old: &ProcSpec, new: &ProcSpec) -> Vec<FieldDiff> {
    let (old, new) = (fields(old), fields(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |map: &serde_json::Map<String, Value>, name: &str| {
        map.get(name).cloned().unwrap_or(Value::Null)
    };
    let mut found = Vec::new();
    for name in names {
        let (before, after) = (value(&old, name), value(&new, name));
        if before != after {
            let effect = if needs_container(name, &before, &after) {
                Effect::Recreate
            } else {
                Effect::InPlace
            };
            found.push(FieldDiff {
                field: name.clone(),
                effect,
                old: before,
                new: after,
            });
        }
    }
    found
}

/// The changes that ask for new containers; none: the running ones serve the new version.
pub fn requires_new_container(old: &ProcSpec, new: &ProcSpec) -> Vec<FieldDiff> {
    changes(old, new)
        .into_iter()
        .filter(|diff| diff.effect == Effect::Recreate)
        .collect()
}

/// The changes that running containers take: limits, counts, health, routes, backups.
pub fn in_place(old: &ProcSpec, new: &ProcSpec) -> Vec<FieldDiff> {
    changes(old, new)
        .into_iter()
        .filter(|diff| diff.effect == Effect::InPlace)
        .collect()
}

/// A hash, in hexadecimal, of all that a proc's containers are created with: SHA-256 of its
/// canonical JSON (keys sorted, no blanks). Equal hashes: a running container needs no replacing.
pub fn content_hash(proc: &ProcSpec) -> String {
    let mut fields = fields(proc);
    fields.retain(|name, _| CREATED_WITH.contains(&name.as_str()));
    if let Some(volumes) = fields.get_mut("volumes") {
        *volumes = paths(volumes);
    }
    let mut text = String::new();
    canonical(&Value::Object(fields), &mut text);
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn needs_container(field: &str, old: &Value, new: &Value) -> bool {
    CREATED_WITH.contains(&field) && (field != "volumes" || paths(old) != paths(new))
}

fn fields(proc: &ProcSpec) -> serde_json::Map<String, Value> {
    match serde_json::to_value(proc) {
        Ok(Value::Object(fields)) => fields,
        // A struct of texts, numbers and lists always becomes an object.
        _ => serde_json::Map::new(),
    }
}

/// The paths of volumes, without their backup policies.
fn paths(volumes: &Value) -> Value {
    volumes
        .as_array()
        .into_iter()
        .flatten()
        .map(|volume| volume["path"].clone())
        .collect()
}

/// JSON with sorted keys, whatever order the map type of this build keeps.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
