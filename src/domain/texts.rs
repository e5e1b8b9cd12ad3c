//! The texts that the containers of one proc have in common, held once however many there are.

use crate::domain::id::ProcName;
use arcstr::ArcStr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A text that many share.
pub type Text = ArcStr;

/// What all containers of a proc of one release say alike.
#[derive(Debug, Default)]
pub struct ProcTexts {
    /// The hash of what needs a new container when it changes.
    pub hash: Text,
    /// LAIN's annotation.
    pub annotation: Text,
    /// LAIN's name of the group.
    pub group: Text,
    /// The app.
    pub app: Text,
    /// The proc.
    pub proc: Text,
    /// Its type.
    pub proc_type: Text,
    /// Environment variables before those of the instance.
    pub env_before: Vec<(Text, Text)>,
    /// Environment variables after those of the instance.
    pub env_after: Vec<(Text, Text)>,
    /// The labels that `lain.yaml` declares.
    pub labels: Vec<(Text, Text)>,
}

/// The texts of a release's procs, each made once: a release never changes, and has many instances. Of no account
/// in a comparison, and not copied, since a copy may be changed.
#[derive(Debug, Default)]
pub struct Texts(Mutex<BTreeMap<(ProcName, String), Arc<ProcTexts>>>);

impl Texts {
    /// Those of a proc with an image.
    pub fn of(
        &self,
        proc: &ProcName,
        image: &str,
        make: impl FnOnce() -> ProcTexts,
    ) -> Arc<ProcTexts> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (proc.clone(), image.to_owned());
        let texts = known.entry(key).or_insert_with(|| Arc::new(make()));
        Arc::clone(texts)
    }
}

impl Clone for Texts {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Texts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
