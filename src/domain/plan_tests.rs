//! Tables for plans and rollouts.

use super::plan::{Step, batches, goes_back, plan, rebalance_roles, without_asking};
use super::record::{AppRecord, NOT_REPEATED, Overrides, Placement, Release, Stopped};
use super::rollout::{Action, Event, Machine};
use super::spec::model::*;
use super::view::{InstanceRole, OperationState};
use crate::domain::id::{InstanceId, ProcType};
use std::collections::BTreeMap;
use std::time::Duration;

fn proc(name: &str, proc_type: ProcType, num_instances: u32, spares: u32) -> ProcSpec {
    ProcSpec {
        name: name.parse().unwrap(),
        proc_type,
        image: Some("img".into()),
        entrypoint: None,
        cmd: None,
        user: String::new(),
        workdir: String::new(),
        num_instances,
        spares,
        cpu: 0,
        memory: 32 << 20,
        ports: vec![],
        stream_ports: vec![],
        mountpoint: vec![],
        https_only: false,
        health: None,
        env: vec![],
        volumes: vec![],
        cloud_volumes: None,
        secret_files: vec![],
        secret_files_bypass: false,
        logs: vec![],
        log_formats: BTreeMap::new(),
        labels: BTreeMap::new(),
        filters: vec![],
        stateful: false,
        exclusive: false,
        priority: 0,
        anti_affinity: AntiAffinity::default(),
        setup_time: Duration::ZERO,
        kill_timeout: Duration::from_secs(10),
        dns_search: vec![],
        service_name: None,
        allow_clients: None,
        restart: RestartSpec::default_for(proc_type),
        schedule: None,
        update: UpdateSpec::default(),
    }
}

fn record(procs: Vec<ProcSpec>, version: u64) -> AppRecord {
    let versions = procs.iter().map(|p| (p.full_name(), version)).collect();
    let spec = AppSpec {
        appname: "shop".parse().unwrap(),
        apptype: AppType::App,
        giturl: None,
        build: None,
        release: None,
        test: None,
        notify: BTreeMap::new(),
        use_services: BTreeMap::new(),
        use_resources: BTreeMap::new(),
        supervision: Supervision::default(),
        procs,
    };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    AppRecord {
        current: Release {
            spec,
            lain_yaml: String::new(),
            meta_version: None,
            image: None,
            versions,
        },
        previous: None,
        history: vec![],
        overrides: BTreeMap::new(),
        stopped: BTreeMap::new(),
        revision: 1,
        created_at: at,
        updated_at: at,
        removing: false,
        operation: None,
    }
}

fn placed(id: &str, version: u64, role: InstanceRole) -> Placement {
    Placement {
        instance: id.parse().unwrap(),
        node: "n1".parse().unwrap(),
        version,
        drift: 0,
        role,
        resources: (0, 32 << 20),
        ports: vec![],
        restarts: 0,
        crashes: 0,
        last_crash: None,
        gave_up: 0,
        finished: None,
        failed_on: Vec::new(),
        unplaced: None,
        waits: false,
        generation: 0,
    }
}

fn shown(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|s| format!("{:?} {} {:?}", s.action, s.instance, s.role))
        .collect()
}

#[test]
fn a_first_deploy_creates_actives_and_spares_but_no_cron() {
    let record = record(
        vec![
            proc("web", ProcType::Web, 2, 1),
            proc("tidy", ProcType::Cron, 1, 0),
        ],
        1,
    );
    let steps = plan(&record, &[], &BTreeMap::new());
    assert_eq!(
        shown(&steps),
        [
            "Create shop.web.web.i1 Active",
            "Create shop.web.web.i2 Active",
            "Create shop.web.web.i3 Spare"
        ]
    );
}

#[test]
fn planning_again_after_the_plan_was_carried_out_gives_nothing() {
    let record = record(vec![proc("web", ProcType::Web, 2, 1)], 3);
    let placements: Vec<Placement> = plan(&record, &[], &BTreeMap::new())
        .iter()
        .map(|s| placed(&s.instance.to_string(), s.version, s.role))
        .collect();
    assert_eq!(plan(&record, &placements, &BTreeMap::new()), []);
}

#[test]
fn versions_resources_and_counts_each_lead_to_their_step() {
    let mut record = record(
        vec![
            proc("web", ProcType::Web, 2, 0),
            proc("w", ProcType::Worker, 1, 0),
        ],
        2,
    );
    record.overrides.insert(
        "worker.w".into(),
        Overrides {
            memory: Some(64 << 20),
            ..Overrides::default()
        },
    );
    let placements = [
        placed("shop.web.web.i1", 1, InstanceRole::Active),
        placed("shop.web.web.i3", 2, InstanceRole::Active),
        placed("shop.web.web.i4", 2, InstanceRole::Active),
        placed("shop.worker.w.i1", 2, InstanceRole::Active),
        placed("shop.worker.old.i1", 2, InstanceRole::Active),
    ];
    let steps = plan(
        &record,
        &placements,
        &BTreeMap::from([("web.web".into(), vec!["cmd".into()])]),
    );
    assert_eq!(
        shown(&steps),
        [
            "Recreate shop.web.web.i1 Active",
            "Create shop.web.web.i2 Active",
            "UpdateInPlace shop.worker.w.i1 Active",
            "Delete shop.worker.old.i1 Active",
            "Delete shop.web.web.i4 Active",
            "Delete shop.web.web.i3 Active",
        ]
    );
    assert_eq!(steps[0].changes, ["cmd"]);
    assert_eq!(steps[2].changes, ["memory: 32m → 64m"]);
}

#[test]
fn removal_deletes_everything() {
    let mut record = record(vec![proc("web", ProcType::Web, 1, 0)], 1);
    record.removing = true;
    let steps = plan(
        &record,
        &[placed("shop.web.web.i1", 1, InstanceRole::Active)],
        &BTreeMap::new(),
    );
    assert_eq!(shown(&steps), ["Delete shop.web.web.i1 Active"]);
}

#[test]
fn a_promoted_spare_keeps_its_number_and_role() {
    let record = record(vec![proc("web", ProcType::Web, 1, 1)], 1);
    let placements = [
        placed("shop.web.web.i1", 1, InstanceRole::Spare),
        placed("shop.web.web.i2", 1, InstanceRole::Active),
    ];
    assert_eq!(plan(&record, &placements, &BTreeMap::new()), []);
    let two_active = rebalance_roles(2, &placements);
    assert_eq!(
        two_active,
        [(placements[0].instance.clone(), InstanceRole::Active)]
    );
    assert_eq!(rebalance_roles(1, &placements), []);
}

#[test]
fn batches_roll_by_proc_and_parallelism() {
    let record = record(
        vec![
            proc("a", ProcType::Web, 3, 0),
            proc("b", ProcType::Worker, 2, 0),
        ],
        2,
    );
    let mut placements: Vec<Placement> = ["a.i1", "a.i2", "a.i3"]
        .iter()
        .map(|n| placed(&format!("shop.web.{n}"), 1, InstanceRole::Active))
        .collect();
    placements.push(placed("shop.worker.b.i1", 1, InstanceRole::Active));
    placements.push(placed("shop.worker.gone.i1", 1, InstanceRole::Active));
    let steps = plan(&record, &placements, &BTreeMap::new());
    // a1 a2 a3 b1 recreated, b2 created, gone deleted
    assert_eq!(
        batches(&steps, |_: &InstanceId| 2),
        vec![vec![4], vec![0, 1], vec![2], vec![3], vec![5]]
    );
    assert_eq!(batches(&[], |_: &InstanceId| 2), Vec::<Vec<usize>>::new());
}

fn machine(count: u32) -> Machine {
    let record = record(vec![proc("web", ProcType::Web, count, 0)], 2);
    let placements: Vec<Placement> = (1..=count)
        .map(|n| placed(&format!("shop.web.web.i{n}"), 1, InstanceRole::Active))
        .collect();
    let steps = plan(&record, &placements, &BTreeMap::new());
    let batches = batches(&steps, |_: &InstanceId| 1);
    let deadlines = vec![Duration::from_secs(10); steps.len()];
    Machine::new(steps, batches, deadlines)
}

#[test]
fn a_rollout_walks_its_batches() {
    let mut machine = machine(2);
    let at = Duration::from_secs;
    assert_eq!(machine.begin(at(0)), [Action::Begin(0)]);
    assert_eq!(machine.on(Event::Done(0), at(1)), [Action::Begin(1)]);
    assert_eq!(machine.on(Event::Done(0), at(1)), [], "late news");
    assert_eq!(
        machine.on(Event::Done(1), at(2)),
        [Action::Finish(OperationState::Succeeded, None)]
    );
    assert_eq!(machine.on(Event::Cancel("late".into()), at(3)), []);
}

#[test]
fn a_failed_step_fails_the_rollout_and_the_rest_is_not_done() {
    let mut machine = machine(3);
    machine.begin(Duration::ZERO);
    let actions = machine.on(Event::Failed(0, "no image".into()), Duration::ZERO);
    assert_eq!(
        actions,
        [Action::Finish(
            OperationState::Failed,
            Some("no image".into())
        )]
    );
    use OperationState::{Cancelled, Failed};
    assert_eq!(machine.states, [Failed, Cancelled, Cancelled]);
}

#[test]
fn the_deadline_counts_from_the_last_progress() {
    let mut machine = machine(2);
    let at = Duration::from_secs;
    machine.begin(at(0));
    machine.on(Event::Done(0), at(9));
    assert_eq!(machine.on(Event::Tick(at(18)), at(18)), []);
    let late = machine.on(Event::Tick(at(20)), at(20));
    assert!(
        matches!(&late[..], [Action::Finish(OperationState::Failed, Some(why))] if why.contains("shop.web.web.i2"))
    );
}

#[test]
fn an_empty_rollout_succeeds_at_once() {
    let mut machine = Machine::new(vec![], vec![], vec![]);
    assert_eq!(
        machine.begin(Duration::ZERO),
        [Action::Finish(OperationState::Succeeded, None)]
    );
}

#[test]
fn a_oneshot_divides_what_is_before_it_from_what_is_after_it() {
    let record = record(
        vec![
            proc("cache", ProcType::Worker, 1, 0),
            proc("migrate", ProcType::Oneshot, 2, 0),
            proc("seed", ProcType::Oneshot, 1, 0),
            proc("web", ProcType::Web, 2, 0),
            proc("mail", ProcType::Worker, 1, 0),
        ],
        2,
    );
    let placements = [
        placed("shop.web.web.i1", 1, InstanceRole::Active),
        placed("shop.worker.gone.i1", 1, InstanceRole::Active),
    ];
    let steps = plan(&record, &placements, &BTreeMap::new());
    // 0 cache, 1 2 migrate, 3 seed, 4 web.i1 recreated, 5 web.i2, 6 mail, 7 gone
    assert_eq!(
        batches(&steps, |_: &InstanceId| 1),
        vec![vec![0], vec![1, 2], vec![3], vec![5, 6], vec![4], vec![7]]
    );
}

#[test]
fn a_oneshot_that_goes_back_says_that_it_is_not_run_again() {
    let mut newer = placed("shop.oneshot.migrate.i1", 2, InstanceRole::Active);
    newer.finished = Some("exit code 1".to_owned());
    let record = record(vec![proc("migrate", ProcType::Oneshot, 1, 0)], 1);
    let steps = plan(&record, &[newer.clone()], &BTreeMap::new());
    assert_eq!(shown(&steps), ["Recreate shop.oneshot.migrate.i1 Active"]);
    assert_eq!(
        steps[0].changes,
        ["back to the version before; not run again"]
    );
    assert!(goes_back(&newer.instance, 2, 1) && !goes_back(&newer.instance, 1, 2));
}

#[test]
fn a_oneshot_runs_again_only_if_it_has_not_succeeded_and_somebody_asks() {
    let mut record = record(vec![proc("migrate", ProcType::Oneshot, 1, 0)], 1);
    for (finished, steps) in [
        (None, 0),
        (Some("exit code 0"), 0),
        (Some(NOT_REPEATED), 0),
        (Some("exit code 137 (SIGKILL)"), 1),
        (Some("node n1 gave up: exit code 1"), 1),
    ] {
        let mut placement = placed("shop.oneshot.migrate.i1", 1, InstanceRole::Active);
        placement.finished = finished.map(str::to_owned);
        let placements = [placement];
        let planned = plan(&record, &placements, &BTreeMap::new());
        assert_eq!(planned.len(), steps, "{finished:?}");
        assert_eq!(without_asking(planned, &placements), [], "{finished:?}");
    }
    let mut failed = placed("shop.oneshot.migrate.i1", 1, InstanceRole::Active);
    failed.finished = Some("exit code 1".to_owned());
    let stopped = Stopped {
        all: true,
        ..Stopped::default()
    };
    record.stopped.insert("oneshot.migrate".into(), stopped);
    assert_eq!(plan(&record, &[failed], &BTreeMap::new()), []);
}

#[test]
fn what_a_failed_change_did_not_come_to_is_created_by_the_next_one() {
    let record = record(vec![proc("web", ProcType::Web, 2, 0)], 1);
    let mut waiting = placed("shop.web.web.i1", 1, InstanceRole::Active);
    waiting.waits = true;
    let placements = [waiting];
    let steps = plan(&record, &placements, &BTreeMap::new());
    assert_eq!(
        shown(&steps),
        [
            "Create shop.web.web.i1 Active",
            "Create shop.web.web.i2 Active"
        ]
    );
    let alone = without_asking(steps, &placements);
    assert_eq!(shown(&alone), ["Create shop.web.web.i2 Active"]);
}

#[test]
fn the_most_patient_step_in_progress_sets_the_deadline() {
    let record = record(
        vec![
            proc("migrate", ProcType::Oneshot, 1, 0),
            proc("web", ProcType::Web, 1, 0),
        ],
        1,
    );
    let steps = plan(&record, &[], &BTreeMap::new());
    let (batches, at) = (batches(&steps, |_: &InstanceId| 1), Duration::from_secs);
    let mut machine = Machine::new(steps, batches, vec![at(100), at(10)]);
    machine.begin(at(0));
    assert_eq!(machine.on(Event::Tick(at(99)), at(99)), []);
    assert_eq!(machine.on(Event::Done(0), at(99)), [Action::Begin(1)]);
    assert_eq!(machine.on(Event::Tick(at(109)), at(109)), []);
    assert!(matches!(
        machine.on(Event::Tick(at(110)), at(110))[..],
        [Action::Finish(OperationState::Failed, Some(_))]
    ));
}
