//! Images of Docker Engine: found locally, else pulled with progress.
//!
//! Called by [`super::Docker::ensure_image`]. Never asks a registry for an image that is here.

use super::client::Client;
use super::error::Subject;
use crate::ports::runtime::{PullObserver, PullProgress, RuntimeError};
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long an image that was seen is not looked for again: a deploy of many instances asks once.
const SEEN: Duration = Duration::from_secs(2);

/// When an image was last seen. Whoever holds it looks for the image; all others wait for the outcome.
type Turn = Arc<tokio::sync::Mutex<Option<Instant>>>;

/// Images that were asked for lately.
#[derive(Debug, Default)]
pub(super) struct Images {
    turns: Mutex<HashMap<String, Turn>>,
}

impl Images {
    /// The turn of one image. Those that nobody waits for and that were not seen lately are let go.
    fn turn(&self, image: &str) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| {
            Arc::strong_count(turn) > 1 || turn.try_lock().is_ok_and(|seen| is_fresh(*seen))
        });
        Arc::clone(turns.entry(image.to_owned()).or_default())
    }

    /// It turned out not to be there.
    pub(super) fn forget(&self, image: &str) {
        self.turns
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(image);
    }
}

fn is_fresh(seen: Option<Instant>) -> bool {
    seen.is_some_and(|seen| seen.elapsed() < SEEN)
}

pub(super) async fn ensure(
    client: &Client,
    images: &Images,
    image: &str,
    progress: &PullObserver,
) -> Result<(), RuntimeError> {
    let turn = images.turn(image);
    let mut seen = turn.lock().await;
    if is_fresh(*seen) {
        return Ok(());
    }
    if let Err(error) = client.get().await?.inspect_image(image).await {
        match client.failure(error, Subject::image("find", image)) {
            RuntimeError::NoImage { .. } => pull(client, image, progress).await?,
            other => return Err(other),
        }
    }
    *seen = Some(Instant::now());
    Ok(())
}

async fn pull(client: &Client, image: &str, progress: &PullObserver) -> Result<(), RuntimeError> {
    let (name, tag) = split(image);
    let options = CreateImageOptionsBuilder::new()
        .from_image(name)
        .tag(tag)
        .build();
    let mut steps = client.get().await?.create_image(Some(options), None, None);
    while let Some(step) = steps
        .try_next()
        .await
        .map_err(|e| client.failure(e, Subject::image("pull", image)))?
    {
        progress(told(step));
    }
    Ok(())
}

/// Name and tag or digest. Without a tag the engine would pull every tag, so it is `latest`.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

fn told(step: CreateImageInfo) -> PullProgress {
    let bytes = step.progress_detail.unwrap_or_default();
    let unsigned = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    PullProgress {
        status: step.status.unwrap_or_default(),
        layer: step.id,
        current: unsigned(bytes.current),
        total: unsigned(bytes.total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tags_ports_and_digests_are_told_apart() {
        assert_eq!(split("hello"), ("hello", "latest"));
        assert_eq!(split("lain/hello:1"), ("lain/hello", "1"));
        assert_eq!(
            split("localhost:5000/hello"),
            ("localhost:5000/hello", "latest")
        );
        assert_eq!(
            split("localhost:5000/hello:2"),
            ("localhost:5000/hello", "2")
        );
        assert_eq!(split("hello@sha256:ab"), ("hello", "sha256:ab"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_is_fresh_for_a_moment_and_then_forgotten() {
        let images = Images::default();
        *images.turn("hello").lock().await = Some(Instant::now());
        assert!(is_fresh(*images.turn("hello").lock().await));
        tokio::time::advance(SEEN).await;
        assert!(!is_fresh(*images.turn("hello").lock().await));
        images.turn("other");
        assert_eq!(images.turns.lock().unwrap().len(), 1);
    }
}
