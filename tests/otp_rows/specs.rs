//! Rows 16, 17 and 34 to 44: specifications and flags, well formed or not.
//!
//! Rust's types cannot be malformed, so these rows give specifications as data.

use lain::actors::supervise::raw::{self, Functions};
use lain::actors::supervise::*;
use serde_json::{Value, json};

use super::support::*;

fn functions(stage: &Stage) -> Functions {
    let stage = stage.clone();
    Functions::default().register("echo", move |_| stage.worker("echo"))
}

/// A good specification with some fields replaced.
fn spec(fields: Value) -> Value {
    let mut spec = json!({"id": "a", "start": {"function": "echo", "args": []}});
    let (Some(map), Value::Object(fields)) = (spec.as_object_mut(), fields) else {
        panic!("two objects")
    };
    map.extend(fields);
    spec
}

/// Every malformed field, and the error that names it.
fn malformed() -> Vec<(Value, SpecError)> {
    let text = |value: &Value| value.to_string();
    let start = json!({"function": 7});
    let unknown = json!({"function": "nobody"});
    let arguments = json!({"function": "echo", "args": 1});
    vec![
        (json!({"start": {"function": "echo"}}), SpecError::MissingId),
        (json!({"id": "a"}), SpecError::MissingStart),
        (
            json!("child"),
            SpecError::InvalidChildSpec("\"child\"".into()),
        ),
        (
            spec(json!({"start": start.clone()})),
            SpecError::InvalidMfa(text(&start)),
        ),
        (
            spec(json!({"start": unknown.clone()})),
            SpecError::InvalidMfa(text(&unknown)),
        ),
        (
            spec(json!({"start": arguments.clone()})),
            SpecError::InvalidMfa(text(&arguments)),
        ),
        (
            spec(json!({"restart": "prmanent"})),
            SpecError::InvalidRestartType("\"prmanent\"".into()),
        ),
        (
            spec(json!({"shutdown": "brutal"})),
            SpecError::InvalidShutdown("\"brutal\"".into()),
        ),
        (
            spec(json!({"shutdown": -1})),
            SpecError::InvalidShutdown("-1".into()),
        ),
        (
            spec(json!({"type": "wrker"})),
            SpecError::InvalidChildType("\"wrker\"".into()),
        ),
        (
            spec(json!({"modules": "dy"})),
            SpecError::InvalidModules("\"dy\"".into()),
        ),
        (
            spec(json!({"modules": ["ok", 7]})),
            SpecError::InvalidModule("7".into()),
        ),
        (
            spec(json!({"significant": "yes"})),
            SpecError::InvalidSignificant("\"yes\"".into()),
        ),
        (
            spec(json!({"significant": true, "restart": "permanent"})),
            SpecError::BadCombination("significant with restart permanent".into()),
        ),
    ]
}

fn init(flags: Value, children: Value) -> Value {
    json!({"flags": flags, "children": children})
}

/// Starts `s` from data and tells the reason if that fails.
async fn start(init: Value) -> Result<Rig, ExitReason> {
    let stage = Stage::default();
    let s = functions(&stage).supervisor("s", move || init.clone());
    let (rig, started) = Rig::try_start_child(stage, s).await;
    match started {
        Ok(_) => Ok(rig),
        Err(CallError::StartFailed { reason, .. }) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

async fn refused(init: Value) -> String {
    start(init)
        .await
        .err()
        .expect("s does not start")
        .to_string()
}

#[test]
fn row_016_faulty_initial_specs() {
    run(async {
        let cases = [
            (
                json!({"start": {"function": "echo"}}),
                "start_spec: missing_id",
            ),
            (json!({"id": "a"}), "start_spec: missing_start"),
            (json!([1]), "start_spec: invalid_child_spec: [1]"),
        ];
        for (faulty, expected) in cases {
            let reason = refused(init(json!({}), json!([faulty]))).await;
            assert_eq!(reason, format!("bad specification: {expected}"));
        }
    });
}

#[test]
fn row_017_an_unknown_key_is_accepted() {
    run(async {
        let children = json!([spec(json!({"colour": "red"}))]);
        let rig = start(init(json!({}), children)).await.expect("s starts");
        assert_eq!(rig.ids().await, ["a"]);
    });
}

#[test]
fn row_034_start_child_with_each_malformed_field() {
    run(async {
        let rig = Rig::start(flags(Strategy::OneForOne, 1), |stage| {
            vec![stage.worker("b")]
        })
        .await;
        let b = rig.pid("b");
        for (faulty, expected) in malformed() {
            let failure = error(rig.s.start_child_raw(&functions(&rig.stage), &faulty).await);
            assert_eq!(failure, CallError::Spec(expected), "{faulty}");
        }
        assert_eq!(
            (rig.pid("b"), rig.ids().await),
            (b, vec!["b".to_owned()]),
            "s is unharmed"
        );
    });
}

#[test]
fn row_035_check_childspecs_finds_the_same_errors() {
    let functions = functions(&Stage::default());
    let not_a_list = functions.check_childspecs(&json!({"id": 1}), None);
    assert_eq!(not_a_list, Err(SpecError::BadArg("{\"id\":1}".into())));
    let mode = functions.check_childspecs(&json!([]), Some(&json!("sometimes")));
    assert_eq!(mode, Err(SpecError::BadArg("\"sometimes\"".into())));
    for (faulty, expected) in malformed() {
        assert_eq!(
            functions.check_childspecs(&json!([faulty]), None),
            Err(expected)
        );
    }
}

#[test]
fn row_036_every_valid_mix_passes() {
    let functions = functions(&Stage::default());
    let mut checked = 0;
    for restart in ["permanent", "transient", "temporary"] {
        for shutdown in [
            json!(0),
            json!(1000),
            json!("infinity"),
            json!("brutal_kill"),
        ] {
            for child_type in ["worker", "supervisor"] {
                for modules in [json!("dynamic"), json!([]), json!(["one", "two"])] {
                    let fields = json!({"restart": restart, "shutdown": shutdown, "type": child_type, "modules": modules});
                    let list = json!([spec(fields)]);
                    assert!(functions.check_childspecs(&list, None).is_ok(), "{list}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 72);
}

#[test]
fn row_037_two_specs_with_one_id() {
    run(async {
        let twice = json!([spec(json!({})), spec(json!({}))]);
        let functions = functions(&Stage::default());
        assert_eq!(
            functions.check_childspecs(&twice, None),
            Err(SpecError::DuplicateChildName("a".into()))
        );
        let reason = refused(init(json!({}), twice)).await;
        assert_eq!(
            reason,
            "bad specification: start_spec: duplicate_child_name: a"
        );
    });
}

#[test]
fn row_038_a_template_is_exactly_one_spec() {
    run(async {
        for children in [
            json!([]),
            json!([spec(json!({})), spec(json!({"id": "b"}))]),
        ] {
            let reason = refused(init(json!({"strategy": "simple_one_for_one"}), children)).await;
            assert!(
                reason.starts_with("bad specification: bad_start_spec"),
                "{reason}"
            );
        }
    });
}

#[test]
fn row_039_significant_is_a_boolean() {
    run(async {
        let rig = Rig::start(flags(Strategy::OneForOne, 1), |_| vec![]).await;
        for wrong in [json!(1), json!("true"), json!(null)] {
            let faulty = spec(json!({"significant": wrong}));
            let failure = error(rig.s.start_child_raw(&functions(&rig.stage), &faulty).await);
            assert_eq!(
                failure,
                CallError::Spec(SpecError::InvalidSignificant(wrong.to_string()))
            );
        }
    });
}

#[test]
fn row_040_significant_combinations_that_are_refused() {
    let functions = functions(&Stage::default());
    let never = json!("never");
    for fields in [
        json!({"significant": true}),
        json!({"significant": true, "restart": "permanent"}),
        json!({"significant": true, "restart": "transient"}),
        json!({"significant": true, "restart": "temporary"}),
    ] {
        let checked = functions.check_childspecs(&json!([spec(fields.clone())]), Some(&never));
        assert!(
            matches!(checked, Err(SpecError::BadCombination(_))),
            "{fields}"
        );
    }
    for mode in ["any_significant", "all_significant"] {
        for fields in [
            json!({"significant": true}),
            json!({"significant": true, "restart": "permanent"}),
        ] {
            let checked = functions.check_childspecs(&json!([spec(fields)]), Some(&json!(mode)));
            assert!(
                matches!(checked, Err(SpecError::BadCombination(_))),
                "{mode}"
            );
        }
    }
}

#[test]
fn row_041_significant_combinations_that_are_accepted() {
    let functions = functions(&Stage::default());
    for restart in ["transient", "temporary"] {
        let list = json!([spec(json!({"significant": true, "restart": restart}))]);
        for mode in [
            Some(json!("any_significant")),
            Some(json!("all_significant")),
            None,
        ] {
            assert!(
                functions.check_childspecs(&list, mode.as_ref()).is_ok(),
                "{restart} {mode:?}"
            );
        }
    }
    let permanent = json!([spec(json!({"significant": true}))]);
    let checked = functions.check_childspecs(&permanent, None);
    assert!(
        matches!(checked, Err(SpecError::BadCombination(_))),
        "also when the mode is not known"
    );
}

#[test]
fn row_042_an_initial_significant_child_under_never() {
    run(async {
        let children = json!([spec(json!({"significant": true, "restart": "transient"}))]);
        let reason = refused(init(json!({"auto_shutdown": "never"}), children.clone())).await;
        assert_eq!(
            reason,
            "bad specification: start_spec: bad_combination: significant with auto_shutdown never"
        );
        start(init(json!({"auto_shutdown": "any_significant"}), children))
            .await
            .expect("s starts");
    });
}

#[test]
fn row_043_faulty_flags() {
    run(async {
        let cases = [
            (
                json!({"strategy": "one_for_none"}),
                "invalid_strategy: \"one_for_none\"",
            ),
            (
                json!({"intensity": "infinity"}),
                "invalid_intensity: \"infinity\"",
            ),
            (json!({"intensity": -1}), "invalid_intensity: -1"),
            (json!({"period": 0}), "invalid_period: 0"),
            (
                json!({"period": "infinity"}),
                "invalid_period: \"infinity\"",
            ),
            (
                json!({"auto_shutdown": "always"}),
                "invalid_auto_shutdown: \"always\"",
            ),
            (
                json!(["one_for_one", 1, 5]),
                "invalid_type: [\"one_for_one\",1,5]",
            ),
        ];
        for (faulty, expected) in cases {
            assert_eq!(
                raw::flags(&faulty).expect_err("faulty").to_string(),
                expected
            );
            let reason = refused(init(faulty, json!([]))).await;
            assert_eq!(
                reason,
                format!("bad specification: supervisor_data: {expected}")
            );
        }
        let typed = Flags::default().intensity(1, std::time::Duration::from_millis(1500));
        assert!(
            matches!(typed.check(), Err(FlagError::InvalidPeriod(_))),
            "whole seconds only"
        );
    });
}

#[test]
fn row_044_an_unknown_flag_is_accepted() {
    run(async {
        start(init(json!({"colour": "red"}), json!([])))
            .await
            .expect("s starts");
    });
}
