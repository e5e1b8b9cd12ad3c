//! The control host's half: desired state, apps, rollouts, and the handle that the API calls.

pub mod allocate;
pub mod app;
pub mod canary;
pub mod carry;
pub mod census;
pub mod conclude;
pub mod draining;
pub mod group;
pub mod handle;
pub mod history;
pub mod instance;
pub mod job;
pub mod moves;
pub mod nodes;
pub mod operation;
pub mod paths;
pub mod placing;
pub mod relocate;
pub mod render;
pub mod reread;
pub mod rollout;
pub mod schedule;
pub mod states;
pub mod steps;
pub mod views;
pub mod world;
