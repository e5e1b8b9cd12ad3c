//! etcd's leases. Their times are whole seconds, at least two with etcd's own defaults.

use crate::drivers::etcd::{EtcdStore, Shared, error, unsigned};
use crate::ports::lease::{Lease, Leases};
use crate::ports::store::{Change, Compare, Outcome, StoreError};
use async_trait::async_trait;
use etcd_client::Error;
use std::time::Duration;

#[async_trait]
impl Leases for EtcdStore {
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        // A lease that was granted without our knowledge ends by itself.
        let granted = self.shared.once("get a lease", |client| async move {
            client.lease_client().grant(seconds, None).await
        });
        let granted = granted.await?;
        Ok(Lease {
            id: granted.id(),
            ttl: Duration::from_secs(unsigned(granted.ttl())),
        })
    }

    async fn keep_alive(&self, lease: Lease) -> Result<bool, StoreError> {
        let mut client = self.shared.client.lease_client();
        let call = client.keep_alive(lease.id);
        match tokio::time::timeout(self.shared.config.call_timeout, call).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(Error::LeaseKeepAliveError(_))) => Ok(false),
            Ok(Err(e)) if is_gone(&e) => Ok(false),
            other => error::flat("keep the lease", other).map(|_| true),
        }
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        let mut client = self.shared.client.lease_client();
        let call = client.revoke(lease.id);
        match tokio::time::timeout(self.shared.config.call_timeout, call).await {
            Ok(Err(e)) if is_gone(&e) => Ok(()),
            other => error::flat("end the lease", other).map(drop),
        }
    }

    async fn attach(&self, lease: Lease, key: &str, value: Vec<u8>) -> Result<Outcome, StoreError> {
        let shared: &Shared = &self.shared;
        let absent = [Compare::Absent(key.to_owned())];
        let put = vec![Change::Put(key.to_owned(), value)];
        shared.transact(&absent, put, Some(lease.id)).await
    }

    async fn holds(&self, lease: Lease, key: &str) -> Result<bool, StoreError> {
        let full = self.shared.key(key);
        let found = self.shared.patiently("read", |client| {
            let full = full.clone();
            async move { client.kv_client().get(full, None).await }
        });
        let found = found.await?;
        Ok(found.kvs().first().is_some_and(|kv| kv.lease() == lease.id))
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("lease not found"))
}
