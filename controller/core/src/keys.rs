//! The layout of the store: which key holds what. Nobody else builds or takes apart a key.

use cellblock_schemas::{ClusterUid, Kind};

use crate::claim::Resource;

/// Where the cluster's uid is kept, outside of every cluster's own prefix: it is what the prefix is made of.
pub const CLUSTER_KEY: &str = "/cellblock/cluster";

/// The keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One object's JSON document.
    Object {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Who holds one resource.
    Claim(Resource),
    /// A number that changes whenever a rule over several objects was relied on; see [`crate::write::Guard`].
    Guard(String),
    /// The agent session of one host, under its controller's lease.
    Session {
        /// The Host's name.
        host: String,
    },
    /// What is kept for jails of one name, none of which is there.
    Kept(String),
    /// One event's record.
    Record(String),
    /// The cluster's epoch.
    Epoch,
}

impl Keys {
    /// The keys of `cluster`.
    #[must_use]
    pub fn new(cluster: &ClusterUid) -> Self {
        Self {
            root: format!("/cellblock/{cluster}/v1/"),
        }
    }

    /// The prefix of everything below.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// One object.
    #[must_use]
    pub fn object(&self, kind: Kind, name: &str) -> String {
        format!("{}objects/{kind}/{name}", self.root)
    }

    /// All objects of a kind.
    #[must_use]
    pub fn objects(&self, kind: Kind) -> String {
        format!("{}objects/{kind}/", self.root)
    }

    /// Who holds `resource`.
    #[must_use]
    pub fn claim(&self, resource: &Resource) -> String {
        format!(
            "{}alloc/{}/{}",
            self.root,
            resource.scope(),
            resource.value()
        )
    }

    /// What is kept for jails of a name.
    #[must_use]
    pub fn kept(&self, jail: &str) -> String {
        format!("{}kept/{jail}", self.root)
    }

    /// A guard.
    #[must_use]
    pub fn guard(&self, name: &str) -> String {
        format!("{}guard/{name}", self.root)
    }

    /// The agent session of a host.
    #[must_use]
    pub fn session(&self, host: &str) -> String {
        format!("{}lease/agent/{host}", self.root)
    }

    /// One event's record, by its name.
    #[must_use]
    pub fn record(&self, name: &str) -> String {
        format!("{}events/{name}", self.root)
    }

    /// Who records events, under the lease of that controller.
    #[must_use]
    pub fn recorder(&self) -> String {
        format!("{}lease/recorder", self.root)
    }

    /// Written so that the store's revision moves on, and never read.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{}mark", self.root)
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> String {
        format!("{}epoch", self.root)
    }

    /// What `key` holds; none for a key of another cluster or of a release that knows more than this one.
    #[must_use]
    pub fn parse(&self, key: &str) -> Option<Place> {
        let rest = key.strip_prefix(&self.root)?;
        if rest == "epoch" {
            return Some(Place::Epoch);
        }
        let (family, rest) = rest.split_once('/')?;
        match family {
            "objects" => {
                let (kind, name) = rest.split_once('/')?;
                Some(Place::Object {
                    kind: Kind::from_name(kind)?,
                    name: name.to_owned(),
                })
            }
            "alloc" => {
                let (scope, value) = rest.rsplit_once('/')?;
                Resource::parse(scope, value).map(Place::Claim)
            }
            "guard" => Some(Place::Guard(rest.to_owned())),
            "kept" => Some(Place::Kept(rest.to_owned())),
            "events" => Some(Place::Record(rest.to_owned())),
            "lease" => Some(Place::Session {
                host: rest.strip_prefix("agent/")?.to_owned(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
