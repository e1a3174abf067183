//! What is reported of one network: whether everything of it on this host is as it shall be, whoever is attached.

use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::host::HostNetwork;
use cellblock_schemas::view::NetworkView;

use crate::isolation::by_pf;
use crate::names;
use crate::op::Subject;
use crate::plan::slices;

use super::findings::Findings;

/// What of a network was observed.
pub(super) fn verify(findings: &Findings<'_>, network: &NetworkView) -> HostNetwork {
    let problem = problem(findings, network);
    HostNetwork {
        name: network.name.clone(),
        uid: network.uid.clone(),
        observed_generation: network.generation,
        ready: if problem.is_none() {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: problem
            .as_ref()
            .map_or("Realised", |(reason, _)| reason)
            .to_owned(),
        message: problem.map(|(_, message)| message).unwrap_or_default(),
    }
}

fn problem(findings: &Findings<'_>, network: &NetworkView) -> Option<(String, String)> {
    let mut subjects = vec![
        Subject::Network(network.uid.clone()),
        Subject::anchor(&names::network_anchor(&network.uid)),
        Subject::anchor(&names::isolation_anchor(&network.uid)),
    ];
    let slices = network.slices.iter();
    subjects.extend(slices.map(|slice| slices::subject(slice.cidr.net())));
    if let Some(blocked) = findings.blocked(&subjects) {
        return Some((blocked.reason.to_owned(), blocked.message.clone()));
    }
    if let Some(error) = findings.failed(&subjects) {
        return Some((error.reason.to_owned(), error.message.clone()));
    }
    if let Some(waiting) = findings.waiting(&subjects) {
        return Some((waiting.reason.to_owned(), waiting.to_string()));
    }
    let egress = network.spec.egress.as_ref();
    if let Some(blocked) = findings.pf
        && (egress.is_some_and(|egress| egress.nat.is_some()) || by_pf(&network.spec))
    {
        return Some((blocked.reason.to_owned(), blocked.message.clone()));
    }
    if !findings.is_planned(&subjects) {
        return None;
    }
    let (reason, message) = findings
        .evidence
        .held
        .unwrap_or(("Progressing", "operations are under way"));
    Some((reason.to_owned(), message.to_owned()))
}
