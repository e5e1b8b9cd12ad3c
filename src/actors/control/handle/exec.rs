//! Commands inside instances, and one-off containers.

use super::Handle;
use crate::actors::agent::cell::Phase;
use crate::actors::control::nodes::ops;
use crate::actors::control::placing;
use crate::actors::control::render::{self, Counters};
use crate::domain::id::{AppName, InstanceId, ProcName};
use crate::domain::labels;
use crate::ports::control::ControlError;
use crate::ports::runtime::{ExecRequest, ExecSession};

impl Handle {
    pub(super) async fn exec_in(
        &self,
        instance: &InstanceId,
        request: ExecRequest,
    ) -> Result<ExecSession, ControlError> {
        self.find_app(&instance.app)?;
        if self.shared.world.placement(instance).is_none() {
            return Err(super::not_found(
                "instance",
                &instance.to_string(),
                std::iter::empty(),
            ));
        }
        let running = self
            .shared
            .node
            .of(instance)
            .into_iter()
            .rev()
            .find_map(|c| {
                let id = c.look(|o| (o.phase == Phase::Running).then(|| o.id.clone()).flatten())?;
                Some((c.node().clone(), id))
            });
        let Some((node, id)) = running else {
            return Err(ControlError::Conflict(format!(
                "{instance} does not run now; see `lain ps -a {}`",
                instance.app
            )));
        };
        Ok(ops::exec(&self.shared, &node, &id, request).await?)
    }

    /// A container like an instance's, without its ports and out of the supervisors' sight.
    pub(super) async fn run_one_off(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ExecRequest,
    ) -> Result<ExecSession, ControlError> {
        let record = self.find_app(app)?.record;
        let spec = record.proc(proc).ok_or_else(|| {
            super::not_found(
                "proc",
                proc.as_str(),
                record.current.spec.procs.iter().map(|p| p.name.to_string()),
            )
        })?;
        let id = InstanceId {
            app: app.clone(),
            proc_type: spec.proc_type,
            proc: proc.clone(),
            no: 0,
        };
        let counters = Counters {
            version: record.version(&spec.full_name()),
            drift: 0,
        };
        let node = placing::node_for_one_off(&self.shared, app, &spec)?;
        let site = placing::site_of(&self.shared, &node);
        let mut container = render::container(&site, &record.current, &spec, &id, counters, &[])
            .map_err(ControlError::Conflict)?;
        container.name = format!("{}.run-{}", id.group(), uuid::Uuid::now_v7().simple());
        // Not an instance: reconciliation, which goes by the owner's label, leaves it alone.
        container
            .labels
            .retain(|key, _| key != labels::OWNER && !key.starts_with(labels::PREFIX));
        Ok(ops::run_once(&self.shared, &node, &container, request).await?)
    }
}
