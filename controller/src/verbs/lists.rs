//! Lists of what is no object: allocations and events. Each page is read from the index as it is when it is asked for.

use std::sync::Arc;

use cellblock_controller_core::Index;
use cellblock_controller_core::allocations::{self, Allocation, Query};
use cellblock_controller_core::claim::Resource;
use cellblock_controller_core::events::Record;
use cellblock_schemas::Uid;

use super::{Least, RecordSelector};
use crate::status::RequestError;

/// How many are on a page at most.
pub(crate) const PAGE_MAX: usize = 1_000;

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQuery {
    pub(crate) selector: RecordSelector,
    /// Behind the record of that name; empty: from the first.
    pub(crate) after: String,
    pub(crate) limit: usize,
}

/// A page of events.
pub(crate) struct EventPage {
    pub(crate) records: Vec<(Arc<Record>, u64)>,
    pub(crate) is_more: bool,
    pub(crate) revision: u64,
}

pub(super) fn events(index: &Index, query: &EventQuery) -> EventPage {
    let after = (!query.after.is_empty()).then_some(query.after.as_str());
    let all = index.records();
    let found: Box<dyn Iterator<Item = (&Arc<Record>, u64)>> = match query.selector.uid() {
        None => Box::new(all.list(after)),
        // Of one object no other records are looked at.
        Some(uid) => {
            let mut of: Vec<_> = all.of(&Uid(uid.to_owned())).collect();
            of.sort_unstable_by_key(|(record, _)| &record.name);
            of.retain(|(record, _)| after.is_none_or(|after| *record.name > *after));
            Box::new(of.into_iter())
        }
    };
    let mut found = found.filter(|(record, _)| query.selector.matches(record));
    let records = found
        .by_ref()
        .take(query.limit)
        .map(|(record, revision)| (record.clone(), revision));
    let records = records.collect();
    EventPage {
        records,
        is_more: found.next().is_some(),
        revision: index.revision(),
    }
}

/// A page of allocations.
pub(crate) struct AllocationPage {
    pub(crate) allocations: Vec<Allocation>,
    /// Of the list's first page: nothing on any page is older.
    pub(crate) revision: u64,
    /// Where the next page begins; empty on the last.
    pub(crate) continue_token: String,
}

/// How many allocations are looked through for one page at most.
const ALLOCATIONS_MAX: usize = 20_000;

/// About how many octets an allocation has on the wire beside its texts.
const ALLOCATION_BYTES: usize = 64;

/// Behind a page: the revision of the first, and its last resource.
fn token(revision: u64, last: &Resource) -> String {
    format!("{revision}:{}/{}", last.scope(), last.value())
}

fn read_token(token: &str) -> Option<(u64, Resource)> {
    let (revision, key) = token.split_once(':')?;
    let (scope, value) = key.rsplit_once('/')?;
    Some((revision.parse().ok()?, Resource::parse(scope, value)?))
}

/// How new the index has to be for a page: the first as is asked for, the others as that one was.
pub(super) fn least(continue_token: &str, asked: Least) -> Result<Least, RequestError> {
    match continue_token {
        "" => Ok(asked),
        text => Ok(Least::At(from(text)?.0)),
    }
}

fn from(token: &str) -> Result<(u64, Resource), RequestError> {
    read_token(token).ok_or_else(|| {
        let message = "the continue token is none of a list of allocations";
        RequestError::Malformed(message.to_owned())
    })
}

/// One page. What is given out is not known as it was at an earlier revision, and of a busy cluster a list that had to begin anew with every jail that comes or goes would never end:
/// so each page is as of now, and goes on behind the last resource of the one before.
pub(super) fn allocations(
    index: &Index,
    query: &Query,
    continue_token: &str,
    bytes_max: usize,
) -> Result<AllocationPage, RequestError> {
    let from = match continue_token {
        "" => None,
        text => Some(from(text)?),
    };
    let revision = from.as_ref().map_or(index.revision(), |(at, _)| *at);
    let query = Query {
        after: from.map(|(_, after)| after),
        limit: query.limit.min(ALLOCATIONS_MAX),
        ..query.clone()
    };
    let (mut allocations, mut is_more) = allocations::list(index, &query);
    let mut bytes = 0;
    let fits = allocations.iter().take_while(|one| {
        let fits = bytes < bytes_max;
        let texts = [&one.value, &one.network, &one.scope, &one.host, &one.owner];
        bytes += ALLOCATION_BYTES + texts.map(String::len).iter().sum::<usize>();
        fits
    });
    let fits = fits.count();
    is_more |= fits < allocations.len();
    allocations.truncate(fits);
    let last = allocations.last().filter(|_| is_more);
    let continue_token = last.map(|last| token(revision, &last.resource));
    Ok(AllocationPage {
        continue_token: continue_token.unwrap_or_default(),
        allocations,
        revision,
    })
}
