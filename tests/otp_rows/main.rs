//! The 102 behaviours of OTP's supervisor, one test each, over real actors.

mod first;
mod support;
