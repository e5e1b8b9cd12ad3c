//! How long placement takes, and how that grows: 1,000, 10,000 and 100,000 instances.
//!
//! `cargo bench --bench placement`; one thread, nothing but the pure functions, in CPU time. There is no peer: Swarm
//! and Nomad have no such function that could be called alone.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use lain::domain::id::{AppName, NodeName, ProcName, ProcType};
use lain::domain::placement::{
    Cluster, Decision, Demand, Group, Needs, NodeFacts, NodeState, Policy,
};
use lain::domain::spec::filter::{Filter, FilterKind, FilterOperator};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What a run looks like.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Instances of each proc.
    per_proc: u32,
    zones: bool,
    /// Each tenth proc wants a disk label; each hundredth shuns another proc.
    filters: bool,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "procs of 100",
        per_proc: 100,
        zones: false,
        filters: false,
    },
    Shape {
        name: "procs of 3, three zones",
        per_proc: 3,
        zones: true,
        filters: false,
    },
    Shape {
        name: "procs of 1",
        per_proc: 1,
        zones: false,
        filters: false,
    },
    Shape {
        name: "procs of 10, zones and filters",
        per_proc: 10,
        zones: true,
        filters: true,
    },
];

fn nodes(count: usize) -> Vec<NodeFacts> {
    (0..count)
        .map(|i| NodeFacts {
            name: NodeName::new(format!("node-{i:04}")).unwrap(),
            state: NodeState::Ready,
            cpu_millis: if i % 4 == 0 { 64_000 } else { 32_000 },
            memory: 128 * 1024 * MIB,
            labels: BTreeMap::from([
                ("zone".to_owned(), format!("z{}", i % 3)),
                (
                    "disk".to_owned(),
                    if i % 5 == 0 { "ssd" } else { "hdd" }.to_owned(),
                ),
            ]),
        })
        .collect()
}

fn filter(kind: FilterKind, key: &str, operator: FilterOperator, value: &str) -> Filter {
    Filter {
        kind,
        key: key.to_owned(),
        operator,
        value: value.to_owned(),
    }
}

fn demands(shape: Shape, instances: u32) -> Vec<Demand> {
    let mut all = Vec::new();
    let procs = instances / shape.per_proc;
    for proc in 0..procs {
        let group = Group {
            app: AppName::new(format!("app-{proc}")).unwrap(),
            proc_type: ProcType::Web,
            proc: ProcName::new("web").unwrap(),
        };
        let cpu = 50 + u64::from(proc % 7) * 50;
        let mut needs = Needs::new(group, cpu, (128 + u64::from(proc % 5) * 128) * MIB);
        if shape.filters && proc % 10 == 0 {
            let disk = filter(FilterKind::Constraint, "disk", FilterOperator::Equal, "ssd");
            needs.filters.push(disk);
        }
        if shape.filters && proc % 100 == 1 {
            let other = format!("app-{}", proc - 1);
            let shun = filter(
                FilterKind::Affinity,
                "container",
                FilterOperator::NotEqual,
                &other,
            );
            needs.filters.push(shun);
        }
        let needs = Arc::new(needs);
        all.extend((1..=shape.per_proc).map(|no| Demand::new(Arc::clone(&needs), no, 1)));
    }
    all
}

/// What `work` took of this thread's CPU: the machine may be busy with other things.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = cpu();
    let done = work();
    (done, cpu() - start)
}

/// CPU time of this thread so far, as the kernel counts it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

fn placed(decisions: &[Decision]) -> usize {
    decisions.iter().filter(|d| d.node().is_some()).count()
}

fn ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}

fn run(shape: Shape, instances: u32) {
    let count = (instances / 100).max(10) as usize;
    let policy = Policy {
        spread_label: shape.zones.then(|| "zone".to_owned()),
        ..Policy::default()
    };
    let facts = nodes(count);
    let wanted = demands(shape, instances);
    let mut cluster = Cluster::new(policy.clone(), facts.clone(), []);
    let (decisions, first) = timed(|| cluster.place(&wanted));
    let all = placed(&decisions);

    let records = cluster.placed();
    let (_, load) = timed(|| Cluster::new(policy, facts, records));
    for placed in cluster.placed() {
        cluster.set_available(&placed.demand.copy(), true);
    }

    let lost = count / 10;
    let (again, loss) = timed(|| {
        let mut left = Vec::new();
        for i in 0..lost {
            let mut node = cluster.nodes().nth(i * 10).unwrap().clone();
            node.state = NodeState::Down;
            let name = node.name.clone();
            cluster.set_node(node);
            left.extend(cluster.lost(&name).demands);
        }
        (left.len(), cluster.place(&left))
    });
    let (one, single) = timed(|| {
        let mut one = wanted[wanted.len() - 1].clone();
        one.no = 1_000_000;
        cluster.place(&[one])
    });
    assert_eq!(placed(&one), 1);
    for placed in cluster.placed() {
        cluster.set_available(&placed.demand.copy(), true);
    }
    for i in 0..lost {
        let mut node = cluster.nodes().nth(i * 10).unwrap().clone();
        node.state = NodeState::Ready;
        cluster.set_node(node);
    }
    let (moves, even) = timed(|| cluster.rebalance(100));
    println!(
        "| {instances} on {count} | {} | {} ({all}) | {} | {} ({} of {}) | {} | {} ({}) |",
        shape.name,
        ms(first),
        ms(load),
        ms(loss),
        placed(&again.1),
        again.0,
        ms(single),
        ms(even),
        moves.len()
    );
}

/// Everything is full: what is left over is refused, with reasons.
fn full() {
    let facts = nodes(1_000);
    let wanted = demands(SHAPES[1], 300_000);
    let mut cluster = Cluster::new(Policy::default(), facts, []);
    let (decisions, took) = timed(|| cluster.place(&wanted));
    println!(
        "\n300000 instances on 1000 nodes that have room for fewer: {} placed, {} refused, {}",
        placed(&decisions),
        decisions.len() - placed(&decisions),
        ms(took)
    );
}

fn main() {
    println!(
        "| instances on nodes | shape | first placement (placed) | cluster from records | a tenth of the nodes lost (re-placed) | one more instance | rebalance, budget 100 (moves) |"
    );
    println!("|---|---|---|---|---|---|---|");
    for instances in [1_000, 10_000, 100_000] {
        for shape in SHAPES {
            run(shape, instances);
        }
    }
    full();
}
