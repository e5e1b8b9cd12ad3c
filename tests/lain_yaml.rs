//! `lain.yaml` from the outside: real files, own files, and every rule as a row of a table.

#[path = "lain_yaml/robust.rs"]
mod robust;
#[path = "lain_yaml/rules.rs"]
mod rules;
#[path = "lain_yaml/rules_of_lists.rs"]
mod rules_of_lists;
#[path = "lain_yaml/rules_of_procs.rs"]
mod rules_of_procs;
#[path = "lain_yaml/table.rs"]
mod table;

use lain::domain::spec::{Parsed, SpecErrors, parse};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A fixture's path.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/lain-yaml")
        .join(name)
}

/// All files of a folder of fixtures: name → text.
fn fixtures(folder: &str) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(fixture(folder)).expect("the folder of fixtures");
    let files = files.map(|file| file.expect("a readable folder").path());
    let name = |path: &Path| {
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    files
        .map(|path| {
            (
                name(&path),
                std::fs::read_to_string(&path).expect("a readable fixture"),
            )
        })
        .collect()
}

/// What a file became, as text for a snapshot.
fn outcome(result: &Result<Parsed, SpecErrors>) -> String {
    match result {
        Err(errors) => errors.to_string(),
        Ok(parsed) => {
            let warnings: String = parsed
                .warnings
                .iter()
                .map(|warning| format!("{warning}\n\n"))
                .collect();
            format!(
                "{warnings}{}",
                serde_json::to_string_pretty(&parsed.spec).expect("a spec is JSON")
            )
        }
    }
}

/// The procs of a parsed file as the index of the real files writes them, sorted.
fn procs(parsed: &Parsed) -> String {
    let name =
        |p: &lain::domain::spec::model::ProcSpec| format!("{}×{}", p.full_name(), p.num_instances);
    let mut all: Vec<String> = parsed.spec.procs.iter().map(name).collect();
    all.sort();
    all.join("; ")
}

/// LAIN's own parser made these procs of these files; `None` where it refused.
const REAL: [(&str, Option<&str>); 10] = [
    ("entry__lain", Some("web.frontend×1; web.web×1")),
    (
        "mysql-resource__lain",
        Some(
            "portal.portal-mysql-master×1; portal.portal-mysql-slave×1; web.web×1; worker.mysql-server×3",
        ),
    ),
    (
        "redis-service-sm__lain",
        Some("portal.portal-redis×1; worker.redis-ctl×1; worker.redis-sentinel×3; worker.redis×2"),
    ),
    ("demo-ipaddr-client__lain", Some("web.web×1")),
    ("registry__lain", Some("web.web×1")),
    ("hagrid__lain", Some("web.icinga×1; web.web×1")),
    ("tinydns__lain", Some("worker.worker×1")),
    ("lvault__lain", Some("web.lvault×1; web.web×1")),
    (
        "lain-sdk__fixtures__data__for_validate",
        Some("portal.portal-echo×1; portal.portal-x1×1; web.web×1; worker.echo×3; worker.x1-y×1"),
    ),
    ("lain-sdk__lain_sdk__yaml__lua_parser__test__12", None),
];

#[test]
fn real_files_become_the_procs_that_lain_made_of_them() {
    let files = fixtures("real");
    assert_eq!(files.len(), REAL.len());
    for (name, expected) in REAL {
        let result = parse(&files[name], &format!("{name}.yaml"));
        assert_eq!(
            result.as_ref().ok().map(procs).as_deref(),
            expected,
            "{name}"
        );
        insta::assert_snapshot!(format!("real-{name}"), outcome(&result));
    }
}

#[test]
fn good_files_are_accepted_without_errors() {
    for (name, text) in fixtures("good") {
        let result = parse(&text, &format!("{name}.yaml"));
        assert!(result.is_ok(), "{name}: {}", outcome(&result));
        insta::assert_snapshot!(format!("good-{name}"), outcome(&result));
    }
}

#[test]
fn bad_files_are_refused_with_every_problem_in_its_place() {
    for (name, text) in fixtures("bad") {
        let result = parse(&text, &format!("{name}.yaml"));
        assert!(result.is_err(), "{name}: {}", outcome(&result));
        insta::assert_snapshot!(format!("bad-{name}"), outcome(&result));
    }
}

#[test]
fn errors_survive_the_api() {
    let errors = parse(&fixtures("bad")["many"], "lain.yaml").expect_err("a bad file");
    let json = serde_json::to_string(&errors).expect("errors are JSON");
    assert_eq!(
        serde_json::from_str::<SpecErrors>(&json).expect("JSON of errors"),
        errors
    );
    let first = &serde_json::to_value(&errors).expect("errors are JSON")["errors"][0];
    assert_eq!(first["code"], "invalid_value");
    assert_eq!(first["line"], 1);
    assert_eq!(first["key"], "appname");
}

#[test]
fn specs_survive_the_store() {
    for folder in ["real", "good"] {
        for (name, text) in fixtures(folder) {
            let Ok(parsed) = parse(&text, &name) else {
                continue;
            };
            let json = serde_json::to_string(&parsed.spec).expect("a spec is JSON");
            assert_eq!(
                serde_json::from_str::<lain::domain::spec::model::AppSpec>(&json)
                    .expect("JSON of a spec"),
                parsed.spec,
                "{name}"
            );
        }
    }
}
