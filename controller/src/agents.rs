//! The agents' gRPC service: one session per host. `sessions` knows who speaks for which host, `session` runs one stream.

mod session;
mod sessions;

use std::pin::Pin;
use std::sync::Arc;

use cellblock_proto::v1;
use cellblock_proto::v1::agents_server::Agents;
use futures::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use sessions::{ForVisit, Sessions};

use crate::authorise::{address_of, caller_of};
use crate::running::Shared;
use crate::visits;

/// How many messages wait for an agent that does not read: a view is made when there is room for it, so more would only be
/// older.
const WAITING_MAX: usize = 4;

/// The service.
pub(crate) struct AgentsService {
    shared: Arc<Shared>,
}

impl AgentsService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl Agents for AgentsService {
    type AttendStream = Pin<Box<dyn Stream<Item = Result<v1::VisitRequest, Status>> + Send>>;

    async fn attend(
        &self,
        request: Request<Streaming<v1::VisitResponse>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let caller = caller_of(&request)?;
        let outbound = visits::attend(&self.shared, &caller, request.into_inner()).await?;
        Ok(Response::new(Box::pin(outbound)))
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::ControllerMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let running = self.shared.running()?;
        let caller = caller_of(&request)?;
        let address = address_of(&request);
        let (sender, receiver) = tokio::sync::mpsc::channel(WAITING_MAX);
        let shared = self.shared.clone();
        self.shared.spawn(session::run(
            shared,
            running,
            session::Peer { caller, address },
            request.into_inner(),
            sender,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
