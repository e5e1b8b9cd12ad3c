//! What an engine's error means: [`RuntimeError`] from status, message and what was asked. Pure.
//!
//! The engine has no error codes beyond HTTP's, so its English messages are read. Each pattern is
//! tested against what Docker Engine 20.10 to 28 say.

use crate::domain::id::ContainerId;
use crate::ports::runtime::RuntimeError;
use bollard::errors::Error;

/// What was asked, of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    action: &'static str,
    target: Target<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    Engine,
    Container(&'a ContainerId),
    New { name: &'a str, image: &'a str },
    Image(&'a str),
}

impl<'a> Subject<'a> {
    /// Something asked of the engine itself.
    pub(super) fn engine(action: &'static str) -> Self {
        Self {
            action,
            target: Target::Engine,
        }
    }

    /// Something done to a container.
    pub(super) fn container(action: &'static str, id: &'a ContainerId) -> Self {
        Self {
            action,
            target: Target::Container(id),
        }
    }

    /// A container to be made.
    pub(super) fn new_container(name: &'a str, image: &'a str) -> Self {
        Self {
            action: "make container",
            target: Target::New { name, image },
        }
    }

    /// An image to be found.
    pub(super) fn image(action: &'static str, image: &'a str) -> Self {
        Self {
            action,
            target: Target::Image(image),
        }
    }

    fn action(&self) -> String {
        match self.target {
            Target::Engine => self.action.to_owned(),
            Target::Container(id) => {
                let short: String = id.as_str().chars().take(12).collect();
                format!("{} container {short}", self.action)
            }
            Target::New { name, .. } => format!("{} {name}", self.action),
            Target::Image(image) => format!("{} image {image}", self.action),
        }
    }
}

/// What `error` means, of an engine at `endpoint`.
pub(super) fn translate(error: Error, subject: &Subject<'_>, endpoint: &str) -> RuntimeError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => from_answer(status_code, &message, subject),
        Error::DockerStreamError { error } => from_answer(500, &error, subject),
        Error::SocketNotFoundError(path) => unreachable(endpoint, format!("{path} does not exist")),
        Error::UnsupportedURISchemeError { uri } => RuntimeError::Refused {
            action: format!("reach Docker Engine at {uri}"),
            reason: "its address must begin with unix://, tcp:// or http://".to_owned(),
        },
        Error::RequestTimeoutError => unreachable(endpoint, "no answer in time".to_owned()),
        Error::HyperLegacyError { err } => unreachable(endpoint, deepest(&err)),
        Error::HyperResponseError { err } => unreachable(endpoint, deepest(&err)),
        Error::IOError { err } => unreachable(endpoint, err.to_string()),
        other => RuntimeError::Failed {
            action: subject.action(),
            reason: other.to_string(),
        },
    }
}

/// What an answer with an error status means.
fn from_answer(status: u16, message: &str, subject: &Subject<'_>) -> RuntimeError {
    let message = message.trim();
    if says_disk_full(message) {
        return RuntimeError::DiskFull(message.to_owned());
    }
    if let Some(port) = taken_port(message) {
        return RuntimeError::PortTaken {
            port,
            reason: message.to_owned(),
        };
    }
    let reason = message.to_owned();
    match (status, subject.target) {
        (404, Target::Container(id)) if message.contains("o such container") => {
            RuntimeError::NoContainer(id.to_string())
        }
        (404, Target::New { image, .. }) if message.contains("o such image") => {
            RuntimeError::NoImage {
                image: image.to_owned(),
                reason,
            }
        }
        (_, Target::Image(image)) => RuntimeError::NoImage {
            image: image.to_owned(),
            reason,
        },
        (409, Target::New { name, .. }) if message.contains("already in use") => {
            RuntimeError::NameTaken(name.to_owned())
        }
        (400..=499 | 501, _) => RuntimeError::Refused {
            action: subject.action(),
            reason,
        },
        _ => RuntimeError::Failed {
            action: subject.action(),
            reason,
        },
    }
}

fn says_disk_full(message: &str) -> bool {
    message.contains("no space left on device") || message.contains("disk quota exceeded")
}

/// The host port of `Bind for 0.0.0.0:80 failed: port is already allocated` (another container) and
/// of `listen tcp4 127.0.0.1:80: bind: address already in use` (another program).
fn taken_port(message: &str) -> Option<u16> {
    let before = [
        " failed: port is already allocated",
        ": bind: address already in use",
    ]
    .into_iter()
    .find_map(|pattern| message.split_once(pattern))?
    .0;
    before.rsplit(':').next()?.parse().ok()
}

/// The engine does not answer: why, and what to do.
fn unreachable(endpoint: &str, reason: String) -> RuntimeError {
    let remedy = if reason.contains("ermission denied") {
        "run lain as root or as a member of the group `docker`"
    } else if endpoint.starts_with("unix://") {
        "start it with `systemctl start docker` or `scripts/docker.sh ensure`, or set DOCKER_HOST"
    } else {
        "check that it runs there and that DOCKER_HOST is right"
    };
    RuntimeError::Unreachable {
        engine: format!("Docker Engine at {endpoint}"),
        reason,
        remedy: remedy.to_owned(),
    }
}

/// The innermost cause: hyper's own words say only that something failed.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, message: &str, subject: Subject<'_>) -> RuntimeError {
        from_answer(status, message, &subject)
    }

    fn id() -> ContainerId {
        ContainerId::new("0123456789abcdef").unwrap()
    }

    #[test]
    fn ports_taken_by_containers_and_by_programs_are_told() {
        let id = id();
        for message in [
            "driver failed programming external connectivity on endpoint x (8e): Bind for 127.0.0.1:18080 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint x (8e): Error starting userland proxy: listen tcp4 127.0.0.1:18080: bind: address already in use",
            "failed to set up container networking: driver failed programming external connectivity on endpoint x (8e): failed to bind host port for 127.0.0.1:18080:172.17.0.2:80/tcp: listen tcp [::1]:18080: bind: address already in use",
        ] {
            let error = answer(500, message, Subject::container("start", &id));
            assert!(
                matches!(error, RuntimeError::PortTaken { port: 18080, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn names_images_and_containers_are_told_apart() {
        let id = id();
        let new = Subject::new_container("hello.web.web.v1-i1-d0", "lain/hello:1");
        let taken = answer(
            409,
            "Conflict. The container name \"/hello.web.web.v1-i1-d0\" is already in use by container \"c1f0\".",
            new,
        );
        assert!(matches!(taken, RuntimeError::NameTaken(name) if name == "hello.web.web.v1-i1-d0"));
        let no_image = answer(404, "No such image: lain/hello:1", new);
        assert!(matches!(no_image, RuntimeError::NoImage { image, .. } if image == "lain/hello:1"));
        let gone = answer(
            404,
            "No such container: 0123",
            Subject::container("inspect", &id),
        );
        assert!(matches!(gone, RuntimeError::NoContainer(_)));
        let denied = answer(
            500,
            "Get \"https://r/v2/\": no such host",
            Subject::image("pull", "r/x:1"),
        );
        assert!(matches!(denied, RuntimeError::NoImage { image, .. } if image == "r/x:1"));
    }

    #[test]
    fn a_full_disk_and_refusals_are_told() {
        let id = id();
        let start = Subject::container("start", &id);
        let full = answer(
            500,
            "mkdir /var/lib/docker/x: no space left on device",
            start,
        );
        assert!(matches!(full, RuntimeError::DiskFull(_)));
        let refused = answer(
            400,
            "OCI runtime create failed: exec: \"nope\": executable file not found in $PATH",
            start,
        );
        assert!(
            refused
                .to_string()
                .starts_with("the engine refused to start container 0123456789ab:")
        );
        let failed = answer(500, "context deadline exceeded", start);
        assert!(matches!(failed, RuntimeError::Failed { .. }));
    }

    #[test]
    fn an_absent_engine_says_what_to_do() {
        let endpoint = "unix:///nowhere.sock";
        let absent = translate(
            Error::SocketNotFoundError("/nowhere.sock".into()),
            &Subject::engine("say who it is"),
            endpoint,
        );
        assert_eq!(
            absent.to_string(),
            "Docker Engine at unix:///nowhere.sock does not answer: /nowhere.sock does not exist; start it with `systemctl start docker` or `scripts/docker.sh ensure`, or set DOCKER_HOST"
        );
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let denied = translate(
            Error::IOError { err: denied },
            &Subject::engine("x"),
            endpoint,
        );
        assert!(denied.to_string().contains("group `docker`"), "{denied}");
    }
}
