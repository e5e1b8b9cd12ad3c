//! Commands inside instances, and one-off containers.

use super::Handle;
use crate::actors::agent::cell::Phase;
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
            .find_map(|c| c.look(|o| (o.phase == Phase::Running).then(|| o.id.clone()).flatten()));
        let Some(id) = running else {
            return Err(ControlError::Conflict(format!(
                "{instance} does not run now; see `lain ps -a {}`",
                instance.app
            )));
        };
        Ok(self.shared.runtime.exec(&id, request).await?)
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
        let mut container = render::container(
            &self.shared.settings.site,
            &record.current,
            &spec,
            &id,
            counters,
            &[],
        )
        .map_err(ControlError::Conflict)?;
        container.name = format!("{}.run-{}", id.group(), uuid::Uuid::now_v7().simple());
        // Not an instance: reconciliation, which goes by the owner's label, leaves it alone.
        container
            .labels
            .retain(|key, _| key != labels::OWNER && !key.starts_with(labels::PREFIX));
        self.shared
            .runtime
            .ensure_image(&container.image, Box::new(|_| {}))
            .await?;
        Ok(self.shared.runtime.run(&container, request).await?)
    }
}
