//! Who may call: tokens in the store. What they allow is in [`crate::ports::auth`].
//!
//! `web` asks [`Authenticator`] for every request; `roles` make the admin token and announce the
//! endpoint at start. Tokens are shown once; what is stored is a hash.

pub mod authenticator;
pub mod endpoint;
pub mod private_file;
pub mod record;
pub mod token;

pub use authenticator::Authenticator;
pub use endpoint::{Announced, Endpoint};
pub use record::{AuthError, NewToken, TokenInfo};
pub use token::{Token, TokenId};
