//! Rules for a JailSet: its own fields, the template by the rules of a Jail, and what several jails of one template cannot have.

use super::{jail, meta, names};
use crate::jail_set::{
    Amount, JailSet, JailSetSpec, Names, REPLICAS_MAX, REVISION_CHARS, REVISION_LABEL, SET_LABEL,
    seconds,
};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::violation::{Cause, Findings};

/// The longest times: what takes longer than a day is no update.
const SECONDS_MAX: u64 = 86_400;

/// Octets of a template: the history holds at least two, beside the set's own.
const TEMPLATE_BYTES_MAX: usize = 256 * 1024;

/// Earlier revisions: each is a whole template in the object.
const HISTORY_MAX: u32 = 50;

pub(super) fn validate(set: &JailSet, path: &FieldPath, findings: &mut Findings) {
    let spec = &set.spec;
    if spec.replicas() > REPLICAS_MAX {
        findings.add(
            &path.field("replicas"),
            format!(
                "{} jails, but a set has at most {REPLICAS_MAX}",
                spec.replicas()
            ),
            "make several sets",
        );
    }
    strategy(spec, &path.field("updateStrategy"), findings);
    for (field, said) in [
        ("minReady", &spec.min_ready),
        ("progressDeadline", &spec.progress_deadline),
    ] {
        let Some(said) = said else { continue };
        let is_zero_allowed = field == "minReady";
        let is_time = seconds(said)
            .is_some_and(|seconds| seconds <= SECONDS_MAX && (seconds > 0 || is_zero_allowed));
        if !is_time {
            findings.add(
                &path.field(field),
                format!("`{}` is not a time", cut(said)),
                "a number and a unit, at most 24h, as in 10s, 5m or 1h",
            );
        }
    }
    if spec.min_ready_seconds() >= spec.progress_deadline_seconds() {
        findings.add(
            &path.field("minReady"),
            "no jail could become available before spec.progressDeadline is over",
            "make it shorter, or the deadline longer",
        );
    }
    if spec
        .revision_history_limit
        .is_some_and(|limit| limit > HISTORY_MAX)
    {
        findings.add(
            &path.field("revisionHistoryLimit"),
            format!("at most {HISTORY_MAX} revisions are kept"),
            "keep older manifests where they are written",
        );
    }
    let template = path.field("template");
    let notes = set.metadata.annotations.iter();
    let notes: usize = notes.map(|(key, value)| key.len() + value.len()).sum();
    let bytes = serde_json::to_vec(&spec.template).map_or(0, |text| text.len()) + notes;
    if bytes > TEMPLATE_BYTES_MAX {
        findings.add_as(Cause::TooLong,
            &template,
            format!("{bytes} bytes with the set's annotations, but at most {TEMPLATE_BYTES_MAX} are kept of each revision"),
            "keep large texts in the image or on the host",
        );
    }
    let metadata = template.field("metadata");
    let given = &spec.template.metadata;
    meta::words(&given.labels, &given.annotations, &metadata, findings);
    for label in [SET_LABEL, REVISION_LABEL] {
        if given.labels.contains_key(label) {
            findings.add(
                &metadata.field("labels").key(label),
                "is written by the set itself",
                "leave it out",
            );
        }
    }
    let longest = longest_name(set);
    if names::dns_label(&set.metadata.name).is_ok() {
        if names::dns_label(&longest).is_err() {
            let room = names::DNS_LABEL_CHARS_MAX - (longest.len() - set.metadata.name.len());
            findings.add(
                &FieldPath::new("metadata").field("name"),
                format!("the names of its jails would be too long, as {longest}"),
                format!("at most {room} characters"),
            );
        } else {
            let sample = spec.template.jail(&longest);
            jail::validate(&sample, &template.field("spec"), findings);
        }
    }
    alike(spec, &template.field("spec"), findings);
}

/// The longest name that a jail of the set may have.
fn longest_name(set: &JailSet) -> String {
    let name = &set.metadata.name;
    let most = set.spec.replicas().min(REPLICAS_MAX) + set.spec.surge().min(REPLICAS_MAX);
    let last = most.saturating_sub(1);
    match set.spec.names {
        Names::Ordinal => format!("{name}-{last}"),
        Names::Hash => format!("{name}-{}-{last}", "a".repeat(REVISION_CHARS)),
    }
}

fn strategy(spec: &JailSetSpec, path: &FieldPath, findings: &mut Findings) {
    let said = &spec.update_strategy;
    for (field, amount) in [
        ("maxUnavailable", &said.max_unavailable),
        ("maxSurge", &said.max_surge),
    ] {
        match amount {
            Some(Amount::Percent(text)) if amount.as_ref().and_then(Amount::percent).is_none() => {
                findings.add(
                    &path.field(field),
                    format!("`{}` is no number of jails", cut(text)),
                    "write a number, or a percentage from 0% to 100%",
                );
            }
            Some(_) | None => {}
        }
    }
    let is_none =
        |amount: &Amount| matches!(amount, Amount::Number(0)) || amount.percent() == Some(0);
    if spec.names == Names::Ordinal
        && said
            .max_surge
            .as_ref()
            .is_some_and(|amount| !is_none(amount))
    {
        findings.add(
            &path.field("maxSurge"),
            "jails with ordinal names are changed themselves: there is no name for one more",
            "leave it out, or name the jails by `hash`",
        );
    }
    let surges = spec.names == Names::Hash && !said.max_surge.as_ref().is_some_and(is_none);
    let goes_down = match &said.max_unavailable {
        Some(amount) => !is_none(amount),
        None => spec.names == Names::Ordinal,
    };
    if !surges && !goes_down {
        findings.add(
            &path.field("maxUnavailable"),
            "no update could ever begin: no jail may be unavailable, and none may be there in addition",
            "allow at least one of either",
        );
    }
}

/// What two jails of one template cannot both have.
fn alike(spec: &JailSetSpec, path: &FieldPath, findings: &mut Findings) {
    let template = &spec.template.spec;
    if template.jail_name.is_some() {
        findings.add(
            &path.field("jailName"),
            "the jails of a set are named after the set",
            "leave it out",
        );
    }
    let most = u64::from(spec.replicas()) + u64::from(spec.surge());
    if most < 2 {
        return;
    }
    let all = format!("{most} jails of this template, those of an update counted,");
    for (index, attachment) in template.networks.iter().enumerate() {
        let at = path.field("networks").index(index);
        if !attachment.addresses.is_empty() {
            findings.add(
                &at.field("addresses"),
                format!("{all} cannot have the same addresses"),
                "leave it out: each jail is given addresses of its own",
            );
        }
        if attachment.mac.is_some() {
            findings.add(
                &at.field("mac"),
                format!("{all} cannot have the same MAC address"),
                "leave it out: each jail is given one of its own",
            );
        }
    }
    let Some(host) = &template.host else { return };
    for (field, what, is_there) in [
        ("root", "the same root", template.root.is_some()),
        (
            "publish",
            "the same ports",
            template
                .publish
                .iter()
                .any(|publish| publish.shared.is_none()),
        ),
        (
            "publicAddresses",
            "the same public addresses",
            !template.public_addresses.is_empty(),
        ),
    ] {
        if is_there {
            let help = match field {
                "root" => {
                    "give the template an image, of which each jail gets a root of its own, or leave out spec.host"
                }
                "publish" => {
                    "name a pool in `shared`, or leave out spec.host, so that each is on a host of its own"
                }
                _ => "leave out spec.host, so that each is on a host of its own",
            };
            findings.add(
                &path.field(field),
                format!("{all} cannot have {what} on host {host}"),
                help,
            );
        }
    }
}
