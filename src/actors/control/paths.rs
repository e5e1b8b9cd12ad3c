//! Paths of the control host's actors in the supervision tree.

use crate::domain::id::{AppName, InstanceId};

/// An app's child id under `apps`.
pub fn app_id(app: &AppName) -> String {
    format!("app/{app}")
}

/// An app's supervisor.
pub fn app(app: &AppName) -> String {
    format!("apps/app/{app}")
}

/// An app's rollout actor.
pub fn rollout(app: &AppName) -> String {
    format!("apps/app/{app}/rollout")
}

/// A proc's child id under its app, from its full name.
pub fn proc_id(full_name: &str) -> String {
    format!("proc/{full_name}")
}

/// A proc's supervisor.
pub fn proc(app: &AppName, full_name: &str) -> String {
    format!("apps/app/{app}/{}", proc_id(full_name))
}

/// An instance's child id under its proc.
pub fn instance_id(no: u32) -> String {
    format!("instance/{no}")
}

/// An instance's actor.
pub fn instance(id: &InstanceId) -> String {
    format!("{}/{}", proc(&id.app, &id.full_name()), instance_id(id.no))
}
