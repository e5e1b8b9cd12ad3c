//! Where a web proc is reachable: LAIN's mountpoints, expanded.
//!
//! Pure functions for the router, the plan and the CLI. The cluster's domains are the caller's.

use super::model::ProcSpec;
use super::value;
use crate::domain::id::{AppName, ProcType};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The domain that every app has inside the cluster.
const INNER_DOMAIN: &str = "lain";

/// A host and a path below it that lead to a proc.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct Mountpoint {
    /// The host, in lower case; empty only in what a `lain.yaml` writes, for every default host.
    pub host: String,
    /// The path, `/…` without a trailing slash; empty for all of the host.
    pub path: String,
}

impl fmt::Display for Mountpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

/// The app's domain: its name with the dotted parts reversed, `shop.redis.resource`.
pub fn app_domain(app: &AppName) -> String {
    let parts: Vec<&str> = app.as_str().rsplit('.').collect();
    parts.join(".")
}

/// The hosts that lead to the app's proc `web`: one in each cluster domain, and the inner one.
pub fn default_hosts(app: &AppName, domains: &[String]) -> Vec<String> {
    let domain = app_domain(app);
    let all = domains.iter().map(String::as_str).chain([INNER_DOMAIN]);
    let mut hosts: Vec<String> = Vec::new();
    for host in all.map(|d| format!("{domain}.{d}").to_ascii_lowercase()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Every place where `proc` of `app` is reachable, without repetitions; empty for all but web procs.
///
/// LAIN's rules: the proc named `web` has the default hosts besides what it writes; `/path` means
/// that path on each default host; `/` alone adds nothing.
pub fn mountpoints(app: &AppName, proc: &ProcSpec, domains: &[String]) -> Vec<Mountpoint> {
    let mut all: Vec<Mountpoint> = Vec::new();
    if proc.proc_type != ProcType::Web {
        return all;
    }
    let hosts = default_hosts(app, domains);
    let mut add = |mountpoint: Mountpoint| {
        if !all.contains(&mountpoint) {
            all.push(mountpoint);
        }
    };
    for written in proc
        .mountpoint
        .iter()
        .filter_map(|text| value::mountpoint(text).ok())
    {
        if !written.host.is_empty() {
            let path = if written.path == "/" {
                String::new()
            } else {
                written.path
            };
            add(Mountpoint {
                host: written.host,
                path,
            });
        } else if written.path != "/" {
            hosts.iter().for_each(|host| {
                add(Mountpoint {
                    host: host.clone(),
                    path: written.path.clone(),
                })
            });
        }
    }
    if proc.name.as_str() == "web" {
        hosts.iter().for_each(|host| {
            add(Mountpoint {
                host: host.clone(),
                path: String::new(),
            })
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::parse;

    fn name(text: &str) -> AppName {
        AppName::new(text).expect("an app name")
    }

    fn hosts(app: &str, section: &str, domains: &[&str]) -> Vec<String> {
        let text = format!("appname: a\n{section}: {{image: b}}\n");
        let text = if section.contains('{') {
            format!("appname: a\n{section}\n")
        } else {
            text
        };
        let parsed = parse(&text, "f").unwrap_or_else(|e| panic!("{text}\n{e}"));
        let domains: Vec<String> = domains.iter().map(|d| (*d).to_owned()).collect();
        let all = mountpoints(&name(app), &parsed.spec.procs[0], &domains);
        all.iter().map(Mountpoint::to_string).collect()
    }

    #[test]
    fn dotted_names_are_reversed() {
        assert_eq!(app_domain(&name("hello")), "hello");
        assert_eq!(
            app_domain(&name("resource.redis.shop")),
            "shop.redis.resource"
        );
    }

    #[test]
    fn the_proc_named_web_has_the_default_hosts() {
        assert_eq!(
            hosts("hello", "web", &["lain.local"]),
            ["hello.lain.local", "hello.lain"]
        );
        assert_eq!(
            hosts("Hello", "web", &["a.b", "lain", "a.b"]),
            ["hello.a.b", "hello.lain"]
        );
        assert_eq!(hosts("resource.r.c", "web", &[]), ["c.r.resource.lain"]);
    }

    #[test]
    fn entries_are_expanded_as_lain_did() {
        let web = "web: {image: b, mountpoint: [x.com, x.com/p/, /q, /]}";
        let own = ["x.com", "x.com/p", "hello.d/q", "hello.lain/q"];
        let with_defaults: Vec<&str> = own.into_iter().chain(["hello.d", "hello.lain"]).collect();
        assert_eq!(hosts("hello", web, &["d"]), with_defaults);
        let other = "web.y: {image: b, mountpoint: [x.com, x.com/p/, /q, /]}";
        assert_eq!(hosts("hello", other, &["d"]), own);
    }

    #[test]
    fn only_web_procs_are_reachable() {
        assert!(hosts("hello", "worker", &["d"]).is_empty());
    }
}
