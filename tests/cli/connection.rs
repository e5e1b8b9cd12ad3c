//! Finding the server and its token, and what is said where that fails.

use crate::support::{Fake, TOKEN, json, lain, lain_alone, page};

fn fake() -> Fake {
    Fake::start().on("GET", "apps", json(200, page(Vec::<u32>::new())))
}

#[test]
fn no_server_is_exit_8_with_what_to_do() {
    let run = lain_alone(&["ps"])
        .env("LAIN_SERVER", "http://127.0.0.1:9")
        .run();
    assert_eq!(run.code, 8);
    assert!(
        run.stderr
            .contains("http://127.0.0.1:9 does not answer (LAIN_SERVER)"),
        "{}",
        run.stderr
    );
    let run =
        lain_alone(&["ps"]).file("run/lain/endpoint.json", r#"{"url": "http://127.0.0.1:9"}"#);
    let folder = run.folder.path().join("run");
    let run = run
        .without("LAIN_SERVER")
        .env("XDG_RUNTIME_DIR", folder.to_str().unwrap())
        .run();
    assert_eq!(run.code, 8);
    assert!(
        run.stderr.contains("`lain dev` is not running"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_endpoint_file_gives_server_and_token() {
    let fake = fake();
    let lain = lain_alone(&["ps"]).file("token", &format!("{TOKEN}\n"));
    let token = lain.folder.path().join("token");
    let endpoint = serde_json::json!({"url": fake.url, "token_file": token}).to_string();
    let runtime = lain.folder.path().join("run");
    let run = lain
        .file("run/lain/endpoint.json", &endpoint)
        .without("LAIN_SERVER")
        .env("XDG_RUNTIME_DIR", runtime.to_str().unwrap())
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_context_gives_server_and_token() {
    let fake = fake();
    let lain = lain_alone(&["ps", "--context", "lab"]).file("token", TOKEN);
    let token = lain.folder.path().join("token");
    let config = format!(
        "[contexts.lab]\nserver = \"{}\"\ntoken_file = \"{}\"\n",
        fake.url,
        token.display()
    );
    let run = lain.file(".config/lain/config.toml", &config).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run = lain_alone(&["ps", "--context", "lub"])
        .file(".config/lain/config.toml", &config)
        .run();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("known contexts: lab"), "{}", run.stderr);
}

#[test]
fn a_wrong_token_is_exit_4_and_is_never_shown() {
    let fake = fake();
    let run = lain(&fake, &["ps", "-v"])
        .env("LAIN_TOKEN", "another-secret")
        .run();
    assert_eq!(run.code, 4);
    assert!(run.stderr.contains("hint:"), "{}", run.stderr);
    assert!(!run.stderr.contains("another-secret"), "{}", run.stderr);
    let run = lain(&fake, &["ps", "--token-file", "/nonexistent"]).run();
    assert_eq!(run.code, 4);
    assert!(run.stderr.contains("no such file"), "{}", run.stderr);
}

#[test]
fn verbose_shows_each_request_on_stderr() {
    let run = lain(&fake(), &["ps", "-v"]).run();
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert!(
        run.stderr.contains("/api/v1/apps?limit=500: 200 OK"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_login_is_checked_and_becomes_the_current_context() {
    let fake = fake();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lain/config.toml");
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, "# mine\n[log]\nlevel = \"debug\"\n").unwrap();
    let home = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let lain = lain_alone(arguments).without("LAIN_SERVER");
        lain.env("XDG_CONFIG_HOME", home).run()
    };
    let token = token.to_str().unwrap();

    // What does not answer, or refuses the token, is not kept.
    let refused = run(&["login", "http://127.0.0.1:9", "--token-file", token]);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        !std::fs::read_to_string(&config)
            .unwrap()
            .contains("contexts")
    );

    let login = run(&["login", &fake.url, "--token-file", token, "--as", "lab"]);
    assert_eq!(login.code, 0, "{}", login.stderr);
    assert!(login.stderr.contains("lain ps --all"), "{}", login.stderr);
    assert_eq!(run(&["ps"]).code, 0);
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("# mine") && !text.contains(TOKEN), "{text}");

    let set = run(&["context", "set", "away", "--server", "http://127.0.0.1:9"]);
    assert_eq!(set.code, 0, "{}", set.stderr);
    let list = run(&["context", "list"]);
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert!(
        lines[1].contains("away") && lines[2].starts_with("*        lab"),
        "{lines:?}"
    );
    assert_eq!(run(&["context", "use", "away"]).code, 0);
    assert_eq!(run(&["ps"]).code, 8);
    assert_eq!(run(&["ps", "--context", "lab"]).code, 0);
    let unknown = run(&["context", "use", "nowhere"]);
    assert_eq!(unknown.code, 9);
    assert!(
        unknown.stderr.contains("there are: away, lab"),
        "{}",
        unknown.stderr
    );
    assert_eq!(run(&["context", "delete", "away"]).code, 0);
    // Nobody is current now: the default server is asked.
    assert_eq!(run(&["context", "list", "-o", "name"]).stdout, "lab\n");
    let wrong = run(&["login", "ftp://lain.example.com"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}
