//! `nodes/listener`: where agents connect.
//!
//! Parent: `nodes`. Each connection is greeted in a task of its own: TLS, the first message, who it is. A
//! node that is known is handed to its actor; one that joins gets its certificate. A crash costs those who
//! are being greeted, and they try again.

use crate::actors::control::nodes::node::{Attach, RemoteNode};
use crate::actors::control::nodes::{NODES, join, node_id};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::link::frame::{Receiver, Sender, split, whole};
use crate::link::identity::{Identity, fingerprint};
use crate::link::message::{ToAgent, ToControl, negotiate};
use crate::link::tls;
use actix::prelude::*;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How long a stranger may take to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// Strangers that are greeted at the same time.
const GREETED: usize = 256;

/// What the listener is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The installation's authority.
    pub authority: Identity,
    /// This control host's own certificate.
    pub control: Identity,
    /// Told where it listens, once it does.
    pub bound: Arc<OnceLock<SocketAddr>>,
}

/// The actor.
pub struct Listener {
    args: Args,
    acceptor: TlsAcceptor,
    socket: Option<TcpListener>,
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        let (args, acceptor) = (self.args.clone(), self.acceptor.clone());
        ctx.spawn(async move { accept(&args, &acceptor, socket).await }.into_actor(self));
    }
}

impl Child for Listener {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let acceptor =
            tls::acceptor(&args.authority.certificate, &args.control).map_err(ExitReason::error)?;
        // The port of the incarnation before, where the system chose one.
        let address = args.bound.get().copied().unwrap_or(args.listen);
        let socket = TcpListener::bind(address).await.map_err(|e| {
            ExitReason::Error(format!(
                "agents cannot be listened for at {address}: {e}; choose another address with link.listen"
            ))
        })?;
        let address = socket.local_addr().map_err(ExitReason::error)?;
        let _ = args.bound.set(address);
        Ok(Init::Ready(Self {
            args,
            acceptor,
            socket: Some(socket),
        }))
    }
}

async fn accept(args: &Args, acceptor: &TlsAcceptor, socket: TcpListener) {
    let room = Arc::new(tokio::sync::Semaphore::new(GREETED));
    loop {
        let (stream, from) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(turn) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%from, "too many agents at once; this one tries again by itself");
            continue;
        };
        let (args, acceptor) = (args.clone(), acceptor.clone());
        actix_rt::spawn(async move {
            let greeted = tokio::time::timeout(GREETING, greet(&args, &acceptor, stream)).await;
            drop(turn);
            match greeted {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%from, error, "an agent was not let in"),
                Err(_) => tracing::warn!(%from, "an agent did not say who it is in time"),
            }
        });
    }
}

async fn greet(args: &Args, acceptor: &TlsAcceptor, stream: TcpStream) -> Result<(), String> {
    prepare(&stream).map_err(|e| e.to_string())?;
    let stream = acceptor
        .accept(stream)
        .await
        .map_err(|e| format!("TLS failed: {e}"))?;
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|c| c.first())
        .map(|c| fingerprint(c));
    let (mut receiver, mut sender) = split::<ToControl, ToAgent>(stream);
    let first = receiver.next().await.map_err(|e| e.to_string())?;
    match first {
        Some(ToControl::Join { token, node, csr }) => {
            let joined = join::join(&args.shared, &args.authority, &token, &node, &csr).await;
            let certificate = match joined {
                Ok(certificate) => certificate,
                Err(error) => return refuse(sender, error.to_string(), true).await,
            };
            let joined = ToAgent::Joined {
                certificate,
                authority: args.authority.certificate.clone(),
                owner: args.shared.settings.site.owner.to_string(),
            };
            sender.send(&joined).await.map_err(|e| e.to_string())
        }
        Some(ToControl::HandOn) => hand_on(args, certificate, receiver, sender).await,
        Some(hello @ ToControl::Hello { .. }) => {
            attach(&args.shared, certificate, hello, receiver, sender).await
        }
        Some(_) => {
            let reason = "the first message was no greeting".to_owned();
            refuse(sender, reason, true).await
        }
        None => Err("it closed without a word".to_owned()),
    }
}

/// A standby hands on a caller of the API: from here on the connection is the API's.
async fn hand_on(
    args: &Args,
    certificate: Option<String>,
    receiver: Receiver<ToControl>,
    mut sender: Sender<ToAgent>,
) -> Result<(), String> {
    let known = |c: &String| args.shared.nodes.by_fingerprint(c).is_none();
    let api = args.shared.api_address();
    let (Some(_), Some(api)) = (certificate.filter(known), api) else {
        let reason = "only a standby hands callers on".to_owned();
        return refuse(sender, reason, true).await;
    };
    let text = |e: std::io::Error| e.to_string();
    let mut inner = TcpStream::connect(api).await.map_err(text)?;
    sender.send(&ToAgent::HandedOn).await.map_err(text)?;
    let mut outer = whole(receiver, sender);
    // Outlives the greeting.
    actix_rt::spawn(async move {
        if let Err(error) = tokio::io::copy_bidirectional(&mut outer, &mut inner).await {
            tracing::debug!(%error, "a caller who was handed on is gone");
        }
    });
    Ok(())
}

async fn refuse(mut sender: Sender<ToAgent>, reason: String, forever: bool) -> Result<(), String> {
    let refused = ToAgent::Refused {
        reason: reason.clone(),
        forever,
    };
    sender.send(&refused).await.map_err(|e| e.to_string())?;
    Err(reason)
}

/// Hands a node that is known, by the fingerprint of its certificate, to its actor; whatever carries the
/// connection.
///
/// # Errors
/// Why the node was refused, which it was told.
pub async fn attach(
    shared: &Arc<Shared>,
    certificate: Option<String>,
    hello: ToControl,
    receiver: Receiver<ToControl>,
    sender: Sender<ToAgent>,
) -> Result<(), String> {
    let ToControl::Hello {
        protocol,
        node: name,
        facts,
        ..
    } = hello
    else {
        return Err("no greeting".to_owned());
    };
    let known = certificate.and_then(|c| shared.nodes.by_fingerprint(&c));
    let Some(node) = known.filter(|n| n.name == name) else {
        let reason = format!(
            "node {name} is not part of this cluster (any more), or joined anew elsewhere: join it again with a token of `lain node token`"
        );
        return refuse(sender, reason, true).await;
    };
    if let Err(reason) = negotiate(protocol, &facts.version) {
        return refuse(sender, reason, false).await;
    }
    let path = format!("{NODES}/{}", node_id(&node.name));
    let attach = Attach {
        receiver,
        sender,
        facts,
    };
    let actor = shared.actor::<RemoteNode>(&path);
    actor.send(attach).await.map_err(|e| e.to_string())
}

/// Small messages at once, and a dead peer noticed by the system at last.
///
/// # Errors
/// What the system said.
pub fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)
}
