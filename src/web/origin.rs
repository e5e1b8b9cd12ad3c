//! Which hosts and origins are served: the guard against DNS rebinding and cross-site requests.
//!
//! Pure. A page on another site can make a browser talk to a server on loopback; it cannot forge the
//! `Host` and `Origin` that the browser sends along.

use std::net::IpAddr;

/// Whether a request for `host` (the `Host` header) that came in at `local` is for us.
///
/// At a loopback address only loopback names are; elsewhere any IP address is, since a rebound name
/// is a name. `allowed` are further names, such as that of a reverse proxy.
pub fn host_is_ours(host: &str, local: Option<IpAddr>, allowed: &[String]) -> bool {
    let name = without_port(host);
    if allowed.iter().any(|a| a.eq_ignore_ascii_case(name)) {
        return true;
    }
    let at_loopback = local.is_none_or(|ip| ip.to_canonical().is_loopback());
    match parse_ip(name) {
        Some(ip) => !at_loopback || ip.to_canonical().is_loopback(),
        None => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether a page of `origin` may change things or open WebSockets at `host`: its own pages may.
pub fn origin_is_ours(origin: &str, host: &str, allowed: &[String]) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let name = without_port(authority);
    known
        && (authority.eq_ignore_ascii_case(host)
            || allowed.iter().any(|a| a.eq_ignore_ascii_case(name)))
}

/// `name:port` and `[v6]:port` without the port.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if authority[at + 1..].bytes().all(|b| b.is_ascii_digit()) => {
            let name = &authority[..at];
            // The last colon of a bare IPv6 address is no port's.
            if name.contains(':') && !name.ends_with(']') {
                authority
            } else {
                name
            }
        }
        _ => authority,
    }
}

fn parse_ip(name: &str) -> Option<IpAddr> {
    name.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name)
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        let lan = Some(IpAddr::from([192, 168, 1, 2]));
        let allowed = ["lain.example.com".to_owned()];
        let rows = [
            ("127.0.0.1:7419", loopback, true),
            ("127.0.0.1", loopback, true),
            ("[::1]:7419", loopback, true),
            ("[::ffff:127.0.0.1]:7419", loopback, true),
            ("localhost:7419", loopback, true),
            ("LOCALHOST", loopback, true),
            ("lain.example.com", loopback, true),
            ("Lain.Example.com:443", loopback, true),
            ("evil.com:7419", loopback, false),
            ("evil.com", loopback, false),
            ("localhost.evil.com", loopback, false),
            ("127.0.0.1.evil.com", loopback, false),
            ("192.168.1.2:7419", loopback, false),
            ("", loopback, false),
            ("192.168.1.2:7419", lan, true),
            ("evil.com:7419", lan, false),
            ("evil.com:7419", None, false),
        ];
        for (host, local, ours) in rows {
            assert_eq!(
                host_is_ours(host, local, &allowed),
                ours,
                "{host} at {local:?}"
            );
        }
    }

    #[test]
    fn origins() {
        let allowed = ["console.example.com".to_owned()];
        let rows = [
            ("http://127.0.0.1:7419", true),
            ("https://127.0.0.1:7419", true),
            ("https://console.example.com", true),
            ("http://127.0.0.1:8080", false),
            ("http://localhost:7419", false),
            ("http://evil.com", false),
            ("null", false),
            ("file://", false),
            ("ftp://127.0.0.1:7419", false),
        ];
        for (origin, ours) in rows {
            assert_eq!(
                origin_is_ours(origin, "127.0.0.1:7419", &allowed),
                ours,
                "{origin}"
            );
        }
    }
}
