//! The objects' gRPC service: turns messages into the verbs' requests and back. Decides nothing.

use std::pin::Pin;
use std::sync::Arc;

use cellblock_controller_core::admit::{Rejection, Request as Wanted, Through, Validation};
use cellblock_controller_core::rules::Together;
use cellblock_proto::v1;
use cellblock_proto::v1::objects_server::Objects;
use cellblock_schemas::{Kind, Uid};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::authorise::caller_of;
use crate::newest::Since;
use crate::patience::patient;
use crate::status::RequestError;
use crate::verbs::{
    About, EventQuery, From, Least, ListQuery, PAGE_BYTES_MAX, PAGE_MAX, RecordSelector, Removal,
    Removed, Selector, Verbs, WatchQuery,
};
use crate::{telemetry, wire};

/// Who writes when the client does not say.
const MANAGER: &str = "jailctl";

/// The service.
pub(crate) struct ObjectsService(Arc<Verbs>);

impl ObjectsService {
    pub(crate) fn new(verbs: Arc<Verbs>) -> Self {
        Self(verbs)
    }

    async fn apply_all(
        &self,
        request: v1::ApplyRequest,
    ) -> Result<v1::ApplyResponse, RequestError> {
        let together = Arc::new(together(&request.objects));
        let wanted = request.objects.into_iter().map(|object| {
            let (kind, document) = wire::document(Some(object))?;
            Ok(Wanted::Apply {
                kind,
                document,
                through: Through::Object,
                manager: request.field_manager.clone(),
                force: request.force,
                together: together.clone(),
            })
        });
        if request.dry_run {
            let results = self.0.rehearse(wanted).await?;
            let results = results.into_iter().map(wire::applied).collect();
            return Ok(v1::ApplyResponse { results });
        }
        let mut results = Vec::new();
        let mut since = Since::default();
        for wanted in wanted {
            let applied = match wanted {
                Ok(wanted) => {
                    let strict = Validation::Strict;
                    self.0.write_one(&mut since, wanted, strict, false).await
                }
                Err(error) => Err(error),
            };
            let result: Result<_, Rejection> = match applied {
                Ok(applied) => Ok(applied),
                Err(RequestError::Rejected(rejection)) => Err(rejection),
                Err(error) => return Err(error),
            };
            results.push(wire::applied(result));
        }
        Ok(v1::ApplyResponse { results })
    }

    async fn write(
        &self,
        wanted: Wanted,
        dry_run: bool,
    ) -> Result<v1::WriteResponse, RequestError> {
        let (admitted, written) = self.0.write(wanted, Validation::Strict, dry_run).await?;
        Ok(v1::WriteResponse {
            object: Some(wire::admitted(&admitted, written)),
            warnings: wire::warnings(&admitted),
        })
    }

    async fn remove(&self, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, RequestError> {
        let removal = Removal {
            kind: wire::kind(&request.kind)?,
            name: request.name,
            uid: (!request.uid.is_empty()).then_some(Uid(request.uid)),
            revision: (request.revision != 0).then_some(request.revision),
            propagation: wire::propagation(&request.propagation_policy)?,
            dry_run: request.dry_run,
        };
        Ok(went(&self.0.delete(removal).await?))
    }

    async fn ask_to_leave(
        &self,
        request: v1::EvictRequest,
    ) -> Result<v1::DeleteResponse, RequestError> {
        let uid = (!request.uid.is_empty()).then_some(Uid(request.uid));
        let evicted = self.0.evict(request.name, uid, request.dry_run).await?;
        Ok(went(&evicted))
    }

    async fn allocations(
        &self,
        request: &v1::ListAllocationsRequest,
    ) -> Result<v1::ListAllocationsResponse, RequestError> {
        let query = wire::allocations_query(request)?;
        let token = &request.continue_token;
        let page = self
            .0
            .allocations(&query, token, PAGE_BYTES_MAX, Least::Newest)
            .await?;
        Ok(v1::ListAllocationsResponse {
            allocations: page.allocations.into_iter().map(wire::allocation).collect(),
            continue_token: page.continue_token,
            revision: page.revision,
        })
    }

    async fn events(
        &self,
        request: v1::ListEventsRequest,
    ) -> Result<v1::ListEventsResponse, RequestError> {
        let mut selector = RecordSelector::read("", &request.field_selector)?;
        for (field, wanted) in [
            ("involvedObject.kind", &request.kind),
            ("involvedObject.name", &request.name),
        ] {
            if !wanted.is_empty() {
                selector = selector.with(field, wanted);
            }
        }
        let query = EventQuery {
            selector,
            after: request.continue_token,
            limit: wire::page(request.limit, PAGE_MAX),
        };
        self.0.reached(Least::Newest).await?;
        let page = self.0.events(&query)?;
        let last = page.records.last().filter(|_| page.is_more);
        let continue_token = last.map(|(record, _)| record.name.clone());
        let events = page.records.iter();
        Ok(v1::ListEventsResponse {
            events: events
                .map(|(record, revision)| wire::record(record, *revision))
                .collect(),
            continue_token: continue_token.unwrap_or_default(),
        })
    }

    async fn page(&self, request: v1::ListRequest) -> Result<v1::ListResponse, RequestError> {
        let kind = wire::kind(&request.kind)?;
        let selector = Selector::read(kind, &request.label_selector, &request.field_selector)?;
        let query = ListQuery {
            limit: request.limit as usize,
            continue_token: request.continue_token,
            least: Least::of(request.not_older_than),
            ..ListQuery::all(kind, selector)
        };
        let listed = self.0.list(query).await?;
        let objects = listed.entries.iter();
        Ok(v1::ListResponse {
            objects: objects.map(|entry| wire::object(kind, entry)).collect(),
            revision: listed.revision,
            continue_token: listed.continue_token,
        })
    }
}

fn went(removed: &Removed) -> v1::DeleteResponse {
    v1::DeleteResponse {
        object: Some(wire::admitted(&removed.admitted, removed.written)),
        gone: removed.gone,
    }
}

/// What a watch is about.
fn watched(request: &v1::WatchRequest) -> Result<WatchQuery, RequestError> {
    let (labels, fields) = (&request.label_selector, &request.field_selector);
    let about = match request.kind.as_str() {
        wire::EVENT => {
            let selector = RecordSelector::read(labels, fields)?;
            About::Records(match request.name.as_str() {
                "" => selector,
                name => selector.with("metadata.name", name),
            })
        }
        kind => {
            let (kinds, selector) = match kind {
                "" if fields.is_empty() => (Kind::ALL.to_vec(), Selector::of_labels(labels)?),
                "" => {
                    let what = "a field selector is of one kind, and the request names none";
                    return Err(RequestError::Malformed(what.to_owned()));
                }
                kind => {
                    let kind = wire::kind(kind)?;
                    (vec![kind], Selector::read(kind, labels, fields)?)
                }
            };
            About::Objects(
                kinds,
                match request.name.as_str() {
                    "" => selector,
                    name => selector.named(name),
                },
            )
        }
    };
    Ok(WatchQuery {
        about,
        from: match request.revision {
            0 => From::Present(Least::Any),
            revision => From::After(revision),
        },
    })
}

/// What is applied together. What cannot be read is refused by itself.
fn together(objects: &[v1::Object]) -> Together {
    if objects.len() < 2 {
        return Together::default();
    }
    let read = |object: &v1::Object| wire::document(Some(object.clone())).ok();
    let documents: Vec<_> = objects.iter().filter_map(read).collect();
    Together::of(documents.iter().map(|(kind, document)| (*kind, document)))
}

fn manager(said: String) -> String {
    if said.is_empty() {
        MANAGER.to_owned()
    } else {
        said
    }
}

#[tonic::async_trait]
impl Objects for ObjectsService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEvent, Status>> + Send>>;

    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let applied = self.apply_all(request.into_inner());
        telemetry::observed("Apply", applied).await
    }

    async fn create(
        &self,
        request: Request<v1::CreateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        let created = async {
            let (kind, document) = wire::document(request.object)?;
            let wanted = Wanted::Create {
                kind,
                document,
                manager: manager(request.field_manager),
            };
            self.write(wanted, request.dry_run).await
        };
        telemetry::observed("Create", created).await
    }

    async fn update(
        &self,
        request: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        let updated = async {
            let (kind, document) = wire::document(request.object)?;
            let wanted = Wanted::Update {
                kind,
                document,
                through: Through::Object,
                manager: manager(request.field_manager),
            };
            self.write(wanted, request.dry_run).await
        };
        telemetry::observed("Update", updated).await
    }

    async fn update_status(
        &self,
        request: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        let updated = async {
            let (kind, document) = wire::document(request.object)?;
            let wanted = Wanted::Update {
                kind,
                document,
                through: Through::Status,
                manager: manager(request.field_manager),
            };
            self.write(wanted, request.dry_run).await
        };
        telemetry::observed("UpdateStatus", updated).await
    }

    async fn patch(
        &self,
        request: Request<v1::PatchRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        let patched = async {
            let dry_run = request.dry_run;
            let wanted = Wanted::Patch {
                kind: wire::kind(&request.kind)?,
                patch: wire::patch(&request)?,
                name: request.name,
                through: if request.status {
                    Through::Status
                } else {
                    Through::Object
                },
                manager: manager(request.field_manager),
            };
            self.write(wanted, dry_run).await
        };
        telemetry::observed("Patch", patched).await
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Object>, Status> {
        let read = async {
            let request = request.into_inner();
            let kind = wire::kind(&request.kind)?;
            let least = Least::of(request.not_older_than);
            let entry = self.0.get(kind, &request.name, least).await?;
            Ok(wire::object(kind, &entry))
        };
        telemetry::observed("Get", read).await
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let listed = self.page(request.into_inner());
        telemetry::observed("List", listed).await
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller_of(&request)?;
        let opened = async {
            let events = self.0.watch(&caller, watched(request.get_ref())?).await?;
            let events = patient(events, self.0.shared.watch_patience);
            let events = events.flat_map(|events| {
                let each: Vec<_> = match events {
                    Ok(events) => events.into_iter().map(wire::event).map(Ok).collect(),
                    Err(error) => vec![Err(Status::from(error))],
                };
                futures::stream::iter(each)
            });
            let events: Self::WatchStream = Box::pin(events);
            Ok(events)
        };
        telemetry::observed("Watch", opened).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let removed = self.remove(request.into_inner());
        telemetry::observed("Delete", removed).await
    }

    async fn evict(
        &self,
        request: Request<v1::EvictRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let evicted = self.ask_to_leave(request.into_inner());
        telemetry::observed("Evict", evicted).await
    }

    async fn list_allocations(
        &self,
        request: Request<v1::ListAllocationsRequest>,
    ) -> Result<Response<v1::ListAllocationsResponse>, Status> {
        let listed = self.allocations(request.get_ref());
        telemetry::observed("ListAllocations", listed).await
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let listed = self.events(request.into_inner());
        telemetry::observed("ListEvents", listed).await
    }

    async fn version(
        &self,
        _: Request<v1::VersionRequest>,
    ) -> Result<Response<v1::VersionResponse>, Status> {
        let version = async {
            let running = self.0.shared.running()?;
            Ok(v1::VersionResponse {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                cluster: running.cluster.0.clone(),
                store: self.0.shared.backend.to_owned(),
            })
        };
        telemetry::observed("Version", version).await
    }
}
