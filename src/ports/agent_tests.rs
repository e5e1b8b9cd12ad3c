//! What is to be done about a container, from what was and what is wanted.

use super::*;
use crate::domain::spec::model::RestartPolicy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A container that is to run.
pub(crate) fn desired(memory: u64) -> Desired {
    let container = ContainerSpec {
        name: "hello.web.web.v1-i1-d0".to_owned(),
        image: "hello:1".to_owned(),
        entrypoint: None,
        cmd: None,
        env: Vec::new(),
        labels: BTreeMap::new(),
        user: String::new(),
        workdir: String::new(),
        hostname: String::new(),
        resources: Resources {
            cpu_millis: 100,
            memory,
        },
        ports: Vec::new(),
        mounts: Vec::new(),
        dns_search: Vec::new(),
        kill_timeout: Duration::from_secs(10),
    };
    Desired {
        assignment: Arc::new(Assignment {
            instance: "hello.web.web.i1".parse().expect("an instance"),
            node: NodeName::new("n1").expect("a name"),
            version: 1,
            container,
            health: None,
            restart: RestartSpec {
                policy: RestartPolicy::Permanent,
                intensity: 5,
                period: Duration::from_secs(60),
                max_backoff: Duration::from_secs(30),
            },
            role: InstanceRole::Active,
            fresh: false,
            exclusive: false,
        }),
        want: Want::Run,
        attempt: 0,
        restarts: 0,
    }
}

fn with(change: impl FnOnce(&mut Desired)) -> Desired {
    let mut desired = desired(64);
    change(&mut desired);
    desired
}

#[test]
fn only_what_differs_is_done() {
    let base = desired(64);
    let run = || Task::Run(Arc::clone(&base.assignment));
    let stopped = with(|d| d.want = Want::Stop);
    let retried = with(|d| d.attempt = 7);
    let restarted = with(|d| d.restarts = 7);
    let spare = with(|d| Arc::make_mut(&mut d.assignment).role = InstanceRole::Spare);
    let table: Vec<(Option<&Desired>, Option<&Desired>, Vec<Task>)> = vec![
        (None, None, vec![]),
        (None, Some(&base), vec![run()]),
        (None, Some(&stopped), vec![Task::Stop]),
        (Some(&base), Some(&base), vec![]),
        (Some(&base), None, vec![Task::Remove]),
        (Some(&base), Some(&stopped), vec![Task::Stop]),
        (Some(&stopped), Some(&stopped), vec![]),
        (Some(&stopped), Some(&base), vec![run()]),
        (Some(&base), Some(&retried), vec![run()]),
        (Some(&retried), Some(&retried), vec![]),
        // A control host that was restarted has forgotten the stamp: that is no reason to do anything.
        (Some(&retried), Some(&base), vec![]),
        (Some(&base), Some(&restarted), vec![Task::Restart]),
        (Some(&restarted), Some(&base), vec![]),
        (
            Some(&base),
            Some(&spare),
            vec![Task::Role(InstanceRole::Spare)],
        ),
    ];
    for (before, now, wanted) in table {
        let found = tasks(before, now);
        // A retry carries its own assignment; what counts is the kind.
        assert_eq!(found.len(), wanted.len(), "{before:?} {now:?}");
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(
                std::mem::discriminant(found),
                std::mem::discriminant(wanted)
            );
        }
    }
    let more = desired(128);
    let update = Task::Update(Resources {
        cpu_millis: 100,
        memory: 128,
    });
    assert_eq!(tasks(Some(&base), Some(&more)), vec![update]);
}

#[test]
fn what_is_desired_survives_the_journey() {
    let before = desired(64);
    let json = serde_json::to_string(&before).expect("written");
    assert_eq!(
        serde_json::from_str::<Desired>(&json).expect("read"),
        before
    );
}
