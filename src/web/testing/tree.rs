//! A supervision tree made up from the world: root, apps, app, proc, instance.

use super::world::{World, not_found};
use crate::domain::id::InstanceId;
use crate::domain::view::{ActorView, MailboxView};
use crate::ports::control::{ChildAction, ControlError};

/// The path of an instance's actor.
pub fn path_of(id: &InstanceId) -> String {
    format!(
        "apps/app/{}/proc/{}.{}/instance/{}",
        id.app, id.proc_type, id.proc, id.no
    )
}

/// The tree below `path`, `depth` levels of it.
///
/// # Errors
/// If there is no such actor.
pub fn tree(world: &World, path: &str, depth: Option<u32>) -> Result<ActorView, ControlError> {
    let mut found = root(world);
    let mut known = Vec::new();
    while found.path != path {
        known.extend(found.children.iter().map(|child| child.path.clone()));
        let below = |child: &ActorView| {
            let rest = path.strip_prefix(&child.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let Some(next) = found.children.into_iter().find(below) else {
            return Err(not_found("actor", path, known.iter().map(String::as_str)));
        };
        found = next;
    }
    cut(&mut found, depth);
    Ok(found)
}

fn cut(actor: &mut ActorView, depth: Option<u32>) {
    match depth {
        Some(0) => actor.children.clear(),
        deeper => {
            let deeper = deeper.map(|depth| depth - 1);
            actor
                .children
                .iter_mut()
                .for_each(|child| cut(child, deeper));
        }
    }
}

/// Restarts or terminates a child.
///
/// # Errors
/// If there is no such child, or the root is meant.
pub fn act(world: &mut World, path: &str, action: ChildAction) -> Result<ActorView, ControlError> {
    tree(world, path, Some(0))?;
    if path.is_empty() {
        return Err(ControlError::Conflict(
            "the root is nobody's child".to_owned(),
        ));
    }
    match action {
        ChildAction::Terminate => {
            world.terminated.insert(path.to_owned());
        }
        ChildAction::Restart => {
            world.terminated.remove(path);
            *world.restarted.entry(path.to_owned()).or_default() += 1;
        }
    }
    tree(world, path, Some(0))
}

fn root(world: &World) -> ActorView {
    let apps = world
        .apps
        .keys()
        .map(|name| app(world, name.as_str()))
        .collect();
    let apps = supervisor(world, "apps", "apps", apps);
    ActorView {
        strategy: Some("rest_for_one".to_owned()),
        ..supervisor(world, "", "root", vec![apps])
    }
}

fn app(world: &World, name: &str) -> ActorView {
    let path = format!("apps/app/{name}");
    let app = world.apps.iter().find(|(known, _)| known.as_str() == name);
    let procs = app.map(|(_, app)| app.record.procs()).unwrap_or_default();
    let procs = procs.iter().map(|proc| {
        let full_name = proc.full_name();
        let path = format!("{path}/proc/{full_name}");
        let placements = app.map(|(_, app)| &app.placements[..]).unwrap_or_default();
        let mine = placements.iter().filter(|p| p.instance.proc == proc.name);
        let instances =
            mine.map(|p| worker(world, &path_of(&p.instance), &p.instance.no.to_string()));
        supervisor(world, &path, &full_name, instances.collect())
    });
    supervisor(world, &path, name, procs.collect())
}

fn worker(world: &World, path: &str, id: &str) -> ActorView {
    let terminated = world.terminated.contains(path);
    let restarts = world.restarted.get(path).copied().unwrap_or(0);
    ActorView {
        path: path.to_owned(),
        id: id.to_owned(),
        kind: "worker".to_owned(),
        strategy: None,
        restart: "permanent".to_owned(),
        shutdown: "5s".to_owned(),
        significant: false,
        state: if terminated { "undefined" } else { "running" }.to_owned(),
        note: None,
        incarnation: restarts + 1,
        started_at: None,
        restarts,
        restarts_in_window: None,
        intensity: None,
        period_ms: None,
        restart_at: None,
        awaiting: None,
        mailbox: Some(MailboxView {
            length: 0,
            oldest_age_ms: None,
            handled: 1,
            rate: 0.0,
            current: None,
            current_ms: None,
            handler_max_us: 1,
            handler_p99_us: 1,
        }),
        history: Vec::new(),
        last_crash: None,
        detail: None,
        child_count: 0,
        children: Vec::new(),
    }
}

fn supervisor(world: &World, path: &str, id: &str, children: Vec<ActorView>) -> ActorView {
    ActorView {
        kind: "supervisor".to_owned(),
        strategy: Some("one_for_one".to_owned()),
        shutdown: "infinity".to_owned(),
        restarts_in_window: Some(0),
        intensity: Some(5),
        period_ms: Some(60_000),
        child_count: u32::try_from(children.len()).unwrap_or(u32::MAX),
        children,
        ..worker(world, path, id)
    }
}
