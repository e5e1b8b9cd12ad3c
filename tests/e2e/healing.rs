//! What dies comes back, alone, and the tree says why.

use crate::support::*;
use serde_json::Value;

/// A sample of every kind of proc.
fn sample(app: &str) -> String {
    format!(
        "appname: {app}
web:
  image: lain/hello:1
  num_instances: 3
  healthcheck: {{path: /cgi-bin/health, interval: 1s}}
  restart: {{intensity: 100, max_backoff: 1s}}
worker.mail:
  image: lain/hello:1
  cmd: /app/worker
  restart: {{intensity: 100, max_backoff: 1s}}
oneshot.migrate:
  image: lain/hello:1
  cmd: /app/oneshot
  env: [WORK=3600]
  timeout: 1h
  restart: {{policy: transient, intensity: 100, max_backoff: 1s}}
cron.tidy:
  image: lain/hello:1
  cmd: /app/cron
  env: [WORK=3600]
  schedule: \"* * * * *\"
  restart: {{policy: transient, intensity: 100, max_backoff: 1s}}
"
    )
}

fn restarts(actor: &Value) -> u64 {
    actor["restarts"].as_u64().unwrap()
}

/// Kills one container; it and nothing else is restarted, and the tree says why.
fn kill_one(host: &Host, lain: &Lain, name: &str) {
    let (before, tree) = (host.containers(), lain.actors(""));
    host.docker.kill(name);
    let own = format!("nodes/node/here/containers/container/{name}/");
    let process = format!("{own}process");
    until(&format!("{name} runs again"), || {
        let now = host.containers();
        (now[name].running && now[name].started_at != before[name].started_at).then_some(())
    });
    until(&format!("the tree shows the restart of {name}"), || {
        let actor = lain.actors(&process).remove(&process)?;
        if restarts(&actor) != restarts(&tree[&process]) + 1 {
            return None;
        }
        let cause = actor["history"][0]["reason"].as_str().unwrap();
        assert!(cause.contains("SIGKILL"), "{cause}");
        assert!(actor["last_crash"]["crash"].is_string(), "{actor:#}");
        Some(())
    });
    let (after, now) = (host.containers(), lain.actors(""));
    for (other, was) in before.iter().filter(|(other, _)| *other != name) {
        assert_eq!(
            after.get(other),
            Some(was),
            "{other} was touched by the death of {name}"
        );
    }
    // Health and logs are of the container that was killed, and start anew with it.
    for (path, was) in tree.iter().filter(|(path, _)| !path.starts_with(&own)) {
        let is = now.get(path).unwrap_or_else(|| panic!("{path} is gone"));
        assert_eq!(
            (restarts(is), &is["incarnation"]),
            (restarts(was), &was["incarnation"]),
            "{path}"
        );
    }
}

#[test]
fn twenty_killed_containers_are_each_back_and_nothing_else_is_touched() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("sample");
    // The deploy waits for the end of its oneshot all the while.
    lain.deploy_with(&sample(&app), &["--no-wait"])
        .ended_with(0);
    let ready = |proc: usize| lain.app(&app)["procs"][proc]["ready"].as_u64();
    until("all procs run", || {
        (ready(0) == Some(3) && ready(1) == Some(1) && ready(2) == Some(1)).then_some(())
    });
    let mut random = Random::new();
    let mut killed = std::collections::BTreeSet::new();
    let kill = |name: &str| {
        kill_one(&host, &lain, name);
        if let Some((_, rest)) = name.split_once(".web.web.v1-i") {
            let no = rest.split('-').next().unwrap().parse().unwrap();
            let address = address(&lain.instance(&app, "web", no));
            until("the web instance answers", || {
                lain.fetch(&address, "/cgi-bin/id").filter(|a| a.0 == 200)
            });
        }
    };
    for _ in 0..20 {
        let running: Vec<String> = host
            .containers()
            .into_iter()
            .filter(|c| c.1.running)
            .map(|c| c.0)
            .collect();
        let victim = &running[random.below(running.len() as u64) as usize];
        kill(victim);
        killed.insert(victim.split(".v1-").next().unwrap().to_owned());
    }
    // Chance may have left out a kind of proc, and the cron proc waits for its minute.
    for proc in ["web.web", "worker.mail", "oneshot.migrate", "cron.tidy"] {
        if !killed.contains(&format!("{app}.{proc}")) {
            let name = until(&format!("{proc} runs"), || {
                let prefix = format!("{app}.{proc}.");
                host.containers()
                    .into_iter()
                    .find(|(name, c)| name.starts_with(&prefix) && c.running)
                    .map(|c| c.0)
            });
            kill(&name);
        }
    }
    until("all web instances are ready", || {
        (ready(0) == Some(3)).then_some(())
    });
    assert_eq!(lain.app(&app)["state"], "deploying");
}

#[test]
fn causes_are_told_apart_and_trouble_stays_where_it_is() {
    let host = Host::new();
    let lain = host.start();
    let well = host.app("well");
    let web = |app: &str, more: &str| {
        format!(
            "appname: {app}\nweb:\n  image: lain/hello:1\n  healthcheck: {{path: /cgi-bin/health, interval: 1s, retries: 2}}\n{more}"
        )
    };
    lain.deploy(&web(&well, "")).ended_with(0);
    let before = host.containers_of(&well);

    // A failing health check is a crash.
    let sick = host.app("sick");
    lain.deploy(&web(&sick, "")).ended_with(0);
    let at = address(&lain.instance(&sick, "web", 1));
    lain.fetch(&at, "/cgi-bin/unhealthy?on");
    let crash = until("the unhealthy instance is restarted", || {
        newest_crash(&lain, &sick)
    });
    assert_eq!(crash["cause"]["kind"], "unhealthy", "{crash:#}");
    assert!(crash["cause"].to_string().contains("503"), "{crash:#}");
    // The file that makes it unhealthy lies in the container, which is started in place.
    until("the instance runs again", || {
        lain.fetch(&at, "/cgi-bin/unhealthy?off")
            .filter(|a| a.0 == 200)
    });
    lain.until_app_is(&sick, "running");

    // So is an end for want of memory, and it says so. It never runs long enough: degraded, not given up.
    let greedy = host.app("greedy");
    let yaml = format!(
        "appname: {greedy}\nworker.hog:\n  image: lain/hello:1\n  cmd: /app/oom\n  memory: 16m\n  restart: {{intensity: 1, max_backoff: 1s}}\n"
    );
    lain.deploy(&yaml).ended_with(1).said(&["memory"]);
    let crash = newest_crash(&lain, &greedy).unwrap();
    assert_eq!(crash["cause"]["kind"], "out_of_memory", "{crash:#}");
    lain.until_app_is(&greedy, "degraded");

    // A crash loop ends in degraded, is retried slowly, and recovers when its reason is gone.
    let looping = host.app("loop");
    let yaml = |env: &str| {
        web(
            &looping,
            &format!("  env: [{env}]\n  restart: {{intensity: 2, max_backoff: 1s}}\n"),
        )
    };
    lain.deploy(&yaml("A=1")).ended_with(0);
    let at = address(&lain.instance(&looping, "web", 1));
    until("the crash loop is degraded", || {
        lain.fetch(&at, "/cgi-bin/exit?3");
        (lain.app(&looping)["state"] == "degraded").then_some(())
    });
    let crash = newest_crash(&lain, &looping).unwrap();
    assert_eq!(crash["cause"]["exit"]["code"], 3, "{crash:#}");
    until("the degraded app is tried again", || {
        lain.fetch(&at, "/cgi-bin/health").filter(|a| a.0 == 200)
    });
    until("it counts as recovered", || {
        (lain.app(&looping)["state"] == "running").then_some(())
    });

    assert_eq!(
        host.containers_of(&well),
        before,
        "an app that ran well was touched"
    );
}

/// The newest crash report of an app.
fn newest_crash(lain: &Lain, app: &str) -> Option<Value> {
    lain.get(&format!("apps/{app}/crashes"))["items"]
        .get(0)
        .cloned()
}

#[test]
fn a_spare_answers_when_the_active_instance_dies() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("spared");
    let yaml = format!(
        "appname: {app}\nweb:\n  image: lain/hello:1\n  spares: 1\n  env: [START_DELAY=3]\n  healthcheck: {{path: /cgi-bin/health, interval: 1s}}\n"
    );
    lain.deploy(&yaml).ended_with(0);
    let of_role = |role: &str| {
        let app = lain.app(&app);
        let all = app["procs"][0]["instances"].as_array().unwrap().clone();
        all.into_iter().find(|i| i["role"] == role)
    };
    let spare = until("the spare stands by", || {
        of_role("spare").filter(|s| s["state"] == "idle")
    });
    let active = of_role("active").unwrap();
    host.docker.kill(active["container"].as_str().unwrap());
    // The one that died takes three seconds before it listens: only the spare can answer before.
    let started = std::time::Instant::now();
    until("the spare answers", || {
        lain.fetch(&address(&spare), "/cgi-bin/id")
            .filter(|a| a.0 == 200)
    });
    eprintln!("killed to answered by the spare: {:?}", started.elapsed());
    assert_eq!(of_role("active").unwrap()["no"], spare["no"]);
    until("the one that died is the spare", || {
        of_role("spare").filter(|s| s["state"] == "idle" && s["no"] == active["no"])
    });
    assert!(lain.events_of(&app).contains(&"spare_promoted".to_owned()));
}

#[test]
fn a_crash_takes_along_whom_the_strategy_says_and_limits_change_in_place() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("chain");
    let yaml = format!(
        "appname: {app}
supervision: rest_for_one
worker.first: {{image: \"lain/hello:1\", cmd: /app/worker}}
worker.second: {{image: \"lain/hello:1\", cmd: /app/worker}}
worker.third: {{image: \"lain/hello:1\", cmd: /app/worker}}
"
    );
    lain.deploy(&yaml).ended_with(0);
    let name = |proc: &str| format!("{app}.worker.{proc}.v1-i1-d0");
    let before = host.containers();
    host.docker.kill(&name("second"));
    until("second and third are restarted", || {
        let now = host.containers();
        let anew = |proc: &str| {
            now[&name(proc)].running
                && now[&name(proc)].started_at != before[&name(proc)].started_at
        };
        (anew("second") && anew("third")).then_some(())
    });
    assert_eq!(host.containers()[&name("first")], before[&name("first")]);
    lain.until_app_is(&app, "running");

    // CPU and memory change without a restart.
    until("the group restart is over", || {
        lain.events_of(&app)
            .contains(&"group_restarted".to_owned())
            .then_some(())
    });
    let before = host.containers();
    lain.cli(&[
        "scale", "first", "-a", &app, "--memory", "64m", "--cpu", "4",
    ])
    .ended_with(0);
    let after = host.containers();
    let (was, is) = (&before[&name("first")], &after[&name("first")]);
    assert_eq!(
        (&is.id, &is.started_at, is.pid),
        (&was.id, &was.started_at, was.pid)
    );
    assert_eq!(is.memory, 64 << 20);
    assert_ne!(is.cpu_quota, was.cpu_quota);
    assert_eq!(after[&name("third")], before[&name("third")]);
}
