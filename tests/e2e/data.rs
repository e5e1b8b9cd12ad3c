//! The data directory in trouble: containers run on, and the remedy is said.

use crate::support::*;
use std::io::{Seek, SeekFrom, Write};

fn worker(app: &str, mark: u32) -> String {
    format!(
        "appname: {app}\nworker: {{image: \"lain/hello:1\", cmd: /app/worker, env: [MARK={mark}]}}\n"
    )
}

#[test]
fn a_second_lain_on_the_same_data_is_refused_and_a_damaged_store_too() {
    let host = Host::new();
    let lain = host.start_with(&["--keep"]);
    let app = host.app("steady");
    lain.deploy(&worker(&app, 0)).ended_with(0);
    let before = host.containers();

    let second = host.start_in_vain(&[]);
    assert_ne!(second.code, 0);
    second.said(&[&lain.pid().to_string()]);
    lain.until_app_is(&app, "running");
    lain.stop();

    let store = host.path("data/lain.redb");
    let backup = std::fs::read(&store).unwrap();
    let mut file = std::fs::File::options().write(true).open(&store).unwrap();
    for at in [0, 4096, 8192] {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[0xa5; 512]).unwrap();
    }
    drop(file);
    let damaged = std::fs::read(&store).unwrap();
    let ran = host.start_in_vain(&[]);
    assert_ne!(ran.code, 0);
    ran.said(&["lain.redb", "backup", "mv "]);
    assert_eq!(
        std::fs::read(&store).unwrap(),
        damaged,
        "what is damaged is left as it is"
    );
    assert_eq!(host.containers(), before);

    std::fs::write(&store, backup).unwrap();
    let lain = host.start();
    lain.until_app_is(&app, "running");
    assert_eq!(
        host.containers(),
        before,
        "with the backup in its place all is adopted"
    );
}

#[test]
fn a_full_disk_refuses_changes_and_touches_nothing_that_runs() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: needs root, to mount a small disk");
        return;
    }
    let host = Host::new();
    let lain = host.start_on_a_small_disk("8m");
    let app = host.app("full");
    lain.deploy(&worker(&app, 0)).ended_with(0);
    let before = host.containers();

    let ballast = lain.data("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    // What the store has reserved may hold some more changes; then it says so.
    let refused = (1..=500).find_map(|mark| {
        let answer = lain
            .put(&host.app("more"), &worker(&host.app("more"), mark))
            .unwrap();
        (answer.status >= 400).then_some(answer)
    });
    let answer = refused.expect("a full disk refuses changes");
    assert!([503, 507].contains(&answer.status), "{answer:?}");
    let status = answer.status;
    let detail = answer.refused(status);
    assert!(detail.contains("space"), "{detail}");
    // Reads go on, what runs is left alone, and what dies is restarted all the same.
    assert_eq!(lain.app(&app)["state"], "running");
    let mine = || host.containers_of(&app);
    assert!(mine().iter().all(|(name, c)| before.get(name) == Some(c)));
    let name = before.keys().next().unwrap().clone();
    host.docker.kill(&name);
    until("the container runs again on a full disk", || {
        let now = mine();
        (now[&name].running && now[&name].started_at != before[&name].started_at).then_some(())
    });

    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    lain.deploy(&worker(&app, 1)).ended_with(0);
    lain.until_app_is(&app, "running");
    lain.stop();
}
