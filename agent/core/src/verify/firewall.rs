//! Whether a jail's firewall is in force: its rules stand in our anchors, pf looks into these, and no state is left that they do not permit.

use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::JailView;

use super::condition;
use super::findings::Findings;
use crate::names;
use crate::op::Subject;
use crate::plan::reason;

/// The condition; none for a jail without a firewall, and for one that shall not run.
pub(super) fn ready(findings: &Findings<'_>, jail: &JailView, anchor: &str) -> Option<Condition> {
    let shall_run = !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped;
    if jail.spec.firewall.is_none() || !shall_run {
        return None;
    }
    let subject = Subject::Jail(jail.uid.clone());
    let blocked = [
        reason::FIREWALL_NOT_IN_FORCE,
        reason::MEMBER_FILTER_UNDECLARED,
        reason::NAME_UNKNOWN,
        reason::NOT_CAPABLE,
    ]
    .into_iter()
    .find_map(|reason| findings.blocked_for(&subject, reason))
    .or(findings.pf)
    .map(|blocked| (blocked.reason.to_owned(), blocked.message.clone()));
    let mut anchors = vec![names::egress_anchor(&jail.uid), anchor.to_owned()];
    // What leaves by a NAT is marked in the anchor of its network.
    anchors.extend(findings.network_anchors(jail));
    let subjects: Vec<Subject> = anchors
        .iter()
        .map(|anchor| Subject::anchor(anchor))
        .collect();
    let failed = findings
        .failed(&subjects)
        .map(|error| (error.reason.to_owned(), error.message.clone()));
    let pending = findings.is_planned(&subjects).then(|| {
        (
            "Progressing".to_owned(),
            "rules are being loaded".to_owned(),
        )
    });
    let (status, reason, message) = match blocked.or(failed).or(pending) {
        Some((reason, message)) => (ConditionStatus::False, reason, message),
        None => (ConditionStatus::True, "InForce".to_owned(), String::new()),
    };
    Some(condition(
        "FirewallReady",
        status,
        &reason,
        message,
        jail.generation,
    ))
}
