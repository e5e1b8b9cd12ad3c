//! How other hosts reach this one.

use crate::config::Config;
use crate::config::value::AUTO;

/// Where agents on other hosts connect.
pub async fn advertised(config: &Config, port: u16) -> String {
    let told = &config.link.advertise;
    if told != AUTO {
        return told.clone();
    }
    let ip = match config.link.listen.ip() {
        ip if ip.is_unspecified() => source_address("").await.unwrap_or(ip),
        ip => ip,
    };
    std::net::SocketAddr::new(ip, port).to_string()
}

/// The address that this host uses towards another one; towards the world for an empty name. Nothing is sent.
pub async fn source_address(towards: &str) -> Option<std::net::IpAddr> {
    // An address of the documentation range (RFC 5737): the route to it is the default one.
    let towards = match towards.is_empty() {
        true => "192.0.2.1:9",
        false => towards,
    };
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect(towards).await.ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}
