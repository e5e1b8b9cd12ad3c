//! Behaviours beyond OTP's rows: containment, stuck handlers, extensions,
//! references and what can be seen.

mod containment;
mod extensions;
mod observation;
mod references;
mod stuck;
mod support;
