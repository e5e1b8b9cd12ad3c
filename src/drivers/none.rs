//! No runtime: a control host that runs no containers itself. Every call says so.

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{
    ContainerSpec, ContainerStatus, EngineEvent, EngineInfo, ExecRequest, ExecSession, LogsRequest,
    OutputLine, PullObserver, Resources, Runtime, RuntimeError, RuntimeKind, Started,
};
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRuntime;

fn none<T>() -> Result<T, RuntimeError> {
    Err(RuntimeError::Unreachable {
        engine: "this control host".to_owned(),
        reason: "it runs no containers itself".to_owned(),
        remedy: "join a node with `lain node token`; this machine may be one, too".to_owned(),
    })
}

#[async_trait]
impl Runtime for NoRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        none()
    }

    async fn ensure_image(&self, _: &str, _: PullObserver) -> Result<(), RuntimeError> {
        none()
    }

    async fn create(&self, _: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        none()
    }

    async fn start(&self, _: &ContainerId) -> Result<Started, RuntimeError> {
        none()
    }

    async fn stop(&self, _: &ContainerId, _: Duration) -> Result<Exit, RuntimeError> {
        none()
    }

    async fn signal(&self, _: &ContainerId, _: &str) -> Result<(), RuntimeError> {
        none()
    }

    async fn pause(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        none()
    }

    async fn unpause(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        none()
    }

    async fn remove(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        none()
    }

    async fn update(&self, _: &ContainerId, _: Resources) -> Result<(), RuntimeError> {
        none()
    }

    async fn inspect(&self, _: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        none()
    }

    async fn list(
        &self,
        _: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerStatus>, RuntimeError> {
        none()
    }

    async fn ended(&self, _: &ContainerId, _: Option<u32>) -> Result<(), RuntimeError> {
        none()
    }

    async fn exit_of(&self, _: &ContainerId) -> Result<Exit, RuntimeError> {
        none()
    }

    fn events(&self, _: BTreeMap<String, String>) -> BoxStream<'static, EngineEvent> {
        stream::pending().boxed()
    }

    fn logs(
        &self,
        _: &ContainerId,
        _: LogsRequest,
    ) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
        stream::once(async { none() }).boxed()
    }

    async fn exec(&self, _: &ContainerId, _: ExecRequest) -> Result<ExecSession, RuntimeError> {
        none()
    }
}
