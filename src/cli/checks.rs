//! Local checks of `lain doctor`: what a server on this machine would need.
//!
//! Only looks; changes nothing. Each check yields one finding, with a remedy where it fails.

use crate::cli::connection::{Here, Surroundings};
use crate::cli::output::time;
use crate::domain::view::Finding;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// `pidfd_open`, by which deaths are noticed at once, came with this kernel.
const PIDFD_KERNEL: (u32, u32) = (5, 3);
/// The least free space before something goes wrong.
const LEAST_FREE: u64 = 1 << 30;
/// How long the engine may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// A check that passed.
pub fn ok(check: &str, detail: String) -> Finding {
    finding(check, "ok", detail, None)
}

/// A check that found something to look at.
pub fn warn(check: &str, detail: String, remedy: &str) -> Finding {
    finding(check, "warn", detail, Some(remedy))
}

/// A check that failed.
pub fn fail(check: &str, detail: String, remedy: &str) -> Finding {
    finding(check, "fail", detail, Some(remedy))
}

fn finding(check: &str, result: &str, detail: String, remedy: Option<&str>) -> Finding {
    Finding {
        check: check.to_owned(),
        result: result.to_owned(),
        detail,
        remedy: remedy.map(str::to_owned),
    }
}

/// The permission bits of a file; `None` if there is no such file.
pub fn mode(path: &str) -> Option<u32> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(metadata.permissions().mode() & 0o777)
}

/// Every check of this machine.
pub async fn machine() -> Vec<Finding> {
    vec![engine().await, kernel(), disk()]
}

/// Whether the Docker Engine answers.
async fn engine() -> Finding {
    let address = Here.variable("DOCKER_HOST");
    let address = address.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let answer = tokio::time::timeout(PATIENCE, ping(&address)).await;
    engine_finding(
        &address,
        answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
    )
}

fn engine_finding(address: &str, answer: std::io::Result<bool>) -> Finding {
    use std::io::ErrorKind;
    let what = |why: &str| format!("the Docker Engine at {address} {why}");
    match answer {
        Ok(true) => ok("engine", what("answers")),
        Ok(false) => fail(
            "engine",
            what("gives no sensible answer"),
            "is it a Docker Engine? look at DOCKER_HOST",
        ),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => fail(
                "engine",
                what("is not there"),
                "install it (Debian: apt install docker.io), or use `lain dev --engine process`",
            ),
            ErrorKind::PermissionDenied => fail(
                "engine",
                what("may not be used by this user"),
                "adduser $USER docker, then log in again",
            ),
            ErrorKind::ConnectionRefused => {
                fail("engine", what("is not running"), "systemctl start docker")
            }
            _ => fail(
                "engine",
                what(&format!("fails: {error}")),
                "systemctl status docker",
            ),
        },
    }
}

async fn ping(address: &str) -> std::io::Result<bool> {
    match address.split_once("://") {
        Some(("unix", path)) => asked(UnixStream::connect(path).await?).await,
        Some(("tcp" | "http", host)) => {
            asked(TcpStream::connect(host.trim_end_matches('/')).await?).await
        }
        _ => Ok(false),
    }
}

async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<bool> {
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        .await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status == *b"HTTP/1.1 200")
}

fn kernel() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    kernel_finding(&release)
}

fn kernel_finding(release: &str) -> Finding {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return ok("kernel", format!("Linux {release}"));
    };
    match (major, minor) >= PIDFD_KERNEL {
        true => ok("kernel", format!("Linux {release}")),
        false => warn(
            "kernel",
            format!("Linux {release} has no pidfd: deaths are noticed through the engine only"),
            "use Linux 5.3 or newer",
        ),
    }
}

/// Free space where lain and the engine keep their data.
fn disk() -> Finding {
    let home = Here.variable("HOME").unwrap_or_else(|| "/".to_owned());
    let places = match Here.is_root() {
        true => vec![
            PathBuf::from("/var/lib/lain"),
            PathBuf::from("/var/lib/docker"),
        ],
        false => vec![
            Path::new(&home).join(".local/share"),
            PathBuf::from("/var/lib/docker"),
        ],
    };
    let free = places
        .iter()
        .filter_map(|place| Some((existing(place)?, free_space(place)?)));
    match free.min_by_key(|(_, free)| *free) {
        Some((place, free)) => disk_finding(&place, free),
        None => warn("disk", "free space cannot be read".to_owned(), "df -h"),
    }
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find(|path| path.exists())
        .map(Path::to_owned)
}

fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(existing(path)?).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn disk_finding(place: &Path, free: u64) -> Finding {
    let detail = format!("{} free at {}", time::bytes(free), place.display());
    match free >= LEAST_FREE {
        true => ok("disk", detail),
        false => fail(
            "disk",
            detail,
            "free some space; `docker system prune` removes what no container uses",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn each_failure_of_the_engine_has_its_remedy() {
        let finding = |kind: ErrorKind| engine_finding("unix:///x", Err(kind.into()));
        for (kind, remedy) in [
            (ErrorKind::NotFound, "apt install"),
            (ErrorKind::PermissionDenied, "adduser"),
            (ErrorKind::ConnectionRefused, "systemctl start"),
            (ErrorKind::TimedOut, "systemctl status"),
        ] {
            let finding = finding(kind);
            assert_eq!(finding.result, "fail");
            assert!(finding.remedy.unwrap().contains(remedy));
        }
        assert_eq!(engine_finding("unix:///x", Ok(true)).result, "ok");
    }

    #[test]
    fn kernels_and_disks() {
        assert_eq!(kernel_finding("6.1.0-18-amd64").result, "ok");
        assert_eq!(kernel_finding("5.3.0").result, "ok");
        assert_eq!(kernel_finding("4.19.0-9").result, "warn");
        assert_eq!(kernel_finding("odd").result, "ok");
        assert_eq!(disk_finding(Path::new("/"), 2 << 30).result, "ok");
        assert_eq!(disk_finding(Path::new("/"), 5 << 20).result, "fail");
    }

    #[tokio::test]
    async fn the_engine_is_pinged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let address = format!("unix://{}", path.display());
        assert_eq!(
            ping(&address).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nOK")
                .await
                .unwrap();
        });
        assert!(ping(&address).await.unwrap());
        server.await.unwrap();
    }
}
