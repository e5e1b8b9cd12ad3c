//! A [`ContainerSpec`] as Docker Engine wants it. Pure.
//!
//! Called by the driver's `create` and `update`.

use super::Options;
use crate::domain::spec::model::{Port, Protocol};
use crate::domain::texts::strings;
use crate::ports::runtime::{ContainerSpec, Mount, PublishedPort, Resources, RuntimeError};
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HostConfig, HostConfigLogConfig, PortBinding,
    PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::HashMap;
use std::time::Duration;

/// The scheduler's period, in µs: the kernel's default.
const CPU_PERIOD: i64 = 100_000;
/// The kernel refuses a smaller quota, in µs.
const MIN_CPU_QUOTA: i64 = 1_000;
/// Docker's word for no CPU quota in an update, where 0 means unchanged.
const UNLIMITED_CPU: i64 = -1;
/// No memory limit in an update: Docker refuses -1 there, so it is more than any machine has.
const UNLIMITED_MEMORY: i64 = 1 << 62;

/// What to send to make the container.
///
/// # Errors
/// [`RuntimeError::Refused`] when a mount cannot be expressed.
pub(super) fn create_body(
    spec: &ContainerSpec,
    options: &Options,
) -> Result<ContainerCreateBody, RuntimeError> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let env = spec.env.iter().map(|(key, value)| format!("{key}={value}"));
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        env: Some(env.collect()),
        labels: Some(strings(&spec.labels).collect()),
        user: some(&spec.user),
        working_dir: some(&spec.workdir),
        hostname: some(&spec.hostname),
        stop_timeout: Some(whole_seconds(spec.kill_timeout).into()),
        exposed_ports: Some(spec.ports.iter().map(|p| port_key(p.container)).collect()),
        host_config: Some(host_config(spec, options)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &ContainerSpec, options: &Options) -> Result<HostConfig, RuntimeError> {
    let Limits { quota, memory } = limits(spec.resources);
    let binds: Result<Vec<_>, _> = spec.mounts.iter().map(|m| bind(m, &spec.name)).collect();
    Ok(HostConfig {
        binds: Some(binds?),
        port_bindings: Some(port_bindings(&spec.ports)),
        cpu_period: quota.map(|_| CPU_PERIOD),
        cpu_quota: quota,
        memory,
        // Memory and swap together: as much as memory alone, hence no swap.
        memory_swap: memory,
        dns_search: Some(spec.dns_search.clone()),
        init: Some(false),
        runtime: options.oci_runtime.clone(),
        // lain restarts; two who restart the same container fight.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), options.log_max_size.clone()),
                ("max-file".to_owned(), options.log_max_files.to_string()),
            ])),
        }),
        ..HostConfig::default()
    })
}

/// What to send to change limits in place. A limit that goes away must be said: absent is unchanged.
pub(super) fn update_body(resources: Resources) -> ContainerUpdateBody {
    let Limits { quota, memory } = limits(resources);
    ContainerUpdateBody {
        cpu_period: Some(CPU_PERIOD),
        cpu_quota: Some(quota.unwrap_or(UNLIMITED_CPU)),
        memory: Some(memory.unwrap_or(UNLIMITED_MEMORY)),
        memory_swap: Some(memory.unwrap_or(UNLIMITED_MEMORY)),
        ..ContainerUpdateBody::default()
    }
}

struct Limits {
    quota: Option<i64>,
    memory: Option<i64>,
}

fn limits(resources: Resources) -> Limits {
    let quota = i64::from(resources.cpu_millis) * CPU_PERIOD / 1_000;
    Limits {
        quota: (resources.cpu_millis > 0).then(|| quota.max(MIN_CPU_QUOTA)),
        memory: (resources.memory > 0).then(|| i64::try_from(resources.memory).unwrap_or(i64::MAX)),
    }
}

/// `source:target[:ro]`: unlike the engine's other form, it makes a source that is absent.
fn bind(mount: &Mount, container: &str) -> Result<String, RuntimeError> {
    if mount.source.contains(':') || mount.target.contains(':') {
        return Err(RuntimeError::Refused {
            action: format!("mount {} in container {container}", mount.source),
            reason: "a mounted path cannot contain a colon".to_owned(),
        });
    }
    let mode = if mount.read_only { ":ro" } else { "" };
    Ok(format!("{}:{}{mode}", mount.source, mount.target))
}

fn port_key(port: Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.port)
}

fn port_bindings(ports: &[PublishedPort]) -> PortMap {
    let mut bindings = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        let of_port = bindings.entry(port_key(port.container)).or_default();
        of_port.get_or_insert_default().push(binding);
    }
    bindings
}

/// Docker counts kill timeouts in whole seconds: at least what was asked.
pub(super) fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            name: "hello.web.web.v1-i1-d0".into(),
            image: "lain/hello:1".into(),
            entrypoint: Some(vec!["/bin/sh".into(), "-c".into()]),
            cmd: None,
            env: vec![("PORT".into(), "80".into()), ("EMPTY".into(), "".into())],
            labels: BTreeMap::from([("lain.owner".into(), "dev".into())]),
            user: String::new(),
            workdir: "/app".into(),
            hostname: "web-1".into(),
            resources: Resources {
                cpu_millis: 1500,
                memory: 32 << 20,
            },
            ports: vec![PublishedPort {
                container: Port {
                    port: 80,
                    protocol: Protocol::Tcp,
                },
                host_ip: [127, 0, 0, 1].into(),
                host_port: 18080,
            }],
            mounts: vec![Mount {
                source: "/data/lain/x".into(),
                target: "/x".into(),
                read_only: true,
            }],
            dns_search: vec!["hello.lain".into()],
            kill_timeout: Duration::from_millis(2500),
        }
    }

    #[test]
    fn a_spec_becomes_what_the_engine_documents() {
        let body = create_body(&spec(), &Options::default()).unwrap();
        let json = serde_json::to_value(&body).unwrap();
        assert_eq!(json["Env"], serde_json::json!(["PORT=80", "EMPTY="]));
        assert_eq!(json["Entrypoint"], serde_json::json!(["/bin/sh", "-c"]));
        assert_eq!(json.get("Cmd"), None, "the image's command is left");
        assert_eq!(json.get("User"), None, "the image's user is left");
        assert_eq!(json["StopTimeout"], 3);
        assert_eq!(json["ExposedPorts"], serde_json::json!({"80/tcp": {}}));
        let host = &json["HostConfig"];
        assert_eq!(host["Memory"], 32 << 20);
        assert_eq!(host["MemorySwap"], 32 << 20);
        assert_eq!(host["CpuQuota"], 150_000);
        assert_eq!(host["Binds"], serde_json::json!(["/data/lain/x:/x:ro"]));
        assert_eq!(
            host["PortBindings"],
            serde_json::json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]})
        );
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["LogConfig"]["Type"], "json-file");
    }

    #[test]
    fn no_limit_is_left_out_when_made_and_said_when_changed() {
        let none = Resources {
            cpu_millis: 0,
            memory: 0,
        };
        let body = create_body(
            &ContainerSpec {
                resources: none,
                ..spec()
            },
            &Options::default(),
        );
        let host = body.unwrap().host_config.unwrap();
        assert_eq!(
            (host.memory, host.memory_swap, host.cpu_quota),
            (None, None, None)
        );
        let update = update_body(none);
        assert_eq!(
            (update.memory, update.memory_swap, update.cpu_quota),
            (Some(1 << 62), Some(1 << 62), Some(-1))
        );
        let least = update_body(Resources {
            cpu_millis: 1,
            memory: 0,
        });
        assert_eq!(least.cpu_quota, Some(1_000), "the kernel refuses less");
    }

    #[test]
    fn a_colon_in_a_mount_is_refused() {
        let mut spec = spec();
        spec.mounts[0].source = "/a:b".into();
        assert!(matches!(
            create_body(&spec, &Options::default()),
            Err(RuntimeError::Refused { .. })
        ));
    }

    #[test]
    fn kill_timeouts_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(10)), 10);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }
}
