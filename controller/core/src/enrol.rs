//! Enrolment: which key may speak for a host. The first agent to come brings the key; after that nobody with another one may,
//! until the operator says so in `spec.keyFingerprint`.

use cellblock_schemas::{HostStatus, Kind, Object};

use crate::admit::draft::Draft;
use crate::index::Index;
use crate::write::Write;

/// Another key than the host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "host {host} is known by the key {theirs}, this agent shows {ours}: if the machine was set up anew, or has a new certificate, accept its key with `jailctl host accept-key {host} {ours}`; otherwise give this machine a name of its own"
)]
pub struct KeyRefused {
    /// The Host's name.
    pub host: String,
    /// The host's key.
    pub theirs: String,
    /// The agent's key.
    pub ours: String,
}

/// Pins the key of the first agent that speaks for a host. Nothing is to be written for one that is pinned already.
///
/// # Errors
/// Another key is.
pub fn pin(index: &Index, host: &str, key: &str) -> Result<Option<Write>, KeyRefused> {
    let Some(entry) = index.get(Kind::Host, host) else {
        return Ok(None);
    };
    let mut draft = Draft::of(index, entry);
    if let Object::Host(object) = &mut draft.object {
        let status = object.status.get_or_insert_with(HostStatus::default);
        let said = object.spec.key_fingerprint.as_ref();
        match said.or(status.key_fingerprint.as_ref()) {
            Some(pinned) if pinned != key => {
                return Err(KeyRefused {
                    host: host.to_owned(),
                    theirs: pinned.clone(),
                    ours: key.to_owned(),
                });
            }
            Some(_) | None => status.key_fingerprint = Some(key.to_owned()),
        }
    }
    // The document grows by a fingerprint; should it be too large for that, the key is pinned when it is smaller.
    Ok(draft.finish(Vec::new()).ok().and_then(|done| done.write))
}

#[cfg(test)]
mod tests;
