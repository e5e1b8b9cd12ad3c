//! Sinks that are added, changed, removed and paused while lain runs, by itself and over the link.

use super::daemon::{Daemons, complete, numbered};
use super::rsyslog::Rsyslog;
use serde_json::json;
use std::path::Path;

fn file(name: &str, path: &Path, more: &str) -> String {
    format!(
        "[[logging.sink]]\nname = \"{name}\"\ntype = \"file\"\npath = \"{}\"\napps = [\"proof\"]\nsource_types = [\"lain_process\"]\n{more}\n",
        path.display()
    )
}

fn relp(port: u16) -> String {
    format!(
        "[[logging.sink]]\nname = \"relp\"\ntype = \"relp\"\naddress = \"127.0.0.1:{port}\"\nretry_max = \"1s\"\napps = [\"proof\"]\nsource_types = [\"lain_process\"]\n"
    )
}

#[test]
fn sinks_change_while_lain_runs_and_no_line_is_lost() {
    const LINES: u32 = 6000;
    let mut lain = Daemons::new();
    let rsyslog = Rsyslog::with_relp(lain.dir.path());
    let [one, two, three] = ["one", "two", "three"].map(|n| lain.path(&format!("{n}.ndjson")));
    let relp = relp(rsyslog.relp_port());
    let config = |parts: &[&str]| lain_toml(parts);
    lain.write("lain.toml", &config(&[&file("file", &one, ""), &relp]));
    lain.dev();
    lain.deploy_slowly(2, LINES);

    // Added by the command, then changed by SIGHUP: what the first file has not, the second one goes on with.
    lain.write(
        "lain.toml",
        &config(&[&file("file", &one, ""), &relp, &file("late", &three, "")]),
    );
    let changes = lain.json(&["sink", "reload"]);
    assert_eq!(changes["added"], json!(["late"]));
    assert_eq!(changes["removed"], json!([]));
    let kept = changes["kept"].as_array().unwrap();
    assert!(
        kept.contains(&json!("file")) && kept.contains(&json!("relp")),
        "{changes}"
    );
    lain.lain(&["sink", "test", "late"]);
    lain.write(
        "lain.toml",
        &config(&[&file("file", &two, ""), &relp, &file("late", &three, "")]),
    );
    lain.hang_up("dev");
    lain.until("dev", "the other file is written", || two.exists());

    // A configuration with an error changes nothing, and says where the error is.
    lain.write(
        "lain.toml",
        &config(&["[[logging.sink]]\nname = \"file\"\ntype = \"fil\"\n"]),
    );
    let refused = lain.try_lain(&["sink", "reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("lain.toml:"),
        "{said}"
    );
    assert_eq!(lain.sink("late")["kind"], "file");

    // A pause outlives lain; nothing is lost by it.
    lain.lain(&["sink", "pause", "relp"]);
    lain.write(
        "lain.toml",
        &config(&[&file("file", &two, ""), &relp, &file("late", &three, "")]),
    );
    lain.kill("dev");
    lain.dev();
    lain.until("dev", "relp is still paused", || {
        lain.sink("relp")["state"] == "paused"
    });
    let sent = lain.sink("relp")["sent"].clone();
    lain.until("dev", "events wait for relp", || {
        lain.sink("relp")["lag_events"].as_u64() > Some(0)
    });
    assert_eq!(lain.sink("relp")["sent"], sent, "nothing is sent");
    lain.lain(&["sink", "resume", "relp"]);

    // Removed: the others do not notice.
    lain.write("lain.toml", &config(&[&file("file", &two, ""), &relp]));
    let changes = lain.json(&["sink", "reload"]);
    assert_eq!(changes["removed"], json!(["late"]));
    assert!(lain.sink("late").is_null());

    let lines = u64::from(LINES);
    let all = || [numbered(&one), numbered(&two)].concat();
    lain.until("dev", "every line is in the two files", || {
        complete(&all(), 2, lines).is_some()
    });
    lain.until("dev", "every line is at rsyslog", || {
        complete(&numbered(&rsyslog.relp_log()), 2, lines).is_some()
    });
    // One SIGKILL: a batch at most.
    let twice = complete(&all(), 2, lines).unwrap();
    assert!(twice <= 5000, "{twice} twice in the files");
    let audit = lain.lain(&["audit"]);
    assert!(
        audit.contains("reload_sinks") && audit.contains("pause_sink"),
        "{audit}"
    );
}

fn lain_toml(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn a_control_host_gives_its_sinks_to_its_nodes() {
    const LINES: u32 = 20_000;
    let mut lain = Daemons::new();
    let [one, two, own] = ["one", "two", "own"].map(|n| lain.path(&format!("{n}.ndjson")));
    lain.write("lain.toml", &file("all", &one, ""));
    lain.write("agent.toml", &file("own", &own, ""));
    lain.server();
    lain.agent();
    lain.until("agent", "the node has both sinks", || {
        lain.sink("all")["node"] == "n1" && lain.sink("own")["node"] == "n1"
    });
    lain.deploy(2, LINES);
    lain.lain(&["sink", "test", "all"]);
    lain.lain(&["sink", "pause", "own", "--node", "n1"]);
    assert!(
        !lain
            .try_lain(&["sink", "pause", "own", "--node", "n2"])
            .status
            .success()
    );
    // The control host's sink changes, and is known to an agent that starts without it.
    lain.write("lain.toml", &file("all", &two, ""));
    let changes = lain.json(&["sink", "reload"]);
    assert_eq!(changes["nodes"], json!(["n1"]));
    lain.until("agent", "the node writes the other file", || two.exists());
    lain.kill("server");
    lain.kill("agent");
    lain.agent();
    let lines = u64::from(LINES);
    let all = || [numbered(&one), numbered(&two)].concat();
    lain.until("agent", "every line is in the two files", || {
        complete(&all(), 2, lines).is_some()
    });
    lain.server();
    lain.until(
        "server",
        "the node's sinks are seen, one of them paused",
        || lain.sink("own")["state"] == "paused",
    );
    lain.lain(&["sink", "resume", "own"]);
    lain.until("agent", "every line is in the node's own file", || {
        complete(&numbered(&own), 2, lines).is_some()
    });
    // What the node indexes, the control host finds.
    lain.until("server", "every line is in the index", || {
        let query = "app: proof and source_type: lain_process";
        let found = lain.lain(&["logs", "query", query, "--limit", "all", "-o", "ndjson"]);
        found.lines().count() as u64 == 2 * lines
    });
}
