//! A wall clock that jumps: nothing that runs is restarted, nothing is given up, and cron goes on.

use crate::sigkill;
use crate::support::*;
use lain::domain::view::{AppState, InstanceState, RunView};
use lain::drivers::simulated::{Behaviour, Run};
use lain::ports::control::Control;
use std::time::Duration;

const YEAR: i64 = 365 * 24 * 3600;
const SHOP: &str = "appname: shop
web:
  image: shop:1
  cmd: serve
  port: 80
  num_instances: 2
  spares: 1
  healthcheck: {command: \"true\", interval: 2s}
cron.tidy:
  image: job:1
  cmd: tidy
  schedule: \"* * * * *\"
";

async fn runs(host: &Host) -> Vec<RunView> {
    host.view("shop").await.procs[1].runs.clone()
}

/// A shop whose cron proc has run, and the engine's count of starts of its web proc.
async fn shop() -> Host {
    let host = Machine::new().boot().await;
    let behaviour = Behaviour {
        runs: vec![Run::ends(Duration::from_secs(1), 0)],
        ..Behaviour::default()
    };
    host.machine.engine.set_behaviour("job:1", behaviour);
    succeeded(&host.deployed(SHOP).await);
    host.until("a run has ended", async || {
        let runs = runs(&host).await;
        runs.iter().any(|r| r.result == "succeeded").then_some(())
    })
    .await;
    host
}

async fn web(host: &Host) -> Vec<(u64, Option<chrono::DateTime<chrono::Utc>>, InstanceState)> {
    let procs = host.view("shop").await.procs;
    let web = procs[0].instances.iter();
    web.map(|i| (i.restarts, i.started_at, i.state)).collect()
}

#[actix_rt::test]
async fn a_wall_clock_that_jumps_restarts_nothing_and_cron_goes_on() {
    tokio::time::pause();
    for by in [YEAR, -YEAR, 90, -90, 3600, -3600] {
        let host = shop().await;
        let before = (web(&host).await, runs(&host).await);
        host.machine.clock.jump(by);
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(web(&host).await, before.0, "{by}");
        assert_eq!(host.view("shop").await.state, AppState::Running, "{by}");
        for kind in [
            "instance_crashed",
            "proc_degraded",
            "actor_crashed",
            "actor_stuck",
        ] {
            assert!(
                host.events(kind).is_empty(),
                "{by}: {:?}",
                host.events(kind)
            );
        }
        // What fell into the jump is skipped once, not made up for run by run; then it is as before.
        let after = runs(&host).await;
        let skipped = after.iter().filter(|r| r.result == "skipped").count();
        match by {
            3600.. => assert_eq!(skipped, 1, "{by}: {after:?}"),
            // Within a minute of its time it runs late.
            0..3600 => assert!(skipped <= 1, "{by}: {after:?}"),
            _ => assert_eq!(skipped, 0, "{by}: {after:?}"),
        }
        let ran = after.iter().filter(|r| r.result == "succeeded").count();
        let known = before.1.iter().filter(|r| r.result == "succeeded").count();
        assert!((3..=5).contains(&(ran - known)), "{by}: {after:?}");
        // A change is carried out within its deadlines, whatever the clock says.
        succeeded(
            &host
                .deployed(&SHOP.replace("cmd: serve", "cmd: serve --new"))
                .await,
        );
        host.die().await;
    }
}

#[actix_rt::test]
async fn a_wall_clock_that_jumps_neither_hurries_nor_holds_up_a_restart() {
    tokio::time::pause();
    for by in [YEAR, -YEAR] {
        let host = shop().await;
        // The second crash in a row is followed by a pause; the clock jumps in it.
        for count in 1..=2u64 {
            let name = "shop.web.web.v1-i1-d0";
            let victim = host.machine.engine.by_name(name).unwrap();
            host.machine.engine.kill(&victim, sigkill()).unwrap();
            if count == 2 {
                host.machine.clock.jump(by);
            }
            host.until("it is back", async || {
                let i = host.instance("shop.web.web.i1").await;
                let up = matches!(i.state, InstanceState::Running | InstanceState::Idle);
                (i.restarts == count && up).then_some(())
            })
            .await;
        }
        assert!(host.events("proc_degraded").is_empty(), "{by}");
        // A lain that starts under the new time finds all as it was.
        let starts = host.machine.engine.counters().starts;
        let host = host.killed().await.boot().await;
        host.runs("shop").await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let crashes = host.handle.recent_events(1000);
        assert!(crashes.iter().all(|e| e.kind != "instance_crashed"), "{by}");
        assert!(host.machine.engine.counters().starts <= starts + 1, "{by}");
        host.die().await;
    }
}
