//! The order of jails among each other (`spec.dependsOn`): a jail starts when those that it depends on are up, and stops before them.
//!
//! A dependency is up when its jail runs, its last start has come to its end, its probes have nothing against it, and it is not about to be stopped. What else its conditions complain of keeps nobody waiting, and a jail
//! that runs is not stopped because one that it depends on goes or is started again. A jail knows its dependencies by the names of the view, so the order holds without a controller.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::{HostView, JailView};

use super::desired::DesiredJail;
use super::held::Held;
use super::teardown::Life;
use super::{Planner, reason};
use crate::observed::ObservedJail;
use crate::op::{Op, Subject};

/// A dependency may wait itself, and its start may fail.
const UNBOUNDED: u64 = 0;

/// Who depends on whom among the jails of a view.
#[derive(Default)]
pub(super) struct Order<'a> {
    /// All jails by name; empty where nobody depends on anybody.
    jails: BTreeMap<&'a str, &'a JailView>,
    /// The jails that depend on one, by its name.
    dependents: BTreeMap<&'a str, Vec<&'a JailView>>,
    /// Names of jails that depend on themselves in the end, and of those that depend on these. The controller refuses circles; two of them may have been told halves of one at once.
    tangled: BTreeSet<&'a str>,
}

/// What a jail finds of one that it depends on.
enum Dependency {
    /// It is up.
    Up,
    /// It will be up by itself, unless its start fails.
    Coming,
    /// It will not: a reason, and what is the matter.
    Out(&'static str, String),
}

impl<'a> Order<'a> {
    pub(super) fn of(view: &'a HostView) -> Self {
        let mut order = Self::default();
        if view
            .jails
            .values()
            .all(|jail| jail.spec.depends_on.is_empty())
        {
            return order;
        }
        for jail in view.jails.values() {
            order.jails.insert(&jail.name, jail);
            for name in &jail.spec.depends_on {
                order.dependents.entry(name).or_default().push(jail);
            }
        }
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for jail in view.jails.values() {
            let names = jail.spec.depends_on.iter().collect::<BTreeSet<_>>();
            let known = names
                .iter()
                .filter(|name| order.jails.contains_key(name.as_str()));
            open.insert(&jail.name, known.count());
        }
        let free = open.iter().filter(|(_, open)| **open == 0);
        let mut free: Vec<&str> = free.map(|(name, _)| *name).collect();
        while let Some(name) = free.pop() {
            open.remove(name);
            let dependents: BTreeSet<&str> = order
                .dependents
                .get(name)
                .into_iter()
                .flatten()
                .map(|jail| jail.name.as_str())
                .collect();
            for dependent in dependents {
                if let Some(count) = open.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(dependent);
                    }
                }
            }
        }
        order.tangled = open.into_keys().collect();
        order
    }

    /// The uids in an order in which everybody comes after those that he depends on, else as they are.
    pub(super) fn arrange<'u>(&self, uids: impl Iterator<Item = &'u Uid>) -> Vec<&'u Uid> {
        let uids: Vec<&Uid> = uids.collect();
        if self.jails.is_empty() {
            return uids;
        }
        let names: BTreeMap<&str, &str> = self
            .jails
            .values()
            .map(|jail| (jail.uid.as_str(), jail.name.as_str()))
            .collect();
        let by_name: BTreeMap<&str, &Uid> = uids
            .iter()
            .filter_map(|uid| Some((*names.get(uid.as_str())?, *uid)))
            .collect();
        let mut arranged = Vec::with_capacity(uids.len());
        let mut seen = BTreeSet::new();
        for uid in uids {
            // One whose dependencies are all before it stands on the stack with `true`.
            let mut stack = vec![(uid, false)];
            while let Some((uid, is_next)) = stack.pop() {
                if is_next {
                    arranged.push(uid);
                    continue;
                }
                if !seen.insert(uid) {
                    continue;
                }
                stack.push((uid, true));
                let name = names.get(uid.as_str());
                let jail = name.and_then(|name| self.jails.get(name));
                let named = jail.into_iter().flat_map(|jail| &jail.spec.depends_on);
                let known = named.filter_map(|name| by_name.get(name.as_str()));
                stack.extend(known.rev().map(|uid| (*uid, false)));
            }
        }
        arranged
    }

    /// The jails that depend on `name` and go before it; none within a circle.
    fn dependents(&self, name: &str) -> impl Iterator<Item = &'a JailView> {
        let dependents = self.dependents.get(name).into_iter().flatten().copied();
        let is_tangled = self.tangled.contains(name);
        dependents.filter(move |jail| !(is_tangled && self.tangled.contains(jail.name.as_str())))
    }

    /// A way along dependencies that leads into a circle and once around it.
    fn circle(&self, name: &str) -> String {
        let mut way = vec![name];
        let mut at = name;
        loop {
            let jail = self.jails.get(at);
            let mut names = jail.into_iter().flat_map(|jail| &jail.spec.depends_on);
            let Some(next) = names.find(|name| self.tangled.contains(name.as_str())) else {
                break;
            };
            let is_closed = way.contains(&next.as_str());
            way.push(next);
            if is_closed {
                break;
            }
            at = next;
        }
        way.join(" -> ")
    }
}

/// The names, under which jls(8) knows them, of the jails that a jail depends on, as far as they are on its host.
pub(super) fn stops_before<'a>(view: &'a HostView, jail: &JailView) -> Vec<&'a str> {
    if jail.spec.depends_on.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<&String> = jail.spec.depends_on.iter().collect();
    let jails = view.jails.values();
    let found = jails.filter(|found| names.contains(&found.name));
    found.map(JailView::jail_name).collect()
}

impl<'a> Planner<'a> {
    /// Whether the start of a jail has to wait for those that it depends on, which is noted.
    pub(super) fn waits_for_dependencies(&mut self, jail: &DesiredJail<'a>) -> bool {
        let subject = Subject::Jail(jail.view.uid.clone());
        if let Some((reason, message)) = self.is_in_circle(jail.view) {
            self.block(&subject, reason, message);
            return true;
        }
        let mut coming = Vec::new();
        for name in &jail.view.spec.depends_on {
            match self.dependency(name) {
                Dependency::Up => {}
                Dependency::Coming => coming.push(format!("`{name}`")),
                Dependency::Out(reason, message) => {
                    self.block(&subject, reason, message);
                    return true;
                }
            }
        }
        if coming.is_empty() {
            return false;
        }
        let message = format!(
            "it depends on jail {}, which is not up yet",
            coming.join(", jail ")
        );
        self.wait(&subject, reason::DEPENDENCY_NOT_READY, message, UNBOUNDED);
        true
    }

    /// Jails that run on as they are because of the order: those whose restart would only stop them, and those that are to stop before a jail that depends on them has.
    pub(super) fn hold_in_order(&self, mut restarting: BTreeMap<&Uid, String>, held: &mut Held) {
        if self.order.jails.is_empty() {
            return;
        }
        restarting.retain(|uid, cause| {
            let Some((reason, message)) = self.refuses_for_dependencies(uid) else {
                return true;
            };
            let message = format!(
                "the change needs a restart ({cause}), and {message}; the jail runs on as it was"
            );
            held.insert((*uid).clone(), (reason, message));
            false
        });
        for jail in self.order.jails.values() {
            let Life::Alive(running) = self.life(&jail.uid) else {
                continue;
            };
            let stops = !self.shall_run(&jail.uid) || restarting.contains_key(&jail.uid);
            if !stops || self.observed.busy.contains_key(&running.name) {
                continue;
            }
            if let Some(first) = self.first_to_stop(jail, &restarting) {
                let message = format!(
                    "it stops when jail `{}`, which depends on it, has stopped",
                    first.name
                );
                held.insert(jail.uid.clone(), (reason::DEPENDENTS_RUNNING, message));
            }
        }
    }

    /// A jail that depends on one that is to stop, is to stop or to start again too, and still stands.
    fn first_to_stop(
        &self,
        jail: &JailView,
        restarting: &BTreeMap<&Uid, String>,
    ) -> Option<&'a JailView> {
        let for_good = !self.shall_run(&jail.uid);
        let mut dependents = self.order.dependents(&jail.name);
        dependents.find(|dependent| {
            let goes = !self.shall_run(&dependent.uid);
            let is_busy = self.observed.busy.contains_key(dependent.jail_name());
            match self.life(&dependent.uid) {
                Life::Busy => goes || !for_good,
                Life::Alive(_) => {
                    goes || !for_good && (is_busy || restarting.contains_key(&dependent.uid))
                }
                Life::Dying | Life::Gone => false,
            }
        })
    }

    /// Why a jail that is stopped now would not start again.
    fn refuses_for_dependencies(&self, uid: &Uid) -> Option<(&'static str, String)> {
        let jail = self.view.jails.get(uid)?;
        if let Some(refused) = self.is_in_circle(jail) {
            return Some(refused);
        }
        let mut names = jail.spec.depends_on.iter();
        names.find_map(|name| match self.dependency(name) {
            Dependency::Up => None,
            Dependency::Coming => {
                let message = format!("it depends on jail `{name}`, which is not up yet");
                Some((reason::DEPENDENCY_NOT_READY, message))
            }
            Dependency::Out(reason, message) => Some((reason, message)),
        })
    }

    fn is_in_circle(&self, jail: &JailView) -> Option<(&'static str, String)> {
        let name = jail.name.as_str();
        self.order.tangled.contains(name).then(|| {
            let message = format!(
                "jails wait for each other: {}; take one of them out of another one's spec.dependsOn",
                self.order.circle(name)
            );
            (reason::DEPENDENCY_CYCLE, message)
        })
    }

    fn dependency(&self, name: &str) -> Dependency {
        let Some(jail) = self.order.jails.get(name) else {
            let message = format!(
                "it depends on jail `{name}`, which this host does not have; apply it, with this host as its spec.host, or take it out of spec.dependsOn"
            );
            return Dependency::Out(reason::DEPENDENCY_MISSING, message);
        };
        let out = |what: &str| {
            let message = format!("it depends on jail `{name}`, which {what}");
            Dependency::Out(reason::DEPENDENCY_NOT_READY, message)
        };
        if jail.deleting {
            return out("is being deleted");
        }
        if jail.spec.run_policy == RunPolicy::Stopped {
            return out("is stopped (spec.runPolicy)");
        }
        let subject = Subject::Jail(jail.uid.clone());
        match self.life(&jail.uid) {
            Life::Busy => Dependency::Coming,
            Life::Alive(running) => {
                if self.stays_up(&subject, running) && self.is_well(&jail.uid, running) {
                    Dependency::Up
                } else {
                    Dependency::Coming
                }
            }
            Life::Dying | Life::Gone => {
                let bound = jail.binding.attachments.iter();
                let mut networks = bound.filter_map(|bound| {
                    let network = self.view.networks.get(&bound.network)?;
                    Some((&bound.network, Subject::Network(network.uid.clone())))
                });
                if self.is_blocked(&subject) {
                    out("cannot start; its own conditions say why")
                } else if let Some((network, _)) =
                    networks.find(|(_, network)| self.is_blocked(network))
                {
                    out(&format!(
                        "cannot start: network `{network}` is not in order, and the jail's conditions say why"
                    ))
                } else {
                    Dependency::Coming
                }
            }
        }
    }

    /// Whether a jail runs, its start has come to its end, and it goes on running.
    pub(super) fn is_up(&self, uid: &Uid) -> bool {
        match self.life(uid) {
            Life::Alive(running) => self.stays_up(&Subject::Jail(uid.clone()), running),
            Life::Busy | Life::Dying | Life::Gone => false,
        }
    }

    /// What is repaired at a jail that runs, or waited for, keeps nobody waiting: it may never come to an end.
    fn stays_up(&self, subject: &Subject, running: &ObservedJail) -> bool {
        let held = self.blocked.of(subject);
        let held = held.is_some_and(|found| found.reason == reason::DEPENDENTS_RUNNING);
        let mut steps = self.steps.iter();
        let stops = held
            || steps.any(|(_, step)| {
                step.subject == *subject && matches!(step.op, Op::StopJail { .. })
            });
        !stops && !self.observed.busy.contains_key(&running.name) && !self.is_half_made(running)
    }
}
