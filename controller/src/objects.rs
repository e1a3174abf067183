//! The objects' gRPC service: reads from the watch cache, writes through the writer. Decides nothing.

mod list;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use cellblock_controller_core::admit::{
    self, Admitted, Outcome, Rejection, Request as Wanted, Through,
};
use cellblock_controller_core::rules::Together;
use cellblock_proto::v1;
use cellblock_proto::v1::objects_server::Objects;
use cellblock_schemas::Uid;
use futures::Stream;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::{telemetry, wire, writer};

/// Who writes when the client does not say.
const MANAGER: &str = "jailctl";

/// How many watches a controller serves at once. Each costs a few KiB and a share of every event.
const WATCHES_MAX: usize = 20_000;

/// The service.
pub(crate) struct ObjectsService {
    shared: Arc<Shared>,
    watches: Arc<Semaphore>,
}

impl ObjectsService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
        }
    }

    /// Admits a request and writes what follows from it, or only says what would.
    async fn admit(
        &self,
        wanted: Wanted,
        dry_run: bool,
    ) -> Result<(Admitted, Option<u64>), RequestError> {
        let running = self.shared.running()?;
        if dry_run {
            let admitted = admit::admit(&running.cache.index(), wanted, &writer::now())?;
            return Ok((admitted, None));
        }
        let written = running
            .writer
            .write(|index, now| {
                let mut admitted = admit::admit(index, wanted.clone(), now)?;
                Ok::<_, RequestError>((admitted.write.take(), admitted))
            })
            .await?;
        Ok((written.value, written.revision))
    }

    async fn apply_all(
        &self,
        request: v1::ApplyRequest,
    ) -> Result<v1::ApplyResponse, RequestError> {
        let together = Arc::new(together(&request.objects));
        if request.dry_run {
            return self.rehearse(request, &together);
        }
        let mut results = Vec::with_capacity(request.objects.len());
        for object in request.objects {
            let applied = match wire::document(Some(object)) {
                Ok((kind, document)) => {
                    let wanted = Wanted::Apply {
                        kind,
                        document,
                        through: Through::Object,
                        manager: request.field_manager.clone(),
                        force: request.force,
                        together: together.clone(),
                    };
                    self.admit(wanted, false).await
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

    /// A dry run of several objects: each is judged as if those before it had been written, so that what two of them would
    /// quarrel about is seen before anything is.
    fn rehearse(
        &self,
        request: v1::ApplyRequest,
        together: &Arc<Together>,
    ) -> Result<v1::ApplyResponse, RequestError> {
        let mut index = self.shared.running()?.cache.index().clone();
        let mut results = Vec::with_capacity(request.objects.len());
        for object in request.objects {
            let admitted = wire::document(Some(object)).and_then(|(kind, document)| {
                let wanted = Wanted::Apply {
                    kind,
                    document,
                    through: Through::Object,
                    manager: request.field_manager.clone(),
                    force: request.force,
                    together: together.clone(),
                };
                Ok(admit::admit(&index, wanted, &writer::now())?)
            });
            let result = match admitted {
                Ok(mut admitted) => {
                    if let Some(write) = admitted.write.take() {
                        index.rehearse(write);
                    }
                    Ok((admitted, None))
                }
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
        let (admitted, written) = self.admit(wanted, dry_run).await?;
        Ok(v1::WriteResponse {
            object: Some(wire::admitted(&admitted, written)),
            warnings: wire::warnings(&admitted),
        })
    }

    async fn remove(&self, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, RequestError> {
        let kind = wire::kind(&request.kind)?;
        let wanted = Wanted::Delete {
            kind,
            name: request.name.clone(),
            uid: (!request.uid.is_empty()).then_some(Uid(request.uid)),
            revision: (request.revision != 0).then_some(request.revision),
        };
        let (admitted, written) = self.admit(wanted, request.dry_run).await?;
        let gone = admitted.outcome == Outcome::Gone;
        if !gone && !request.dry_run {
            // Marked; if nobody uses it, it can go now, so that the client need not come back to see it gone.
            let running = self.shared.running()?;
            finish(&running, &admitted).await?;
            let is_gone = running.cache.index().get(kind, &request.name).is_none();
            return Ok(v1::DeleteResponse {
                object: Some(wire::admitted(&admitted, written)),
                gone: is_gone,
            });
        }
        Ok(v1::DeleteResponse {
            object: Some(wire::admitted(&admitted, written)),
            gone,
        })
    }

    fn read(&self, request: &v1::GetRequest) -> Result<v1::Object, RequestError> {
        let kind = wire::kind(&request.kind)?;
        let running = self.shared.running()?;
        let index = running.cache.index();
        let entry = index
            .get(kind, &request.name)
            .ok_or_else(|| Rejection::not_found(kind, &request.name))?;
        Ok(wire::object(kind, entry))
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
        let read = async { self.read(request.get_ref()) };
        telemetry::observed("Get", read).await
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let listed = async {
            let running = self.shared.running()?;
            list::list(&running, request.into_inner()).await
        };
        telemetry::observed("List", listed).await
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let opened = async {
            let running = self.shared.running()?;
            let place = self.watches.clone().try_acquire_owned().map_err(|_| {
                RequestError::Exhausted(format!("this controller serves {WATCHES_MAX} watches already; use another, or try again later"))
            })?;
            watch::open(self.shared.clone(), &running, request.into_inner(), place).await
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

    async fn version(
        &self,
        _: Request<v1::VersionRequest>,
    ) -> Result<Response<v1::VersionResponse>, Status> {
        let version = async {
            let running = self.shared.running()?;
            Ok(v1::VersionResponse {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                cluster: running.cluster.0.clone(),
                store: self.shared.backend.to_owned(),
            })
        };
        telemetry::observed("Version", version).await
    }
}
