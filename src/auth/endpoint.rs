//! The file that tells the command line on the same machine where lain serves and which token it
//! may use. Written by `lain dev` and `lain server` once they serve, removed when they stop.

use crate::auth::private_file;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const FILE_NAME: &str = "endpoint.json";

/// Where a lain on this machine serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The API's URL, such as `http://127.0.0.1:7419`.
    pub url: String,
    /// The file with a token for it; readable by the same user only.
    pub token_file: Option<PathBuf>,
    /// The file with the certificate of the authority that signed the API's, where it is served by TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_file: Option<PathBuf>,
    /// The process that serves.
    pub pid: u32,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// When it began to serve.
    pub started: DateTime<Utc>,
}

/// An endpoint that is announced; dropping it takes the files away that are still its own.
#[derive(Debug)]
pub struct Announced {
    endpoint: Endpoint,
    files: Vec<PathBuf>,
}

impl Endpoint {
    /// Writes the endpoint (0600) into its data directory and into each of `runtime_dirs`.
    ///
    /// # Errors
    /// When the file in the data directory cannot be written. A runtime directory that cannot be
    /// written is logged and left out: the command line then needs `--server`.
    pub fn announce(self, runtime_dirs: &[PathBuf]) -> io::Result<Announced> {
        let json = serde_json::to_vec_pretty(&self)?;
        let own = self.data_dir.join(FILE_NAME);
        private_file::write(&own, &json)?;
        let mut files = vec![own];
        for dir in runtime_dirs {
            let file = dir.join(FILE_NAME);
            match private_file::write(&file, &json) {
                Ok(()) => files.push(file),
                Err(e) => {
                    tracing::warn!(file = %file.display(), error = %e, "endpoint not announced here");
                }
            }
        }
        let endpoint = self;
        Ok(Announced { endpoint, files })
    }

    /// Reads an endpoint file.
    ///
    /// # Errors
    /// When it is absent, unreadable or not one.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        serde_json::from_slice(&bytes).map_err(io::Error::from)
    }
}

impl Announced {
    /// The files that were written.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        for file in &self.files {
            // Another lain may have announced itself in the same runtime directory since.
            if Endpoint::read(file).is_ok_and(|found| found == self.endpoint) {
                let _ = std::fs::remove_file(file);
            }
        }
    }
}

/// Where the command line looks: `$XDG_RUNTIME_DIR/lain`, and `/run/lain` for root.
pub fn runtime_dirs(xdg_runtime_dir: Option<OsString>, root: bool) -> Vec<PathBuf> {
    let user = xdg_runtime_dir.filter(|dir| !dir.is_empty());
    let user = user.map(|dir| Path::new(&dir).join("lain"));
    let system = root.then(|| PathBuf::from("/run/lain"));
    user.into_iter().chain(system).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn endpoint(dir: &Path, pid: u32) -> Endpoint {
        Endpoint {
            url: "http://127.0.0.1:7419".to_owned(),
            token_file: Some(dir.join("admin.token")),
            authority_file: None,
            pid,
            data_dir: dir.to_owned(),
            started: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run/lain");
        let data = dir.path().join("data");
        let announced = endpoint(&data, 1)
            .announce(std::slice::from_ref(&run))
            .unwrap();
        assert_eq!(announced.files().len(), 2);
        for file in announced.files() {
            assert_eq!(Endpoint::read(file).unwrap(), endpoint(&data, 1));
            let mode = std::fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(announced);
        assert!(!run.join(FILE_NAME).exists() && !data.join(FILE_NAME).exists());
    }

    #[test]
    fn the_announcement_of_another_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run = vec![dir.path().join("run")];
        let first = endpoint(&dir.path().join("a"), 1).announce(&run).unwrap();
        let second = endpoint(&dir.path().join("b"), 2).announce(&run).unwrap();
        drop(first);
        assert_eq!(Endpoint::read(&run[0].join(FILE_NAME)).unwrap().pid, 2);
        drop(second);
        assert!(!run[0].join(FILE_NAME).exists());
    }

    #[test]
    fn a_runtime_directory_that_cannot_be_written_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let announced = endpoint(dir.path(), 1)
            .announce(&[file.join("lain")])
            .unwrap();
        assert_eq!(announced.files(), [dir.path().join(FILE_NAME)]);
    }

    #[test]
    fn the_places_are_those_of_the_command_line() {
        let user = runtime_dirs(Some("/run/user/7".into()), false);
        assert_eq!(user, [Path::new("/run/user/7/lain")]);
        assert_eq!(
            runtime_dirs(Some("".into()), true),
            [Path::new("/run/lain")]
        );
        assert!(runtime_dirs(None, false).is_empty());
    }
}
