//! The daemons: `lain dev`, `lain server`, `lain agent`. What they do belongs to the roles; this file only
//! names their flags.

use crate::cli::error::{Exit, Result};
use crate::cli::output::Screen;
use crate::cli::sim::SimArgs;
use crate::config::Flag;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Run control host and agent in one process
///
/// Starts the API, keeps the apps of this machine alive, and writes its address and token where the
/// CLI of the same user finds them. When it is stopped its containers are stopped too, unless --keep
/// is given; started again it adopts those that still run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(before_long_help = "Examples:
  lain dev                             the Docker Engine of this machine
  lain dev --engine process            local processes, for machines without Docker
  lain dev --listen 127.0.0.1:8000 --data-dir /tmp/lain
  lain dev --keep                      leave the containers running at the end")]
pub struct DevOptions {
    /// What all daemons take.
    #[command(flatten)]
    pub common: Common,
    /// Address of the API [default: 127.0.0.1:7419]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// What runs the procs.
    #[command(flatten)]
    pub node: NodeOptions,
    /// Leave the containers running when lain ends
    #[arg(long)]
    pub keep: bool,
}

impl DevOptions {
    /// Each flag that was given, as the setting that it stands for.
    pub fn flags(&self) -> Vec<Flag> {
        let mut flags = self.common.flags();
        flags.extend(self.node.flags());
        flags.extend(flag("--listen", "server.listen", self.listen.clone()));
        flags
    }
}

/// Run the control host: the API, placement and rollouts for nodes on other hosts
///
/// Runs no containers itself: join nodes to it with `lain node token`. Nodes go on by themselves while
/// it is away.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(before_long_help = "Examples:
  lain server                                        the API on loopback, agents on port 7420
  lain server --listen 10.0.0.1:7419 --link-listen 10.0.0.1:7420
  lain server --store etcd://10.0.0.5:2379           several of these elect a leader
  lain server backup /var/backups/lain-2026-11-24    while no lain server uses an embedded store
  lain server migrate-store etcd://10.0.0.5:2379     from the embedded store to etcd")]
pub struct ServerOptions {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub verb: Option<ServerVerb>,
    /// What all daemons take.
    #[command(flatten)]
    pub common: Common,
    /// Address of the API [default: 127.0.0.1:7419]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where the agents of nodes connect [default: 0.0.0.0:7420]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub link_listen: Option<String>,
    /// What keeps desired state: embedded, or etcd://host:port,… [default: embedded]
    #[arg(long, value_name = "STORE", global = true)]
    pub store: Option<String>,
    /// How nodes reach that, as the join command says it [default: this host's own address]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
}

impl ServerOptions {
    /// Each flag that was given, as the setting that it stands for.
    pub fn flags(&self) -> Vec<Flag> {
        let mut flags = self.common.flags();
        flags.extend(flag("--listen", "server.listen", self.listen.clone()));
        flags.extend(flag(
            "--link-listen",
            "link.listen",
            self.link_listen.clone(),
        ));
        flags.extend(flag("--store", "server.store", self.store.clone()));
        flags.extend(flag(
            "--advertise",
            "link.advertise",
            self.advertise.clone(),
        ));
        flags
    }
}

/// What to do with the store of a control host.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum ServerVerb {
    /// Write all of the store to a new file
    Backup {
        /// The file; it must not exist
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Fill the store from a backup
    Restore {
        /// The backup
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// Remove what is in the store already
        #[arg(long)]
        replace: bool,
    },
    /// Copy all of the store to another one
    MigrateStore {
        /// Where to: embedded, or etcd://host:port,…
        #[arg(value_name = "STORE")]
        to: String,
        /// Remove what is there already
        #[arg(long)]
        replace: bool,
    },
}

/// Run a node: the containers that the control host places here
///
/// The first time it joins, with the command that `lain node token` prints; the token comes in the
/// environment variable LAIN_JOIN_TOKEN. From then on `lain agent` alone is enough. When it is stopped
/// its containers run on, and when it starts it adopts them.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(before_long_help = "Examples:
  LAIN_JOIN_TOKEN=lj_… lain agent --join 10.0.0.1:7420 --ca sha256:…   join, and run
  lain agent                                                             run")]
pub struct AgentOptions {
    /// What all daemons take.
    #[command(flatten)]
    pub common: Common,
    /// The control host, or several with commas between [default: those it joined at]
    #[arg(long = "join", id = "join", value_name = "HOST:PORT")]
    pub join: Option<String>,
    /// Fingerprint of the control host's authority, to join
    #[arg(long, value_name = "sha256:HEX")]
    pub ca: Option<String>,
    /// What runs the procs.
    #[command(flatten)]
    pub node: NodeOptions,
    /// Where clients reach what containers publish [default: this host's own address]
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Address on which containers' ports are published, such as 0.0.0.0 [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub publish: Option<String>,
    /// Labels for placement, such as zone=a,disk=ssd
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub labels: Option<String>,
}

impl AgentOptions {
    /// Each flag that was given, as the setting that it stands for.
    pub fn flags(&self) -> Vec<Flag> {
        let mut flags = self.common.flags();
        flags.extend(self.node.flags());
        flags.extend(flag("--join", "link.servers", self.join.clone()));
        flags.extend(flag("--address", "node.address", self.address.clone()));
        flags.extend(flag(
            "--publish",
            "node.publish_address",
            self.publish.clone(),
        ));
        flags.extend(flag("--labels", "node.labels", self.labels.clone()));
        flags
    }
}

/// Stop what may run only once when the agent cannot; started by `lain agent` itself
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WatchdogOptions {
    /// Where the agent writes until when what may run
    #[arg(long, value_name = "FILE")]
    pub note: PathBuf,
    /// Which start of the agent it belongs to
    #[arg(long, value_name = "ID")]
    pub owner: String,
}

/// Flags of every daemon.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Common {
    /// Configuration file, besides /etc/lain/lain.toml and ~/.config/lain/config.toml
    #[arg(long, global = true, value_name = "FILE", env = "LAIN_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where state, logs and the token are kept [default: ~/.local/share/lain, /var/lib/lain for root]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as lain=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Write the address to this file once the daemon is ready
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub ready_file: Option<PathBuf>,
}

impl Common {
    fn flags(&self) -> Vec<Flag> {
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        });
        let data_dir = self.data_dir.as_ref().map(|dir| dir.display().to_string());
        let mut flags = Vec::new();
        flags.extend(flag("--data-dir", "server.data_dir", data_dir));
        flags.extend(flag("--log-level", "log.level", self.log_level.clone()));
        flags.extend(flag(
            "--log-format",
            "log.format",
            format.map(str::to_owned),
        ));
        flags
    }
}

/// Flags of every daemon that runs containers.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NodeOptions {
    /// Name of this node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// What runs the procs [default: auto]
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub engine: Option<Engine>,
    /// Address of the Docker Engine, such as unix:///var/run/docker.sock
    #[arg(long, value_name = "URL", env = "DOCKER_HOST")]
    pub docker_host: Option<String>,
}

impl NodeOptions {
    fn flags(&self) -> Vec<Flag> {
        let engine = self.engine.map(|engine| match engine {
            Engine::Auto => "auto",
            Engine::Docker => "docker",
            Engine::Process => "process",
        });
        let mut flags = Vec::new();
        flags.extend(flag("--node-name", "node.name", self.node_name.clone()));
        flags.extend(flag("--engine", "engine.kind", engine.map(str::to_owned)));
        flags.extend(flag(
            "--docker-host",
            "engine.docker_host",
            self.docker_host.clone(),
        ));
        flags
    }
}

fn flag(flag: &str, key: &'static str, value: Option<String>) -> Option<Flag> {
    value.map(|value| Flag {
        flag: flag.to_owned(),
        key,
        value,
    })
}

/// What runs the procs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The Docker Engine where it answers, else local processes.
    Auto,
    /// The Docker Engine.
    Docker,
    /// Local processes: no isolation, not for production.
    Process,
}

/// The form of the daemon's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

/// What this binary can become; supplied by `main`, which alone sees the roles.
///
/// A daemon runs until it is told to stop. Each is called outside any runtime.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    /// `lain dev`.
    pub dev: fn(DevOptions) -> Result<()>,
    /// `lain server`.
    pub server: fn(ServerOptions) -> Result<()>,
    /// `lain agent`.
    pub agent: fn(AgentOptions) -> Result<()>,
    /// `lain agent-watchdog`.
    pub watchdog: fn(WatchdogOptions) -> Result<()>,
    /// `lain sim`.
    pub sim: fn(SimArgs, &Screen) -> Result<Exit>,
}
