//! Generations: what an instance that may run only once writes through lain, after another has taken its place.
//!
//! A container's generation is higher than that of each container of its instance before it. It is told to the
//! container, so that whatever it writes to can refuse a lower one; and it is on each of its log events. Those
//! that arrive when there is a higher one are kept, since what they say did happen, and marked.

use crate::actors::shared::Shared;
use crate::domain::id::InstanceId;
use crate::domain::labels;
use serde_json::Value;

/// The field of a log event that came from a container whose place another one has taken.
pub const STALE: &str = "stale";

/// The event as it is kept: marked where its generation is over.
pub fn checked(shared: &Shared, json: String) -> Vec<u8> {
    let current = |id: &InstanceId| shared.world.placement(id).map(|p| p.generation);
    mark(&json, current).map_or_else(|| json.into_bytes(), String::into_bytes)
}

/// The event with the mark; `None` where it is to be kept as it is.
fn mark(json: &str, current: impl Fn(&InstanceId) -> Option<u64>) -> Option<String> {
    // Nearly all events are of instances without generations, and are not read for this.
    if !json.contains(labels::GENERATION) {
        return None;
    }
    let mut event: Value = serde_json::from_str(json).ok()?;
    let given: u64 = event["label"][labels::GENERATION].as_str()?.parse().ok()?;
    let text = |key: &str| event[key].as_str();
    let id = InstanceId {
        app: text("app")?.parse().ok()?,
        proc_type: text("proc_type")?.parse().ok()?,
        proc: text("proc")?.parse().ok()?,
        no: event["instance"].as_u64()?.try_into().ok()?,
    };
    if given >= current(&id)? {
        return None;
    }
    event[STALE] = Value::Bool(true);
    Some(event.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_superseded_container_wrote_is_marked() {
        let event = |generation: &str| {
            format!(
                r#"{{"app":"hello","instance":2,"label":{{{generation}}},"message":"hi","proc":"web","proc_type":"web"}}"#
            )
        };
        let seven = event(r#""lain.generation":"7""#);
        let at = |current: Option<u64>| {
            let marked = mark(&seven, |id| {
                assert_eq!(id.to_string(), "hello.web.web.i2");
                current
            })?;
            let event: Value = serde_json::from_str(&marked).expect("JSON");
            assert_eq!(event["message"], "hi");
            event[STALE].as_bool()
        };
        assert_eq!(at(Some(8)), Some(true));
        for current in [Some(7), Some(6), None] {
            assert_eq!(at(current), None, "{current:?}");
        }
        let never = |json: &str| mark(json, |_| Some(u64::MAX));
        assert_eq!(never(&event("")), None, "it has none");
        assert_eq!(never("lain.generation"), None, "no JSON");
        assert_eq!(never(&event(r#""lain.generation":"x""#)), None);
    }
}
