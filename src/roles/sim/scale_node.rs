//! A node of `lain sim --scale`: takes assignments up, says at once that they run, and beats. Small: there are many.

use super::agent::facts;
use crate::domain::id::{ContainerId, NodeName};
use crate::domain::view::InstanceRole;
use crate::link::frame::split;
use crate::link::message::{PROTOCOL, PROTOCOL_MIN, ToAgent, ToControl};
use crate::ports::agent::{CellReport, Desired, Health, Phase, Want};
use crate::ports::runtime::Resources;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::sync::Notify;

/// Containers that the node takes beyond its share, in shares: room for those of lost nodes.
const ROOM: u64 = 2;

struct Runs {
    role: InstanceRole,
    resources: Resources,
    since: Instant,
}

/// Lives until it is lost: then it reads and says nothing any more, and its connection stays open.
pub async fn live(name: NodeName, wire: DuplexStream, share: u32, memory: u64, lost: Arc<Notify>) {
    let size = u64::from(share) * memory * ROOM + 256;
    let talking = talk(&name, wire, size << 20, lost);
    if let Err(error) = talking.await {
        tracing::debug!(%name, %error, "the link has ended");
    }
}

async fn talk(
    name: &NodeName,
    wire: DuplexStream,
    memory: u64,
    lost: Arc<Notify>,
) -> io::Result<()> {
    let (mut receiver, mut sender) = split::<ToAgent, ToControl>(wire);
    let hello = ToControl::Hello {
        protocol: (PROTOCOL_MIN, PROTOCOL),
        node: name.clone(),
        boot: "1".to_owned(),
        facts: Box::new(facts(32, memory)),
    };
    sender.send(&hello).await?;
    let mut runs: BTreeMap<String, Runs> = BTreeMap::new();
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    let mut seq = 0;
    loop {
        tokio::select! {
            biased;
            () = lost.notified() => {
                // Both halves are kept, or the other end would be told.
                std::future::pending::<()>().await;
            }
            _ = beat.tick() => {
                seq += 1;
                sender.send(&ToControl::Beat { seq }).await?;
            }
            message = receiver.next() => match message? {
                None => return Ok(()),
                Some(ToAgent::Assign { revision, put, gone, base, .. }) => {
                    let full = base.is_none();
                    let report = take_up(&mut runs, revision, put, gone, full);
                    sender.send(&report).await?;
                }
                Some(_) => {}
            },
        }
    }
}

fn take_up(
    runs: &mut BTreeMap<String, Runs>,
    revision: u64,
    put: Vec<Desired>,
    gone: Vec<String>,
    full: bool,
) -> ToControl {
    if full {
        runs.clear();
    }
    for name in &gone {
        runs.remove(name);
    }
    let mut cells = Vec::with_capacity(put.len());
    for desired in put {
        let name = desired.assignment.container.name.clone();
        if desired.want == Want::Stop {
            runs.remove(&name);
            continue;
        }
        let fresh = Runs {
            role: desired.assignment.role,
            resources: desired.assignment.container.resources,
            since: Instant::now(),
        };
        let now = runs.entry(name.clone()).or_insert(fresh);
        (now.role, now.resources) = (
            desired.assignment.role,
            desired.assignment.container.resources,
        );
        cells.push(report(name, now));
    }
    ToControl::Report {
        revision,
        cells,
        gone,
        full,
    }
}

fn report(name: String, runs: &Runs) -> CellReport {
    let age = u64::try_from(runs.since.elapsed().as_millis()).unwrap_or(u64::MAX);
    CellReport {
        id: ContainerId::new(format!("c-{name}")).ok(),
        name,
        phase: Phase::Running,
        health: Health::None,
        role: runs.role,
        pid: None,
        ip: None,
        started_at: None,
        running_ms: Some(age),
        ready_ms: Some(age),
        restart_at: None,
        last_exit: None,
        last_crash: None,
        restarts: 0,
        probe: None,
        lines_seen: 0,
        resources: runs.resources,
    }
}
