//! The session with a controller: views come in, reports and heartbeats go out. When it breaks, another one is made, at another endpoint if there is one, after a growing pause with jitter.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cellblock_agent_core::pass;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::agents_client::AgentsClient;
use cellblock_schemas::feature;
use cellblock_schemas::host::ViewMark;
use cellblock_schemas::ids::{Generation, Uid};
use cellblock_schemas::view::HostView;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

use crate::Way;
use crate::certificate::{self, Notice};
use crate::config::Config;
use crate::identity::Identity;
use crate::reach::{self, Reached};
use crate::visits::{self, Visits};
use crate::worker::Link;

mod broken;
#[cfg(test)]
mod tests;

/// The first pause after a broken session; it doubles up to that of the configuration.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many messages may wait to be sent. Reports are not queued (the newest replaces the one before), so a few are enough.
const OUTBOX: usize = 8;

/// The largest view that is taken, in octets: 10,000 jails of 6 KiB each.
const VIEW_BYTES_MAX: usize = 64 << 20;

/// How often the end of the agent's certificate is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What a session has to do with beside the worker and the controller.
pub struct Beside {
    /// Who asks for a connection to be made anew.
    pub reached: Reached,
    /// What must lead to the controllers before a connection is tried.
    pub way: Option<Way>,
    /// Whether the host is the machine that this runs on.
    pub is_this_machine: bool,
}

/// Speaks to controllers until `stopped`.
pub(crate) async fn run(
    config: Config,
    identity: Identity,
    link: Link,
    beside: Beside,
    visits: Option<Visits>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut session = Session {
        config,
        identity,
        link,
        beside,
        process: format!("{:016x}", random()),
        base: None,
        visits,
        visiting: JoinSet::new(),
        visits_open: BTreeMap::new(),
        is_deleted: false,
        looked: None,
    };
    let pause_max = session.config.pause_max;
    let mut pause = PAUSE_FIRST;
    for url in session.config.controllers.clone().iter().cycle() {
        let began = Instant::now();
        session.look_at_certificate();
        if session.beside.reached.is_waited_for()
            && session.is_here(url).await
            && session.has_another().await
        {
            continue;
        }
        let talked = tokio::select! {
            ended = session.talk(url) => ended,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match talked {
            Ok(Ended::Anew) => {
                pause = PAUSE_FIRST;
                continue;
            }
            Ok(Ended::Broken) => pause = pause_after(began.elapsed(), pause, pause_max),
            Ok(Ended::Deleted(reason)) => {
                if !session.is_deleted {
                    tracing::error!(controller = %url, "{reason}");
                }
                session.is_deleted = true;
                pause = pause_max;
            }
            Err(error) => {
                let why = broken::told(&error);
                tracing::warn!(controller = %url, "{why}; trying again in {} ms", pause.as_millis());
                session.beside.reached.note(why);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(pause)) => {}
            Ok(()) = session.beside.reached.questions.changed() => {
                pause = PAUSE_FIRST;
                continue;
            }
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        pause = (pause * 2).min(pause_max);
    }
}

/// The pause after a session that had come as far as a welcome. One that breaks each time soon after it is no better than none.
fn pause_after(lasted: Duration, pause: Duration, pause_max: Duration) -> Duration {
    if lasted >= pause_max {
        PAUSE_FIRST
    } else {
        pause
    }
}

/// Between half of `pause` and all of it, so that a fleet does not come back in one instant.
fn jittered(pause: Duration) -> Duration {
    pause / 2 + pause.mul_f64((random() % 1000) as f64 / 2000.0)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// How a session ended that had come as far as a welcome.
enum Ended {
    /// It broke; the next one may do better.
    Broken,
    /// It was left, because somebody wants to know whether a new one can be had.
    Anew,
    /// The operator has deleted this host: the agent puts back what the Host declared, and comes again until there is a Host of this name, which it does not ask for.
    Deleted(String),
}

/// The reason of a refusal where the Host was deleted.
const HOST_DELETED: &str = "HostDeleted";

/// The feature of a Hello that shall not make a Host: that would undo what the operator has just done.
const WAITS: &str = "waits";

struct Session {
    config: Config,
    identity: Identity,
    link: Link,
    beside: Beside,
    /// What tells this process from the next one of this agent, and from one with a copy of its key.
    process: String,
    /// Who takes visits, if anybody does.
    visits: Option<Visits>,
    /// The visits under way, with what became of those that did not come about. They end with the agent, not with this session.
    visiting: JoinSet<Result<(), wire::VisitFailed>>,
    /// By id, those that may still be under way.
    visits_open: BTreeMap<String, AbortHandle>,
    /// The Host was deleted while this process spoke for it, and none has been made since.
    is_deleted: bool,
    /// The newest view that came in, whether the ledger has it yet or not: what a change is a change to.
    base: Option<Arc<HostView>>,
    /// When the end of the agent's certificate was last looked at.
    looked: Option<Instant>,
}

impl Session {
    /// One session, from connection to end. Ok when it had come as far as a welcome.
    async fn talk(&mut self, url: &str) -> anyhow::Result<Ended> {
        let question = self.beside.reached.newest();
        let channel = self.connect(url).await?;
        let mut client = AgentsClient::new(channel).max_decoding_message_size(VIEW_BYTES_MAX);
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        outbox
            .send(self.hello())
            .await
            .context("the outbox is closed")?;
        let mut incoming = client
            .session(ReceiverStream::new(outgoing))
            .await
            .map_err(|status| self.unwelcome(&status))?
            .into_inner();
        let heartbeat = match incoming
            .message()
            .await
            .map_err(|status| self.unwelcome(&status))?
            .and_then(|message| message.message)
        {
            Some(wire::controller_message::Message::Welcome(welcome)) => {
                tracing::info!(controller = %url, version = %welcome.controller_version, "connected");
                if self.is_here(url).await {
                    self.beside.reached.note(reach::ON_THIS_HOST.to_owned());
                } else {
                    self.beside.reached.answer(question);
                }
                self.is_deleted = false;
                Duration::from_millis(u64::from(welcome.heartbeat_ms.max(100)))
            }
            Some(wire::controller_message::Message::Refused(refused))
                if self.is_deleted && refused.reason == HOST_DELETED =>
            {
                // It has answered, on a connection made for it: what the Host declared may be put back.
                if !self.is_here(url).await {
                    self.beside.reached.answer(question);
                }
                return Ok(Ended::Deleted(refused.message));
            }
            Some(wire::controller_message::Message::Refused(refused)) => {
                bail!("refused ({}): {}", refused.reason, refused.message)
            }
            _ => bail!("the controller did not begin with a welcome"),
        };
        match self.exchange(url, &outbox, &mut incoming, heartbeat).await {
            Ok(None) => Ok(Ended::Anew),
            Ok(Some(refused)) => {
                self.withdraw();
                Ok(Ended::Deleted(refused.message))
            }
            Err(error) => {
                tracing::warn!(controller = %url, "the session ended: {}", broken::told(&error));
                Ok(Ended::Broken)
            }
        }
    }

    /// Says when the agent's certificate ends, once a day.
    fn look_at_certificate(&mut self) {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL)
        {
            return;
        }
        self.looked = Some(Instant::now());
        if let Some(notice) = self.certificate() {
            tracing::warn!("{}", notice.text);
        }
    }

    fn certificate(&self) -> Option<Notice> {
        let tls = self.config.tls.as_ref()?;
        certificate::look(&tls.certificate, Timestamp::now())
    }

    /// Why a controller that was reached did not become one that welcomes.
    fn unwelcome(&self, status: &tonic::Status) -> anyhow::Error {
        let Some(causes) = broken::causes(status) else {
            return anyhow::anyhow!("refused: {}", status.message());
        };
        // In TLS 1.3 a client learns only after its handshake that its certificate is refused, and where the reason is lost with the connection it does not.
        match (&self.config.tls, self.certificate()) {
            (None, _) => anyhow::anyhow!("the connection broke: {causes}"),
            (Some(_), Some(notice)) if notice.is_invalid => {
                anyhow::anyhow!("the connection broke: {causes}; {}", notice.text)
            }
            (Some(tls), _) => anyhow::anyhow!(
                "the connection broke: {causes}; the controller may not accept this host's certificate {}: its log says why",
                tls.certificate.display()
            ),
        }
    }

    /// Exchanges messages until the session breaks, or until the Host is deleted; none: until another session is wanted.
    async fn exchange(
        &mut self,
        url: &str,
        outbox: &mpsc::Sender<wire::AgentMessage>,
        incoming: &mut tonic::Streaming<wire::ControllerMessage>,
        heartbeat: Duration,
    ) -> anyhow::Result<Option<wire::Refused>> {
        let mut beat = tokio::time::interval(heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // A new session begins with the newest report, whatever the last one said.
        self.link.state.mark_changed();
        loop {
            tokio::select! {
                message = incoming.message() => match message.map_err(ended)?.and_then(|message| message.message) {
                    None => bail!("the controller closed the stream"),
                    Some(wire::controller_message::Message::Refused(refused)) if refused.reason == HOST_DELETED => return Ok(Some(refused)),
                    Some(wire::controller_message::Message::OpenVisit(asked)) => self.open_visit(url, asked.id)?,
                    Some(wire::controller_message::Message::CloseVisit(closed)) => self.close_visit(&closed.id),
                    Some(message) => self.receive(message)?,
                },
                Some(visited) = self.visiting.join_next() => {
                    self.visits_open.retain(|_, visit| !visit.is_finished());
                    if let Ok(Err(failed)) = visited {
                        tracing::warn!("a visit: {}", failed.message);
                        send(outbox, wire::agent_message::Message::VisitFailed(failed)).await?;
                    }
                }
                changed = self.link.state.changed() => {
                    changed.context("the worker ended")?;
                    let report = self.link.state.borrow_and_update().report.clone();
                    if let Some(report) = report {
                        let json = serde_json::to_vec(&*report).context("a report has no JSON form")?.into();
                        send(outbox, wire::agent_message::Message::Report(wire::Report { json })).await?;
                    }
                }
                Ok(()) = self.beside.reached.questions.changed() => return Ok(None),
                _ = beat.tick() => {
                    self.look_at_certificate();
                    let view = self.have().map(|(view, _)| mark_to_wire(view.mark));
                    send(outbox, wire::agent_message::Message::Heartbeat(wire::Heartbeat { view })).await?;
                }
            }
        }
    }

    /// The Host is gone, and with it what it declared.
    fn withdraw(&mut self) {
        let newest = self.base.as_deref();
        let Some(view) = newest.and_then(pass::withdrawn).map(Arc::new) else {
            return;
        };
        // No controller has sent this view: without a digest whoever comes next sends its own, whole.
        self.base = Some(view.clone());
        self.link.views.send(view, String::new());
    }

    async fn is_here(&self, url: &str) -> bool {
        self.beside.is_this_machine && reach::is_here(url).await
    }

    /// Whether there is a controller elsewhere.
    async fn has_another(&self) -> bool {
        for url in &self.config.controllers {
            if !self.is_here(url).await {
                return true;
            }
        }
        false
    }

    /// Takes a visit on a connection of its own.
    fn open_visit(&mut self, url: &str, id: String) -> anyhow::Result<()> {
        let Some(visits) = self.visits.clone() else {
            bail!("the controller asks for a visit, which this agent did not offer");
        };
        let endpoint = self.endpoint(url)?;
        let way = self.beside.way.clone();
        let url = url.to_owned();
        let visit = id.clone();
        let handle = self.visiting.spawn(async move {
            let taken = async {
                if let Some(way) = &way {
                    way().map_err(|why| anyhow::anyhow!("no way to {url}: {why}"))?;
                }
                let channel = endpoint.connect().await;
                let channel = channel.with_context(|| format!("no connection to {url}"))?;
                visits.take(channel, id.clone()).await
            };
            taken.await.map_err(|error| wire::VisitFailed {
                id: id.clone(),
                message: format!("{error:#}"),
            })
        });
        self.visits_open.insert(visit, handle);
        Ok(())
    }

    /// Ends a visit whose operator has left; what still runs is hung up.
    fn close_visit(&mut self, id: &str) {
        if let Some(visit) = self.visits_open.remove(id) {
            visit.abort();
        }
    }

    async fn connect(&self, url: &str) -> anyhow::Result<Channel> {
        if let Some(way) = &self.beside.way {
            way().map_err(|why| anyhow::anyhow!("no way to {url}: {why}"))?;
        }
        self.endpoint(url)?
            .connect()
            .await
            .with_context(|| format!("no connection to {url}"))
    }

    /// A controller, and how it is spoken to.
    fn endpoint(&self, url: &str) -> anyhow::Result<Endpoint> {
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("controller `{url}` is no URL"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        if let Some(tls) = self
            .config
            .tls
            .as_ref()
            .filter(|_| url.starts_with("https://"))
        {
            let read = |path: &std::path::Path| {
                std::fs::read(path).with_context(|| format!("{} could not be read", path.display()))
            };
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(read(&tls.ca)?))
                .identity(TlsIdentity::from_pem(
                    read(&tls.certificate)?,
                    read(&tls.key)?,
                ));
            endpoint = endpoint
                .tls_config(tls)
                .context("the TLS files do not fit together")?;
        }
        Ok(endpoint)
    }

    fn have(&self) -> Option<(Arc<HostView>, String)> {
        self.link.state.borrow().view.clone()
    }

    fn hello(&mut self) -> wire::AgentMessage {
        let have = self.have();
        self.base = have.as_ref().map(|(view, _)| view.clone());
        let digest = have
            .as_ref()
            .map(|(_, digest)| digest.clone())
            .unwrap_or_default();
        let hello = wire::Hello {
            host: self.config.host_name.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            key_fingerprint: self.identity.fingerprint.clone(),
            cluster: have
                .as_ref()
                .map(|(view, _)| view.cluster.0.clone())
                .unwrap_or_default(),
            have: have.as_ref().map(|(view, _)| mark_to_wire(view.mark)),
            have_digest: data_encoding::HEXLOWER
                .decode(digest.as_bytes())
                .unwrap_or_default()
                .into(),
            process: self.process.clone(),
            features: feature::ALL
                .into_iter()
                .map(str::to_owned)
                .chain(self.visits.iter().map(|_| visits::FEATURE.to_owned()))
                .chain(self.is_deleted.then(|| WAITS.to_owned()))
                .collect(),
        };
        wire::AgentMessage {
            message: Some(wire::agent_message::Message::Hello(hello)),
        }
    }

    fn receive(&mut self, message: wire::controller_message::Message) -> anyhow::Result<()> {
        match message {
            wire::controller_message::Message::View(view) => {
                if view.unchanged {
                    return Ok(());
                }
                let digest = data_encoding::HEXLOWER.encode(&view.digest);
                let merged = Arc::new(merge(self.base.as_deref(), view)?);
                self.base = Some(merged.clone());
                self.link.views.send(merged, digest);
                Ok(())
            }
            wire::controller_message::Message::Acknowledged(acknowledged) => {
                tracing::debug!(reports = acknowledged.reports, "report stored");
                Ok(())
            }
            wire::controller_message::Message::Refused(refused) => {
                bail!("refused ({}): {}", refused.reason, refused.message)
            }
            wire::controller_message::Message::Welcome(_) => bail!("a second welcome"),
            wire::controller_message::Message::OpenVisit(_)
            | wire::controller_message::Message::CloseVisit(_) => {
                bail!("a visit in its wrong place")
            }
        }
    }
}

/// The view that `message` makes of `base`.
///
/// # Errors
/// It changes a view that this agent does not have, or its documents cannot be read.
fn merge(base: Option<&HostView>, message: wire::View) -> anyhow::Result<HostView> {
    let mark = mark_from_wire(message.mark.context("a view without a number")?);
    let mut view = match message.base {
        None => HostView::default(),
        Some(wanted) => {
            let base = base.filter(|base| base.mark == mark_from_wire(wanted));
            base.context("a change to a view that is not the one here")?
                .clone()
        }
    };
    if !message.host_json.is_empty() {
        let host: HostView =
            serde_json::from_slice(&message.host_json).context("the view's host part")?;
        let (networks, jails) = (
            std::mem::take(&mut view.networks),
            std::mem::take(&mut view.jails),
        );
        view = HostView {
            networks,
            jails,
            ..host
        };
    }
    view.mark = mark;
    for item in message.networks {
        let network =
            serde_json::from_slice(&item.json).with_context(|| format!("network {}", item.key))?;
        view.networks.insert(item.key, network);
    }
    for item in message.jails {
        let jail =
            serde_json::from_slice(&item.json).with_context(|| format!("jail {}", item.key))?;
        view.jails.insert(Uid(item.key), jail);
    }
    for name in &message.removed_networks {
        view.networks.remove(name);
    }
    for uid in message.removed_jails {
        view.jails.remove(&Uid(uid));
    }
    Ok(view)
}

async fn send(
    outbox: &mpsc::Sender<wire::AgentMessage>,
    message: wire::agent_message::Message,
) -> anyhow::Result<()> {
    outbox
        .send(wire::AgentMessage {
            message: Some(message),
        })
        .await
        .context("the stream is closed")
}

fn ended(status: tonic::Status) -> anyhow::Error {
    match broken::causes(&status) {
        Some(causes) => anyhow::anyhow!("{causes}"),
        None => anyhow::anyhow!("{}: {}", status.code(), status.message()),
    }
}

fn mark_to_wire(mark: ViewMark) -> wire::ViewMark {
    wire::ViewMark {
        epoch: mark.epoch,
        generation: mark.generation.0,
    }
}

fn mark_from_wire(mark: wire::ViewMark) -> ViewMark {
    ViewMark {
        epoch: mark.epoch,
        generation: Generation(mark.generation),
    }
}
