//! Who visits what at the moment, how many may, and which agents are waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cellblock_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use crate::authorise::{Action, authorise};
use crate::identity::Caller;
use crate::status::RequestError;

/// How many visits a controller passes on at once. Each takes up to 4 MiB while somebody does not read.
const VISITS_MAX: usize = 128;

/// How many an operator may have: a desk full of terminals, and a script that forgets to end its own.
const VISITS_OF_OPERATOR_MAX: usize = 32;

/// How many there may be in one jail.
const VISITS_OF_JAIL_MAX: usize = 16;

/// The agent's end of a visit.
#[derive(Debug)]
pub(super) struct AgentEnd {
    pub(super) from: Streaming<v1::VisitResponse>,
    pub(super) to: mpsc::Sender<Result<v1::VisitRequest, Status>>,
}

type Door = oneshot::Sender<Result<AgentEnd, String>>;

/// What is waited for.
pub(super) struct Waited {
    pub(super) id: String,
    pub(super) door: oneshot::Receiver<Result<AgentEnd, String>>,
}

/// The visits of this controller.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    visits: usize,
    of_operator: BTreeMap<String, usize>,
    of_jail: BTreeMap<String, usize>,
    /// Who is waited for, by id, with the host.
    waiting: BTreeMap<String, (String, Door)>,
}

/// One visit that is counted, until it is dropped.
pub(super) struct Place {
    desk: Desk,
    operator: String,
    jail: String,
}

/// Forgets an id when it is dropped.
pub(super) struct Forgotten {
    desk: Desk,
    id: String,
}

impl Desk {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if it may be.
    pub(super) fn admit(&self, operator: &str, jail: &str) -> Result<Place, RequestError> {
        let mut books = self.books();
        let of = |counts: &BTreeMap<String, usize>, key: &str| counts.get(key).copied();
        let full = if books.visits >= VISITS_MAX {
            Some(format!(
                "this controller passes on {VISITS_MAX} visits already, which is all that it does at once"
            ))
        } else if of(&books.of_operator, operator) >= Some(VISITS_OF_OPERATOR_MAX) {
            Some(format!(
                "operator `{operator}` has {VISITS_OF_OPERATOR_MAX} visits open, which are as many as one may have"
            ))
        } else if of(&books.of_jail, jail) >= Some(VISITS_OF_JAIL_MAX) {
            Some(format!(
                "jail `{jail}` has {VISITS_OF_JAIL_MAX} visits, which are as many as there may be in one"
            ))
        } else {
            None
        };
        if let Some(message) = full {
            return Err(RequestError::Exhausted(message));
        }
        books.visits += 1;
        *books.of_operator.entry(operator.to_owned()).or_default() += 1;
        *books.of_jail.entry(jail.to_owned()).or_default() += 1;
        Ok(Place {
            desk: self.clone(),
            operator: operator.to_owned(),
            jail: jail.to_owned(),
        })
    }

    /// An id that nobody can guess, for the agent of a host.
    pub(super) fn wait_for(&self, host: &str) -> Waited {
        let id = uuid::Uuid::new_v4().to_string();
        let (sender, door) = oneshot::channel();
        let mut books = self.books();
        books.waiting.insert(id.clone(), (host.to_owned(), sender));
        Waited { id, door }
    }

    /// Forgets the id with what is returned.
    pub(super) fn forget_later(&self, id: &str) -> Forgotten {
        Forgotten {
            desk: self.clone(),
            id: id.to_owned(),
        }
    }

    /// Gives an agent's stream to whoever waits for it. An id is good for once, and for the agent of its host alone.
    pub(super) fn hand_over(
        &self,
        id: &str,
        caller: &Caller,
        end: AgentEnd,
    ) -> Result<(), RequestError> {
        let mut books = self.books();
        let nobody = || {
            RequestError::Malformed(
                "this controller waits for no such visit: does the URL lead to several controllers in turns? Name each by one of its own"
                    .to_owned(),
            )
        };
        let (host, _) = books.waiting.get(id).ok_or_else(nobody)?;
        authorise(caller, Action::Speak(host))?;
        let (_, door) = books.waiting.remove(id).ok_or_else(nobody)?;
        door.send(Ok(end)).map_err(|_| nobody())
    }

    /// The agent of a host says that it could not come.
    pub(crate) fn failed(&self, host: &str, id: &str, message: String) {
        let mut books = self.books();
        if books.waiting.get(id).is_some_and(|(of, _)| of == host)
            && let Some((_, door)) = books.waiting.remove(id)
        {
            // Who waited may have given up.
            let _ = door.send(Err(message));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = self.desk.books();
        books.visits -= 1;
        less(&mut books.of_operator, &self.operator);
        less(&mut books.of_jail, &self.jail);
    }
}

fn less(counts: &mut BTreeMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.desk.books().waiting.remove(&self.id);
    }
}
