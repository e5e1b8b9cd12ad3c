//! Where etcd is and how to get in: `etcd://host:port,host:port/root`, TLS and login beside it.

use crate::domain::secret::Secret;
use etcd_client::{Certificate, Identity, TlsOptions};
use std::path::PathBuf;
use std::time::Duration;

/// The root of an installation that names none.
const ROOT: &str = "/lain/";
/// etcd's port for clients.
const PORT: u16 = 2379;

/// How to reach etcd. A password is never part of the URL, which is seen in argv and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `host:port` of the members.
    pub endpoints: Vec<String>,
    /// The prefix of all our keys; ends in a slash.
    pub root: String,
    /// Name and password.
    pub user: Option<(String, Secret)>,
    /// Absent: without TLS.
    pub tls: Option<EtcdTls>,
    /// After this long a single call has failed.
    pub call_timeout: Duration,
    /// For how long a read is repeated before it has failed.
    pub patience: Duration,
}

/// TLS towards etcd, as files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EtcdTls {
    /// The CA that signed etcd's certificate.
    pub ca: PathBuf,
    /// Our certificate and its key, where etcd asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in etcd's certificate, where it is not that of the endpoint.
    pub domain: Option<String>,
}

/// Why a text is not the URL of an etcd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another scheme.
    #[error("the store URL must be etcd://host[:port][,host[:port]…][/root]")]
    Scheme,
    /// No host, or one with something that does not belong there.
    #[error(
        "the store URL has no usable host in {0:?}; it must be etcd://host[:port][,host[:port]…][/root]"
    )]
    Host(String),
    /// A name or password in it.
    #[error(
        "the store URL must not hold a user or password, which anyone could read there; set them in the configuration file"
    )]
    User,
}

impl EtcdConfig {
    /// Reads a URL; the rest is as by default: no login, no TLS.
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let rest = url.strip_prefix("etcd://").ok_or(InvalidUrl::Scheme)?;
        let (hosts, root) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.contains('@') {
            return Err(InvalidUrl::User);
        }
        let endpoints: Result<Vec<String>, InvalidUrl> = hosts.split(',').map(endpoint).collect();
        let root = root.trim_matches('/');
        Ok(Self {
            endpoints: endpoints?,
            root: if root.is_empty() {
                ROOT.to_owned()
            } else {
                format!("/{root}/")
            },
            user: None,
            tls: None,
            call_timeout: Duration::from_secs(2),
            patience: Duration::from_secs(5),
        })
    }

    /// For people: endpoints and root.
    pub fn location(&self) -> String {
        format!("etcd://{}{}", self.endpoints.join(","), self.root)
    }
}

/// `host:port`, `host`, `[v6]:port` or `[v6]`.
fn endpoint(host: &str) -> Result<String, InvalidUrl> {
    let wrong = || InvalidUrl::Host(host.to_owned());
    let usable =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(usable) {
        return Err(wrong());
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, port.parse().map_err(|_| wrong())?),
        _ => (host, PORT),
    };
    // More colons than that of the port: an address of IPv6, which needs its brackets.
    let bracketed = name.starts_with('[') && name.ends_with(']');
    if name.is_empty() || (name.contains(':') && !bracketed) {
        return Err(wrong());
    }
    Ok(format!("{name}:{port}"))
}

impl EtcdTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn options(&self) -> Result<TlsOptions, String> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))
        };
        let options = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&self.ca)?));
        let options = match &self.identity {
            Some((certificate, key)) => {
                options.identity(Identity::from_pem(read(certificate)?, read(key)?))
            }
            None => options,
        };
        Ok(match &self.domain {
            Some(domain) => options.domain_name(domain),
            None => options,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_members_and_a_root() {
        let table = [
            ("etcd://a", vec!["a:2379"], "/lain/"),
            ("etcd://a:1,b:2/", vec!["a:1", "b:2"], "/lain/"),
            ("etcd://10.0.0.1:2379/prod", vec!["10.0.0.1:2379"], "/prod/"),
            (
                "etcd://[::1]:99,[::2]/a/b/",
                vec!["[::1]:99", "[::2]:2379"],
                "/a/b/",
            ),
        ];
        for (url, endpoints, root) in table {
            let config = EtcdConfig::parse(url).unwrap();
            assert_eq!(
                (config.endpoints, config.root.as_str()),
                (endpoints.into_iter().map(str::to_owned).collect(), root),
                "{url}"
            );
        }
    }

    #[test]
    fn urls_that_are_none_are_refused() {
        for url in ["", "redb:///x", "http://a", "a:2379"] {
            assert_eq!(EtcdConfig::parse(url), Err(InvalidUrl::Scheme), "{url}");
        }
        for url in [
            "etcd://",
            "etcd://a,,b",
            "etcd://a:port",
            "etcd://:1",
            "etcd://::1",
            "etcd://a b",
        ] {
            assert!(
                matches!(EtcdConfig::parse(url), Err(InvalidUrl::Host(_))),
                "{url}"
            );
        }
        let told = EtcdConfig::parse("etcd://root:hunter2@a").unwrap_err();
        assert_eq!(told, InvalidUrl::User);
        assert!(!told.to_string().contains("hunter2"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut config = EtcdConfig::parse("etcd://a").unwrap();
        config.user = Some(("root".into(), Secret::new("hunter2")));
        assert!(!format!("{config:?}{}", config.location()).contains("hunter2"));
    }
}
