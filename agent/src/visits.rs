//! Visits: what an operator runs in a jail, or reads of its log, on a stream that this agent opens when the controller asks for it.
//!
//! A connection of its own for each: whoever does not read what a command writes holds up that command, and nothing of the session. What is run, and whether it may be, the
//! controller decides; what is decided here is whether the jail is ours and runs.

mod command;
mod log;

use std::sync::Arc;

use cellblock_agent_core::plan::Settings;
use cellblock_freebsd::System;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::agents_client::AgentsClient;
use cellblock_proto::v1::begin::What;
use cellblock_proto::v1::visit_request::Request as Asked;
use cellblock_proto::v1::visit_response::Response as Said;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::JailView;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::worker::State;

/// The feature that a Hello names.
pub(crate) const FEATURE: &str = "visits";

/// How many visits a host takes at once, whatever a controller asks for: each is a process, and a connection.
const VISITS_MAX: usize = 64;

/// How many messages wait for the controller: little, so that who does not read holds up who writes.
const WAITING_MAX: usize = 4;

/// The largest message that is taken, in octets.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// How much is read at once of what a command writes, or of a log.
const PIECE_BYTES: usize = 32 << 10;

/// Who takes visits.
#[derive(Clone)]
pub(crate) struct Visits {
    system: Arc<dyn System>,
    settings: Settings,
    state: watch::Receiver<State>,
    places: Arc<Semaphore>,
}

/// Why a visit cannot be.
struct Refused {
    reason: &'static str,
    message: String,
}

/// What is sent to the operator.
#[derive(Clone)]
struct Operator(mpsc::Sender<wire::VisitResponse>);

/// The controller or the operator is gone.
struct Gone;

impl Operator {
    async fn say(&self, response: Said) -> Result<(), Gone> {
        let message = wire::VisitResponse {
            response: Some(response),
        };
        self.0.send(message).await.map_err(|_| Gone)
    }
}

/// The jail that is visited.
struct Visited {
    jail: JailView,
    /// The routing table of all that runs in it.
    fib: u16,
    /// None while it does not run, with the reason.
    jid: Result<u32, String>,
}

impl Visits {
    pub(crate) fn new(
        system: Arc<dyn System>,
        settings: Settings,
        state: watch::Receiver<State>,
    ) -> Self {
        Self {
            system,
            settings,
            state,
            places: Arc::new(Semaphore::new(VISITS_MAX)),
        }
    }

    /// Takes the visit `id` on a connection of its own, to its end.
    ///
    /// # Errors
    /// The controller does not know of it, or cannot be reached.
    pub(crate) async fn take(self, channel: Channel, id: String) -> anyhow::Result<()> {
        let mut client = AgentsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (outbox, outgoing) = mpsc::channel(WAITING_MAX);
        let operator = Operator(outbox);
        // There is room: it is the first.
        let _ = operator.say(Said::Claim(wire::Claim { id })).await;
        let mut incoming = client
            .attend(ReceiverStream::new(outgoing))
            .await
            .map_err(|status| anyhow::anyhow!("{}", status.message()))?
            .into_inner();
        let Ok(Some(wire::VisitRequest {
            request: Some(Asked::Begin(begin)),
        })) = incoming.message().await
        else {
            // Whoever waited has left.
            return Ok(());
        };
        if let Err(refused) = self.serve(begin, &mut incoming, &operator).await {
            let refusal = wire::Refusal {
                reason: refused.reason.to_owned(),
                message: refused.message,
            };
            // Whether it is heard is the operator's affair.
            let _ = operator.say(Said::Refusal(refusal)).await;
        }
        // A stream that is dropped takes what was said last with it: the controller ends it when it has that.
        drop(operator);
        while let Ok(Some(_)) = incoming.message().await {}
        Ok(())
    }

    async fn serve(
        &self,
        begin: wire::Begin,
        incoming: &mut Streaming<wire::VisitRequest>,
        operator: &Operator,
    ) -> Result<(), Refused> {
        let _place = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refused {
                reason: "TooManyVisits",
                message: format!(
                    "this host has {VISITS_MAX} visits, which are as many as it takes"
                ),
            })?;
        let visited = self.find(&begin)?;
        match begin.what {
            Some(What::Command(command)) => self.run(&visited, command, incoming, operator).await,
            Some(What::Log(log)) => self.tell_log(&visited, log, incoming, operator).await,
            // A newer controller may ask for what this agent does not understand.
            None => Err(Refused {
                reason: "AgentTooOld",
                message: "this agent does not know that kind of visit; update it".to_owned(),
            }),
        }
    }

    /// The jail, as the last report has it.
    fn find(&self, begin: &wire::Begin) -> Result<Visited, Refused> {
        let state = self.state.borrow().clone();
        let uid = Uid(begin.uid.clone());
        let not_here = || Refused {
            reason: "JailNotRunning",
            message: format!(
                "jail `{}` is not on this host yet, or not any more; `jailctl describe jail {0}` says what it waits for",
                begin.jail
            ),
        };
        let (view, _) = state.view.ok_or_else(not_here)?;
        let jail = view.jails.get(&uid).ok_or_else(not_here)?;
        let report = state.report.as_deref();
        let reported = report.and_then(|report| report.jails.iter().find(|jail| jail.uid == uid));
        let jid = reported.and_then(|reported| reported.jid).ok_or_else(|| {
            let conditions = reported.map(|reported| reported.conditions.as_slice());
            let mut conditions = conditions.unwrap_or_default().iter();
            let ready = conditions.find(|condition| condition.kind == "Ready");
            match ready {
                Some(ready) => format!(
                    "jail `{}` does not run ({}): {}",
                    jail.name, ready.reason, ready.message
                ),
                None => format!("jail `{}` does not run yet", jail.name),
            }
        });
        Ok(Visited {
            jail: jail.clone(),
            fib: cellblock_agent_core::plan::fib(&view, jail),
            jid,
        })
    }
}
