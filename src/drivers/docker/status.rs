//! What Docker Engine says of itself and of containers, in lain's words. Pure.
//!
//! Called by the rest of the driver.

use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::ports::runtime::{
    ContainerState, ContainerStatus, EngineInfo, LogFormat, LogOrigin, RuntimeKind,
};
use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum as Word,
    SystemInfo, SystemInfoCgroupDriverEnum,
};
use chrono::{DateTime, Datelike, Utc};
use std::net::IpAddr;

/// The status of a container; `None` when the answer lacks what every answer has.
pub(super) fn container(answer: ContainerInspectResponse) -> Option<ContainerStatus> {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let networks = answer
        .network_settings
        .and_then(|n| n.networks)
        .unwrap_or_default();
    let ip = networks.values().find_map(|network| {
        let text = network.ip_address.as_deref().filter(|ip| !ip.is_empty());
        text.or(network.global_ipv6_address.as_deref())?
            .parse::<IpAddr>()
            .ok()
    });
    let name = answer.name.unwrap_or_default();
    Some(ContainerStatus {
        id: ContainerId::new(answer.id?).ok()?,
        name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        state: life(&state),
        pid: state
            .pid
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid > 0),
        started_at: instant(state.started_at.as_deref()),
        ip,
        image: config.image.unwrap_or_default(),
    })
}

/// Where the output is, and the name of the log driver. Whether the file can be read here is not known yet.
pub(super) fn log_origin(answer: &ContainerInspectResponse) -> (LogOrigin, String) {
    let config = answer.config.as_ref();
    let driver = answer.host_config.as_ref();
    let driver = driver.and_then(|host| host.log_config.as_ref());
    let path = answer.log_path.clone().filter(|path| !path.is_empty());
    let image = config.and_then(|c| c.image.clone());
    let labels = config.and_then(|c| c.labels.clone());
    let origin = LogOrigin {
        created_at: instant(answer.created.as_deref()),
        image: image.unwrap_or_default(),
        labels: labels.unwrap_or_default().into_iter().collect(),
        file: path.map(|path| (path.into(), LogFormat::DockerJson)),
    };
    (
        origin,
        driver.and_then(|d| d.typ.clone()).unwrap_or_default(),
    )
}

fn life(state: &EngineState) -> ContainerState {
    match state.status {
        Some(Word::CREATED) => ContainerState::Created,
        Some(Word::PAUSED) => ContainerState::Paused,
        Some(Word::RUNNING | Word::RESTARTING | Word::STOPPING) => ContainerState::Running,
        Some(Word::EXITED | Word::DEAD | Word::REMOVING | Word::EMPTY) | None => {
            ContainerState::Exited(exit(state))
        }
    }
}

fn exit(state: &EngineState) -> Exit {
    let code = state
        .exit_code
        .and_then(|code| i32::try_from(code).ok())
        .unwrap_or_default();
    let oom_killed = state.oom_killed.unwrap_or_default();
    Exit::from_code(code, oom_killed, instant(state.finished_at.as_deref()))
}

/// Go's zero time, year 1, means never.
fn instant(text: Option<&str>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text?)
        .ok()?
        .with_timezone(&Utc);
    (at.year() > 1).then_some(at)
}

/// What the engine at `endpoint` says of itself.
pub(super) fn engine_info(info: &SystemInfo, endpoint: &str) -> EngineInfo {
    EngineInfo {
        kind: RuntimeKind::Docker,
        version: info.server_version.clone().unwrap_or_default(),
        endpoint: endpoint.to_owned(),
        cpus: info
            .ncpu
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or_default(),
        memory: info
            .mem_total
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or_default(),
        // Without control groups (rootless) there is no freezer.
        can_pause: !matches!(info.cgroup_driver, Some(SystemInfoCgroupDriverEnum::NONE)),
        warnings: info.warnings.clone().unwrap_or_default(),
    }
}
