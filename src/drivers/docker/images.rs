//! Images of Docker Engine: found locally, else pulled with progress.
//!
//! Called by [`super::Docker::ensure_image`]. Never asks a registry for an image that is here.

use super::client::Client;
use super::error::Subject;
use crate::ports::runtime::{PullObserver, PullProgress, RuntimeError};
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;

pub(super) async fn ensure(
    client: &Client,
    image: &str,
    progress: &PullObserver,
) -> Result<(), RuntimeError> {
    let local = client.get().await?.inspect_image(image).await;
    let Err(error) = local else { return Ok(()) };
    match client.failure(error, Subject::image("find", image)) {
        RuntimeError::NoImage { .. } => pull(client, image, progress).await,
        other => Err(other),
    }
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
    use super::split;

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
}
