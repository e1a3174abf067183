//! What is kept for jails that are gone: the addresses and numbers that one had, so that the next jail of its name has them again unless somebody else needs them first.
//!
//! A wish and no claim: what is kept is free for everybody who asks for it by name, the allocator only takes it last. So nothing waits for it, and that nobody gets what somebody has rests on
//! claims alone. Written in the transaction that gives the claims back, taken away when a jail of the name is bound, and by `step` when it is old or there is too much of it.

use cellblock_schemas::jail::Binding;
use cellblock_schemas::{Jail, Uid};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::claim::Resource;
use crate::index::Index;
use crate::write::{Expect, Write};

/// How long something is kept: over a weekend, and over the holiday of whoever deleted too much.
pub const KEPT_AGE_MAX: SignedDuration = SignedDuration::from_hours(14 * 24);

/// For how many names something is kept. Each takes about 500 octets in the store and a few times that in memory, and one with 64 interfaces 20 KiB.
pub const KEPT_MAX: usize = 10_000;

/// For how many names it goes in one transaction, well within the store's limit of 128 comparisons: as many jails as were deleted together fall due together, and everything else waits for them.
const ENDED_MAX: usize = 50;

/// What is kept for one name, as it stands in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The jail that had it.
    pub uid: Uid,
    /// Since when.
    pub since: Timestamp,
    /// Its last host, and what it had by which interface.
    pub binding: Binding,
    /// The keys of its claims that are kept, from their scope on: an address of the host's end of a link is in no binding.
    #[serde(default)]
    claims: Vec<String>,
}

impl Kept {
    /// Reads what is stored. Of what this release cannot read it knows since when, so that it goes one day all the same.
    pub(crate) fn read(value: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Aged {
            since: Timestamp,
        }
        serde_json::from_slice(value).or_else(|error| {
            let aged: Aged = serde_json::from_slice(value).map_err(|_| error)?;
            Ok(Self {
                uid: Uid::default(),
                since: aged.since,
                binding: Binding::default(),
                claims: Vec::new(),
            })
        })
    }

    /// What is kept, as far as this release knows it.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        let claims = self.claims.iter();
        claims.filter_map(|claim| {
            let (scope, value) = claim.rsplit_once('/')?;
            Resource::parse(scope, value)
        })
    }

    /// Whether it has been kept long enough.
    fn is_old(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= KEPT_AGE_MAX
    }
}

/// Whether a resource is kept: one of many alike that are given out. What else a jail has stands in its spec.
fn is_kept(resource: &Resource) -> bool {
    match resource {
        Resource::Address { .. } | Resource::MacNumber(_) | Resource::UserIds(_) => true,
        Resource::Port { .. }
        | Resource::PublicAddress { .. }
        | Resource::JailName { .. }
        | Resource::Nic { .. }
        | Resource::Root { .. }
        | Resource::Slice { .. }
        | Resource::Fib(_) => false,
    }
}

/// Keeps what a jail has; for the transaction that gives it back. `jail` is the one that is stored: it still has its binding.
pub(crate) fn keep(index: &Index, jail: &Jail, write: &mut Write, now: Timestamp) {
    let Some(binding) = jail.binding() else {
        return;
    };
    let claims = index.claims().of(&jail.metadata.uid);
    // What it had given up it does not want.
    let claims = claims.filter(|(resource, claim)| is_kept(resource) && claim.retired.is_none());
    let claims = claims.map(|(resource, _)| format!("{}/{}", resource.scope(), resource.value()));
    let claims: Vec<String> = claims.collect();
    if claims.is_empty() {
        return;
    }
    let kept = Kept {
        uid: jail.metadata.uid.clone(),
        since: now,
        binding: binding.clone(),
        claims,
    };
    let kept = serde_json::to_vec(&kept).expect("what is kept has string keys only");
    write.put(index.keys().kept(&jail.metadata.name), kept);
}

/// Takes away what was kept for a jail that now has what it is to have.
pub(crate) fn end(index: &Index, jail: &str, write: &mut Write) {
    if index.kept(jail).is_some() {
        write.delete(index.keys().kept(jail));
    }
}

/// The names for which something was kept too long, or longest while it is too much.
pub(crate) fn due(index: &Index, now: Timestamp) -> impl Iterator<Item = &str> {
    let surplus = index.kept_count().saturating_sub(KEPT_MAX);
    let names = index.kept_by_age().enumerate();
    let names = names.take_while(move |(place, (_, kept))| *place < surplus || kept.is_old(now));
    names.map(|(_, (name, _))| name)
}

/// Takes away the oldest of them, if they still are what was looked at.
pub(crate) fn step(index: &Index, now: Timestamp) -> Option<Write> {
    let mut write = Write::default();
    for name in due(index, now).take(ENDED_MAX) {
        let key = index.keys().kept(name);
        write.expect(key.clone(), Expect::At(index.kept_revision(name)?));
        write.delete(key);
    }
    (!write.changes.is_empty()).then_some(write)
}

#[cfg(test)]
mod tests;
