//! JailSets: which of their jails are made, changed or taken away next, and what is said of them. Level-triggered like
//! everything in [`crate::reconcile`]: a plan is a function of the index and the time, and each write compares the set and a
//! guard of its own, so that several controllers together never go further than one may.

mod plan;
mod revision;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cellblock_schemas::jail_set::{REVISION_LABEL, SET_LABEL};
use cellblock_schemas::warnings::set_field;
use cellblock_schemas::{API_VERSION, Jail, JailSet, Kind, Object, Uid};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admit::draft::Draft;
use crate::admit::{Admitted, Now, Reason, Rejection, Request, Through, admit};
use crate::index::Index;
use crate::reconcile::{Item, dependents};
use crate::rules::{self, Problem, Together};
use crate::write::{Guard, Write};

use self::plan::{Action, Plan};

/// Whose the fields are that a template gives to a jail.
pub const FIELD_MANAGER: &str = "jailset";

/// How many jails of one set are written in one round.
const WRITES_MAX: usize = 100;

/// Everything that sets need.
pub(crate) fn due(index: &Index, now: Timestamp) -> Vec<Item> {
    let mut items = Vec::new();
    for set in index.jail_sets() {
        let name = &set.metadata.name;
        let plan = Plan::of(index, set, now);
        items.extend(next(index, set, &plan, now).map(|jail| Item::Member(name.clone(), jail)));
        let known = set.status.clone().unwrap_or_default();
        if status::of(index, set, &plan, None, now) != known {
            items.push(Item::Set(name.clone()));
        }
    }
    items
}

/// The jails that are written first: those that go, because others may wait for what they have; and of the others as many as
/// can be written, so that those that are refused stand in nobody's way.
fn next<'a>(
    index: &'a Index,
    set: &'a JailSet,
    plan: &'a Plan<'_>,
    now: Timestamp,
) -> impl Iterator<Item = String> + use<'a> {
    let is_many = plan.actions.len() > WRITES_MAX;
    let goes = |action: &Action| *action == Action::Take;
    let taken = plan.actions.iter().filter(move |(_, action)| goes(action));
    let stated = plan.actions.iter().filter(move |(jail, action)| {
        let Action::State(revision) = action else {
            return false;
        };
        let now = Now {
            timestamp: now,
            new_uid: Uid::default(),
        };
        !is_many || state(index, set, jail, revision, &now).is_ok()
    });
    let next = taken.chain(stated).map(|(jail, _)| jail.clone());
    next.take(WRITES_MAX)
}

/// For how long this process has seen sets wait without a step forward, by a clock that nobody sets.
#[derive(Clone, Debug, Default)]
pub struct Waiting(BTreeMap<Uid, (Timestamp, Duration)>);

impl Waiting {
    /// Takes in the cluster as it is after `running`, and says which sets have waited too long.
    #[must_use]
    pub fn look(&mut self, index: &Index, running: Duration) -> Vec<Item> {
        let mut waiting = BTreeMap::new();
        let mut late = Vec::new();
        for set in index.jail_sets() {
            let Some((since, deadline)) = status::waits(set) else {
                continue;
            };
            let uid = &set.metadata.uid;
            let seen = self.0.get(uid).filter(|(seen, _)| *seen == since);
            let first = seen.map_or(running, |(_, first)| *first);
            if running.saturating_sub(first) >= deadline {
                late.push(Item::Late(set.metadata.name.clone(), since));
            }
            waiting.insert(uid.clone(), (since, first));
        }
        self.0 = waiting;
        late
    }
}

/// Whether a set waits for `minReady` or for its deadline.
pub(crate) fn waits_for_time(index: &Index) -> bool {
    index.jail_sets().any(|set| {
        let counts = set
            .status
            .as_ref()
            .is_some_and(|status| status.available < status.ready);
        counts || status::waits(set).is_some()
    })
}

/// Says in a set's status what there is to say.
pub(crate) fn say(index: &Index, name: &str, late: Option<Timestamp>, now: &Now) -> Option<Write> {
    let entry = index.get(Kind::JailSet, name)?;
    let set = entry.jail_set()?;
    let plan = Plan::of(index, set, now.timestamp);
    let status = status::of(index, set, &plan, late, now.timestamp);
    let mut draft = Draft::of(index, entry);
    if let Object::JailSet(set) = &mut draft.object {
        set.status = Some(status);
    }
    draft.finish(Vec::new()).ok()?.write
}

/// Makes, changes or takes away one jail of a set, if that is still what is next for it.
pub(crate) fn member(index: &Index, set: &str, jail: &str, now: &Now) -> Option<Write> {
    let set = index.jail_set(set)?;
    let plan = Plan::of(index, set, now.timestamp);
    let mut write = match plan.actions.get(jail)? {
        Action::State(revision) => state(index, set, jail, revision, now).ok()?.write?,
        Action::Take => dependents::ask_to_go(index, index.get(Kind::Jail, jail)?, now.timestamp)?,
    };
    index.expect_object(&mut write, Kind::JailSet, &set.metadata.name);
    let uid = &set.metadata.uid;
    index.expect_guard(&mut write, &Guard::Set(uid.clone()), uid);
    Some(write)
}

/// States what a revision of the template says of a jail, by server-side apply: what others say beside it stays.
pub(super) fn state(
    index: &Index,
    set: &JailSet,
    name: &str,
    revision: &str,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let Some(template) = revision::template(set, revision) else {
        return Err(Rejection::not_found(Kind::JailSet, revision));
    };
    let jail = template.jail(name);
    let metadata = &set.metadata;
    let mut document = json!({
        "apiVersion": API_VERSION,
        "kind": Kind::Jail.as_str(),
        "metadata": {
            "name": name,
            "labels": jail.metadata.labels,
            "ownerReferences": [{
                "apiVersion": API_VERSION, "kind": Kind::JailSet.as_str(), "name": metadata.name, "uid": metadata.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": jail.spec,
    });
    document["metadata"]["labels"][SET_LABEL] = Value::from(metadata.name.as_str());
    document["metadata"]["labels"][REVISION_LABEL] = Value::from(revision);
    if !jail.metadata.annotations.is_empty() {
        document["metadata"]["annotations"] = json!(jail.metadata.annotations);
    }
    let request = Request::Apply {
        kind: Kind::Jail,
        document,
        through: Through::Object,
        manager: FIELD_MANAGER.to_owned(),
        together: Arc::default(),
        force: true,
    };
    admit(index, request, now)
}

/// The uid of the set that a jail belongs to, if the set is there.
pub(crate) fn of<'a>(index: &'a Index, jail: &Jail) -> Option<&'a Uid> {
    let mut owners = jail.metadata.owner_references.iter();
    owners.find_map(|owner| {
        let set = index.jail_set(&owner.name)?;
        belongs(set, jail).then_some(&set.metadata.uid)
    })
}

/// Whether a set can do without one of its jails for now.
///
/// # Errors
/// It cannot, or nobody would make that jail again elsewhere.
pub(crate) fn spare(index: &Index, jail: &Jail, now: Timestamp) -> Result<(), Rejection> {
    let name = &jail.metadata.name;
    let refused = |reason, field: &str, message: String, help: &str| {
        Err(Rejection::new(
            reason,
            Kind::Jail,
            name,
            field,
            message,
            help,
        ))
    };
    let owners = &jail.metadata.owner_references;
    let named = owners.iter().find_map(|owner| index.jail_set(&owner.name));
    let Some(set) = named.filter(|set| belongs(set, jail)) else {
        let message = "belongs to no JailSet: nobody would make it again elsewhere".to_owned();
        return refused(
            Reason::BadRequest,
            "metadata.ownerReferences",
            message,
            "delete it by its name if it is to go",
        );
    };
    if let Some(host) = &set.spec.template.spec.host {
        let message = format!("its set makes it on host {host} again, which its template names");
        return refused(
            Reason::BadRequest,
            "spec.host",
            message,
            "take spec.template.spec.host out of the set, or scale it down",
        );
    }
    let plan = Plan::of(index, set, now);
    let mut members = plan.members.iter();
    let is_available = members.any(|member| member.jail.metadata.name == *name && member.available);
    let (down, most) = (plan.unavailable(set), set.spec.unavailable() as usize);
    if is_available && set.metadata.deletion_timestamp.is_none() && down >= most {
        let message = format!(
            "{down} of {} jails of JailSet {} are not available, and at most {most} may be down (maxUnavailable)",
            set.spec.replicas(),
            set.metadata.name
        );
        return refused(
            Reason::TooManyRequests,
            "",
            message,
            "try again when the others are available",
        );
    }
    Ok(())
}

/// Whether a jail belongs to a set.
fn belongs(set: &JailSet, jail: &Jail) -> bool {
    let mut owners = jail.metadata.owner_references.iter();
    owners.any(|owner| owner.controller && owner.uid == set.metadata.uid)
}

/// The jails of a set that cannot become what its template says: they would be deleted and made again.
pub(crate) fn remade<'a>(index: &'a Index, set: &JailSet) -> Vec<&'a str> {
    let jails = plan::live(index, set).into_iter();
    jails
        .filter(|jail| plan::is_another(jail, &set.spec.template))
        .map(|jail| jail.metadata.name.as_str())
        .collect()
}

/// What is wrong with a template wherever its jails may run.
pub(crate) fn relate(index: &Index, set: &JailSet, together: &Together) -> Vec<Problem> {
    let name = format!("{}-0", set.metadata.name);
    let mut sample = set.spec.template.jail(&name);
    if let Some(first) = index.jail(&name).filter(|first| belongs(set, first)) {
        sample.metadata.uid = first.metadata.uid.clone();
    }
    let problems = rules::host_independent(index, &sample, together).into_iter();
    problems
        .map(|problem| Problem {
            field: set_field(&problem.field),
            ..problem
        })
        .collect()
}

#[cfg(test)]
mod tests;
