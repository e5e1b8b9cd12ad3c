//! The simulated engine: time, faults, and what it promises beyond the runtime trait. What all
//! runtimes promise is tested by `tests/runtime_simulated.rs`.

use super::*;
use crate::ports::runtime::{ContainerState, PublishedPort};

fn engine() -> (Simulated, Handle) {
    let engine = Simulated::new(DateTime::UNIX_EPOCH);
    let handle = engine.handle();
    (engine, handle)
}

fn spec(name: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        image: "lain/hello:1".to_owned(),
        entrypoint: None,
        cmd: None,
        env: Vec::new(),
        labels: BTreeMap::from([("lain.owner".into(), "test".into())]),
        user: String::new(),
        workdir: String::new(),
        hostname: String::new(),
        resources: Resources {
            cpu_millis: 0,
            memory: 0,
        },
        ports: Vec::new(),
        mounts: Vec::new(),
        dns_search: Vec::new(),
        kill_timeout: Duration::from_secs(10),
    }
}

async fn running(engine: &Simulated, name: &str) -> ContainerId {
    let id = engine.create(&spec(name)).await.unwrap();
    engine.start(&id).await.unwrap();
    id
}

fn behaves(handle: &Handle, behaviour: Behaviour) {
    handle.set_behaviour("lain/hello:1", behaviour);
}

#[tokio::test(start_paused = true)]
async fn successive_runs_follow_the_schedule_in_virtual_time() {
    let (engine, handle) = engine();
    behaves(
        &handle,
        Behaviour {
            start_delay: Duration::from_millis(200),
            runs: vec![
                Run::ends(Duration::from_secs(60), 3),
                Run {
                    lasts: Some(Duration::from_secs(5)),
                    code: 137,
                    oom_killed: true,
                },
                Run::for_ever(),
            ],
            ..Behaviour::default()
        },
    );
    let began = Instant::now();
    let id = running(&engine, "a").await;
    assert_eq!(began.elapsed(), Duration::from_millis(200));
    engine.ended(&id, None).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(60_200));
    let exit = engine.exit_of(&id).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (3, false));
    assert_eq!(
        exit.at,
        Some(DateTime::UNIX_EPOCH + Duration::from_millis(60_200))
    );
    engine.start(&id).await.unwrap();
    engine.ended(&id, None).await.unwrap();
    assert!(engine.exit_of(&id).await.unwrap().oom_killed);
    engine.start(&id).await.unwrap();
    let hour = tokio::time::timeout(Duration::from_secs(3600), engine.ended(&id, None)).await;
    assert!(hour.is_err(), "the last run goes on");
    assert_eq!(handle.starts_of(&id).unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_caller_went_away_happens_all_the_same() {
    let (engine, handle) = engine();
    behaves(
        &handle,
        Behaviour {
            start_delay: Duration::from_secs(2),
            ..Behaviour::default()
        },
    );
    let id = engine.create(&spec("a")).await.unwrap();
    let cut = tokio::time::timeout(Duration::from_secs(1), engine.start(&id)).await;
    assert!(cut.is_err());
    assert_eq!(
        engine.inspect(&id).await.unwrap().state,
        ContainerState::Created
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        engine.inspect(&id).await.unwrap().state,
        ContainerState::Running
    );
}

#[tokio::test(start_paused = true)]
async fn stop_drains_then_kills() {
    let (engine, handle) = engine();
    let drain = OnTerm::Exit {
        after: Duration::from_secs(3),
        code: 0,
    };
    behaves(
        &handle,
        Behaviour {
            on_term: drain,
            ..Behaviour::default()
        },
    );
    let polite = running(&engine, "polite").await;
    let began = Instant::now();
    let exit = engine.stop(&polite, Duration::from_secs(10)).await.unwrap();
    assert_eq!((exit.code, began.elapsed()), (0, Duration::from_secs(3)));
    behaves(
        &handle,
        Behaviour {
            on_term: OnTerm::Ignore,
            ..Behaviour::default()
        },
    );
    let stubborn = running(&engine, "stubborn").await;
    let exit = engine
        .stop(&stubborn, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(exit.signal, Some(9));
    assert_eq!(began.elapsed(), Duration::from_secs(13));
}

#[tokio::test(start_paused = true)]
async fn an_old_kill_does_not_reach_a_new_run() {
    let (engine, handle) = engine();
    let drain = OnTerm::Exit {
        after: Duration::from_secs(1),
        code: 0,
    };
    behaves(
        &handle,
        Behaviour {
            on_term: drain,
            ..Behaviour::default()
        },
    );
    let id = running(&engine, "a").await;
    engine.stop(&id, Duration::from_secs(10)).await.unwrap();
    engine.start(&id).await.unwrap();
    let later = tokio::time::timeout(Duration::from_secs(60), engine.ended(&id, None)).await;
    assert!(later.is_err(), "the SIGKILL of the earlier stop was void");
}

#[tokio::test(start_paused = true)]
async fn starts_fail_as_told() {
    let (engine, handle) = engine();
    behaves(
        &handle,
        Behaviour {
            failing_starts: 2,
            ..Behaviour::default()
        },
    );
    let id = engine.create(&spec("a")).await.unwrap();
    for _ in 0..2 {
        let error = engine.start(&id).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Refused { .. }), "{error}");
    }
    engine.start(&id).await.unwrap();
    handle.kill(&id, Exit::from_code(1, false, None)).unwrap();
    handle
        .fail_next_start(&id, RuntimeError::DiskFull("here".to_owned()))
        .unwrap();
    assert!(matches!(
        engine.start(&id).await,
        Err(RuntimeError::DiskFull(_))
    ));
    engine.start(&id).await.unwrap();
    assert_eq!(handle.counters().starts, 5);
    assert_eq!(handle.starts_of(&id).unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_port_has_one_holder_at_a_time() {
    let (engine, handle) = engine();
    let port = |name: &str| {
        let container = crate::domain::spec::model::Port {
            port: 80,
            protocol: crate::domain::spec::model::Protocol::Tcp,
        };
        let published = PublishedPort {
            container,
            host_ip: [127, 0, 0, 1].into(),
            host_port: 8080,
        };
        ContainerSpec {
            ports: vec![published],
            ..spec(name)
        }
    };
    let first = engine.create(&port("first")).await.unwrap();
    let second = engine.create(&port("second")).await.unwrap();
    engine.start(&first).await.unwrap();
    let taken = engine.start(&second).await.unwrap_err();
    assert!(matches!(taken, RuntimeError::PortTaken { port: 8080, .. }));
    handle
        .kill(&first, Exit::from_code(1, false, None))
        .unwrap();
    engine.start(&second).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_comes_back_with_a_word() {
    let (engine, handle) = engine();
    let id = running(&engine, "a").await;
    let mut events = engine.events(BTreeMap::new());
    assert_eq!(events.next().await, Some(EngineEvent::Resynchronise));
    handle.set_unreachable(true);
    assert!(matches!(
        engine.inspect(&id).await,
        Err(RuntimeError::Unreachable { .. })
    ));
    handle.kill(&id, Exit::from_code(1, false, None)).unwrap();
    engine.ended(&id, None).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(60), engine.exit_of(&id)).await;
    assert!(exit.is_err(), "only the engine knows how it ended");
    handle.set_unreachable(false);
    assert_eq!(events.next().await, Some(EngineEvent::Resynchronise));
    assert_eq!(engine.exit_of(&id).await.unwrap().code, 1);
}

#[tokio::test(start_paused = true)]
async fn lost_news_leaves_only_reconciliation() {
    let (engine, handle) = engine();
    let id = running(&engine, "a").await;
    handle.lose_events(true);
    handle.lose_ends(true);
    let mut events = engine.events(BTreeMap::new());
    events.next().await;
    handle.kill(&id, Exit::from_code(1, false, None)).unwrap();
    let minute = Duration::from_secs(60);
    assert!(
        tokio::time::timeout(minute, engine.ended(&id, None))
            .await
            .is_err()
    );
    assert!(tokio::time::timeout(minute, events.next()).await.is_err());
    let listed = engine.list(&BTreeMap::new()).await.unwrap();
    assert!(matches!(listed[0].state, ContainerState::Exited(_)));
    handle.lose_ends(false);
    engine.ended(&id, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_falls_behind_must_look_again() {
    let (engine, handle) = engine();
    let mut events = engine.events(BTreeMap::new());
    events.next().await;
    let id = engine.create(&spec("a")).await.unwrap();
    for _ in 0..5_000 {
        engine.start(&id).await.unwrap();
        handle.kill(&id, Exit::from_code(1, false, None)).unwrap();
    }
    assert_eq!(events.next().await, Some(EngineEvent::Resynchronise));
}

#[tokio::test(start_paused = true)]
async fn ends_that_are_due_reach_a_subscriber_without_another_call() {
    let (engine, handle) = engine();
    let run = Run::ends(Duration::from_secs(30), 1);
    behaves(
        &handle,
        Behaviour {
            runs: vec![run],
            ..Behaviour::default()
        },
    );
    let mut events = engine.events(BTreeMap::from([(
        "lain.owner".to_owned(),
        "test".to_owned(),
    )]));
    events.next().await;
    let id = running(&engine, "a").await;
    let began = Instant::now();
    assert!(
        matches!(events.next().await, Some(EngineEvent::Changed { action, .. }) if action == "start")
    );
    assert_eq!(events.next().await, Some(EngineEvent::Died { id }));
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn slow_calls_and_pulls_take_their_time() {
    let (engine, handle) = engine();
    let far = ImagePlace::Registry(Duration::from_secs(20));
    behaves(
        &handle,
        Behaviour {
            place: far,
            ..Behaviour::default()
        },
    );
    handle.set_latency(Duration::from_secs(1));
    let began = Instant::now();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let observer: PullObserver = Box::new(move |step| seen.lock().unwrap().push(step.status));
    engine.ensure_image("lain/hello:1", observer).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(22));
    assert_eq!(*steps.lock().unwrap(), ["Downloading", "Pull complete"]);
    engine
        .ensure_image("lain/hello:1", Box::new(|_| panic!("it is here")))
        .await
        .unwrap();
    assert_eq!(handle.counters().pulls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_vanishes_is_gone_for_everybody() {
    let (engine, handle) = engine();
    let id = running(&engine, "a").await;
    let waiting = tokio::spawn({
        let (engine, id) = (engine.clone(), id.clone());
        async move { engine.ended(&id, None).await }
    });
    tokio::task::yield_now().await;
    handle.vanish(&id).unwrap();
    assert!(matches!(
        waiting.await.unwrap(),
        Err(RuntimeError::NoContainer(_))
    ));
    assert_eq!(handle.counters().removes, 0);
    engine.create(&spec("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_crash_and_are_noticed_one_by_one() {
    let (engine, handle) = engine();
    let chance = Chance {
        mean: Duration::from_secs(100),
        code: 1,
        seed: 1,
    };
    behaves(
        &handle,
        Behaviour {
            chance: Some(chance),
            ..Behaviour::default()
        },
    );
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..100_000 {
        let id = running(&engine, &format!("c{n}")).await;
        let engine = engine.clone();
        waiting.spawn(async move { engine.ended(&id, None).await });
    }
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap().unwrap();
    }
    assert_eq!(handle.counters().starts, 100_000);
    assert!(
        handle
            .containers()
            .iter()
            .all(|c| matches!(c.state, ContainerState::Exited(_)))
    );
}
