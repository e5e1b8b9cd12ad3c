//! The actors of lain and the supervision library below them.
//!
//! `roles` starts the trees that are declared here; nothing in this folder
//! touches a driver, a socket or the console.

pub mod supervise;
