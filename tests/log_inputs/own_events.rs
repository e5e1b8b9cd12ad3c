//! A crash stands among the lines around it.

use crate::support::{Lain, until};
use serde_json::Value;

const APP: &str = "appname: shaky
build:
  base: busybox
  script: [make]
worker.w:
  image: any:1
  cmd: [sh, -c, 'echo before; sleep 3; echo \"last words\"; exit 3']
  memory: 64m
";

#[test]
fn a_crash_and_what_supervision_does_stand_among_the_lines() {
    let lain = Lain::start("");
    lain.deploy(APP);
    let query = "app: shaky and proc: w and instance: 1";
    let kind = |event: &Value| event["kind"].as_str().unwrap_or("line").to_owned();
    let events = until("a crash, its report and the restart", || {
        let events = lain.events(query);
        let kinds: Vec<String> = events.iter().map(kind).collect();
        let wanted = [
            "instance_crashed",
            "actor_crashed",
            "crash_report",
            "actor_restarted",
            "instance_restarted",
        ];
        let all = wanted.iter().all(|kind| kinds.iter().any(|k| k == kind));
        (all && kinds.iter().filter(|k| *k == "line").count() >= 4).then_some(events)
    });
    let place = |wanted: &dyn Fn(&Value) -> bool| {
        let place = events.iter().position(wanted);
        place.unwrap_or_else(|| panic!("not in {events:#?}"))
    };
    let last_words = place(&|e| e["message"] == "last words");
    let crash = place(&|e| kind(e) == "instance_crashed");
    let report = place(&|e| kind(e) == "crash_report");
    let restarted = place(&|e| kind(e) == "actor_restarted");
    let again = events
        .iter()
        .rposition(|e| e["message"] == "before")
        .unwrap();
    assert!(last_words < crash && last_words < report, "{events:#?}");
    // What runs again may say so before its actor does.
    assert!(crash < restarted && crash < again, "{events:#?}");
    let report = &events[report];
    assert_eq!(report["source_type"], "lain");
    assert_eq!(report["node"], "here");
    assert_eq!(report["level"], "error");
    let lines = report["fields"]["last_lines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line == "last words"), "{report:#}");
    assert!(
        report["message"].as_str().unwrap().contains("exit"),
        "{report:#}"
    );
    // What the actor of the process went through names the instance, too.
    let crashed = events.iter().find(|e| kind(e) == "actor_crashed").unwrap();
    assert!(
        crashed["path"].as_str().unwrap().ends_with("/process"),
        "{crashed:#}"
    );
    // And the neighbours of the report are the lines around it.
    let page = lain
        .get(
            "logs/search",
            &[("query", "kind: crash_report"), ("from", "now-1h")],
        )
        .json();
    let cursor = page["items"][0]["cursor"].as_str().unwrap();
    let around = lain
        .get(
            "logs/surrounding",
            &[
                ("cursor", cursor),
                ("query", "app: shaky"),
                ("before", "50"),
            ],
        )
        .json();
    let before = around["before"].as_array().unwrap();
    assert!(
        before
            .iter()
            .any(|hit| hit["event"]["message"] == "last words"),
        "{around:#}"
    );
    // Operations are there, by app.
    assert!(!lain.found("app: shaky and kind: operation_*", 1).is_empty());
}
