//! Which member of the cluster is asked, for how long, and what happens when it does not answer.
//!
//! One member is asked until it fails, then the next: a client that spreads its requests over all members meets a dead
//! or partitioned one with every second request. What a request is, is up to the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient, LeaseClient, MaintenanceClient, WatchClient};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::errors::{Answer, Failure, classify};
use super::options::EtcdOptions;
use crate::backoff::Backoff;
use crate::error::{Error, Outcome, Result};
use crate::model::Key;

/// The first wait before a member is asked again, about the time a process takes to restart a listener.
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// The longest wait between two attempts within one request.
const RETRY_MOST: Duration = Duration::from_millis(500);

/// Whether a request may be repeated when it is not known to have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Reads: as often as there is time for.
    Freely,
    /// Writes: only what certainly was not executed.
    IfUnsent,
}

/// Why a request has no result: an answer that the caller may know how to read, or an error.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The cluster's answer.
    Answer(Answer),
    /// Not answered.
    Failed(Error),
}

#[derive(Debug)]
struct Member {
    url: String,
    connection: OnceCell<Arc<Connection>>,
}

/// How many bytes an answer has at most unless said otherwise: 128 items (see [`crate::OPS_MAX`]) of 1.5 MiB fit.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The connection to one member. Its parts are taken apart once: cloning a whole `Client` for every request copies its
/// options, certificates included, and costs more than the request.
pub(super) struct Connection {
    client: Client,
    kv: KvClient,
    lease: LeaseClient,
}

impl Connection {
    fn new(client: Client) -> Self {
        let kv = client
            .kv_client()
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let lease = client.lease_client();
        Connection { client, kv, lease }
    }

    pub(super) fn kv(&self) -> KvClient {
        self.kv.clone()
    }

    pub(super) fn lease(&self) -> LeaseClient {
        self.lease.clone()
    }

    pub(super) fn watch(&self) -> WatchClient {
        self.client.watch_client()
    }

    pub(super) fn maintenance(&self) -> MaintenanceClient {
        self.client.maintenance_client()
    }

    pub(super) async fn refresh_token(&self) -> Result<(), etcd_client::Error> {
        self.client.refresh_token().await
    }
}

// etcd-client's clients have no `Debug`.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// The members of a cluster and the connections to them.
#[derive(Debug)]
pub(super) struct Endpoints {
    members: Vec<Member>,
    /// The member asked at present: an index into `members` once taken modulo their number.
    current: AtomicUsize,
    connect: ConnectOptions,
    request_timeout: Duration,
    location: String,
    probe: Key,
    /// Whether connections are encrypted without a certificate of ours.
    is_anonymous: bool,
}

impl Endpoints {
    pub(super) fn new(options: EtcdOptions) -> Result<Self> {
        options.check()?;
        let connect = options.connect_options()?;
        let location = format!("etcd at {}", options.endpoints.join(", "));
        let members = options
            .endpoints
            .into_iter()
            .map(|url| Member {
                url,
                connection: OnceCell::new(),
            })
            .collect();
        Ok(Endpoints {
            members,
            current: AtomicUsize::new(0),
            connect,
            request_timeout: options.request_timeout,
            location,
            is_anonymous: options.tls.is_some_and(|tls| tls.identity.is_none()),
            probe: options.probe,
        })
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn probe(&self) -> &Key {
        &self.probe
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Which member is asked now, to be handed to [`Endpoints::pass_over`] if it fails.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Asks the next member from now on, unless somebody else has decided so already.
    pub(super) fn pass_over(&self, failed: usize) {
        let next = failed.wrapping_add(1);
        if self
            .current
            .compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
            && self.members.len() > 1
        {
            let (from, to) = (self.member(failed), self.member(next));
            tracing::warn!(
                from = from.url,
                to = to.url,
                "asking another member of etcd"
            );
        }
    }

    fn member(&self, turn: usize) -> &Member {
        &self.members[turn % self.members.len()]
    }

    /// The connection to a member. Without a password this connects nothing yet; with one it authenticates.
    pub(super) async fn connection(
        &self,
        turn: usize,
    ) -> Result<Arc<Connection>, etcd_client::Error> {
        let member = self.member(turn);
        let connecting = || async {
            let client = Client::connect([&member.url], Some(self.connect.clone())).await?;
            Ok(Arc::new(Connection::new(client)))
        };
        member.connection.get_or_try_init(connecting).await.cloned()
    }

    /// Sends a request, to other members too while there is time and no risk in it.
    pub(super) async fn call<T, F, Fut>(&self, repeat: Repeat, request: F) -> Result<T, Refusal>
    where
        F: Fn(Arc<Connection>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.request_timeout;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let turn = self.current();
            let failure = match self
                .attempt(turn, self.attempt_deadline(repeat, deadline), &request)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let (reason, outcome) = match failure {
                Failure::Answered(answer) => return Err(Refusal::Answer(answer)),
                Failure::Unsent(reason) => (reason, Outcome::NotApplied),
                Failure::Lost(reason) => match repeat {
                    Repeat::Freely => (reason, Outcome::NotApplied),
                    Repeat::IfUnsent => (reason, Outcome::Unknown),
                },
            };
            self.pass_over(turn);
            let next = Instant::now() + backoff.delay();
            if outcome == Outcome::Unknown || next >= deadline {
                let location = self.location.clone();
                return Err(Refusal::Failed(Error::Unavailable {
                    location,
                    reason: self.explain(reason),
                    outcome,
                }));
            }
            sleep_until(next).await;
        }
    }

    /// As [`Endpoints::call`], for requests whose every refusal is an error without further knowledge.
    pub(super) async fn call_plain<T, F, Fut>(&self, repeat: Repeat, request: F) -> Result<T>
    where
        F: Fn(Arc<Connection>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(repeat, request)
            .await
            .map_err(|refusal| match refusal {
                Refusal::Answer(answer) => answer.into_error(&self.location),
                Refusal::Failed(error) => error,
            })
    }

    async fn attempt<T, F, Fut>(
        &self,
        turn: usize,
        deadline: Instant,
        request: &F,
    ) -> Result<T, Failure>
    where
        F: Fn(Arc<Connection>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let url = &self.member(turn).url;
        let asking = async {
            let connection =
                self.connection(turn)
                    .await
                    .map_err(|error| match classify(&error) {
                        // Nothing but the password has been sent yet.
                        Failure::Lost(reason) | Failure::Unsent(reason) => Failure::Unsent(reason),
                        Failure::Answered(answer) => Failure::Answered(answer),
                    })?;
            request(connection).await.map_err(|error| classify(&error))
        };
        match timeout_at(deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Lost(format!("no answer from {url} in time"))),
        }
    }

    /// A server that misses our certificate says so after the handshake and closes; whether its words or its closing
    /// are noticed first is a matter of luck.
    fn explain(&self, reason: String) -> String {
        let is_closed = ["closed", "reset", "broken pipe"]
            .iter()
            .any(|sign| reason.contains(sign));
        if self.is_anonymous && is_closed {
            return format!("{reason} (it may ask for a client certificate, and none is given)");
        }
        reason
    }

    /// A read leaves time to ask another member; a write that may have been sent cannot be repeated, so it may as well
    /// wait for its answer.
    fn attempt_deadline(&self, repeat: Repeat, deadline: Instant) -> Instant {
        match repeat {
            Repeat::Freely if self.members.len() > 1 => {
                deadline.min(Instant::now() + self.request_timeout / 2)
            }
            Repeat::Freely | Repeat::IfUnsent => deadline,
        }
    }
}
