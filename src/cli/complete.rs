//! Live names for shell completion: apps, procs, nodes, crash reports, operations.
//!
//! Asked for by the shell at each Tab. Never writes to the terminal, never waits long, and keeps what
//! it learnt for five seconds; any failure means no candidates.

use crate::cli::connection::{self, Here, Surroundings, Wanted};
use crate::cli::lainfile;
use crate::cli::output::document::Document;
use clap_complete::engine::CompletionCandidate;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// How long names are kept.
const FRESH: Duration = Duration::from_secs(5);
/// How long the server may take.
const PATIENCE: Duration = Duration::from_millis(800);

/// Names of apps.
pub fn apps(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, "apps", &|item| text(item, "name"))
}

/// Names of procs: of the app that `-a` names on the line or of `./lain.yaml`, else of all apps.
pub fn procs(current: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let named = app_on_line(&words);
    let app = lainfile::maybe_app(named.as_deref()).ok().flatten();
    let path = match &app {
        Some(app) => format!("apps/{app}/procs"),
        None => "apps".to_owned(),
    };
    candidates(current, &path, &|item| match item.get("procs") {
        Some(Document::List(procs)) => procs.iter().flat_map(|proc| text(proc, "name")).collect(),
        _ => text(item, "name"),
    })
}

/// Names of nodes.
pub fn nodes(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, "nodes", &|item| text(item, "name"))
}

/// Ids of crash reports.
pub fn crashes(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, "crashes", &|item| text(item, "id"))
}

/// Ids of operations.
pub fn operations(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, "operations", &|item| text(item, "id"))
}

fn text(item: &Document, key: &str) -> Vec<String> {
    let text = item.get(key).and_then(Document::as_text);
    text.map(str::to_owned).into_iter().collect()
}

/// The value of `-a` or `--app` among the words of the command line.
fn app_on_line(words: &[String]) -> Option<String> {
    let mut words = words.iter().rev().peekable();
    let mut after: Option<&String> = None;
    for word in words.by_ref() {
        if word == "-a" || word == "--app" {
            return after.cloned();
        }
        if let Some(value) = word.strip_prefix("--app=") {
            return Some(value.to_owned());
        }
        after = Some(word);
    }
    None
}

fn candidates(
    current: &OsStr,
    path: &str,
    names: &dyn Fn(&Document) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let Some(page) = page(path) else {
        return Vec::new();
    };
    let mut found: Vec<String> = page.into_items().iter().flat_map(names).collect();
    found.sort_unstable();
    found.dedup();
    let found = found.into_iter().filter(|name| name.starts_with(&*current));
    found.map(CompletionCandidate::new).collect()
}

/// A list of the API, from the cache while it is fresh.
fn page(path: &str) -> Option<Document> {
    let connection = connection::resolve(&Wanted::default(), &Here).ok()?;
    let url = format!("{}/api/v1/{path}?limit=200", connection.server);
    let cache = cache_file(&url);
    if let Some(kept) = cache.as_ref().and_then(fresh) {
        return Document::parse(&kept).ok();
    }
    let body = fetch(&url, connection.token.as_ref())?;
    if let Some(cache) = cache {
        keep(&cache, &body);
    }
    Document::parse(&body).ok()
}

/// In the user's own runtime folder, which no one else can read: names may be confidential.
fn cache_file(url: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(Here.variable("XDG_RUNTIME_DIR")?).join("lain/completion");
    let digest = Sha256::digest(url.as_bytes());
    Some(folder.join(hex::encode(&digest[..8])))
}

fn fresh(file: &PathBuf) -> Option<Vec<u8>> {
    let age = std::fs::metadata(file)
        .ok()?
        .modified()
        .ok()?
        .elapsed()
        .ok()?;
    (age < FRESH).then(|| std::fs::read(file).ok()).flatten()
}

fn keep(file: &PathBuf, body: &[u8]) {
    if let Some(folder) = file.parent() {
        // Without a cache the next Tab asks again: nothing is lost.
        let _ = std::fs::create_dir_all(folder);
        let _ = std::fs::write(file, body);
    }
}

fn fetch(url: &str, token: Option<&connection::Token>) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let mut request = reqwest::Client::new().get(url).timeout(PATIENCE);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        Some(answer.bytes().await.ok()?.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_is_found_on_the_line() {
        let app = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            app_on_line(&words)
        };
        assert_eq!(app("lain -- lain logs -a shop -p").as_deref(), Some("shop"));
        assert_eq!(app("lain logs --app=shop -p w").as_deref(), Some("shop"));
        assert_eq!(app("lain logs -p w"), None);
    }
}
