//! How many watches there may be: in all, and for one client. Each costs a few KiB and a share of every event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::Caller;
use crate::status::RequestError;

/// How many watches a controller serves at once.
const WATCHES_MAX: usize = 20_000;

/// How many of them one identity has. A client that shows a fleet has one for each kind; a thousand at once is a client that
/// opens one whenever it should go on reading the last. The programs of this machine, which a listener without certificates
/// cannot tell from each other, have no bound but the one of all.
const CLIENT_WATCHES_MAX: usize = 1_000;

/// Who has how many.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    clients: BTreeMap<String, usize>,
}

/// The right to one watch, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    client: Option<String>,
}

impl Places {
    /// A place for one more.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn take(&self, caller: &Caller) -> Result<Place, RequestError> {
        let client = match caller {
            Caller::Local => None,
            // Neither may watch.
            Caller::Nobody(_) | Caller::Scraper(_) | Caller::Roleless { .. } => {
                Some("nobody".to_owned())
            }
            Caller::Operator(name) => Some(format!("operator {name}")),
            Caller::Host { name, .. } => Some(format!("host {name}")),
        };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= WATCHES_MAX {
            return Err(RequestError::Exhausted(format!(
                "this controller serves {WATCHES_MAX} watches already; use another, or try again later"
            )));
        }
        if let Some(client) = &client {
            let own = taken.clients.entry(client.clone()).or_default();
            if *own >= CLIENT_WATCHES_MAX {
                return Err(RequestError::Exhausted(format!(
                    "this client has {CLIENT_WATCHES_MAX} watches open already, and nobody may have more; close some, or read on from those that are open"
                )));
            }
            *own += 1;
        }
        taken.all += 1;
        Ok(Place {
            places: self.clone(),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(client) = &self.client else {
            return;
        };
        if let Some(own) = taken.clients.get_mut(client) {
            *own -= 1;
            if *own == 0 {
                taken.clients.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests;
