//! JailSets: which of their jails are made, changed or taken away next, and what is said of them. Level-triggered like
//! everything in [`crate::reconcile`]: a plan is a function of the index and the time, and each write compares the set and a
//! guard of its own, so that several controllers together never go further than one may.

mod plan;
mod revision;
mod status;

use std::sync::Arc;

use cellblock_schemas::jail_set::{REVISION_LABEL, SET_LABEL};
use cellblock_schemas::warnings::set_field;
use cellblock_schemas::{API_VERSION, ConditionStatus, Jail, JailSet, Kind, Object};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admit::draft::Draft;
use crate::admit::{Admitted, Now, Rejection, Request, Through, admit};
use crate::conditions;
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
        let members = plan.actions.keys().take(WRITES_MAX);
        items.extend(members.map(|jail| Item::Member(name.clone(), jail.clone())));
        let known = set.status.clone().unwrap_or_default();
        if status::of(index, set, &plan, now) != known {
            items.push(Item::Set(name.clone()));
        }
    }
    items
}

/// Whether a set is not as it shall be, so that `minReady` or its deadline may pass.
pub(crate) fn waits_for_time(index: &Index) -> bool {
    let mut sets = index.jail_sets();
    sets.any(|set| {
        let conditions = set.status.as_ref().map(|status| &status.conditions);
        let ready = conditions.and_then(|found| conditions::find(found, conditions::READY));
        ready.is_none_or(|ready| ready.status != ConditionStatus::True)
    })
}

/// Says in a set's status what there is to say.
pub(crate) fn say(index: &Index, name: &str, now: &Now) -> Option<Write> {
    let entry = index.get(Kind::JailSet, name)?;
    let set = entry.jail_set()?;
    let plan = Plan::of(index, set, now.timestamp);
    let status = status::of(index, set, &plan, now.timestamp);
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

/// Whether a jail belongs to a set.
fn belongs(set: &JailSet, jail: &Jail) -> bool {
    let mut owners = jail.metadata.owner_references.iter();
    owners.any(|owner| owner.controller && owner.uid == set.metadata.uid)
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
