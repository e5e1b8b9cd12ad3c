//! Finds the app that a command is for: `-a`, or the `appname` of `./lain.yaml`.
//!
//! Reads only that one key, so that `lain ps` works in a folder whose `lain.yaml` has a mistake
//! elsewhere. What the whole file says is checked by `validate` and by the server.

use crate::cli::error::{CliError, Exit, Result};
use crate::domain::id::AppName;
use saphyr_parser::{Event, Parser};
use std::path::{Path, PathBuf};

/// The file that is looked for.
pub const DEFAULT_FILE: &str = "lain.yaml";

/// Larger files are refused, as the server refuses them.
const LARGEST: u64 = 1 << 20;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LainFile {
    /// Its path as given, for errors.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl LainFile {
    /// Reads a `lain.yaml`.
    ///
    /// # Errors
    /// Where it is absent, unreadable, not text or too large.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let wrong = |exit, why: String| CliError::new(exit, format!("cannot read {shown}: {why}"));
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong(Exit::Usage, "there is no such file".to_owned())
                .hint("go to the folder of a lain.yaml, or name one with -f FILE"),
            _ => wrong(Exit::Failed, error.to_string()),
        })?;
        if metadata.len() > LARGEST {
            let why = format!("{} bytes are more than 1 MiB", metadata.len());
            return Err(wrong(Exit::Invalid, why));
        }
        let bytes = std::fs::read(path).map_err(|e| wrong(Exit::Failed, e.to_string()))?;
        let text = String::from_utf8(bytes)
            .map_err(|error| wrong(Exit::Invalid, format!("it is not UTF-8: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// The app that it describes.
    ///
    /// # Errors
    /// Where `appname` is absent or not a name.
    pub fn app(&self) -> Result<AppName> {
        let path = self.path.display();
        let wrong = |why: String| {
            CliError::new(Exit::Invalid, format!("{path}: {why}"))
                .hint(format!("lain validate {path}"))
        };
        let name = appname(&self.text).map_err(wrong)?;
        AppName::new(name).map_err(|error| wrong(error.to_string()))
    }
}

/// The app named by `-a`, else the one of `./lain.yaml`.
///
/// # Errors
/// Where there is neither, or it is not a name.
pub fn app(named: Option<&str>) -> Result<AppName> {
    match maybe_app(named)? {
        Some(app) => Ok(app),
        None => Err(CliError::usage("no app named, and no ./lain.yaml here")
            .hint("name the app with -a APP, or go to the folder of its lain.yaml; `lain ps --all` lists the apps")),
    }
}

/// As [`app`], but neither is no error.
///
/// # Errors
/// Where the name, or the file's, is not a name.
pub fn maybe_app(named: Option<&str>) -> Result<Option<AppName>> {
    if let Some(name) = named {
        let app = AppName::new(name).map_err(|error| CliError::usage(error.to_string()))?;
        return Ok(Some(app));
    }
    if !Path::new(DEFAULT_FILE).is_file() {
        return Ok(None);
    }
    LainFile::read(Path::new(DEFAULT_FILE))?.app().map(Some)
}

/// The value of the top-level key `appname`. What follows it is not looked at.
fn appname(text: &str) -> std::result::Result<String, String> {
    let none = || "there is no appname".to_owned();
    let mut depth = 0usize;
    // At the top level keys and values alternate.
    let mut value_is_next = false;
    let mut found = false;
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let node_ends = match event {
            Event::SequenceStart(..) if depth == 0 => return Err(none()),
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                depth += 1;
                false
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth = depth.saturating_sub(1);
                true
            }
            Event::Scalar(value, ..) if depth == 1 => {
                if value_is_next && found {
                    return Ok(value.into_owned());
                }
                found = !value_is_next && value == "appname";
                true
            }
            Event::Alias(..) => true,
            _ => false,
        };
        if node_ends && depth == 1 {
            value_is_next = !value_is_next;
        }
    }
    Err(none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_among_other_keys() {
        for text in [
            "appname: hello\n",
            "build:\n  base: x\n  script: [a, {appname: no}]\nappname: hello\n",
            "{\"appname\": \"hello\"}",
            "---\nweb:\n  appname: no\n? [a, b]\n: c\nappname: 'hello'\n",
            "\u{feff}a: appname\nb: [appname, x]\nappname: hello\nweb: {prot: 80, bad: [}",
        ] {
            assert_eq!(appname(text), Ok("hello".to_owned()), "{text}");
        }
    }

    #[test]
    fn no_name_is_said() {
        for text in [
            "",
            "web: {}\n",
            "[appname, hello]",
            "a: {appname: x}\n",
            "appname: [a]\n",
        ] {
            assert_eq!(
                appname(text),
                Err("there is no appname".to_owned()),
                "{text}"
            );
        }
        assert!(appname("a: [").is_err());
    }

    #[test]
    fn files_are_read_with_care() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lain.yaml");
        assert_eq!(LainFile::read(&path).unwrap_err().exit, Exit::Usage);
        std::fs::write(&path, b"appname: \xff").unwrap();
        assert!(LainFile::read(&path).unwrap_err().message.contains("UTF-8"));
        std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(LainFile::read(&path).unwrap_err().message.contains("1 MiB"));
        std::fs::write(&path, "appname: he_llo\n").unwrap();
        let error = LainFile::read(&path).unwrap().app().unwrap_err();
        assert_eq!(error.exit, Exit::Invalid);
        assert!(error.message.contains("he_llo"));
    }
}
