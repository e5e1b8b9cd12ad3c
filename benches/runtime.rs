//! What the Docker driver costs beside bare engine calls, on a real engine, in the same run.
//!
//! `DOCKER_HOST=$(scripts/docker.sh ensure) cargo bench --bench runtime [-- ROUNDS]`. Needs the image
//! `lain/hello:1` (`scripts/make-image.sh -l`). Rounds of the driver and of the bare engine alternate,
//! so that whatever else the machine does meets both.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures_util::{StreamExt, stream};
use lain::domain::spec::model::{Port, Protocol};
use lain::drivers::docker::{Docker, Options};
use lain::drivers::pidfd;
use lain::ports::runtime::{ContainerSpec, EngineEvent, PublishedPort, Resources, Runtime};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const IMAGE: &str = "lain/hello:1";
/// Instances of the sample that are deployed together.
const MANY: u16 = 50;
/// The first host port.
const PORTS: u16 = 21_000;

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("lain.owner".to_owned(), "bench".to_owned())])
}

fn spec(name: &str, port: u16) -> ContainerSpec {
    let container = Port {
        port: 80,
        protocol: Protocol::Tcp,
    };
    ContainerSpec {
        name: format!("lain-bench-{name}"),
        image: IMAGE.to_owned(),
        entrypoint: None,
        cmd: None,
        env: Vec::new(),
        labels: BTreeMap::from([("lain.owner".into(), "bench".into())]),
        user: String::new(),
        workdir: String::new(),
        hostname: String::new(),
        resources: Resources {
            cpu_millis: 0,
            memory: 0,
        },
        ports: vec![PublishedPort {
            container,
            host_ip: [127, 0, 0, 1].into(),
            host_port: port,
        }],
        mounts: Vec::new(),
        dns_search: Vec::new(),
        kill_timeout: Duration::from_secs(5),
    }
}

/// Samples in ms, shown as median and 90th percentile.
#[derive(Default)]
struct Samples(Vec<f64>);

impl Samples {
    fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted
            .get((last as f64 * part).round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }

    fn show(&self, what: &str) {
        println!("{what:<58} {:>8.2} {:>8.2}", self.at(0.5), self.at(0.9));
    }
}

async fn timed<T>(samples: &mut Samples, what: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = what.await;
    samples.add(began.elapsed());
    done
}

/// Waits until the sample answers with 200.
async fn answers(port: u16) {
    let asked = tokio::task::spawn_blocking(move || {
        for _ in 0..20_000 {
            if answers_now(port) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no answer on port {port}");
    });
    asked.await.unwrap();
}

fn answers_now(port: u16) -> bool {
    let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = [0; 64];
    connection
        .write_all(b"GET /cgi-bin/health HTTP/1.0\r\n\r\n")
        .is_ok()
        && connection
            .read(&mut answer)
            .is_ok_and(|n| answer[..n].starts_with(b"HTTP/1.1 200"))
}

fn kill(pid: Option<u32>) {
    let process = pidfd::Process::open(pid.unwrap()).unwrap();
    process.signal(rustix::process::Signal::KILL).unwrap();
}

/// What one engine call costs through the driver.
async fn calls(docker: &Docker) {
    let id = docker.create(&spec("calls", PORTS)).await.unwrap();
    docker.start(&id).await.unwrap();
    let [mut info, mut inspect, mut list] = [(); 3].map(|()| Samples::default());
    for _ in 0..100 {
        timed(&mut info, docker.info()).await.unwrap();
        timed(&mut inspect, docker.inspect(&id)).await.unwrap();
        timed(&mut list, docker.list(&labels())).await.unwrap();
    }
    info.show("info");
    inspect.show("inspect");
    list.show("list of one");
    docker.remove(&id).await.unwrap();
}

/// The life of one container through the driver, and how soon its death is noticed.
async fn life(docker: &Docker, rounds: u16) {
    let [mut create, mut start, mut stop, mut remove] = [(); 4].map(|()| Samples::default());
    let [mut pidfd, mut event, mut exit] = [(); 3].map(|()| Samples::default());
    let mut events = docker.events(labels());
    events.next().await;
    for round in 0..rounds {
        let id = timed(&mut create, docker.create(&spec("life", PORTS + round)))
            .await
            .unwrap();
        let pid = timed(&mut start, docker.start(&id)).await.unwrap().pid;
        answers(PORTS + round).await;
        let ended = docker.ended(&id, pid);
        tokio::pin!(ended);
        // Armed before the kill.
        assert!(futures_util::poll!(&mut ended).is_pending());
        let began = Instant::now();
        kill(pid);
        let (by_pidfd, by_event) = tokio::join!(
            async {
                ended.await.unwrap();
                began.elapsed()
            },
            async {
                while events.next().await != Some(EngineEvent::Died { id: id.clone() }) {}
                began.elapsed()
            }
        );
        docker.exit_of(&id).await.unwrap();
        exit.add(began.elapsed());
        pidfd.add(by_pidfd);
        event.add(by_event);
        docker.start(&id).await.unwrap();
        answers(PORTS + round).await;
        timed(&mut stop, docker.stop(&id, Duration::from_secs(5)))
            .await
            .unwrap();
        timed(&mut remove, docker.remove(&id)).await.unwrap();
    }
    create.show("create");
    start.show("start");
    stop.show("stop, the app ending at once");
    remove.show("remove");
    pidfd.show("killed → noticed by pidfd");
    event.show("killed → noticed by the engine's event");
    exit.show("killed → how it ended is known");
}

/// Killed to HTTP 200: the driver beside the floor, which starts again at the engine's `die` event.
async fn again(docker: &Docker, bare: &bollard::Docker, rounds: u16) {
    let [mut ours, mut floor] = [(); 2].map(|()| Samples::default());
    let port = PORTS + 500;
    let id = docker.create(&spec("again", port)).await.unwrap();
    docker.start(&id).await.unwrap();
    for _ in 0..rounds {
        answers(port).await;
        let pid = docker.inspect(&id).await.unwrap().pid;
        let ended = docker.ended(&id, pid);
        tokio::pin!(ended);
        assert!(futures_util::poll!(&mut ended).is_pending());
        let began = Instant::now();
        kill(pid);
        ended.await.unwrap();
        // The agent asks how it ended before it starts it again.
        docker.exit_of(&id).await.unwrap();
        docker.start(&id).await.unwrap();
        answers(port).await;
        ours.add(began.elapsed());

        let pid = docker.inspect(&id).await.unwrap().pid;
        let died = HashMap::from([("event", vec!["die"]), ("container", vec![id.as_str()])]);
        let options = EventsOptionsBuilder::new().filters(&died).build();
        let mut events = bare.events(Some(options));
        assert!(futures_util::poll!(events.next()).is_pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        kill(pid);
        events.next().await.unwrap().unwrap();
        bare.start_container(id.as_str(), None::<StartContainerOptions>)
            .await
            .unwrap();
        answers(port).await;
        floor.add(began.elapsed());
    }
    ours.show("killed → HTTP 200, driver");
    floor.show("killed → HTTP 200, bare: start at the die event");
    println!(
        "{:<58} {:>8.3}",
        "ratio of the medians",
        ours.at(0.5) / floor.at(0.5)
    );
    docker.remove(&id).await.unwrap();
}

async fn make_bare(bare: &bollard::Docker, number: u16) -> String {
    let binding = PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        host_port: Some((PORTS + 600 + number).to_string()),
    };
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        labels: Some(labels().into_iter().collect()),
        exposed_ports: Some(vec!["80/tcp".to_owned()]),
        host_config: Some(HostConfig {
            port_bindings: Some(HashMap::from([("80/tcp".to_owned(), Some(vec![binding]))])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let name = format!("lain-bench-bare-{number}");
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let id = bare.create_container(Some(options), body).await.unwrap().id;
    bare.start_container(&id, None::<StartContainerOptions>)
        .await
        .unwrap();
    id
}

async fn all_answer(first: u16) {
    stream::iter(0..MANY)
        .for_each_concurrent(8, |n| answers(first + n))
        .await;
}

async fn clear(docker: &Docker) {
    let left = docker.list(&labels()).await.unwrap();
    stream::iter(left)
        .for_each_concurrent(8, async |c| docker.remove(&c.id).await.unwrap())
        .await;
}

/// 50 made, started and answering, so many at a time.
async fn many(docker: &Docker, bare: &bollard::Docker, at_a_time: usize) {
    let began = Instant::now();
    let one = async |number: u16| {
        let id = docker
            .create(&spec(&format!("many-{number}"), PORTS + 600 + number))
            .await;
        docker.start(&id.unwrap()).await.unwrap();
    };
    stream::iter(0..MANY)
        .for_each_concurrent(at_a_time, one)
        .await;
    all_answer(PORTS + 600).await;
    let ours = began.elapsed();
    let mut list = Samples::default();
    for _ in 0..20 {
        assert_eq!(
            timed(&mut list, docker.list(&labels()))
                .await
                .unwrap()
                .len(),
            usize::from(MANY)
        );
    }
    clear(docker).await;
    let began = Instant::now();
    let one = async |number: u16| drop(make_bare(bare, number).await);
    stream::iter(0..MANY)
        .for_each_concurrent(at_a_time, one)
        .await;
    all_answer(PORTS + 600).await;
    let floor = began.elapsed();
    clear(docker).await;
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{:<58} {:>8.2} {:>8.2}  ({ratio:.3})",
        format!("{MANY} answering, {at_a_time} at a time: driver, bare (s)"),
        ours.as_secs_f64(),
        floor.as_secs_f64()
    );
    list.show(&format!("list of {MANY}"));
}

/// An image's and a bare inspection, to see what the driver adds to a call.
async fn bare_calls(bare: &bollard::Docker) {
    let id = make_bare(bare, 0).await;
    let mut inspect = Samples::default();
    for _ in 0..100 {
        let none = None::<InspectContainerOptions>;
        timed(&mut inspect, bare.inspect_container(&id, none))
            .await
            .unwrap();
    }
    inspect.show("inspect, bare");
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    bare.remove_container(&id, Some(force)).await.unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo hands `--bench` to every benchmark.
    let rounds = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(20);
    let options = Options::from_env();
    let bare = bollard::Docker::connect_with_host(&options.endpoint).unwrap();
    let bare = bare.negotiate_version().await.unwrap();
    let docker = Docker::new(options);
    let info = docker.info().await.unwrap();
    println!(
        "Docker Engine {} on {} CPUs, {rounds} rounds",
        info.version, info.cpus
    );
    clear(&docker).await;
    println!("{:<58} {:>8} {:>8}", "", "p50 ms", "p90 ms");
    calls(&docker).await;
    bare_calls(&bare).await;
    life(&docker, rounds).await;
    again(&docker, &bare, rounds).await;
    for at_a_time in [4, 8] {
        many(&docker, &bare, at_a_time).await;
    }
}
