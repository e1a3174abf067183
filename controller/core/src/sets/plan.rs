//! What is next for the jails of a set.

use std::collections::BTreeMap;

use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::jail_set::{JailTemplate, REVISION_LABEL, SET_LABEL};
use cellblock_schemas::{ConditionStatus, Jail, JailSet, Kind, Object, Uid, validate_update};
use jiff::{SignedDuration, Timestamp};

use super::{belongs, revision, state};
use crate::admit::Now;
use crate::conditions;
use crate::index::Index;
use crate::place::unheard;

/// What to do with one jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is made, or made to say what this revision says.
    State(String),
    /// It is deleted.
    Take,
}

/// A jail of a set that is not being deleted.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) jail: &'a Jail,
    pub(super) revision: &'a str,
    pub(super) ready: bool,
    pub(super) available: bool,
    /// Whether its host is heard.
    pub(super) heard: bool,
    /// Whether it is certain that it serves nobody: it has no host, or its host is heard and says so.
    pub(super) down: bool,
}

/// What is next, and what it was decided from.
pub(super) struct Plan<'a> {
    /// The revision that jails are brought to.
    pub(super) target: String,
    /// The template's own.
    pub(super) update: String,
    /// What to do, by the jail's name.
    pub(super) actions: BTreeMap<String, Action>,
    /// The jails that the set shall have and has, by ordinal.
    pub(super) members: Vec<Member<'a>>,
    /// How many jails it has, the surplus ones counted.
    pub(super) count: usize,
    /// What stands in the way, for people.
    pub(super) obstacles: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(index: &'a Index, set: &JailSet, now: Timestamp) -> Self {
        let update = revision::of(set);
        let status = set.status.clone().unwrap_or_default();
        let current = status.current_revision;
        let is_undone =
            status.failed_revision == update && !current.is_empty() && set.spec.undoes();
        let is_held = set.spec.paused && !current.is_empty();
        let target = if is_undone { &current } else { &update };
        let fresh = if is_held { &current } else { target };
        let mut plan = Self {
            target: target.clone(),
            actions: BTreeMap::new(),
            members: Vec::new(),
            count: 0,
            obstacles: Vec::new(),
            update: update.clone(),
        };
        let live = live(index, set);
        plan.count = live.len();
        let replicas = set.spec.replicas();
        let name = |ordinal: u32| format!("{}-{ordinal}", set.metadata.name);
        let mut missing = Vec::new();
        for ordinal in 0..replicas {
            let name = name(ordinal);
            match index.jail(&name) {
                None => missing.push(name),
                Some(jail) if !belongs(set, jail) => {
                    plan.obstacles.push(format!(
                        "jail {name} is there and does not belong to this set: delete it, or name the set otherwise"
                    ));
                }
                Some(jail) if jail.metadata.deletion_timestamp.is_some() => {}
                Some(jail) => plan.members.push(Member::of(index, set, jail, now)),
            }
        }
        let is_recorded = revision::template(set, &update).is_some()
            && status.observed_generation == set.metadata.generation;
        if set.metadata.deletion_timestamp.is_some() || !is_recorded {
            return plan;
        }
        let wanted: Vec<&str> = plan.names().collect();
        let surplus = live.iter().filter(|jail| {
            let name = jail.metadata.name.as_str();
            !wanted.contains(&name)
        });
        let surplus: Vec<String> = surplus.map(|jail| jail.metadata.name.clone()).collect();
        let taken = surplus.into_iter().map(|name| (name, Action::Take));
        plan.actions.extend(taken);
        let made = missing
            .into_iter()
            .map(|name| (name, Action::State(fresh.clone())));
        plan.actions.extend(made);
        let fresh = fresh.clone();
        plan.roll(index, set, &fresh, now);
        plan
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + use<'_, 'a> {
        let members = self.members.iter();
        members.map(|member| member.jail.metadata.name.as_str())
    }

    /// How many of the jails that the set shall have are not available.
    pub(super) fn unavailable(&self, set: &JailSet) -> usize {
        let available = self.members.iter().filter(|member| member.available);
        (set.spec.replicas() as usize).saturating_sub(available.count())
    }

    /// The jails that are brought to another revision, the last ordinal first, and those that somebody else has changed.
    fn roll(&mut self, index: &Index, set: &JailSet, fresh: &str, now: Timestamp) {
        let most = set.spec.unavailable() as usize;
        let mut room = most.saturating_sub(self.unavailable(set));
        let target = self.target.clone();
        let members = self.members.clone();
        for member in members.iter().rev() {
            // Nobody knows what it does there, nor would hear how it fares.
            if !member.heard && !member.down {
                continue;
            }
            let name = &member.jail.metadata.name;
            let kept = revision::template(set, member.revision);
            let is_behind = kept.is_none() || (member.revision != target && !set.spec.paused);
            if !is_behind {
                let has_room = !member.ready || room > 0;
                if has_room
                    && kept.is_some_and(|template| differs(index, set, member, template, now))
                {
                    room -= usize::from(member.available);
                    let as_it_was = Action::State(member.revision.to_owned());
                    self.actions.insert(name.clone(), as_it_was);
                }
                continue;
            }
            if !member.down && room == 0 {
                continue;
            }
            let Some(template) = revision::template(set, fresh) else {
                continue;
            };
            // What is not available is counted already.
            room -= usize::from(member.available);
            let action = if is_another(member.jail, template) {
                Action::Take
            } else {
                Action::State(fresh.to_owned())
            };
            self.actions.insert(name.clone(), action);
        }
    }

    /// Whether jails would have to be deleted to bring all of them to a revision.
    pub(super) fn would_delete(&self, set: &JailSet, revision: &str) -> bool {
        let template = revision::template(set, revision);
        template.is_none_or(|template| {
            let mut members = self.members.iter();
            members.any(|member| is_another(member.jail, template))
        })
    }
}

impl<'a> Member<'a> {
    pub(super) fn of(index: &Index, set: &JailSet, jail: &'a Jail, now: Timestamp) -> Self {
        let label = jail.metadata.labels.get(REVISION_LABEL);
        let ready = is_ready(index, jail);
        let since = jail.status.as_ref().and_then(|status| status.ready_since);
        let wait = i64::try_from(set.spec.min_ready_seconds()).unwrap_or(i64::MAX);
        let runs = jail.spec.run_policy == RunPolicy::Running;
        // A time to come is a clock that was set back: nobody could say how long to wait.
        let is_over = wait == 0
            || !runs
            || since.is_some_and(|since| {
                since > now || now.duration_since(since) >= SignedDuration::from_secs(wait)
            });
        let binding = jail.binding();
        let host = binding.and_then(|binding| index.host(&binding.host));
        let heard = host.is_some_and(|host| unheard(host).is_none());
        Self {
            jail,
            revision: label.map_or("", String::as_str),
            ready,
            available: ready && is_over,
            heard,
            down: binding.is_none() || (heard && says_down(jail)),
        }
    }
}

/// The jails of a set that are not being deleted.
pub(super) fn live<'a>(index: &'a Index, set: &JailSet) -> Vec<&'a Jail> {
    let dependents = index.dependents(&set.metadata.uid);
    let jails = dependents.filter_map(|entry| entry.jail());
    jails
        .filter(|jail| jail.metadata.deletion_timestamp.is_none() && belongs(set, jail))
        .collect()
}

/// Whether a jail is as its newest spec says, and its host would tell if it were not.
fn is_ready(index: &Index, jail: &Jail) -> bool {
    let Some(status) = &jail.status else {
        return false;
    };
    let host = jail.binding().and_then(|binding| index.host(&binding.host));
    if host.is_none_or(|host| unheard(host).is_some()) {
        return false;
    }
    if jail.spec.run_policy != RunPolicy::Running {
        return status.phase == "Stopped" && status.observed_generation == jail.metadata.generation;
    }
    conditions::find(&status.conditions, conditions::READY).is_some_and(|ready| {
        ready.status == ConditionStatus::True
            && ready.observed_generation == jail.metadata.generation
    })
}

/// Whether a jail is said not to be as its newest spec says, or not to run as it shall not.
fn says_down(jail: &Jail) -> bool {
    let Some(status) = &jail.status else {
        return false;
    };
    if jail.spec.run_policy != RunPolicy::Running {
        return status.phase == "Stopped";
    }
    conditions::find(&status.conditions, conditions::READY).is_some_and(|ready| {
        ready.status != ConditionStatus::True
            && ready.observed_generation == jail.metadata.generation
    })
}

/// Whether a jail does not say what its revision does, as after somebody has edited it.
fn differs(
    index: &Index,
    set: &JailSet,
    member: &Member<'_>,
    template: &JailTemplate,
    now: Timestamp,
) -> bool {
    let jail = member.jail;
    let has = |key: &str, value: &str| {
        jail.metadata
            .labels
            .get(key)
            .is_some_and(|has| has == value)
    };
    let labels = template.metadata.labels.iter();
    let notes = template.metadata.annotations.iter();
    let is_same = jail.spec == template.spec
        && has(SET_LABEL, &set.metadata.name)
        && labels.clone().all(|(key, value)| has(key, value))
        && notes
            .clone()
            .all(|(key, value)| jail.metadata.annotations.get(key) == Some(value));
    if is_same {
        return false;
    }
    let now = Now {
        timestamp: now,
        new_uid: Uid::default(),
    };
    let stated = state(index, set, &jail.metadata.name, member.revision, &now);
    stated.is_ok_and(|admitted| admitted.write.is_some())
}

/// Whether a jail cannot become what a template says, but only another one can.
pub(super) fn is_another(jail: &Jail, template: &JailTemplate) -> bool {
    let mut after = jail.clone();
    after.spec = template.spec.clone();
    let (before, after) = (Object::Jail(jail.clone()), Object::Jail(after));
    debug_assert_eq!(before.kind(), Kind::Jail);
    !validate_update(&before, &after).is_empty()
}
