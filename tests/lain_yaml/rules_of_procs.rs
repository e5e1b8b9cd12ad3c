//! Sections, health checks and our own keys.

use super::table::{all_errors, app};
use lain::domain::spec::model::{Probe, Protocol, RestartPolicy, UpdateOrder};

#[test]
fn health_checks() {
    let probe = |text: &str| {
        let parsed = app(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
        parsed.spec.procs[0].health.clone()
    };
    let http = |port, path: &str| {
        Some(Probe::Http {
            port,
            path: path.to_owned(),
        })
    };
    let command = |words: &[&str]| {
        Some(Probe::Command {
            command: words.iter().map(|w| (*w).to_owned()).collect(),
        })
    };
    for (text, expected) in [
        ("web: {healthcheck: /ping}", http(80, "/ping")),
        ("web: {healthcheck: ''}", None),
        (
            "web: {port: [53:udp, 8080], healthcheck: /ping}",
            http(8080, "/ping"),
        ),
        ("web: {healthcheck: {path: /a?b=c}}", http(80, "/a?b=c")),
        ("web: {healthcheck: {type: http, port: 81}}", http(81, "/")),
        (
            "worker: {port: 9, healthcheck: {}}",
            Some(Probe::Tcp { port: 9 }),
        ),
        (
            "worker: {healthcheck: {type: tcp, port: 9}}",
            Some(Probe::Tcp { port: 9 }),
        ),
        (
            "worker: {healthcheck: {command: 'test -e \"a b\"'}}",
            command(&["test", "-e", "a b"]),
        ),
        (
            "worker: {healthcheck: {type: command, command: [a, b]}}",
            command(&["a", "b"]),
        ),
        (
            "worker: {container_healthcheck: {cmd: test -e x}}",
            command(&["/bin/sh", "-c", "test -e x"]),
        ),
        (
            "web: {healthcheck: /ping, container_healthcheck: none}",
            None,
        ),
        (
            "web: {healthcheck: /ping, container_healthcheck: {cmd: x}}",
            command(&["/bin/sh", "-c", "x"]),
        ),
    ] {
        assert_eq!(probe(text).map(|health| health.probe), expected, "{text}");
    }
    let health = probe("web: {setup_time: 60, healthcheck: /ping}").expect("a check");
    assert_eq!(
        (
            health.interval.as_secs(),
            health.timeout.as_secs(),
            health.retries,
            health.start_period.as_secs()
        ),
        (10, 3, 3, 60)
    );
    let health = probe(
        "worker: {container_healthcheck: {cmd: x, options: {interval: 1, timeout: 9, retries: 1}}}",
    )
    .expect("a check");
    assert_eq!(
        (
            health.interval.as_secs(),
            health.timeout.as_secs(),
            health.retries
        ),
        (10, 9, 3)
    );
    all_errors(&[
        (
            "worker: {healthcheck: /ping}",
            &["not_for_this_type worker.healthcheck"],
        ),
        (
            "web: {healthcheck: ping}",
            &["invalid_value web.healthcheck"],
        ),
        (
            "web: {healthcheck: {type: https}}",
            &["invalid_value web.healthcheck.type"],
        ),
        (
            "web: {healthcheck: {type: tcp, path: /x}}",
            &["conflict web.healthcheck.path"],
        ),
        (
            "web: {healthcheck: {command: x, port: 1}}",
            &["conflict web.healthcheck.port"],
        ),
        (
            "web: {healthcheck: {type: command}}",
            &["missing_key web.healthcheck.command"],
        ),
        (
            "web: {healthcheck: {command: ''}}",
            &["missing_key web.healthcheck.command"],
        ),
        (
            "worker: {healthcheck: {type: tcp}}",
            &["missing_key worker.healthcheck.port"],
        ),
        (
            "web: {healthcheck: {interval: 0}}",
            &["out_of_range web.healthcheck.interval"],
        ),
        (
            "web: {healthcheck: {retries: 0}}",
            &["out_of_range web.healthcheck.retries"],
        ),
        (
            "web: {healthcheck: {cmd: x}}",
            &["unknown_key web.healthcheck.cmd"],
        ),
        (
            "web: {healthcheck: {}, container_healthcheck: none}",
            &["conflict web.healthcheck"],
        ),
        (
            "web: {container_healthcheck: {}}",
            &["missing_key web.container_healthcheck.cmd"],
        ),
        (
            "web: {container_healthcheck: off}",
            &["invalid_value web.container_healthcheck"],
        ),
        (
            "oneshot: {healthcheck: {command: x}}",
            &["not_for_this_type oneshot.healthcheck"],
        ),
        (
            "oneshot: {container_healthcheck: {cmd: x}}",
            &["not_for_this_type oneshot.container_healthcheck"],
        ),
    ]);
}

#[test]
fn sections_and_names() {
    let names = |text: &str| {
        let parsed = app(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
        parsed
            .spec
            .procs
            .iter()
            .map(|p| p.full_name())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (text, expected) in [
        (
            "web: {}\nworker: {}\noneshot: {}\nportal: {service_name: s}\ncron: {schedule: '* * * * *'}",
            "web.web worker.worker oneshot.oneshot portal.portal cron.cron",
        ),
        (
            "worker.b: {}\nproc.a: {}\nproc.c: {type: oneshot}",
            "worker.b worker.a oneshot.c",
        ),
        (
            "service.s: {cmd: x, portal: {}}",
            "worker.s portal.portal-s",
        ),
        (
            "service.s: {type: web, mountpoint: [/s], portal: {}}",
            "web.s portal.portal-s",
        ),
    ] {
        assert_eq!(names(text), expected, "{text}");
    }
    let parsed = app("service.s: {port: 1, portal: {cmd: p}}").expect("a service");
    let portal = parsed.spec.proc("portal-s").expect("its portal");
    assert_eq!(
        (
            portal.service_name.as_deref(),
            portal.allow_clients.as_deref()
        ),
        (Some("s"), Some("**"))
    );
    assert!(portal.ports.is_empty(), "the port is not inherited");
    all_errors(&[
        ("web: {}\nproc.web: {}", &["duplicate_proc proc.web"]),
        (
            "service.s: {portal: {}}\nportal.portal-s: {service_name: s}",
            &["duplicate_proc portal.portal-s"],
        ),
        ("web: {}\nworker.web: {}", &["duplicate_proc worker.web"]),
        ("web: {type: web}", &["unknown_key web.type"]),
        ("proc.x: {type: daemon}", &["invalid_value proc.x.type"]),
        ("web.a_b: {mountpoint: [/a]}", &["invalid_value web.a_b"]),
        ("web.: {}", &["invalid_value web."]),
        ("web.a.b: {}", &["invalid_value web.a.b"]),
        ("proc: {}", &["unknown_key proc"]),
        ("service: {}", &["unknown_key service"]),
        ("wokrer: {}", &["unknown_key wokrer"]),
        ("web:", &["wrong_type web"]),
        ("web: []", &["wrong_type web"]),
        ("service.s: {cmd: x}", &["missing_key service.s.portal"]),
        (
            "service.s: {portal: {service_name: t}}",
            &["conflict service.s.portal.service_name"],
        ),
        ("portal.p: {}", &["missing_key portal.p.service_name"]),
        (
            "proc.p: {type: portal}",
            &["missing_key proc.p.service_name"],
        ),
        (
            "worker: {service_name: s}",
            &["not_for_this_type worker.service_name"],
        ),
        (
            "worker: {allow_clients: '**'}",
            &["not_for_this_type worker.allow_clients"],
        ),
    ]);
}

#[test]
fn our_own_keys() {
    let proc = |text: &str| {
        app(text)
            .unwrap_or_else(|e| panic!("{text}\n{e}"))
            .spec
            .procs[0]
            .clone()
    };
    assert_eq!(
        proc("worker: {restart: temporary}").restart.policy,
        RestartPolicy::Temporary
    );
    assert_eq!(proc("worker: {}").restart.policy, RestartPolicy::Permanent);
    assert_eq!(proc("oneshot: {}").restart.policy, RestartPolicy::Transient);
    assert_eq!(
        proc("worker: {restart: {intensity: 0, period: 1h}}")
            .restart
            .period
            .as_secs(),
        3600
    );
    assert_eq!(proc("worker: {}").update.order, UpdateOrder::StartFirst);
    assert_eq!(
        proc("worker: {stateful: true}").update.order,
        UpdateOrder::StopFirst
    );
    assert_eq!(
        proc("worker: {volumes: [/a]}").update.order,
        UpdateOrder::StopFirst
    );
    assert_eq!(
        proc("worker: {volumes: [/a], update: {order: start_first}}")
            .update
            .order,
        UpdateOrder::StartFirst
    );
    let window = |yaml: &str, instances: u32| {
        let window = proc(yaml).update.window(instances, true);
        (window.surge, window.unavailable)
    };
    assert_eq!(window("worker: {}", 10), (3, 0));
    assert_eq!(window("worker: {stateful: true}", 10), (0, 2));
    let both = "worker: {update: {max_surge: 30%, max_unavailable: 1}}";
    assert_eq!(window(both, 10), (3, 1));
    let steady = "worker: {update: {min_healthy_time: 10s, canary: 1}}";
    assert_eq!(proc(steady).update.min_healthy_time.as_secs(), 10);
    assert_eq!(proc(steady).update.canary, 1);
    assert_eq!(proc("web: {}").drain_time.as_secs(), 1);
    assert_eq!(proc("worker: {}").drain_time.as_secs(), 0);
    assert_eq!(proc("web: {drain_time: 2.5s}").drain_time.as_millis(), 2500);
    assert_eq!(proc("worker: {spares: 2}").spares, 2);
    assert_eq!(
        proc("cron: {schedule: '*/5 * * * MON-FRI'}")
            .schedule
            .expect("a schedule")
            .cron,
        "*/5 * * * MON-FRI"
    );
    assert_eq!(
        proc("worker: {port: 53:udp}").ports[0].protocol,
        Protocol::Udp
    );
    all_errors(&[
        ("cron: {}", &["missing_key cron.schedule"]),
        ("proc.c: {type: cron}", &["missing_key proc.c.schedule"]),
        (
            "cron: {schedule: '* * * *'}",
            &["invalid_value cron.schedule"],
        ),
        (
            "cron: {schedule: '0 0 31 4,6 *'}",
            &["invalid_value cron.schedule"],
        ),
        (
            "cron: {schedule: {cron: '* * * * *', overlap: wait}}",
            &["invalid_value cron.schedule.overlap"],
        ),
        (
            "cron: {schedule: {overlap: skip}}",
            &["missing_key cron.schedule.cron"],
        ),
        (
            "worker: {schedule: '* * * * *'}",
            &["not_for_this_type worker.schedule"],
        ),
        (
            "cron: {schedule: '* * * * *', num_instances: 2}",
            &["conflict cron.num_instances"],
        ),
        (
            "cron: {schedule: '* * * * *', spares: 1}",
            &["not_for_this_type cron.spares"],
        ),
        (
            "oneshot: {spares: 1}",
            &["not_for_this_type oneshot.spares"],
        ),
        (
            "oneshot: {update: {}}",
            &["not_for_this_type oneshot.update"],
        ),
        (
            "oneshot: {restart: permanent}",
            &["conflict oneshot.restart"],
        ),
        (
            "oneshot: {restart: {policy: permanent}}",
            &["conflict oneshot.restart"],
        ),
        (
            "worker: {restart: always}",
            &["invalid_value worker.restart"],
        ),
        (
            "worker: {restart: {intensity: -1}}",
            &["out_of_range worker.restart.intensity"],
        ),
        (
            "worker: {restart: {period: 0}}",
            &["out_of_range worker.restart.period"],
        ),
        (
            "worker: {stateful: true, spares: 1}",
            &["conflict worker.spares"],
        ),
        (
            "worker: {stateful: true, update: {order: start_first}}",
            &["conflict worker.update"],
        ),
        (
            "worker: {update: {parallelism: 0}}",
            &["out_of_range worker.update.parallelism"],
        ),
        (
            "worker: {update: {max_surge: 101%}}",
            &["out_of_range worker.update.max_surge"],
        ),
        (
            "worker: {update: {max_unavailable: some}}",
            &["invalid_value worker.update.max_unavailable"],
        ),
        (
            "worker: {update: {parallelism: 2, max_surge: 1, max_unavailable: 1}}",
            &[
                "conflict worker.update.max_surge",
                "conflict worker.update.max_unavailable",
            ],
        ),
        (
            "worker: {update: {max_surge: 0, max_unavailable: 0%}}",
            &["conflict worker.update.max_unavailable"],
        ),
        (
            "worker: {stateful: true, update: {max_surge: 1}}",
            &["conflict worker.update.max_surge"],
        ),
        (
            "worker: {volumes: [/a], update: {max_surge: 25%, max_unavailable: 0}}",
            &[
                "conflict worker.update.max_surge",
                "conflict worker.update.max_unavailable",
            ],
        ),
        (
            "worker: {update: {order: stop_first, max_unavailable: 0}}",
            &["conflict worker.update.max_unavailable"],
        ),
        (
            "worker: {update: {min_healthy_time: 5m}}",
            &["conflict worker.update.min_healthy_time"],
        ),
        (
            "worker: {setup_time: 20, update: {progress_deadline: 20s}}",
            &["conflict worker.setup_time"],
        ),
        (
            "worker: {num_instances: 2, update: {canary: 3}}",
            &["conflict worker.update.canary"],
        ),
        (
            "portal: {service_name: a, update: {canary: 1}}",
            &["not_for_this_type portal.update.canary"],
        ),
        (
            "worker: {drain_time: 6m}",
            &[
                "conflict worker.drain_time",
                "out_of_range worker.drain_time",
            ],
        ),
        (
            "supervision: one_for_everyone\nweb: {}",
            &["invalid_value supervision"],
        ),
        (
            "supervision: {strategy: one_for_all, shutdown: 1}\nweb: {}",
            &["unknown_key supervision.shutdown"],
        ),
    ]);
}
