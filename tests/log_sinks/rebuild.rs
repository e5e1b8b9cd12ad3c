//! A damaged day of the log index is set aside, said, and built again from the spool.

use super::daemon::Daemons;

#[test]
fn a_damaged_day_is_built_again_from_the_spool() {
    const LINES: u32 = 1500;
    let mut lain = Daemons::new();
    lain.write("lain.toml", "");
    lain.dev();
    lain.deploy(2, LINES);
    let found = |lain: &Daemons| {
        let query = "app: proof and source_type: lain_process";
        let found = lain.try_lain(&[
            "logs", "query", query, "--limit", "all", "-o", "ndjson", "--from", "now-1d",
        ]);
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    let all = 2 * LINES as usize;
    lain.until("dev", "every line is indexed", || found(&lain) == all);
    lain.kill("dev");
    let days = std::fs::read_dir(lain.path("dev/log-index")).unwrap();
    let mut damaged = 0;
    for day in days.map(|entry| entry.unwrap().path()) {
        let meta = day.join("segments/meta.json");
        if meta.exists() {
            std::fs::write(meta, "{ no longer").unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    lain.dev();
    lain.until("dev", "every line is indexed again", || found(&lain) == all);
    let status = lain.json(&["events", "--kind", "log_index_rebuilt"]);
    assert!(status.to_string().contains("log_index_rebuilt"), "{status}");
    let aside = std::fs::read_dir(lain.path("dev/log-index")).unwrap();
    let aside = aside.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("damaged-")
    });
    assert_eq!(aside.count(), damaged);
    // Over a restart it is not asked for again.
    let sent = lain.sink("index")["sent"].as_u64().unwrap();
    assert!(sent > all as u64, "what was sent before was sent again");
    let rebuild = std::fs::read_to_string(lain.path("dev/log-index/rebuild.json"));
    lain.until("dev", "nothing is left to be built again", || {
        rebuild.as_ref().is_ok_and(|text| text == "{}")
            || std::fs::read_to_string(lain.path("dev/log-index/rebuild.json")).unwrap() == "{}"
    });
}
