//! Wrong usage, help, completion and man pages.

use crate::fixtures::hello;
use crate::support::{Fake, json, lain, lain_alone, page};

#[test]
fn wrong_usage_is_exit_2_with_a_suggestion() {
    for (arguments, says) in [
        (&["depoy"][..], "deploy"),
        (&["ps", "--alll"], "--all"),
        (&["scale", "web"], "required"),
        (&["scale", "web", "--cpu", "9"], "0..=8"),
        (&["logs", "--since", "yesterday", "-a", "x"], "--since"),
        (&["ps", "-a", "he_llo"], "app name"),
        (&["restart", "a..b"], "proc name"),
        (&["crashes", "show"], "ID"),
        (&["logs", "-f", "--until", "1m"], "cannot be used with"),
        (&["ps", "--server", "ftp://x"], "http://"),
        (&[], "Usage"),
    ] {
        let run = lain_alone(arguments).run();
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}

#[test]
fn no_app_is_said_with_what_to_do() {
    let run = lain_alone(&["logs"]).run();
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("name the app with -a APP"),
        "{}",
        run.stderr
    );
    let run = lain_alone(&["logs"]).file("lain.yaml", "web: {}\n").run();
    assert_eq!(run.code, 9);
    assert!(run.stderr.contains("there is no appname"), "{}", run.stderr);
    let run = lain_alone(&["deploy"]).run();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("-f FILE"), "{}", run.stderr);
}

#[test]
fn help_is_short_or_long_with_examples_first() {
    let short = lain_alone(&["deploy", "-h"]).run();
    assert_eq!((short.code, short.stderr.as_str()), (0, ""));
    assert!(
        short.stdout.starts_with("Deploy or update"),
        "{}",
        short.stdout
    );
    assert!(!short.stdout.contains("--token-file"), "{}", short.stdout);
    let long = lain_alone(&["deploy", "--help"]).run();
    assert!(long.stdout.starts_with("Examples:"), "{}", long.stdout);
    assert!(long.stdout.contains("--token-file"), "{}", long.stdout);
    assert_eq!(
        lain_alone(&["--version"]).run().stdout,
        format!("lain {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn old_names_print_the_new_one() {
    let fake = Fake::start().on("GET", "apps", json(200, page([hello()])));
    let run = lain(&fake, &["dashboard"]).run();
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("lain ps --all"), "{}", run.stderr);
}

#[test]
fn scripts_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let run = lain_alone(&["completion", shell]).run();
        assert_eq!(run.code, 0);
        assert!(
            run.stdout.contains("LAIN_COMPLETE"),
            "{shell}: {}",
            run.stdout
        );
    }
    let script = lain_alone(&["completion", "bash"]).run().stdout;
    let check = lain_alone(&[]).file("lain.bash", &script);
    let status = std::process::Command::new("bash")
        .args(["-n", "lain.bash"])
        .current_dir(check.folder.path())
        .status();
    assert!(status.unwrap().success());
}

/// What bash would offer for the last word.
fn offered(fake: &Fake, words: &[&str]) -> Vec<String> {
    let mut arguments = vec!["--", "lain"];
    arguments.extend(words);
    let index = words.len().to_string();
    let run = lain(fake, &arguments)
        .env("LAIN_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", &index)
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .run();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    run.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn completion_offers_commands_and_live_names() {
    let fake = Fake::start()
        .on("GET", "apps", json(200, page([hello()])))
        .on("GET", "apps/hello/procs", json(200, page(hello().procs)));
    assert_eq!(offered(&fake, &["dep"]), ["deploy"]);
    assert_eq!(offered(&fake, &["logs", "-a", "he"]), ["hello"]);
    assert_eq!(offered(&fake, &["logs", "-a", "hello", "w"]), ["web"]);
    assert_eq!(offered(&fake, &["logs", "-p", "w"]), ["web"]);
    // Silent on failure.
    let nothing = Fake::start();
    assert!(offered(&nothing, &["logs", "-a", "he"]).is_empty());
}

#[test]
fn man_pages_for_each_command() {
    let lain = lain_alone(&["man", "--dir", "man"]);
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man");
    drop(lain);
    let run = lain_alone(&["man", "--dir", man.to_str().unwrap()]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let page = std::fs::read_to_string(man.join("lain-deploy.1")).unwrap();
    assert!(page.contains("\\-\\-dry\\-run"), "{page}");
    for name in ["lain.1", "lain-events-watch.1", "lain-tree.1"] {
        assert!(man.join(name).exists(), "{name}");
    }
}
