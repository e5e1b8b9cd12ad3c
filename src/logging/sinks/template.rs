//! The index template of Elasticsearch and OpenSearch. Pure.
//!
//! Field names are those of the event; ECS names are aliases of them, so that both can be asked for and the
//! stored text stays the one that every sink sends. `host.name` is a multi-field, since `host` holds a text.

use serde_json::{Value, json};

/// What a server can do with objects whose keys are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Elasticsearch's `flattened`.
    Flattened,
    /// OpenSearch's `flat_object`.
    FlatObject,
    /// Neither: kept, not searchable.
    Stored,
}

fn keyword() -> Value {
    json!({"type": "keyword", "ignore_above": 1024})
}

fn alias(path: &str) -> Value {
    json!({"type": "alias", "path": path})
}

fn unknown(kind: Unknown) -> Value {
    match kind {
        Unknown::Flattened => json!({"type": "flattened", "ignore_above": 1024}),
        Unknown::FlatObject => json!({"type": "flat_object"}),
        Unknown::Stored => json!({"type": "object", "enabled": false}),
    }
}

/// The fields of JSON lines as they come: numbers can be compared, texts are keywords, and what does not fit the
/// type that a key had first is kept and not found.
fn typed() -> Value {
    json!({"type": "object", "dynamic": true})
}

/// The fields of an event; those of JSON lines with types of their own where `typed_fields` says so.
pub fn mappings(kind: Unknown, typed_fields: bool) -> Value {
    let mut mappings = json!({
        // High-cardinality keys of apps must not grow the mapping.
        "dynamic": false,
        "date_detection": false,
        "dynamic_templates": [{"texts": {"match_mapping_type": "string", "mapping": keyword()}}],
        "properties": {
            "@timestamp": {"type": "date_nanos"},
            "timestamp": {"type": "date_nanos"},
            "container_created_at": {"type": "date_nanos"},
            "message": {"type": "text", "norms": false},
            "message_base64": {"type": "keyword", "index": false, "doc_values": false},
            "app": keyword(), "proc": keyword(), "proc_type": keyword(), "node": keyword(),
            "level": keyword(), "stream": keyword(), "source_type": keyword(), "file": keyword(),
            "container_id": keyword(), "container_name": keyword(), "image": keyword(),
            "event_id": keyword(), "kind": keyword(), "path": keyword(), "operation": keyword(), "crash": keyword(),
            "host": {"type": "keyword", "ignore_above": 1024, "fields": {"name": keyword()}},
            "instance": {"type": "long"}, "revision": {"type": "long"}, "seq": {"type": "long"},
            "truncated": {"type": "boolean"},
            "label": unknown(kind),
            "fields": if typed_fields { typed() } else { unknown(kind) },
            "log": {"properties": {"level": alias("level")}},
            "container": {"properties": {
                "id": alias("container_id"),
                "name": alias("container_name"),
                "image": {"properties": {"name": alias("image")}},
            }},
            "service": {"properties": {"name": alias("app")}},
        },
    });
    if let (Some(all), Value::Object(more)) =
        (mappings["properties"].as_object_mut(), of_known_forms(kind))
    {
        all.extend(more);
    }
    mappings
}

/// The fields of lines and messages of known forms.
fn of_known_forms(kind: Unknown) -> Value {
    json!({
        "event": {"properties": {
            "id": alias("event_id"), "sequence": alias("seq"),
            "dataset": keyword(), "duration": {"type": "long"},
        }},
        // Of access logs, by ECS. Not `source`, `user` and the like, which others send as plain texts: what is
        // an object here would be refused then.
        "http": {"properties": {
            "version": keyword(),
            "request": {"properties": {
                "method": keyword(), "referrer": keyword(), "id": keyword(), "bytes": {"type": "long"},
            }},
            "response": {"properties": {
                "status_code": {"type": "long"}, "body": {"properties": {"bytes": {"type": "long"}}},
            }},
        }},
        "url": {"properties": {
            "original": keyword(), "path": keyword(), "query": keyword(), "domain": keyword(),
            "scheme": keyword(),
        }},
        "nginx": {"properties": {
            "status_class": keyword(), "route": keyword(), "server": keyword(),
            "upstream": {"properties": {
                "address": keyword(), "status_code": {"type": "long"}, "duration": {"type": "long"},
            }},
        }},
        // Of metrics.
        "metric": {"properties": {
            "name": keyword(), "value": {"type": "double"}, "type": keyword(), "step": {"type": "double"},
            "endpoint": keyword(), "tags": unknown(kind),
        }},
        // Of syslog.
        "appname": keyword(), "hostname": keyword(), "procid": keyword(), "msgid": keyword(),
        "facility": keyword(), "severity": keyword(), "source_ip": keyword(), "version": keyword(),
        "input": keyword(),
    })
}

/// The whole template.
pub fn template(
    patterns: &[String],
    data_stream: bool,
    kind: Unknown,
    typed_fields: bool,
) -> Value {
    let mut template = json!({
        "index_patterns": patterns,
        // Above Elasticsearch's own template for logs-*-*.
        "priority": 500,
        "template": {
            "settings": {
                "index.codec": "best_compression",
                "index.refresh_interval": "5s",
                "index.query.default_field": ["message"],
                "index.mapping.ignore_malformed": true,
                "index.mapping.total_fields.limit": 2000,
            },
            "mappings": mappings(kind, typed_fields),
        },
        "_meta": {"managed_by": "lain"},
    });
    if data_stream {
        template["data_stream"] = json!({});
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecs_names_lead_to_our_fields() {
        let template = template(&["lain-*".to_owned()], false, Unknown::FlatObject, false);
        let properties = &template["template"]["mappings"]["properties"];
        for (pointer, field) in [
            ("/log/properties/level", "level"),
            ("/container/properties/id", "container_id"),
            ("/container/properties/image/properties/name", "image"),
            ("/service/properties/name", "app"),
            ("/event/properties/id", "event_id"),
        ] {
            let target = properties.pointer(pointer).unwrap();
            assert_eq!(target["path"], field);
            assert!(properties[field]["type"].is_string(), "{field} is a field");
        }
        assert_eq!(properties["host"]["fields"]["name"]["type"], "keyword");
        assert!(template.get("data_stream").is_none());
    }
}
