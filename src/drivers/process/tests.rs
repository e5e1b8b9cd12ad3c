//! Local processes: adoption, output across restarts of lain, and what is refused. What all runtimes
//! promise is tested by `tests/runtime_process.rs`.

use super::*;
use crate::domain::spec::model::{Port, Protocol};
use crate::drivers::pidfd;
use crate::ports::runtime::{ContainerState, Mount, PublishedPort};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

fn spec(script: &str) -> ContainerSpec {
    ContainerSpec {
        name: "hello.web.web.v1-i1-d0".to_owned(),
        image: "lain/hello:1".to_owned(),
        entrypoint: None,
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        env: vec![("SECRET".into(), "correct horse".into())],
        labels: BTreeMap::from([("lain.owner".into(), "test".into())]),
        user: String::new(),
        workdir: String::new(),
        hostname: "web-1".to_owned(),
        resources: Resources {
            cpu_millis: 0,
            memory: 0,
        },
        ports: Vec::new(),
        mounts: Vec::new(),
        dns_search: Vec::new(),
        kill_timeout: Duration::from_secs(5),
    }
}

/// A folder in which everything is ended with the test, also when it failed.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Processes {
        self.open_with(Options::new(self.0.path()))
    }

    fn open_with(&self, options: Options) -> Processes {
        Processes::open(options).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for container in self.open().containers().values() {
            container.kill();
        }
    }
}

async fn lines(processes: &Processes, id: &ContainerId) -> Vec<String> {
    let lines = processes.logs(id, LogsRequest::default());
    lines.map(|line| line.unwrap().line).collect().await
}

async fn until_printed(processes: &Processes, id: &ContainerId, wanted: &str) {
    let follow = LogsRequest {
        follow: true,
        ..LogsRequest::default()
    };
    let mut printed = processes.logs(id, follow);
    let found = async {
        while let Some(line) = printed.next().await {
            if line.unwrap().line == wanted {
                return;
            }
        }
        panic!("it ended without {wanted:?}");
    };
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_runs_is_found_again_by_the_next_lain() {
    let place = Place::new();
    let first = place.open();
    let script = "n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.02; done";
    let id = first.create(&spec(script)).await.unwrap();
    let started = first.start(&id).await.unwrap();
    until_printed(&first, &id, "line 5").await;
    drop(first);
    // Lines that are printed while nobody listens are kept all the same.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = place.open();
    let found = second.list(&BTreeMap::new()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].id, found[0].pid), (&id, started.pid));
    assert_eq!(found[0].state, ContainerState::Running);
    assert_eq!(found[0].started_at, Some(started.at));
    until_printed(&second, &id, "line 20").await;
    let seen = lines(&second, &id).await;
    let wanted: Vec<_> = (1..=seen.len()).map(|n| format!("line {n}")).collect();
    assert_eq!(seen, wanted, "none lost, none twice");
    let again = second.start(&id).await.unwrap();
    assert_eq!(again, started, "never restarted because lain was");
    second.signal(&id, "SIGKILL").await.unwrap();
    let exit = second.exit_of(&id).await.unwrap();
    assert_eq!(
        (exit.code, exit.signal),
        (UNKNOWN_EXIT, None),
        "only a parent learns it"
    );
    assert!(second.start(&id).await.unwrap().pid != started.pid);
}

#[tokio::test]
async fn what_ended_meanwhile_has_ended_for_an_unknown_reason() {
    let place = Place::new();
    let first = place.open();
    let id = first
        .create(&spec("echo before; sleep 0.3; printf after"))
        .await
        .unwrap();
    let pid = first.start(&id).await.unwrap().pid.unwrap();
    until_printed(&first, &id, "before").await;
    let process = pidfd::Process::open(pid).unwrap();
    drop(first);
    process.ended().await.unwrap();
    let second = place.open();
    let exit = second.exit_of(&id).await.unwrap();
    assert_eq!(exit.code, UNKNOWN_EXIT);
    assert_eq!(lines(&second, &id).await, ["before", "after"]);
    assert_eq!(second.inspect(&id).await.unwrap().pid, None);
}

#[tokio::test]
async fn another_process_with_the_same_pid_is_another_process() {
    let place = Place::new();
    let first = place.open();
    let id = first.create(&spec("sleep 0.1")).await.unwrap();
    first.start(&id).await.unwrap();
    first.exit_of(&id).await.unwrap();
    drop(first);
    let mut innocent = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let run = folder::Run {
        pid: innocent.id(),
        ticks: 1,
        boot: crate::drivers::boot_id(),
        paused: false,
    };
    let state = folder::State {
        life: folder::Life::Running(run),
        started_at: None,
    };
    folder::save(&place.0.path().join(id.as_str()), &state).unwrap();
    let second = place.open();
    assert!(matches!(
        second.inspect(&id).await.unwrap().state,
        ContainerState::Exited(_)
    ));
    second.remove(&id).await.unwrap();
    assert!(pidfd::runs(innocent.id()), "it was never ours");
    let process = pidfd::Process::open(innocent.id()).unwrap();
    process.signal(rustix::process::Signal::KILL).unwrap();
    innocent.wait().unwrap();
}

#[tokio::test]
async fn the_whole_group_ends_with_its_first_process() {
    let place = Place::new();
    let processes = place.open();
    let id = processes
        .create(&spec("sleep 1000 & echo $!; wait"))
        .await
        .unwrap();
    processes.start(&id).await.unwrap();
    let follow = LogsRequest {
        follow: true,
        ..LogsRequest::default()
    };
    let line = processes.logs(&id, follow).next().await.unwrap().unwrap();
    let grandchild: u32 = line.line.parse().unwrap();
    assert!(pidfd::runs(grandchild));
    let first = processes.inspect(&id).await.unwrap().pid.unwrap();
    let first = pidfd::Process::open(first).unwrap();
    first.signal(rustix::process::Signal::KILL).unwrap();
    processes.exit_of(&id).await.unwrap();
    // It has been killed by then; on a busy machine the kernel takes a moment to end it.
    for _ in 0..500 {
        if !pidfd::runs(grandchild) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("process {grandchild} of the group runs on");
}

#[tokio::test]
async fn output_is_rotated_and_read_through() {
    let place = Place::new();
    let options = Options {
        log_max_size: 4096,
        log_max_files: 3,
        ..Options::new(place.0.path())
    };
    let processes = place.open_with(options);
    let script = "n=0; while [ $n -lt 500 ]; do n=$((n + 1)); echo line $n; done; sleep 1000";
    let id = processes.create(&spec(script)).await.unwrap();
    processes.start(&id).await.unwrap();
    until_printed(&processes, &id, "line 500").await;
    let kept = lines(&processes, &id).await;
    assert!((50..500).contains(&kept.len()), "{}", kept.len());
    let wanted: Vec<_> = (501 - kept.len()..=500)
        .map(|n| format!("line {n}"))
        .collect();
    assert_eq!(kept, wanted, "the last lines, without a gap");
    let last = LogsRequest {
        tail: Some(2),
        ..LogsRequest::default()
    };
    let last: Vec<_> = processes
        .logs(&id, last)
        .map(|l| l.unwrap().line)
        .collect()
        .await;
    assert_eq!(last, ["line 499", "line 500"]);
}

#[tokio::test]
async fn a_port_is_handed_over_and_probed() {
    let place = Place::new();
    let processes = place.open();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let published = PublishedPort {
        container: Port {
            port: 80,
            protocol: Protocol::Tcp,
        },
        host_ip: [127, 0, 0, 1].into(),
        host_port: port,
    };
    let spec = ContainerSpec {
        ports: vec![published],
        ..spec("echo $PORT $HOSTNAME $SECRET")
    };
    let id = processes.create(&spec).await.unwrap();
    let error = processes.start(&id).await.unwrap_err();
    assert!(
        matches!(error, RuntimeError::PortTaken { port: p, .. } if p == port),
        "{error}"
    );
    drop(taken);
    processes.start(&id).await.unwrap();
    processes.exit_of(&id).await.unwrap();
    assert_eq!(
        lines(&processes, &id).await,
        [format!("{port} web-1 correct horse")]
    );
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_a_reason() {
    let place = Place::new();
    let processes = place.open();
    let none = ContainerSpec {
        cmd: None,
        ..spec("")
    };
    let error = processes.create(&none).await.unwrap_err();
    assert!(
        error.to_string().contains("set `cmd` or `entrypoint`"),
        "{error}"
    );
    let nobody = ContainerSpec {
        user: "no-such-user".to_owned(),
        ..spec("")
    };
    let error = processes.create(&nobody).await.unwrap_err();
    assert!(error.to_string().contains("no-such-user"), "{error}");
    let missing = ContainerSpec {
        cmd: Some(vec!["/no/such/program".to_owned()]),
        ..spec("")
    };
    let id = processes.create(&missing).await.unwrap();
    let error = processes.start(&id).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot run /no/such/program in /"),
        "{error}"
    );
    assert!(!error.to_string().contains("horse"), "{error}");
    let error = processes
        .ensure_image("/no/such/folder", Box::new(|_| {}))
        .await
        .unwrap_err();
    assert!(matches!(error, RuntimeError::NoImage { .. }), "{error}");
}

#[tokio::test]
async fn folders_are_made_and_secrets_are_for_their_owner() {
    let place = Place::new();
    let processes = place.open();
    let source = place.0.path().join("volumes/x").display().to_string();
    let mount = Mount {
        source: source.clone(),
        target: "/x".to_owned(),
        read_only: false,
    };
    let workdir = ContainerSpec {
        image: "/usr".to_owned(),
        workdir: "bin".to_owned(),
        mounts: vec![mount],
        ..spec("pwd")
    };
    processes
        .ensure_image("/usr", Box::new(|_| {}))
        .await
        .unwrap();
    let id = processes.create(&workdir).await.unwrap();
    processes.start(&id).await.unwrap();
    processes.exit_of(&id).await.unwrap();
    assert_eq!(lines(&processes, &id).await, ["/usr/bin"]);
    assert!(Path::new(&source).is_dir());
    let folder = place.0.path().join(id.as_str());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["spec.json", "state.json", "output.log", "stdout.raw"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn half_a_container_is_none() {
    let place = Place::new();
    std::fs::create_dir(place.0.path().join("0123456789abcdef")).unwrap();
    let processes = place.open();
    assert_eq!(processes.list(&BTreeMap::new()).await.unwrap(), []);
    assert!(!place.0.path().join("0123456789abcdef").exists());
}

#[tokio::test]
async fn it_says_loudly_what_it_is() {
    let place = Place::new();
    let info = place.open().info().await.unwrap();
    assert!(
        info.warnings[0].starts_with("NOT FOR PRODUCTION"),
        "{info:?}"
    );
    assert!(info.memory > 1 << 20 && info.cpus > 0);
    assert_eq!(
        total_memory("MemTotal:       24649140 kB\n"),
        Some(24_649_140 * 1024)
    );
}
