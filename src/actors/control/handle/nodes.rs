//! Nodes as operators handle them: join tokens, cordon, drain, labels, removal, drift, and why.

use super::Handle;
use crate::actors::control::instance::{Instance, NodeChanged};
use crate::actors::control::nodes::join;
use crate::actors::control::nodes::table::Node;
use crate::actors::control::{moves, paths, placing};
use crate::actors::hub::{Event, Level};
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::view::{JoinTokenView, MovesView, NodeChange, NodeReason, WhyView};
use crate::ports::control::{ControlError, DriftRequest};
use std::sync::Arc;
use std::time::Duration;

/// How long a join token is good unless its maker says otherwise.
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

impl Handle {
    pub(super) fn find_node(&self, name: &NodeName) -> Result<Arc<Node>, ControlError> {
        self.shared.nodes.get(name).ok_or_else(|| {
            let names = self.shared.nodes.all();
            super::not_found(
                "node",
                name.as_str(),
                names.iter().map(|n| n.name.to_string()),
            )
        })
    }

    pub(super) async fn make_join_token(
        &self,
        lifetime: Option<Duration>,
        by: &str,
    ) -> Result<JoinTokenView, ControlError> {
        let Some(listening) = self.shared.listening() else {
            return Err(ControlError::Conflict(
                "no agents are listened for: `lain dev` is one host; start `lain server` to have more"
                    .to_owned(),
            ));
        };
        let lifetime = lifetime.unwrap_or(TOKEN_LIFETIME);
        let (token, expires_at) = join::make_token(&self.shared, lifetime, by).await?;
        Ok(JoinTokenView {
            token,
            expires_at,
            server: listening.address,
            authority: listening.fingerprint,
        })
    }

    pub(super) async fn change_node(
        &self,
        name: &NodeName,
        change: NodeChange,
    ) -> Result<(), ControlError> {
        let node = self.find_node(name)?;
        let changed = |record: &mut crate::ports::agent::NodeRecord| {
            if let Some(cordoned) = change.cordoned {
                record.cordoned = cordoned.then(|| {
                    let reason = change.reason.clone();
                    reason.unwrap_or_else(|| "cordoned by an operator".to_owned())
                });
                if !cordoned {
                    record.draining = false;
                }
            }
            for (key, value) in change.labels.iter().flatten() {
                match value {
                    Some(value) => record.labels.insert(key.clone(), value.clone()),
                    None => record.labels.remove(key),
                };
            }
        };
        join::change(&self.shared, &node, changed).await?;
        if let Some(cordoned) = change.cordoned {
            let (kind, text) = match cordoned {
                true => ("node_cordoned", format!("node {name} takes nothing new")),
                false => (
                    "node_uncordoned",
                    format!("node {name} takes instances again"),
                ),
            };
            let event = Event::new(kind, Level::Info, text);
            self.shared.hub.emit(event.node(name));
        }
        Ok(())
    }

    pub(super) async fn remove_node(
        &self,
        name: &NodeName,
        force: bool,
    ) -> Result<(), ControlError> {
        let node = self.find_node(name)?;
        if node.local {
            return Err(ControlError::Conflict(format!(
                "node {name} is this very process; stop it instead"
            )));
        }
        let left = self.shared.world.placements_on(name).len();
        if left > 0 && !force {
            return Err(ControlError::Conflict(format!(
                "{left} instances are on node {name}: drain it first with `lain node drain {name}`, or remove it with --force, which starts them elsewhere"
            )));
        }
        join::remove(&self.shared, &node).await?;
        for placement in self.shared.world.placements_on(name) {
            let path = paths::instance(&placement.instance);
            self.shared.tell::<Instance, _>(&path, NodeChanged);
        }
        Ok(())
    }

    /// Moves what runs on a node away: at most `unavailable` instances of a proc at a time.
    pub(super) async fn drain_node(
        &self,
        name: &NodeName,
        unavailable: u32,
    ) -> Result<MovesView, ControlError> {
        let node = self.find_node(name)?;
        join::change(&self.shared, &node, |record| {
            record.draining = true;
            record
                .cordoned
                .get_or_insert_with(|| "it is being drained".to_owned());
        })
        .await?;
        Ok(moves::drain(&self.shared, name, unavailable))
    }

    /// LAIN's drift: from a node, to a node, of one app, one instance.
    pub(super) fn drift_instances(&self, request: DriftRequest) -> Result<MovesView, ControlError> {
        for node in request.from.iter().chain(&request.to) {
            self.find_node(node)?;
        }
        if let Some(app) = &request.app {
            self.find_app(app)?;
        }
        Ok(moves::drift(&self.shared, request))
    }

    pub(super) fn read_moves(&self, id: &str) -> Result<MovesView, ControlError> {
        let found = self.shared.moves.get(id);
        found.ok_or_else(|| super::not_found("moves", id, std::iter::empty()))
    }

    /// Why an instance is where it is, or nowhere.
    pub(super) fn explain(&self, id: &InstanceId) -> Result<WhyView, ControlError> {
        let app = self.find_app(&id.app)?;
        let placement = self
            .shared
            .world
            .placement(id)
            .ok_or_else(|| super::not_found("instance", &id.to_string(), std::iter::empty()))?;
        let view = crate::actors::control::views::instance(&self.shared, &app.record, &placement);
        let rejections = placing::rejections(&self.shared, &app.record, &placement);
        let nodes = rejections.nodes.iter().map(|(node, reason)| NodeReason {
            node: node.to_string(),
            reason: reason.to_string(),
        });
        Ok(WhyView {
            instance: id.to_string(),
            state: view.state,
            reason: view.reason,
            node: placement.node.to_string(),
            drift: placement.drift,
            gave_up: placement
                .failed_on
                .iter()
                .map(|(node, n)| format!("{node} ({n})"))
                .collect(),
            nodes: nodes.collect(),
        })
    }
}
