//! Which member of the cluster is asked, for how long, and what happens when it does not answer.
//!
//! One member is asked until it fails, then the next: a client that spreads its requests over all members meets a dead
//! or partitioned one with every second request. What a request is, is up to the caller.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
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
    client: OnceCell<MemberClient>,
}

/// etcd-client's client has no `Debug`.
struct MemberClient(Client);

impl std::fmt::Debug for MemberClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
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
                client: OnceCell::new(),
            })
            .collect();
        Ok(Endpoints {
            members,
            current: AtomicUsize::new(0),
            connect,
            request_timeout: options.request_timeout,
            location,
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

    /// The client of a member. Without a password this connects nothing yet; with one it authenticates.
    pub(super) async fn client(&self, turn: usize) -> Result<Client, etcd_client::Error> {
        let member = self.member(turn);
        let connecting = || async {
            Client::connect([&member.url], Some(self.connect.clone()))
                .await
                .map(MemberClient)
        };
        Ok(member.client.get_or_try_init(connecting).await?.0.clone())
    }

    /// Sends a request, to other members too while there is time and no risk in it.
    pub(super) async fn call<T, F, Fut>(&self, repeat: Repeat, request: F) -> Result<T, Refusal>
    where
        F: Fn(Client) -> Fut,
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
                    reason,
                    outcome,
                }));
            }
            sleep_until(next).await;
        }
    }

    /// As [`Endpoints::call`], for requests whose every refusal is an error without further knowledge.
    pub(super) async fn call_plain<T, F, Fut>(&self, repeat: Repeat, request: F) -> Result<T>
    where
        F: Fn(Client) -> Fut,
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
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let url = &self.member(turn).url;
        let client = match timeout_at(deadline, self.client(turn)).await {
            Ok(client) => client.map_err(|error| match classify(&error) {
                // Nothing but the password has been sent yet.
                Failure::Lost(reason) | Failure::Unsent(reason) => Failure::Unsent(reason),
                Failure::Answered(answer) => Failure::Answered(answer),
            })?,
            Err(_) => return Err(Failure::Unsent(format!("no connection to {url} in time"))),
        };
        match timeout_at(deadline, request(client)).await {
            Ok(answer) => answer.map_err(|error| classify(&error)),
            Err(_) => Err(Failure::Lost(format!("no answer from {url} in time"))),
        }
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
