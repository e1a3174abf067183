//! The ledger: what the agent must remember over its own death and the controller's absence. The shell keeps it on disk and syncs it *before* the effect that it speaks of.
//!
//! Things that can carry a mark (interfaces, anchors, on 15 jails) are known by it. Aliases, flags of a NIC, sysctls and mounts carry none:
//! they are ours only if the ledger said so before they were made, in this boot.
//!
//! It is read like any structure and changed by [`Change`]s alone, each of which goes to the file first: [`Ledger::commit`] and [`Ledger::learn`] are the
//! only ways. How it stands on a disk is said in `journal`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::BoundAttachment;
use cellblock_schemas::view::HostView;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::execute::LedgerFile;
use crate::guard::RolledBack;
use crate::host::HostError;
use crate::nic::NicState;
use crate::observed::Route;
use crate::op::TableRoute;
use crate::probe::{Revived, Verdicts};
use crate::shared::Shared;

pub mod journal;
mod record;

/// The version of the ledger's form; older ones are read by newer agents for ever (golden files).
pub const LEDGER_VERSION: u32 = 3;

/// Everything that the agent remembers, for reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    contents: Contents,
    /// The file lacks what a look has taught.
    behind: bool,
}

/// What the ledger holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
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
    /// Changes under guard that were taken back, by the part of the host. Survives a reboot: what has cut the host off once is not tried again by itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rolled_back: BTreeMap<String, RolledBack>,
}

/// One change of the ledger. What each does is written down in journals, so it stays as it is for ever.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A view was taken, with the controller's digest of it.
    TakeView(Arc<HostView>, String),
    /// The agent may act on this host.
    Approve,
    /// The host is in this boot, and what another one had is gone.
    EnterBoot(String),
    /// Something without a mark is ours, or will be at once.
    Own(Owned),
    /// It is not any more, or never was.
    Disown(Owned),
    /// A jail of ours, as it is now.
    KnowJail(Uid, OwnedJail),
    /// Nothing is left of a jail.
    ForgetJail(Uid),
    /// A change of that part of the host was taken back.
    Judge(String, RolledBack),
    /// That part of the host may be changed again.
    Acquit(String),
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
    /// A published port, or one way of a jail's public address, whose rules we loaded: states that they made may stand, also when the rules are gone.
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
    /// A route in one of the host's routing tables: what jails with a table of their own need, and the way to other hosts' jails.
    TableRoute(TableRoute),
    /// An interface of the host whose ng_ether(4) hooks we connected to a netgraph switch of ours.
    #[serde(rename_all = "camelCase")]
    NgUplink {
        /// The switch, by its node's name.
        switch: String,
        /// The interface.
        interface: String,
    },
    /// The settings of an interface's ng_ether(4) node before we changed them.
    #[serde(rename_all = "camelCase")]
    NgEther {
        /// The interface.
        interface: String,
        /// `getpromisc` before.
        promiscuous: bool,
        /// `getautosrc` before.
        autosrc: bool,
    },
    /// An interface of the host that we made a port of a lagg of ours, with what the lagg may change of it: its MAC address comes back by itself when it leaves, its MTU does not
    /// (`lagg_port_create`, `lagg_port_destroy`, sys/net/if_lagg.c).
    #[serde(rename_all = "camelCase")]
    LaggPort {
        /// The lagg.
        lagg: String,
        /// The port.
        port: String,
        /// Its MTU before.
        mtu: u32,
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
    /// A rule of rctl(8) that we added. Rules go by a jail's name and outlive the jail.
    #[serde(rename_all = "camelCase")]
    Limit {
        /// The jail.
        jail: Uid,
        /// The rule, as rctl(8) prints it.
        rule: String,
    },
    /// The folder of images and roots, by what its file of that purpose says: another one at the same path is not it. Survives a reboot, after which the disk may not be mounted.
    #[serde(rename_all = "camelCase")]
    Storage {
        /// Its path, as the Host has it.
        path: String,
        /// What the file says.
        mark: String,
    },
    /// A ZFS dataset of an image, or of a root that is whole: another one under its name is not it. It has a mark too. Survives a reboot.
    #[serde(rename_all = "camelCase")]
    Dataset {
        /// Its name.
        name: String,
        /// Its guid.
        guid: String,
    },
    /// A NIC of the host that a jail has, or may have, with what it was before.
    Nic(NicState),
    /// The firewall of a jail, as its rules were loaded: no state stands that they do not permit, unless [`Self::Unchecked`] says otherwise.
    #[serde(rename_all = "camelCase")]
    Firewall {
        /// The jail.
        jail: Uid,
        /// A digest of its rules.
        rules: String,
        /// A digest of those rules that ask for the owner of a socket, with the others around them; empty where none does.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owners: String,
    },
    /// New rules of a jail's firewall are about to be loaded, and states may stand that they do not permit.
    #[serde(rename_all = "camelCase")]
    Unchecked {
        /// The jail.
        jail: Uid,
    },
    /// The rules of a jail that pf did not take. As long as it does not and they stay the same, the jail is closed: others' rules are loaded without them.
    #[serde(rename_all = "camelCase")]
    Rejected {
        /// The jail.
        jail: Uid,
        /// The anchor that they belong to.
        anchor: String,
        /// Their text.
        rules: String,
        /// What pfctl(8) said.
        said: String,
    },
    /// New rules that keep the jails of a network apart are about to be loaded, and states may stand that they do not permit.
    #[serde(rename_all = "camelCase")]
    UncheckedNetwork {
        /// The network.
        network: Uid,
    },
    /// The host's pf.conf has our block, or may have. Survives a reboot, as the file does.
    #[serde(rename_all = "camelCase")]
    PfConf {
        /// Where it is.
        path: String,
        /// There was none before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        made: bool,
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
    /// How it is attached since it was started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<BoundAttachment>,
    /// Parameters of it that we have set out to change and that `fields` may not have as they are now.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub changing: BTreeSet<String>,
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
    /// What its probes have come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Box<Verdicts>>,
    /// How often it was started again because of them.
    #[serde(default, skip_serializing_if = "Revived::is_none")]
    pub revived: Revived,
}

impl OwnedJail {
    /// Whether an address that it has or had is one that we put on an interface of the host.
    #[must_use]
    pub fn has_aliases(&self, ledger: &Ledger) -> bool {
        let mut addresses = self.addresses.iter().chain(&self.former);
        addresses.any(|address| ledger.has_alias(*address))
    }
}

impl Deref for Ledger {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}

impl From<Contents> for Ledger {
    fn from(contents: Contents) -> Self {
        Self {
            contents,
            behind: false,
        }
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes changes, all or none, and makes them; what is so already is not written again. Returns whether anything was new.
    ///
    /// # Errors
    /// They could not be written, and the ledger is as it was.
    pub fn commit(
        &mut self,
        changes: Vec<Change>,
        file: &mut dyn LedgerFile,
    ) -> Result<bool, HostError> {
        if !changes.iter().any(|change| self.contents.lacks(change)) {
            return Ok(false);
        }
        file.append(self, &changes)?;
        self.behind = false;
        self.contents.apply(changes);
        Ok(true)
    }

    /// Takes in what a look has shown. That is so whether it can be written or not: it is known from here on in any case, and written with the next changes, or
    /// the next look. Returns whether anything was new.
    ///
    /// # Errors
    /// Something was new and could not be written.
    pub fn learn(
        &mut self,
        changes: Vec<Change>,
        file: &mut dyn LedgerFile,
    ) -> Result<bool, HostError> {
        let is_new = changes.iter().any(|change| self.contents.lacks(change));
        if !is_new && !self.behind {
            return Ok(false);
        }
        let written = file.append(self, &changes);
        self.behind = written.is_err();
        self.contents.apply(changes);
        // The failure was told of when the news was new.
        if is_new {
            written.map(|()| true)
        } else {
            Ok(false)
        }
    }
}

impl Contents {
    /// What is remembered of the NICs that jails have.
    pub fn nics(&self) -> impl Iterator<Item = &NicState> {
        self.owned.iter().filter_map(|owned| {
            if let Owned::Nic(state) = owned {
                Some(state)
            } else {
                None
            }
        })
    }

    /// Whether we made that route of a routing table.
    #[must_use]
    pub fn has_table_route(&self, fib: u16, route: &Route) -> bool {
        let route = route.prefix().zip(route.way());
        route.is_some_and(|(destination, via)| {
            self.owned.contains(&Owned::TableRoute(TableRoute {
                fib,
                destination,
                via,
            }))
        })
    }

    /// Whether an address that we put on an interface of the host may stand there.
    #[must_use]
    pub fn has_alias(&self, of: IpAddr) -> bool {
        self.owned.iter().any(|owned| owned.alias() == Some(of))
    }

    /// Whether a change would make a difference.
    fn lacks(&self, change: &Change) -> bool {
        match change {
            Change::TakeView(view, digest) => {
                let is_same = |ours: &Arc<HostView>| Arc::ptr_eq(ours, view) || ours == view;
                self.view_digest != *digest || !self.view.as_ref().is_some_and(is_same)
            }
            Change::Approve => !self.approved,
            Change::EnterBoot(boot_id) => self.boot_id != *boot_id,
            Change::Own(owned) => !self.owned.contains(owned),
            Change::Disown(owned) => self.owned.contains(owned),
            Change::KnowJail(uid, jail) => self.jails.get(uid) != Some(jail),
            Change::ForgetJail(uid) => self.jails.contains_key(uid),
            Change::Judge(part, judged) => self.rolled_back.get(part) != Some(judged),
            Change::Acquit(part) => self.rolled_back.contains_key(part),
        }
    }

    /// Makes changes. A change that makes no difference may be made again.
    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::TakeView(view, digest) => {
                    self.view = Some(view);
                    self.view_digest = digest;
                }
                Change::Approve => self.approved = true,
                Change::EnterBoot(boot_id) => self.enter_boot(boot_id),
                Change::Own(owned) => {
                    self.owned.insert(owned);
                }
                Change::Disown(owned) => {
                    self.owned.remove(&owned);
                }
                Change::KnowJail(uid, jail) => {
                    self.jails.insert(uid, jail);
                }
                Change::ForgetJail(uid) => {
                    self.jails.remove(&uid);
                }
                Change::Judge(part, judged) => {
                    self.rolled_back.insert(part, judged);
                }
                Change::Acquit(part) => {
                    self.rolled_back.remove(&part);
                }
            }
        }
    }

    /// Forgets what a reboot took away.
    fn enter_boot(&mut self, boot_id: String) {
        if self.boot_id != boot_id {
            self.boot_id = boot_id;
            self.owned.retain(|owned| {
                matches!(
                    owned,
                    Owned::Storage { .. } | Owned::Dataset { .. } | Owned::PfConf { .. }
                )
            });
            for jail in self.jails.values_mut() {
                jail.jid = 0;
                // What is mounted there now was mounted by somebody else.
                jail.mounts.clear();
                jail.former.clear();
                jail.restart.clear();
                jail.verdicts = None;
                jail.revived = Revived::default();
            }
        }
    }
}
