//! Tokens in the store, and the check of each request against them.
//!
//! Owned by the roles, asked by `web`. Records live under `auth/tokens/<id>` as JSON and are held
//! in memory, so that a check touches no disk; [`Authenticator::follow`] keeps them in step with
//! what another server writes to the same store.

use crate::auth::private_file;
use crate::auth::record::{AuthError, NewToken, Record, TokenInfo};
use crate::auth::token::{Token, TokenHash, TokenId};
use crate::ports::auth::{Principal, Scope, TokenError, TokenVerifier};
use crate::ports::clock::Clock;
use crate::ports::store::{Change, Compare, Outcome, Store, WatchEvent};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Where the records are in the store.
pub const STORE_PREFIX: &str = "auth/tokens/";
/// The admin token's file in the data directory.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// The name of the token that is made at the first start.
const ADMIN_NAME: &str = "admin";
/// Records read at a time.
const PAGE: usize = 1000;

/// Checks tokens, and makes and revokes them.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    enabled: bool,
    records: RwLock<BTreeMap<TokenId, Record>>,
}

impl TokenVerifier for Authenticator {
    fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        Authenticator::verify(self, token).map_err(|error| match error {
            AuthError::Store(error) => TokenError::Unavailable(error.to_string()),
            AuthError::Expired { name, .. } => TokenError::Expired(name),
            _ => TokenError::Unknown,
        })
    }

    fn anonymous(&self) -> Option<Principal> {
        (!self.enabled).then(|| Principal {
            name: "anonymous".to_owned(),
            scopes: vec![Scope::Admin],
        })
    }
}

impl Authenticator {
    /// Reads all tokens from the store. When not `enabled`, every request is the administrator's.
    ///
    /// # Errors
    /// Those of the store. A record that cannot be read is logged and left out.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        enabled: bool,
    ) -> Result<Self, AuthError> {
        let auth = Self {
            store,
            clock,
            enabled,
            records: RwLock::new(BTreeMap::new()),
        };
        auth.load().await?;
        Ok(auth)
    }

    /// Who a token belongs to. Takes as long for a wrong secret as for a right one.
    ///
    /// # Errors
    /// [`AuthError::Malformed`], [`AuthError::Unknown`] or [`AuthError::Expired`].
    pub fn verify(&self, text: &str) -> Result<Principal, AuthError> {
        let token = Token::parse(text).ok_or(AuthError::Malformed)?;
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let record = records.get(token.id());
        let nothing = TokenHash::of_nothing();
        let right = record.map_or(&nothing, |r| &r.hash).matches(&token);
        let info = match record {
            Some(record) if right => &record.info,
            _ => return Err(AuthError::Unknown),
        };
        match info.expires {
            Some(at) if at <= self.clock.now_utc() => Err(AuthError::Expired {
                name: info.name.clone(),
                at,
            }),
            _ => Ok(Principal {
                name: info.name.clone(),
                scopes: info.scopes.clone(),
            }),
        }
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// Those of the store, and [`AuthError::Randomness`].
    pub async fn create(&self, new: NewToken) -> Result<(Token, TokenInfo), AuthError> {
        let token = generate()?;
        let info = self.store_record(&token, new, false, Vec::new()).await?;
        Ok((token, info))
    }

    /// Takes a token away at once; `false` when there is none of that id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke(&self, id: &TokenId) -> Result<bool, AuthError> {
        let change = Change::Delete(key(id));
        self.store.transact(Vec::new(), vec![change]).await?;
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        Ok(records.remove(id).is_some())
    }

    /// All tokens, oldest first; also expired ones.
    pub fn list(&self) -> Vec<TokenInfo> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = records.values().map(|r| r.info.clone()).collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }

    /// Makes sure that `<data_dir>/admin.token` (0600) holds a valid admin token, and returns its
    /// path. A token made for a file that is gone or does not fit is revoked: to replace the admin
    /// token, delete the file and restart.
    ///
    /// # Errors
    /// Those of the store and of the file.
    pub async fn ensure_admin_token(&self, data_dir: &Path) -> Result<PathBuf, AuthError> {
        self.ensure_admin_token_of(ADMIN_NAME, data_dir).await
    }

    /// As [`Authenticator::ensure_admin_token`], for one of several control hosts on one store: each has an admin
    /// token of its own, by its name.
    ///
    /// # Errors
    /// Those of the store and of the file.
    pub async fn ensure_admin_token_of(
        &self,
        name: &str,
        data_dir: &Path,
    ) -> Result<PathBuf, AuthError> {
        let path = data_dir.join(ADMIN_TOKEN_FILE);
        let failed = |e: io::Error| AuthError::File {
            path: path.clone(),
            reason: e.to_string(),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) if self.is_admin(text.trim()) => {
                // Whoever widened its mode did not mean to publish it.
                private_file::restrict(&path).map_err(failed)?;
                return Ok(path);
            }
            Ok(_) => {
                tracing::warn!(file = %path.display(), "admin token is not valid, a new one is made")
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let token = generate()?;
        // The file first: killed in between, the next start finds a token that fits nothing and makes another.
        private_file::write(&path, format!("{}\n", token.expose()).as_bytes()).map_err(failed)?;
        let old = self.list().into_iter();
        let old = old.filter(|info| info.local_admin && info.name == name);
        let revoke = old.map(|info| info.id).collect();
        let new = NewToken {
            name: name.to_owned(),
            scopes: vec![Scope::Admin],
            lifetime: None,
        };
        self.store_record(&token, new, true, revoke).await?;
        Ok(path)
    }

    /// Takes over what others write to the store, until the store is closed.
    pub async fn follow(&self) {
        let mut changes = self.store.watch(STORE_PREFIX, None);
        // What was written before the watch began is read once more.
        let mut stale = true;
        loop {
            if stale {
                stale = match self.load().await {
                    Ok(()) => false,
                    Err(e) => {
                        tracing::warn!(error = %e, "tokens cannot be read again, trying at the next change");
                        true
                    }
                };
            }
            match changes.next().await {
                Some(WatchEvent::Lost) => stale = true,
                Some(event) => self.take_over(event),
                None => return,
            }
        }
    }

    fn is_admin(&self, text: &str) -> bool {
        let principal = self.verify(text);
        principal.is_ok_and(|p| p.scopes.contains(&Scope::Admin))
    }

    async fn store_record(
        &self,
        token: &Token,
        new: NewToken,
        local_admin: bool,
        revoke: Vec<TokenId>,
    ) -> Result<TokenInfo, AuthError> {
        let created = self.clock.now_utc();
        let info = TokenInfo {
            id: token.id().clone(),
            name: new.name,
            scopes: new.scopes,
            created,
            expires: new.lifetime.map(|lifetime| created + lifetime),
            last_four: token.last_four(),
            local_admin,
        };
        let record = Record {
            hash: token.hash(),
            info: info.clone(),
        };
        let json = record.to_json()?;
        let mut changes: Vec<_> = revoke.iter().map(|id| Change::Delete(key(id))).collect();
        changes.push(Change::Put(key(token.id()), json));
        let new = vec![Compare::Absent(key(token.id()))];
        if let Outcome::Refused(key, _) = self.store.transact(new, changes).await? {
            // 64 random bits met twice: the randomness is broken.
            return Err(AuthError::Randomness(format!("{key} was drawn before")));
        }
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records.retain(|id, _| !revoke.contains(id));
        records.insert(info.id.clone(), record);
        Ok(info)
    }

    async fn load(&self) -> Result<(), AuthError> {
        let mut all = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .store
                .list(STORE_PREFIX, after.as_deref(), PAGE)
                .await?;
            after = page.last().map(|entry| entry.key.clone());
            let full = page.len() == PAGE;
            for entry in page {
                match Record::from_json(id_of(&entry.key), &entry.value) {
                    Ok(record) => drop(all.insert(record.info.id.clone(), record)),
                    Err(e) => tracing::error!(error = %e, "token left out"),
                }
            }
            if !full {
                break;
            }
        }
        *self.records.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    fn take_over(&self, event: WatchEvent) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            WatchEvent::Put(entry) => match Record::from_json(id_of(&entry.key), &entry.value) {
                Ok(record) => drop(records.insert(record.info.id.clone(), record)),
                Err(e) => tracing::error!(error = %e, "token left out"),
            },
            WatchEvent::Deleted(key, _) => {
                if let Some(id) = TokenId::parse(id_of(&key)) {
                    records.remove(&id);
                }
            }
            WatchEvent::Lost => {}
        }
    }
}

fn generate() -> Result<Token, AuthError> {
    Token::generate().map_err(|e| AuthError::Randomness(e.to_string()))
}

/// The id in a key of the store.
fn id_of(key: &str) -> &str {
    key.strip_prefix(STORE_PREFIX).unwrap_or(key)
}

fn key(id: &TokenId) -> String {
    format!("{STORE_PREFIX}{id}")
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
