//! The texts that the containers of one proc have in common, held once however many there are.

use crate::domain::id::ProcName;
use arcstr::ArcStr;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A text that many share.
pub type Text = ArcStr;

/// Pairs of texts as those take them who need strings of their own.
pub fn strings(texts: &BTreeMap<Text, Text>) -> impl Iterator<Item = (String, String)> {
    texts
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
}

/// What all containers of a proc of one release say alike.
#[derive(Default)]
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
#[derive(Default)]
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

/// Without what they say: values of environment variables may be secrets.
impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_no_value() {
        let texts = Texts::default();
        let made = || ProcTexts {
            env_before: vec![("PASSWORD".into(), "correct horse".into())],
            ..ProcTexts::default()
        };
        let kept = texts.of(&ProcName::new("web").unwrap(), "web:1", made);
        assert_eq!(kept.env_before.len(), 1);
        assert!(!format!("{texts:?}").contains("horse"));
    }
}
