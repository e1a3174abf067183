//! Lists of what is no object: allocations and events. Read from the index as it is when a page is asked for.

use std::sync::Arc;

use cellblock_controller_core::Index;
use cellblock_controller_core::allocations::{self, Allocation, Query};
use cellblock_controller_core::events::Record;

/// How many are on a page at most.
pub(crate) const PAGE_MAX: usize = 1_000;

/// Which events are asked for; empty texts do not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQuery {
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Behind the record of that name.
    pub(crate) after: String,
    pub(crate) limit: usize,
}

/// A page of events.
pub(crate) struct EventPage {
    pub(crate) records: Vec<(Arc<Record>, u64)>,
    pub(crate) is_more: bool,
    pub(crate) revision: u64,
}

pub(super) fn events(
    index: &Index,
    query: &EventQuery,
    is_wanted: impl Fn(&Record) -> bool,
) -> EventPage {
    let after = (!query.after.is_empty()).then_some(query.after.as_str());
    let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
    let mut found = index.records().list(after).filter(|(record, _)| {
        fits(&query.kind, &record.about.kind)
            && fits(&query.name, &record.about.name)
            && is_wanted(record)
    });
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
