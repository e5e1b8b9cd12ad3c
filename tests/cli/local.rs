//! Commands that need no server: validate, schema, config show.

use crate::support::lain_alone;

const GOOD: &str = "appname: hello\nweb:\n  image: hello:1\nworker.mailer:\n  image: hello:1\n";
const BAD: &str = "appname: hello\nweb:\n  image: hello:1\n  prot: 80\n  memory: 1x\n";

#[test]
fn validate_accepts_or_shows_everything_that_is_wrong() {
    let run = lain_alone(&["validate"]).file("lain.yaml", GOOD).run();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(
        run.stdout,
        "✔ lain.yaml: app hello with web.web, worker.mailer\n"
    );
    let run = lain_alone(&["validate", "shop.yaml"])
        .file("shop.yaml", BAD)
        .run();
    assert_eq!((run.code, run.stdout.as_str()), (9, ""));
    insta::assert_snapshot!(run.stderr);
    let run = lain_alone(&["validate", "-o", "json"])
        .file("lain.yaml", BAD)
        .run();
    assert_eq!(run.code, 9);
    let object: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(object["valid"], false);
    assert_eq!(object["errors"][0]["code"], "unknown_key");
    assert_eq!(object["errors"][0]["line"], 4);
    assert_eq!(lain_alone(&["validate"]).run().code, 2);
}

#[test]
fn schema_is_json_schema() {
    let run = lain_alone(&["schema"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let schema: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(schema["properties"]["appname"].is_object(), "{schema}");
}

#[test]
fn config_show_says_where_each_value_came_from() {
    let lain = |arguments: &[&str]| {
        lain_alone(arguments)
            .file(
                ".config/lain/config.toml",
                "current_context = \"x\"\n[log]\nlevel = \"debug\"\n",
            )
            .env("LAIN_SERVER__LISTEN", "127.0.0.1:8123")
    };
    let run = lain(&["config", "show", "--origin"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let line = |key: &str| {
        let line = run
            .stdout
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        line("server.listen "),
        ["server.listen", "127.0.0.1:8123", "LAIN_SERVER__LISTEN"]
    );
    assert!(
        line("log.level ")[2].ends_with("/.config/lain/config.toml:3:1"),
        "{:?}",
        line("log.level ")
    );
    assert_eq!(
        line("cluster.domain ").last().map(String::as_str),
        Some("built-in")
    );
    let json = lain(&["config", "show", "-o", "json"]).run().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["items"][0]["key"], "server.listen");
}

#[test]
fn config_mistakes_have_their_place() {
    let run = lain_alone(&["config", "show"])
        .file(
            ".config/lain/config.toml",
            "[server]\nlisten = \"127.0.0.1:1\"\nlitsen = 1\n",
        )
        .env("LAIN_SERVR", "x")
        .run();
    assert_eq!((run.code, run.stdout.as_str()), (9, ""));
    assert!(run.stderr.contains("config.toml:3:1"), "{}", run.stderr);
    assert!(
        run.stderr.contains("did you mean LAIN_SERVER?"),
        "{}",
        run.stderr
    );
}
