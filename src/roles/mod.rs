//! Composition roots: each puts the real parts together for one way to run lain.

pub mod address;
pub mod agent;
pub mod api_tls;
pub mod dev;
pub mod host;
pub mod notify;
pub mod serve;
pub mod server;
pub mod sim;
pub mod standby;
pub mod web_server;
