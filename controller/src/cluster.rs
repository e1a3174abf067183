//! The cluster's identity: made in the store by whichever controller comes first, read by all others.

use cellblock_controller_core::keys::{CLUSTER_KEY, Keys};
use cellblock_schemas::ClusterUid;
use cellblock_store::{Error, Expect, Key, SharedStore, Transaction};

/// The epoch of a cluster that was never restored or migrated.
const FIRST_EPOCH: &str = "1";

/// Reads the cluster's uid, or makes it together with the first epoch in a store that has none.
///
/// # Errors
/// The store does not answer, or holds something that is no uid.
pub(crate) async fn identify(store: &SharedStore) -> Result<ClusterUid, Error> {
    let key = Key::from(CLUSTER_KEY);
    loop {
        if let Some(item) = store.get(&key, None).await?.item {
            let uid = std::str::from_utf8(&item.value)
                .ok()
                .filter(|uid| is_uid(uid));
            return uid.map(|uid| ClusterUid(uid.to_owned())).ok_or_else(|| {
                Error::Invalid(format!(
                    "{CLUSTER_KEY} in {} holds no cluster uid",
                    store.location()
                ))
            });
        }
        let uid = ClusterUid(uuid::Uuid::new_v4().to_string());
        let epoch = Keys::new(&uid).epoch();
        let first = Transaction::new()
            .expect(key.clone(), Expect::Absent)
            .put(key.clone(), uid.0.clone().into_bytes())
            .put(epoch, FIRST_EPOCH.as_bytes().to_vec());
        match store.commit(first).await {
            Ok(_) => {
                tracing::info!(cluster = %uid, "made a new cluster");
                return Ok(uid);
            }
            // Another controller was first: read what it made.
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The uid becomes a part of keys and of marks on hosts, so only what cannot break either counts as one.
fn is_uid(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
