//! What systemd is told of a daemon's life (`sd_notify(3)`, `Type=notify`).
//!
//! Called by the roles: ready once they serve, stopping on SIGTERM, and the watchdog's sign of life
//! only while the supervision tree is healthy. Without systemd every call does nothing.

use sd_notify::NotifyState;
use std::time::Duration;

/// Talks to the service manager, where there is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notifier;

impl Notifier {
    /// Everything that was to be started serves.
    pub fn ready(self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again (SIGHUP); [`Notifier::ready`] ends it.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(e) => tracing::warn!(error = %e, "systemd cannot be told of the reload"),
        }
    }

    /// The end has begun.
    pub fn stopping(self, status: &str) {
        send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// One line for `systemctl status`.
    pub fn status(self, status: &str) {
        send(&[NotifyState::Status(status)]);
    }

    /// The sign of life; to be given at least every [`Notifier::watchdog_interval`].
    pub fn alive(self) {
        send(&[NotifyState::Watchdog]);
    }

    /// How often systemd is to be given a sign of life: half of `WatchdogSec=`, as
    /// `sd_watchdog_enabled(3)` advises. `None` when it expects none.
    pub fn watchdog_interval(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
    }
}

fn send(states: &[NotifyState<'_>]) {
    // `sd_notify` does nothing when NOTIFY_SOCKET is not set.
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    /// Set in the child, which plays the daemon: the environment of a test process is everyone's.
    const CHILD: &str = "LAIN_TEST_NOTIFY_CHILD";

    #[test]
    fn systemd_hears_each_step_of_a_daemons_life() {
        if std::env::var_os(CHILD).is_some() {
            return live();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let name = "roles::notify::tests::systemd_hears_each_step_of_a_daemons_life";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "10000000")
            .stdout(Stdio::null())
            .status();
        assert!(child.unwrap().success());
        let hear = || {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(hear(), "READY=1\nSTATUS=serving\n");
        assert_eq!(hear(), "STATUS=watchdog every 5s\n");
        assert_eq!(hear(), "WATCHDOG=1\n");
        assert!(hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(hear(), "STOPPING=1\nSTATUS=draining\n");
    }

    fn live() {
        let notifier = Notifier;
        notifier.ready("serving");
        let interval = notifier.watchdog_interval();
        notifier.status(&format!("watchdog every {:?}", interval.unwrap()));
        notifier.alive();
        notifier.reloading();
        notifier.stopping("draining");
    }
}
