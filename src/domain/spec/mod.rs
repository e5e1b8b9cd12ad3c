//! `lain.yaml`: one strict parser for the CLI and the server alike.

pub mod model;
