//! Processes held by file descriptor: a pid that cannot be mistaken for a later one.
//!
//! Called by the runtime drivers to notice a death within a millisecond. Never signals by bare pid
//! and never reaps: the parent does that.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process, held by a Linux pidfd (`pidfd_open(2)`): stays about this very process even when its
/// pid is reused.
#[derive(Debug)]
pub struct Process {
    fd: OwnedFd,
    pid: u32,
}

impl Process {
    /// Holds the process that has `pid` now.
    ///
    /// # Errors
    /// `NotFound` when there is no such process; what the kernel says otherwise.
    pub fn open(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        match pidfd_open(raw, PidfdFlags::NONBLOCK) {
            Ok(fd) => Ok(Self { fd, pid }),
            // A thread's id that is no process's: nothing that could be waited for.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => {
                Err(io::ErrorKind::NotFound.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Its pid, as this process sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended; a zombie counts as ended.
    pub fn has_ended(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(
            &self.fd,
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec::default();
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(n) if n > 0)
    }

    /// Resolves when it has ended, about a millisecond after it did.
    ///
    /// # Errors
    /// When the descriptor cannot be watched, such as for want of memory.
    pub async fn ended(self) -> io::Result<()> {
        watched(self.fd, Interest::READABLE)?
            .readable()
            .await
            .map(|_| ())
    }

    /// Sends a signal to this very process. One that has ended is no error.
    ///
    /// # Errors
    /// What the kernel says, such as `PermissionDenied`.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Watches a descriptor, on the tokio runtime that calls this.
///
/// # Errors
/// When the descriptor cannot be watched, such as for want of memory.
#[expect(
    deprecated,
    reason = "tokio fears descriptors that close behind its back; an `OwnedFd` cannot, and the new form is `unsafe`"
)]
pub(super) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// Whether a process with `pid` runs now; a zombie does not.
pub fn runs(pid: u32) -> bool {
    Process::open(pid).is_ok_and(|process| !process.has_ended())
}

/// When a process was started, in clock ticks since boot: with its pid, this names it for ever.
/// `None` when there is no such process.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_start_time(&stat)
}

/// Field 22 of `proc_pid_stat(5)`. The command in field 2 may hold spaces and parentheses.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    after_command.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether `pid` is the first process of the container with this id: its control group names the
/// container, and it is process 1 of its own pid namespace.
pub fn is_first_of_container(pid: u32, container: &str) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let (Ok(cgroup), Ok(status)) = (read("cgroup"), read("status")) else {
        return false;
    };
    cgroup.contains(container) && is_namespace_first(&status)
}

/// `NSpid` of `proc_pid_status(5)` lists the pid in each nested namespace, the innermost last.
fn is_namespace_first(status: &str) -> bool {
    let line = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    line.and_then(|l| l.split_ascii_whitespace().last()) == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn start_time_survives_a_hostile_command_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(parse_start_time(stat), Some(4242));
        assert_eq!(parse_start_time("nonsense"), None);
        assert!(start_time(std::process::id()).is_some());
    }

    #[test]
    fn only_the_innermost_pid_counts() {
        assert!(is_namespace_first("Name:\tx\nNSpid:\t4711\t1\n"));
        assert!(!is_namespace_first("NSpid:\t4711\t12\n"));
        assert!(!is_namespace_first("NSpid:\t1000001\n"));
    }

    #[tokio::test]
    async fn a_death_is_noticed_at_once_and_a_zombie_is_dead() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process::open(child.id()).unwrap();
        assert!(!process.has_ended() && runs(child.id()));
        let killed = Instant::now();
        child.kill().unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), process.ended()).await;
        ended.unwrap().unwrap();
        assert!(killed.elapsed() < Duration::from_millis(500));
        assert!(!runs(child.id()), "a zombie does not run");
        child.wait().unwrap();
        assert_eq!(
            Process::open(child.id()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
