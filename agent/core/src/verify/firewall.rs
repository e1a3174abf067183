//! Whether a jail's firewall is in force: its rules stand in our anchors of the host's pf or of the jail's own, pf looks into these, and no state is left that they do not permit.

use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::JailView;

use super::condition;
use super::findings::Findings;
use crate::names;
use crate::observed::ObservedJail;
use crate::op::Subject;
use crate::plan::reason;

/// The condition; none for a jail without a firewall, and for one that shall not run.
pub(super) fn ready(
    findings: &Findings<'_>,
    jail: &JailView,
    anchor: &str,
    running: Option<&ObservedJail>,
) -> Option<Condition> {
    let shall_run = !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped;
    if jail.spec.firewall.is_none() || !shall_run {
        return None;
    }
    let problem = if jail.spec.firewall_inside().is_some() {
        problem_inside(findings, jail, running)
    } else {
        problem(findings, jail, anchor)
    };
    let (status, reason, message) = match problem {
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

/// Why rules in the jail's own pf are not in force.
fn problem_inside(
    findings: &Findings<'_>,
    jail: &JailView,
    running: Option<&ObservedJail>,
) -> Option<(String, String)> {
    let subject = Subject::Jail(jail.uid.clone());
    let blocked = [
        reason::FIREWALL_NOT_IN_FORCE,
        reason::PF_HIDDEN,
        reason::NAME_UNKNOWN,
    ]
    .into_iter()
    .find_map(|reason| findings.blocked_for(&subject, reason));
    if let Some(blocked) = blocked {
        return Some((blocked.reason.to_owned(), blocked.message.clone()));
    }
    let vnets = &findings.evidence.observed.vnets;
    let is_seen = running.is_some_and(|running| {
        let vnet = vnets.get(&running.jid);
        vnet.is_some_and(|vnet| vnet.pf.is_some())
    });
    if is_seen && !findings.is_loading_inside(&subject) {
        return None;
    }
    let failed = findings.failed(&[subject]);
    let failed = failed.map(|error| (error.reason.to_owned(), error.message.clone()));
    let message = if running.is_none() {
        "the rules are loaded when the jail starts"
    } else if is_seen {
        "rules are being loaded"
    } else {
        "the jail's own pf has not been looked at"
    };
    failed.or(Some(("Progressing".to_owned(), message.to_owned())))
}

/// Why rules in the host's pf are not in force.
fn problem(findings: &Findings<'_>, jail: &JailView, anchor: &str) -> Option<(String, String)> {
    let subject = Subject::Jail(jail.uid.clone());
    let blocked = [
        reason::FIREWALL_NOT_IN_FORCE,
        reason::MEMBER_FILTER_UNDECLARED,
        reason::NAME_UNKNOWN,
        reason::NOT_CAPABLE,
        reason::RULE_REJECTED,
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
    blocked.or(failed).or(pending)
}
