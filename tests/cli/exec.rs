//! `enter` and `run` without a terminal: input, output, exit codes, refusals.

use crate::fixtures::{hello, instance, proc};
use crate::support::{Answer, Fake, Program, json, lain, problem};
use lain::domain::view::InstanceState;

const EXEC: &str = "apps/hello/procs/web/instances/2/exec";

fn fake(program: Program) -> Fake {
    let mut app = hello();
    app.procs[0].instances[0] = instance(1, InstanceState::Backoff);
    Fake::start()
        .on("GET", "apps/hello", json(200, app))
        .on("GET", EXEC, Answer::Socket(program.clone()))
        .on("GET", "apps/hello/procs/web/run", Answer::Socket(program))
}

#[test]
fn enter_passes_input_output_and_code() {
    let fake = fake(Program::Shout(7));
    // Instance 1 does not run: the first one that does is entered.
    let run = lain(&fake, &["enter", "-a", "hello", "--", "tr", "a-z", "A-Z"])
        .input("abc\n")
        .run();
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (7, "ABC\n", "err\n")
    );
    let asked = fake.last("GET");
    assert_eq!(asked.path, format!("/api/v1/{EXEC}"));
    assert_eq!(asked.query, "stdin=true&command=tr&command=a-z&command=A-Z");
}

#[test]
fn run_passes_input_output_and_code() {
    let fake = fake(Program::Shout(0));
    let run = lain(&fake, &["run", "-a", "hello", "web", "--", "cat"])
        .input("x")
        .run();
    assert_eq!((run.code, run.stdout.as_str()), (0, "X"));
}

#[test]
fn refusals_and_breaks_have_their_codes() {
    let said = |text: &str| fake(Program::Say(text.to_owned()));
    let text = r#"{"type":"error","problem":{"status":409,"title":"Conflict","detail":"hello.web.web.i2 is not running"}}"#;
    let run = lain(&said(text), &["enter", "-a", "hello"]).run();
    assert_eq!(run.code, 6);
    assert!(run.stderr.contains("is not running"), "{}", run.stderr);
    let run = lain(&fake(Program::Close), &["enter", "-a", "hello"]).run();
    assert_eq!(run.code, 8);
    assert!(
        run.stderr.contains("before the command did"),
        "{}",
        run.stderr
    );
    let refused = Fake::start().on(
        "GET",
        "apps/hello/procs/web/run",
        problem(404, "proc web does not exist"),
    );
    let run = lain(&refused, &["run", "-a", "hello", "-p", "web", "--", "ls"]).run();
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains("proc web does not exist"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_instance_must_be_clear() {
    let mut app = hello();
    app.procs.push(proc(
        "worker.mailer",
        vec![instance(1, InstanceState::Stopped)],
    ));
    let fake = Fake::start().on("GET", "apps/hello", json(200, app));
    for (arguments, code, says) in [
        (&["enter", "-a", "hello"][..], 2, "procs: web, mailer"),
        (&["enter", "-a", "hello", "wob"], 3, "procs: web, mailer"),
        (
            &["enter", "-a", "hello", "web", "-i", "9"],
            3,
            "instances: 1, 2",
        ),
        (
            &["enter", "-a", "hello", "mailer"],
            6,
            "lain run -a hello mailer",
        ),
    ] {
        let run = lain(&fake, arguments).run();
        assert_eq!(run.code, code, "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
}
