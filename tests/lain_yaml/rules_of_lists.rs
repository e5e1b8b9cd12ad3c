//! Lists: variables, labels, filters, volumes, files and mountpoints.

use super::table::{all_errors, app, gives, refuses};
use serde_json::json;

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
        &[
            ("[a.log, sub/b.log]", json!(["a.log", "sub/b.log"])),
            ("[a.log: nginx, b.log]", json!(["a.log", "b.log"])),
        ],
    );
    gives(
        "web",
        "logs",
        "log_formats",
        &[(
            "[a.log: nginx, b.log, c.log: metrics]",
            json!({ "a.log": "nginx", "c.log": "metrics" }),
        )],
    );
    refuses(
        "web",
        "logs",
        &[
            ("[/lain/logs/a.log]", "invalid_value"),
            ("[../a.log]", "invalid_value"),
            ("['.']", "invalid_value"),
            ("[a, a]", "duplicate_value"),
            ("[a, a: nginx]", "duplicate_value"),
            ("[a: xml]", "invalid_value"),
            ("[/a: nginx]", "invalid_value"),
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
