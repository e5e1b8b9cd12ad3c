//! From an instance's desired state to the container that it is made of. Pure.
//!
//! LAIN's names, labels and environment variables (LAIN compatibility facts, section 2).

use crate::domain::id::InstanceId;
use crate::domain::labels;
use crate::domain::record::Release;
use crate::domain::spec;
use crate::domain::spec::model::{Port, Probe, ProcSpec, Protocol, VolumeSpec};
use crate::domain::texts::{ProcTexts, Text};
use crate::ports::runtime::{ContainerSpec, Mount, PublishedPort, Resources};
use arcstr::literal;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What of the node and the installation goes into a container.
#[derive(Debug, Clone)]
pub struct Site {
    /// The installation's id, on the label `lain.owner`.
    pub owner: Text,
    /// The cluster's domain (`LAIN_DOMAIN`).
    pub domain: Text,
    /// Where volumes live on the node, `/data/lain/volumes` in LAIN.
    pub volumes: String,
    /// The node's CPUs.
    pub cpus: u32,
    /// The address of the node on which containers' ports are published.
    pub publish: IpAddr,
    /// The registry that release images are named by; empty: none.
    pub registry: String,
}

/// Where in its life an instance is: what the container's name says besides the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// LAIN's version.
    pub version: u64,
    /// LAIN's drift count.
    pub drift: u64,
}

/// LAIN's container name, `<group>.v<version>-i<instance>-d<drift>`.
pub fn container_name(id: &InstanceId, counters: Counters) -> String {
    format!(
        "{}.v{}-i{}-d{}",
        id.group(),
        counters.version,
        id.no,
        counters.drift
    )
}

/// The name of the container that a placement stands for.
pub fn name_of(placement: &crate::domain::record::Placement) -> String {
    let counters = Counters {
        version: placement.version,
        drift: placement.drift,
    };
    container_name(&placement.instance, counters)
}

/// The image of a proc: its own, the release's, or LAIN's `<registry>/<app>:release-<meta version>`.
///
/// # Errors
/// A sentence saying that none is known, and how to name one.
pub fn image_of(proc: &ProcSpec, release: &Release, registry: &str) -> Result<String, String> {
    if let Some(image) = proc.image.as_ref().or(release.image.as_ref()) {
        return Ok(image.clone());
    }
    let Some(meta) = &release.meta_version else {
        return Err(format!(
            "no image is known for proc {}: name one with `image` in lain.yaml or `--image`, or give the meta version of a build with `--meta-version`",
            proc.full_name()
        ));
    };
    let name = format!("{}:release-{meta}", release.spec.appname);
    Ok(if registry.is_empty() {
        name
    } else {
        format!("{}/{name}", registry.trim_end_matches('/'))
    })
}

/// CPU and memory limits. LAIN: level/8 of half the node's CPU; level 0 counts as 2.
pub fn resources(cpu_level: u32, memory: u64, cpus: u32) -> Resources {
    let level = if cpu_level == 0 { 2 } else { cpu_level };
    Resources {
        cpu_millis: (level * cpus.max(1) * 1000 / 16).max(10),
        memory,
    }
}

/// The ports that are published on the host: those that the proc exposes by TCP or UDP.
pub fn exposed(proc: &ProcSpec) -> Vec<Port> {
    let mut ports = proc.ports.clone();
    let stream = proc.stream_ports.iter().map(|s| Port {
        port: s.dest,
        protocol: s.protocol,
    });
    ports.extend(stream);
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The container of one instance.
///
/// # Errors
/// As [`image_of`].
pub fn container(
    site: &Site,
    release: &Release,
    proc: &ProcSpec,
    id: &InstanceId,
    counters: Counters,
    host_ports: &[(Port, u16)],
) -> Result<ContainerSpec, String> {
    let image = image_of(proc, release, &site.registry)?;
    let ports = host_ports
        .iter()
        .map(|&(container, host_port)| PublishedPort {
            container,
            host_ip: site.publish,
            host_port,
        })
        .collect();
    let mut dns_search = proc.dns_search.clone();
    dns_search.push(format!("{}.lain", spec::app_domain(&id.app)));
    // Of the proc as it is declared: what may differ from that in `proc` needs no new container, or is run only once.
    let declared = release.spec.procs.iter().find(|p| p.name == proc.name);
    let texts = || texts(site, release, declared.unwrap_or(proc), id, &image);
    let texts = release.texts.of(&proc.name, &image, texts);
    let name = container_name(id, counters);
    let no = Text::from(id.no.to_string());
    Ok(ContainerSpec {
        labels: container_labels(site, &texts, &no, counters),
        env: environment(&texts, &no, &name),
        name,
        mounts: mounts(site, proc, id),
        resources: resources(proc.cpu, proc.memory, site.cpus),
        entrypoint: proc.entrypoint.clone(),
        cmd: proc.cmd.clone(),
        user: proc.user.clone(),
        workdir: proc.workdir.clone(),
        hostname: format!("{}-{}", proc.name, id.no),
        kill_timeout: proc.kill_timeout,
        ports,
        dns_search,
        image,
    })
}

/// What all containers of the proc say alike.
fn texts(
    site: &Site,
    release: &Release,
    proc: &ProcSpec,
    id: &InstanceId,
    image: &str,
) -> ProcTexts {
    let pair = |name: &str, value: &str| (Text::from(name), Text::from(value));
    let (app, name) = (Text::from(id.app.as_str()), Text::from(id.proc.as_str()));
    let declared = proc.env.iter().map(|e| pair(&e.name, &e.value));
    let mut env_before: Vec<_> = declared.collect();
    let meta = release.meta_version.as_deref().unwrap_or_default();
    env_before.extend([
        (literal!("LAIN_APPNAME"), app.clone()),
        (literal!("LAIN_PROCNAME"), name.clone()),
        (literal!("LAIN_APP_RELEASE_VERSION"), Text::from(meta)),
        (literal!("LAIN_DOMAIN"), site.domain.clone()),
    ]);
    let mut env_after = vec![(literal!("DEPLOYD_POD_NAMESPACE"), app.clone())];
    if let Some(service) = &proc.service_name {
        env_after.push(pair("LAIN_SERVICE_NAME", service));
    }
    if !env_before.iter().any(|(name, _)| name == "TZ") {
        env_after.push((literal!("TZ"), literal!("UTC")));
    }
    ProcTexts {
        hash: spec_hash(proc, image).into(),
        annotation: annotation(proc).into(),
        group: id.group().into(),
        app,
        proc: name,
        proc_type: id.proc_type.to_string().into(),
        env_before,
        env_after,
        labels: proc.labels.iter().map(|(k, v)| pair(k, v)).collect(),
    }
}

fn environment(texts: &ProcTexts, no: &Text, name: &str) -> Vec<(Text, Text)> {
    let own = [
        // LAIN's manual promises this one and never set it; ours does.
        (literal!("LAIN_INSTANCE_NO"), no.clone()),
        (literal!("DEPLOYD_POD_INSTANCE_NO"), no.clone()),
        (literal!("DEPLOYD_POD_NAME"), Text::from(name)),
    ];
    let (before, after) = (&texts.env_before, &texts.env_after);
    let mut env = Vec::with_capacity(before.len() + own.len() + after.len());
    env.extend(before.iter().cloned());
    env.extend(own);
    env.extend(after.iter().cloned());
    env
}

fn container_labels(
    site: &Site,
    texts: &ProcTexts,
    no: &Text,
    counters: Counters,
) -> BTreeMap<Text, Text> {
    let number = |n: u64| match n {
        0 => literal!("0"),
        1 => literal!("1"),
        n => n.to_string().into(),
    };
    let own = [
        (literal!(labels::GROUP), texts.group.clone()),
        (literal!(labels::NAMESPACE), texts.app.clone()),
        (literal!(labels::INSTANCE_NO), no.clone()),
        (literal!(labels::VERSION), number(counters.version)),
        (literal!(labels::DRIFT), number(counters.drift)),
        (literal!(labels::CONTAINER_INDEX), literal!("0")),
        (literal!(labels::ANNOTATION), texts.annotation.clone()),
        (literal!(labels::OWNER), site.owner.clone()),
        (literal!(labels::SPEC_HASH), texts.hash.clone()),
        (literal!(labels::PROC_TYPE), texts.proc_type.clone()),
        (literal!(labels::PROC), texts.proc.clone()),
    ];
    texts.labels.iter().cloned().chain(own).collect()
}

/// LAIN's annotation: what its other parts read off a container.
fn annotation(proc: &ProcSpec) -> String {
    let healthcheck = match proc.health.as_ref().map(|h| &h.probe) {
        Some(Probe::Http { path, .. }) => path.as_str(),
        Some(Probe::Tcp { .. } | Probe::Command { .. }) | None => "",
    };
    let ports: Vec<String> = proc
        .stream_ports
        .iter()
        .map(|p| {
            format!(
                "{}:{}/{}",
                p.source,
                p.dest,
                if p.protocol == Protocol::Udp {
                    "udp"
                } else {
                    "tcp"
                }
            )
        })
        .collect();
    let mut annotation = serde_json::json!({
        "mountpoint": proc.mountpoint,
        "https_only": proc.https_only,
        "healthcheck": healthcheck,
        "service_name": proc.service_name.clone().unwrap_or_default(),
        "logs": proc.logs,
        "ports": ports,
    });
    // Ours, and only where it says something: what LAIN wrote stays as it was.
    if !proc.log_formats.is_empty() {
        annotation["log_formats"] = serde_json::json!(proc.log_formats);
    }
    annotation.to_string()
}

/// LAIN's volume paths: `<volumes>/<app>/<group>/<instance>/<path>`; `/lain/logs` is always mounted.
fn mounts(site: &Site, proc: &ProcSpec, id: &InstanceId) -> Vec<Mount> {
    let root = format!("{}/{}/{}/{}", site.volumes, id.app, id.group(), id.no);
    let paths = proc
        .volumes
        .iter()
        .map(|VolumeSpec { path, .. }| path.as_str())
        .chain(["/lain/logs"]);
    paths
        .map(|path| Mount {
            source: format!("{root}/{}", path.trim_matches('/')),
            target: path.trim_end_matches('/').to_owned(),
            read_only: false,
        })
        .collect()
}

/// A hash of everything that needs a new container when it changes; what can be changed in place, and what
/// lain does from outside (counts, health, restarts, schedules), is left out.
pub fn spec_hash(proc: &ProcSpec, image: &str) -> String {
    let both = format!("{} {image}", spec::content_hash(proc));
    hex::encode(&Sha256::digest(both.as_bytes())[..8])
}

/// Why a proc needs new containers, field by field; empty when it does not.
pub fn container_changes(old: (&ProcSpec, &str), new: (&ProcSpec, &str)) -> Vec<String> {
    let mut changes = Vec::new();
    if old.1 != new.1 {
        changes.push(format!("image: {} → {}", old.1, new.1));
    }
    let others = spec::requires_new_container(old.0, new.0);
    changes.extend(
        others
            .into_iter()
            .filter(|d| d.field != "image")
            .map(|diff| match diff.field.as_str() {
                "cmd" | "entrypoint" | "user" | "workdir" => {
                    format!(
                        "{}: {} → {}",
                        diff.field,
                        plain(&diff.old),
                        plain(&diff.new)
                    )
                }
                // Values of variables and labels may be secrets: only the key is shown.
                field => format!("{field} changed"),
            }),
    );
    changes
}

/// A value as a person would write it.
fn plain(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "(the image's)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(words) => shell_words::join(words.iter().filter_map(Value::as_str)),
        other => other.to_string(),
    }
}

/// The first free host ports of a range for the given container ports, starting at a place that depends on
/// the instance, so that one keeps its port where it can. Deterministic; `taken` is neither allocated nor listening.
///
/// # Errors
/// A sentence when the range is used up.
pub fn allocate_ports(
    id: &InstanceId,
    ports: &[Port],
    range: (u16, u16),
    taken: impl Fn(u16) -> bool,
) -> Result<Vec<(Port, u16)>, String> {
    let (low, high) = range;
    let size = u32::from(high - low) + 1;
    let digest = Sha256::digest(id.to_string().as_bytes());
    let start = u32::from(u16::from_be_bytes([digest[0], digest[1]])) % size;
    let mut candidates = (0..size)
        .map(|step| low + ((start + step) % size) as u16)
        .filter(|&port| !taken(port));
    ports
        .iter()
        .map(|&port| match candidates.next() {
            Some(host) => Ok((port, host)),
            None => Err(format!("all host ports from {low} to {high} are taken; widen node.ports in the configuration")),
        })
        .collect()
}
