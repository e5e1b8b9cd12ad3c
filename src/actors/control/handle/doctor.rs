//! `lain doctor` on the control host: each check ends in ok, or in one remedy.

use super::Handle;
use crate::actors::agent::facts::free_space;
use crate::actors::shared::EngineState;
use crate::domain::id::ProcType;
use crate::domain::view::Finding;

/// Free space below which the disk is reported, in bytes.
const LOW_DISK: u64 = 1 << 30;
/// Free space below which writes are about to fail.
const NO_DISK: u64 = 100 << 20;

fn finding(check: &str, result: &str, detail: impl Into<String>, remedy: Option<&str>) -> Finding {
    Finding {
        check: check.to_owned(),
        result: result.to_owned(),
        detail: detail.into(),
        remedy: remedy.map(str::to_owned),
    }
}

impl Handle {
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let mut findings = vec![
            self.engine(),
            self.store().await,
            self.disk(),
            self.clock().await,
            self.ports(),
        ];
        findings.extend(self.engine_warnings());
        findings.push(self.apps_at_fault());
        findings
    }

    fn engine(&self) -> Finding {
        match &*self.shared.engine.borrow() {
            EngineState::Up(info) => finding(
                "engine",
                "ok",
                format!("{:?} {} at {}", info.kind, info.version, info.endpoint),
                None,
            ),
            EngineState::Down(reason) => {
                let remedy = "start the Docker Engine: `scripts/docker.sh ensure`, or `systemctl start docker`";
                finding("engine", "fail", reason.clone(), Some(remedy))
            }
            EngineState::Unknown => finding(
                "engine",
                "warn",
                "not asked yet",
                Some("ask again in a moment"),
            ),
        }
    }

    fn engine_warnings(&self) -> Vec<Finding> {
        match &*self.shared.engine.borrow() {
            EngineState::Up(info) => info
                .warnings
                .iter()
                .map(|w| finding("engine", "warn", w.clone(), None))
                .collect(),
            EngineState::Down(_) | EngineState::Unknown => Vec::new(),
        }
    }

    async fn store(&self) -> Finding {
        match self.shared.store.describe().await {
            Ok(info) => {
                let text = format!(
                    "{} at {}, {} bytes, revision {}",
                    info.kind, info.location, info.bytes, info.revision
                );
                finding("store", "ok", text, None)
            }
            Err(error) => finding(
                "store",
                "fail",
                error.to_string(),
                Some("free disk space, or restore a backup"),
            ),
        }
    }

    fn disk(&self) -> Finding {
        let path = &self.shared.settings.data_dir;
        match free_space(path) {
            Ok(free) => {
                let text = format!("{} MiB free at {}", free >> 20, path.display());
                let remedy =
                    "free space, for instance with `docker system prune`, or move --data-dir";
                match free {
                    f if f < NO_DISK => finding("disk", "fail", text, Some(remedy)),
                    f if f < LOW_DISK => finding("disk", "warn", text, Some(remedy)),
                    _ => finding("disk", "ok", text, None),
                }
            }
            Err(error) => finding("disk", "warn", format!("{}: {error}", path.display()), None),
        }
    }

    /// Compares how far both clocks get in a moment: a clock that is being moved shows.
    async fn clock(&self) -> Finding {
        let (wall, steady) = (self.shared.clock.now_utc(), self.shared.clock.monotonic());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let walked = (self.shared.clock.now_utc() - wall).num_milliseconds();
        let stepped = (self.shared.clock.monotonic() - steady).as_millis();
        let difference = (i128::from(walked) - i128::try_from(stepped).unwrap_or(0)).abs();
        if difference > 500 {
            let text = format!("the time of day moved by {walked} ms within {stepped} ms");
            return finding(
                "clock",
                "warn",
                text,
                Some("check NTP: `timedatectl` or `chronyc tracking`"),
            );
        }
        finding(
            "clock",
            "ok",
            format!(
                "{}",
                self.shared.clock.now_utc().format("%Y-%m-%d %H:%M:%S UTC")
            ),
            None,
        )
    }

    fn ports(&self) -> Finding {
        let (low, high) = self.shared.settings.port_range;
        let used = (low..=high)
            .filter(|&p| {
                self.shared
                    .world
                    .is_port_allocated(&self.shared.settings.node, p)
            })
            .count();
        let all = usize::from(high - low) + 1;
        let text =
            format!("{used} of {all} host ports from {low} to {high} are given to instances");
        if used * 10 > all * 9 {
            return finding(
                "ports",
                "warn",
                text,
                Some("widen node.ports in the configuration"),
            );
        }
        finding("ports", "ok", text, None)
    }

    fn apps_at_fault(&self) -> Finding {
        let degraded: Vec<String> = self
            .shared
            .world
            .all_placements()
            .iter()
            .filter(|p| p.gave_up > 0 || (p.has_failed() && p.instance.proc_type != ProcType::Cron))
            .map(|p| p.instance.to_string())
            .collect();
        if degraded.is_empty() {
            return finding(
                "apps",
                "ok",
                format!("{} apps, none degraded", self.shared.world.apps().len()),
                None,
            );
        }
        finding(
            "apps",
            "warn",
            format!("degraded: {}", degraded.join(", ")),
            Some("read why with `lain crashes`"),
        )
    }
}
