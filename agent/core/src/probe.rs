//! Probes of jails: what is asked of which jail, and what the answers so far come to.
//!
//! ```text
//! pass ──► Probed (jid, address, verdicts so far) ──► Prober ── Job ──► the shell runs it in the jail
//!   ▲                                                   │   ◄── Answer ──┘
//!   └── memory.health ◄── Health, when it is another ◄──┘
//! ```
//!
//! The [`Prober`] counts and keeps the time; it knows nothing of how a probe is made. What it comes to is an observation like any other: the planner and the report read it from there, and the ledger
//! keeps it, so that an agent that is started anew does not take back what is known.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{ParameterValue, Probe, Probes, RunPolicy};
use cellblock_schemas::net::is_link_local;
use cellblock_schemas::view::{HostView, JailView};
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, OwnedJail};
use crate::observed::Observed;
use crate::plan;
use crate::plan::index::Index;

mod prober;

/// So many jails of a host that fail at the same time say nothing of the host yet.
const FAILING_MAX: usize = 3;

pub use prober::{Answer, Job, Prober, pause_ms};

/// What the answers of one probe come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether the jail is well in this.
    pub is_well: bool,
    /// The probe could not be made, so that nobody knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unknown: bool,
    /// The answer that decided it, where it is not. It stays the same until that changes, so that a jail that stays ill is not reported anew with every probe.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What is known of a jail since it was started; none: too few answers yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    /// Which start of the jail is meant.
    pub jid: u32,
    /// Whether it has come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Verdict>,
    /// Whether it can take work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Verdict>,
    /// Whether it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Verdict>,
}

impl Verdicts {
    /// The verdict that says that the jail is to be started again: it is not alive, or has not come up.
    #[must_use]
    pub fn failed(&self) -> Option<(&'static str, &Verdict)> {
        let mut vital = self.vital();
        vital.find(|(_, verdict)| !verdict.is_well && !verdict.is_unknown)
    }

    /// The verdicts by which a jail is started again.
    fn vital(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        let verdicts = [("live", &self.live), ("started", &self.started)];
        let verdicts = verdicts.into_iter();
        verdicts.filter_map(|(name, verdict)| Some((name, verdict.as_ref()?)))
    }
}

/// What probes came to by now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The verdicts.
    pub verdicts: Verdicts,
    /// It failed, and the pause since its last start is over.
    #[serde(default)]
    pub is_restart_due: bool,
    /// It has been well for so long that the next failure is a new matter.
    #[serde(default)]
    pub is_settled: bool,
}

/// How often a jail was started again because it was not alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revived {
    /// How often in a row, without having been well for long in between.
    pub count: u32,
    /// The jid with which it is being stopped for that; 0: it is not.
    #[serde(default)]
    pub jid: u32,
}

impl Revived {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A running jail that has probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Its jid.
    pub jid: u32,
    /// Its probes.
    pub probes: Probes,
    /// What TCP and HTTP go to.
    pub address: IpAddr,
    /// The routing table of what runs in it.
    pub fib: u16,
    /// How often it was started again in a row.
    pub restarts: u32,
    /// What is known of it.
    pub verdicts: Verdicts,
}

/// The jails to be probed: those that run, whose start has come to its end, and that are not being stopped.
#[must_use]
pub fn probed(view: &HostView, observed: &Observed, ledger: &Ledger) -> BTreeMap<Uid, Probed> {
    let mut asking = view
        .jails
        .values()
        .filter(|jail| shall_be_probed(jail))
        .peekable();
    if asking.peek().is_none() {
        return BTreeMap::new();
    }
    let index = Index::new(view, observed, ledger);
    let found = asking.filter_map(|jail| {
        let mut standing = index.incarnations(&jail.uid);
        let running = standing.find(|found| !found.dying)?;
        let ours = ledger.jails.get(&jail.uid)?;
        let is_stopping = ours.revived.jid == running.jid;
        if observed.busy.contains_key(&running.name) || ours.jid != running.jid || is_stopping {
            return None;
        }
        let probed = Probed {
            jid: running.jid,
            probes: jail.spec.probes.clone()?,
            address: address(jail),
            fib: plan::fib(view, jail),
            restarts: ours.revived.count,
            verdicts: verdicts(ours, running.jid).cloned().unwrap_or_default(),
        };
        Some((jail.uid.clone(), probed))
    });
    found.collect()
}

fn shall_be_probed(jail: &JailView) -> bool {
    let probes = jail.spec.probes.as_ref();
    let asks = probes.is_some_and(|probes| probes.named().next().is_some());
    asks && !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped
}

/// What is known of a jail as it runs now.
#[must_use]
pub fn verdicts(ours: &OwnedJail, jid: u32) -> Option<&Verdicts> {
    let known = ours.verdicts.as_deref();
    known.filter(|known| known.jid == jid && jid != 0)
}

/// The first address that the jail was given, or its loopback where the wire or the jail itself gives them.
fn address(jail: &JailView) -> IpAddr {
    let bound = jail.binding.attachments.iter();
    let mut addresses = bound.flat_map(|bound| &bound.addresses);
    let found = addresses.find(|bound| !is_link_local(bound.address));
    if let Some(found) = found {
        return found.address;
    }
    let inherits = |name| {
        let value = jail.spec.parameters.get(name);
        value == Some(&ParameterValue::Text("inherit".to_owned()))
    };
    // A jail on no network that inherits IPv6 alone has no other family.
    let is_ip6 = jail.binding.attachments.is_empty() && inherits("ip6") && !inherits("ip4");
    if is_ip6 {
        return IpAddr::V6(Ipv6Addr::LOCALHOST);
    }
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

/// What keeps others waiting for a jail that runs, in words; none: it is as its probes want it.
#[must_use]
pub fn unready(jail: &JailView, ours: Option<&OwnedJail>, jid: u32) -> Option<Unready> {
    let probes = jail.spec.probes.as_ref()?;
    let known = ours.and_then(|ours| verdicts(ours, jid));
    let of = |name: &'static str, asked: &Option<Probe>, verdict: Option<&Verdict>| {
        asked.as_ref()?;
        match verdict {
            Some(Verdict { is_well: true, .. }) => None,
            Some(verdict) if verdict.is_unknown => Some(Unready {
                why: Why::NotMade,
                message: not_made(name, verdict),
            }),
            Some(verdict) => Some(Unready {
                why: Why::Failed,
                message: format!("probe `{name}` fails: {}", verdict.message),
            }),
            None => Some(Unready {
                why: Why::Pending,
                message: format!("probe `{name}` has not answered yet"),
            }),
        }
    };
    let verdict = |of: fn(&Verdicts) -> Option<&Verdict>| known.and_then(of);
    of(
        "started",
        &probes.started,
        verdict(|known| known.started.as_ref()),
    )
    .or_else(|| {
        // Nobody has asked yet whether it is alive: it runs, and that was all there was to know until now.
        let live = verdict(|known| known.live.as_ref());
        live.and_then(|live| of("live", &probes.live, Some(live)))
    })
    .or_else(|| {
        of(
            "ready",
            &probes.ready,
            verdict(|known| known.ready.as_ref()),
        )
    })
}

/// Why a jail that runs is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// What is known of it.
    pub why: Why,
    /// What is the matter.
    pub message: String,
}

/// What a probe says of a jail that is not well by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It fails.
    Failed,
    /// It has not answered yet.
    Pending,
    /// It cannot be made.
    NotMade,
}

/// That a probe cannot be made, in words.
pub(crate) fn not_made(name: &str, verdict: &Verdict) -> String {
    format!("probe `{name}` cannot be made: {}", verdict.message)
}

/// Most of the jails of a host are not alive, and it is not for them that they are all at once: the host is slow, stood still, or lacks something that they all need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// How many fail.
    pub failing: usize,
    /// Of how many that are asked whether they are alive or have come up.
    pub asked: usize,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failing, asked } = self;
        write!(
            to,
            "{failing} of the {asked} jails of this host that are probed fail at the same time, so the host is suspected and none is restarted for it"
        )
    }
}

/// Whether most of the jails fail of which these verdicts are, and more than a few.
#[must_use]
pub fn suspicion<'a>(known: impl Iterator<Item = &'a Verdicts>) -> Option<Suspicion> {
    let mut found = Suspicion {
        failing: 0,
        asked: 0,
    };
    for verdicts in known {
        found.asked += usize::from(verdicts.vital().next().is_some());
        found.failing += usize::from(verdicts.failed().is_some());
    }
    let are_most = found.failing > FAILING_MAX && found.failing * 2 > found.asked;
    are_most.then_some(found)
}
