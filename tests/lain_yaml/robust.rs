//! Whatever comes in: an answer, no panic, and places that exist.

use super::fixtures;
use lain::domain::spec::{SpecErrors, Variables, parse, render_resource};
use proptest::prelude::*;

fn only_code(text: &str) -> String {
    let errors = parse(text, "f").expect_err("a hostile file");
    assert_eq!(errors.errors.len(), 1, "{errors}");
    errors.errors[0].code_name()
}

#[test]
fn limits_hold() {
    assert_eq!(
        only_code(&format!("appname: {}", "a".repeat(1024 * 1024))),
        "too_large"
    );
    assert_eq!(only_code(&"[".repeat(100_000)), "too_complex");
    assert_eq!(only_code(&"- ".repeat(100_000)), "too_complex");
    assert_eq!(only_code(&"{a: ".repeat(100_000)), "too_complex");
    assert_eq!(
        only_code(&format!("[{}]", "1,".repeat(200_000))),
        "too_complex"
    );
}

#[test]
fn aliases_cannot_explode() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert_eq!(only_code(&bomb), "too_complex");
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(500_000),
        "*a, ".repeat(1000)
    );
    assert_eq!(only_code(&long), "too_complex");
    assert_eq!(only_code("a: &a [*a]"), "too_complex");
    let deep: String = (1..60)
        .map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1))
        .collect();
    assert_eq!(only_code(&format!("a0: &a0 x\n{deep}")), "too_complex");
}

#[test]
fn yaml_that_is_not_for_us_is_refused() {
    for (text, code) in [
        ("", "document_count"),
        ("# only a comment", "document_count"),
        ("---\nappname: a\n---\nappname: b\n", "document_count"),
        ("appname: a\n...\nappname: b\n", "document_count"),
        ("just text", "wrong_type"),
        ("[a, b]", "wrong_type"),
        ("appname: !!binary YQ==", "unsupported_yaml"),
        ("appname: !mine a", "unsupported_yaml"),
        ("? [a]\n: b\n", "unsupported_yaml"),
        ("<<: text", "unsupported_yaml"),
        ("appname: *nobody", "syntax"),
        ("appname: 'open", "syntax"),
        ("a: b: c", "syntax"),
        ("appname: a\u{0}b", "syntax"),
        ("appname: a\u{7f}b", "syntax"),
        ("appname: a\rb: c", "syntax"),
        ("web:\n\tcmd: x", "syntax"),
        ("@", "syntax"),
    ] {
        assert_eq!(only_code(text), code, "{text:?}");
    }
}

#[test]
fn no_text_holds_what_ends_a_text_for_the_kernel() {
    for (text, key) in [
        ("cmd: \"a\\0b\"", "cmd"),
        ("cmd: [\"a\\0b\"]", "cmd[0]"),
        ("env: [\"A=\\0\"]", "env[0]"),
        ("volumes: [\"/\\0\"]", "volumes[0]"),
    ] {
        let errors =
            parse(&format!("appname: a\nworker: {{image: b, {text}}}"), "f").expect_err("a NUL");
        assert_eq!(errors.errors[0].key, format!("worker.{key}"));
    }
}

#[test]
fn line_ends_byte_order_marks_and_styles_do_not_matter() {
    let plain = "appname: a\nweb:\n  image: x\n  cmd: run it\n";
    let spec = |text: &str| {
        parse(text, "f")
            .unwrap_or_else(|e| panic!("{text:?}\n{e}"))
            .spec
    };
    let expected = spec(plain);
    for same in [
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        format!("%YAML 1.2\n---\n{plain}...\n"),
        r#"{"appname": "a", "web": {"image": "x", "cmd": "run it"}}"#.to_owned(),
        "appname: !!str a\nweb:\n  image: 'x'\n  cmd: >-\n    run\n    it\n".to_owned(),
        plain.trim_end().to_owned(),
    ] {
        assert_eq!(spec(&same), expected, "{same:?}");
    }
    let errors = parse("\u{feff}appname: a_b\r\nweb: {image: x}\r\n", "f").expect_err("a bad name");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (1, 10));
    assert_eq!(errors.errors[0].source_line, "appname: a_b");
}

#[test]
fn many_errors_are_counted_but_not_all_shown() {
    let keys: String = (0..5000).map(|n| format!("unknown{n}: x\n")).collect();
    let errors =
        parse(&format!("appname: a\nweb: {{image: x}}\n{keys}"), "f").expect_err("unknown keys");
    assert_eq!((errors.errors.len(), errors.omitted), (100, 4900));
    assert!(
        errors
            .to_string()
            .ends_with("f: 5000 problems, the first 100 shown")
    );
}

/// Work that grows with the square of the input would take minutes here.
#[test]
fn large_files_take_little_time() {
    let many = |head: &str, line: &dyn Fn(usize) -> String, count: usize| {
        let lines: String = (0..count).map(line).collect();
        format!("appname: a\n{head}{lines}")
    };
    let resource = "apptype: resource\nbuild: {base: b, script: []}\nworker:\n  env:\n";
    for text in [
        many("", &|n| format!("worker.w{n}: {{image: b}}\n"), 24_000),
        many("", &|n| format!("num_instancef{n}: x\n"), 40_000),
        many(
            "worker:\n  image: b\n  env:\n",
            &|n| format!("    - K{n}=v\n"),
            60_000,
        ),
        many(
            "worker.a: &a {image: b}\n",
            &|n| format!("worker.b{n}: {{<<: *a, cpu: 1}}\n"),
            12_000,
        ),
        many(
            resource,
            &|n| format!("    - K{n}={{{{ x|default(1) }}}}\n"),
            30_000,
        ),
        many(
            resource,
            &|n| {
                format!(
                    "    - K{n}={{% for a in '{0}' %}}{{% for b in '{0}' %}}x{{% endfor %}}{{% endfor %}}\n",
                    "a".repeat(60)
                )
            },
            900,
        ),
    ] {
        let start = std::time::Instant::now();
        survives(&text);
        assert!(
            start.elapsed().as_secs() < 30,
            "{} for {}…",
            start.elapsed().as_secs(),
            &text[..60]
        );
    }
}

#[test]
fn terminals_are_safe_from_the_file() {
    let text = "appname: a\nweb: {image: x, \"\\e[31mkey\": \"\\e[31m\"}\n";
    let errors = parse(text, "f").expect_err("an unknown key");
    assert!(!errors.to_string().contains('\u{1b}'), "{errors}");
}

/// Every place lies within the text, and the caret under its line.
fn check_places(text: &str, errors: &SpecErrors) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    assert!(!errors.errors.is_empty());
    for error in &errors.errors {
        let line = lines
            .get(error.line as usize - 1)
            .expect("a line of the file");
        assert!(error.column as usize <= line.chars().count() + 1, "{error}");
        assert!(
            error.caret as usize <= error.source_line.chars().count(),
            "{error}"
        );
        assert!(!error.to_string().is_empty());
    }
}

fn survives(text: &str) {
    if let Err(errors) = parse(text, "f") {
        check_places(text, &errors);
    }
    if let Err(errors) = render_resource(text, "f", &Variables::new()) {
        check_places(text, &errors);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn yaml_like_text_gets_an_answer(text in "([a-z]{1,3}|web|cmd|port|env|[:,&*!|>'\"%@#?-]|[\\[\\]{}]|[ \n\t]|[0-9]){0,120}") {
        survives(&text);
    }

    /// A file with a piece cut out, doubled or replaced.
    #[test]
    fn damaged_files_get_an_answer(file in 0_usize..64, at in 0_usize..4000, length in 0_usize..40, twice: bool, other in "\\PC{0,6}") {
        let all: Vec<String> = ["real", "good", "bad"].iter().flat_map(|f| fixtures(f).into_values()).collect();
        let chars: Vec<char> = all[file % all.len()].chars().collect();
        let from = at % (chars.len() + 1);
        let to = (from + length).min(chars.len());
        let piece: String = chars[from..to].iter().collect();
        let before: String = chars[..from].iter().collect();
        let after: String = chars[to..].iter().collect();
        survives(&format!("{before}{}{other}{after}", if twice { piece.repeat(2) } else { String::new() }));
    }

    /// What is written in JSON, which is YAML too, comes out as it went in.
    #[test]
    fn what_is_written_is_read(
        name in "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4}){0,2}",
        instances in 1_u32..500,
        cpu in 0_u32..=8,
        memory in 6_u64..4096,
        port in 1_u16..,
        words in proptest::collection::vec("\\PC{1,12}", 1..5),
        env in proptest::collection::btree_map("[A-Z]{1,6}", "\\PC{0,20}", 0..4),
        kill in 10_u64..=60,
    ) {
        prop_assume!(!["service", "resource", "portal"].contains(&name.as_str()));
        let pairs: Vec<String> = env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let file = serde_json::json!({
            "appname": name,
            "worker.main": {
                "image": "busybox:1", "num_instances": instances, "cpu": cpu, "memory": format!("{memory}m"),
                "port": port, "cmd": words, "env": pairs, "kill_timeout": kill,
            },
        });
        let parsed = parse(&file.to_string(), "f").map_err(|e| TestCaseError::fail(e.to_string()))?;
        let proc = parsed.spec.proc("main").expect("the proc");
        prop_assert_eq!(parsed.spec.appname.as_str(), name);
        prop_assert_eq!(proc.num_instances, instances);
        prop_assert_eq!(proc.cpu, cpu);
        prop_assert_eq!(proc.memory, memory << 20);
        prop_assert_eq!(proc.ports[0].port, port);
        prop_assert_eq!(proc.cmd.as_ref(), Some(&words));
        prop_assert_eq!(proc.kill_timeout.as_secs(), kill);
        let read: Vec<(String, String)> = proc.env.iter().map(|v| (v.name.clone(), v.value.clone())).collect();
        let written: Vec<(String, String)> = env.into_iter().collect();
        prop_assert_eq!(read, written);
    }

    /// Quoting a word for the shell and reading it back changes nothing.
    #[test]
    fn quoted_commands_are_read_as_their_words(words in proptest::collection::vec("\\PC{1,12}", 1..5)) {
        let file = serde_json::json!({"appname": "a", "worker": {"image": "b", "cmd": shell_words::join(&words)}});
        let parsed = parse(&file.to_string(), "f").map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(parsed.spec.procs[0].cmd.as_ref(), Some(&words));
    }
}
