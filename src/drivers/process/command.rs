//! What a container runs: the command of its spec with environment, folder and user.
//!
//! Called by [`super::container`] and [`super::exec`]. Never puts a value of the environment into an
//! error.

use super::io_failed;
use crate::ports::runtime::{ContainerSpec, RuntimeError};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where commands are looked for when the spec names no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn refused(spec: &ContainerSpec, action: &str, reason: impl Into<String>) -> RuntimeError {
    RuntimeError::Refused {
        action: format!("{action} container {}", spec.name),
        reason: reason.into(),
    }
}

/// Refuses what cannot be run at all.
pub(super) fn check(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    if words(spec).next().is_none() {
        let reason = "it has no command, and a process has no image to take one from; \
                      set `cmd` or `entrypoint`";
        return Err(refused(spec, "make", reason));
    }
    user(spec).map(|_| ())
}

/// The words of the container's command.
pub(super) fn words(spec: &ContainerSpec) -> impl Iterator<Item = &String> {
    spec.entrypoint
        .iter()
        .flatten()
        .chain(spec.cmd.iter().flatten())
}

/// User and group ids of `uid`, `uid:gid`, `name` or `name:group`.
fn user(spec: &ContainerSpec) -> Result<Option<(u32, Option<u32>)>, RuntimeError> {
    if spec.user.is_empty() {
        return Ok(None);
    }
    let unknown = || refused(spec, "make", format!("there is no user {}", spec.user));
    let (user, group) = match spec.user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec.user.as_str(), None),
    };
    let (uid, primary) = match user.parse() {
        Ok(uid) => (uid, None),
        Err(_) => look_up("/etc/passwd", user).ok_or_else(unknown)?,
    };
    let gid = match group {
        None => primary,
        Some(group) => match group.parse() {
            Ok(gid) => Some(gid),
            Err(_) => Some(look_up("/etc/group", group).ok_or_else(unknown)?.0),
        },
    };
    Ok(Some((uid, gid)))
}

/// The third and fourth field of a line of `passwd(5)` or `group(5)`.
fn look_up(file: &str, name: &str) -> Option<(u32, Option<u32>)> {
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let id = fields.nth(1)?.parse().ok()?;
    Some((id, fields.next().and_then(|gid| gid.parse().ok())))
}

/// The folder in which commands run: the image where it is one, with the spec's below it.
fn folder(spec: &ContainerSpec) -> PathBuf {
    let image = Path::new(&spec.image);
    let root = if image.is_absolute() {
        image
    } else {
        Path::new("/")
    };
    root.join(spec.workdir.trim_start_matches('/'))
}

/// A command with the container's environment, folder and user, in a process group of its own.
pub(super) fn prepare<'a>(
    spec: &ContainerSpec,
    mut words: impl Iterator<Item = &'a String>,
) -> Result<Command, RuntimeError> {
    let program = words
        .next()
        .ok_or_else(|| refused(spec, "run", "the command is empty"))?;
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", PATH);
    if !spec.hostname.is_empty() {
        command.env("HOSTNAME", &spec.hostname);
    }
    command.envs(
        spec.env
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    // Nothing maps ports: the process has to listen on the published one itself.
    if let Some(port) = spec.ports.first() {
        command.env("PORT", port.host_port.to_string());
    }
    command
        .current_dir(folder(spec))
        .stdin(Stdio::null())
        .process_group(0);
    if let Some((uid, gid)) = user(spec)? {
        command.uid(uid);
        if let Some(gid) = gid {
            command.gid(gid);
        }
    }
    Ok(command)
}

/// Makes the folders of the host that the container would have mounted.
pub(super) fn make_mounts(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    for mount in &spec.mounts {
        let made = fs::create_dir_all(&mount.source);
        made.map_err(|e| io_failed(format!("make the folder {}", mount.source), &e))?;
    }
    Ok(())
}

/// Starts the container's command, its output appended to `raw_output`.
pub(super) fn spawn(spec: &ContainerSpec, raw_output: [&Path; 2]) -> Result<Child, RuntimeError> {
    for port in &spec.ports {
        probe_port(SocketAddr::new(port.host_ip, port.host_port))?;
    }
    make_mounts(spec)?;
    let open = |path: &Path| {
        let opened = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path);
        opened.map_err(|e| io_failed(format!("open {}", path.display()), &e))
    };
    let mut command = prepare(spec, words(spec))?;
    command
        .stdout(open(raw_output[0])?)
        .stderr(open(raw_output[1])?);
    command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy();
        cannot_run(spec, &program, &error)
    })
}

/// Why a program could not be run.
pub(super) fn cannot_run(spec: &ContainerSpec, program: &str, error: &io::Error) -> RuntimeError {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory => {
            let folder = folder(spec);
            let reason = format!("cannot run {program} in {}: {error}", folder.display());
            refused(spec, "start", reason)
        }
        _ => io_failed(format!("run {program} for container {}", spec.name), error),
    }
}

fn probe_port(address: SocketAddr) -> Result<(), RuntimeError> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(RuntimeError::PortTaken {
            port: address.port(),
            reason: format!("another program listens on {address}"),
        }),
        // Whatever else is wrong, the process itself says it best.
        _ => Ok(()),
    }
}
