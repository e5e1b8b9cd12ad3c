//! The promises of [`lain::ports::runtime::Runtime`], one function each.

use super::{Bed, Does, eventually, no_container, within};
use chrono::Utc;
use futures_util::StreamExt;
use lain::domain::id::ContainerId;
use lain::ports::runtime::{
    ContainerState, EngineEvent, ExecRequest, LogsRequest, OutputStream, Resources, RuntimeError,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

pub async fn a_new_container_is_created_and_listed_by_its_labels(bed: &Bed) {
    let mut spec = bed.spec("new", Does::RunsOn);
    spec.labels.insert("colour".into(), "blue".into());
    let id = bed.runtime.create(&spec).await.unwrap();
    let status = bed.runtime.inspect(&id).await.unwrap();
    assert_eq!(status.id, id);
    assert_eq!(status.name, spec.name);
    assert_eq!(status.image, spec.image);
    assert_eq!(status.state, ContainerState::Created);
    assert_eq!((status.pid, status.started_at), (None, None));
    for (key, value) in &spec.labels {
        assert_eq!(
            status.labels.get(key.as_str()).map(String::as_str),
            Some(value.as_str())
        );
    }
    let other = bed.created("other", Does::RunsOn).await;
    let mut wanted = bed.labels();
    let both = bed.runtime.list(&wanted).await.unwrap();
    assert_eq!(both.len(), 2);
    wanted.insert("colour".into(), "blue".into());
    let blue = bed.runtime.list(&wanted).await.unwrap();
    assert_eq!(blue, [status]);
    assert_ne!(blue[0].id, other);
    wanted.insert("colour".into(), "red".into());
    assert_eq!(bed.runtime.list(&wanted).await.unwrap(), []);
}

pub async fn starting_twice_is_starting_once(bed: &Bed) {
    let id = bed.created("twice", Does::RunsOn).await;
    let first = bed.runtime.start(&id).await.unwrap();
    let second = bed.runtime.start(&id).await.unwrap();
    assert_eq!(first, second);
    let status = bed.runtime.inspect(&id).await.unwrap();
    assert_eq!(status.state, ContainerState::Running);
    assert_eq!((status.pid, status.started_at), (first.pid, Some(first.at)));
    assert!(
        (Utc::now() - first.at).abs().num_seconds() < 60,
        "{}",
        first.at
    );
}

pub async fn an_exit_code_is_told(bed: &Bed) {
    let (id, pid) = bed.running("ends", Does::Ends(3)).await;
    within(10, bed.runtime.ended(&id, pid)).await.unwrap();
    let exit = within(10, bed.runtime.exit_of(&id)).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (3, None, false));
    let at = exit.at.expect("the instant is known");
    assert!((Utc::now() - at).abs().num_seconds() < 60, "{at}");
    let status = bed.runtime.inspect(&id).await.unwrap();
    let ContainerState::Exited(kept) = status.state else {
        panic!("{:?}", status.state);
    };
    assert_eq!((kept.code, kept.signal), (exit.code, exit.signal));
    assert!(
        (kept.at.unwrap() - at).abs().num_milliseconds() < 2_000,
        "{kept:?} {at}"
    );
    assert_eq!((status.pid, status.ip), (None, None));
}

pub async fn a_signal_is_told(bed: &Bed) {
    let (id, pid) = bed.running("killed", Does::RunsOn).await;
    bed.killed(&id, pid).await;
    let exit = within(10, bed.runtime.exit_of(&id)).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let nonsense = bed.runtime.signal(&id, "SIGNONSENSE").await;
    assert!(nonsense.is_err());
}

pub async fn a_start_right_after_a_death_starts_again(bed: &Bed) {
    let (id, mut pid) = bed.running("phoenix", Does::RunsOn).await;
    let mut before = bed.runtime.inspect(&id).await.unwrap().started_at;
    for round in 0..3 {
        bed.killed(&id, pid).await;
        let started = within(30, bed.runtime.start(&id)).await.unwrap();
        assert!(Some(started.at) > before, "round {round}: a new run");
        let status = bed.runtime.inspect(&id).await.unwrap();
        assert_eq!(status.state, ContainerState::Running, "round {round}");
        (pid, before) = (started.pid, status.started_at);
    }
}

pub async fn each_run_has_its_own_end(bed: &Bed) {
    let (id, pid) = bed.running("many-ends", Does::Ends(3)).await;
    within(10, bed.runtime.ended(&id, pid)).await.unwrap();
    assert_eq!(within(10, bed.runtime.exit_of(&id)).await.unwrap().code, 3);
    let again = within(10, bed.runtime.start(&id)).await.unwrap();
    let _ = bed.runtime.signal(&id, "SIGKILL").await;
    within(10, bed.runtime.ended(&id, again.pid)).await.unwrap();
    let second = within(10, bed.runtime.exit_of(&id)).await.unwrap();
    assert!([3, 137].contains(&second.code), "{second:?}");
    let ContainerState::Exited(kept) = bed.runtime.inspect(&id).await.unwrap().state else {
        panic!("it has ended");
    };
    assert_eq!((kept.code, kept.signal), (second.code, second.signal));
}

pub async fn stop_asks_first(bed: &Bed) {
    let (id, pid) = bed.running("polite", Does::RunsOn).await;
    // What has only just started may not listen for signals yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let exit = within(10, bed.runtime.stop(&id, Duration::from_secs(9)))
        .await
        .unwrap();
    assert_eq!((exit.code, exit.signal), (0, None));
    within(1, bed.runtime.ended(&id, pid)).await.unwrap();
}

pub async fn stop_kills_who_does_not_listen(bed: &Bed) {
    let (id, _) = bed.running("stubborn", Does::IgnoresTerm).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    let exit = within(10, bed.runtime.stop(&id, Duration::from_secs(1)))
        .await
        .unwrap();
    assert_eq!(exit.signal, Some(9));
    let took = asked.elapsed();
    assert!((900..4000).contains(&took.as_millis()), "{took:?}");
}

pub async fn stop_of_what_does_not_run_is_no_error(bed: &Bed) {
    let id = bed.created("never", Does::Ends(4)).await;
    bed.runtime.stop(&id, Duration::from_secs(1)).await.unwrap();
    bed.runtime.start(&id).await.unwrap();
    let exit = within(10, bed.runtime.exit_of(&id)).await.unwrap();
    assert_eq!(exit.code, 4);
    assert_eq!(
        bed.runtime.stop(&id, Duration::from_secs(1)).await.unwrap(),
        exit
    );
}

pub async fn remove_ends_what_runs_and_forgets_it(bed: &Bed) {
    let (id, pid) = bed.running("removed", Does::IgnoresTerm).await;
    within(10, bed.runtime.remove(&id)).await.unwrap();
    no_container(bed.runtime.inspect(&id).await);
    if let Some(pid) = pid {
        assert!(!lain::drivers::pidfd::runs(pid), "its process runs on");
    }
    bed.runtime
        .remove(&id)
        .await
        .expect("one that is gone is no error");
    assert_eq!(bed.runtime.list(&bed.labels()).await.unwrap(), []);
}

pub async fn what_is_not_there_is_said_to_be_so(bed: &Bed) {
    let id = ContainerId::new("0123456789abcdef0123456789abcdef").unwrap();
    let runtime = &bed.runtime;
    no_container(runtime.start(&id).await);
    no_container(runtime.stop(&id, Duration::ZERO).await);
    no_container(runtime.signal(&id, "SIGTERM").await);
    no_container(runtime.pause(&id).await);
    no_container(runtime.unpause(&id).await);
    no_container(runtime.inspect(&id).await);
    no_container(
        runtime
            .update(
                &id,
                Resources {
                    cpu_millis: 100,
                    memory: 0,
                },
            )
            .await,
    );
    no_container(within(10, runtime.ended(&id, None)).await);
    no_container(within(10, runtime.exit_of(&id)).await);
    no_container(runtime.exec(&id, command("true")).await);
    let lines: Vec<_> = runtime.logs(&id, LogsRequest::default()).collect().await;
    assert_eq!(lines.len(), 1);
    no_container(lines.into_iter().next().unwrap());
    runtime
        .remove(&id)
        .await
        .expect("one that is gone is no error");
}

pub async fn a_name_has_one_holder(bed: &Bed) {
    let id = bed.created("one", Does::RunsOn).await;
    let second = bed.runtime.create(&bed.spec("one", Does::RunsOn)).await;
    assert!(matches!(second, Err(RuntimeError::NameTaken(name)) if name == bed.name("one")));
    bed.runtime.remove(&id).await.unwrap();
    bed.created("one", Does::RunsOn).await;
}

pub async fn a_frozen_container_thaws_and_ends(bed: &Bed) {
    let state = async |id: &ContainerId| bed.runtime.inspect(id).await.unwrap().state;
    let (id, pid) = bed.running("frozen", Does::RunsOn).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    bed.runtime.pause(&id).await.unwrap();
    assert_eq!(state(&id).await, ContainerState::Paused);
    assert!(bed.runtime.pause(&id).await.is_err(), "frozen already");
    bed.runtime.unpause(&id).await.unwrap();
    assert_eq!(state(&id).await, ContainerState::Running);
    bed.runtime.pause(&id).await.unwrap();
    let exit = within(10, bed.runtime.stop(&id, Duration::from_secs(8)))
        .await
        .unwrap();
    assert_eq!(exit.code, 0, "a frozen container hears SIGTERM too");
    within(1, bed.runtime.ended(&id, pid)).await.unwrap();
    let (id, _) = bed.running("frozen-too", Does::RunsOn).await;
    bed.runtime.pause(&id).await.unwrap();
    within(10, bed.runtime.remove(&id)).await.unwrap();
    no_container(bed.runtime.inspect(&id).await);
}

pub async fn what_does_not_run_has_ended(bed: &Bed) {
    let id = bed.created("idle", Does::Ends(0)).await;
    within(2, bed.runtime.ended(&id, None)).await.unwrap();
    let started = bed.runtime.start(&id).await.unwrap();
    within(10, bed.runtime.ended(&id, started.pid))
        .await
        .unwrap();
    within(2, bed.runtime.ended(&id, started.pid))
        .await
        .unwrap();
    within(2, bed.runtime.ended(&id, None)).await.unwrap();
}

pub async fn output_is_kept_in_order(bed: &Bed) {
    let began = Utc::now() - chrono::Duration::seconds(5);
    let (id, _) = bed.running("prints", Does::Prints).await;
    let all = LogsRequest::default();
    eventually("all is printed", async || {
        bed.printed(&id, all.clone()).await.len() == 3
    })
    .await;
    let lines: Vec<_> = bed
        .runtime
        .logs(&id, all)
        .map(Result::unwrap)
        .collect()
        .await;
    let of = |stream| {
        let lines = lines.iter().filter(move |line| line.stream == stream);
        lines.map(|line| line.line.as_str()).collect::<Vec<_>>()
    };
    if bed.two_streams {
        assert_eq!(of(OutputStream::Stdout), ["out 1", "out 2"]);
        assert_eq!(of(OutputStream::Stderr), ["err 1"]);
    }
    assert!(
        lines
            .iter()
            .all(|line| line.at >= began && line.at <= Utc::now())
    );
    let last = LogsRequest {
        tail: Some(1),
        ..LogsRequest::default()
    };
    assert_eq!(bed.printed(&id, last).await, ["out 2"]);
    let second = lines.iter().map(|line| line.at).max().unwrap();
    let since = LogsRequest {
        since: Some(second),
        ..LogsRequest::default()
    };
    assert!(bed.printed(&id, since).await.contains(&"out 2".to_owned()));
    let until = LogsRequest {
        until: Some(began),
        ..LogsRequest::default()
    };
    assert_eq!(bed.printed(&id, until).await, Vec::<String>::new());
}

pub async fn output_is_followed_to_its_end(bed: &Bed) {
    let (id, _) = bed.running("followed", Does::Prints).await;
    let follow = LogsRequest {
        follow: true,
        ..LogsRequest::default()
    };
    let mut lines = bed.runtime.logs(&id, follow);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(within(10, lines.next()).await.unwrap().unwrap().line);
    }
    seen.sort();
    assert_eq!(seen, ["err 1", "out 1", "out 2"]);
    let more = tokio::time::timeout(Duration::from_millis(300), lines.next()).await;
    assert!(more.is_err(), "it goes on: {more:?}");
    bed.runtime.signal(&id, "SIGKILL").await.unwrap();
    assert!(
        within(10, lines.next()).await.is_none(),
        "its run has ended"
    );
}

fn command(words: &str) -> ExecRequest {
    ExecRequest {
        command: words.split_whitespace().map(str::to_owned).collect(),
        env: Vec::new(),
        stdin: false,
        tty: None,
    }
}

/// Runs a command; its standard output and its exit code.
async fn run(bed: &Bed, id: &ContainerId, request: ExecRequest, input: &str) -> (String, i32) {
    let mut session = bed.runtime.exec(id, request).await.unwrap();
    session.input.write_all(input.as_bytes()).await.unwrap();
    session.input.shutdown().await.unwrap();
    let mut out = Vec::new();
    while let Some(piece) = within(10, session.output.next()).await {
        let (stream, bytes) = piece.unwrap();
        if stream == OutputStream::Stdout {
            out.extend(bytes);
        }
    }
    let code = within(10, session.control.exit_code()).await.unwrap();
    (String::from_utf8_lossy(&out).into_owned(), code)
}

pub async fn commands_run_inside(bed: &Bed) {
    if !bed.commands {
        return;
    }
    let (id, pid) = bed.running("inside", Does::RunsOn).await;
    let shell = |script: &str| ExecRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..command("true")
    };
    let (out, code) = run(bed, &id, shell("echo hello; echo no >&2; exit 3"), "").await;
    assert_eq!((out.as_str(), code), ("hello\n", 3));
    let env = vec![("COLOUR".to_owned(), "dark blue".to_owned())];
    let (out, _) = run(
        bed,
        &id,
        ExecRequest {
            env,
            ..shell("echo $COLOUR")
        },
        "",
    )
    .await;
    assert_eq!(out, "dark blue\n");
    let cat = ExecRequest {
        stdin: true,
        ..command("cat")
    };
    let (out, code) = run(bed, &id, cat, "to and fro").await;
    assert_eq!((out.as_str(), code), ("to and fro", 0));
    let sized = ExecRequest {
        tty: Some((101, 31)),
        ..shell("sleep 0.3; stty size")
    };
    let (out, code) = run_on_terminal(bed, &id, sized, None).await;
    assert_eq!((out.trim(), code), ("31 101", 0));
    let resized = ExecRequest {
        tty: Some((80, 24)),
        ..shell("sleep 1; stty size")
    };
    let (out, _) = run_on_terminal(bed, &id, resized, Some((120, 40))).await;
    assert_eq!(out.trim(), "40 120");
    let missing = bed.runtime.exec(&id, command("/no/such/program")).await;
    if let Ok(session) = missing {
        let output: Vec<_> = within(10, session.output.collect::<Vec<_>>()).await;
        let code = within(10, session.control.exit_code()).await.unwrap();
        assert!([126, 127].contains(&code), "{code}: {output:?}");
    }
    bed.killed(&id, pid).await;
    within(10, bed.runtime.exit_of(&id)).await.unwrap();
    assert!(
        bed.runtime.exec(&id, command("true")).await.is_err(),
        "it does not run"
    );
}

pub async fn a_one_off_goes_with_its_command(bed: &Bed) {
    if !bed.commands {
        return;
    }
    let request = |command: &str, tty| ExecRequest {
        command: ["sh", "-c", command].map(str::to_owned).to_vec(),
        env: vec![("COLOUR".into(), "blue".into())],
        stdin: true,
        tty,
    };
    for (tty, wanted) in [(None, "blue\n"), (Some((80, 24)), "blue\r\n")] {
        let spec = bed.spec("one-off", Does::RunsOn);
        let session = bed
            .runtime
            .run(&spec, request("echo $COLOUR; exit 3", tty))
            .await;
        let mut session = session.unwrap();
        let mut out = Vec::new();
        while let Some(piece) = within(10, session.output.next()).await {
            out.extend(piece.unwrap().1);
        }
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert_eq!(within(10, session.control.exit_code()).await.unwrap(), 3);
        drop(session);
        let gone = async || bed.runtime.list(&bed.labels()).await.unwrap().is_empty();
        eventually("it is removed", gone).await;
    }
}

async fn run_on_terminal(
    bed: &Bed,
    id: &ContainerId,
    request: ExecRequest,
    resize: Option<(u16, u16)>,
) -> (String, i32) {
    let mut session = bed.runtime.exec(id, request).await.unwrap();
    if let Some((columns, rows)) = resize {
        session.control.resize(columns, rows).await.unwrap();
    }
    let mut out = Vec::new();
    while let Some(piece) = within(10, session.output.next()).await {
        out.extend(piece.unwrap().1);
    }
    let code = within(10, session.control.exit_code()).await.unwrap();
    (String::from_utf8_lossy(&out).into_owned(), code)
}

pub async fn events_tell_of_ones_own_and_no_others(bed: &Bed) {
    let mut labels = bed.labels();
    labels.insert("colour".into(), "blue".into());
    let mut events = bed.runtime.events(labels);
    assert_eq!(
        within(10, events.next()).await,
        Some(EngineEvent::Resynchronise)
    );
    let (other, other_pid) = bed.running("other", Does::RunsOn).await;
    let mut spec = bed.spec("blue", Does::RunsOn);
    spec.labels.insert("colour".into(), "blue".into());
    let id = bed.runtime.create(&spec).await.unwrap();
    bed.runtime.start(&id).await.unwrap();
    bed.killed(&other, other_pid).await;
    bed.runtime.pause(&id).await.unwrap();
    bed.runtime.unpause(&id).await.unwrap();
    bed.runtime.signal(&id, "SIGKILL").await.unwrap();
    within(10, bed.runtime.exit_of(&id)).await.unwrap();
    bed.runtime.remove(&id).await.unwrap();
    let changed = |action: &str| EngineEvent::Changed {
        id: id.clone(),
        action: action.into(),
    };
    let died = EngineEvent::Died { id: id.clone() };
    for expected in [
        changed("start"),
        changed("pause"),
        changed("unpause"),
        died,
        changed("destroy"),
    ] {
        assert_eq!(within(10, events.next()).await, Some(expected));
    }
    let all = bed.runtime.events(BTreeMap::new());
    drop(all);
}

pub async fn limits_change_in_place(bed: &Bed) {
    let (id, pid) = bed.running("limited", Does::RunsOn).await;
    let limits = Resources {
        cpu_millis: 500,
        memory: 64 << 20,
    };
    let changed = bed.runtime.update(&id, limits).await;
    if !bed.limits {
        assert!(matches!(changed, Err(RuntimeError::Unsupported { .. })));
        return;
    }
    changed.unwrap();
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
    let status = bed.runtime.inspect(&id).await.unwrap();
    assert_eq!(
        (status.state, status.pid),
        (ContainerState::Running, pid),
        "not restarted"
    );
}

pub async fn a_call_that_was_dropped_leaves_no_riddle(bed: &Bed) {
    let id = bed.created("dropped", Does::RunsOn).await;
    let cut = tokio::time::timeout(Duration::from_millis(3), bed.runtime.start(&id)).await;
    if let Ok(done) = cut {
        done.unwrap();
    }
    // Whether it was started or not: it can be, and then runs once.
    let started = within(10, bed.runtime.start(&id)).await.unwrap();
    let status = bed.runtime.inspect(&id).await.unwrap();
    assert_eq!(
        (status.state, status.pid),
        (ContainerState::Running, started.pid)
    );
    let cut = Duration::from_millis(3);
    let _ = tokio::time::timeout(cut, bed.runtime.stop(&id, Duration::from_secs(3))).await;
    let exit = within(10, bed.runtime.exit_of(&id));
    let stopped = within(10, bed.runtime.stop(&id, Duration::from_secs(3)))
        .await
        .unwrap();
    assert_eq!(exit.await.unwrap(), stopped);
    let cut = Duration::from_millis(3);
    let _ = tokio::time::timeout(cut, bed.runtime.remove(&id)).await;
    within(10, bed.runtime.remove(&id)).await.unwrap();
    no_container(bed.runtime.inspect(&id).await);
}
