//! Admission of what operators write as a whole, by create and update, and the common way of everything that states a spec.

use std::sync::Arc;

use cellblock_schemas::host::LaggProtocol;
use cellblock_schemas::jail::{JailStatus, RunPolicy};
use cellblock_schemas::meta::ObjectMeta;
use cellblock_schemas::structural::Mistakes;
use cellblock_schemas::{
    API_VERSION, Cause, Host, Jail, Kind, Network, Object, Uid, Violation, Warning, default,
    structural, unsupported, validate, warnings_with,
};
use serde_json::Value;

use super::draft::{Draft, too_large};
use super::{
    Admitted, DOCUMENT_BYTES_MAX, Now, Reason, Rejection, Through, generate, managed, restart,
};
use crate::index::{Entry, Index, own_kind};
use crate::rules::{self, Together};
use crate::write::{Expect, Guard, Write};
use crate::{bind, conditions, fibs, sets};

/// What a client said, read and defaulted.
pub(super) struct Stated {
    pub(super) object: Object,
    /// What of the document could not be read, and is not in the object.
    pub(super) mistakes: Mistakes,
}

pub(super) fn create(
    index: &Index,
    kind: Kind,
    mut document: Value,
    manager: &str,
    now: &Now,
) -> Result<Admitted, Rejection> {
    generate::name(index, kind, &mut document, now);
    let forgets = managed::forgets(&mut document);
    let mut stated = read(kind, document)?;
    let name = &stated.object.metadata().name;
    if index.get(kind, name).is_some() {
        let message = format!("there is a {kind} of that name");
        return Err(Rejection::new(
            Reason::AlreadyExists,
            kind,
            name,
            "metadata.name",
            message,
            "choose another name, or apply instead of creating",
        ));
    }
    if stated.object.metadata().resource_version.is_some() {
        return Err(Rejection::new(
            Reason::Invalid,
            kind,
            name,
            "metadata.resourceVersion",
            "a new object has no resourceVersion",
            "remove it",
        ));
    }
    let finalizers = &mut stated.object.metadata_mut().finalizers;
    managed::without_own_finalizer(None, kind, finalizers);
    let mut draft = begin(index, None, &stated.object)?;
    keep_identity(&mut draft, &stated.object, now);
    let records = managed::Records::of(&stated.object, forgets);
    managed::updated(&mut draft, records, Through::Object, manager, now);
    admit(draft, stated.mistakes, &Together::default(), now)
}

/// How an object is replaced.
pub(super) struct By<'a> {
    pub(super) through: Through,
    pub(super) manager: &'a str,
    /// Finalizers of the controller's that are taken away by name, and not merely left out.
    pub(super) taken_away: &'a [String],
}

pub(super) fn update(
    index: &Index,
    kind: Kind,
    mut document: Value,
    by: &By<'_>,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let forgets = managed::forgets(&mut document);
    let mut stated = read(kind, document)?;
    let name = &stated.object.metadata().name;
    let before = index
        .get(kind, name)
        .ok_or_else(|| Rejection::not_found(kind, name))?;
    // A manifest does not know them, as it does not know the uid.
    let finalizers = &mut stated.object.metadata_mut().finalizers;
    let mut kept = managed::own_finalizers_left_out(&before.object, finalizers);
    kept.retain(|name| !by.taken_away.contains(name));
    finalizers.extend(kept.iter().cloned());
    managed::without_own_finalizer(Some(&before.object), kind, finalizers);
    let mut draft = begin(index, Some(before), &stated.object)?;
    keep_identity(&mut draft, &stated.object, now);
    let records = managed::Records::of(&stated.object, forgets);
    managed::updated(&mut draft, records, by.through, by.manager, now);
    let mut admitted = admit(draft, stated.mistakes, &Together::default(), now)?;
    if before.object.metadata().deletion_timestamp.is_some() && !kept.is_empty() {
        admitted.warnings.extend(kept.iter().map(|name| Warning {
            field: "metadata.finalizers".to_owned(),
            message: managed::stays(kind, name),
        }));
    }
    Ok(admitted)
}

/// Reads a document as far as it fits its kind's schema, and fills in what need not be written.
pub(super) fn read(kind: Kind, document: Value) -> Result<Stated, Rejection> {
    let name = document
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    measure(kind, &name, &document)?;
    let (object, mistakes) = structural::read_partly(kind, document);
    let Some(mut object) = object else {
        return Err(Rejection::unreadable(kind, &name, mistakes.violations));
    };
    default::default_object(&mut object);
    Ok(Stated { object, mistakes })
}

/// Refuses a document that is too large to be looked at any closer.
pub(super) fn measure(kind: Kind, name: &str, document: &Value) -> Result<(), Rejection> {
    let bytes = document.to_string().len();
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(too_large(kind, name, bytes));
    }
    Ok(())
}

/// Checks that the client speaks of the object as it is, and puts its words in the place of the stored ones.
pub(super) fn begin<'a>(
    index: &'a Index,
    before: Option<&'a Arc<Entry>>,
    stated: &Object,
) -> Result<Draft<'a>, Rejection> {
    let metadata = stated.metadata();
    same(
        stated.kind(),
        &metadata.name,
        before,
        metadata.resource_version.as_deref(),
        &metadata.uid,
    )?;
    Ok(Draft {
        index,
        before,
        object: stated.clone(),
        write: Write::default(),
    })
}

/// Refuses what is said of another state of an object, or of another object of its name, through whatever it is said (kubernetes/apiserver,
/// `pkg/registry/rest/update.go`, `defaultUpdatedObjectInfo`, `Preconditions`).
pub(super) fn same(
    kind: Kind,
    name: &str,
    before: Option<&Arc<Entry>>,
    version: Option<&str>,
    said: &Uid,
) -> Result<(), Rejection> {
    let conflict = |field: &str, message: String| {
        Err(Rejection::new(
            Reason::Conflict,
            kind,
            name,
            field,
            message,
            "read it again, then repeat the change",
        ))
    };
    if let Some(version) = version {
        match before {
            None => {
                return conflict(
                    "metadata.resourceVersion",
                    format!("the {kind} does not exist any more"),
                );
            }
            Some(before) if *version != before.revision.to_string() => {
                let newest = before.revision;
                return conflict(
                    "metadata.resourceVersion",
                    format!(
                        "the {kind} was changed meanwhile: it is at {newest}, not at {version}"
                    ),
                );
            }
            Some(_) => {}
        }
    }
    let uid = before.map(|before| &before.object.metadata().uid);
    if let Some(uid) = uid.filter(|uid| !said.0.is_empty() && said != *uid) {
        return conflict(
            "metadata.uid",
            format!("{said} is meant, and the {kind} of that name has {uid}, which cannot change"),
        );
    }
    Ok(())
}

/// Takes over from the stored object what clients do not decide.
pub(super) fn keep_identity(draft: &mut Draft<'_>, stated: &Object, now: &Now) {
    let before = draft.before.map(|entry| entry.object.clone());
    let metadata = draft.object.metadata_mut();
    let said = stated.metadata();
    let was = before.as_ref().map(Object::metadata);
    *metadata = ObjectMeta {
        name: said.name.clone(),
        generate_name: was
            .map_or(&said.generate_name, |was| &was.generate_name)
            .clone(),
        uid: was.map_or_else(|| now.new_uid.clone(), |was| was.uid.clone()),
        resource_version: None,
        generation: was.map(|was| was.generation).unwrap_or_default(),
        creation_timestamp: Some(
            was.and_then(|was| was.creation_timestamp)
                .unwrap_or(now.timestamp),
        ),
        deletion_timestamp: was.and_then(|was| was.deletion_timestamp),
        labels: said.labels.clone(),
        annotations: said.annotations.clone(),
        finalizers: said.finalizers.clone(),
        owner_references: said.owner_references.clone(),
        managed_fields: was
            .map(|was| was.managed_fields.clone())
            .unwrap_or_default(),
    };
    match (&mut draft.object, before) {
        (Object::Host(host), Some(Object::Host(before))) => host.status = before.status,
        (Object::Network(network), Some(Object::Network(before))) => network.status = before.status,
        (Object::Image(image), Some(Object::Image(before))) => image.status = before.status,
        (Object::Jail(jail), Some(Object::Jail(before))) => jail.status = before.status,
        (Object::JailSet(set), Some(Object::JailSet(before))) => set.status = before.status,
        (
            Object::Host(_)
            | Object::Network(_)
            | Object::Image(_)
            | Object::Jail(_)
            | Object::JailSet(_),
            _,
        ) => {}
    }
}

/// The common way of everything that states a spec: validate, relate, bind, count.
pub(super) fn admit(
    mut draft: Draft<'_>,
    mistakes: Mistakes,
    together: &Together,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let kind = draft.object.kind();
    let name = draft.object.metadata().name.clone();
    let mut violations = validate::validate(&draft.object);
    violations.extend(unsupported(&draft.object));
    if let Some(before) = draft.before {
        violations.extend(validate::validate_update(&before.object, &draft.object));
        violations.extend(while_deleting(&before.object, &draft.object));
    }
    let stored = draft.before.map(|before| &before.object);
    let finalizers = draft.object.metadata().finalizers.iter();
    let finalizers = finalizers.map(String::as_str);
    violations.extend(managed::strange_finalizers(stored, kind, finalizers));
    violations.extend(owners(&draft));
    violations.extend(assign_fib(&mut draft).map(Violation::from));
    violations.extend(relate(&draft, together).into_iter().map(Violation::from));
    let judged = mistakes.judge(violations);
    let all = [mistakes.violations, judged].concat();
    if !all.is_empty() {
        return Err(Rejection::unreadable(kind, &name, all));
    }
    draft.count_generation();
    let index = draft.index;
    let spec_of = |name: &str| index.network(name).map(|network| &network.spec);
    let mut warnings = warnings_with(&draft.object, &spec_of);
    if let Some(before) = draft.before {
        warnings.extend(restart::warnings(index, &before.object, &draft.object));
    }
    guard(&mut draft);
    let deleting = draft.object.metadata().deletion_timestamp.is_some();
    if deleting {
        warnings.push(Warning {
            field: String::new(),
            message: format!("the {kind} is being deleted; wait until it is gone and apply it anew to have it back"),
        });
    }
    if let Object::Network(network) = &draft.object
        && let Some(mode) = network.spec.mode()
        && let Some(uplink) = mode.uplink()
    {
        let field = format!("spec.{}.uplink", mode.name());
        warnings.extend(no_uplink(draft.index, None, uplink, field));
        let hosts = draft.index.hosts_by_load();
        let failover = hosts.filter(|host| is_failover_below(host, network));
        warnings.extend(failover_warning(
            failover.map(|host| (host, network)),
            format!("spec.{}.uplink", mode.name()),
        ));
    }
    if let Object::Host(host) = &draft.object {
        let networks = draft.index.networks();
        let failover = networks.filter(|network| is_failover_below(host, network));
        warnings.extend(failover_warning(
            failover.map(|network| (host, network)),
            "spec.uplinks".to_owned(),
        ));
    }
    if let Object::Jail(jail) = &mut draft.object
        && !deleting
    {
        warnings.extend(missing(draft.index, jail));
        warnings.extend(waited_for_while_stopped(draft.index, jail));
        warnings.extend(sticky(draft.index, jail));
        bind::bind(draft.index, jail, &mut draft.write, now.timestamp);
        if let Some(Object::Jail(before)) = draft.before.map(|entry| &entry.object) {
            warnings.extend(restart::rebound(before, jail));
        }
    }
    draft.finish(warnings)
}

/// Owners that are said to be there and are not: what names them would go at once.
fn owners(draft: &Draft<'_>) -> Vec<Violation> {
    let known = draft
        .before
        .map_or(&[][..], |before| &before.object.metadata().owner_references);
    let stated = draft.object.metadata().owner_references.iter().enumerate();
    let wrong = stated.filter(|(_, owner)| {
        let is_there = |kind| {
            let found = draft.index.get(kind, &owner.name);
            found.is_some_and(|found| found.object.metadata().uid == owner.uid)
        };
        !known.contains(owner)
            && owner.api_version == API_VERSION
            && !own_kind(owner).is_some_and(is_there)
    });
    wrong
        .map(|(place, owner)| Violation {
            field: format!("metadata.ownerReferences[{place}]"),
            message: format!(
                "there is no {} {} with uid {}",
                owner.kind,
                owner.name,
                owner.uid
            ),
            help: "leave it out of a manifest that comes from elsewhere, or write the uid that its owner has here".to_owned(),
            cause: Cause::NotFound,
        })
        .collect()
}

/// A jail that is being deleted claims nothing any more, so nothing that would need a claim can change.
fn while_deleting(before: &Object, after: &Object) -> Vec<Violation> {
    let (Object::Jail(before), Object::Jail(after)) = (before, after) else {
        return Vec::new();
    };
    if before.metadata.deletion_timestamp.is_none() {
        return Vec::new();
    }
    let changed = [
        ("spec.networks", before.spec.networks != after.spec.networks),
        ("spec.publish", before.spec.publish != after.spec.publish),
        (
            "spec.publicAddresses",
            before.spec.public_addresses != after.spec.public_addresses,
        ),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    changed
        .map(|(field, _)| Violation {
            field: field.to_owned(),
            message: "cannot change any more: the jail is being deleted".to_owned(),
            help: "wait until it is gone, then apply it anew".to_owned(),
            cause: Cause::Forbidden,
        })
        .collect()
}

/// Gives a network its routing table, before the rules for it are asked.
fn assign_fib(draft: &mut Draft<'_>) -> Option<rules::Problem> {
    let before = draft.before.and_then(|before| before.network());
    match &mut draft.object {
        Object::Network(network) => fibs::assign(draft.index, network, before, &mut draft.write),
        Object::Host(_) | Object::Image(_) | Object::Jail(_) | Object::JailSet(_) => None,
    }
}

/// The rules that relate the object to others.
fn relate(draft: &Draft<'_>, together: &Together) -> Vec<rules::Problem> {
    let index = draft.index;
    match &draft.object {
        Object::Jail(jail) => {
            let mut problems = rules::host_independent(index, jail, together);
            let host = jail
                .binding()
                .map(|binding| binding.host.as_str())
                .or(jail.spec.host.as_deref());
            problems.extend(
                host.map(|host| rules::on_host(index, jail, host, together))
                    .unwrap_or_default(),
            );
            problems
        }
        Object::Network(network) => {
            let before = draft.before.and_then(|before| before.network());
            rules::network(index, network, before)
        }
        Object::Image(_) => Vec::new(),
        Object::JailSet(set) => sets::relate(index, set, together),
        Object::Host(host) => {
            let before = draft.before.and_then(|before| before.host());
            rules::host_update(index, host, before)
        }
    }
}

/// Makes the write depend on the rules over several objects that it relied on.
fn guard(draft: &mut Draft<'_>) {
    let uid = draft.object.metadata().uid.clone();
    match (&draft.object, draft.before.map(|before| &before.object)) {
        (Object::Network(network), before) => {
            let before = match before {
                Some(Object::Network(before)) => Some(&before.spec),
                Some(_) | None => None,
            };
            if before != Some(&network.spec) {
                // No address that it would leave out, or make the gateway, may be claimed meanwhile, and no jail attached to what it was.
                let guard = Guard::Addresses(network.metadata.name.clone());
                draft.index.expect_guard(&mut draft.write, &guard, &uid);
            }
            let same = before.is_some_and(|before| {
                before.subnets == network.spec.subnets
                    && before.mode() == network.spec.mode()
                    && before.host_selector == network.spec.host_selector
            });
            if !same {
                let spans = network.spec.spans_hosts().then_some(Guard::Nodes);
                for guard in std::iter::once(Guard::Networks).chain(spans) {
                    draft.index.expect_guard(&mut draft.write, &guard, &uid);
                }
            }
        }
        (Object::Host(host), before) => {
            let Some(Object::Host(before)) = before else {
                if !host.spec.addresses.is_empty() {
                    let guard = Guard::Nodes;
                    draft.index.expect_guard(&mut draft.write, &guard, &uid);
                }
                return;
            };
            if host.spec.forgotten && !before.spec.forgotten {
                // Its agent may come back meanwhile: what its jails have would be given to others while they run.
                let session = draft.index.keys().session(&host.metadata.name);
                draft.write.expect(session, Expect::Absent);
            }
            if before.spec.addresses != host.spec.addresses {
                draft
                    .index
                    .expect_guard(&mut draft.write, &Guard::Nodes, &uid);
            }
            if before.spec.uplinks != host.spec.uplinks {
                let name = &host.metadata.name;
                for guard in [Guard::Ports(name.clone()), Guard::Uplinks(name.clone())] {
                    draft.index.expect_guard(&mut draft.write, &guard, &uid);
                }
            }
        }
        (Object::JailSet(set), before) => {
            let before = match before {
                Some(Object::JailSet(before)) => fibs::of_set(before),
                Some(_) | None => None,
            };
            let named = fibs::of_set(set);
            fibs::guard_named(draft.index, named, before, &uid, &mut draft.write);
        }
        (Object::Jail(jail), before) => {
            let named_before = match before {
                Some(Object::Jail(before)) => before.spec.own_fib(),
                Some(_) | None => None,
            };
            let named = jail.spec.own_fib();
            fibs::guard_named(draft.index, named, named_before, &uid, &mut draft.write);
            let same = matches!(before, Some(Object::Jail(before))
                if before.spec.depends_on == jail.spec.depends_on);
            if !jail.spec.depends_on.is_empty() && !same {
                // Nobody may close a circle from its other side meanwhile, nor give one of them another host.
                bind::expect_unplaced(draft.index, jail, &mut draft.write);
                draft
                    .index
                    .expect_guard(&mut draft.write, &Guard::Dependencies, &uid);
            }
        }
        (Object::Image(_), _) => {}
    }
}

/// A jail that is stopped and that others wait for.
fn waited_for_while_stopped(index: &Index, jail: &Jail) -> Option<Warning> {
    let name = &jail.metadata.name;
    if jail.spec.run_policy != RunPolicy::Stopped {
        return None;
    }
    let waiting = dependents(index, name)?;
    Some(Warning {
        field: "spec.runPolicy".to_owned(),
        message: format!(
            "{waiting} on it: they run on, and are not started again while it is stopped"
        ),
    })
}

/// The jails that stay and depend on one, as the beginning of a sentence.
pub(super) fn dependents(index: &Index, name: &str) -> Option<String> {
    let stays = |jail: &&Jail| jail.metadata.deletion_timestamp.is_none();
    let names = index.depending(name).filter(stays);
    let names: Vec<&str> = names.map(|jail| jail.metadata.name.as_str()).collect();
    let verb = if names.len() == 1 {
        "depends"
    } else {
        "depend"
    };
    (!names.is_empty()).then(|| format!("{} {verb}", restart::named(&names)))
}

/// A selector that a bound jail's host does not match: accepted, because the host's labels may change as well, and without effect.
fn sticky(index: &Index, jail: &Jail) -> Option<Warning> {
    let binding = jail
        .binding()
        .filter(|_| !bind::is_forgotten(index, jail))?;
    let (reason, message) = index.bound(jail, &binding.host);
    (reason == conditions::REASON_MISMATCH).then(|| Warning {
        field: "spec.hostSelector".to_owned(),
        message,
    })
}

/// Objects that a jail names and that do not exist yet.
fn missing(index: &Index, jail: &Jail) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let status = jail.status.as_ref();
    if status
        .and_then(|status: &JailStatus| status.binding.as_ref())
        .is_none()
        && let Some(host) = &jail.spec.host
        && index.host(host).is_none()
    {
        warnings.push(Warning {
            field: "spec.host".to_owned(),
            message: format!("host {host} does not exist yet; the jail waits for it"),
        });
    }
    for (place, attachment) in jail.spec.networks.iter().enumerate() {
        let network = &attachment.network;
        if index.network(network).is_none() {
            warnings.push(Warning {
                field: format!("spec.networks[{place}].network"),
                message: format!("network {network} does not exist yet; the jail waits for it"),
            });
        }
    }
    if let Some(image) = &jail.spec.image
        && index.image(&image.name).is_none()
    {
        warnings.push(Warning {
            field: "spec.image.name".to_owned(),
            message: format!(
                "image {} does not exist yet; the jail waits for it",
                image.name
            ),
        });
    }
    for (place, name) in jail.spec.depends_on.iter().enumerate() {
        if index.jail(name).is_none() {
            warnings.push(Warning {
                field: format!("spec.dependsOn[{place}]"),
                message: format!("jail {name} does not exist yet; the jail waits for it"),
            });
        }
    }
    let host = jail.spec.host.as_deref();
    for (place, publish) in jail.spec.publish.iter().enumerate() {
        let field = format!("spec.publish[{place}].uplink");
        warnings.extend(no_uplink(index, host, &publish.uplink, field));
    }
    for (place, public) in jail.spec.public_addresses.iter().enumerate() {
        let field = format!("spec.publicAddresses[{place}].uplink");
        warnings.extend(no_uplink(index, host, &public.uplink, field));
    }
    warnings
}

/// Whether a network's netgraph switch would stand at a failover lagg of a host.
fn is_failover_below(host: &Host, network: &Network) -> bool {
    let mode = network.spec.netgraph.as_ref();
    let uplink = mode.and_then(|mode| host.spec.uplinks.get(mode.uplink.as_deref()?));
    let lagg = uplink.and_then(|uplink| uplink.lagg.as_ref());
    lagg.is_some_and(|lagg| lagg.protocol == LaggProtocol::Failover)
}

/// What the article behind this arrangement (N11) warns of, once for all hosts and networks that it is about.
fn failover_warning<'a>(
    mut found: impl Iterator<Item = (&'a Host, &'a Network)>,
    field: String,
) -> Option<Warning> {
    let (host, network) = found.next()?;
    let (host, network) = (&host.metadata.name, &network.metadata.name);
    let uplink = "a failover lagg discards what comes in by another port than the one in use, and on FreeBSD 13.0 a netgraph switch at it was found to run into that: the host could not use the lagg itself and reach the jails (on 15.1 it could); keep the host's own addresses off it, or give the jails a second lagg";
    Some(Warning {
        field,
        message: format!(
            "the netgraph switch of network {network} on host {host} stands at a failover lagg: {uplink}"
        ),
    })
}

/// An uplink that no Host has, as after a slip of the pen; the one that `host` names, if it is there, counts alone.
fn no_uplink(index: &Index, host: Option<&str>, uplink: &str, field: String) -> Option<Warning> {
    let named = host.and_then(|host| index.host(host));
    let hosts = match named {
        Some(host) => vec![host],
        None => index.hosts_by_load().collect(),
    };
    let lacks = |host: &&Host| !host.spec.uplinks.contains_key(uplink);
    (!hosts.is_empty() && hosts.iter().all(lacks)).then(|| {
        let who = named.map_or_else(
            || "no Host has".to_owned(),
            |host| format!("Host {} does not have", host.metadata.name),
        );
        let mut known: Vec<&str> = hosts
            .iter()
            .flat_map(|host| host.spec.uplinks.keys())
            .map(String::as_str)
            .collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() {
            String::new()
        } else {
            format!(" (there is {})", known.join(", "))
        };
        Warning {
            field,
            message: format!("{who} an uplink `{uplink}` yet{known}; what needs it waits for it"),
        }
    })
}
