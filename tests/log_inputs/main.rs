//! What runs outside lain, and lain itself, among the log events: a real `lain dev` on the process runtime, real
//! rsyslog and `logger`, a real nginx; asked by its own API and command line.
//!
//! What is needed is installed by `scripts/rsyslog.sh install` and `scripts/nginx.sh install`.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod http;
mod nginx;
mod own_events;
mod support;
mod syslog;
