//! Every rule of the schema as a row: what is written, and what becomes of it.

use lain::domain::spec::model::{Probe, Protocol, RestartPolicy, UpdateOrder};
use lain::domain::spec::{Parsed, SpecErrors, parse};
use serde_json::{Value, json};

const HEAD: &str = "appname: a\nbuild: {base: b, script: []}\n";

fn app(rest: &str) -> Result<Parsed, SpecErrors> {
    parse(&format!("{HEAD}{rest}\n"), "lain.yaml")
}

/// `code key` of each error.
fn codes(result: &Result<Parsed, SpecErrors>) -> Vec<String> {
    let errors = result
        .as_ref()
        .err()
        .map(|e| e.errors.as_slice())
        .unwrap_or_default();
    errors
        .iter()
        .map(|e| format!("{} {}", e.code_name(), e.key))
        .collect()
}

/// Each of these values of `key` in `section` gives `field` of the proc this value.
fn gives(section: &str, key: &str, field: &str, rows: &[(&str, Value)]) {
    for (written, expected) in rows {
        let result = app(&format!("{section}:\n  {key}: {written}"));
        let parsed = result.unwrap_or_else(|e| panic!("{key}: {written}\n{e}"));
        let proc = serde_json::to_value(&parsed.spec.procs[0]).expect("a proc is JSON");
        assert_eq!(&proc[field], expected, "{key}: {written}");
    }
}

/// Each of these values of `key` in `section` is refused with one error of this code at that key.
fn refuses(section: &str, key: &str, rows: &[(&str, &str)]) {
    for (written, code) in rows {
        let result = app(&format!("{section}:\n  {key}: {written}"));
        let errors = result.expect_err(&format!("{key}: {written} is wrong"));
        let [error] = errors.errors.as_slice() else {
            panic!("{key}: {written}\n{errors}")
        };
        assert_eq!(error.code_name(), *code, "{key}: {written}");
        assert!(
            error.key.starts_with(&format!("{section}.{key}")),
            "{key}: {written}: {}",
            error.key
        );
        assert_eq!(error.line, 4, "{key}: {written}");
    }
}

/// Each of these files is refused with exactly these errors.
fn all_errors(rows: &[(&str, &[&str])]) {
    for (text, expected) in rows {
        assert_eq!(codes(&app(text)), *expected, "{text}");
    }
}

#[test]
fn appnames() {
    for good in ["hello", "hello-world", "A1", "a-b-c"] {
        assert!(
            parse(&format!("appname: {good}\nweb: {{image: a}}"), "f").is_ok(),
            "{good}"
        );
    }
    for bad in [
        "1a", "a_b", "a--b", "a-", "-a", "a.b", "service", "resource", "portal", "''", "é",
    ] {
        let result = parse(&format!("appname: {bad}\nweb: {{image: a}}"), "f");
        assert_eq!(codes(&result), ["invalid_value appname"], "{bad}");
    }
    assert_eq!(
        codes(&parse("appname: 12\nweb: {image: a}", "f")),
        ["wrong_type appname"]
    );
    assert_eq!(
        codes(&parse("web: {image: a}", "f")),
        ["missing_key appname"]
    );
}

#[test]
fn ports() {
    let port = |n: u16, p: &str| json!([{ "port": n, "protocol": p }]);
    gives(
        "web",
        "port",
        "ports",
        &[
            ("80", port(80, "tcp")),
            ("'80:tcp'", port(80, "tcp")),
            ("{80: ['type:tcp']}", port(80, "tcp")),
            ("{80: []}", port(80, "tcp")),
            (
                "[80, '53:udp']",
                json!([{ "port": 80, "protocol": "tcp" }, { "port": 53, "protocol": "udp" }]),
            ),
            (
                "{53: ['type:udp', 'type:tcp']}",
                json!([{ "port": 53, "protocol": "udp" }, { "port": 53, "protocol": "tcp" }]),
            ),
        ],
    );
    gives("worker", "port", "ports", &[("53:udp", port(53, "udp"))]);
    gives("web", "cpu", "ports", &[("0", port(80, "tcp"))]);
    gives("worker", "cpu", "ports", &[("0", json!([]))]);
    refuses(
        "web",
        "port",
        &[
            ("'80'", "invalid_value"),
            ("'80:foo'", "invalid_value"),
            ("u80:udp", "invalid_value"),
            ("0", "out_of_range"),
            ("65536", "out_of_range"),
            ("65536:tcp", "out_of_range"),
            ("-1", "out_of_range"),
            ("080", "wrong_type"),
            ("1.5", "wrong_type"),
            ("true", "wrong_type"),
            ("{80: ['tcp']}", "invalid_value"),
            ("{http: ['type:tcp']}", "invalid_value"),
            ("[80, '80:tcp']", "duplicate_value"),
            ("53:udp", "conflict"),
            ("[[80]]", "wrong_type"),
        ],
    );
}

#[test]
fn stream_ports() {
    let one = |s: u16, d: u16, p: &str| json!([{ "source": s, "dest": d, "protocol": p }]);
    gives(
        "worker",
        "ports",
        "stream_ports",
        &[
            ("'9500'", one(9500, 9500, "tcp")),
            ("9500", one(9500, 9500, "tcp")),
            ("9500:80", one(9500, 80, "tcp")),
            ("9500:80/udp", one(9500, 80, "udp")),
            ("10000/tcp", one(10000, 10000, "tcp")),
            ("{9500: }", one(9500, 9500, "tcp")),
            ("{'9500:80/tcp': {}}", one(9500, 80, "tcp")),
            ("[9500:80]", one(9500, 80, "tcp")),
            ("[9500]", one(9500, 9500, "tcp")),
        ],
    );
    refuses(
        "worker",
        "ports",
        &[
            ("9499", "out_of_range"),
            ("10001:80", "out_of_range"),
            ("9500:0", "invalid_value"),
            ("9500:65536", "out_of_range"),
            ("9500:80/sctp", "invalid_value"),
            ("9500:80:90", "invalid_value"),
            ("[9500, 9500:80]", "duplicate_value"),
            ("{x: }", "invalid_value"),
            ("true", "wrong_type"),
        ],
    );
    all_errors(&[(
        "worker.a: {ports: 9500}\nworker.b: {ports: '9500:80'}",
        &["duplicate_value worker.b.ports[0]"],
    )]);
}

#[test]
fn memory_and_cpu() {
    let mib = 1_048_576_u64;
    gives(
        "web",
        "memory",
        "memory",
        &[
            ("32m", json!(32 * mib)),
            ("64M", json!(64 * mib)),
            ("1G", json!(1024 * mib)),
            ("1GB", json!(1024 * mib)),
            ("65536k", json!(64 * mib)),
            ("67108864", json!(64 * mib)),
            ("'67108864'", json!(64 * mib)),
        ],
    );
    gives("web", "cpu", "memory", &[("0", json!(32 * mib))]);
    refuses(
        "web",
        "memory",
        &[
            ("512", "out_of_range"),
            ("5m", "out_of_range"),
            ("-1", "invalid_value"),
            ("0m", "invalid_value"),
            ("1.5g", "invalid_value"),
            ("1t", "invalid_value"),
            ("m", "invalid_value"),
            ("99999999999999999999g", "out_of_range"),
            ("9999999g", "out_of_range"),
            ("1.5", "wrong_type"),
            ("[32m]", "wrong_type"),
        ],
    );
    gives("web", "cpu", "cpu", &[("0", json!(0)), ("8", json!(8))]);
    refuses(
        "web",
        "cpu",
        &[
            ("9", "out_of_range"),
            ("-1", "out_of_range"),
            ("'2'", "wrong_type"),
            ("0x2", "wrong_type"),
        ],
    );
    gives(
        "web",
        "num_instances",
        "num_instances",
        &[("1", json!(1)), ("12", json!(12))],
    );
    refuses(
        "web",
        "num_instances",
        &[
            ("0", "out_of_range"),
            ("1e3", "wrong_type"),
            ("three", "wrong_type"),
            ("", "wrong_type"),
        ],
    );
}

#[test]
fn commands_obey_shell_quoting() {
    gives(
        "web",
        "cmd",
        "cmd",
        &[
            (
                r#"nginx -g "daemon off;""#,
                json!(["nginx", "-g", "daemon off;"]),
            ),
            (r"echo 'a b' c\ d", json!(["echo", "a b", "c d"])),
            ("[sh, -c, echo $PATH]", json!(["sh", "-c", "echo $PATH"])),
            ("null", Value::Null),
            ("''", Value::Null),
            ("[]", Value::Null),
        ],
    );
    refuses(
        "web",
        "cmd",
        &[
            (r#"nginx -g "daemon off;"#, "invalid_value"),
            ("[1]", "wrong_type"),
            ("5", "wrong_type"),
            ("{a: b}", "wrong_type"),
        ],
    );
    let errors = app("web:\n  cmd: echo it's").expect_err("an open quote");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (4, 15));
    let parsed = app("web: {cmd: cd /x && ./run}").expect("a command with a shell word");
    assert_eq!(parsed.warnings[0].code_name(), "suspicious");
}

#[test]
fn env_labels_and_filters() {
    let env = |name: &str, value: &str| json!([{ "name": name, "value": value }]);
    gives(
        "web",
        "env",
        "env",
        &[
            ("[A=1]", env("A", "1")),
            ("[A=]", env("A", "")),
            ("[A=b=c]", env("A", "b=c")),
            (
                "['discovery.type=single node']",
                env("discovery.type", "single node"),
            ),
            ("[]", json!([])),
            ("", json!([])),
        ],
    );
    refuses(
        "web",
        "env",
        &[
            ("[A]", "invalid_value"),
            ("[=1]", "invalid_value"),
            ("['A B=1']", "invalid_value"),
            ("[A: b]", "wrong_type"),
            ("[A=1, A=2]", "duplicate_value"),
            ("A=1", "wrong_type"),
            ("{A: b}", "wrong_type"),
            ("[1]", "wrong_type"),
        ],
    );
    gives(
        "web",
        "labels",
        "labels",
        &[
            ("[a:b]", json!({ "a": "b" })),
            ("a:b:c", json!({ "a:b": "c" })),
            ("['a:']", json!({ "a": "" })),
        ],
    );
    refuses(
        "web",
        "labels",
        &[
            ("[a]", "invalid_value"),
            ("[':b']", "invalid_value"),
            ("['a:b', 'a:c']", "duplicate_value"),
            ("['cc.bdp.lain.deployd.pg_name:x']", "invalid_value"),
        ],
    );
    let filter = |kind: &str, operator: &str| json!([{ "kind": kind, "key": "k", "operator": operator, "value": "v" }]);
    gives(
        "web",
        "filters",
        "filters",
        &[
            ("['constraint:k==v']", filter("constraint", "equal")),
            ("['constraint:k!=v']", filter("constraint", "not_equal")),
            ("['affinity:k==~v']", filter("affinity", "soft_equal")),
            ("affinity:k!=~v", filter("affinity", "soft_not_equal")),
        ],
    );
    refuses(
        "web",
        "filters",
        &[
            ("['k==v']", "invalid_value"),
            ("['label:k==v']", "invalid_value"),
            ("['constraint:k=v']", "invalid_value"),
            ("['constraint:==v']", "invalid_value"),
            ("['constraint:k==']", "invalid_value"),
        ],
    );
}

#[test]
fn volumes_secrets_and_logs() {
    let volume =
        |path: &str| json!([{ "path": path, "backup_full": null, "backup_increment": null }]);
    for key in ["volumes", "persistent_dirs"] {
        gives(
            "web",
            key,
            "volumes",
            &[
                ("[/data]", volume("/data")),
                ("[/data/]", volume("/data")),
                ("[data]", volume("/lain/app/data")),
                ("[../logs2]", volume("/lain/logs2")),
                ("[/data: {}]", volume("/data")),
            ],
        );
        refuses(
            "web",
            key,
            &[
                ("[/]", "invalid_value"),
                ("[/lain]", "invalid_value"),
                ("[/lain/app/]", "invalid_value"),
                ("[.]", "invalid_value"),
                ("[..]", "invalid_value"),
                ("[/lain/app/../app]", "invalid_value"),
                ("['']", "invalid_value"),
                ("['/a:/b']", "invalid_value"),
                ("[/a, /a/]", "duplicate_value"),
                ("[/a: {backup: {}}]", "unknown_key"),
                (
                    "[/a: {backup_full: {schedule: '* * * *'}}]",
                    "invalid_value",
                ),
                (
                    "[/a: {backup_full: {schedule: '61 * * * *', expire: 1d}}]",
                    "invalid_value",
                ),
                (
                    "[/a: {backup_full: {schedule: '@daily', expire: 1d}}]",
                    "invalid_value",
                ),
                (
                    "[/a: {backup_full: {schedule: '* * * * *'}}]",
                    "missing_key",
                ),
                (
                    "[/a: {backup_full: {schedule: '* * * * *', expire: 10}}]",
                    "wrong_type",
                ),
                (
                    "[/a: {backup_full: {schedule: '* * * * *', expire: 10w}}]",
                    "invalid_value",
                ),
                (
                    "[/a: {backup_full: {schedule: '* * * * *', expire: 0d}}]",
                    "invalid_value",
                ),
                ("[/a: ]", "wrong_type"),
                ("/a", "wrong_type"),
            ],
        );
    }
    let parsed = app(
        "web: {volumes: [/a: {backup_full: {schedule: '0  3 * * *', expire: 12h, pre_run: tools/x -v, post_run: /y}}]}",
    );
    let policy = parsed.expect("a volume with a policy").spec.procs[0].volumes[0]
        .backup_full
        .clone()
        .expect("a policy");
    assert_eq!(policy.schedule, "0 3 * * *");
    assert_eq!(policy.expire.as_secs(), 12 * 3600);
    assert_eq!(policy.pre_run.as_deref(), Some("/lain/app/tools/x -v"));
    assert_eq!(policy.post_run.as_deref(), Some("/y"));
    gives(
        "web",
        "secret_files",
        "secret_files",
        &[
            ("[a.conf]", json!(["/lain/app/a.conf"])),
            ("[../b/./c]", json!(["/lain/b/c"])),
            ("[../../../../etc/x]", json!(["/etc/x"])),
            ("[/etc/a/../x]", json!(["/etc/x"])),
        ],
    );
    refuses(
        "web",
        "secret_files",
        &[
            ("[..]", "invalid_value"),
            ("[a/]", "invalid_value"),
            ("[a, ./a]", "duplicate_value"),
        ],
    );
    gives(
        "web",
        "logs",
        "logs",
        &[("[a.log, sub/b.log]", json!(["a.log", "sub/b.log"]))],
    );
    refuses(
        "web",
        "logs",
        &[
            ("[/lain/logs/a.log]", "invalid_value"),
            ("[../a.log]", "invalid_value"),
            ("['.']", "invalid_value"),
            ("[a, a]", "duplicate_value"),
        ],
    );
    gives(
        "web",
        "cloud_volumes",
        "cloud_volumes",
        &[("{dirs: [/c]}", json!({ "type": "multi", "dirs": ["/c"] }))],
    );
    refuses(
        "web",
        "cloud_volumes",
        &[
            ("{type: many, dirs: [/c]}", "invalid_value"),
            ("{type: single}", "missing_key"),
            ("[/c]", "wrong_type"),
        ],
    );
    all_errors(&[
        (
            "web: {volumes: [/a], persistent_dirs: [/b]}",
            &["conflict web.persistent_dirs"],
        ),
        (
            "web: {volumes: [/a], cloud_volumes: {dirs: [/a]}}",
            &["duplicate_value web.cloud_volumes[0]"],
        ),
    ]);
}

#[test]
fn mountpoints() {
    gives(
        "web",
        "mountpoint",
        "mountpoint",
        &[
            ("[/]", json!(["/"])),
            (
                "[/a/, Example.com, example.org/x]",
                json!(["/a", "example.com", "example.org/x"]),
            ),
            ("[]", json!([])),
        ],
    );
    refuses(
        "web",
        "mountpoint",
        &[
            ("['http://example.com']", "invalid_value"),
            ("['example.com:80']", "invalid_value"),
            ("['exa mple.com']", "invalid_value"),
            ("['-x.com']", "invalid_value"),
            ("['/a b']", "invalid_value"),
            ("['/a;']", "invalid_value"),
            ("['/a/../b']", "invalid_value"),
            ("['']", "invalid_value"),
            ("[/a, /a/]", "duplicate_value"),
            ("/a", "wrong_type"),
        ],
    );
    all_errors(&[
        ("proc.x: {type: web}", &["missing_key proc.x.mountpoint"]),
        ("web.x: {mountpoint: []}", &["missing_key web.x.mountpoint"]),
        (
            "web.x: {mountpoint: [/]}",
            &["missing_key web.x.mountpoint"],
        ),
        (
            "web.x: {mountpoint: ['a b']}",
            &["invalid_value web.x.mountpoint[0]"],
        ),
        (
            "web: {mountpoint: [/x]}\nweb.x: {mountpoint: [/x]}",
            &["duplicate_value web.x.mountpoint[0]"],
        ),
        (
            "worker: {mountpoint: [/x], https_only: true}",
            &[
                "not_for_this_type worker.mountpoint",
                "not_for_this_type worker.https_only",
            ],
        ),
    ]);
}

#[test]
fn times_are_refused_beyond_their_limits() {
    gives(
        "web",
        "setup_time",
        "setup_time",
        &[
            ("0", json!("0s")),
            ("120", json!("120s")),
            ("2m", json!("120s")),
        ],
    );
    refuses(
        "web",
        "setup_time",
        &[
            ("121", "out_of_range"),
            ("-1", "out_of_range"),
            ("soon", "invalid_value"),
            ("1.s", "invalid_value"),
        ],
    );
    gives(
        "web",
        "kill_timeout",
        "kill_timeout",
        &[
            ("10", json!("10s")),
            ("60", json!("60s")),
            ("10.5s", json!("10500ms")),
        ],
    );
    refuses(
        "web",
        "kill_timeout",
        &[
            ("9", "out_of_range"),
            ("61s", "out_of_range"),
            ("'30'", "invalid_value"),
        ],
    );
}

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
            "supervision: one_for_everyone\nweb: {}",
            &["invalid_value supervision"],
        ),
        (
            "supervision: {strategy: one_for_all, shutdown: 1}\nweb: {}",
            &["unknown_key supervision.shutdown"],
        ),
    ]);
}

#[test]
fn the_app_as_a_whole() {
    let file = |text: &str| codes(&parse(text, "f"));
    for (text, expected) in [
        ("appname: a\nweb: {image: x}\nworker: {image: y}", vec![]),
        (
            "appname: a\nweb: {image: x}\nworker: {}",
            vec!["missing_key build"],
        ),
        ("appname: a", vec!["missing_key build"]),
        (
            "appname: a\nbuild: {base: b}\nweb: {}",
            vec!["missing_key build.script"],
        ),
        (
            "appname: a\nbuild: {script: []}\nweb: {}",
            vec!["missing_key build.base"],
        ),
        (
            "appname: a\nbuild: {base: b, script: [], volumes: [cache]}",
            vec!["invalid_value build.volumes[0]"],
        ),
        (
            "appname: a\nbuild: {base: b, script: [], volumes: [/c]}\nrelease: {dest_base: d, copy: [x], script: [y]}",
            vec!["conflict release.script"],
        ),
        (
            "appname: a\nbuild: {base: b, script: [], prepare: {version: 1.2, script: []}}",
            vec!["wrong_type build.prepare.version"],
        ),
        (
            "appname: a\nbuild: {base: b, script: [], prepare: {version: 'a-b', script: []}}",
            vec!["invalid_value build.prepare.version"],
        ),
        (
            "appname: a\nbuild: {base: b, script: [], prepare: {version: 1}}",
            vec!["missing_key build.prepare.script"],
        ),
        (
            "appname: a\nbuild: {base: b, script: [], build_arg: [X]}",
            vec!["invalid_value build.build_arg[0]"],
        ),
        (
            "appname: a\nbuild: {base: b, script: make}",
            vec!["wrong_type build.script"],
        ),
        (
            "appname: a\nbuild: {base: 'b c', script: []}",
            vec!["invalid_value build.base"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nrelease: {dest_base: d}",
            vec!["missing_key release.copy"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nrelease: {dest_base: d, copy: [{src: x}]}",
            vec!["missing_key release.copy[0].dest"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\ntest: {}",
            vec!["missing_key test.script"],
        ),
        (
            "appname: a\napptype: service\nbuild: {base: b, script: []}",
            vec!["invalid_value apptype"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nnotify: {slack: 1}",
            vec!["wrong_type notify.slack"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nuse_services: {s: redis}",
            vec!["wrong_type use_services.s"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nuse_services: {s: [r], t: [r]}",
            vec!["duplicate_value use_services.t[0]"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nuse_services: {s: [r]}\nuse_resources: {t: {services: [r]}}",
            vec!["duplicate_value use_resources.t.services[0]"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nuse_resources: {t: {memory: 1g}}",
            vec!["missing_key use_resources.t.services"],
        ),
        (
            "appname: a\nbuild: {base: b, script: []}\nuse_services: {'s_t': [r]}",
            vec!["invalid_value use_services.s_t"],
        ),
    ] {
        assert_eq!(file(text), expected, "{text}");
    }
    let empty =
        parse("appname: A\nbuild: {base: b, script: []}", "f").expect("an app without procs");
    assert_eq!(empty.warnings.len(), 2, "no procs, and upper case");
    let copy = parse(
        "appname: a\nbuild: {base: b, script: []}\nrelease: {dest_base: d, copy: [x, 1, {src: $X/y, dest: ./z/}]}",
        "f",
    );
    let copy = copy.expect("copies").spec.release.expect("a release").copy;
    let ends: Vec<(&str, &str)> = copy
        .iter()
        .map(|c| (c.src.as_str(), c.dest.as_str()))
        .collect();
    assert_eq!(
        ends,
        [
            ("/lain/app/x", "/lain/app/x"),
            ("/lain/app/1", "/lain/app/1"),
            ("$X/y", "/lain/app/z/")
        ]
    );
}
