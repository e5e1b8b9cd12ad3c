//! The link between a node's agent and the control host: messages, framing, TLS.
//!
//! The agent dials. Both ends send whole frames of JSON over one TLS connection ([`frame`]); what they say
//! is in [`message`]. Assignments are level-triggered: what a frame lost, repeated or late changes is
//! nothing, since the next one says all that is to be. Who drives the two ends: `actors::agent::link` and
//! `actors::control::nodes`.
//!
//! Imports `domain` and `ports`.

pub mod api_tls;
pub mod frame;
pub mod identity;
pub mod message;
pub mod tls;
