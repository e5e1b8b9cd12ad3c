//! `web`: the API as a child of the root, so that it is restarted like everything else.

use crate::actors::control::handle::Handle;
use crate::actors::shared::Shared;
use crate::actors::supervise::{
    Birth, Child, ChildSpec, Cleanup, Context, ExitReason, Init, Shutdown,
};
use crate::auth::Authenticator;
use crate::web::{self, Metrics, Running, WebOptions};
use actix::prelude::*;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a [`WebServer`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment of the actors.
    pub shared: Arc<Shared>,
    /// Who may call.
    pub authenticator: Arc<Authenticator>,
    /// Where and how.
    pub options: WebOptions,
    /// Counters that outlive a restart of the server.
    pub metrics: Arc<Metrics>,
    /// Where it serves, once it does.
    pub bound: Bound,
}

/// The address that is served, once there is one.
#[derive(Clone, Default)]
pub struct Bound(Arc<Mutex<Option<SocketAddr>>>);

impl Bound {
    /// The address, once there is one.
    pub fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, addr: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(addr);
    }
}

/// The actor.
pub struct WebServer {
    running: Option<Running>,
}

impl Actor for WebServer {
    type Context = Context<Self>;
}

impl Child for WebServer {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let control = Arc::new(Handle::new(Arc::clone(&args.shared)));
        let verifier = Arc::clone(&args.authenticator);
        let mut options = args.options.clone();
        // A restart serves where the first start did, also when that was any free port.
        if let Some(addr) = args.bound.get() {
            options.listen = addr;
        }
        let running = web::serve(options, control, verifier, Arc::clone(&args.metrics))
            .map_err(ExitReason::error)?;
        args.bound.set(running.addr);
        Ok(Init::Ready(Self {
            running: Some(running),
        }))
    }

    fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) -> Cleanup {
        let running = self.running.take()?;
        Some(Box::pin(running.stop()))
    }
}

/// The child that serves the API.
pub fn spec(args: Args) -> ChildSpec {
    let patience = args.options.stop_deadline + Duration::from_secs(2);
    ChildSpec::worker::<WebServer>("web", args).shutdown(Shutdown::Timeout(patience))
}
