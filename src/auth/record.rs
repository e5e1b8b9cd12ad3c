//! What is kept and shown of tokens, and what can go wrong with them. Plain data.

use crate::auth::token::{TokenHash, TokenId};
use crate::ports::auth::Scope;
use crate::ports::store::StoreError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Why a request was not let in, or a token not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// What came is no token of lain.
    #[error("that is not a token of lain; one begins with lain_")]
    Malformed,
    /// No such token, or it was revoked.
    #[error("the token is not valid here; it was revoked, or belongs to another lain")]
    Unknown,
    /// Its time is over.
    #[error("token {name} expired at {at}; ask an administrator for a new one")]
    Expired {
        /// The token's name.
        name: String,
        /// When it did.
        at: DateTime<Utc>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record in the store cannot be read.
    #[error("the record of token {id} cannot be read: {reason}; revoke it and make another")]
    Record {
        /// The key in the store.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The token could not be made or written.
    #[error("failed to write the token to {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gives no random numbers: {0}")]
    Randomness(String),
}

impl AuthError {
    /// Says the kind of error only: serde's text would quote the record.
    fn record(id: &str, error: &serde_json::Error) -> Self {
        Self::Record {
            id: id.to_owned(),
            reason: format!("{:?} error at column {}", error.classify(), error.column()),
        }
    }
}

/// What is stored of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What the secret is checked against.
    pub hash: TokenHash,
    /// The rest.
    #[serde(flatten)]
    pub info: TokenInfo,
}

impl Record {
    /// Its form in the store.
    ///
    /// # Errors
    /// [`AuthError::Record`].
    pub fn to_json(&self) -> Result<Vec<u8>, AuthError> {
        serde_json::to_vec(self).map_err(|e| AuthError::record(self.info.id.as_str(), &e))
    }

    /// Reads what [`Record::to_json`] wrote for token `id`.
    ///
    /// # Errors
    /// [`AuthError::Record`].
    pub fn from_json(id: &str, json: &[u8]) -> Result<Self, AuthError> {
        serde_json::from_slice(json).map_err(|e| AuthError::record(id, &e))
    }
}

/// What may be shown of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Finds it.
    pub id: TokenId,
    /// Who or what it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When it stops being valid.
    pub expires: Option<DateTime<Utc>>,
    /// The last four characters of its secret.
    pub last_four: String,
    /// It was made by lain itself for the data directory's `admin.token`.
    #[serde(default)]
    pub local_admin: bool,
}

/// What a new token shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Who or what it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// How long it lives; `None`: for ever.
    pub lifetime: Option<Duration>,
}
