//! The order of jails among each other (`spec.dependsOn`): no circles, and both on one host, whose agent keeps the order without a controller.

use std::collections::BTreeMap;

use cellblock_schemas::Jail;

use super::{Problem, Together};
use crate::bind;
use crate::index::Index;

/// Jails that would wait for each other, as they are once everything of one apply is. One that does not exist yet is passed over: the jail waits for it.
pub(super) fn of_jail(index: &Index, jail: &Jail, together: &Together) -> Option<Problem> {
    let name = jail.metadata.name.as_str();
    // Who was reached from whom.
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = Vec::new();
    for dependency in &jail.spec.depends_on {
        from.insert(dependency, name);
        open.push(dependency.as_str());
    }
    while let Some(at) = open.pop() {
        if at == name {
            continue;
        }
        let found = together.jail(at).or_else(|| index.jail(at));
        let further = found.map(|found| &found.spec.depends_on);
        for next in further.into_iter().flatten() {
            if !from.contains_key(next.as_str()) {
                from.insert(next, at);
                open.push(next);
            }
        }
    }
    let mut way = vec![name];
    let mut at = *from.get(name)?;
    while at != name {
        way.push(at);
        at = from.get(at)?;
    }
    way.push(name);
    way.reverse();
    let first = way.get(1)?;
    let mut named = jail.spec.depends_on.iter();
    let place = named.position(|dependency| dependency == first)?;
    Some(Problem::new(
        "DependencyCycle",
        format!("spec.dependsOn[{place}]"),
        format!("jails would wait for each other: {}", way.join(" -> ")),
        "take one of them out of another one's spec.dependsOn",
    ))
}

/// Jails of other hosts that it depends on, or that depend on it.
pub(super) fn of_jail_on(index: &Index, jail: &Jail, host: &str, problems: &mut Vec<Problem>) {
    for (place, name) in jail.spec.depends_on.iter().enumerate() {
        if let Some(other) = index
            .jail(name)
            .and_then(|other| elsewhere(index, other, host))
        {
            problems.push(Problem::new(
                "DependencyElsewhere",
                format!("spec.dependsOn[{place}]"),
                format!("jail {name} is on host {other}, not on {host}"),
                "a jail can depend on jails of its own host only, whose agent keeps the order when no controller is there: name one of these, or have it wait by itself",
            ));
        }
    }
    for dependent in index.depending(&jail.metadata.name) {
        if let Some(other) = elsewhere(index, dependent, host) {
            problems.push(Problem::new(
                "DependencyElsewhere",
                "spec.host",
                format!(
                    "jail {} of host {other} depends on it, not one of {host}",
                    dependent.metadata.name
                ),
                "a jail can depend on jails of its own host only: give both the same spec.host, or take this one out of the other one's spec.dependsOn",
            ));
        }
    }
}

/// The host of a jail, if it is another one. A jail on its way out is in nobody's way.
fn elsewhere<'a>(index: &Index, jail: &'a Jail, host: &str) -> Option<&'a str> {
    let stays = jail.metadata.deletion_timestamp.is_none();
    host_of(index, jail).filter(|other| stays && *other != host)
}

/// The host that a jail has, or is to have.
fn host_of<'a>(index: &Index, jail: &'a Jail) -> Option<&'a str> {
    let bound = jail.binding().filter(|_| !bind::is_forgotten(index, jail));
    let bound = bound.map(|binding| binding.host.as_str());
    bound.or(jail.spec.host.as_deref())
}

/// A jail that it depends on and whose host is not known yet, where it is to follow that one.
pub(crate) fn unplaced<'a>(index: &Index, jail: &'a Jail) -> Option<&'a str> {
    if jail.spec.host.is_some() {
        return None;
    }
    let mut names = jail.spec.depends_on.iter();
    names.find_map(|name| {
        let placed = index.jail(name).and_then(|found| host_of(index, found));
        placed.is_none().then_some(name.as_str())
    })
}
