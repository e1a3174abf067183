//! Lists of what is no object: allocations and events. Read from the index as it is when a page is asked for.

use std::sync::Arc;

use cellblock_controller_core::Index;
use cellblock_controller_core::allocations::{self, Allocation, Query};
use cellblock_controller_core::events::Record;
use cellblock_schemas::Uid;

use super::RecordSelector;

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

pub(super) fn allocations(index: &Index, query: &Query) -> (Vec<Allocation>, bool) {
    let query = Query {
        limit: query.limit.min(PAGE_MAX),
        ..query.clone()
    };
    allocations::list(index, &query)
}
