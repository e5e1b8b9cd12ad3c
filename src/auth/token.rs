//! The text of a token, `lain_<id>_<secret>`, and what is kept of it.
//!
//! The id (64 bits, hexadecimal) finds the record; the secret (256 bits, hexadecimal) proves the
//! right to it. Since the secret is random and long, one SHA-256 is a sufficient hash: there is
//! nothing to guess (NIST SP 800-63B asks for slow hashes only for what people choose).

use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// What each token begins with, so that secret scanners can find leaked ones.
pub const PREFIX: &str = "lain_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// Finds a token's record; no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

impl TokenId {
    /// The id in `text`, when it is one.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, ID_BYTES).then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A whole token. `Debug` shows only its id; there is no `Display`.
#[derive(Clone)]
pub struct Token {
    id: TokenId,
    secret: String,
}

impl Token {
    /// A new random token.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, SysError> {
        let mut id = [0; ID_BYTES];
        let mut secret = [0; SECRET_BYTES];
        SysRng.try_fill_bytes(&mut id)?;
        SysRng.try_fill_bytes(&mut secret)?;
        Ok(Self {
            id: TokenId(hex::encode(id)),
            secret: hex::encode(secret),
        })
    }

    /// Reads a token; `None` when `text` cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id = TokenId::parse(id)?;
        is_hex(secret, SECRET_BYTES).then(|| Self {
            id,
            secret: secret.to_owned(),
        })
    }

    /// Finds its record.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The text, for the one moment at which it is shown or written.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// What is stored instead of the secret.
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex::encode(Sha256::digest(self.secret.as_bytes())))
    }

    /// The last four characters, by which people tell tokens apart.
    pub fn last_four(&self) -> String {
        self.secret[self.secret.len() - 4..].to_owned()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_***", self.id)
    }
}

/// The SHA-256 of a token's secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(String);

impl TokenHash {
    /// A hash that no token has; comparing with it takes as long as with a real one.
    pub fn of_nothing() -> Self {
        Self("-".repeat(64))
    }

    /// Whether `token` has this hash, in a time that does not depend on where they differ.
    pub fn matches(&self, token: &Token) -> bool {
        let theirs = token.hash();
        self.0.as_bytes().ct_eq(theirs.0.as_bytes()).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `bytes` bytes in lower-case hexadecimal.
fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_matches_only_itself() {
        let (one, two) = (Token::generate().unwrap(), Token::generate().unwrap());
        let read = Token::parse(&one.expose()).unwrap();
        assert!(one.hash().matches(&read));
        assert!(!one.hash().matches(&two));
        assert!(!TokenHash::of_nothing().matches(&one));
        assert_eq!(one.expose().len(), 5 + 16 + 1 + 64);
        assert!(one.expose().ends_with(&one.last_four()));
    }

    #[test]
    fn nothing_of_the_secret_is_shown() {
        let token = Token::generate().unwrap();
        let shown = format!("{token:?} {:?}", token.hash());
        assert!(!shown.contains(&token.secret) && !shown.contains(&token.last_four()));
        assert!(shown.contains(token.id().as_str()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = Token::generate().unwrap().expose();
        let upper = good.to_uppercase();
        let longer = format!("{good}0");
        for bad in [
            "",
            "lain_",
            "lain__",
            "lain_x_y",
            &good[1..],
            &upper,
            &longer,
            &good[..80],
        ] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
