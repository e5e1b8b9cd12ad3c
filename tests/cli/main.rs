//! The command line against a server that answers from a script: exit codes, JSON, tables, progress.

mod changes;
mod connection;
mod exec;
mod fixtures;
mod reading;
mod reference;
mod streams;
mod support;
mod terminal;
mod usage;
