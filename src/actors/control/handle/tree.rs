//! The supervision tree as the API shows it, and what operators do to its children.

use super::Handle;
use crate::domain::view::ActorView;
use crate::ports::control::{ChildAction, ControlError};

impl Handle {
    pub(super) fn read_tree(&self, path: &str, depth: Option<u32>) -> Result<ActorView, ControlError> {
        let _ = depth;
        Err(super::not_found("actor", path, std::iter::empty()))
    }

    pub(super) fn read_actor(&self, path: &str) -> Result<ActorView, ControlError> {
        self.read_tree(path, Some(0))
    }

    pub(super) async fn act(&self, path: &str, action: ChildAction) -> Result<ActorView, ControlError> {
        let _ = action;
        self.read_actor(path)
    }
}
