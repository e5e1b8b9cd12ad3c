//! Which server, and with which token: found in flags, environment, contexts and the endpoint file.
//!
//! [`resolve`] decides and touches nothing but the files it is given the means to read. A token never
//! comes from the command line and is never shown.

use crate::cli::error::{CliError, Exit, Result};
use crate::link::identity::certificate_of;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where lain listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:7419";

/// A secret that is sent with each request; its `Debug` is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The text for the `Authorization` header.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What the command line says about the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `--server`.
    pub server: Option<String>,
    /// `--context`.
    pub context: Option<String>,
    /// `--token-file`.
    pub token_file: Option<PathBuf>,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
}

/// A server and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `https://host:port` or `http://…`, without a slash at the end.
    pub server: String,
    /// Where that was said, for errors: `--server`, `the file /run/…`.
    pub origin: String,
    /// The context in use, if one is.
    pub context: Option<String>,
    /// The token, if there is one.
    pub token: Option<Token>,
    /// Where the token came from.
    pub token_origin: Option<String>,
    /// The certificate (PEM) of the authority that the server's certificate must be from; none: the system's
    /// authorities.
    pub authority: Option<String>,
}

/// The outside world as far as finding a server needs it.
pub trait Surroundings {
    /// An environment variable, `None` if unset or empty.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file; `Ok(None)` if there is none.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> std::io::Result<Option<String>>;
    /// Whether this process is root.
    fn is_root(&self) -> bool;
    /// Whether there is a process of this id.
    fn is_running(&self, pid: i32) -> bool;
}

/// This process and this machine.
pub struct Here;

impl Surroundings for Here {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn is_running(&self, pid: i32) -> bool {
        // Also true for a process of another user, to which a signal may not be sent.
        Path::new("/proc").join(pid.to_string()).exists()
    }
}

/// What `lain dev` writes for the CLI on the same machine.
#[derive(Debug, Deserialize)]
struct EndpointFile {
    url: String,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    authority_file: Option<PathBuf>,
    #[serde(default)]
    pid: Option<i32>,
}

/// The keys of `~/.config/lain/config.toml` that concern the connection; the rest belongs to the daemon.
#[derive(Debug, Default, Deserialize)]
struct ContextsFile {
    current_context: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    server: String,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

struct Server {
    url: String,
    origin: String,
    context: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

/// Finds the server (flag, `LAIN_SERVER`, context, endpoint file, default) and its token (flag,
/// `LAIN_TOKEN_FILE`, `LAIN_TOKEN`, the context's or endpoint's file).
///
/// # Errors
/// Where a named context or token file cannot be used, or the URL is not one.
pub fn resolve(wanted: &Wanted, around: &dyn Surroundings) -> Result<Connection> {
    let server = find_server(wanted, around)?;
    let url = checked_url(&server)?;
    let (token, token_origin) = match find_token(wanted, &server, around)? {
        Some((token, origin)) => (Some(token), Some(origin)),
        None => (None, None),
    };
    let authority = match url.starts_with("https:") {
        true => find_authority(wanted, &server, around)?,
        false => None,
    };
    Ok(Connection {
        authority,
        server: url,
        origin: server.origin,
        context: server.context,
        token,
        token_origin,
    })
}

/// The files in which `lain dev` may have left its address, the likeliest first.
pub fn endpoint_files(around: &dyn Surroundings) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(folder) = around.variable("XDG_RUNTIME_DIR") {
        files.push(Path::new(&folder).join("lain/endpoint.json"));
    }
    if around.is_root() {
        files.push(PathBuf::from("/run/lain/endpoint.json"));
    }
    if let Some(home) = around.variable("HOME") {
        files.push(Path::new(&home).join(".local/share/lain/endpoint.json"));
    }
    files
}

/// The user's configuration file.
pub fn user_config(around: &dyn Surroundings) -> Option<PathBuf> {
    let folder = around.variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&around.variable("HOME")?).join(".config")))?;
    Some(folder.join("lain/config.toml"))
}

fn find_server(wanted: &Wanted, around: &dyn Surroundings) -> Result<Server> {
    let plain = |url: String, origin: &str| Server {
        url,
        origin: origin.to_owned(),
        context: None,
        token_file: None,
        ca_file: None,
    };
    // A flag beats the environment, also where the flag is a context and the variable a server.
    if let Some(url) = &wanted.server {
        return Ok(plain(url.clone(), "--server"));
    }
    if let Some(name) = &wanted.context {
        return named_context(name, "--context", around);
    }
    if let Some(url) = around.variable("LAIN_SERVER") {
        return Ok(plain(url, "LAIN_SERVER"));
    }
    if let Some(name) = around.variable("LAIN_CONTEXT") {
        return named_context(&name, "LAIN_CONTEXT", around);
    }
    if let Some(name) = contexts(around)?.current_context {
        return named_context(&name, "current_context", around);
    }
    match left_behind(around)? {
        Some(server) => Ok(server),
        None => Ok(plain(DEFAULT_SERVER.to_owned(), "the default")),
    }
}

/// The endpoint file of a `lain dev` that runs, else the first there is: a killed one leaves its file.
fn left_behind(around: &dyn Surroundings) -> Result<Option<Server>> {
    let mut stale = None;
    for path in endpoint_files(around) {
        let Some((server, pid)) = endpoint(&path, around)? else {
            continue;
        };
        if pid.is_none_or(|pid| around.is_running(pid)) {
            return Ok(Some(server));
        }
        stale = stale.or(Some(server));
    }
    Ok(stale)
}

fn endpoint(path: &Path, around: &dyn Surroundings) -> Result<Option<(Server, Option<i32>)>> {
    // Another user's file is not ours to complain about.
    let Ok(Some(text)) = around.read(path) else {
        return Ok(None);
    };
    let file: EndpointFile = serde_json::from_str(&text).map_err(|error| {
        CliError::failed(format!("{} cannot be understood: {error}", path.display()))
            .hint("restart `lain dev`, which writes it anew, or name the server with --server")
    })?;
    let server = Server {
        url: file.url,
        origin: path.display().to_string(),
        context: None,
        token_file: file.token_file,
        ca_file: file.authority_file,
    };
    Ok(Some((server, file.pid)))
}

fn contexts(around: &dyn Surroundings) -> Result<ContextsFile> {
    let Some(path) = user_config(around) else {
        return Ok(ContextsFile::default());
    };
    let wrong = |why: String| {
        CliError::new(Exit::Invalid, format!("{}: {why}", path.display()))
            .hint("correct the file, or name the server with --server")
    };
    match around.read(&path) {
        Ok(None) => Ok(ContextsFile::default()),
        Ok(Some(text)) => toml::from_str(&text).map_err(|error| wrong(error.to_string())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn named_context(name: &str, origin: &str, around: &dyn Surroundings) -> Result<Server> {
    let mut file = contexts(around)?;
    let Some(context) = file.contexts.remove(name) else {
        let known: Vec<&str> = file.contexts.keys().map(String::as_str).collect();
        let path = user_config(around).unwrap_or_default();
        let hint = if known.is_empty() {
            format!(
                "lain context set {name} --server URL, which writes it to {}",
                path.display()
            )
        } else {
            format!("known contexts: {}", known.join(", "))
        };
        return Err(CliError::usage(format!("there is no context {name} ({origin})")).hint(hint));
    };
    Ok(Server {
        url: context.server,
        origin: format!("context {name}"),
        context: Some(name.to_owned()),
        token_file: context.token_file,
        ca_file: context.ca_file,
    })
}

/// Checks the address of a server that `origin` gives; returns it without a slash at the end.
///
/// # Errors
/// [`Exit::Usage`] saying what an address looks like.
pub fn check_address(url: &str, origin: &str) -> Result<String> {
    checked_url(&Server {
        url: url.to_owned(),
        origin: origin.to_owned(),
        context: None,
        token_file: None,
        ca_file: None,
    })
}

fn checked_url(server: &Server) -> Result<String> {
    let wrong = |why: &str| {
        CliError::usage(format!(
            "{:?} ({}) is not a server's address: {why}",
            server.url, server.origin
        ))
        .hint(format!("an address looks like {DEFAULT_SERVER}"))
    };
    let url = reqwest::Url::parse(&server.url).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_some() => {}
        _ => return Err(wrong("it must begin with http:// or https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold credentials; use --token-file"));
    }
    Ok(server.url.trim_end_matches('/').to_owned())
}

fn find_token(
    wanted: &Wanted,
    server: &Server,
    around: &dyn Surroundings,
) -> Result<Option<(Token, String)>> {
    if let Some(path) = &wanted.token_file {
        return token_file(path, "--token-file", around).map(Some);
    }
    if let Some(path) = around.variable("LAIN_TOKEN_FILE") {
        return token_file(Path::new(&path), "LAIN_TOKEN_FILE", around).map(Some);
    }
    if let Some(text) = around.variable("LAIN_TOKEN") {
        return Ok(Some((
            checked_token(&text, "LAIN_TOKEN")?,
            "LAIN_TOKEN".to_owned(),
        )));
    }
    match (&server.token_file, &server.context) {
        (Some(path), Some(_)) => token_file(path, &server.origin, around).map(Some),
        _ => local_token(server, around),
    }
}

/// `--server` may well name the very server that left an endpoint file: then its token and authority serve.
fn left_by(server: &Server, around: &dyn Surroundings) -> impl Iterator<Item = Server> {
    let same = |local: &Server| local.url.trim_end_matches('/') == server.url.trim_end_matches('/');
    let files = endpoint_files(around).into_iter();
    let all = files.filter_map(|path| Some(endpoint(&path, around).ok()??.0));
    all.filter(same).collect::<Vec<_>>().into_iter()
}

/// The authority that is named (flag, `LAIN_CA_FILE`, the context), or that the server on this machine left.
fn find_authority(
    wanted: &Wanted,
    server: &Server,
    around: &dyn Surroundings,
) -> Result<Option<String>> {
    if let Some(path) = &wanted.ca_file {
        return ca_file(path, "--ca-file", around).map(Some);
    }
    if let Some(path) = around.variable("LAIN_CA_FILE") {
        return ca_file(Path::new(&path), "LAIN_CA_FILE", around).map(Some);
    }
    let left = || left_by(server, around).find_map(|local| local.ca_file);
    match server.ca_file.clone().or_else(left) {
        Some(path) => ca_file(&path, &server.origin, around).map(Some),
        None => Ok(None),
    }
}

fn ca_file(path: &Path, origin: &str, around: &dyn Surroundings) -> Result<String> {
    let wrong = |why: &str| {
        CliError::new(
            Exit::Invalid,
            format!("CA file {} ({origin}): {why}", path.display()),
        )
        .hint("log in again with `lain login URL --ca FINGERPRINT`, which writes it")
    };
    match around.read(path) {
        Ok(Some(pem)) => match certificate_of(&pem) {
            Ok(_) => Ok(pem),
            Err(error) => Err(wrong(&error.to_string())),
        },
        Ok(None) => Err(wrong("there is no such file")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// The token that the server left on this machine.
fn local_token(server: &Server, around: &dyn Surroundings) -> Result<Option<(Token, String)>> {
    for local in left_by(server, around) {
        let Some(file) = local.token_file else {
            continue;
        };
        // A token that has gone with its `lain dev` is not what is wrong.
        if !matches!(around.read(&file), Ok(None)) {
            return token_file(&file, &local.origin, around).map(Some);
        }
    }
    Ok(None)
}

fn token_file(path: &Path, origin: &str, around: &dyn Surroundings) -> Result<(Token, String)> {
    let wrong = |why: &str| {
        CliError::new(
            Exit::NotAuthenticated,
            format!("token file {} ({origin}): {why}", path.display()),
        )
        .hint("use the user that started lain, or name a file with --token-file")
    };
    match around.read(path) {
        Ok(Some(text)) => {
            let origin = path.display().to_string();
            Ok((checked_token(&text, &origin)?, origin))
        }
        Ok(None) => Err(wrong("there is no such file")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

fn checked_token(text: &str, origin: &str) -> Result<Token> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::new(
            Exit::NotAuthenticated,
            format!("{origin} holds no token: expected one line of printable characters"),
        ));
    }
    Ok(Token(token.to_owned()))
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
