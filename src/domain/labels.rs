//! LAIN's names, labels and environment variables on containers, and our few additions.
//!
//! Source: LAIN compatibility facts, section 2 "Runtime identity".

/// LAIN's prefix for labels.
pub const PREFIX: &str = "cc.bdp.lain.deployd.";
/// Pod group name, `<app>.<type>.<proc>`.
pub const GROUP: &str = "cc.bdp.lain.deployd.pg_name";
/// The app.
pub const NAMESPACE: &str = "cc.bdp.lain.deployd.pg_namespace";
/// The instance number.
pub const INSTANCE_NO: &str = "cc.bdp.lain.deployd.instance_no";
/// Counts changes of the spec.
pub const VERSION: &str = "cc.bdp.lain.deployd.version";
/// Counts re-placements.
pub const DRIFT: &str = "cc.bdp.lain.deployd.drift_count";
/// Always 0: one container a pod.
pub const CONTAINER_INDEX: &str = "cc.bdp.lain.deployd.container_index";
/// JSON that LAIN's other parts read: mountpoint, https_only, healthcheck, service_name, logs, ports.
pub const ANNOTATION: &str = "cc.bdp.lain.deployd.annotation";
/// Ours: the installation (cluster and node) that owns the container, so that two never fight.
pub const OWNER: &str = "lain.owner";
/// Ours: the hash of what the container was made from.
pub const SPEC_HASH: &str = "lain.spec_hash";
/// Ours: the proc type, since a group name with dotted app names is ambiguous.
pub const PROC_TYPE: &str = "lain.proc_type";
/// Ours: the generation of a container of an instance that may run only once.
pub const GENERATION: &str = "lain.generation";
/// Ours: the proc name.
pub const PROC: &str = "lain.proc";
