//! One agent's stream: Hello, Welcome, the view, then changes of the view one way and reports the other.
//!
//! A report is acknowledged only once the store has it. A view is made from the index when there is room to send it, so an
//! agent that is behind gets one change that covers many. The session remembers the hashes of what it sent, nothing else.

use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::admit::{self, Now, Request as Wanted};
use cellblock_controller_core::features::Features;
use cellblock_controller_core::view::{Hash, Parts, Summary};
use cellblock_controller_core::{Index, enrol, fold_report, host_view};
use cellblock_proto::v1;
use cellblock_proto::v1::agent_message::Message;
use cellblock_schemas::host::ViewMark;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::{API_VERSION, Generation, HostReport, Kind};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::sessions::{ClaimError, Held, Reach};
use crate::authorise::{Action, authorise};
use crate::cluster;
use crate::identity::Caller;
use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::telemetry::Counted;
use crate::wire;
use crate::writer::WriteError;

/// How long a new connection may take to say Hello, and how long one message may wait for an agent to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long this controller waits for its index to reach the view that an agent already has.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Who owns a Host that an agent's first Hello made.
const MANAGER: &str = "cellblockd";

/// The feature of an agent that takes visits.
const VISITS: &str = "visits";

/// The feature of an agent whose Host was deleted while it was connected: it waits for one that somebody else makes.
const WAITS: &str = "waits";

/// Why an agent is refused whose Host was deleted while it was connected.
const HOST_DELETED: &str = "HostDeleted";

/// Why a session ends.
enum End {
    /// The agent went away.
    Left,
    /// It is told why, and goes.
    Refused(&'static str, String),
    /// Its Host was deleted, and there is none yet.
    Waits(String),
    /// The stream breaks with this.
    Failed(Status),
}

impl From<RequestError> for End {
    fn from(error: RequestError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ClaimError> for End {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::HostClaimed { .. } => Self::Refused("HostClaimed", error.to_string()),
            ClaimError::Store(error) => Self::from(RequestError::from(error)),
        }
    }
}

/// Who is at the other end of a stream.
pub(super) struct Peer {
    /// As its certificate says.
    pub(super) caller: Caller,
    /// Where it connects from.
    pub(super) address: String,
}

impl Peer {
    /// The key that the host is known by: the one that the agent has proven to hold; on a listener without certificates, the
    /// one that it says it has.
    fn key(&self, hello: &v1::Hello) -> Result<String, RequestError> {
        authorise(&self.caller, Action::Speak(&hello.host)).inspect_err(|_| {
            metrics::counter!("cellblock_forbidden_total").increment(1);
        })?;
        match &self.caller {
            Caller::Host { key, .. } => Ok(key.clone()),
            Caller::Local if hello.key_fingerprint.is_empty() => Err(RequestError::Forbidden(
                "an agent without a key may not speak for a host".to_owned(),
            )),
            // Of these, only who is on this machine may speak for one.
            Caller::Local
            | Caller::Operator(_)
            | Caller::Scraper(_)
            | Caller::Roleless { .. }
            | Caller::Nobody(_) => Ok(hello.key_fingerprint.clone()),
        }
    }
}

type Outbound = mpsc::Sender<Result<v1::ControllerMessage, Status>>;

/// Runs one session to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    running: Arc<Running>,
    peer: Peer,
    mut inbound: Streaming<v1::AgentMessage>,
    outbound: Outbound,
) {
    let end = match hello(&mut inbound).await {
        Ok(hello) => open(shared, &running, &peer, hello, inbound, &outbound).await,
        Err(end) => end,
    };
    // Whether the agent still listens is its own affair.
    let address = peer.address;
    match end {
        End::Left => {}
        End::Refused(reason, message) => {
            tracing::warn!(%address, reason, message, "refused an agent");
            let _ = timeout(PATIENCE, outbound.send(Ok(wire::refused(reason, message)))).await;
        }
        End::Waits(message) => {
            tracing::debug!(%address, message, "an agent waits for its Host");
            let refused = wire::refused(HOST_DELETED, message);
            let _ = timeout(PATIENCE, outbound.send(Ok(refused))).await;
        }
        End::Failed(status) => {
            tracing::info!(%address, reason = status.message(), "a session ends");
            let _ = timeout(PATIENCE, outbound.send(Err(status))).await;
        }
    }
}

async fn hello(inbound: &mut Streaming<v1::AgentMessage>) -> Result<v1::Hello, End> {
    match timeout(PATIENCE, inbound.message()).await {
        Ok(Ok(Some(v1::AgentMessage {
            message: Some(Message::Hello(hello)),
        }))) => Ok(hello),
        Ok(Ok(Some(_))) => {
            Err(RequestError::Malformed("the first message must be Hello".to_owned()).into())
        }
        Ok(Ok(None) | Err(_)) => Err(End::Left),
        Err(_) => Err(End::Failed(Status::deadline_exceeded("no Hello came"))),
    }
}

async fn open(
    shared: Arc<Shared>,
    running: &Arc<Running>,
    peer: &Peer,
    hello: v1::Hello,
    inbound: Streaming<v1::AgentMessage>,
    outbound: &Outbound,
) -> End {
    let address = &peer.address;
    let key = match peer.key(&hello) {
        Ok(key) => key,
        Err(error) => return End::Refused("Forbidden", error.to_string()),
    };
    if let Err(end) = check(running, &hello).await {
        return end;
    }
    if let Err(end) = enrol(running, &hello.host, &key, address).await {
        return end;
    }
    let claimed = running
        .sessions
        .claim(&hello.host, &key, &hello.process, address);
    let mut held = match claimed.await {
        Ok(held) => held,
        Err(error) => return error.into(),
    };
    tracing::info!(host = hello.host, %address, version = hello.agent_version, "an agent is connected");
    let features: Features = hello.features.iter().cloned().collect();
    let reach = Reach {
        outbound: outbound.clone(),
        version: hello.agent_version.clone(),
        visits: features.has(VISITS),
    };
    running.sessions.reached_by(&held, reach);
    let connected = Counted::new(metrics::gauge!("cellblock_agents"));
    let session = Session {
        changes: running.cache.host_changes(&hello.host),
        host: hello.host,
        features,
        running: running.clone(),
        outbound: outbound.clone(),
        sent: None,
        reports: 0,
        said: None,
        right_at: 0,
    };
    let have = (wire::view_mark(hello.have), hello.have_digest);
    let end = session.serve(&shared, &mut held, have, inbound).await;
    drop(connected);
    shared.spawn(release(shared.clone(), running.clone(), held));
    end
}

/// Pins the key of the first agent that speaks for the host, and refuses every other one.
async fn enrol(running: &Running, host: &str, key: &str, address: &str) -> Result<(), End> {
    let mut refused = None;
    let pinned = running
        .writer
        .write(|index, _| match enrol::pin(index, host, key) {
            Ok(write) => Ok::<_, RequestError>((write, ())),
            Err(error) => {
                refused = Some(error);
                Ok((None, ()))
            }
        })
        .await;
    match (pinned, refused) {
        (Err(error), _) => Err(error.into()),
        (Ok(_), None) => Ok(()),
        // While the other one is connected, where from helps to tell which of the two is wrong.
        (Ok(_), Some(error)) => Err(match running.sessions.rival(host, key, address) {
            Some(claimed) => claimed.into(),
            None => End::Refused("HostKeyChanged", error.to_string()),
        }),
    }
}

/// Gives the agent time to come back before its host counts as lost. A controller that goes leaves its keys to their lease:
/// the agents go on to another one, or to itself once it is back.
async fn release(shared: Arc<Shared>, running: Arc<Running>, mut held: Held) {
    tokio::select! {
        () = held.superseded() => {}
        () = shared.left() => {}
        () = running.over() => {}
        () = tokio::time::sleep(shared.timing.reconnect_grace) => running.sessions.release(&held).await,
    }
}

/// Whether this controller may speak to this agent. Makes the Host object of a new one.
async fn check(running: &Running, hello: &v1::Hello) -> Result<(), End> {
    if !hello.cluster.is_empty() && hello.cluster != running.cluster.0 {
        let message = format!(
            "the agent's ledger belongs to cluster {}, this is cluster {}: point it to its own controller, or give it a new ledger",
            hello.cluster, running.cluster
        );
        return Err(End::Refused("ClusterMismatch", message));
    }
    let have = wire::view_mark(hello.have);
    let epoch = running.cache.index().epoch();
    if have.epoch > epoch {
        let message = format!(
            "the agent has accepted epoch {}, this controller is at {epoch}",
            have.epoch
        );
        return Err(End::Refused("StaleEpoch", message));
    }
    if have.epoch == epoch && !running.cache.reached(have.generation.0, CATCH_UP).await {
        let message = format!(
            "the agent has a view of revision {}, but the store is at {}: was it restored from an older backup? A restore needs a new epoch",
            have.generation,
            running.cache.index().revision()
        );
        return Err(End::Refused("StaleEpoch", message));
    }
    let host = hello.host.clone();
    let waits = hello.features.iter().any(|feature| feature == WAITS);
    let made = running
        .writer
        .write(|index, now| {
            if index.host(&host).is_some() {
                return Ok((None, true));
            }
            if waits {
                return Ok((None, false));
            }
            let document =
                json!({ "apiVersion": API_VERSION, "kind": "Host", "metadata": { "name": host } });
            let wanted = Wanted::Create {
                kind: Kind::Host,
                document,
                manager: MANAGER.to_owned(),
            };
            Ok::<_, RequestError>((admit::admit(index, wanted, now)?.write, true))
        })
        .await;
    match made {
        Ok(written) if written.value => Ok(()),
        Ok(_) => Err(End::Waits(host_gone(&hello.host))),
        Err(RequestError::Rejected(rejection)) => {
            Err(End::Refused("Invalid", rejection.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn host_gone(host: &str) -> String {
    format!(
        "the Host {host} was deleted; stop the agent, or apply the Host anew, or restart the agent to have it made (what it has of jails that are not applied again is taken away then)"
    )
}

/// What was sent last.
struct Sent {
    mark: ViewMark,
    summary: Summary,
}

struct Session {
    host: String,
    features: Features,
    running: Arc<Running>,
    changes: watch::Receiver<u64>,
    outbound: Outbound,
    sent: Option<Sent>,
    reports: u64,
    /// The last report.
    said: Option<HostReport>,
    /// The revision of the host's objects up to which every status was seen to be what that report says.
    right_at: u64,
}

impl Session {
    async fn serve(
        mut self,
        shared: &Shared,
        held: &mut Held,
        have: (ViewMark, bytes::Bytes),
        mut inbound: Streaming<v1::AgentMessage>,
    ) -> End {
        let heartbeat = u32::try_from(shared.timing.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let welcome = wire::welcome(&self.running.cluster.0, heartbeat);
        if let Err(end) = self.send(welcome).await {
            return end;
        }
        self.changes.mark_unchanged();
        if let Err(end) = self.first_view(have).await {
            return end;
        }
        let mut silent_until = Instant::now() + shared.timing.silence_max;
        loop {
            let done = tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        silent_until = Instant::now() + shared.timing.silence_max;
                        self.hear(shared, held, message).await
                    }
                    Ok(None) | Err(_) => Err(End::Left),
                },
                // The cache, which has the sender, lives as long as `self`.
                _ = self.changes.changed() => self.next_view().await,
                () = tokio::time::sleep_until(silent_until) => {
                    Err(End::Failed(Status::deadline_exceeded("nothing was heard of the agent for too long")))
                }
                () = held.superseded() => {
                    Err(End::Failed(Status::aborted("the same agent has opened another session")))
                }
                () = shared.left() => Err(RequestError::ShuttingDown.into()),
                () = self.running.over() => Err(RequestError::NotReady(cluster::LOST.to_owned()).into()),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn hear(
        &mut self,
        shared: &Shared,
        held: &Held,
        message: v1::AgentMessage,
    ) -> Result<(), End> {
        match message.message {
            Some(Message::VisitFailed(failed)) => {
                shared.desk.failed(&self.host, &failed.id, failed.message);
                Ok(())
            }
            Some(Message::Report(report)) => {
                let mut report = wire::report(&report)?;
                if let Some(host) = self.running.cache.index().host(&self.host) {
                    self.features.tell(&host.spec, &mut report);
                }
                self.store(&report).await?;
                let view = report.view;
                self.remember(report);
                self.reports += 1;
                self.send(wire::acknowledged(view, self.reports)).await
            }
            Some(Message::Heartbeat(_)) => {
                self.put_right().await;
                Ok(self.running.sessions.keep(held).await?)
            }
            Some(Message::Hello(_)) => {
                Err(RequestError::Malformed("Hello was said before".to_owned()).into())
            }
            // A newer agent may say what this controller does not understand; that it spoke counts all the same.
            None => Ok(()),
        }
    }

    async fn store(&self, report: &HostReport) -> Result<(), End> {
        let epoch = self.running.cache.index().epoch();
        if report.view.epoch != epoch {
            let message = format!(
                "the report answers epoch {}, this controller is at {epoch}",
                report.view.epoch
            );
            return Err(End::Refused("StaleEpoch", message));
        }
        let folded = self.fold(report).await;
        folded.map_err(|error| RequestError::from(error).into())
    }

    async fn fold(&self, report: &HostReport) -> Result<(), WriteError> {
        let fold = |index: &Index, now: &Now| fold_report(index, &self.host, report, now.timestamp);
        self.running.writer.write_all(fold).await
    }

    /// Keeps a report; one that is not of the whole host leaves what was said of the other jails.
    fn remember(&mut self, mut report: HostReport) {
        if !report.full
            && let Some(before) = self.said.take()
        {
            let is_other = |jail: &JailReport| {
                !jail.gone && report.jails.iter().all(|one| one.uid != jail.uid)
            };
            let others: Vec<_> = before.jails.into_iter().filter(is_other).collect();
            report.jails.extend(others);
        }
        self.said = Some(report);
    }

    /// Folds the last report once more where somebody else has written into a status: the agent speaks again only when it sees a change.
    /// Whether there is anything to be written is found out without a turn, as every heartbeat comes here.
    async fn put_right(&mut self) {
        let Some(said) = self.said.as_ref() else {
            return;
        };
        let (newest, is_right) = {
            let index = self.running.cache.index();
            let newest = index.revision_of_host(&self.host);
            let is_seen = said.view.epoch != index.epoch() || newest <= self.right_at;
            let is_right =
                is_seen || fold_report(&index, &self.host, said, Timestamp::now()).is_empty();
            (newest, is_right)
        };
        if !is_right && let Err(error) = self.fold(said).await {
            // The next heartbeat comes here again; nothing of the host itself has failed.
            tracing::debug!(host = self.host, %error, "cannot put a status right");
            return;
        }
        self.right_at = newest;
    }

    /// The view as it is now; none while there is no such Host.
    fn view(&self, last: ViewMark) -> Option<(ViewMark, Parts)> {
        let (mut view, revision) = {
            let index = self.running.cache.index();
            (host_view(&index, &self.host)?, index.revision())
        };
        self.features.withhold(&mut view);
        Some((newer(view.mark, last, revision), Parts::of(&view)))
    }

    /// Sends the whole view, unless the agent has it already.
    async fn first_view(&mut self, (mark, digest): (ViewMark, bytes::Bytes)) -> Result<(), End> {
        let Some((now, parts)) = self.view(mark) else {
            return Err(End::Refused(HOST_DELETED, host_gone(&self.host)));
        };
        let summary = parts.summary();
        let current: Hash = summary.digest();
        // The same content keeps the agent's number, so that numbers never go back although each controller counts from
        // what it saw itself.
        if now.epoch == mark.epoch && digest == current[..] {
            self.sent = Some(Sent { mark, summary });
            return self.send(wire::view_unchanged(mark, current)).await;
        }
        let message = wire::view(now, None, parts.since(None), current);
        self.sent = Some(Sent { mark: now, summary });
        self.send(message).await
    }

    /// Sends what changed since the last view, if anything did.
    async fn next_view(&mut self) -> Result<(), End> {
        self.changes.mark_unchanged();
        let Some(sent) = &self.sent else {
            return Ok(());
        };
        let Some((now, parts)) = self.view(sent.mark) else {
            return Err(End::Refused(HOST_DELETED, host_gone(&self.host)));
        };
        let summary = parts.summary();
        if sent.summary == summary && sent.mark.epoch == now.epoch {
            return Ok(());
        }
        let message = wire::view(
            now,
            Some(sent.mark),
            parts.since(Some(&sent.summary)),
            summary.digest(),
        );
        self.sent = Some(Sent { mark: now, summary });
        self.send(message).await
    }

    async fn send(&self, message: v1::ControllerMessage) -> Result<(), End> {
        match timeout(PATIENCE, self.outbound.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Left),
            Err(_) => Err(End::Failed(Status::resource_exhausted(
                "the agent does not read",
            ))),
        }
    }
}

/// The number of a view that follows `last`. Each controller numbers by the changes that it saw itself, so one that started
/// later may count the same content from another revision; the revision of its index is then a number that no older view has.
fn newer(now: ViewMark, last: ViewMark, revision: u64) -> ViewMark {
    if now.epoch == last.epoch && now.generation <= last.generation {
        return ViewMark {
            generation: Generation(revision.max(last.generation.0)),
            ..now
        };
    }
    now
}
