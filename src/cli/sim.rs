//! `lain sim`: simulates whole clusters and looks for broken promises. What it does belongs to the role; this file only
//! names its flags.

use crate::cli::args::duration;
use clap::Args;
use std::time::Duration;

/// Simulate clusters under faults, in virtual time, and check what lain promises
///
/// Runs the real control host against simulated nodes, with crashes, lost nodes, partitions, errors of the
/// store and restarts by chance, while apps are deployed, scaled and removed. Each schedule has a seed;
/// the same seed gives the same schedule, to the last event. Checked at every step: no exclusive instance
/// runs twice, no node is given more than it has, what was acknowledged stays, what nothing concerns runs
/// on, and once the faults end all becomes as it is wanted. Needs no server, no engine and no network.
/// Exit 1 if an invariant was broken; the seed and the command that replays it are printed.
#[derive(Debug, Clone, Args)]
#[command(before_long_help = "Examples:
  lain sim                                    100 schedules
  lain sim --for 10m --jobs 2                 as many as fit
  lain sim --seed 4711 --schedules 1 --trace  one schedule, with everything that happens
  lain sim --nodes 8 --instances 40 --faults partition,control-restart
  lain sim --scale --nodes 1000 --instances 100000   how long placing takes, and re-placing")]
pub struct SimArgs {
    /// Seed of the first schedule; the next one has the next number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many schedules [default: 100, or as many as fit into --for]
    #[arg(long, value_name = "N")]
    pub schedules: Option<u64>,
    /// Run schedules for this long, of real time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub time: Option<Duration>,
    /// For how long faults go on in each schedule, of virtual time
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub span: Duration,
    /// Nodes [default: 4; with --scale 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub nodes: Option<u32>,
    /// Instances, on average [default: 12; with --scale 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub instances: Option<u32>,
    /// Which faults, with commas between; all of them by default: crash, slow-start, node-loss, agent-restart,
    /// partition, one-way, link-break, delay, duplicate, clock, store-error, store-delay, control-restart
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Schedules that run side by side, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub jobs: u16,
    /// Print everything that happens in each schedule
    #[arg(long)]
    pub trace: bool,
    /// Measure instead: place all instances, then lose a tenth of the nodes at once
    #[arg(long, conflicts_with_all = ["schedules", "time", "faults", "trace", "jobs"])]
    pub scale: bool,
}
