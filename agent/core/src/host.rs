//! The host as the core sees it: something that can be looked at, and something that performs one operation at a time.
//!
//! `agent/freebsd` implements it; the core never knows whether a kernel or the emulator is behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::host::PfAnchors;
use cellblock_schemas::ids::Uid;

use crate::observed::{Observed, ObservedJail};
use crate::op::Op;

/// What a look at the host shall take in beyond what it always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Sysctls to read.
    pub sysctls: BTreeSet<String>,
    /// Paths to be tested for being directories, and resolved.
    pub directories: BTreeSet<String>,
    /// Interfaces whose ng_ether(4) settings are to be read.
    pub ether: BTreeSet<String>,
    /// Modules to be asked for.
    pub modules: BTreeSet<String>,
    /// Whether the drivers of interfaces are to be asked for.
    pub drivers: bool,
    /// VNET jails whose own pf is to be looked at, by name.
    pub firewalled: BTreeMap<String, Firewalled>,
    /// Numbers of devfs rulesets that are to be asked whether they have rules.
    pub rulesets: BTreeSet<u32>,
    /// Those that are to be asked whether they hide /dev/pf.
    pub rulesets_of_pf: BTreeSet<u32>,
    /// Whether the rules of rctl(8) about jails are to be read.
    pub limits: bool,
    /// Parameters of jails to read.
    pub parameters: BTreeSet<String>,
    /// Names of users whose uids are asked for.
    pub users: BTreeSet<String>,
    /// Names of groups whose gids are asked for.
    pub groups: BTreeSet<String>,
    /// Names of protocols whose numbers are asked for.
    pub protocols: BTreeSet<String>,
    /// Rules of jails that pf did not take, by anchor and jail: whether it takes them now.
    pub rules: BTreeMap<(String, Uid), String>,
    /// Whether pf.conf is to be looked at.
    pub pf_conf: Option<PfConfWanted>,
    /// Jails behind netgraph switches, by network.
    pub neighbours: BTreeMap<Uid, NeighboursWanted>,
    /// The folder of images and of roots made of them.
    pub storage: Option<String>,
    /// The ZFS dataset that is mounted as that folder.
    pub dataset: Option<String>,
}

/// Jails that the host tries to reach, where their switch stands at a failover lagg and the host has an address of theirs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighboursWanted {
    /// At which their switch stands.
    pub interface: String,
    /// The jails.
    pub jails: Vec<NeighbourWanted>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourWanted {
    /// The Jail's uid.
    pub uid: Uid,
    /// What it is called in jls(8).
    pub name: String,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
}

/// What of pf.conf is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PfConfWanted {
    /// Whether our block shall stand in it.
    pub anchors: PfAnchors,
    /// Where it was when the block was written.
    pub former: Option<String>,
}

/// How a jail is told from a stranger of its name, before anything is run in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewalled {
    /// The cluster's uid, in its mark.
    pub cluster: String,
    /// The Jail's, likewise.
    pub uid: String,
    /// The jid and the root that the ledger has for it; a jid of 0 is not known yet.
    pub place: Option<(u32, String)>,
}

impl Firewalled {
    /// Whether `jail` is the one: where jails have `meta` only that counts, and a jid that the ledger has; elsewhere a start that the ledger has announced too.
    #[must_use]
    pub fn is(&self, jail: &ObservedJail, has_meta: bool) -> bool {
        if let Some(meta) = &jail.meta {
            return meta.cluster == self.cluster && meta.uid == self.uid;
        }
        self.place.as_ref().is_some_and(|(jid, path)| {
            *jid == jail.jid || *jid == 0 && !has_meta && *path == jail.path
        })
    }
}

/// What [`Observed::busy`] says of a jail that is being started.
pub const STARTING: &str = "starting";

/// What it says of one that is being stopped.
pub const STOPPING: &str = "stopping";

/// A host.
///
/// # Guarantees
/// `observe` changes nothing. `perform` is idempotent, reads its effect back, and returns an error when the effect is not there, whatever the exit status was.
///
/// What `perform` has only begun shows as `busy` in observations until it has ended. If it failed, that error is returned once, the next time that the same operation is asked for with the same
/// files; asked for with other files, it is begun anew.
///
/// # Errors
/// An error of `observe` means that nothing is known, never that something is absent.
pub trait Host {
    /// Takes one look.
    ///
    /// # Errors
    /// A command could not be run, failed, or printed what cannot be read.
    fn observe(&self, wanted: &Wanted) -> Result<Observed, HostError>;

    /// Performs one operation.
    ///
    /// # Errors
    /// The operation failed, or its effect was not there afterwards.
    fn perform(&self, op: &Op) -> Result<Performed, HostError>;
}

/// How far an operation that has not failed has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// Its effect is there.
    Done,
    /// It is under way: whether it succeeds is not known yet.
    Begun,
    /// It was not begun: as many operations of its kind are under way as may be.
    Postponed,
    /// Nothing was done: pf does not take the rules of these jails, with what pfctl(8) says of each.
    Rejected(BTreeMap<Uid, String>),
}

/// Why a host could not be observed or an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// A CamelCase code from the documented list: `CommandFailed`, `EffectMissing`, `Unreadable`, `DiskFull`, `TimedOut` …
    pub reason: &'static str,
    /// argv, exit status and stderr in words.
    pub message: String,
    /// When trying again makes sense.
    pub retry: Retry,
}

/// When trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After a while, by itself.
    After,
    /// When the view or the host has changed.
    OnChange,
    /// Never.
    Never,
}
