//! Every section and key, with its type: the one place where a setting is declared.
//!
//! `config/default.toml` has each of them with its default and its explanation, which a test
//! compares with this file.

use crate::config::error::{ConfigError, ConfigErrors};
use crate::config::logging::Lists;
use crate::config::resolve::Setting;
use crate::config::sources::Kept;
use crate::config::value::{
    AUTO, ByteSize, EngineKind, FromValue, LogFormat, PortRange, TlsMode, Value, WhenFull,
};
use crate::domain::id::NodeName;
use crate::domain::placement::Strategy;
use crate::domain::secret::Secret;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What is known of a key.
#[derive(Debug)]
pub struct Key {
    /// Its dotted name, such as `server.listen`.
    pub name: &'static str,
    /// Its value must not be shown.
    pub secret: bool,
    /// Says why a value is not one that this key can have.
    pub check: fn(&Value) -> Result<(), String>,
}

/// Reads one setting by the name of its key.
fn read<T: FromValue>(settings: &[Setting], name: &str) -> Result<T, ConfigError> {
    let setting = settings.iter().find(|s| s.key.name == name);
    let setting = setting.ok_or_else(|| ConfigError {
        origin: crate::config::resolve::Origin::BuiltIn,
        problem: format!("{name} has no default"),
    })?;
    T::read(&setting.value).map_err(|problem| ConfigError {
        origin: setting.origin.clone(),
        problem: format!("{name}: {problem}"),
    })
}

macro_rules! schema {
    ($($(#[$section_doc:meta])* $section:ident: $Section:ident {
        $($(#[$doc:meta])* $key:ident: $type:ty $(, $check:expr)?;)*
    })*) => {
        $($(#[$section_doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Section {
            $($(#[$doc])* pub $key: $type,)*
        })*

        /// The configuration of one lain process, checked and complete.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[$section_doc])* pub $section: $Section,)*
            /// What is no single value: sinks, rules for lines that belong together, redaction.
            pub lists: Lists,
            settings: Vec<Setting>,
            /// What it was read from.
            pub(super) sources: Kept,
        }

        impl Config {
            /// Types the combined settings.
            pub(super) fn build(
                settings: Vec<Setting>,
                lists: Lists,
                sources: Kept,
            ) -> Result<Self, ConfigErrors> {
                Ok(Self {
                    $($section: $Section {
                        $($key: read(&settings, concat!(stringify!($section), ".", stringify!($key)))?,)*
                    },)*
                    lists,
                    settings,
                    sources,
                })
            }

            /// Every setting with its origin, in the order of the documentation.
            pub(super) fn settings(&self) -> &[Setting] {
                &self.settings
            }
        }

        /// Every key, in the order of the documentation.
        pub static KEYS: &[Key] = &[$($(Key {
            name: concat!(stringify!($section), ".", stringify!($key)),
            secret: <$type as FromValue>::SECRET,
            check: |value| {
                let typed = <$type as FromValue>::read(value)?;
                $(let check: fn(&$type) -> Result<(), String> = $check; check(&typed)?;)?
                let _ = typed;
                Ok(())
            },
        },)*)*];
    };
}

schema! {
    /// Where and from what lain serves.
    server: Server {
        /// Where the API is served.
        listen: SocketAddr;
        /// Host names that are served besides addresses and localhost.
        allowed_hosts: Vec<String>, |names| host_names(names);
        /// Whether the API is served by TLS.
        tls: TlsMode;
        /// The operator's own certificate chain for it.
        cert_file: Option<String>;
        /// Its key.
        key_file: Option<String>;
        /// Where everything durable is kept.
        data_dir: PathBuf;
        /// What keeps desired state.
        store: String, store;
        /// How long requests at work may take to end after SIGTERM.
        shutdown_timeout: Duration;
    }
    /// What one client may ask for.
    limits: Limits {
        /// The largest request body.
        max_body: ByteSize, |size| within(size.0, 1024, 1 << 30, "bytes");
        /// How long a request may take, streams excepted.
        request_timeout: Duration, positive;
        /// How long a request head may take to arrive.
        header_timeout: Duration, positive;
        /// Requests a second and client.
        request_rate: u32, at_least_one;
        /// Requests at once and client.
        request_burst: u32, at_least_one;
        /// Connections open at once.
        connections: u32, at_least_one;
        /// Streams open at once.
        streams: u32, at_least_one;
    }
    /// Who may call.
    auth: Auth {
        /// Whether a token is asked for.
        enabled: bool;
        /// How long a new token lives.
        token_lifetime: Duration, positive;
    }
    /// What runs containers.
    engine: Engine {
        /// Which runtime.
        kind: EngineKind;
        /// The Docker Engine's address.
        docker_host: String, docker_host;
        /// Containers created or started at the same time.
        parallel_starts: u32, at_least_one;
        /// Whether idle spares are frozen where the engine can.
        freeze_spares: bool;
    }
    /// This host as a node.
    node: Node {
        /// Its name.
        name: NodeName;
        /// Where containers' ports are published.
        publish_address: IpAddr;
        /// The host ports for what containers publish.
        ports: PortRange;
        /// Where clients reach what its containers publish.
        address: String, address;
        /// Its labels.
        labels: String, labels;
    }
    /// How etcd is reached, where it is the store.
    etcd: Etcd {
        /// Its user.
        username: Option<String>;
        /// Its password.
        password: Option<Secret>;
        /// The certificate of the authority that signed etcd's own.
        ca_file: Option<String>;
        /// Our certificate for etcd.
        cert_file: Option<String>;
        /// Its key.
        key_file: Option<String>;
        /// How long a leader that is silent leads on.
        leader_lease: Duration, positive;
    }
    /// Which instance runs on which node.
    placement: Placement {
        /// Which of the nodes that can take an instance.
        strategy: Strategy;
        /// The node label across whose values the instances of a proc are spread.
        spread_label: Option<String>;
        /// Whether an instance that finds no room takes the place of what has a lower priority.
        preemption: bool;
        /// How long nodes must have been calm before instances are moved for an even load; zero: never.
        rebalance_after: Duration;
    }
    /// Between the control host and nodes on other hosts.
    link: Link {
        /// Where `lain server` awaits agents.
        listen: SocketAddr;
        /// How other hosts reach that.
        advertise: String;
        /// The control hosts that `lain agent` connects to.
        servers: String;
        /// How often an agent says that it is there.
        beat: Duration, positive;
        /// How long after its last sign of life a node is down.
        lease: Duration, positive;
        /// How long after its last sign of life what may run only once is started elsewhere.
        takeover: Duration, positive;
        /// How long a node may need to stop what may run only once.
        stop: Duration, positive;
        /// How long nodes are waited for after a start of lain, and those that said they would be back.
        patience: Duration, positive;
    }
    /// The installation.
    cluster: Cluster {
        /// Its name, a label on its containers.
        name: NodeName;
        /// The domain of its apps.
        domain: String, domain;
    }
    /// Restarts, of lain's own actors and of instances.
    supervision: Supervision {
        /// Restarts allowed within `period`.
        intensity: u32;
        /// The window of `intensity`.
        period: Duration, positive;
        /// The pause before the second restart.
        first_backoff: Duration, positive;
        /// The longest pause.
        max_backoff: Duration, positive;
        /// A run of this length makes the next restart immediate.
        healthy_after: Duration, positive;
        /// How often a degraded proc is tried again.
        degraded_retry: Duration, positive;
    }
    /// The comparison of what runs with what is wanted.
    reconcile: Reconcile {
        /// How often.
        interval: Duration, positive;
    }
    /// Retention of crash reports.
    crashes: Crashes {
        /// Reports kept for each proc.
        keep_per_proc: u32, at_least_one;
        /// How long a report is kept.
        keep_for: Duration, positive;
        /// Lines of output kept with a report.
        log_lines: u32, |n| within(u64::from(*n), 0, 10_000, "lines");
    }
    /// The history of apps, which rollbacks go back in.
    history: History {
        /// Revisions kept of each app.
        revisions: u32, at_least_one;
    }
    /// Retention of the audit trail.
    audit: Audit {
        /// How long a record is kept.
        keep_for: Duration, positive;
    }
    /// The embedded index of log events.
    log_index: LogIndex {
        /// Days that are kept, today included.
        keep_days: u32, at_least_one;
        /// The most that it takes on disk.
        max_size: ByteSize, |size| within(size.0, 1 << 20, 1 << 50, "bytes");
    }
    /// Where log events are searched.
    log_search: LogSearch {
        /// What answers queries.
        backend: String, backend;
        /// The servers of Elasticsearch or OpenSearch, with commas between.
        urls: String;
        /// The indices that are searched, with commas between.
        indices: String;
        /// A user there.
        username: Option<String>;
        /// Its password.
        password: Option<Secret>;
        /// An API key there.
        api_key: Option<Secret>;
        /// The certificate of the authority that signed theirs.
        ca_file: Option<String>;
    }
    /// lain's own log.
    log: Log {
        /// A level, or a list of `target=level`.
        level: String, level;
        /// How it is written.
        format: LogFormat;
    }
    /// The log events of apps.
    logging: Logging {
        /// Whether they are collected.
        enabled: bool;
        /// The most that the spool may take on disk.
        spool_size: ByteSize, |size| within(size.0, 16 << 20, 1 << 50, "bytes");
        /// What happens when it is full.
        when_full: WhenFull;
        /// How long what every sink has stays in the spool, where there is room.
        spool_keep: Duration;
    }
    /// Where images come from.
    registry: Registry {
        /// Its address.
        address: Option<String>;
        /// Its user.
        username: Option<String>;
        /// Its password.
        password: Option<Secret>;
    }
}

fn positive(duration: &Duration) -> Result<(), String> {
    let zero = duration.is_zero();
    (!zero)
        .then_some(())
        .ok_or_else(|| "must be longer than 0s".to_owned())
}

fn at_least_one(n: &u32) -> Result<(), String> {
    (*n > 0)
        .then_some(())
        .ok_or_else(|| "must be at least 1".to_owned())
}

fn within(n: u64, least: u64, most: u64, unit: &str) -> Result<(), String> {
    let message = || format!("must be from {least} to {most} {unit}, found {n}");
    (least..=most)
        .contains(&n)
        .then_some(())
        .ok_or_else(message)
}

/// Any address, with the scheme that the engine's own tools take.
fn docker_host(address: &String) -> Result<(), String> {
    let known = ["unix:///", "tcp://", "http://"];
    let right = address == AUTO || known.iter().any(|scheme| address.starts_with(scheme));
    right
        .then_some(())
        .ok_or_else(|| format!("expected unix:///path or tcp://host:port, found {address:?}"))
}

/// `embedded`, or `elasticsearch`.
fn backend(text: &String) -> Result<(), String> {
    let right = text == "embedded" || text == "elasticsearch";
    right
        .then_some(())
        .ok_or_else(|| format!("expected \"embedded\" or \"elasticsearch\", found {text:?}"))
}

/// `embedded`, or the URL of an etcd.
fn store(text: &String) -> Result<(), String> {
    let right = text == "embedded" || text.starts_with("etcd://");
    right
        .then_some(())
        .ok_or_else(|| format!("expected \"embedded\" or \"etcd://host:port,…\", found {text:?}"))
}

/// An IP address, or `auto`.
fn address(text: &String) -> Result<(), String> {
    let right = text == AUTO || text.parse::<IpAddr>().is_ok();
    right
        .then_some(())
        .ok_or_else(|| format!("expected an IP address or \"auto\", found {text:?}"))
}

/// `key=value` pairs with commas between them.
#[expect(
    clippy::ptr_arg,
    reason = "checks take a reference to the type of their key"
)]
fn labels(text: &String) -> Result<(), String> {
    pairs(text).map(drop)
}

/// The pairs of a list such as `zone=a,disk=ssd`.
///
/// # Errors
/// What was expected.
pub fn pairs(text: &str) -> Result<std::collections::BTreeMap<String, String>, String> {
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!(
                "expected key=value pairs such as \"zone=a,disk=ssd\", found {part:?}"
            )),
        })
        .collect()
}

/// A DNS name (RFC 1123): labels of letters, digits and inner dashes.
fn domain(name: &String) -> Result<(), String> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let right = name.len() <= 253 && name.split('.').all(label);
    right
        .then_some(())
        .ok_or_else(|| format!("expected a domain such as \"lain.local\", found {name:?}"))
}

/// Host names without scheme, port or path.
fn host_names(names: &[String]) -> Result<(), String> {
    names.iter().try_for_each(|name| {
        domain(name).map_err(|_| {
            format!(
                "expected host names such as \"lain.example.com\", without scheme, port or path, found {name:?}"
            )
        })
    })
}

/// A level, or `target=level`, in a list with commas.
fn level(levels: &String) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let right = levels.split(',').all(|part| {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    });
    right.then_some(()).ok_or_else(|| {
        format!(
            "expected one of {}, or target=level, found {levels:?}",
            LEVELS.join(", ")
        )
    })
}
