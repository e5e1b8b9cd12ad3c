//! `apps/app/<app>`: the supervisors of one app and of its procs, and their children at run time.
//!
//! Both are one_for_one: what takes an app's procs along with each other is `group`, which acts on
//! containers; restarting these actors touches no container. Children are computed anew at every start.

use crate::actors::control::carry::Failure;
use crate::actors::control::instance::{self, Instance};
use crate::actors::control::render;
use crate::actors::control::rollout::{self, Rollout};
use crate::actors::control::{paths, relocate};
use crate::actors::recorder::{Record, Touch};
use crate::actors::shared::Shared;
use crate::actors::supervise::{CallError, ChildSpec, Flags, Strategy, SupervisorSpec};
use crate::domain::id::{AppName, InstanceId};
use crate::domain::record::keys;
use crate::ports::store::Change;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Restarts of an app's own actors that are borne; a given-up instance costs its proc one.
const INTENSITY: u32 = 30;
/// The window of [`INTENSITY`].
const PERIOD: Duration = Duration::from_secs(60);

fn flags() -> Flags {
    Flags::new(Strategy::OneForOne).intensity(INTENSITY, PERIOD)
}

/// The supervisor of one app.
pub fn spec(shared: &Arc<Shared>, app: &AppName) -> ChildSpec {
    let (shared, app) = (Arc::clone(shared), app.clone());
    ChildSpec::supervisor_with(paths::app_id(&app), move || {
        let spec = SupervisorSpec {
            flags: flags(),
            children: children(&shared, &app),
        };
        std::future::ready(Ok(spec.into()))
    })
}

/// The rollout first, then the procs that have instances.
fn children(shared: &Arc<Shared>, app: &AppName) -> Vec<ChildSpec> {
    let args = rollout::Args {
        shared: Arc::clone(shared),
        app: app.clone(),
    };
    let procs: BTreeSet<String> = shared
        .world
        .placements(app)
        .iter()
        .map(|p| p.instance.full_name())
        .collect();
    let rollout = ChildSpec::worker::<Rollout>("rollout", args);
    std::iter::once(rollout)
        .chain(procs.into_iter().map(|name| proc_spec(shared, app, name)))
        .collect()
}

/// The supervisor of one proc.
fn proc_spec(shared: &Arc<Shared>, app: &AppName, full_name: String) -> ChildSpec {
    let (shared, app) = (Arc::clone(shared), app.clone());
    ChildSpec::supervisor_with(paths::proc_id(&full_name), move || {
        let placed = shared
            .world
            .placements(&app)
            .into_iter()
            .map(|p| p.instance);
        let mine = placed.filter(|id| id.full_name() == full_name);
        let spec = SupervisorSpec {
            flags: flags(),
            children: mine.map(|id| instance_spec(&shared, id)).collect(),
        };
        std::future::ready(Ok(spec.into()))
    })
}

fn instance_spec(shared: &Arc<Shared>, id: InstanceId) -> ChildSpec {
    ChildSpec::worker::<Instance>(
        paths::instance_id(id.no),
        instance::Args {
            shared: Arc::clone(shared),
            id,
        },
    )
}

/// Starts a child that may exist already, running or not.
async fn ensure(shared: &Shared, supervisor: &str, spec: ChildSpec) -> Result<(), String> {
    let id = spec.id.clone();
    let supervisor_ref = shared.supervisor(supervisor);
    let outcome = match supervisor_ref.start_child(spec).await {
        Err(CallError::AlreadyPresent) => supervisor_ref.restart_child(id.clone()).await,
        outcome => outcome,
    };
    match outcome {
        Ok(_) | Err(CallError::AlreadyStarted(_) | CallError::Running | CallError::Restarting) => {
            Ok(())
        }
        Err(error) => Err(format!("{supervisor} cannot start {id}: {error}")),
    }
}

/// Makes sure that an app's supervisor runs.
///
/// # Errors
/// A sentence, when the tree is going down.
pub async fn ensure_app(shared: &Arc<Shared>, app: &AppName) -> Result<(), String> {
    ensure(shared, "apps", spec(shared, app)).await?;
    // An operator may have terminated it. One that runs is what is wanted; one that cannot be started is told of by
    // its supervisor, and is tried again by the next change.
    let supervisor = shared.supervisor(&paths::app(app));
    if let Err(error) = supervisor.restart_child("rollout".to_owned()).await
        && !matches!(error, CallError::Running | CallError::Restarting)
    {
        tracing::warn!(%app, %error, "the app's rollout could not be started");
    }
    Ok(())
}

/// Makes sure that an instance's actor runs, and its proc's supervisor.
///
/// # Errors
/// As [`ensure_app`].
pub async fn ensure_instance(shared: &Arc<Shared>, id: &InstanceId) -> Result<(), Failure> {
    let full_name = id.full_name();
    ensure(
        shared,
        &paths::app(&id.app),
        proc_spec(shared, &id.app, full_name.clone()),
    )
    .await?;
    ensure(
        shared,
        &paths::proc(&id.app, &full_name),
        instance_spec(shared, id.clone()),
    )
    .await?;
    Ok(())
}

async fn drop_child(shared: &Shared, supervisor: &str, id: String) {
    let supervisor = shared.supervisor(supervisor);
    // One that is gone already is what is wanted.
    if supervisor.terminate_child(id.clone()).await.is_ok() {
        let _ = supervisor.delete_child(id).await;
    }
}

/// Forgets an instance: its placement, then its actor, and what that was at.
///
/// # Errors
/// What the store said.
pub async fn drop_instance(shared: &Arc<Shared>, id: &InstanceId) -> Result<(), Failure> {
    let dropping = Arc::clone(&shared.dropping).read_owned().await;
    let (shared, id) = (Arc::clone(shared), id.clone());
    // Once begun it is seen to its end: who asked may be given up, and then nobody would know what the store has.
    let dropped = actix_rt::spawn(async move {
        let dropped = drop_all_of(&shared, &id).await;
        drop(dropping);
        dropped
    });
    Ok(dropped.await.map_err(|e| e.to_string())??)
}

async fn drop_all_of(shared: &Arc<Shared>, id: &InstanceId) -> Result<(), String> {
    forget(shared, id).await?;
    let full_name = id.full_name();
    let proc = paths::proc(&id.app, &full_name);
    drop_child(shared, &proc, paths::instance_id(id.no)).await;
    // It may have been on its way to another node, which nobody ends any more.
    for cell in shared.node.of(id) {
        relocate::give_up(shared, &cell).await;
    }
    let left = shared.world.placements(&id.app);
    if !left.iter().any(|p| p.instance.proc == id.proc) {
        drop_child(shared, &paths::app(&id.app), paths::proc_id(&full_name)).await;
    }
    Ok(())
}

async fn forget(shared: &Shared, id: &InstanceId) -> Result<(), String> {
    let change = Change::Delete(keys::instance(id));
    let turn = shared.keeping.read().await;
    let written = shared.store.transact(Vec::new(), vec![change]).await;
    if let Err(error) = written {
        // It may be gone all the same: the store is to have what is acted on.
        let again = Record::Placement(id.clone(), Touch::Again);
        shared.recorder.send(again);
        return Err(error.to_string());
    }
    let placement = shared.world.placement(id);
    shared.world.remove_placement(id);
    drop(turn);
    let node = placement.as_ref().and_then(|p| shared.nodes.get(&p.node));
    if let (Some(node), Some(placement)) = (node.filter(|n| !n.local), placement) {
        // A node that was told to keep what is placed there, and not yet what it is, learns that it is not wanted.
        node.undesire(&render::name_of(&placement));
    }
    Ok(())
}

/// Ends the actors of an app that is removed.
pub async fn drop_app(shared: &Arc<Shared>, app: &AppName) {
    drop_child(shared, "apps", paths::app_id(app)).await;
}
