//! A hundred thousand simulated instances under the real actors: memory and CPU of one process.

use lain::actors::control::handle::Handle;
use lain::actors::control::render::Site;
use lain::actors::no_web;
use lain::actors::root;
use lain::actors::shared::{Settings, Shared};
use lain::domain::view::{AppState, DeployRequest};
use lain::drivers::memory::MemoryStore;
use lain::drivers::simulated::Simulated;
use lain::ports::clock::SystemClock;
use lain::ports::control::{Caller, Control, Precondition};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const APPS: usize = 100;
const EACH: usize = 1000;

/// Runs the measurement in a process of its own, so that memory is its alone.
pub fn parent() {
    let exe = std::env::current_exe().expect("this program");
    let status = Command::new(exe)
        .arg("simulated-child")
        .status()
        .expect("it starts");
    assert!(status.success(), "the simulated run failed");
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<f64>()
        .expect("a number")
        / 1024.0
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let rest = stat.rsplit_once(')').expect("stat").1.to_owned();
    rest.split_whitespace()
        .skip(11)
        .take(2)
        .map(|t| t.parse::<f64>().expect("ticks"))
        .sum::<f64>()
        / 100.0
}

/// The measurement itself.
pub fn child() {
    actix_rt::System::new().block_on(async {
        let settings = Settings {
            role: "dev",
            node: "n1".parse().expect("a name"),
            site: Site {
                owner: "bench".into(),
                domain: "lain.local".into(),
                volumes: "/nonexistent".into(),
                cpus: 64,
                publish: std::net::Ipv4Addr::LOCALHOST.into(),
                registry: String::new(),
            },
            port_range: (20_000, 29_999),
            reconcile_every: Duration::from_secs(30),
            degraded_retry: Duration::from_secs(30),
            degraded_retry_max: Duration::from_secs(300),
            recovered_after: Duration::from_secs(60),
            crashes_kept: 1000,
            revisions_kept: 10,
            concurrent_starts: 64,
            freeze_spares: true,
            data_dir: std::env::temp_dir(),
            lease: Default::default(),
            policy: lain::domain::placement::Policy::default(),
            rebalance_after: Duration::ZERO,
        };
        let runtime = Arc::new(Simulated::new(chrono::Utc::now()));
        let engine = runtime.handle();
        let shared = Shared::new(
            Arc::new(MemoryStore::new()),
            runtime,
            Arc::new(SystemClock::new()),
            settings,
        );
        let hosts = root::Hosts {
            local: true,
            listener: None,
        };
        let tree = root::start(&shared, hosts, no_web::spec)
            .await
            .expect("the tree starts");
        shared.settle();
        let handle = Handle::new(Arc::clone(&shared));
        println!("\n# {} simulated instances", APPS * EACH);
        println!("resident with 0 instances    {:>8.1} MiB", resident_mib());
        let begun = Instant::now();
        for app in 0..APPS {
            let yaml = format!(
                "appname: app{app}\nworker:\n  image: sim:1\n  cmd: run\n  num_instances: {EACH}\n"
            );
            let request = DeployRequest {
                lain_yaml: yaml,
                file_name: "lain.yaml".into(),
                meta_version: None,
                image: None,
                canary: None,
            };
            let caller = Caller {
                name: "bench".into(),
                from: String::new(),
            };
            let name = format!("app{app}").parse().expect("a name");
            handle
                .deploy(&name, request, Precondition::None, false, caller)
                .await
                .expect("accepted");
        }
        loop {
            let apps = handle.apps().await.expect("apps");
            if apps.iter().filter(|a| a.state == AppState::Running).count() == APPS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        println!(
            "deployed and running in      {:>8.1} s",
            begun.elapsed().as_secs_f64()
        );
        println!(
            "resident                     {:>8.1} MiB, {:.1} KiB an instance",
            resident_mib(),
            resident_mib() * 1024.0 / (APPS * EACH) as f64
        );
        let (before, since) = (cpu(), Instant::now());
        tokio::time::sleep(Duration::from_secs(35)).await;
        println!(
            "CPU at rest                  {:>8.2} % of a core",
            (cpu() - before) / since.elapsed().as_secs_f64() * 100.0
        );
        let victim = engine
            .by_name("app50.worker.worker.v1-i500-d0")
            .expect("it is there");
        let begun = Instant::now();
        engine
            .kill(
                &victim,
                lain::domain::crash::Exit::from_code(137, false, None),
            )
            .expect("a kill");
        while handle
            .app(&"app50".parse().expect("a name"))
            .await
            .expect("the app")
            .procs[0]
            .crashes
            == 0
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!(
            "one killed to seen restarted {:>8.1} ms",
            begun.elapsed().as_secs_f64() * 1e3
        );
        drop(tree);
    });
    std::process::exit(0);
}
