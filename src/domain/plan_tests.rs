//! Tables for plans.

use super::plan::{
    Stage, Step, canaries, goes_back, plan, rebalance_roles, stages, without_asking,
};
use super::record::{AppRecord, NOT_REPEATED, Overrides, Placement, Release, Stopped};
use super::spec::model::*;
use super::view::InstanceRole;
use crate::domain::id::{InstanceId, ProcType};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn proc(name: &str, proc_type: ProcType, num_instances: u32, spares: u32) -> ProcSpec {
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
        drain_time: Duration::ZERO,
        kill_timeout: Duration::from_secs(10),
        dns_search: vec![],
        service_name: None,
        allow_clients: None,
        restart: RestartSpec::default_for(proc_type),
        schedule: None,
        update: UpdateSpec::default(),
    }
}

pub(super) fn record(procs: Vec<ProcSpec>, version: u64) -> AppRecord {
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
            revision: 1,
            good: true,
            texts: Default::default(),
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
        canary: None,
    }
}

pub(super) fn placed(id: &str, version: u64, role: InstanceRole) -> Placement {
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
        evicted: false,
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
fn stages_roll_by_proc_through_its_window() {
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
        shape(&stages(&steps, &all(&steps), window)),
        [
            (vec![4], None),
            (vec![0, 1, 2], Some(2)),
            (vec![3], Some(2)),
            (vec![5], None)
        ]
    );
    assert_eq!(stages(&[], &[], window), []);
}

fn window(_: &InstanceId) -> Window {
    Window {
        surge: 2,
        unavailable: 0,
    }
}

fn all(steps: &[Step]) -> Vec<usize> {
    (0..steps.len()).collect()
}

/// The steps of each stage, and the surge of its window.
fn shape(stages: &[Stage]) -> Vec<(Vec<usize>, Option<u32>)> {
    let shape = |stage: &Stage| (stage.steps.clone(), stage.window.map(|w| w.surge));
    stages.iter().map(shape).collect()
}

#[test]
fn canaries_are_the_first_of_each_proc_with_what_the_new_version_needs() {
    let mut record = record(
        vec![
            proc("migrate", ProcType::Oneshot, 1, 0),
            proc("web", ProcType::Web, 4, 0),
            proc("mail", ProcType::Worker, 2, 0),
            proc("fresh", ProcType::Worker, 1, 0),
        ],
        2,
    );
    record.current.versions.insert("worker.fresh".into(), 1);
    let mut placements: Vec<Placement> = (1..=3)
        .map(|n| placed(&format!("shop.web.web.i{n}"), 1, InstanceRole::Active))
        .collect();
    placements.push(placed("shop.worker.mail.i1", 1, InstanceRole::Active));
    placements.push(placed("shop.worker.mail.i2", 2, InstanceRole::Active));
    placements.push(placed("shop.worker.gone.i1", 1, InstanceRole::Active));
    let steps = plan(&record, &placements, &BTreeMap::new());
    // 0 migrate, 1 2 3 web recreated, 4 web.i4 created, 5 mail.i1 recreated, 6 fresh, 7 gone deleted
    let is_placed = |id: &InstanceId| placements.iter().any(|p| &p.instance == id);
    let left = |id: &InstanceId| match id.proc.as_str() {
        "web" => 2,
        // One of mail's instances runs the new version already.
        _ => 0,
    };
    let (first, rest) = canaries(&steps, left, is_placed);
    assert_eq!(first, [0, 1, 2, 6]);
    assert_eq!(rest, [3, 4, 5, 7]);
    assert_eq!(
        shape(&stages(&steps, &first, window)),
        [(vec![0], None), (vec![6], None), (vec![1, 2], Some(2))]
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
    let stages = stages(&steps, &all(&steps), window);
    let indices: Vec<Vec<usize>> = stages.into_iter().map(|stage| stage.steps).collect();
    assert_eq!(
        indices,
        [vec![0], vec![1, 2], vec![3], vec![5, 6], vec![4], vec![7]]
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
