//! What an agent must be able to do for an object, beside what every agent could from the first on: its Hello names what it knows, a view's objects name what they need.
//!
//! An agent blocks what needs more than it knows (`AgentTooOld`); for one that does not read needs yet the controller sees to that.

use std::collections::BTreeSet;

use crate::host::{HostSpec, PfAnchors};
use crate::jail::{JailSpec, RestartPolicy};

/// Reads what objects need, and blocks them itself.
pub const NEEDS: &str = "needs";

/// Makes probes, and starts jails again because of them.
pub const PROBES: &str = "probes";

/// Keeps our lines in pf.conf.
pub const PF_MANAGE: &str = "pf-manage";

/// All that an agent of this release knows.
pub const ALL: [&str; 3] = [NEEDS, PROBES, PF_MANAGE];

/// What a jail needs.
#[must_use]
pub fn of_jail(spec: &JailSpec) -> BTreeSet<String> {
    let probes = spec.probes.is_some() || spec.restart_policy == RestartPolicy::OnFailure;
    probes.then(|| PROBES.to_owned()).into_iter().collect()
}

/// What a host needs.
#[must_use]
pub fn of_host(spec: &HostSpec) -> BTreeSet<String> {
    let manages = spec.pf.anchors == PfAnchors::Manage;
    manages.then(|| PF_MANAGE.to_owned()).into_iter().collect()
}

/// What of it an agent of this release does not know.
pub fn unknown(needs: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    let needs = needs.iter().map(String::as_str);
    needs.filter(|need| !ALL.contains(need))
}
