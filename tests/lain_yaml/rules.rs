//! Names, ports, sizes, times, commands and the app as a whole.

use super::table::{all_errors, app, codes, gives, refuses};
use lain::domain::spec::parse;
use serde_json::{Value, json};

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
            ("0.0001s", "invalid_value"),
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
