//! Who speaks for which host: one key in the store per open session, under the lease of the controller that holds it. When
//! an agent falls silent its key is removed; when a controller dies its lease expires and all its keys with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cellblock_controller_core::index::Session;
use cellblock_proto::v1;
use cellblock_store::{Error, Expect, HeldLease, Key, Revision, SharedStore, Transaction};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::cache::Cache;

/// How long to wait for the index to show a session key that was just written.
const APPLIED_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;

/// How many former processes of an agent are remembered.
const FORMER_MAX: usize = 8;

/// Why a session cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    /// Another agent speaks for the host.
    #[error(
        "host {host} is spoken for by another agent (key {theirs}, connected from {their_address}); this one (key {ours}) connected from {our_address}. Two machines with a copy of one key or one name: give this one a name of its own, or stop the other"
    )]
    HostClaimed {
        host: String,
        theirs: String,
        their_address: String,
        ours: String,
        our_address: String,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The sessions of this controller.
pub(crate) struct Sessions {
    store: SharedStore,
    cache: Arc<Cache>,
    /// This process, as it stands in its session keys.
    controller: String,
    lease_ttl: Duration,
    lease: tokio::sync::Mutex<Option<Arc<HeldLease>>>,
    open: Mutex<BTreeMap<String, Open>>,
    numbers: std::sync::atomic::AtomicU64,
}

struct Open {
    number: u64,
    superseded: watch::Sender<bool>,
    reach: Option<Reach>,
}

/// How an agent is spoken to.
pub(super) struct Reach {
    pub(super) outbound: Outbound,
    pub(super) version: String,
    /// Whether it takes visits.
    pub(super) visits: bool,
}

type Outbound = mpsc::Sender<Result<v1::ControllerMessage, Status>>;

/// Who can bring a visit to a host.
pub(crate) enum ForVisit {
    /// This controller, by this.
    Here(Outbound),
    /// Nobody, until the agent, of that version, is updated.
    TooOld(String),
    /// Another controller; where the agent connects from.
    Elsewhere(String),
    /// Nobody.
    Nowhere,
}

/// One host's session, held by the task that runs it.
pub(super) struct Held {
    host: String,
    session: Session,
    number: u64,
    superseded: watch::Receiver<bool>,
}

impl Held {
    /// Returns once the same agent has opened another session.
    pub(super) async fn superseded(&mut self) {
        // The sender goes away only when it is replaced, and then it has said `true`.
        let _ = self.superseded.wait_for(|superseded| *superseded).await;
    }
}

impl Sessions {
    /// How long the keys of a controller outlive it.
    pub(crate) fn lease_ttl(&self) -> Duration {
        self.lease_ttl
    }

    pub(crate) fn new(store: SharedStore, cache: Arc<Cache>, lease_ttl: Duration) -> Self {
        Self {
            store,
            cache,
            controller: uuid::Uuid::new_v4().to_string(),
            lease_ttl,
            lease: tokio::sync::Mutex::new(None),
            open: Mutex::new(BTreeMap::new()),
            numbers: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Claims a host for the agent with that key. The same agent's earlier session, here or at another controller, gives way, and so does an earlier process of it; one that comes back after that
    /// was not its predecessor but runs beside it, on a machine with a copy of the key.
    pub(super) async fn claim(
        &self,
        host: &str,
        fingerprint: &str,
        process: &str,
        address: &str,
    ) -> Result<Held, ClaimError> {
        let mut session = Session {
            key_fingerprint: fingerprint.to_owned(),
            address: address.to_owned(),
            controller: self.controller.clone(),
            process: process.to_owned(),
            former: Vec::new(),
        };
        self.record(host, &mut session).await?;
        let number = self
            .numbers
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let sender = watch::Sender::new(false);
        let superseded = sender.subscribe();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = open.insert(
            host.to_owned(),
            Open {
                number,
                superseded: sender,
                reach: None,
            },
        );
        if let Some(earlier) = earlier {
            earlier.superseded.send_replace(true);
        }
        Ok(Held {
            host: host.to_owned(),
            session,
            number,
            superseded,
        })
    }

    /// The agent of a session can be spoken to.
    pub(super) fn reached_by(&self, held: &Held, reach: Reach) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_mut(&held.host);
        if let Some(open) = open.filter(|open| open.number == held.number) {
            open.reach = Some(reach);
        }
    }

    /// Who can bring a visit to a host.
    pub(crate) fn for_visit(&self, host: &str) -> ForVisit {
        {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let reach = open.get(host).and_then(|open| open.reach.as_ref());
            // One whose stream has ended is kept for a while, for the agent to come back.
            if let Some(reach) = reach.filter(|reach| !reach.outbound.is_closed()) {
                return if reach.visits {
                    ForVisit::Here(reach.outbound.clone())
                } else {
                    ForVisit::TooOld(reach.version.clone())
                };
            }
        }
        match self.cache.index().session(host) {
            Some((session, _)) if session.controller != self.controller => {
                ForVisit::Elsewhere(session.address.clone())
            }
            Some(_) | None => ForVisit::Nowhere,
        }
    }

    /// The agent with another key that speaks for the host at the moment, if one does.
    pub(super) fn rival(&self, host: &str, key: &str, address: &str) -> Option<ClaimError> {
        let index = self.cache.index();
        let (present, _) = index.session(host)?;
        (present.key_fingerprint != key).then(|| ClaimError::HostClaimed {
            host: host.to_owned(),
            theirs: present.key_fingerprint.clone(),
            their_address: present.address.clone(),
            ours: key.to_owned(),
            our_address: address.to_owned(),
        })
    }

    /// Writes the host's key, unless another agent's is there.
    async fn record(&self, host: &str, session: &mut Session) -> Result<(), ClaimError> {
        let key = Key::from(self.cache.index().keys().session(host));
        loop {
            let got = self.store.get(&key, None).await?;
            let expect = match got.item {
                None => Expect::Absent,
                Some(item) => {
                    if let Ok(present) = serde_json::from_slice::<Session>(&item.value)
                        && let Err(theirs) = succeed(session, present)
                    {
                        return Err(ClaimError::HostClaimed {
                            host: host.to_owned(),
                            theirs: theirs.key_fingerprint,
                            their_address: theirs.address,
                            ours: session.key_fingerprint.clone(),
                            our_address: session.address.clone(),
                        });
                    }
                    Expect::At(item.modified)
                }
            };
            let value = serde_json::to_vec(session).expect("a session has string keys only");
            let lease = self.lease().await?;
            let write = Transaction::new().expect(key.clone(), expect).put_leased(
                key.clone(),
                value,
                lease.id(),
            );
            match self.store.commit(write).await {
                Ok(committed) => {
                    self.cache
                        .reached(committed.revision.0, APPLIED_PATIENCE)
                        .await;
                    return Ok(());
                }
                Err(Error::Conflict(_)) => {}
                Err(Error::LeaseNotFound(_)) => *self.lease.lock().await = None,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The lease of this controller; a new one if the last was lost.
    pub(crate) async fn lease(&self) -> Result<Arc<HeldLease>, Error> {
        let mut lease = self.lease.lock().await;
        if let Some(held) = lease.as_ref().filter(|held| !held.is_lost()) {
            return Ok(held.clone());
        }
        let held = Arc::new(HeldLease::grant(self.store.clone(), self.lease_ttl).await?);
        *lease = Some(held.clone());
        Ok(held)
    }

    /// Writes the host's key anew if it vanished with a lost lease: the agent is still there.
    pub(super) async fn keep(&self, held: &Held) -> Result<(), ClaimError> {
        let present = self.cache.index().session(&held.host).is_some();
        if present {
            Ok(())
        } else {
            self.record(&held.host, &mut held.session.clone()).await
        }
    }

    /// The session is over: removes the host's key, unless a later session has it.
    pub(super) async fn release(&self, held: &Held) {
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open
                .get(&held.host)
                .is_none_or(|open| open.number != held.number)
            {
                return;
            }
            open.remove(&held.host);
        }
        let (key, present) = {
            let index = self.cache.index();
            let present = index
                .session(&held.host)
                .map(|(session, revision)| (session.clone(), revision));
            (index.keys().session(&held.host), present)
        };
        let Some((session, revision)) = present else {
            return;
        };
        if session != held.session {
            return;
        }
        let key = Key::from(key);
        let write = Transaction::new()
            .expect(key.clone(), Expect::At(Revision(revision)))
            .delete(key);
        if let Err(error) = self.store.commit(write).await {
            tracing::debug!(host = held.host, %error, "cannot remove a session key; it goes with its lease");
        }
    }
}

/// Makes `next` the successor of `present`, unless that is another agent's, or of an agent that has taken over from `next` already.
fn succeed(next: &mut Session, present: Session) -> Result<(), Session> {
    let ran_before = !next.process.is_empty() && present.former.contains(&next.process);
    if present.key_fingerprint != next.key_fingerprint || ran_before {
        return Err(present);
    }
    next.former = present.former;
    if present.process != next.process {
        next.former.push(present.process);
    }
    let surplus = next.former.len().saturating_sub(FORMER_MAX);
    next.former.drain(..surplus);
    Ok(())
}
