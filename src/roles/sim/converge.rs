//! Whether all is as wanted: each instance that an app wants runs once, where its placement says, and nothing else.

use super::machine::{Life, Machine};
use crate::actors::control::render;
use crate::actors::control::world::{decode, list_all};
use crate::domain::id::NodeName;
use crate::domain::record::{AppRecord, Placement, keys};
use crate::ports::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What is not as wanted, in a sentence; `None` when all is.
pub async fn missing(store: &dyn Store, machines: &[&Machine]) -> Option<String> {
    match look(store, machines).await {
        Ok(missing) => missing,
        Err(error) => Some(error.to_string()),
    }
}

async fn look(store: &dyn Store, machines: &[&Machine]) -> Result<Option<String>, StoreError> {
    let mut placements: BTreeMap<String, Vec<Placement>> = BTreeMap::new();
    for entry in list_all(store, keys::INSTANCES).await? {
        let placement: Placement = decode(&entry)?;
        let app = placement.instance.app.to_string();
        placements.entry(app).or_default().push(placement);
    }
    let mut due = BTreeSet::new();
    for entry in list_all(store, keys::APPS).await? {
        let record: AppRecord = decode(&entry)?;
        let name = record.current.spec.appname.to_string();
        let mine = placements.remove(&name).unwrap_or_default();
        if let Some(why) = of_app(&record, &mine, &mut due) {
            return Ok(Some(format!("app {name}: {why}")));
        }
    }
    if let Some(app) = placements.keys().next() {
        return Ok(Some(format!("app {app} is gone and has placements")));
    }
    Ok(on_machines(machines, due))
}

/// Notes where each instance has to run, by container and node.
fn of_app(
    record: &AppRecord,
    placements: &[Placement],
    due: &mut BTreeSet<(NodeName, String)>,
) -> Option<String> {
    if record.removing {
        return Some("it is being removed".to_owned());
    }
    if record.operation.is_some() {
        return Some("an operation is in progress".to_owned());
    }
    let mut wanted = 0;
    for proc in record.procs() {
        let full_name = proc.full_name();
        for no in 1..=proc.num_instances {
            wanted += 1;
            let placed = placements
                .iter()
                .find(|p| p.instance.no == no && p.instance.proc == proc.name);
            let Some(placed) = placed else {
                return Some(format!("{full_name} {no} is not placed"));
            };
            if placed.version != record.version(&full_name) {
                return Some(format!(
                    "{} is at version {}, and {} is wanted",
                    placed.instance,
                    placed.version,
                    record.version(&full_name)
                ));
            }
            due.insert((placed.node.clone(), render::name_of(placed)));
        }
    }
    (placements.len() != wanted).then(|| {
        format!(
            "{wanted} instances are wanted, and {} are placed",
            placements.len()
        )
    })
}

fn on_machines(machines: &[&Machine], mut due: BTreeSet<(NodeName, String)>) -> Option<String> {
    for machine in machines {
        for (name, container) in machine.all() {
            let key = (machine.name.clone(), name);
            if !due.remove(&key) {
                return Some(format!("{} is on {}, and nobody wants it", key.1, key.0));
            }
            if container.life != Life::Running {
                return Some(format!("{} on {} is {:?}", key.1, key.0, container.life));
            }
        }
    }
    let (node, name) = due.first()?;
    Some(format!("{name} is not on {node}"))
}
