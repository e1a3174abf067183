//! The ledger: what the agent must remember over its own death and the controller's absence. The shell keeps it on disk and syncs it *before* the effect that it speaks of.
//!
//! Things that can carry a mark (interfaces, anchors, on 15 jails) are known by it. Aliases, flags of a NIC, sysctls and mounts carry none:
//! they are ours only if the ledger said so before they were made, in this boot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::shared::Shared;

/// The version of the ledger's form; older ones are read by newer agents for ever (golden files).
pub const LEDGER_VERSION: u32 = 2;

/// Everything that the agent remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// `LEDGER_VERSION` of the agent that wrote it.
    pub version: u32,
    /// The newest view that was accepted; the host is kept like this with no controller at hand.
    #[serde(default, with = "shared")]
    pub view: Option<Arc<HostView>>,
    /// The controller's digest of that view, in hexadecimal; sent back to resume.
    #[serde(default)]
    pub view_digest: String,
    /// The operator let the agent act on this host, or the host had no strangers at the first run.
    #[serde(default)]
    pub approved: bool,
    /// The boot that `owned` speaks of; after a reboot the kernel has forgotten all of it.
    #[serde(default)]
    pub boot_id: String,
    /// What we made, or are about to make, that carries no mark.
    #[serde(default)]
    pub owned: Shared<BTreeSet<Owned>>,
    /// Jails that we started, or are about to start, by uid. Survives a reboot, to know files and names.
    #[serde(default)]
    pub jails: Shared<BTreeMap<Uid, OwnedJail>>,
}

/// A view that many hold and one wrote: it stands in the file like any other, and in memory once.
mod shared {
    use std::sync::Arc;

    use cellblock_schemas::view::HostView;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        view: &Option<Arc<HostView>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        view.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<HostView>>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Arc::new))
    }
}

/// One thing of ours that carries no mark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "thing")]
pub enum Owned {
    /// An address that we put on an interface.
    #[serde(rename_all = "camelCase")]
    Alias {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// An interface of the host that was down and that we brought up.
    #[serde(rename_all = "camelCase")]
    BroughtUp {
        /// The interface.
        interface: String,
    },
    /// An interface of the host on which IPv6 was disabled (`IFDISABLED`) before our address enabled it.
    #[serde(rename_all = "camelCase")]
    Inet6Enabled {
        /// The interface.
        interface: String,
    },
    /// The link-local address that the kernel adds to an interface of the host when it brings IPv6 up there because of us
    /// (`in6_if_up`, sys/netinet6/in6.c). Remembered apart from what caused it: the two are undone one after the other.
    #[serde(rename_all = "camelCase")]
    LinkLocal {
        /// The interface.
        interface: String,
    },
    /// An interface of the host that we made a member of a bridge of ours.
    #[serde(rename_all = "camelCase")]
    Member {
        /// The bridge.
        bridge: String,
        /// The member.
        member: String,
    },
    /// A published port whose rules we loaded: states that they made may stand, also when the rules are gone.
    #[serde(rename_all = "camelCase")]
    Redirect {
        /// The anchor.
        anchor: String,
        /// The label of the rules.
        label: String,
    },
    /// A route of the host to a jail's address.
    #[serde(rename_all = "camelCase")]
    Route {
        /// The jail's address.
        destination: IpAddr,
        /// The host end of the jail's link.
        interface: String,
    },
    /// A sysctl that the Host declares, with the value that it had before.
    #[serde(rename_all = "camelCase")]
    Sysctl {
        /// The oid.
        oid: String,
        /// The value before.
        previous: String,
        /// The value that we set; none: it was set by an agent that did not remember it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// An outbound NAT that we loaded: states that it made may stand, also when it is gone.
    #[serde(rename_all = "camelCase")]
    Translation {
        /// The anchor.
        anchor: String,
        /// The prefix that is translated.
        from: IpNet,
        /// The address outside; none: the interface's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<IpAddr>,
    },
}

impl Owned {
    /// The address, if it is one on an interface.
    #[must_use]
    pub fn alias(&self) -> Option<IpAddr> {
        if let Self::Alias { address, .. } = self {
            Some(*address)
        } else {
            None
        }
    }
}

/// A jail that we started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedJail {
    /// Its name in jls(8).
    pub name: String,
    /// Its jid in this boot, once it is known; 0 before.
    pub jid: u32,
    /// Digest of what it was started with.
    pub hash: String,
    /// Its root without symbolic links; mounts below it that `mounts` names are ours.
    pub path: String,
    /// Its root as the manifest had it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// What it was started with, by field of the manifest, to tell what has changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The targets of its mounts on the host.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// Its addresses, whose states go with it.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Addresses that it had before and that may still stand on the host: nobody else may be given them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former: BTreeSet<IpAddr>,
    /// Its jail.conf.
    #[serde(default)]
    pub conf: String,
    /// Why it is being started again, or was the last time; empty: it was not, or not because of a change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub restart: String,
}

impl OwnedJail {
    /// Whether an address that it has or had is one that we put on an interface of the host.
    #[must_use]
    pub fn has_aliases(&self, ledger: &Ledger) -> bool {
        let mut addresses = self.addresses.iter().chain(&self.former);
        addresses.any(|address| ledger.has_alias(*address))
    }
}

impl Ledger {
    /// An empty ledger of this agent's form.
    #[must_use]
    pub fn new() -> Self {
        Self {
            version: LEDGER_VERSION,
            ..Self::default()
        }
    }

    /// Whether an address that we put on an interface of the host may stand there.
    #[must_use]
    pub fn has_alias(&self, of: IpAddr) -> bool {
        self.owned.iter().any(|owned| owned.alias() == Some(of))
    }

    /// Forgets what a reboot took away. Call with every observation, before planning.
    pub fn enter_boot(&mut self, boot_id: &str) {
        if self.boot_id != boot_id {
            boot_id.clone_into(&mut self.boot_id);
            self.owned.clear();
            for jail in self.jails.values_mut() {
                jail.jid = 0;
                // What is mounted there now was mounted by somebody else.
                jail.mounts.clear();
                jail.former.clear();
                jail.restart.clear();
            }
        }
    }
}
