//! Our side of the benchmark; each measure is `otp.escript`'s, step by step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
use lain::actors::supervise::{
    ActorRef, Birth, Child, ChildSpec, Context, ExitReason, Flags, Init, LifecycleEvent, Observer,
    Placement, Progress, Report, Strategy, SupervisorSpec, Tree,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Figures;

const CHILDREN: u32 = 100_000;

/// The worker: tells whoever is named that it is up.
struct Worker(Option<UnboundedSender<()>>);

impl actix::Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        if let Some(report) = &self.0 {
            // Whoever measures may have what it wanted already.
            let _ = report.send(());
        }
    }
}

impl Child for Worker {
    type Args = Option<UnboundedSender<()>>;

    async fn init(report: Self::Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self(report)))
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Ping;

impl Handler<Ping> for Worker {
    type Result = u32;

    fn handle(&mut self, Ping: Ping, _: &mut Self::Context) -> u32 {
        7
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Worker {
    type Result = ();

    fn handle(&mut self, Crash: Crash, _: &mut Self::Context) {
        panic!("crash");
    }
}

/// Takes every event and report, so that none is free.
#[derive(Default)]
struct Reports {
    taken: AtomicU64,
}

impl Observer for Reports {
    fn event(&self, event: &LifecycleEvent) {
        self.taken.fetch_add(event.incarnation, Ordering::Relaxed);
    }

    fn report(&self, report: &Report) {
        self.taken
            .fetch_add(report.supervisor.len() as u64, Ordering::Relaxed);
    }

    fn progress(&self, progress: &Progress) {
        self.taken
            .fetch_add(progress.supervisor.len() as u64, Ordering::Relaxed);
    }
}

/// A tree whose root is the supervisor under test.
async fn tree(strategy: Strategy, children: Vec<ChildSpec>) -> Tree {
    let flags = Flags::new(strategy).intensity(1_000_000, Duration::from_secs(5));
    let spec = SupervisorSpec { flags, children };
    Tree::builder()
        .observer(Reports::default())
        .start(spec)
        .await
        .expect("the tree starts")
}

fn worker(id: impl std::fmt::Display, report: &Option<UnboundedSender<()>>) -> ChildSpec {
    ChildSpec::worker::<Worker>(id.to_string(), report.clone())
}

struct Up(UnboundedReceiver<()>);

impl Up {
    async fn up(&mut self, count: u32) {
        for _ in 0..count {
            self.0.recv().await.expect("a worker comes up");
        }
    }
}

fn reporting() -> (Option<UnboundedSender<()>>, Up) {
    let (sender, receiver) = unbounded_channel();
    (Some(sender), Up(receiver))
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

fn quantiles(figures: &mut Figures, name: &str, mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    for (word, share) in [("p50", 0.5), ("p99", 0.99)] {
        let rank = ((samples.len() as f64 * share).round() as usize).max(1);
        figures.insert(format!("{name}_{word}"), samples[rank - 1]);
    }
}

/// From the end of a child to its successor.
async fn restarts(end: fn(&Tree, &ActorRef<Worker>), samples: u32) -> Vec<f64> {
    let mut times = Vec::new();
    for batch in 0..10 + samples / 100 {
        let (report, mut up) = reporting();
        let tree = tree(Strategy::OneForOne, vec![worker("child", &report)]).await;
        let child = tree.actor::<Worker>("child");
        up.up(1).await;
        for _ in 0..100 {
            let begun = Instant::now();
            end(&tree, &child);
            up.up(1).await;
            if batch >= 10 {
                times.push(micros(begun));
            }
        }
        tree.stop().await;
    }
    times
}

fn kill(tree: &Tree, child: &ActorRef<Worker>) {
    assert!(tree.kill(child.path()));
}

fn crash(_: &Tree, child: &ActorRef<Worker>) {
    child.do_send(Crash).expect("the child runs");
}

async fn one_for_all() -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..40 {
        let (report, mut up) = reporting();
        let children = (1..=1000).map(|number| worker(number, &report)).collect();
        let tree = tree(Strategy::OneForAll, children).await;
        up.up(1000).await;
        let begun = Instant::now();
        tree.kill("1");
        up.up(1000).await;
        times.push(micros(begun));
        tree.stop().await;
    }
    times
}

async fn calls(figures: &mut Figures) {
    const COUNT: u32 = 1_000_000;
    let near = worker("near", &None);
    let far = worker("far", &None).placement(Placement::Dedicated);
    let tree = tree(Strategy::OneForOne, vec![near, far]).await;
    let reference = tree.actor::<Worker>("near");
    let address = reference.address().expect("it runs");
    let far = tree.actor::<Worker>("far").address().expect("it runs");
    for _ in 0..100_000 {
        address.send(Ping).await.expect("an answer");
    }
    let begun = Instant::now();
    for _ in 0..COUNT {
        address.send(Ping).await.expect("an answer");
    }
    figures.insert(
        "calls_per_s".into(),
        f64::from(COUNT) / begun.elapsed().as_secs_f64(),
    );
    let begun = Instant::now();
    for _ in 0..COUNT {
        reference.send(Ping).await.expect("an answer");
    }
    figures.insert(
        "reference_calls_per_s".into(),
        f64::from(COUNT) / begun.elapsed().as_secs_f64(),
    );
    let begun = Instant::now();
    for _ in 0..COUNT / 10 {
        far.send(Ping).await.expect("an answer");
    }
    figures.insert(
        "remote_calls_per_s".into(),
        f64::from(COUNT / 10) / begun.elapsed().as_secs_f64(),
    );
    tree.stop().await;
}

fn rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("its resident size");
    let kilobytes: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    kilobytes * 1024.0
}

async fn start_and_stop_many(figures: &mut Figures) {
    let tree = tree(Strategy::OneForOne, vec![]).await;
    let root = tree.root();
    let before = rss();
    let begun = Instant::now();
    for number in 1..=CHILDREN {
        root.start_child(worker(number, &None))
            .await
            .expect("started");
    }
    figures.insert(
        "started_per_s".into(),
        f64::from(CHILDREN) / begun.elapsed().as_secs_f64(),
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    figures.insert(
        "bytes_per_child".into(),
        (rss() - before) / f64::from(CHILDREN),
    );
    let begun = Instant::now();
    tree.stop().await;
    figures.insert("shutdown".into(), micros(begun));
}

async fn start_many_instances(figures: &mut Figures) {
    let template = ChildSpec::template::<Worker, u32, _>("t", |_| None);
    let tree = tree(Strategy::SimpleOneForOne, vec![template]).await;
    let root = tree.root();
    let begun = Instant::now();
    for number in 1..=CHILDREN {
        root.start_instance(number).await.expect("started");
    }
    figures.insert(
        "instances_per_s".into(),
        f64::from(CHILDREN) / begun.elapsed().as_secs_f64(),
    );
    let begun = Instant::now();
    tree.stop().await;
    figures.insert("instances_shutdown".into(), micros(begun));
}

async fn among_siblings() -> Vec<f64> {
    let (report, mut up) = reporting();
    let tree = tree(Strategy::OneForOne, vec![]).await;
    for number in 1..=CHILDREN {
        tree.root()
            .start_child(worker(number, &report))
            .await
            .expect("started");
    }
    up.up(CHILDREN).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut times = Vec::new();
    for sample in 0..300u32 {
        // Any of them, each at most once.
        let any = 1 + sample.wrapping_mul(2_654_435_761) % CHILDREN;
        let path = any.to_string();
        let begun = Instant::now();
        assert!(tree.kill(&path));
        up.up(1).await;
        times.push(micros(begun));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tree.stop().await;
    times
}

/// Runs every measure once, or only the one of this name.
pub fn measure(only: &str) -> Figures {
    let wanted = |name: &str| only.is_empty() || only == name;
    actix_rt::System::new().block_on(async {
        let mut figures = Figures::new();
        // First, while the heap is small: freed memory would hide what is taken anew.
        if wanted("many") {
            start_and_stop_many(&mut figures).await;
        }
        if wanted("kill") {
            quantiles(&mut figures, "kill", restarts(kill, 20_000).await);
        }
        if wanted("crash") {
            quantiles(&mut figures, "crash", restarts(crash, 20_000).await);
        }
        if wanted("one_for_all") {
            quantiles(&mut figures, "one_for_all", one_for_all().await);
        }
        if wanted("calls") {
            calls(&mut figures).await;
        }
        if wanted("instances") {
            start_many_instances(&mut figures).await;
        }
        if wanted("siblings") {
            quantiles(&mut figures, "siblings", among_siblings().await);
        }
        figures
    })
}
