//! The keys of procs.

use super::form::{
    ANY_TEXT, CRON_OR_EMPTY, DNS_NAME, ENV, EXPIRE, FILTER, HEALTH_PATH, HOOK, IMAGE, LABEL,
    LOG_NAME, MOUNTPOINT, NO_BLANK, PORT_KEY, PORT_TEXT, PROC_NAME, PROTOCOL, SECRET_FILE,
    STREAM_PORT, USER, VOLUME, WORKDIR,
};
use super::health::{CONTAINER_HEALTH, HEALTH, RESTART_KIND, SCHEDULE_KIND, UPDATE};
use super::{Key, Kind, Section, key};
use crate::domain::id::ProcType::{Cron, Oneshot, Portal, Web};

static COMMAND: Kind = Kind::OneOf(&[
    Kind::Text(&super::form::COMMAND),
    Kind::List(&Kind::Text(&ANY_TEXT)),
    Kind::Null,
]);
static PROTOCOLS: Kind = Kind::List(&Kind::Text(&PROTOCOL));
static PORT_ITEM: Kind = Kind::OneOf(&[
    Kind::Int(1, 65535),
    Kind::Text(&PORT_TEXT),
    Kind::Map(&PORT_KEY, &PROTOCOLS),
]);
static PORT: Kind = Kind::OneOf(&[
    Kind::Int(1, 65535),
    Kind::Text(&PORT_TEXT),
    Kind::Map(&PORT_KEY, &PROTOCOLS),
    Kind::List(&PORT_ITEM),
]);
static STREAM_ITEM: Kind = Kind::OneOf(&[Kind::Int(9500, 10000), Kind::Text(&STREAM_PORT)]);
static STREAM_PORTS: Kind = Kind::OneOf(&[
    Kind::Int(9500, 10000),
    Kind::Text(&STREAM_PORT),
    Kind::Map(&STREAM_PORT, &Kind::Anything),
    Kind::List(&STREAM_ITEM),
]);
static HEALTH_KIND: Kind = Kind::OneOf(&[Kind::Text(&HEALTH_PATH), Kind::Keys(&HEALTH)]);
static CONTAINER_HEALTH_KIND: Kind =
    Kind::OneOf(&[Kind::Words(&["none"]), Kind::Keys(&CONTAINER_HEALTH)]);

static BACKUP: Section = Section::new(
    "backup_policy",
    "when a volume is backed up, and for how long that is kept",
    &[&[
        key(
            "schedule",
            &Kind::Text(&CRON_OR_EMPTY),
            "Five-field cron expression in UTC; empty disables the backup.",
        )
        .default("no backups"),
        key(
            "expire",
            &Kind::Text(&EXPIRE),
            "How long a backup is kept; required with a schedule.",
        ),
        key(
            "pre_run",
            &Kind::Text(&HOOK),
            "Run in the container before the backup; relative to `/lain/app`.",
        ),
        key(
            "post_run",
            &Kind::Text(&HOOK),
            "Run in the container after the backup; relative to `/lain/app`.",
        ),
    ]],
);
static VOLUME_POLICIES: Section = Section::new(
    "volume_policies",
    "a volume's backups",
    &[&[
        key(
            "backup_full",
            &Kind::Keys(&BACKUP),
            "Archive the volume as a whole.",
        ),
        key(
            "backup_increment",
            &Kind::Keys(&BACKUP),
            "Copy what changed since the last time.",
        ),
    ]],
)
.hints(&[("backup", "backup_full or backup_increment")]);
static VOLUME_BODY: Kind = Kind::Keys(&VOLUME_POLICIES);
static VOLUME_ITEM: Kind = Kind::OneOf(&[Kind::Text(&VOLUME), Kind::Single(&VOLUME, &VOLUME_BODY)]);
static VOLUMES: Kind = Kind::List(&VOLUME_ITEM);

static LOG_FORMAT: Kind = Kind::Words(&["plain", "nginx", "metrics"]);
static LOG_ITEM: Kind = Kind::OneOf(&[Kind::Text(&LOG_NAME), Kind::Single(&LOG_NAME, &LOG_FORMAT)]);
static LOGS: Kind = Kind::List(&LOG_ITEM);

static CLOUD_VOLUMES: Section = Section::new(
    "cloud_volumes",
    "volumes on a network filesystem",
    &[&[
        key(
            "type",
            &Kind::Words(&["multi", "single"]),
            "A directory for each instance, or one for all.",
        )
        .default("`multi`"),
        key(
            "dirs",
            &Kind::List(&Kind::Text(&VOLUME)),
            "Paths in the container.",
        )
        .required(),
    ]],
);

static LABELS: Kind = Kind::OneOf(&[Kind::Text(&LABEL), Kind::List(&Kind::Text(&LABEL))]);
static FILTERS: Kind = Kind::OneOf(&[Kind::Text(&FILTER), Kind::List(&Kind::Text(&FILTER))]);

/// The keys that procs of all types share, and those of one type.
static PROC_KEYS: &[Key] = &[
    key("image", &Kind::Text(&IMAGE), "An image of its own.").default("the app's release image"),
    key("cmd", &COMMAND, "Docker's command: text with shell quoting (no shell runs it), or a list of words.").default("the image's"),
    key("entrypoint", &COMMAND, "Docker's entrypoint, in the same forms.").default("the image's"),
    key("user", &Kind::OneOf(&[Kind::Int(0, 4_294_967_295), Kind::Text(&USER)]), "Docker's user.").default("the image's"),
    key("workdir", &Kind::Text(&WORKDIR), "Docker's working directory.").default("the image's"),
    key("working_dir", &Kind::Text(&WORKDIR), "Another name for `workdir`.").same_as("workdir"),
    key("num_instances", &Kind::Int(1, 100_000), "Instances, numbered from 1; cron procs have one.").default("1"),
    key("spares", &Kind::Int(0, 1000), "More instances, started and healthy but idle, one of which takes over at a crash; not for oneshot, cron or `stateful` procs.").ours().default("0"),
    key("cpu", &Kind::Int(0, 8), "CPU level: the limit is level/8 of half the node's CPU; 0 counts as 2.").default("0"),
    key("memory", &Kind::Memory, "Hard memory limit, no swap: bytes, or with k, m or g; at least 6m.").default("32m"),
    key("port", &PORT, "The ports it listens on: `80`, `\"80:udp\"`, `{80: [\"type:udp\"]}`, or a list of these; each is exposed.").default("web: 80, else none"),
    key("ports", &STREAM_PORTS, "Ports of the TCP and UDP router: SRC is the router's, 9500 to 10000, once per app; DST is the proc's, SRC if left out.").default("none"),
    key("mountpoint", &Kind::List(&Kind::Text(&MOUNTPOINT)), "Where it is reachable; required unless the proc is named web; `/path` means on each default host.").only(&[Web]).default("the default hosts, if it is named web"),
    key("https_only", &Kind::Bool, "Answer plain HTTP by 301.").only(&[Web]).default("false"),
    key("healthcheck", &HEALTH_KIND, "How its health is known. Text (web only): a path where 2xx or 3xx is healthy. A mapping: the full form (ours).").default("running is healthy"),
    key("container_healthcheck", &CONTAINER_HEALTH_KIND, "LAIN's command check; `none` disables the check by path."),
    key("env", &Kind::List(&Kind::Text(&ENV)), "Environment variables.").default("[]"),
    key("volumes", &VOLUMES, "Directories that stay on the node: a path, or a path with backup policies.").default("[]"),
    key("persistent_dirs", &VOLUMES, "Another name for `volumes`.").same_as("volumes"),
    key("cloud_volumes", &Kind::Keys(&CLOUD_VOLUMES), "Directories on a network filesystem."),
    key("secret_files", &Kind::List(&Kind::Text(&SECRET_FILE)), "Files taken from the secret store; relative to `/lain/app`.").default("[]"),
    key("secret_files_bypass", &Kind::Bool, "Deploy even if a secret file is missing.").default("false"),
    key("logs", &LOGS, "Log files under `/lain/logs` to collect: a name, or `{name: format}` for lines of a known form, whose fields are read.").default("[]"),
    key("labels", &LABELS, "Container labels.").default("[]"),
    key("filters", &FILTERS, "Which nodes it may run on.").default("[]"),
    key("stateful", &Kind::Bool, "Never re-placed on another node by itself, and never run twice.").default("false"),
    key("exclusive", &Kind::Bool, "Each instance runs at most once at any moment, also while a node is cut off: that node stops it before it is started on another one.").ours().default("false"),
    key("priority", &Kind::Int(-1000, 1000), "Where several instances wait for room on nodes, higher goes first.").ours().default("0"),
    key("anti_affinity", &Kind::Words(&["none", "prefer", "require"]), "How its instances keep away from each other: not at all, on different nodes where possible, or on different nodes or not at all.").ours().default("`prefer`"),
    key("setup_time", &Kind::Duration(0, 120), "In an update, wait this long after a start before the next instance.").default("0"),
    key("drain_time", &Kind::Duration(0, 300), "Before SIGTERM, an instance has left the published list of addresses for this long.").ours().default("1s for web procs, else 0"),
    key("kill_timeout", &Kind::Duration(10, 60), "From SIGTERM to SIGKILL.").default("10"),
    key("dns_search", &Kind::List(&Kind::Text(&DNS_NAME)), "DNS search domains, before the app's own.").default("[]"),
    key("service_name", &Kind::Text(&PROC_NAME), "The service that the portal stands for.").only(&[Portal]).required_for(Portal),
    key("allow_clients", &Kind::Text(&NO_BLANK), "The apps that may connect, as a pattern.").only(&[Portal]).default("`**`"),
    key("restart", &RESTART_KIND, "OTP's restart type, or the full form.").ours().default("`permanent`; oneshot and cron: `transient`"),
    key("schedule", &SCHEDULE_KIND, "When it runs: a cron expression in UTC, or the full form.").ours().only(&[Cron]).required_for(Cron),
    key("timeout", &Kind::Duration(1, 86_400), "How long a change waits for its end, restarts included; then it is stopped, and has failed.").ours().only(&[Oneshot]).default("5m"),
    key("update", &Kind::Keys(&UPDATE), "How a new version replaces the old one; not for oneshot and cron procs.").ours(),
];

static TYPE_KEYS: &[Key] = &[key(
    "type",
    &Kind::Words(&["web", "worker", "oneshot", "portal", "cron"]),
    "The proc's type.",
)
.default("`worker`")];

/// Wrong keys that people bring from elsewhere.
const HINTS: &[(&str, &str)] = &[
    ("command", "cmd"),
    ("args", "cmd"),
    ("environment", "env"),
    ("replicas", "num_instances"),
    ("instances", "num_instances"),
    ("scale", "num_instances"),
    ("mem", "memory"),
    ("mem_limit", "memory"),
    ("expose", "port"),
    ("health", "healthcheck"),
    ("mount", "mountpoint"),
    ("domains", "mountpoint"),
    ("cron", "schedule"),
    ("stop_grace_period", "kill_timeout"),
    ("secrets", "secret_files"),
];

/// The body of `web`, `worker.X` and the like.
pub(in crate::domain::spec) static TYPED: Section = Section::new(
    "typed_proc",
    "a proc whose type is in the section's name",
    &[PROC_KEYS],
)
.hints(HINTS);
/// The body of `proc.X`.
pub(in crate::domain::spec) static PROC: Section = Section::new(
    "proc",
    "a proc whose type is its key `type`",
    &[TYPE_KEYS, PROC_KEYS],
)
.hints(HINTS);
/// The body of `portal` in `service.X`.
pub(in crate::domain::spec) static SERVICE_PORTAL: Section = Section::new(
    "service_portal",
    "the portal of a service; its `service_name` is the service's",
    &[PROC_KEYS],
)
.hints(HINTS);

static PORTAL_KEYS: &[Key] = &[key(
    "portal",
    &Kind::Keys(&SERVICE_PORTAL),
    "The portal, `portal-X`, with keys as in `portal.X`.",
)
.required()];

/// The body of `service.X`.
pub(in crate::domain::spec) static SERVICE: Section = Section::new(
    "service",
    "a proc and its portal",
    &[PORTAL_KEYS, TYPE_KEYS, PROC_KEYS],
)
.hints(HINTS);
