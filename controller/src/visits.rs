//! Visits: operators' commands, terminals and looks at logs in jails. Joins an operator's stream with the one that the host's agent opens for it.
//!
//! ```text
//! jailctl ── Visit ──► open: who, which jail, which agent ──► OpenVisit on the agent's session
//!                         │                                        │
//!                         └──► join ◄── Attend, with the id ── the agent, on a connection of its own
//! ```
//!
//! What is run where, and by whom, is logged; what is said there is not, and is not kept. `desk` counts visits and knows which are waited for. Nothing here
//! looks into what it passes on.

mod desk;
mod join;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cellblock_controller_core::admit::{Reason, Rejection};
use cellblock_proto::v1;
use cellblock_proto::v1::begin::What;
use cellblock_proto::v1::visit_request::Request as Said;
use cellblock_proto::v1::visits_server::Visits;
use cellblock_schemas::{Kind, Uid};
use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use desk::Desk;
use desk::{AgentEnd, Waited};
use join::{End, Ends};

use crate::agents::ForVisit;
use crate::authorise::{address_of, caller_of};
use crate::identity::Caller;
use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::telemetry::Counted;
use crate::wire;

/// How long an operator may take to say what is wanted, and an agent to come for it: a connection with TLS over a slow line, and a host that is busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many messages wait for either end: little, so that who does not read holds up who writes.
const WAITING_MAX: usize = 4;

/// How large a message of a visit may be: pieces of 32 KiB, or a command of `WORDS_BYTES_MAX`.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// How long a command may be, all words together: far below the kernel's ARG_MAX, far above what is typed.
const WORDS_BYTES_MAX: usize = 128 << 10;

/// How many words it may have.
const WORDS_MAX: usize = 4096;

/// The longest name of a user, in octets (MAXLOGNAME, sys/sys/param.h).
const USER_BYTES_MAX: usize = 32;

/// The service.
pub(crate) struct VisitsService {
    shared: Arc<Shared>,
}

impl VisitsService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl Visits for VisitsService {
    type VisitStream = Pin<Box<dyn Stream<Item = Result<v1::VisitResponse, Status>> + Send>>;

    async fn visit(
        &self,
        request: Request<Streaming<v1::VisitRequest>>,
    ) -> Result<Response<Self::VisitStream>, Status> {
        let running = self.shared.running()?;
        let caller = caller_of(&request)?;
        let address = address_of(&request);
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let visit = Visit {
            shared: self.shared.clone(),
            running,
            operator: operator(&caller),
            address,
        };
        let inbound = request.into_inner();
        self.shared.spawn(async move {
            if let Err(error) = visit.run(inbound, &sender).await {
                // Whether the operator still listens is their own affair.
                let _ = timeout(PATIENCE, sender.send(Err(error.into()))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// The agent's end of a visit: hands the stream to whoever waits for it.
pub(crate) async fn attend(
    shared: &Arc<Shared>,
    caller: &Caller,
    mut inbound: Streaming<v1::VisitResponse>,
) -> Result<ReceiverStream<Result<v1::VisitRequest, Status>>, RequestError> {
    let first = timeout(PATIENCE, inbound.message()).await;
    let Ok(Ok(Some(v1::VisitResponse {
        response: Some(v1::visit_response::Response::Claim(claim)),
    }))) = first
    else {
        return Err(RequestError::Malformed(
            "the first message must be Claim".to_owned(),
        ));
    };
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let end = AgentEnd {
        from: inbound,
        to: sender,
    };
    shared.desk.hand_over(&claim.id, caller, end)?;
    Ok(ReceiverStream::new(receiver))
}

/// Who a log line and a count are about.
fn operator(caller: &Caller) -> String {
    match caller {
        Caller::Operator(name) => name.clone(),
        // The guard has let nobody else in.
        Caller::Local
        | Caller::Host { .. }
        | Caller::Scraper(_)
        | Caller::Roleless { .. }
        | Caller::Nobody(_) => "(this machine)".to_owned(),
    }
}

struct Visit {
    shared: Arc<Shared>,
    running: Arc<Running>,
    operator: String,
    address: String,
}

type Outbound = mpsc::Sender<Result<v1::VisitResponse, Status>>;

impl Visit {
    async fn run(
        self,
        mut inbound: Streaming<v1::VisitRequest>,
        outbound: &Outbound,
    ) -> Result<(), RequestError> {
        let mut begin = self.begin(&mut inbound).await?;
        let host = self.host(&mut begin)?;
        let _place = self.shared.desk.admit(&self.operator, &begin.jail)?;
        let _counted = Counted::new(metrics::gauge!("cellblock_visits"));
        let began = Instant::now();
        let (jail, what) = (begin.jail.clone(), described(&begin));
        tracing::info!(
            operator = self.operator,
            address = self.address,
            jail,
            host,
            %what,
            "a visit begins"
        );
        let ended = match self.summon(&host).await {
            Ok((id, agent)) => {
                let ended = self.join(begin, inbound, outbound, agent, &host).await;
                if !matches!(ended, Ok(End::Ended(_))) {
                    self.dismiss(&host, &id).await;
                }
                ended
            }
            Err(error) => Err(error),
        };
        let outcome = match &ended {
            Ok(end) => end.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::info!(
            operator = self.operator,
            address = self.address,
            jail,
            host,
            %what,
            seconds = began.elapsed().as_secs(),
            outcome,
            "a visit ends"
        );
        ended.map(|_| ())
    }

    async fn begin(
        &self,
        inbound: &mut Streaming<v1::VisitRequest>,
    ) -> Result<v1::Begin, RequestError> {
        let first = timeout(PATIENCE, inbound.message()).await;
        match first {
            Ok(Ok(Some(v1::VisitRequest {
                request: Some(Said::Begin(begin)),
            }))) => {
                check(&begin).map_err(RequestError::Malformed)?;
                Ok(begin)
            }
            Ok(_) | Err(_) => Err(RequestError::Malformed(
                "the first message must be Begin".to_owned(),
            )),
        }
    }

    /// The host that the jail is bound to; fills in the jail's uid.
    fn host(&self, begin: &mut v1::Begin) -> Result<String, RequestError> {
        let index = self.running.cache.index();
        let name = &begin.jail;
        let Some(jail) = index.jail(name) else {
            let message = format!("there is no Jail `{name}`");
            let rejection = Rejection::new(Reason::NotFound, Kind::Jail, name, "", message, "");
            return Err(rejection.into());
        };
        let Uid(uid) = &jail.metadata.uid;
        begin.uid.clone_from(uid);
        let status = jail.status.as_ref();
        match status.and_then(|status| status.binding.as_ref()) {
            Some(binding) => Ok(binding.host.clone()),
            None => Err(RequestError::Unvisitable(
                "JailNotRunning",
                format!(
                    "jail `{name}` has no host yet; `jailctl describe jail {name}` says what it waits for"
                ),
            )),
        }
    }

    /// Asks the host's agent for a stream and waits for it.
    async fn summon(&self, host: &str) -> Result<(String, AgentEnd), RequestError> {
        let unvisitable = |reason, message| Err(RequestError::Unvisitable(reason, message));
        let outbound = match self.running.sessions.for_visit(host) {
            ForVisit::Here(outbound) => outbound,
            ForVisit::TooOld(version) => {
                return unvisitable(
                    "AgentTooOld",
                    format!(
                        "the agent of host `{host}` ({version}) does not know visits; update it"
                    ),
                );
            }
            ForVisit::Elsewhere(address) => {
                return unvisitable(
                    "ConnectedElsewhere",
                    format!(
                        "the agent of host `{host}` ({address}) is connected to another controller of this cluster, and only that one can pass a visit on; ask it (--server or --context)"
                    ),
                );
            }
            ForVisit::Nowhere => {
                return unvisitable(
                    "HostNotConnected",
                    format!(
                        "host `{host}` has no connection to a controller; `jailctl describe host {host}` says since when"
                    ),
                );
            }
        };
        let Waited { id, door } = self.shared.desk.wait_for(host);
        // Whichever way this ends, nobody waits for it afterwards.
        let _forgotten = self.shared.desk.forget_later(&id);
        let asked = timeout(PATIENCE, outbound.send(Ok(wire::open_visit(&id)))).await;
        if !matches!(asked, Ok(Ok(()))) {
            return unvisitable(
                "HostNotConnected",
                format!("host `{host}` has just lost its connection; try again"),
            );
        }
        match timeout(PATIENCE, door).await {
            Ok(Ok(Ok(end))) => Ok((id, end)),
            Ok(Ok(Err(message))) => unvisitable(
                "HostNotConnected",
                format!("the agent of host `{host}` could not open a stream: {message}"),
            ),
            Ok(Err(_)) | Err(_) => unvisitable(
                "HostNotConnected",
                format!(
                    "the agent of host `{host}` did not open a stream within {} s; its log says why",
                    PATIENCE.as_secs()
                ),
            ),
        }
    }

    /// Tells the agent that nobody is left: its stream says so only behind what the command has not read yet.
    async fn dismiss(&self, host: &str, id: &str) {
        if let ForVisit::Here(outbound) = self.running.sessions.for_visit(host) {
            // An agent that cannot be told has lost its connection.
            let _ = timeout(PATIENCE, outbound.send(Ok(wire::close_visit(id)))).await;
        }
    }

    async fn join(
        &self,
        begin: v1::Begin,
        inbound: Streaming<v1::VisitRequest>,
        outbound: &Outbound,
        agent: AgentEnd,
        host: &str,
    ) -> Result<End, RequestError> {
        let begin = v1::VisitRequest {
            request: Some(Said::Begin(begin)),
        };
        // There is room: it is the first.
        let _ = agent.to.send(Ok(begin)).await;
        let ends = Ends {
            inbound,
            outbound: outbound.clone(),
            agent,
        };
        let joined = tokio::select! {
            joined = ends.join() => joined,
            () = self.shared.left() => return Err(RequestError::ShuttingDown),
            () = self.running.over() => return Err(RequestError::ShuttingDown),
        };
        joined.map_err(|reason| reason.for_operator(host))
    }
}

/// Whether the kernel could take it; what it means is the host's to say.
fn check(begin: &v1::Begin) -> Result<(), String> {
    match &begin.what {
        None => Err("the request says neither what to run nor which log".to_owned()),
        Some(What::Log(_)) => Ok(()),
        Some(What::Command(command)) => {
            let bytes: usize = command.argv.iter().map(|word| word.len() + 1).sum();
            if command.argv.first().is_none_or(String::is_empty) {
                return Err("the request names no program".to_owned());
            }
            if command.argv.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX {
                return Err(format!(
                    "a command has {WORDS_MAX} words and {WORDS_BYTES_MAX} octets at most; give long input on standard input"
                ));
            }
            if command.argv.iter().any(|word| word.contains('\0')) {
                return Err("a word of a command has no NUL".to_owned());
            }
            let is_user = |user: &str| {
                user.len() <= USER_BYTES_MAX
                    && !user.starts_with('-')
                    && user
                        .chars()
                        .all(|c| c.is_ascii_graphic() && c != ':' && c != '/')
            };
            if !is_user(&command.user) {
                return Err(format!("{:?} is no name of a user", command.user));
            }
            Ok(())
        }
    }
}

/// What is wanted, for the log: words in quotes, so that none feigns another line.
fn described(begin: &v1::Begin) -> String {
    match &begin.what {
        Some(What::Command(command)) => {
            let user = if command.user.is_empty() {
                "root"
            } else {
                &command.user
            };
            let terminal = if command.terminal.is_some() {
                " on a terminal"
            } else {
                ""
            };
            format!("{:?} as {user}{terminal}", command.argv)
        }
        Some(What::Log(log)) if log.follow => "its log, followed".to_owned(),
        Some(What::Log(_)) => "its log".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
