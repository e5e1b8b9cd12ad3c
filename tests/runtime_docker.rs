//! Docker Engine keeps every runtime's promises, and some of its own: against a real engine, which
//! `scripts/docker.sh ensure` installs and starts.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests fail by panicking, as tests do"
)]

mod runtime_support;

#[path = "runtime_support/engine.rs"]
mod engine;
#[path = "runtime_support/registry.rs"]
mod registry;

use futures_util::StreamExt;
use lain::domain::id::ContainerId;
use lain::domain::spec::model::{Port, Protocol};
use lain::ports::runtime::{
    ContainerSpec, ContainerState, EngineEvent, ExecRequest, LogsRequest, Mount, PublishedPort,
    PullObserver, Resources, Runtime, RuntimeError, RuntimeKind,
};
use runtime_support::{Bed, Does, eventually, within};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

fn bed() -> Bed {
    bed_on(engine::machine())
}

fn bed_on(endpoint: &str) -> Bed {
    Bed::new(Arc::new(engine::driver(endpoint)), prepare)
}

fn prepare(spec: &mut ContainerSpec, does: Does) {
    let script = match does {
        Does::RunsOn => "trap 'exit 0' TERM; while :; do sleep 0.1; done".to_owned(),
        Does::IgnoresTerm => "trap '' TERM; while :; do sleep 0.1; done".to_owned(),
        Does::Ends(code) => format!("sleep 0.05; exit {code}"),
        Does::Prints => "echo out 1; echo err 1 >&2; sleep 0.1; echo out 2; sleep 1000".to_owned(),
    };
    spec.cmd = Some(["sh", "-c", &script].map(str::to_owned).to_vec());
}

conformance!(bed());

/// The sample's web proc, published on a port that is free now.
fn web(bed: &Bed, name: &str) -> ContainerSpec {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let container = Port {
        port: 80,
        protocol: Protocol::Tcp,
    };
    let published = PublishedPort {
        container,
        host_ip: [127, 0, 0, 1].into(),
        host_port: free,
    };
    let mut spec = bed.spec(name, Does::RunsOn);
    (spec.cmd, spec.ports) = (None, vec![published]);
    spec
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .ok()?;
    write!(connection, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.contains(" 200 ").then_some(answer)
}

/// The output of a command inside a container.
async fn inside(bed: &Bed, id: &ContainerId, script: &str) -> String {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = ExecRequest {
        command,
        env: Vec::new(),
        stdin: false,
        tty: None,
    };
    let mut session = bed.runtime.exec(id, request).await.unwrap();
    let mut out = Vec::new();
    while let Some(piece) = within(10, session.output.next()).await {
        out.extend(piece.unwrap().1);
    }
    String::from_utf8(out).unwrap().trim().to_owned()
}

fn silent() -> PullObserver {
    Box::new(|step| panic!("nothing is to be pulled: {step:?}"))
}

#[tokio::test]
async fn a_published_port_answers_and_has_one_holder() {
    let bed = bed();
    let spec = web(&bed, "web");
    let port = spec.ports[0].host_port;
    let id = bed.runtime.create(&spec).await.unwrap();
    let started = bed.runtime.start(&id).await.unwrap();
    assert!(started.ip.is_some() && started.pid.is_some());
    eventually("it answers", async || get(port, "/").is_some()).await;
    let second = ContainerSpec {
        name: bed.name("web2"),
        ..spec.clone()
    };
    let second = bed.runtime.create(&second).await.unwrap();
    let taken = bed.runtime.start(&second).await.unwrap_err();
    assert!(
        matches!(taken, RuntimeError::PortTaken { port: p, .. } if p == port),
        "{taken}"
    );
    bed.runtime.remove(&id).await.unwrap();
    bed.runtime
        .start(&second)
        .await
        .expect("the port is free again");
    let program = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut third = web(&bed, "web3");
    third.ports[0].host_port = program.local_addr().unwrap().port();
    let id = bed.runtime.create(&third).await.unwrap();
    let taken = bed.runtime.start(&id).await.unwrap_err();
    let wanted = third.ports[0].host_port;
    assert!(
        matches!(taken, RuntimeError::PortTaken { port: p, .. } if p == wanted),
        "{taken}"
    );
}

#[tokio::test]
async fn a_spec_arrives_as_it_was_written() {
    let bed = bed();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("made/by/lain").display().to_string();
    let mount = |target: &str, read_only| Mount {
        source: source.clone(),
        target: target.to_owned(),
        read_only,
    };
    let mut spec = bed.spec("full", Does::RunsOn);
    spec.entrypoint = spec.cmd.take();
    spec.entrypoint.as_mut().unwrap().push("named".to_owned());
    spec.cmd = Some(vec!["first".into(), "second word".into()]);
    spec.env = vec![
        ("A".into(), "with = and \"quotes\"".into()),
        ("B".into(), "".into()),
    ];
    spec.user = "1000:1000".into();
    spec.workdir = "/data".into();
    spec.hostname = "web-1".into();
    spec.dns_search = vec!["hello.lain".into()];
    spec.mounts = vec![mount("/rw", false), mount("/ro", true)];
    let id = bed.runtime.create(&spec).await.unwrap();
    bed.runtime.start(&id).await.unwrap();
    let seen = inside(
        &bed,
        &id,
        "echo $A; echo \"[$B]\"; id -u; id -g; pwd; hostname; grep search /etc/resolv.conf; \
         tr '\\0' '|' </proc/1/cmdline; echo; grep -c ' /ro .*ro,' /proc/mounts; \
         grep -c ' /rw .*rw,' /proc/mounts",
    );
    let seen = seen.await;
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(
        lines[..7],
        [
            "with = and \"quotes\"",
            "[]",
            "1000",
            "1000",
            "/data",
            "web-1",
            "search hello.lain"
        ]
    );
    assert!(
        lines[7].ends_with("|named|first|second word|"),
        "{}",
        lines[7]
    );
    assert_eq!(lines[8..], ["1", "1"]);
    assert!(
        std::path::Path::new(&source).is_dir(),
        "the host's folder was made"
    );
}

#[tokio::test]
async fn a_terminal_may_print_any_byte() {
    let bed = bed();
    let (id, _) = bed.running("terminal", Does::RunsOn).await;
    let command = ["sh", "-c", "printf '\\001\\002\\000bell\\007'"]
        .map(str::to_owned)
        .to_vec();
    let request = ExecRequest {
        command,
        env: Vec::new(),
        stdin: true,
        tty: Some((80, 24)),
    };
    let mut session = bed.runtime.exec(&id, request).await.unwrap();
    let mut out = Vec::new();
    while let Some(piece) = within(10, session.output.next()).await {
        out.extend(piece.unwrap().1);
    }
    assert_eq!(out, b"\x01\x02\0bell\x07");
    let request = ExecRequest {
        command: vec!["sh".into()],
        env: vec![("PS1".into(), "> ".into())],
        stdin: true,
        tty: Some((80, 24)),
    };
    let mut session = bed.runtime.exec(&id, request).await.unwrap();
    session.input.write_all(b"exit 7\n").await.unwrap();
    while within(10, session.output.next()).await.is_some() {}
    assert_eq!(within(10, session.control.exit_code()).await.unwrap(), 7);
}

#[tokio::test]
async fn limits_are_the_kernels() {
    let bed = bed();
    let limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max \
                  /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null";
    let mut spec = bed.spec("limits", Does::RunsOn);
    spec.resources = Resources {
        cpu_millis: 1500,
        memory: 32 << 20,
    };
    let id = bed.runtime.create(&spec).await.unwrap();
    bed.runtime.start(&id).await.unwrap();
    let now = inside(&bed, &id, limits).await;
    assert!(now.contains("33554432") && now.contains("150000"), "{now}");
    let other = Resources {
        cpu_millis: 250,
        memory: 64 << 20,
    };
    bed.runtime.update(&id, other).await.unwrap();
    let now = inside(&bed, &id, limits).await;
    assert!(now.contains("67108864") && now.contains("25000"), "{now}");
    bed.runtime
        .update(
            &id,
            Resources {
                cpu_millis: 0,
                memory: 0,
            },
        )
        .await
        .unwrap();
    let now = inside(&bed, &id, limits).await;
    assert!(!now.contains("67108864") && !now.contains("25000"), "{now}");
}

#[tokio::test]
async fn want_of_memory_is_told_apart_from_a_kill() {
    let bed = bed();
    for round in 0..3 {
        let mut spec = bed.spec(&format!("oom{round}"), Does::RunsOn);
        spec.cmd = Some(vec!["/app/oom".into()]);
        spec.resources = Resources {
            cpu_millis: 0,
            memory: 12 << 20,
        };
        let id = bed.runtime.create(&spec).await.unwrap();
        let started = bed.runtime.start(&id).await.unwrap();
        within(20, bed.runtime.ended(&id, started.pid))
            .await
            .unwrap();
        let exit = within(10, bed.runtime.exit_of(&id)).await.unwrap();
        assert!(exit.oom_killed, "{exit:?}");
    }
}

#[tokio::test]
async fn a_death_is_noticed_before_the_engine_tells() {
    let bed = bed();
    let (id, mut pid) = bed.running("watched", Does::RunsOn).await;
    let mut events = bed.runtime.events(bed.labels());
    assert_eq!(
        within(10, events.next()).await,
        Some(EngineEvent::Resynchronise)
    );
    for round in 0..3 {
        let died = async {
            while within(10, events.next()).await != Some(EngineEvent::Died { id: id.clone() }) {}
            Instant::now()
        };
        let ended = async {
            bed.runtime.ended(&id, pid).await.unwrap();
            Instant::now()
        };
        let kill = async {
            // Both are listening by now.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let first = lain::drivers::pidfd::Process::open(pid.unwrap()).unwrap();
            first.signal(rustix::process::Signal::KILL).unwrap();
        };
        let (died, ended, ()) = tokio::join!(died, ended, kill);
        assert!(ended < died, "round {round}");
        pid = bed.runtime.start(&id).await.unwrap().pid;
    }
}

#[tokio::test]
async fn what_ends_at_once_runs_once() {
    let bed = bed();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().display().to_string();
    let mount = Mount {
        source,
        target: "/runs".to_owned(),
        read_only: false,
    };
    let mut spec = bed.spec("brief", Does::RunsOn);
    spec.mounts = vec![mount];
    spec.cmd = Some(
        ["sh", "-c", "echo run >> /runs/log; exit 5"]
            .map(str::to_owned)
            .to_vec(),
    );
    let id = bed.runtime.create(&spec).await.unwrap();
    for run in 1..=5 {
        let started = bed.runtime.start(&id).await.unwrap();
        within(10, bed.runtime.ended(&id, started.pid))
            .await
            .unwrap();
        assert_eq!(within(10, bed.runtime.exit_of(&id)).await.unwrap().code, 5);
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(log.lines().count(), run, "never started twice");
    }
}

#[tokio::test]
async fn somebody_elses_pid_is_no_sign_of_life_or_death() {
    let bed = bed();
    let (id, pid) = bed.running("alone", Does::RunsOn).await;
    // A pid that another process has, and one that nobody has.
    for wrong in [std::process::id(), 4_000_000] {
        let quick = Duration::from_millis(500);
        let ended = tokio::time::timeout(quick, bed.runtime.ended(&id, Some(wrong))).await;
        assert!(ended.is_err(), "it runs, whatever {wrong} does");
    }
    bed.killed(&id, pid).await;
    within(10, bed.runtime.exit_of(&id)).await.unwrap();
    within(10, bed.runtime.ended(&id, Some(std::process::id())))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_image_is_pulled_once_and_missed_clearly() {
    let bed = bed();
    bed.runtime
        .ensure_image("lain/hello:1", silent())
        .await
        .unwrap();
    let registry = registry::Registry::start();
    let image = format!("{}/{}:1", registry.address, bed.name("pulled"));
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let observer: PullObserver = Box::new(move |step| seen.lock().unwrap().push(step));
    within(30, bed.runtime.ensure_image(&image, observer))
        .await
        .unwrap();
    let steps = std::mem::take(&mut *steps.lock().unwrap());
    assert!(steps.iter().any(|step| step.layer.is_some()), "{steps:?}");
    assert!(
        steps.iter().any(|step| step.status.contains("complete")),
        "{steps:?}"
    );
    let absent = format!("{}/{}:2", registry.address, bed.name("pulled"));
    let missing = within(30, bed.runtime.ensure_image(&absent, silent()))
        .await
        .unwrap_err();
    assert!(
        matches!(&missing, RuntimeError::NoImage { image, .. } if *image == absent),
        "{missing}"
    );
    drop(registry);
    within(5, bed.runtime.ensure_image(&image, silent()))
        .await
        .expect("it is here now");
    let nobody = "127.0.0.1:1/nobody/listens:1";
    let missing = within(30, bed.runtime.ensure_image(nobody, silent()))
        .await
        .unwrap_err();
    assert!(matches!(missing, RuntimeError::NoImage { .. }), "{missing}");
    let never = ContainerSpec {
        image: absent.clone(),
        ..bed.spec("no-image", Does::RunsOn)
    };
    let missing = bed.runtime.create(&never).await.unwrap_err();
    assert!(
        matches!(&missing, RuntimeError::NoImage { image, .. } if *image == absent),
        "{missing}"
    );
    engine::remove_image(engine::machine(), &image);
}

#[tokio::test]
async fn refusals_say_why_and_never_a_secret() {
    let bed = bed();
    let mut spec = bed.spec("refused", Does::RunsOn);
    spec.cmd = Some(vec!["/no/such/program".into()]);
    let id = bed.runtime.create(&spec).await.unwrap();
    let refused = bed.runtime.start(&id).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Refused { .. }), "{refused}");
    assert!(
        refused.to_string().contains("/no/such/program"),
        "{refused}"
    );
    let secret = ("".into(), "correct horse".into());
    let odd = ContainerSpec {
        env: vec![secret],
        ..bed.spec("secret", Does::RunsOn)
    };
    let refused = bed.runtime.create(&odd).await.unwrap_err();
    assert!(!refused.to_string().contains("horse"), "{refused}");
}

#[tokio::test]
async fn a_long_line_comes_in_one_piece() {
    let bed = bed();
    let mut spec = bed.spec("long", Does::RunsOn);
    let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; printf 'no end'";
    spec.cmd = Some(["sh", "-c", script].map(str::to_owned).to_vec());
    let id = bed.runtime.create(&spec).await.unwrap();
    bed.runtime.start(&id).await.unwrap();
    within(10, bed.runtime.exit_of(&id)).await.unwrap();
    let printed = bed.printed(&id, LogsRequest::default()).await;
    let lengths: Vec<_> = printed.iter().map(String::len).collect();
    assert_eq!(lengths, [40_000, 6]);
}

#[tokio::test]
async fn the_engine_says_who_it_is() {
    let bed = bed();
    let info = bed.runtime.info().await.unwrap();
    assert_eq!(info.kind, RuntimeKind::Docker);
    assert_eq!(info.endpoint, engine::machine());
    assert!(
        !info.version.is_empty() && info.cpus > 0 && info.memory > 1 << 20,
        "{info:?}"
    );
    let nowhere = engine::driver("unix:///nowhere/docker.sock");
    let error = nowhere.info().await.unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/docker.sock does not exist; start it with"),
        "{error}"
    );
    let nobody = engine::driver("tcp://127.0.0.1:1")
        .info()
        .await
        .unwrap_err();
    assert!(
        matches!(nobody, RuntimeError::Unreachable { .. }),
        "{nobody}"
    );
}

#[tokio::test]
async fn an_engine_that_dies_takes_nothing_with_it() {
    let private = engine::Private::start();
    let bed = bed_on(&private.endpoint());
    let (survivor, survivor_pid) = bed.running("survivor", Does::RunsOn).await;
    let (victim, victim_pid) = bed.running("victim", Does::RunsOn).await;
    let mut events = bed.runtime.events(bed.labels());
    assert_eq!(
        within(10, events.next()).await,
        Some(EngineEvent::Resynchronise)
    );
    private.kill();
    let away = bed.runtime.info().await.unwrap_err();
    assert!(matches!(away, RuntimeError::Unreachable { .. }), "{away}");
    // Its death is noticed while nobody can say how it ended.
    let process = lain::drivers::pidfd::Process::open(victim_pid.unwrap()).unwrap();
    process.signal(rustix::process::Signal::KILL).unwrap();
    within(2, bed.runtime.ended(&victim, victim_pid))
        .await
        .unwrap();
    let start = bed.runtime.start(&victim).await.unwrap_err();
    assert!(matches!(start, RuntimeError::Unreachable { .. }), "{start}");
    let (exit, ()) = tokio::join!(within(30, bed.runtime.exit_of(&victim)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        private.ensure();
    });
    assert!(matches!(exit, Ok(exit) if exit.code == 137));
    eventually("the events are back", async || {
        within(10, events.next()).await == Some(EngineEvent::Resynchronise)
    })
    .await;
    let status = bed.runtime.inspect(&survivor).await.unwrap();
    assert_eq!(
        (status.state, status.pid),
        (ContainerState::Running, survivor_pid)
    );
    bed.runtime.start(&victim).await.unwrap();
    let changed = EngineEvent::Changed {
        id: victim.clone(),
        action: "start".into(),
    };
    eventually("the start is told", async || {
        within(10, events.next()).await == Some(changed.clone())
    })
    .await;
}
