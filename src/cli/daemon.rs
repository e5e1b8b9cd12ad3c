//! `lain dev`: the flags of the daemon. What it does belongs to the roles; this file only names it.

use crate::cli::error::Result;
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
    /// Configuration file, besides /etc/lain/lain.toml and ~/.config/lain/config.toml
    #[arg(long, value_name = "FILE", env = "LAIN_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where state, logs and the token are kept [default: ~/.local/share/lain, /var/lib/lain for root]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// Address of the API [default: 127.0.0.1:7419]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Name of this node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// What runs the procs [default: auto]
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub engine: Option<Engine>,
    /// Address of the Docker Engine, such as unix:///var/run/docker.sock
    #[arg(long, value_name = "URL", env = "DOCKER_HOST")]
    pub docker_host: Option<String>,
    /// Leave the containers running when lain ends
    #[arg(long)]
    pub keep: bool,
    /// What is logged: error, warn, info, debug, trace, or a filter such as lain=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Write the address to this file once the API answers
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub ready_file: Option<PathBuf>,
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

/// The daemons that this binary can become; supplied by `main`, which alone sees the roles.
///
/// Each runs until it is told to stop and is called outside any runtime.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    /// `lain dev`.
    pub dev: fn(DevOptions) -> Result<()>,
}
