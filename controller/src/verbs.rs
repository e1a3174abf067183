//! What can be done to objects, once for every wire: reads from the watch cache, writes through the writer. Decides nothing
//! about objects; the core does.
//!
//! Called by [`crate::objects`] (gRPC) and [`crate::rest`] (HTTP), which only translate.

mod list;
mod lists;
mod places;
mod select;
mod watch;

use std::sync::Arc;

use cellblock_controller_core::admit::{
    self, Admitted, Outcome, Propagation, Rejection, Request as Wanted, Validation,
};
use cellblock_controller_core::allocations::{self, Allocation};
use cellblock_controller_core::claim::Resource;
use cellblock_controller_core::events::Record;
use cellblock_controller_core::index::Entry;
use cellblock_schemas::{Kind, Uid};

use crate::identity::Caller;
use crate::newest::Since;
use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::writer;

pub(crate) use list::{Least, ListQuery, Listed, PAGE_BYTES_MAX};
pub(crate) use lists::{AllocationPage, EventPage, EventQuery, PAGE_MAX};
use places::Places;
pub(crate) use select::{RecordSelector, Selector};
pub(crate) use watch::{About, Event, Events, From, Held, WatchQuery, Watched};

/// The verbs.
pub(crate) struct Verbs {
    pub(crate) shared: Arc<Shared>,
    places: Places,
}

/// An admitted request, and the revision it was written at.
pub(crate) type Done = (Admitted, Option<u64>);

/// Which object shall go.
pub(crate) struct Removal {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Only this incarnation.
    pub(crate) uid: Option<Uid>,
    /// Only this revision.
    pub(crate) revision: Option<u64>,
    /// What becomes of what belongs to it.
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

/// What became of it.
pub(crate) struct Removed {
    pub(crate) admitted: Admitted,
    pub(crate) written: Option<u64>,
    /// Nothing holds it any more.
    pub(crate) gone: bool,
}

impl Verbs {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            places: Places::default(),
        }
    }

    /// Admits a request and writes what follows from it, or only says what would.
    pub(crate) async fn write(
        &self,
        wanted: Wanted,
        validation: Validation,
        dry_run: bool,
    ) -> Result<Done, RequestError> {
        self.write_one(&mut Since::default(), wanted, validation, dry_run)
            .await
    }

    /// The same for one of several writes of one request.
    pub(crate) async fn write_one(
        &self,
        since: &mut Since,
        wanted: Wanted,
        validation: Validation,
        dry_run: bool,
    ) -> Result<Done, RequestError> {
        let running = self.shared.running()?;
        let (wanted, told) = admit::without_unknown(wanted, validation)?;
        let validation = match &wanted {
            Wanted::Patch { .. } => validation,
            Wanted::Apply { .. }
            | Wanted::Create { .. }
            | Wanted::Update { .. }
            | Wanted::Delete { .. }
            | Wanted::Evict { .. } => Validation::Strict,
        };
        if dry_run {
            running.writer.newest().catch_up(since).await?;
            let index = running.cache.index();
            let mut admitted = admit::admit_as(&index, wanted, validation, &writer::now())?;
            admitted.warnings.extend(told);
            return Ok((admitted, None));
        }
        let written = running
            .writer
            .write_for(since, |index, now| {
                let mut admitted = admit::admit_as(index, wanted.clone(), validation, now)?;
                Ok::<_, RequestError>((admitted.write.take(), admitted))
            })
            .await?;
        let mut admitted = written.value;
        admitted.warnings.extend(told);
        Ok((admitted, written.revision))
    }

    /// Judges several requests, each as if those before it had been written, so that what two of them would quarrel about is
    /// seen before anything is.
    pub(crate) async fn rehearse(
        &self,
        wanted: impl IntoIterator<Item = Result<Wanted, RequestError>>,
    ) -> Result<Vec<Result<Done, Rejection>>, RequestError> {
        let running = self.shared.running()?;
        let newest = running.writer.newest();
        newest.catch_up(&mut Since::default()).await?;
        let mut index = running.cache.index().clone();
        let mut results = Vec::new();
        for wanted in wanted {
            let admitted =
                wanted.and_then(|wanted| Ok(admit::admit(&index, wanted, &writer::now())?));
            results.push(match admitted {
                Ok(mut admitted) => {
                    if let Some(write) = admitted.write.take() {
                        index.rehearse(write);
                    }
                    Ok((admitted, None))
                }
                Err(RequestError::Rejected(rejection)) => Err(rejection),
                Err(error) => return Err(error),
            });
        }
        Ok(results)
    }

    /// Asks for an object to go.
    pub(crate) async fn delete(&self, removal: Removal) -> Result<Removed, RequestError> {
        self.delete_one(&mut Since::default(), removal).await
    }

    /// The same for one of several objects of one request.
    pub(crate) async fn delete_one(
        &self,
        since: &mut Since,
        removal: Removal,
    ) -> Result<Removed, RequestError> {
        let Removal {
            kind,
            name,
            uid,
            revision,
            propagation,
            dry_run,
        } = removal;
        let wanted = Wanted::Delete {
            kind,
            name,
            uid,
            revision,
            propagation,
        };
        self.remove(since, wanted, dry_run).await
    }

    /// Asks for a jail to go if its set can do without it.
    pub(crate) async fn evict(
        &self,
        name: String,
        uid: Option<Uid>,
        dry_run: bool,
    ) -> Result<Removed, RequestError> {
        let since = &mut Since::default();
        self.remove(since, Wanted::Evict { name, uid }, dry_run)
            .await
    }

    async fn remove(
        &self,
        since: &mut Since,
        wanted: Wanted,
        dry_run: bool,
    ) -> Result<Removed, RequestError> {
        let done = self.write_one(since, wanted, Validation::Strict, dry_run);
        let (admitted, written) = done.await?;
        let mut gone = admitted.outcome == Outcome::Gone;
        if !gone && !dry_run {
            // Marked; if nobody uses it, it can go now, so that the client need not come back to see it gone.
            let running = self.shared.running()?;
            finish(&running, &admitted).await?;
            let index = running.cache.index();
            gone = index.get(admitted.kind, &admitted.name).is_none();
        }
        Ok(Removed {
            admitted,
            written,
            gone,
        })
    }

    /// One object.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        name: &str,
        least: Least,
    ) -> Result<Arc<Entry>, RequestError> {
        let running = self.shared.running()?;
        list::reached(&running, least).await?;
        let index = running.cache.index();
        let entry = index.get(kind, name);
        Ok(entry
            .ok_or_else(|| Rejection::not_found(kind, name))?
            .clone())
    }

    /// One page of a list.
    pub(crate) async fn list(&self, query: ListQuery) -> Result<Listed, RequestError> {
        let running = self.shared.running()?;
        list::list(&running, query).await
    }

    /// Waits until the index is as new as is asked for; its revision then.
    pub(crate) async fn reached(&self, least: Least) -> Result<u64, RequestError> {
        let running = self.shared.running()?;
        list::reached(&running, least).await
    }

    /// One page of the events that are asked for, of the index as it is; see [`Self::reached`].
    pub(crate) fn events(&self, query: &EventQuery) -> Result<EventPage, RequestError> {
        let running = self.shared.running()?;
        Ok(lists::events(&running.cache.index(), query))
    }

    /// One event, and the revision of its last write.
    pub(crate) async fn event(
        &self,
        name: &str,
        least: Least,
    ) -> Result<Option<(Arc<Record>, u64)>, RequestError> {
        let running = self.shared.running()?;
        list::reached(&running, least).await?;
        let index = running.cache.index();
        let found = index.records().get(name);
        Ok(found.map(|(record, revision)| (record.clone(), revision)))
    }

    /// One page of the allocations that are asked for, of at most about so many bytes.
    pub(crate) async fn allocations(
        &self,
        query: &allocations::Query,
        continue_token: &str,
        bytes_max: usize,
        least: Least,
    ) -> Result<AllocationPage, RequestError> {
        let running = self.shared.running()?;
        list::reached(&running, lists::least(continue_token, least)?).await?;
        lists::allocations(&running.cache.index(), query, continue_token, bytes_max)
    }

    /// One allocation, and the revision that it is read at.
    pub(crate) async fn allocation(
        &self,
        resource: &Resource,
        least: Least,
    ) -> Result<(Option<Allocation>, u64), RequestError> {
        let running = self.shared.running()?;
        list::reached(&running, least).await?;
        let index = running.cache.index();
        Ok((allocations::single(&index, resource), index.revision()))
    }

    /// Opens a watch for `caller`.
    pub(crate) async fn watch(
        &self,
        caller: &Caller,
        query: WatchQuery,
    ) -> Result<Watched, RequestError> {
        let running = self.shared.running()?;
        let place = Box::new(self.places.take(caller)?);
        let events = watch::open(self.shared.clone(), &running, query).await?;
        Ok(Watched { events, place })
    }
}

async fn finish(running: &Running, admitted: &Admitted) -> Result<(), RequestError> {
    running
        .writer
        .write(|index, now| {
            let write = admit::finish(index, admitted.kind, &admitted.name, now.timestamp);
            Ok::<_, RequestError>((write, ()))
        })
        .await?;
    Ok(())
}
