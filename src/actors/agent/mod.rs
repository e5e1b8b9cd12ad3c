//! `nodes/node/<name>`: what runs on one node. rest_for_one: the engine first, then the containers, then logging.

pub mod assigned;
pub mod assignments;
pub mod bring_up;
pub mod cell;
pub mod changes;
pub mod container;
pub mod crash;
pub mod engine;
pub mod facts;
pub mod far_index;
pub mod fence;
pub mod health;
pub mod link;
pub mod logging;
pub mod logs;
pub mod node;
pub mod outbox;
pub mod paths;
pub mod process;
pub mod put_away;
pub mod root;
pub mod serve;
pub mod spares;
pub mod tell;
