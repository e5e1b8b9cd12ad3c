//! Names, and texts made of a name and a value.

use super::super::report::shown;
use super::{Read, Wrong};
use crate::domain::id::{AppName, ProcName};
use crate::domain::spec::model::EnvVar;

/// LAIN's `appname`; the dots of resource instances are made by lain, never written.
pub(in super::super) fn app_name(text: &str) -> Read<AppName> {
    if text.contains('.') {
        return Err(Wrong::form(format!(
            "{:?} is not a valid app name: it contains a dot",
            shown(text)
        )));
    }
    AppName::new(text).map_err(|e| {
        Wrong::form(format!(
            "{:?} is not a valid app name: {}",
            shown(text),
            e.rule
        ))
    })
}

/// A proc's or service's name.
pub(in super::super) fn proc_name(text: &str) -> Read<ProcName> {
    ProcName::new(text).map_err(|e| {
        Wrong::form(format!(
            "{:?} is not a valid proc name: {}",
            shown(text),
            e.rule
        ))
    })
}

/// Text without blanks, such as a git URL or a user.
pub(in super::super) fn no_blank(text: &str) -> Read<String> {
    match text
        .chars()
        .position(|c| c.is_whitespace() || c.is_control())
    {
        _ if text.is_empty() => Err(Wrong::form("it is empty")),
        Some(offset) => Err(Wrong::form(format!("{:?} contains a blank", shown(text))).at(offset)),
        None => Ok(text.to_owned()),
    }
}

/// An image reference, `[registry/]name[:tag][@digest]`; the engine has the last word on it.
pub(in super::super) fn image(text: &str) -> Read<String> {
    no_blank(text)?;
    let unusual = |c: char| !(c.is_ascii_alphanumeric() || ".-_/:@+".contains(c));
    if let Some(offset) = text.chars().position(unusual) {
        return Err(Wrong::form(format!("{:?} is not an image reference", shown(text))).at(offset));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || text.ends_with([':', '/', '@']) {
        return Err(Wrong::form(format!(
            "{:?} is not an image reference",
            shown(text)
        )));
    }
    Ok(text.to_owned())
}

/// A DNS name.
pub(in super::super) fn dns_name(text: &str) -> Read<String> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err(Wrong::form(format!(
        "{:?} is not a domain name",
        shown(text)
    )))
}

/// `build.prepare.version`: it becomes part of an image tag.
pub(in super::super) fn prepare_version(text: &str) -> Read<String> {
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(Wrong::form(format!(
        "{:?} is not a version of letters and digits",
        shown(text)
    )))
}

/// `K=V`, with K as an environment variable may be named.
pub(in super::super) fn env_variable(text: &str) -> Read<EnvVar> {
    let Some((name, value)) = text.split_once('=') else {
        let wrong = Wrong::form(format!("{:?} has no `=`", shown(text)));
        let suggestion = text
            .split_once(':')
            .map(|(k, v)| format!("`{}={}`", k.trim(), shown(v.trim())));
        return Err(match suggestion {
            Some(suggestion) => wrong.suggest(suggestion),
            None => wrong.suggest(format!("`{}=` sets it to nothing", shown(text))),
        });
    };
    if name.is_empty() {
        return Err(Wrong::form("there is no name before the `=`"));
    }
    if let Some(offset) = name
        .chars()
        .position(|c| c.is_whitespace() || c.is_control())
    {
        return Err(Wrong::form(format!("the name {:?} contains a blank", shown(name))).at(offset));
    }
    Ok(EnvVar {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// `K=V` of a build argument, K as Docker takes it.
pub(in super::super) fn build_argument(text: &str) -> Read<String> {
    let variable = env_variable(text)?;
    let name = variable.name.as_bytes();
    let plain =
        name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') && !name[0].is_ascii_digit();
    if plain {
        return Ok(text.to_owned());
    }
    Err(Wrong::form(format!(
        "{:?} is not a name for a build argument",
        shown(&variable.name)
    )))
}

/// `K:V`. As in LAIN the last colon parts them, so that a key may contain colons.
pub(in super::super) fn label(text: &str) -> Read<(String, String)> {
    let Some((key, value)) = text.rsplit_once(':') else {
        return Err(Wrong::form(format!("{:?} has no `:`", shown(text))));
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(Wrong::form(format!(
            "{:?} has no usable key before the `:`",
            shown(text)
        )));
    }
    if key.starts_with("cc.bdp.lain.") {
        return Err(Wrong::form(format!(
            "labels that start with `cc.bdp.lain.` are lain's own, {:?} is one",
            shown(key)
        )));
    }
    Ok((key.to_owned(), value.to_owned()))
}
