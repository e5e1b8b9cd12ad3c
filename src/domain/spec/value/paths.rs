//! Paths in the container and in `/lain/app`.

use super::super::report::shown;
use super::{Read, Wrong};

/// Where an app's files are in its images; what relative paths are relative to.
const APP_DIR: &str = "/lain/app";
/// Where an app's log files are.
const LOG_DIR: &str = "/lain/logs";
/// The longest path that Linux takes.
const MAX_PATH: usize = 4095;

/// `text` relative to `base`, with `.`, `..` and repeated slashes folded.
fn fold(base: &str, text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if text.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn usable(text: &str) -> Read<()> {
    if text.trim().is_empty() {
        return Err(Wrong::form("the path is empty"));
    }
    if text.len() > MAX_PATH {
        return Err(Wrong::range(format!(
            "the path is longer than {MAX_PATH} bytes"
        )));
    }
    if let Some(offset) = text.chars().position(char::is_control) {
        return Err(Wrong::form("the path contains a control character").at(offset));
    }
    Ok(())
}

/// A path that the engine mounts: a colon would end it.
fn mountable(text: &str) -> Read<()> {
    usable(text)?;
    match text.chars().position(|c| c == ':') {
        Some(offset) => {
            Err(Wrong::form(format!("the path {:?} contains a colon", shown(text))).at(offset))
        }
        None => Ok(()),
    }
}

/// A volume: not the root, and not where lain keeps the app itself.
pub(in super::super) fn volume(text: &str) -> Read<String> {
    mountable(text)?;
    let path = fold(APP_DIR, text.trim());
    if matches!(path.as_str(), "/" | "/lain" | APP_DIR) {
        let wrong = Wrong::form(format!(
            "{path} cannot be a volume: it would hide the app's own files"
        ));
        return Err(wrong.suggest(format!("a directory below, such as {APP_DIR}/data")));
    }
    Ok(path)
}

/// A secret file: its absolute path in the container.
pub(in super::super) fn secret_file(text: &str) -> Read<String> {
    mountable(text)?;
    if text.ends_with('/') {
        return Err(Wrong::form(format!(
            "{:?} is a directory, not a file",
            shown(text)
        )));
    }
    let path = fold(APP_DIR, text);
    if matches!(path.as_str(), "/" | "/lain" | APP_DIR) {
        return Err(Wrong::form(format!("{path} is not a file")));
    }
    Ok(path)
}

/// A log file's name under `/lain/logs`.
pub(in super::super) fn log_name(text: &str) -> Read<String> {
    usable(text)?;
    if text.starts_with('/') {
        let wrong = Wrong::form(format!(
            "{:?} is absolute; log files are named relative to {LOG_DIR}",
            shown(text)
        ));
        let name = text.strip_prefix(LOG_DIR).unwrap_or(text).trim_matches('/');
        return Err(if name.is_empty() {
            wrong
        } else {
            wrong.suggest(format!("`{}`", shown(name)))
        });
    }
    let path = fold(LOG_DIR, text);
    match path
        .strip_prefix(LOG_DIR)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        Some(name) if !text.ends_with('/') => Ok(name.to_owned()),
        _ => Err(Wrong::form(format!(
            "{:?} is not a file under {LOG_DIR}",
            shown(text)
        ))),
    }
}

/// A path that must be absolute.
pub(in super::super) fn absolute_or_app(text: &str) -> Read<String> {
    mountable(text)?;
    if !text.starts_with('/') {
        let wrong = Wrong::form(format!("{:?} is not an absolute path", shown(text)));
        return Err(wrong.suggest(format!("`{}`", shown(&fold(APP_DIR, text)))));
    }
    Ok(fold("", text))
}

/// An end of `release.copy`: relative to `/lain/app`, a leading `$` is left to the shell.
pub(in super::super) fn copy_path(text: &str) -> Read<String> {
    usable(text)?;
    if text.starts_with(['$', '/']) {
        return Ok(text.to_owned());
    }
    Ok(format!(
        "{APP_DIR}/{}",
        text.strip_prefix("./").unwrap_or(text)
    ))
}

/// A backup's hook: a command whose program is relative to `/lain/app`.
pub(in super::super) fn backup_hook(text: &str) -> Read<String> {
    usable(text)?;
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Ok(format!(
        "{APP_DIR}/{}",
        text.strip_prefix("./").unwrap_or(text)
    ))
}

/// A name in `/lain/app` that `build.prepare` keeps.
pub(in super::super) fn kept_name(text: &str) -> Read<String> {
    usable(text)?;
    if text.contains('/') || matches!(text, "." | "..") {
        let wrong = Wrong::form(format!("{:?} is not a name in {APP_DIR}", shown(text)));
        let first = text
            .trim_start_matches(['.', '/'])
            .split('/')
            .next()
            .unwrap_or("");
        return Err(if first.is_empty() {
            wrong
        } else {
            wrong.suggest(format!("`{}`", shown(first)))
        });
    }
    Ok(text.to_owned())
}
