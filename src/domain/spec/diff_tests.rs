//! Tests of `diff`: which changes ask for new containers.

use super::*;
use crate::domain::spec::parse;

fn proc(body: &str) -> ProcSpec {
    let text = format!("appname: a\nworker: {{image: b{body}}}\n");
    let mut parsed = parse(&text, "f").unwrap_or_else(|e| panic!("{body}\n{e}"));
    parsed.spec.procs.remove(0)
}

#[test]
fn each_change_has_its_effect() {
    let base = proc("");
    for (body, field, effect) in [
        (", cmd: x", "cmd", Effect::Recreate),
        (", entrypoint: x", "entrypoint", Effect::Recreate),
        (", env: [A=1]", "env", Effect::Recreate),
        (", user: x", "user", Effect::Recreate),
        (", workdir: /x", "workdir", Effect::Recreate),
        (", port: 1", "ports", Effect::Recreate),
        (", labels: [a:b]", "labels", Effect::Recreate),
        (", dns_search: [a]", "dns_search", Effect::Recreate),
        (", secret_files: [a]", "secret_files", Effect::Recreate),
        (
            ", cloud_volumes: {dirs: [/a]}",
            "cloud_volumes",
            Effect::Recreate,
        ),
        (", cpu: 4", "cpu", Effect::InPlace),
        (", memory: 64m", "memory", Effect::InPlace),
        (", num_instances: 3", "num_instances", Effect::InPlace),
        (", spares: 1", "spares", Effect::InPlace),
        (", healthcheck: {command: x}", "health", Effect::InPlace),
        (", restart: temporary", "restart", Effect::InPlace),
        (", kill_timeout: 20", "kill_timeout", Effect::InPlace),
        (", setup_time: 20", "setup_time", Effect::InPlace),
        (", filters: ['constraint:a==b']", "filters", Effect::InPlace),
        (", update: {parallelism: 2}", "update", Effect::InPlace),
        (", logs: [a]", "logs", Effect::InPlace),
        (", ports: 9500", "stream_ports", Effect::Recreate),
    ] {
        let new = proc(body);
        let found = changes(&base, &new);
        let [diff] = found.as_slice() else {
            panic!("{body}: {found:?}")
        };
        assert_eq!(
            (diff.field.as_str(), diff.effect),
            (field, effect),
            "{body}"
        );
        let recreate = effect == Effect::Recreate;
        assert_eq!(
            !requires_new_container(&base, &new).is_empty(),
            recreate,
            "{body}"
        );
        assert_eq!(in_place(&base, &new).is_empty(), recreate, "{body}");
        assert_eq!(
            content_hash(&base) != content_hash(&new),
            recreate,
            "{body}"
        );
    }
    assert_eq!(
        requires_new_container(&base, &proc(", volumes: [/a]")).len(),
        1
    );
}

#[test]
fn backup_policies_change_in_place_and_paths_do_not() {
    let backup = "/a: {backup_full: {schedule: '* * * * *', expire: 1d}}";
    let (plain, backed_up, other) = (
        proc(", volumes: [/a]"),
        proc(&format!(", volumes: [{backup}]")),
        proc(", volumes: [/b]"),
    );
    assert_eq!(changes(&plain, &backed_up)[0].effect, Effect::InPlace);
    assert_eq!(content_hash(&plain), content_hash(&backed_up));
    assert_eq!(changes(&plain, &other)[0].effect, Effect::Recreate);
    assert_ne!(content_hash(&plain), content_hash(&other));
}

#[test]
fn nothing_changes_between_equals() {
    let proc = proc(", cmd: x, env: [A=1], volumes: [/a]");
    assert!(changes(&proc, &proc.clone()).is_empty());
    assert_eq!(content_hash(&proc), content_hash(&proc.clone()));
}

#[test]
fn the_hash_is_stable() {
    // A changed hash replaces every running container on the next start of lain.
    assert_eq!(
        content_hash(&proc("")),
        "0e44f45359785cca3abe0d24b44d65acb4b2ba6f5ca6d85219adab5db860b4d7"
    );
}

#[test]
fn canonical_json_sorts_its_keys() {
    let mut text = String::new();
    canonical(
        &serde_json::json!({"b": [1, {"d": null, "c": "x\""}], "a": true}),
        &mut text,
    );
    assert_eq!(text, r#"{"a":true,"b":[1,{"c":"x\"","d":null}]}"#);
}

#[test]
fn a_diff_reads_as_a_line() {
    let found = changes(&proc(""), &proc(", cpu: 4"));
    assert_eq!(found[0].to_string(), "cpu: 0 → 4 (in place)");
}
