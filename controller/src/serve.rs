//! The listeners: what is served on them, and what the health service says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cellblock_proto::v1::FILE_DESCRIPTOR_SET;
use cellblock_proto::v1::agents_server::AgentsServer;
use cellblock_proto::v1::objects_server::ObjectsServer;
use cellblock_proto::v1::visits_server::VisitsServer;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::agents::AgentsService;
use crate::authorise::{Action, guarded};
use crate::controller::StartError;
use crate::identity::Identifier;
use crate::objects::ObjectsService;
use crate::running::Shared;
use crate::verbs::Verbs;
use crate::visits::{self, VisitsService};
use crate::{metrics_server, rest, telemetry};

/// How large a request may be: many manifests applied at once, or the report of a host with thousands of jails. One object
/// may have 1 MiB.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How often a connection without traffic is probed, so that an agent whose machine vanished does not hold it for ever.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How many requests and watches one connection may have open.
const STREAMS_MAX: u32 = 256;

/// How often the store is looked at by a controller that calls itself ready, and how long it may take to answer: longer than one member of an
/// etcd is given before the next is asked (half of the store's six seconds).
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const LOOK_PATIENCE: Duration = Duration::from_secs(4);

/// Everything that is served to clients and agents.
pub(crate) fn router(
    shared: &Arc<Shared>,
    identifier: Identifier,
    health: HealthServer<impl Health>,
) -> Result<Router, StartError> {
    let mut builder = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS_MAX);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| StartError::Serve(error.to_string()))?;
    let verbs = Arc::new(Verbs::new(shared.clone()));
    let objects = ObjectsServer::new(ObjectsService::new(verbs.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let agents = AgentsServer::new(AgentsService::new(shared.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let visits = VisitsServer::new(VisitsService::new(shared.clone()))
        .max_decoding_message_size(visits::MESSAGE_BYTES_MAX);
    let who = &identifier;
    let grpc = Routes::new(guarded(health, Action::Health, who))
        .add_service(guarded(reflection, Action::Reflection, who))
        .add_service(guarded(objects, Action::Objects, who))
        .add_service(guarded(agents, Action::Session, who))
        .add_service(guarded(visits, Action::Visit, who));
    let routes = rest::routes(verbs, grpc.into_axum_router(), identifier);
    Ok(builder.add_routes(routes.into()))
}

/// Listens for Prometheus; the future serves it.
pub(crate) async fn metrics(
    address: SocketAddr,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send + 'static), StartError> {
    let (listener, address) = bind(address).await?;
    let metrics = telemetry::metrics().map_err(|error| StartError::Serve(error.to_string()))?;
    tracing::info!(%address, "serving metrics");
    Ok((address, metrics_server::serve(listener, metrics)))
}

/// Records metrics; the future keeps them small for as long as it runs.
pub(crate) fn upkeep() -> Result<impl Future<Output = ()> + Send + 'static, StartError> {
    let metrics = telemetry::metrics().map_err(|error| StartError::Serve(error.to_string()))?;
    Ok(metrics_server::upkeep(metrics))
}

/// Says in the health service, and for `/readyz`, whether requests are answered: the store is read, and it answers. Who asks costs the
/// store nothing (as kube-apiserver bounds the looks at its etcd, `pkg/storage/storagebackend/factory/etcd3.go`, `newETCD3Check`).
pub(crate) async fn report_health(shared: Arc<Shared>, health: HealthReporter) {
    let mut running = shared.watch_running();
    loop {
        let ready = running
            .borrow_and_update()
            .as_ref()
            .map(|running| running.cache.ready());
        let is_ready = match ready {
            None => false,
            // It may be let go of before it was read.
            Some(mut ready) => ready.wait_for(|ready| *ready).await.is_ok(),
        };
        let status = if is_ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        shared.set_unanswered(None);
        set_health(&health, status).await;
        let changed = tokio::select! {
            changed = running.changed() => changed.is_ok(),
            () = look(&shared, &health), if is_ready => true,
            () = shared.left() => false,
        };
        // The sender lives in `shared`; who leaves has said so.
        if !changed {
            return;
        }
    }
}

/// Looks at the store from time to time, for as long as it is the one that is open.
async fn look(shared: &Shared, health: &HealthReporter) {
    let mut was_away = false;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Ok(running) = shared.running() else {
            continue;
        };
        let asked = timeout(LOOK_PATIENCE, running.store.current_revision()).await;
        drop(running);
        let reason = match asked {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the store does not answer".to_owned()),
        };
        let is_away = reason.is_some();
        shared.set_unanswered(reason);
        if was_away != is_away {
            let status = if is_away {
                ServingStatus::NotServing
            } else {
                ServingStatus::Serving
            };
            set_health(health, status).await;
        }
        was_away = is_away;
    }
}

/// Sets the health of the whole server and of its services.
pub(crate) async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in [
        "",
        "cellblock.v1.Objects",
        "cellblock.v1.Agents",
        "cellblock.v1.Visits",
    ] {
        health.set_service_status(service, status).await;
    }
}

/// Listens on an address.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
