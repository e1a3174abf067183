//! Commit-confirm: how an operation runs that could cut the host off from its controllers. It is confirmed by a new connection made after it, or taken back, also when the agent is dead and no controller
//! answers. What is guarded, and what its way back is, the planner says; who holds the way back while the agent may die is the shell's ([`Lifeline`]).
//!
//! ```text
//! reach ──► arm ──► perform ──► reach ──► confirm          the change stays
//!   │        │         └──────────┴─────► abandon ─┐
//!   │        │  the agent dies, or its time is up ─┴──► the guard takes it back, step by step, until it is back
//!   └────────┴─ nothing was begun
//! ```
//!
//! Who confirms and who takes back is one atomic step on the record of the change, so that it ends in exactly one of the two. [`settle`] closes what a dead agent left open.

use std::fmt;

use cellblock_schemas::net::Mac;
use serde::{Deserialize, Serialize};

use crate::execute::{LedgerFile, Outside};
use crate::host::{Host, HostError, Retry, Wanted};
use crate::ledger::{Change, Ledger, Owned};
use crate::op::{Op, PfMain};
use crate::plan::reason;

/// How long a controller is tried before anything is begun, in milliseconds: two tries of a connection.
pub const BEFORE_MS_MAX: u64 = 12_000;

/// How long a controller is tried after the change, in milliseconds: `lacp` agrees with its partner within some seconds, a switch with spanning tree may hold a port back for 30.
pub const AFTER_MS_MAX: u64 = 45_000;

/// How long the guard waits for a word of the agent, in milliseconds: as long as the operation and what is tried after it may take, and a little.
pub const DEADLINE_MS: u64 = 120_000;

/// What stands behind a step that could cut the host off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What of the host is changed, in words that stay the same: `uplink wan`.
    pub part: String,
    /// A digest of what is declared of it: another one may be tried although this one was taken back.
    pub target: String,
    /// How it becomes again what it was, in order. Each is done whether the one before could be or not.
    pub back: Vec<Back>,
    /// What the ledger has for the change, and has not had once it was taken back.
    pub disown: Vec<Owned>,
}

/// One step of the way back. Like an operation it is idempotent, and its effect is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum Back {
    /// A lagg with protocol, hash and ports of before.
    #[serde(rename_all = "camelCase")]
    Lagg {
        /// The lagg.
        name: String,
        /// Its protocol.
        protocol: Protocol,
        /// Its hash.
        hash: String,
        /// Its ports, the preferred one first.
        ports: Vec<String>,
        /// Ports that it had not.
        remove: Vec<String>,
    },
    /// The MTU of an interface.
    #[serde(rename_all = "camelCase")]
    Mtu {
        /// The interface.
        interface: String,
        /// In octets.
        mtu: u32,
    },
    /// The MAC address of a lagg: it is that of its first port, unless somebody has set another.
    #[serde(rename_all = "camelCase")]
    Mac {
        /// The lagg.
        interface: String,
        /// Its address.
        mac: Mac,
    },
    /// An interface that was down.
    #[serde(rename_all = "camelCase")]
    Down {
        /// The interface.
        interface: String,
    },
    /// pf.conf, and what of the main ruleset refers to our anchors. Nothing else of it is kept or put back: nothing else was changed.
    #[serde(rename_all = "camelCase")]
    PfConf {
        /// Where it is.
        path: String,
        /// What the change has it say; none: it is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// What it said before; none: there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// The references to our anchors that the main ruleset had; none: it is not touched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        main: Option<PfMain>,
    },
    /// A vlan's tag and carrier.
    #[serde(rename_all = "camelCase")]
    Vlan {
        /// The vlan.
        name: String,
        /// The VLAN id.
        id: u16,
        /// The interface that carries it.
        parent: String,
    },
}

/// Protocols that a lagg can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "lagg(4) says what each is")]
pub enum Protocol {
    Failover,
    Lacp,
    Loadbalance,
    Roundrobin,
    Broadcast,
    None,
}

impl Protocol {
    const ALL: [Self; 6] = [
        Self::Failover,
        Self::Lacp,
        Self::Loadbalance,
        Self::Roundrobin,
        Self::Broadcast,
        Self::None,
    ];

    /// The protocol of that word of ifconfig(8).
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Lacp => "lacp",
            Self::Loadbalance => "loadbalance",
            Self::Roundrobin => "roundrobin",
            Self::Broadcast => "broadcast",
            Self::None => "none",
        }
    }
}

impl Back {
    /// The operation that does it.
    #[must_use]
    pub fn op(&self) -> Op {
        match self.clone() {
            Self::Lagg {
                name,
                protocol,
                hash,
                ports,
                remove,
            } => Op::SetLagg {
                name,
                protocol: protocol.word(),
                hash: Some(hash),
                ports,
                remove,
            },
            Self::Mtu { interface, mtu } => Op::SetMtu { interface, mtu },
            Self::Mac { interface, mac } => Op::SetMac { interface, mac },
            Self::Down { interface } => Op::SetUp {
                interface,
                up: false,
            },
            Self::PfConf {
                path,
                from,
                to,
                main,
            } => Op::SetPfConf {
                path,
                from,
                to,
                main,
                back: true,
            },
            Self::Vlan { name, id, parent } => Op::SetVlan { name, id, parent },
        }
    }

    /// Whether what it takes back outlives a boot.
    fn outlives_boot(&self) -> bool {
        match self {
            Self::PfConf { .. } => true,
            Self::Lagg { .. }
            | Self::Mtu { .. }
            | Self::Mac { .. }
            | Self::Down { .. }
            | Self::Vlan { .. } => false,
        }
    }
}

/// A change under guard, as it is written down before it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Armed {
    /// As [`Guard::part`].
    pub part: String,
    /// As [`Guard::target`].
    pub target: String,
    /// The change, in words.
    pub what: String,
    /// The boot that it happens in: another one knows nothing of it.
    pub boot_id: String,
    /// How long the guard waits.
    pub deadline_ms: u64,
    /// The way back.
    pub back: Vec<Back>,
    /// As [`Guard::disown`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disown: Vec<Owned>,
}

/// How a change was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenBack {
    /// Why, in words.
    pub why: String,
    /// When, as a timestamp of RFC 3339.
    pub at: String,
}

/// What was found of a change under guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The change.
    pub armed: Armed,
    /// How far it has come.
    pub state: State,
}

/// How far a change under guard has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Neither confirmed nor taken back, and the guard is at it.
    Guarded,
    /// Neither confirmed nor taken back, and its guard is dead.
    Orphaned,
    /// It stays.
    Confirmed,
    /// It is as before.
    TakenBack(TakenBack),
}

/// What the ledger knows of a change that was taken back: it is not tried again until something else is declared, or the operator has paused the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// As [`Guard::target`].
    pub target: String,
    /// The change, in words.
    pub what: String,
    /// Why it was taken back, in words.
    pub why: String,
    /// When, as a timestamp of RFC 3339.
    pub at: String,
}

impl fmt::Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` was taken back at {}: {}",
            self.what, self.at, self.why
        )
    }
}

/// What an agent has beside its host while an operation runs that could cut it off: a way to its controllers, and a guard that outlives it.
///
/// # Guarantees
/// At any time there is one change under guard at most. [`Lifeline::arm`] returns when the way back is on the disk, synced, and the guard is at it. From then on the guard takes the change back when
/// the agent dies, abandons it, or has said nothing for the deadline; unless the change was confirmed before. The guard begins to take back, and the agent confirms, by one atomic step each, of
/// which only one succeeds.
pub trait Lifeline {
    /// Makes a new connection to a controller and waits for its answer on it, at most so many milliseconds.
    ///
    /// # Errors
    /// No controller answered; why the last one did not.
    fn reach(&self, ms_max: u64) -> Result<(), String>;

    /// What there is of a change under guard.
    ///
    /// # Errors
    /// It could not be read, so nothing is known.
    fn found(&self) -> Result<Option<Found>, HostError>;

    /// Writes down a change and its way back, and starts the guard.
    ///
    /// # Errors
    /// Nothing may be begun.
    fn arm(&self, armed: &Armed) -> Result<(), HostError>;

    /// Takes the change for good; returns whether the guard had not begun to take it back.
    ///
    /// # Errors
    /// Whether it is confirmed is not known.
    fn confirm(&self) -> Result<bool, HostError>;

    /// Tells the guard to take the change back now, and waits until it has, or is dead.
    fn abandon(&self);

    /// In the place of a dead guard: from now on the change cannot be confirmed.
    ///
    /// # Errors
    /// The record could not be written.
    fn take_over(&self) -> Result<(), HostError>;

    /// Forgets the change. The ledger knows what came of it.
    ///
    /// # Errors
    /// It is still there.
    fn forget(&self) -> Result<(), HostError>;

    /// Now, as a timestamp of RFC 3339.
    fn now(&self) -> String;

    /// Whether the agent is to end: no further operation is begun.
    fn is_ending(&self) -> bool {
        false
    }
}

/// Nobody guards and no controller is known: what needs a guard is not begun.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unguarded;

impl Lifeline for Unguarded {
    fn reach(&self, _: u64) -> Result<(), String> {
        Err("there is none".to_owned())
    }

    fn found(&self) -> Result<Option<Found>, HostError> {
        Ok(None)
    }

    fn arm(&self, _: &Armed) -> Result<(), HostError> {
        Err(HostError {
            reason: reason::GUARD_MISSING,
            message: "nobody would take the change back".to_owned(),
            retry: Retry::After,
        })
    }

    fn confirm(&self) -> Result<bool, HostError> {
        Ok(false)
    }

    fn abandon(&self) {}

    fn take_over(&self) -> Result<(), HostError> {
        Ok(())
    }

    fn forget(&self) -> Result<(), HostError> {
        Ok(())
    }

    fn now(&self) -> String {
        String::new()
    }
}

/// An operation with its guard, and what the ledger must hold before it runs.
#[derive(Clone, Debug)]
pub struct Guarded<'a> {
    /// The operation.
    pub op: &'a Op,
    /// Its guard.
    pub guard: &'a Guard,
    /// The ledger's part.
    pub record: Vec<Change>,
}

/// Runs an operation under guard, its record in the ledger before it: after the guard is at work, so that what stands there of a change that was begun is never more than the guard knows of. `Ok` is a change that a controller was reached after, by a new connection.
///
/// # Errors
/// No controller was reached before, or nobody can guard it: nothing was begun. Or it was taken back, which the ledger knows.
pub fn guarded(
    Guarded { op, guard, record }: Guarded<'_>,
    Outside { host, lifeline }: Outside<'_>,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Result<(), HostError> {
    if let Err(why) = lifeline.reach(BEFORE_MS_MAX) {
        return Err(HostError {
            reason: reason::CONTROLLER_UNREACHABLE,
            message: format!(
                "`{op}` could cut this host off, and is begun only while a controller is reached by a new connection, to see whether it still is afterwards; none is now: {why}"
            ),
            retry: Retry::After,
        });
    }
    let armed = Armed {
        part: guard.part.clone(),
        target: guard.target.clone(),
        what: op.to_string(),
        boot_id: ledger.boot_id.clone(),
        deadline_ms: DEADLINE_MS,
        back: guard.back.clone(),
        disown: guard.disown.clone(),
    };
    let begun = lifeline.arm(&armed);
    let begun = begun.and_then(|()| ledger.commit(record, file).map(|_| ()));
    if let Err(error) = begun {
        // Nothing was done that a verdict could be about.
        lifeline.abandon();
        lifeline.forget()?;
        return Err(error);
    }
    let failed = match host.perform(op) {
        // Nothing was done that a verdict could be about, and the way back finds nothing to do.
        Err(error) if error.reason == reason::NOT_BEGUN => {
            lifeline.abandon();
            take_back(host, &guard.back);
            let undone = guard.disown.iter().cloned().map(Change::Disown).collect();
            ledger.commit(undone, file)?;
            lifeline.forget()?;
            return Err(error);
        }
        Ok(_) => lifeline.reach(AFTER_MS_MAX).err().map(|why| {
            format!(
                "no controller was reached by a new connection within {} s after it: {why}",
                AFTER_MS_MAX / 1_000
            )
        }),
        Err(error) => Some(format!("it failed: {error}")),
    };
    if failed.is_none() && matches!(lifeline.confirm(), Ok(true)) {
        return conclude(
            lifeline,
            ledger,
            file,
            vec![Change::Acquit(guard.part.clone())],
        );
    }
    lifeline.abandon();
    let judged = close(host, lifeline, ledger, file, failed)?;
    match judged {
        Some(rolled_back) => Err(HostError {
            reason: reason::ROLLED_BACK,
            message: rolled_back.to_string(),
            retry: Retry::OnChange,
        }),
        None => Ok(()),
    }
}

/// Closes what is left of a change under guard, before anything else is done: the ledger is told what came of it.
///
/// # Errors
/// The guard is still at it, or the change could not be taken back yet, or nothing could be written: nothing else may be done meanwhile.
pub fn settle(
    host: &dyn Host,
    lifeline: &dyn Lifeline,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Result<(), HostError> {
    close(host, lifeline, ledger, file, None).map(|_| ())
}

/// Goes the whole way back, each step whether the one before could be done or not, and returns why what could not be. What is so already is left as it is.
pub fn take_back(host: &dyn Host, back: &[Back]) -> Vec<HostError> {
    let steps = back.iter();
    steps
        .filter_map(|step| host.perform(&step.op()).err())
        .collect()
}

/// Returns how it was taken back; none: there is nothing, or it is confirmed.
fn close(
    host: &dyn Host,
    lifeline: &dyn Lifeline,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
    known: Option<String>,
) -> Result<Option<RolledBack>, HostError> {
    let Some(Found { armed, state }) = lifeline.found()? else {
        return Ok(None);
    };
    let taken_back = match state {
        State::Confirmed => {
            conclude(lifeline, ledger, file, vec![Change::Acquit(armed.part)])?;
            return Ok(None);
        }
        State::TakenBack(taken_back) => {
            // The agent's own operation may have run on after the guard was done.
            make_back(host, &armed)?;
            taken_back
        }
        State::Guarded => {
            return Err(HostError {
                reason: reason::CHANGE_GUARDED,
                message: format!(
                    "`{}` is being taken back by its guard, and nothing else is done before it is as it was",
                    armed.what
                ),
                retry: Retry::After,
            });
        }
        State::Orphaned => orphaned(host, lifeline, &armed)?,
    };
    let rolled_back = RolledBack {
        target: armed.target,
        what: armed.what,
        why: known.unwrap_or(taken_back.why),
        at: taken_back.at,
    };
    let mut changes = vec![Change::Judge(armed.part, rolled_back.clone())];
    changes.extend(armed.disown.into_iter().map(Change::Disown));
    conclude(lifeline, ledger, file, changes)?;
    Ok(Some(rolled_back))
}

/// Takes back what its guard does not any more.
fn orphaned(
    host: &dyn Host,
    lifeline: &dyn Lifeline,
    armed: &Armed,
) -> Result<TakenBack, HostError> {
    let why = if make_back(host, armed)? {
        "the agent and its guard ended before it was confirmed"
    } else {
        "the host was started anew before it was confirmed"
    };
    // Nobody else confirms it meanwhile, and a disk that takes no record is no reason to leave the host cut off.
    lifeline.take_over()?;
    Ok(TakenBack {
        why: why.to_owned(),
        at: lifeline.now(),
    })
}

/// Takes a change of this boot back, and of another one what is in files; returns whether it was one of this.
fn make_back(host: &dyn Host, armed: &Armed) -> Result<bool, HostError> {
    let is_of_boot = host.observe(&Wanted::default())?.boot_id == armed.boot_id;
    let back = armed.back.iter();
    let back = back.filter(|step| is_of_boot || step.outlives_boot());
    let back: Vec<Back> = back.cloned().collect();
    let Some(error) = take_back(host, &back).into_iter().next() else {
        return Ok(is_of_boot);
    };
    Err(HostError {
        reason: reason::NOT_TAKEN_BACK,
        message: format!(
            "`{}` was not confirmed and could not be taken back, and nothing else is done before it is as it was: {error}",
            armed.what
        ),
        retry: Retry::After,
    })
}

/// The ledger knows it before the record goes.
fn conclude(
    lifeline: &dyn Lifeline,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
    changes: Vec<Change>,
) -> Result<(), HostError> {
    ledger.commit(changes, file)?;
    lifeline.forget()
}
