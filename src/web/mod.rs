//! The REST API under `/api/v1`: routes, problems, limits, streams, metrics and their description.
//!
//! `roles` calls [`serve`]; handlers ask [`Control`] and [`TokenVerifier`] and nothing else. A request
//! passes `observe` (ids, problems, metrics), then `gate` (origin, rate, token, scope, parameters,
//! body, idempotency), then its handler; `router` has every route in one table.

mod apps;
mod audit;
mod crashes;
mod docs;
mod doctor;
mod endpoints;
pub mod error;
mod events;
mod exec;
mod extract;
mod gate;
mod idempotency;
mod instances;
mod intake;
pub mod limits;
mod log_export;
mod log_intake;
mod log_params;
mod log_routes;
mod log_search;
mod logs;
pub mod metrics;
mod nodes;
mod observe;
pub mod openapi;
mod operations;
mod origin;
mod params;
mod precondition;
mod procs;
mod revisions;
pub mod router;
mod sinks;
mod sse;
pub mod state;
mod supervision;
mod system;
pub mod testing;
mod unread;
mod ws;

pub use limits::Limits;
pub use metrics::Metrics;

use crate::ports::auth::TokenVerifier;
use crate::ports::control::Control;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpServer;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use observe::Connection;
use rustls::ServerConfig;
use state::Api;
use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where and how the API is served.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A socket that listens there already, to be served instead: who has called it is not refused meanwhile.
    pub socket: Option<Arc<TcpListener>>,
    /// Threads that serve.
    pub workers: usize,
    /// Sizes, times, rates.
    pub limits: Limits,
    /// Host names that are served besides addresses, such as that of a reverse proxy.
    pub allowed_hosts: Vec<String>,
    /// How long open requests may take to end when the server stops.
    pub stop_deadline: Duration,
    /// What it is served with by TLS; none: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7419)),
            socket: None,
            workers: 2,
            limits: Limits::default(),
            allowed_hosts: Vec::new(),
            stop_deadline: Duration::from_secs(10),
            tls: None,
        }
    }
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Another process listens there.
    #[error(
        "{0} is taken by another program, perhaps another lain; `ss -ltnp 'sport = :{port}'` shows which: stop it, or choose another port with --listen",
        port = .0.port()
    )]
    Taken(SocketAddr),
    /// Ports below 1024 need privileges.
    #[error("no permission to listen at {0}; choose a port from 1024 with --listen")]
    Denied(SocketAddr),
    /// The address is of no interface of this machine.
    #[error("this machine has no address {ip}; choose one that `ip addr` shows with --listen", ip = .0.ip())]
    NoAddress(SocketAddr),
    /// Anything else.
    #[error("failed to listen at {listen}: {reason}")]
    Failed {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
}

impl WebError {
    fn new(listen: SocketAddr, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::AddrInUse => WebError::Taken(listen),
            io::ErrorKind::PermissionDenied => WebError::Denied(listen),
            io::ErrorKind::AddrNotAvailable => WebError::NoAddress(listen),
            _ => WebError::Failed { listen, reason },
        }
    }
}

/// A server that serves. Dropping it ends it at once, so that its port is free for another one.
pub struct Running {
    /// Where, with the port that was taken.
    pub addr: SocketAddr,
    /// Stops or pauses it.
    pub handle: ServerHandle,
    stopping: watch::Sender<bool>,
    deadline: Duration,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Takes no more connections, ends streams, and waits for open requests until the deadline.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        let stopped = tokio::time::timeout(self.deadline, self.handle.stop(true)).await;
        if stopped.is_err() {
            tracing::warn!(
                seconds = self.deadline.as_secs_f64(),
                "requests did not end in time and were cut off"
            );
        }
    }

    /// Waits until it serves no more; an error if it was not stopped.
    ///
    /// # Errors
    /// What made it end.
    pub async fn ended(&mut self) -> io::Result<()> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        // Dropping the server closes what is open.
        self.task.abort();
    }
}

/// Binds, then serves in tasks of the current runtime and threads of its own.
///
/// # Errors
/// [`WebError`] where the address cannot be had.
pub fn serve(
    options: WebOptions,
    control: Arc<dyn Control>,
    verifier: Arc<dyn TokenVerifier>,
    metrics: Arc<Metrics>,
) -> Result<Running, WebError> {
    let listen = options.listen;
    let failed = |reason| WebError::new(listen, reason);
    let listener = match &options.socket {
        Some(socket) => socket.try_clone(),
        None => TcpListener::bind(listen),
    };
    let listener = listener.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    if options.tls.is_none() && !addr.ip().is_loopback() {
        tracing::warn!(%addr, "the API is served beyond this machine without TLS; put a proxy with TLS before it");
    }
    let limits = options.limits.clone();
    let (stopping, stop_seen) = watch::channel(false);
    let api = Data::new(Api::new(
        control,
        verifier,
        metrics,
        options.limits,
        options.allowed_hosts,
        stop_seen,
    ));
    let stall = limits.stream_stall;
    let workers = options.workers.max(1);
    let server = HttpServer::new(move || router::app(api.clone()))
        .workers(workers)
        .max_connections(limits.connections.div_ceil(workers))
        .client_request_timeout(limits.head_time)
        .keep_alive(Duration::from_secs(30))
        // A client that is gone gives its streams back at once, not at the next heartbeat.
        .h1_allow_half_closed(false)
        .shutdown_timeout(options.stop_deadline.as_secs().max(1))
        .disable_signals()
        .on_connect(move |connection, data| note_connection(connection, data, stall));
    let server = match options.tls {
        Some(tls) => server.listen_rustls_0_23(listener, (*tls).clone()),
        None => server.listen(listener),
    };
    let server = server.map_err(failed)?.run();
    Ok(Running {
        addr,
        handle: server.handle(),
        stopping,
        deadline: options.stop_deadline,
        task: tokio::spawn(server),
    })
}

/// Notes our address, and has the kernel end a connection whose peer takes nothing for `stall`.
fn note_connection(connection: &dyn Any, data: &mut Extensions, stall: Duration) {
    let secured = connection.downcast_ref::<TlsStream<TcpStream>>();
    let plain = connection.downcast_ref::<TcpStream>();
    let Some(stream) = plain.or_else(|| secured.map(|tls| tls.get_ref().0)) else {
        return;
    };
    if let Ok(local) = stream.local_addr() {
        data.insert(Connection { local });
    }
    let millis = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, millis) {
        tracing::debug!(%error, "a connection has no limit for a peer that takes nothing");
    }
}
