//! What an agent reports: what it observed of its host and of each jail, never what it intended.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::host::{HostFacts, HostNetwork, ViewMark};
use crate::ids::{Generation, Uid};
use crate::jail::ObservedInterface;

/// One report. A full report replaces everything known of the host; a partial one only the jails that it names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The view that was planned from.
    pub view: ViewMark,
    /// The generation of the Host's spec in that view.
    pub host_generation: Generation,
    /// Whether `jails` names every jail of ours on the host.
    pub full: bool,
    /// What the machine is and can do.
    pub facts: HostFacts,
    /// The host's own conditions.
    pub conditions: Vec<Condition>,
    /// The jails.
    pub jails: Vec<JailReport>,
    /// The first lines of a plan that waits for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_plan: Vec<String>,
    /// The networks of the view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<HostNetwork>,
}

/// What was observed of one jail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JailReport {
    /// The Jail's uid.
    pub uid: Uid,
    /// The generation of its spec that was planned from.
    pub observed_generation: Generation,
    /// One word for tables; see `JailStatus::phase`.
    pub phase: String,
    /// The jid, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<u32>,
    /// See `JailStatus::interfaces`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<ObservedInterface>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// True: nothing of this jail is left on the host, so that the controller may take the object and its addresses back.
    #[serde(default)]
    pub gone: bool,
}
