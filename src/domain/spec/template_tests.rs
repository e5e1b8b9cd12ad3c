//! Tests of `template`: what scalars become.

use crate::domain::id::AppName;
use crate::domain::spec::{
    Parsed, SpecErrors, Variables, instantiate_resource, parse, render_resource,
};
use serde_json::{Value, json};

const HEAD: &str = "appname: r\napptype: resource\nbuild: {base: b, script: []}\n";

fn variables(json: Value) -> Variables {
    serde_json::from_value(json).expect("an object")
}

fn render(body: &str, given: Value) -> Result<Parsed, SpecErrors> {
    render_resource(
        &format!("{HEAD}worker:\n  {body}\n"),
        "f",
        &variables(given),
    )
}

fn proc(body: &str, given: Value) -> Value {
    let parsed = render(body, given).unwrap_or_else(|e| panic!("{body}\n{e}"));
    serde_json::to_value(&parsed.spec.procs[0]).expect("a proc is JSON")
}

#[test]
fn results_have_the_type_that_their_key_wants() {
    for (body, given, field, expected) in [
        (
            "num_instances: '{{ n }}'",
            json!({"n": 3}),
            "num_instances",
            json!(3),
        ),
        (
            "num_instances: '{{ n }}'",
            json!({"n": "3"}),
            "num_instances",
            json!(3),
        ),
        (
            "num_instances: '{{ n|default(2) }}'",
            json!({}),
            "num_instances",
            json!(2),
        ),
        (
            "num_instances: '{{ n|int(4) }}'",
            json!({"n": "many"}),
            "num_instances",
            json!(4),
        ),
        (
            "num_instances: '{{ n * 2 + 1 }}'",
            json!({"n": 2}),
            "num_instances",
            json!(5),
        ),
        (
            "num_instances: '{% if big %}9{% else %}1{% endif %}'",
            json!({"big": true}),
            "num_instances",
            json!(9),
        ),
        ("cpu: '{{ c|d(0) }}'", json!({}), "cpu", json!(0)),
        (
            "stateful: '{{ s }}'",
            json!({"s": true}),
            "stateful",
            json!(true),
        ),
        (
            "stateful: '{{ s }}'",
            json!({"s": false}),
            "stateful",
            json!(false),
        ),
        (
            "stateful: '{{ s|default(false) }}'",
            json!({}),
            "stateful",
            json!(false),
        ),
        ("cmd: '{{ c }}'", json!({"c": null}), "cmd", Value::Null),
        (
            "cmd: 'x {{ a }} {{ b|upper }}'",
            json!({"a": 1, "b": "y"}),
            "cmd",
            json!(["x", "1", "Y"]),
        ),
        ("user: '{{ u }}'", json!({"u": "010"}), "user", json!("010")),
        ("user: '{{ u }}'", json!({"u": 10}), "user", json!("10")),
        (
            "memory: '{{ m }}m'",
            json!({"m": 64}),
            "memory",
            json!(64 << 20),
        ),
        (
            "labels: ['a:{{ v }}']",
            json!({"v": "010"}),
            "labels",
            json!({"a": "010"}),
        ),
        (
            "labels: ['a:{{ v|trim|lower }}']",
            json!({"v": " X "}),
            "labels",
            json!({"a": "x"}),
        ),
        ("stateful: false", json!({}), "stateful", json!(false)),
        ("user: '010'", json!({}), "user", json!("010")),
        ("user: '10'", json!({}), "user", json!("10")),
        ("user: '{{ \"}}\" }}'", json!({}), "user", json!("}}")),
    ] {
        assert_eq!(proc(body, given)[field], expected, "{body}");
    }
}

#[test]
fn a_variable_cannot_change_the_structure() {
    let parsed = proc("cmd: run {{ x }}", json!({"x": "a\n  memory: 1g\n#"}));
    assert_eq!(parsed["memory"], json!(32 << 20));
    assert_eq!(parsed["cmd"], json!(["run", "a", "memory:", "1g"]));
}

#[test]
fn variables_without_value_are_told_and_empty() {
    let parsed = render("env: ['PASSWORD={{ password }}']", json!({})).expect("a template");
    assert_eq!(parsed.spec.procs[0].env[0].value, "");
    let [warning] = parsed.warnings.as_slice() else {
        panic!("{:?}", parsed.warnings)
    };
    assert_eq!(
        (warning.code_name().as_str(), warning.line, warning.column),
        ("undefined_variable", 5, 9)
    );
    assert!(
        warning.message.starts_with("password has no value"),
        "{}",
        warning.message
    );
    let errors = render("num_instances: '{{ n }}'", json!({})).expect_err("an empty number");
    assert_eq!(errors.errors[0].code_name(), "wrong_type");
}

#[test]
fn broken_templates_are_refused_once_and_in_their_place() {
    for (body, code) in [
        ("cmd: '{{ x'", "template"),
        ("cmd: '{{ }}'", "template"),
        ("cmd: '{{ x|frobnicate }}'", "template"),
        ("cmd: '{% for %}'", "template"),
        ("cmd: '{{ x is defined }}'", "template"),
        ("cmd: '{{ range(9) }}'", "template"),
        ("cmd: '{{ [1] }}'", "template"),
        ("cmd: '{{ {} }}'", "template"),
        ("cmd: '{{ 1 / 0 }}'", "template"),
        ("num_instances: '{{ \"a\" * 90000000 }}'", "too_complex"),
        (
            "cmd: '{% for a in \"0123456789\" %}{% for b in \"0123456789\" %}{% for c in \"0123456789\" %}{% for d in \"0123456789\" %}{% for e in \"0123456789\" %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}'",
            "too_complex",
        ),
    ] {
        let errors = render(body, json!({"x": 1})).expect_err(body);
        let found = &errors.errors[0];
        assert_eq!(
            (found.code_name().as_str(), found.line),
            (code, 5),
            "{body}\n{errors}"
        );
    }
}

#[test]
fn nesting_cannot_exhaust_the_stack() {
    let deep = format!("cmd: '{{{{ {}1{} }}}}'", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(
        render(&deep, json!({})).expect_err("deep").errors[0].code_name(),
        "template"
    );
}

#[test]
fn only_resources_are_templates() {
    let text = "appname: a\nweb: {image: b, env: ['A={{ a }}']}\n";
    let parsed = parse(text, "f").expect("an app");
    assert_eq!(parsed.spec.procs[0].env[0].value, "{{ a }}");
    let errors = render_resource(text, "f", &Variables::new()).expect_err("no template");
    assert_eq!(errors.errors[0].key, "apptype");
}

#[test]
fn instances_are_apps_of_their_client() {
    let text = format!("{HEAD}worker: {{num_instances: '{{{{ n|default(1) }}}}'}}");
    let client = AppName::new("shop").expect("a name");
    let parsed = instantiate_resource(&text, "f", &client, &variables(json!({"n": 2})))
        .expect("an instance");
    assert_eq!(parsed.spec.appname.as_str(), "resource.r.shop");
    assert_eq!(
        parsed.spec.apptype,
        crate::domain::spec::model::AppType::App
    );
    assert_eq!(parsed.spec.procs[0].num_instances, 2);
    let long = AppName::new(vec!["a".repeat(63); 3].join(".") + "." + &"b".repeat(58))
        .expect("a long name");
    let errors =
        instantiate_resource(&text, "f", &long, &Variables::new()).expect_err("too long a name");
    assert_eq!(errors.errors[0].key, "appname");
}
