//! From a look at the host to what is reported: observed facts, never intentions.
//!
//! The plan made from the same look says what is missing: a jail is ready when it runs as rendered and nothing is left to do, to wait for, or in the way.

use std::collections::BTreeSet;

use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::ids::Generation;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::report::{HostReport, JailReport};
use cellblock_schemas::view::{HostView, JailView};

use crate::execute::Outcome;
use crate::image::{layout_word, short};
use crate::isolation::by_pf;
use crate::ledger::Ledger;
use crate::names;
use crate::observed::{Observed, ObservedJail};
use crate::op::{Blocked, Plan, Subject};
use crate::plan::{images, nics, reason, tables};

mod dynamic;
mod findings;
mod firewall;
mod neighbours;
mod networks;
mod probes;

use findings::Findings;

/// Everything that a report follows from.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The view.
    pub view: &'a HostView,
    /// A look taken after the last operation.
    pub observed: &'a Observed,
    /// The ledger after it.
    pub ledger: &'a Ledger,
    /// The plan made from that look.
    pub plan: &'a Plan,
    /// What came of the last plan that ran.
    pub outcome: &'a Outcome,
    /// Why nothing is done although something is to do: `Paused`, `NotApproved`.
    pub held: Option<(&'static str, &'static str)>,
}

/// The report.
#[must_use]
pub fn verify(evidence: Evidence<'_>) -> HostReport {
    let Evidence {
        view,
        observed,
        plan,
        held,
        ..
    } = evidence;
    let findings = Findings::new(evidence);
    let jails = view
        .jails
        .values()
        .map(|jail| verify_jail(&findings, jail))
        .collect();
    HostReport {
        view: view.mark,
        host_generation: view.host_generation,
        full: true,
        facts: observed.facts.clone(),
        conditions: host_conditions(evidence),
        jails,
        networks: view
            .networks
            .values()
            .map(|network| networks::verify(&findings, network))
            .collect(),
        pending_plan: if held.is_some() {
            plan.lines()
        } else {
            Vec::new()
        },
    }
}

fn host_conditions(evidence: Evidence<'_>) -> Vec<Condition> {
    let Evidence {
        view,
        plan,
        outcome,
        held,
        ..
    } = evidence;
    let condition = |kind: &str, problem: Option<(&str, String)>, fine: &str| Condition {
        kind: kind.to_owned(),
        status: if problem.is_none() {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: problem
            .as_ref()
            .map_or(fine, |(reason, _)| *reason)
            .to_owned(),
        message: problem.map(|(_, message)| message).unwrap_or_default(),
        observed_generation: view.host_generation,
        last_transition_time: None,
    };
    // What is in the way of taking a network away that no object speaks of any more is the host's own matter.
    let host = |blocked: &&crate::op::Blocked| match &blocked.subject {
        Subject::Host => true,
        Subject::Network(uid) => !view.networks.values().any(|network| network.uid == *uid),
        Subject::Jail(_) | Subject::HostPart(_) => false,
    };
    let pf = plan
        .blocked
        .iter()
        .filter(host)
        .find(|blocked| blocked.reason == reason::PF_NOT_EFFECTIVE)
        .map(|blocked| (blocked.reason, blocked.message.clone()))
        .or_else(|| rejected(view, plan));
    let other = plan
        .blocked
        .iter()
        .filter(host)
        .find(|blocked| blocked.reason != reason::PF_NOT_EFFECTIVE);
    let failed = outcome
        .failed
        .iter()
        .find(|(subject, _)| {
            matches!(subject, Subject::Host | Subject::HostPart(_)) && !subject.is_image()
        })
        .map(|(_, error)| error);
    let held = held.map(|(reason, message)| (reason, message.to_owned()));
    let ready = held
        .clone()
        .or_else(|| other.map(|blocked| (blocked.reason, blocked.message.clone())))
        .or_else(|| failed.map(|error| (error.reason, error.message.clone())));
    let mut conditions = vec![
        condition("Ready", ready, "Converged"),
        condition("PfEffective", pf, "InForce"),
        condition(
            "Approved",
            held.filter(|(reason, _)| *reason == "NotApproved"),
            "Approved",
        ),
    ];
    if !evidence.observed.neighbours.is_empty() {
        let problem = neighbours::problem(view, evidence.observed);
        conditions.push(condition("JailsReached", problem, "Reached"));
    }
    conditions
}

/// The jails whose rules pf does not take: all others' are in force.
fn rejected(view: &HostView, plan: &Plan) -> Option<(&'static str, String)> {
    let jails: BTreeSet<&str> = plan
        .blocked
        .iter()
        .filter(|blocked| blocked.reason == reason::RULE_REJECTED)
        .filter_map(|blocked| match &blocked.subject {
            Subject::Jail(uid) => Some(view.jails.get(uid)?.name.as_str()),
            Subject::Host | Subject::Network(_) | Subject::HostPart(_) => None,
        })
        .collect();
    let jails: Vec<&str> = jails.into_iter().collect();
    (!jails.is_empty()).then(|| {
        let message = format!(
            "pf does not take the rules of {}, which have none in force and are closed; all others' are in force",
            jails.join(", ")
        );
        (reason::RULE_REJECTED, message)
    })
}

fn verify_jail(findings: &Findings<'_>, jail: &JailView) -> JailReport {
    let evidence = findings.evidence;
    let incarnations = || findings.index.incarnations(&jail.uid);
    let standing = incarnations().find(|found| !found.dying);
    // One whose last start failed is not said to run while the next try goes on: it would come and go in reports with every try.
    let running = standing.filter(|found| !findings.is_tried_again(&jail.uid, &found.name));
    let dying = incarnations().any(|found| found.dying);
    let anchor = names::jail_anchor(&jail.uid);
    // What is dying has nothing left that somebody else could be given.
    let gone = jail.deleting && standing.is_none() && nothing_left(findings, jail, &anchor);
    let problem = problem(findings, jail, &anchor, running, dying).or_else(|| {
        let running = running.filter(|_| jail.spec.run_policy != RunPolicy::Stopped)?;
        probes::problem(evidence, jail, running)
    });
    let phase = match (&problem, running) {
        (None, Some(_)) => "Running",
        (None, None) => "Stopped",
        (Some(_), _) if jail.deleting && dying => "Dying",
        (Some(_), _) if jail.deleting => "Stopping",
        (Some(problem), Some(_)) if problem.blocked => "Running",
        (Some(_), Some(_)) => "Starting",
        // What is left of a start that failed does not matter: the next one does not wait for it.
        (Some(_), None) if findings.has_failed(&jail.uid) => "Blocked",
        (Some(_), None) if dying => "Dying",
        (Some(problem), None) if problem.blocked => "Blocked",
        (Some(_), None) => "Pending",
    };
    // Of one that runs and is not well, its last restart is no explanation.
    let restart = restart_cause(evidence, jail).filter(|_| problem.is_none() || running.is_none());
    let mut conditions = vec![ready(jail, problem.as_ref(), restart)];
    conditions.extend(probes::live(evidence, jail, running));
    conditions.extend(network_ready(findings, jail, running));
    conditions.extend(publish_ready(findings, jail, &anchor, running.is_some()));
    conditions.extend(firewall::ready(findings, jail, &anchor, running));
    conditions.extend(root_made(evidence, jail));
    JailReport {
        uid: jail.uid.clone(),
        observed_generation: jail.generation,
        phase: phase.to_owned(),
        jid: running.map(|running| running.jid),
        interfaces: running
            .map(|running| dynamic::observed(evidence.observed, jail, running))
            .unwrap_or_default(),
        conditions,
        gone,
    }
}

/// Why a jail is not as it shall be.
struct Problem {
    reason: String,
    message: String,
    blocked: bool,
}

/// Whether no interface, alias, file or mount of the jail is left.
fn nothing_left(findings: &Findings<'_>, jail: &JailView, anchor: &str) -> bool {
    // Its rules may stand, and would lead to whoever has its addresses next.
    let is_unread = findings.evidence.observed.pf.unread.is_some();
    if is_unread && needs_pf(findings.evidence, jail) {
        return false;
    }
    let mut addresses = jail
        .binding
        .attachments
        .iter()
        .flat_map(|attachment| &attachment.addresses);
    let mut subjects = vec![
        Subject::Jail(jail.uid.clone()),
        Subject::anchor(anchor),
        Subject::anchor(&names::egress_anchor(&jail.uid)),
    ];
    subjects.extend(findings.shared_anchors(&jail.uid).map(Subject::anchor));
    !findings.has_end(&jail.uid)
        && !addresses.any(|bound| findings.is_alias(bound.address))
        && !has_nic(findings, jail)
        && !findings.is_planned(&subjects)
        && !findings.evidence.ledger.jails.contains_key(&jail.uid)
        && {
            let Evidence {
                view,
                observed,
                ledger,
                ..
            } = findings.evidence;
            !images::may_have_root(view, observed, ledger, &jail.uid)
        }
}

/// Whether a NIC of the jail's has not come back, or is not yet what it was: the next one that it is given to would find it so.
fn has_nic(findings: &Findings<'_>, jail: &JailView) -> bool {
    let mut lent = findings.index.lent();
    lent.any(|state| {
        let mut attachments = jail.binding.attachments.iter();
        attachments.any(|bound| bound.nic.as_ref() == Some(&state.interface))
            && nics::is_in_machine(findings.evidence.observed, &findings.index, state)
    })
}

fn problem(
    findings: &Findings<'_>,
    jail: &JailView,
    anchor: &str,
    running: Option<&ObservedJail>,
    dying: bool,
) -> Option<Problem> {
    let Evidence { held, view, .. } = findings.evidence;
    let mut subjects = vec![Subject::Jail(jail.uid.clone())];
    for attachment in &jail.binding.attachments {
        if let Some(network) = view.networks.get(&attachment.network) {
            subjects.push(Subject::Network(network.uid.clone()));
            subjects.push(Subject::anchor(&names::network_anchor(&network.uid)));
            subjects.push(Subject::anchor(&names::isolation_anchor(&network.uid)));
        }
    }
    let fib = tables::fib(view, jail);
    if fib > 0 {
        subjects.extend([Subject::sysctl(tables::FIBS), Subject::table(fib)]);
    }
    if let Some(image) = jail.image.as_ref().filter(|_| !jail.deleting) {
        subjects.push(Subject::image(&image.release.sha256));
    }
    subjects.push(Subject::anchor(&names::egress_anchor(&jail.uid)));
    // Also where it publishes nothing any more: until the rules are gone, its former ports are not free.
    subjects.push(Subject::anchor(anchor));
    subjects.extend(findings.shared_anchors(&jail.uid).map(Subject::anchor));
    let of_block = |blocked: &Blocked| Problem {
        reason: blocked.reason.to_owned(),
        message: blocked.message.clone(),
        blocked: true,
    };
    if let Some(blocked) = findings.blocked(&subjects) {
        return Some(of_block(blocked));
    }
    if let Some(error) = findings.failed(&subjects) {
        return Some(Problem {
            reason: error.reason.to_owned(),
            message: error.message.clone(),
            blocked: running.is_none(),
        });
    }
    if let Some(waiting) = findings.waiting(&subjects) {
        return Some(Problem {
            reason: waiting.reason.to_owned(),
            message: waiting.to_string(),
            blocked: false,
        });
    }
    if let Some(blocked) = findings.pf
        && needs_pf(findings.evidence, jail)
    {
        return Some(of_block(blocked));
    }
    let shall_run = !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped;
    let unreleased = unreleased(findings, jail, shall_run || running.is_some());
    let pending = findings.is_planned(&subjects);
    if let Some((reason, message)) = held.filter(|_| pending || unreleased.is_some()) {
        return Some(Problem {
            reason: reason.to_owned(),
            message: message.to_owned(),
            blocked: true,
        });
    }
    if unreleased.is_some() {
        return unreleased;
    }
    if jail.deleting {
        let message = "being taken away".to_owned();
        return Some(Problem {
            reason: "Deleting".to_owned(),
            message,
            blocked: false,
        });
    }
    if pending || running.is_some() != shall_run || (dying && !shall_run) {
        let message = "operations are under way".to_owned();
        return Some(Problem {
            reason: "Progressing".to_owned(),
            message,
            blocked: false,
        });
    }
    None
}

/// An address that the jail has given up and that is still on the host: whoever is given it next would share it.
fn unreleased(findings: &Findings<'_>, jail: &JailView, runs: bool) -> Option<Problem> {
    let left = findings.unreleased(&jail.uid, runs);
    let first = *left.first()?;
    let failed = left
        .iter()
        .find_map(|address| findings.release_failed(*address));
    Some(match failed {
        Some(error) => Problem {
            reason: error.reason.to_owned(),
            message: format!("{first} is to go and still on the host: {}", error.message),
            blocked: false,
        },
        // On its way out this is not worth a word: everything of it is to go.
        None if jail.deleting => return None,
        None => Problem {
            reason: "Progressing".to_owned(),
            message: format!("{first} is to go and still on the host"),
            blocked: false,
        },
    })
}

/// Why the jail is being started again, or was the last time.
fn restart_cause<'a>(evidence: Evidence<'a>, jail: &JailView) -> Option<&'a str> {
    let ours = evidence.ledger.jails.get(&jail.uid)?;
    let shall_run = !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped;
    (shall_run && !ours.restart.is_empty()).then_some(ours.restart.as_str())
}

/// Whether the jail leans on rules of ours: they lead to it, or its network has NAT or keeps its jails apart.
fn needs_pf(evidence: Evidence<'_>, jail: &JailView) -> bool {
    let nat = jail
        .binding
        .attachments
        .iter()
        .filter_map(|attachment| evidence.view.networks.get(&attachment.network))
        .any(|network| {
            let egress = network.spec.egress.as_ref();
            egress.is_some_and(|egress| egress.nat.is_some()) || by_pf(&network.spec)
        });
    nat || jail.spec.is_published() || jail.spec.firewall_of_host().is_some()
}

fn ready(jail: &JailView, problem: Option<&Problem>, restart: Option<&str>) -> Condition {
    let stopped = jail.spec.run_policy == RunPolicy::Stopped;
    let (status, reason, message) = match problem {
        Some(problem) => (
            if problem.reason == reason::PROBE_NOT_MADE {
                ConditionStatus::Unknown
            } else {
                ConditionStatus::False
            },
            problem.reason.clone(),
            match restart.filter(|_| !problem.blocked) {
                Some(cause) => format!("{} (restarting: {cause})", problem.message),
                None => problem.message.clone(),
            },
        ),
        None if stopped => (
            ConditionStatus::False,
            "Stopped".to_owned(),
            "spec.runPolicy is Stopped".to_owned(),
        ),
        None => (
            ConditionStatus::True,
            "Running".to_owned(),
            restart
                .map(|cause| format!("restarted: {cause}"))
                .unwrap_or_default(),
        ),
    };
    condition("Ready", status, &reason, message, jail.generation)
}

/// What the jail's root was made of.
fn root_made(evidence: Evidence<'_>, jail: &JailView) -> Option<Condition> {
    let image = jail.image.as_ref().filter(|_| !jail.deleting)?;
    let sound = images::sound(evidence.view, evidence.observed, evidence.ledger);
    let made = images::made(evidence.view, evidence.observed, &jail.uid);
    let name = &image.name;
    let (status, reason, message) = match made {
        _ if sound.is_err() => (
            ConditionStatus::Unknown,
            "StorageMissing",
            "the host's storage cannot be looked at".to_owned(),
        ),
        None => (
            ConditionStatus::False,
            "NotMade",
            format!("the root is not made of image `{name}` yet"),
        ),
        Some((_, mark)) => {
            let layout = layout_word(mark.layout);
            let digest = short(&mark.digest);
            let now = &image.release.sha256;
            if mark.digest == *now {
                let message = format!("{layout}, of image `{name}` ({digest})");
                (ConditionStatus::True, "Made", message)
            } else {
                let message = format!(
                    "{layout}, of image `{name}` as it was before ({digest}); it is {} now, and what is there stays what it is",
                    short(now)
                );
                (ConditionStatus::True, "ImageChanged", message)
            }
        }
    };
    Some(condition(
        "RootMade",
        status,
        reason,
        message,
        jail.generation,
    ))
}

fn network_ready(
    findings: &Findings<'_>,
    jail: &JailView,
    running: Option<&ObservedJail>,
) -> Option<Condition> {
    if jail.binding.attachments.is_empty() || jail.deleting {
        return None;
    }
    let running = running?;
    let evidence = findings.evidence;
    let mut left = findings.unreleased(&jail.uid, true);
    left.extend(findings.given_up(jail, running));
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    if !left.is_empty() {
        let message = format!("given up and still on the host: {}", left.join(", "));
        return Some(condition(
            "NetworkReady",
            ConditionStatus::False,
            "AddressNotReleased",
            message,
            jail.generation,
        ));
    }
    let missing: Vec<String> = jail
        .binding
        .attachments
        .iter()
        .flat_map(|attachment| {
            attachment
                .addresses
                .iter()
                .map(move |bound| (attachment, bound.address))
        })
        .filter(|(attachment, address)| {
            let held = running.ip4.contains(address) || running.ip6.contains(address);
            let inside = evidence
                .observed
                .vnets
                .get(&running.jid)
                .is_some_and(|vnet| {
                    vnet.interfaces.iter().any(|interface| {
                        interface.name == attachment.interface
                            && interface.address(*address).is_some()
                    })
                });
            !held && !inside
        })
        .map(|(_, address)| address.to_string())
        .chain(dynamic::missing(evidence.observed, jail, running))
        .collect();
    Some(if missing.is_empty() {
        condition(
            "NetworkReady",
            ConditionStatus::True,
            "AddressesPresent",
            String::new(),
            jail.generation,
        )
    } else {
        let message = format!("not in the jail: {}", missing.join(", "));
        condition(
            "NetworkReady",
            ConditionStatus::False,
            "AddressMissing",
            message,
            jail.generation,
        )
    })
}

fn publish_ready(
    findings: &Findings<'_>,
    jail: &JailView,
    anchor: &str,
    runs: bool,
) -> Option<Condition> {
    if !jail.spec.is_published() || jail.deleting {
        return None;
    }
    let subject = Subject::Jail(jail.uid.clone());
    let blocked = findings
        .blocked_for(&subject, reason::PUBLIC_ADDRESS_MISSING)
        .or_else(|| findings.blocked_for(&subject, reason::PUBLIC_ADDRESS_IN_USE))
        .or_else(|| findings.blocked_for(&subject, reason::FAMILY_MISMATCH))
        .or_else(|| findings.blocked_for(&subject, reason::RULE_REJECTED))
        .or(findings.pf)
        .map(|blocked| (blocked.reason.to_owned(), blocked.message.clone()));
    // What the jail sends gets its public address in the anchors of its networks.
    let mut anchors = vec![anchor.to_owned()];
    let pools = jail.spec.publish.iter();
    let pools = pools.filter_map(|publish| publish.shared.as_ref());
    anchors.extend(pools.map(|pool| names::pool_anchor(pool)));
    if !jail.spec.public_addresses.is_empty() {
        anchors.extend(findings.network_anchors(jail));
    }
    let subjects: Vec<Subject> = anchors
        .iter()
        .map(|anchor| Subject::anchor(anchor))
        .collect();
    let failed = findings
        .failed(&subjects)
        .map(|error| (error.reason.to_owned(), error.message.clone()));
    let mut loading = anchors.iter().filter(|anchor| findings.is_loading(anchor));
    let pending = loading.next().map(|_| {
        (
            "Progressing".to_owned(),
            "rules are being loaded".to_owned(),
        )
    });
    let idle = (!runs).then(|| {
        (
            "NotRunning".to_owned(),
            "the jail does not run, so nobody answers".to_owned(),
        )
    });
    Some(match blocked.or(failed).or(pending).or(idle) {
        Some((reason, message)) => condition(
            "PublishReady",
            ConditionStatus::False,
            &reason,
            message,
            jail.generation,
        ),
        None => condition(
            "PublishReady",
            ConditionStatus::True,
            "InForce",
            String::new(),
            jail.generation,
        ),
    })
}

fn condition(
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: String,
    generation: Generation,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: None,
    }
}
