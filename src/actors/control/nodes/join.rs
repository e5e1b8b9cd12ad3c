//! How a node becomes part of the cluster, and stops being it: tokens, certificates, the record in the store.
//!
//! Called by the listener and by the API. Each change is in the store before it is acted on.

use crate::actors::control::nodes::node::{Dismiss, RemoteNode};
use crate::actors::control::nodes::table::Node;
use crate::actors::control::nodes::{NODES, node_id, spec};
use crate::actors::control::world::{decode, list_all};
use crate::actors::hub::{self, Level};
use crate::actors::shared::Shared;
use crate::actors::supervise::CallError;
use crate::domain::id::NodeName;
use crate::domain::node_state::Event;
use crate::domain::record::keys;
use crate::link::identity::{self, Identity, certificate_of, fingerprint};
use crate::ports::agent::{NodeFacts, NodeRecord};
use crate::ports::store::{Change, Compare, Outcome, Store, StoreError};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Certificates of a node that are good at the same time: the one in use, and the one before it.
const CERTIFICATES: usize = 2;
/// How long a node that is removed has to be told so.
const FAREWELL: Duration = Duration::from_millis(250);
/// Where the authority's identity is kept.
const AUTHORITY: &str = "pki/authority";
/// Where the hashes of join tokens are kept.
const TOKENS: &str = "join/";

/// Why a node was not taken in, or a change of a node refused.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is unknown, was used, or is too old.
    #[error("the token is not good (any more): make a new one with `lain node token`")]
    Token,
    /// A node of that name is connected.
    #[error(
        "a node named {0} is part of this cluster and connected; give this one another name with --node-name, or remove that one with `lain node remove {0}`"
    )]
    NameTaken(NodeName),
    /// The certificate.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// lain's own tree.
    #[error("node {0} cannot be supervised: {1}")]
    Tree(NodeName, String),
}

/// A join token as it is kept: never the token, only its hash, which is its key.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    expires_at: DateTime<Utc>,
    made_by: String,
}

fn token_key(token: &str) -> String {
    format!("{TOKENS}{}", hex::encode(Sha256::digest(token.as_bytes())))
}

/// The installation's authority, made at the first start.
///
/// # Errors
/// What the store or the making said.
pub async fn authority(
    store: &dyn Store,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Identity, JoinError> {
    if let Some(entry) = store.get(AUTHORITY).await? {
        return Ok(decode(&entry)?);
    }
    let fresh = identity::authority(name, now)?;
    let json = crate::actors::control::operation::encode(&fresh)?;
    let absent = vec![Compare::Absent(AUTHORITY.to_owned())];
    let put = vec![Change::Put(AUTHORITY.to_owned(), json)];
    match store.transact(absent, put).await? {
        Outcome::Committed(_) => Ok(fresh),
        // Another control host was first: its authority counts.
        Outcome::Refused(_, Some(entry)) => Ok(decode(&entry)?),
        Outcome::Refused(key, None) => Err(JoinError::Store(StoreError::Failed {
            action: format!("read {key}"),
            reason: "it was there and is not".to_owned(),
        })),
    }
}

/// Loads all nodes of the store into the table.
///
/// # Errors
/// What the store said.
pub async fn load(shared: &Shared) -> Result<(), StoreError> {
    for entry in list_all(&*shared.store, keys::NODES).await? {
        let record: NodeRecord = decode(&entry)?;
        if shared.nodes.get(&record.name).is_none() {
            // After a start every agent has time to find its way back.
            let lease = &shared.settings.lease;
            let now = shared.clock.monotonic();
            let node = Node::judged(record, false, now, lease.monitor());
            node.on(Event::Away(lease.patience), now);
            shared.nodes.insert(node);
        }
    }
    Ok(())
}

/// A new single-use token; kept as a hash.
///
/// # Errors
/// What the store said.
pub async fn make_token(
    shared: &Shared,
    lifetime: Duration,
    made_by: &str,
) -> Result<(String, DateTime<Utc>), StoreError> {
    let token = format!("lj_{}", hex::encode(rand::random::<[u8; 24]>()));
    let now = shared.clock.now_utc();
    let expires_at = now + lifetime;
    let kept = Token {
        expires_at,
        made_by: made_by.to_owned(),
    };
    let mut changes = vec![Change::Put(
        token_key(&token),
        crate::actors::control::operation::encode(&kept)?,
    )];
    for entry in list_all(&*shared.store, TOKENS).await? {
        if decode::<Token>(&entry).is_ok_and(|t| t.expires_at <= now) {
            changes.push(Change::Delete(entry.key));
        }
    }
    shared.store.transact(Vec::new(), changes).await?;
    Ok((token, expires_at))
}

/// Takes a node in: uses up its token and signs its certificate, durable together.
///
/// # Errors
/// [`JoinError`]: what the operator has to do.
pub async fn join(
    shared: &Arc<Shared>,
    authority: &Identity,
    token: &str,
    name: &NodeName,
    csr: &str,
) -> Result<String, JoinError> {
    let key = token_key(token);
    let now = shared.clock.now_utc();
    let entry = shared.store.get(&key).await?.ok_or(JoinError::Token)?;
    if decode::<Token>(&entry)?.expires_at <= now {
        return Err(JoinError::Token);
    }
    let known = shared.nodes.get(name);
    if let Some(node) = &known
        && (node.local || node.link().is_some())
    {
        return Err(JoinError::NameTaken(name.clone()));
    }
    let certificate = identity::sign(authority, name.as_str(), csr, now)?;
    let mut record = known.map_or_else(
        || NodeRecord {
            name: name.clone(),
            labels: Default::default(),
            cordoned: None,
            draining: false,
            joined_at: now,
            certificates: Vec::new(),
            facts: None,
        },
        |node| node.record(),
    );
    // A node that joins anew has lost its key: the certificates before are void.
    record.certificates = vec![fingerprint(&certificate_of(&certificate)?)];
    let conditions = vec![Compare::RevisionIs(key.clone(), entry.revision)];
    let changes = vec![
        Change::Delete(key),
        Change::Put(
            keys::node(name),
            crate::actors::control::operation::encode(&record)?,
        ),
    ];
    match shared.store.transact(conditions, changes).await? {
        Outcome::Committed(_) => {}
        Outcome::Refused(..) => return Err(JoinError::Token),
    }
    admit(shared, record).await?;
    let text = format!("node {name} has joined");
    shared
        .hub
        .emit(hub::Event::new("node_joined", Level::Info, text).node(name));
    Ok(certificate)
}

/// Puts a node into the table and under supervision.
async fn admit(shared: &Arc<Shared>, record: NodeRecord) -> Result<(), JoinError> {
    let (name, now) = (record.name.clone(), shared.clock.monotonic());
    match shared.nodes.get(&name) {
        Some(node) => node.set_record(record, now),
        None => {
            let node = Node::judged(record, false, now, shared.settings.lease.monitor());
            shared.nodes.insert(node);
        }
    }
    match shared
        .supervisor(NODES)
        .start_child(spec(shared, &name))
        .await
    {
        Ok(_) | Err(CallError::AlreadyStarted(_)) => Ok(()),
        Err(CallError::AlreadyPresent) => {
            let restarted = shared.supervisor(NODES).restart_child(node_id(&name)).await;
            restarted
                .map(drop)
                .map_err(|e| JoinError::Tree(name, e.to_string()))
        }
        Err(error) => Err(JoinError::Tree(name, error.to_string())),
    }
}

/// Signs a node's new key; the certificate before stays good until the one after this.
///
/// # Errors
/// [`JoinError`].
pub async fn renew(shared: &Shared, node: &Node, csr: &str) -> Result<String, JoinError> {
    let authority = authority(
        &*shared.store,
        &shared.settings.site.domain,
        shared.clock.now_utc(),
    )
    .await?;
    let now = shared.clock.now_utc();
    let certificate = identity::sign(&authority, node.name.as_str(), csr, now)?;
    let print = fingerprint(&certificate_of(&certificate)?);
    change(shared, node, |record| {
        record.certificates.insert(0, print.clone());
        record.certificates.truncate(CERTIFICATES);
    })
    .await?;
    Ok(certificate)
}

/// Changes what is durable of a node: in the store first.
///
/// # Errors
/// What the store said.
pub async fn change(
    shared: &Shared,
    node: &Node,
    change: impl Fn(&mut NodeRecord),
) -> Result<(), StoreError> {
    // What the node says of itself and what operators do to it come at any time: neither undoes the other.
    let _turn = node.changing.lock().await;
    let mut record = node.record();
    change(&mut record);
    let json = crate::actors::control::operation::encode(&record)?;
    let put = Change::Put(keys::node(&node.name), json);
    shared.store.transact(Vec::new(), vec![put]).await?;
    node.set_record(record, shared.clock.monotonic());
    Ok(())
}

/// Takes over what a node says of itself; kept, so that a restart of lain knows its size at once.
pub fn keep_facts(shared: &Arc<Shared>, node: &Arc<Node>, facts: NodeFacts) {
    let changed = node.record().facts.as_ref() != Some(&facts);
    node.set_facts(facts.clone());
    if changed {
        let (shared, node) = (Arc::clone(shared), Arc::clone(node));
        actix_rt::spawn(async move {
            let kept = change(&shared, &node, |r| r.facts = Some(facts.clone())).await;
            if let Err(error) = kept {
                tracing::warn!(node = %node.name, %error, "what the node is could not be kept");
            }
        });
    }
}

/// Takes a node out of the cluster: its certificate is refused from this moment on.
///
/// # Errors
/// What the store said.
pub async fn remove(shared: &Arc<Shared>, node: &Arc<Node>) -> Result<(), StoreError> {
    let gone = vec![Change::Delete(keys::node(&node.name))];
    shared.store.transact(Vec::new(), gone).await?;
    let path = format!("{NODES}/{}", node_id(&node.name));
    let reason = format!("node {} was removed from the cluster", node.name);
    let told = shared
        .actor::<RemoteNode>(&path)
        .send(Dismiss(reason.clone()));
    if let Err(error) = told.await {
        tracing::debug!(node = %node.name, %error, "the node's actor was not there to be told");
    }
    // A moment for the farewell, then its actor goes: whoever joins under this name meets a clean table.
    tokio::time::sleep(FAREWELL).await;
    shared.nodes.remove(&node.name);
    let supervisor = shared.supervisor(NODES);
    let id = node_id(&node.name);
    let ended = supervisor.terminate_child(id.clone()).await;
    if let Err(error) = ended.and(supervisor.delete_child(id).await) {
        tracing::warn!(node = %node.name, %error, "the node's actor could not be ended");
    }
    shared
        .hub
        .emit(hub::Event::new("node_removed", Level::Warn, reason).node(&node.name));
    Ok(())
}
