//! The JSON Schema of `lain.yaml`, for editors: generated from the table of keys.
//!
//! Served by `lain schema`. It accepts every file that the parser accepts (a test checks this);
//! the parser refuses more, as a schema cannot say everything.

use super::keys::{
    DURATION, Family, Form, Key, Kind, MEMORY, PROC, Required, SERVICE, Section, TOP, TYPED,
};
use super::value::MIN_MEMORY;
use crate::domain::id::ProcType;
use serde_json::{Map, Value, json};

/// The names that YAML 1.1 has for truth values besides `true` and `false`.
const OLD_BOOLEANS: [&str; 12] = [
    "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF",
];

/// The schema, draft 2020-12.
pub fn json_schema() -> Value {
    let mut schema = section(&TOP, None);
    let mut definitions = Map::new();
    for key in SERVICE.all_keys().chain(PROC.all_keys()) {
        definitions
            .entry(format!("key.{}", key.name))
            .or_insert_with(|| described(key));
    }
    for family in TOP.families {
        definitions.insert(family.prefix.to_owned(), family_body(family));
    }
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(TOP.name);
    schema["$defs"] = Value::Object(definitions);
    schema
}

fn family_body(family: &Family) -> Value {
    let mut body = section(family.section, family.proc_type);
    body["description"] = json!(family.doc);
    if family.proc_type.is_none() {
        body["allOf"] = ProcType::ALL
            .into_iter()
            .map(|proc_type| by_type(family.section, proc_type))
            .collect();
    }
    body
}

/// What holds for procs whose key `type` says `proc_type`; without the key they are workers.
fn by_type(section: &'static Section, proc_type: ProcType) -> Value {
    let mut condition = json!({ "properties": { "type": { "const": proc_type.as_str() } } });
    if proc_type != ProcType::Worker {
        condition["required"] = json!(["type"]);
    }
    let forbidden: Map<String, Value> = section
        .all_keys()
        .filter(|key| !key.allowed_for(proc_type))
        .map(|key| (key.name.to_owned(), json!(false)))
        .collect();
    let mut then = json!({ "properties": forbidden });
    let required: Vec<&str> = section
        .all_keys()
        .filter(|key| key.required == Required::For(proc_type))
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        then["required"] = json!(required);
    }
    json!({ "if": condition, "then": then })
}

/// A mapping of fixed keys; those of another type of proc are left out where the type is known.
fn section(section: &'static Section, proc_type: Option<ProcType>) -> Value {
    let keys: Vec<&'static Key> = section
        .all_keys()
        .filter(|key| proc_type.is_none_or(|this| key.allowed_for(this)))
        .collect();
    let mut properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(section, key)))
        .collect();
    let mut patterns = Map::new();
    for family in section.families {
        let body = json!({ "$ref": format!("#/$defs/{}", family.prefix) });
        if family.bare {
            properties.insert(family.prefix.to_owned(), body.clone());
        }
        patterns.insert(
            format!("^{}\\.[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$", family.prefix),
            body,
        );
    }
    let mut schema =
        json!({ "type": "object", "description": section.doc, "properties": properties });
    if !patterns.is_empty() {
        schema["patternProperties"] = Value::Object(patterns);
    }
    schema["additionalProperties"] = section.rest.map_or(json!(false), |(_, rest)| kind(rest));
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| is_required(key, proc_type))
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let exclusive: Vec<Value> = keys
        .iter()
        .filter_map(|key| Some(json!({ "not": { "required": [key.name, key.same_as?] } })))
        .collect();
    if !exclusive.is_empty() {
        schema["allOf"] = json!(exclusive);
    }
    schema
}

fn is_required(key: &Key, proc_type: Option<ProcType>) -> bool {
    match key.required {
        Required::No => false,
        Required::Yes => true,
        Required::For(only) => proc_type == Some(only),
    }
}

/// The keys of procs are shared by many sections, so they are defined once.
fn property(section: &'static Section, key: &'static Key) -> Value {
    let shared = [&TYPED, &PROC, &SERVICE, &super::keys::SERVICE_PORTAL]
        .iter()
        .any(|of| std::ptr::eq(*of, section));
    if shared {
        json!({ "$ref": format!("#/$defs/key.{}", key.name) })
    } else {
        described(key)
    }
}

fn described(key: &Key) -> Value {
    let mut schema = match kind(key.kind) {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    let default = if key.default.is_empty() {
        String::new()
    } else {
        format!(" Default: {}.", key.default)
    };
    schema.insert(
        "description".to_owned(),
        json!(format!("{}{default}", key.doc)),
    );
    Value::Object(schema)
}

fn kind(of: &'static Kind) -> Value {
    match of {
        Kind::Text(form) => text(form),
        Kind::Words(words) => json!({ "enum": words }),
        Kind::Int(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Bool => {
            json!({ "anyOf": [{ "type": "boolean" }, { "enum": OLD_BOOLEANS, "deprecated": true }] })
        }
        Kind::Null => json!({ "type": "null" }),
        Kind::Duration(min, max) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, text(&DURATION)] })
        }
        Kind::Memory => {
            json!({ "anyOf": [{ "type": "integer", "minimum": MIN_MEMORY }, text(&MEMORY)] })
        }
        Kind::List(item) => json!({ "type": ["array", "null"], "items": kind(item) }),
        Kind::Keys(keys) => section(keys, None),
        Kind::Map(form, value) => map(form, value),
        Kind::Single(form, value) => {
            let mut schema = map(form, value);
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
            schema
        }
        Kind::Anything => json!(true),
        Kind::OneOf(kinds) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>() }),
    }
}

fn text(form: &Form) -> Value {
    let mut schema = json!({ "type": "string", "examples": form.examples });
    if let Some(pattern) = form.pattern {
        schema["pattern"] = json!(pattern);
    }
    schema
}

fn map(form: &Form, value: &'static Kind) -> Value {
    match form.pattern {
        Some(pattern) => json!({
            "type": "object",
            "patternProperties": { pattern: kind(value) },
            "additionalProperties": false,
        }),
        None => json!({ "type": "object", "additionalProperties": kind(value) }),
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
