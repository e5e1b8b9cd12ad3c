//! Reading an app's record again where the store may have another one than the mirror: a write that was said to have
//! failed may have been carried out.

use crate::actors::control::rollout::{Begin, Rollout};
use crate::actors::control::world::decode;
use crate::actors::control::{app, paths};
use crate::actors::shared::Shared;
use crate::domain::id::AppName;
use crate::domain::record::{AppRecord, keys};
use crate::ports::store::{Entry, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// The pause before the store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The store has another record of an app than the mirror: a write was carried out although it was said to have
/// failed. What the store has counts, and the operation that it names begins.
///
/// # Errors
/// What the store said.
pub async fn take_over(
    shared: &Arc<Shared>,
    app: &AppName,
    entry: &Entry,
) -> Result<(), StoreError> {
    let record: AppRecord = decode(entry)?;
    if let Some(id) = &record.operation
        && shared.world.operation(id).is_none()
        && let Some(kept) = shared.store.get(&keys::operation(id.as_str())).await?
    {
        shared.world.put_operation(decode(&kept)?);
    }
    let known = shared.world.app(app).map_or(0, |a| a.revision);
    if known < entry.revision {
        shared.world.put_app(record, entry.revision);
    }
    if let Err(reason) = app::ensure_app(shared, app).await {
        tracing::warn!(%app, reason, "an app whose change was cut off cannot go on yet");
    }
    shared.tell::<Rollout, _>(&paths::rollout(app), Begin);
    Ok(())
}

/// A write of an app's record failed, and whether it was carried out is not known: the store is asked until it
/// answers.
pub fn look_again(shared: &Arc<Shared>, app: &AppName) {
    let (shared, app) = (Arc::clone(shared), app.clone());
    actix_rt::spawn(async move {
        loop {
            let looked = match shared.store.get(&keys::app(&app)).await {
                Ok(Some(entry)) => take_over(&shared, &app, &entry).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            match looked {
                Ok(()) => return,
                Err(error) => tracing::warn!(%app, %error, "the store is asked again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
}
