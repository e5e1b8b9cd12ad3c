//! lain itself dies, or stops: what runs, runs on; what was begun is finished.

use crate::support::*;
use std::time::Duration;

const WORKS: &str = "healthcheck: {path: /cgi-bin/health, interval: 1s}";

fn web(app: &str, mark: u64) -> String {
    format!(
        "appname: {app}\nweb:\n  image: lain/hello:1\n  num_instances: 3\n  env: [MARK={mark}]\n  {WORKS}\n"
    )
}

/// How often lain is killed; 20 unless `LAIN_E2E_KILLS` says otherwise.
fn kills() -> u64 {
    std::env::var("LAIN_E2E_KILLS").map_or(20, |text| text.parse().unwrap())
}

#[test]
fn a_deploy_survives_sigkill_of_lain_at_any_moment() {
    let host = Host::new();
    let mut random = Random::new();
    let bystander = host.app("bystander");
    let mut lain = host.start();
    lain.deploy(&web(&bystander, 0).replace("num_instances: 3", "num_instances: 1"))
        .ended_with(0);
    let before = host.containers();
    let app = host.app("victim");
    for round in 0..kills() {
        // First deploy and update take turns.
        let first = round % 2 == 0;
        let answer = lain.put(&app, &web(&app, round)).unwrap();
        assert_eq!(answer.status, 202, "{:#}", answer.body);
        let pause = Duration::from_millis(random.below(if first { 1500 } else { 3000 }));
        eprintln!(
            "round {round}: killed {pause:?} into the {}",
            if first { "first deploy" } else { "update" }
        );
        std::thread::sleep(pause);
        lain.kill();
        lain = host.start();
        let operation = answer.body["operation"]["id"].as_str().unwrap().to_owned();
        until("the deploy ends", || {
            let now = lain.get(&format!("operations/{operation}"));
            assert!(
                now["state"] != "failed" && now["state"] != "cancelled",
                "{now:#}"
            );
            (now["state"] == "succeeded").then_some(())
        });
        lain.until_app_is(&app, "running");
        let own = format!("{app}.");
        until_or(
            "what is not wanted any more is gone",
            || (host.containers().len() == 4).then_some(()),
            || format!("{:#?}\n{:#}", host.containers(), lain.app(&app)),
        );
        let now = host.containers();
        assert_eq!(instances(&now).len(), 4, "{now:#?}");
        for (name, container) in &now {
            match name.starts_with(&own) {
                true => assert!(container.running, "{name}: {container:#?}"),
                false => assert_eq!(container, &before[name], "the bystander was touched"),
            }
        }
        let view = lain.app(&app);
        for instance in view["procs"][0]["instances"].as_array().unwrap() {
            until("each instance answers", || {
                lain.fetch(&address(instance), "/cgi-bin/health")
                    .filter(|a| a.0 == 200)
            });
        }
        // What runs is what was asked for.
        let env = view["procs"][0]["spec"]["env"].to_string();
        assert!(env.contains(&round.to_string()), "{env}");
        if !first {
            lain.cli(&["undeploy", "-a", &app, "--yes"]).ended_with(0);
        }
    }
}

#[test]
fn sigterm_takes_containers_down_and_keep_leaves_them_to_be_adopted() {
    let host = Host::new();
    let lain = host.start_with(&["--keep"]);
    let app = host.app("kept");
    lain.deploy(&web(&app, 0)).ended_with(0);
    let before = host.containers();
    assert_eq!(before.len(), 3);
    lain.stop();
    assert_eq!(host.containers(), before, "--keep leaves all as it is");

    let lain = host.start();
    lain.until_app_is(&app, "running");
    assert_eq!(host.containers(), before, "what runs is adopted");
    for no in 1..=3 {
        assert_eq!(lain.instance(&app, "web", no)["restarts"], 0);
    }
    lain.stop();
    assert!(host.containers().is_empty(), "without --keep they go");

    // Desired state stays: the next start brings them back.
    let lain = host.start();
    lain.until_app_is(&app, "running");
    assert_eq!(instances(&host.containers()).len(), 3);
}
