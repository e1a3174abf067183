//! What stands and shall not: jails that are to go, and everything that they leave. Only things with our mark, or in the ledger, are looked at.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::RunPolicy;

use super::desired::{DesiredJail, DesiredLink};
use super::phase::Phase;
use super::{JID, PF_MAIN, PF_RULES, Planner, STDERR, reason};
use crate::ledger::{Owned, OwnedJail};
use crate::mark::{Mark, Role, Written};
use crate::names;
use crate::observed::{Interface, ObservedJail};
use crate::op::{Op, Record, Subject, Waiting};

/// How long a removed jail with an open TCP connection stays. A connection that the other side never closes is forgotten in FIN_WAIT_2 after TP_MAXIDLE (8 × 75 s) and one more 75 s
/// (`tcp_timer_2msl`, sys/netinet/tcp_timer.c), one whose last segment nobody acknowledges after 13 timeouts of at most 64 s (TCP_MAXRXTSHIFT, TCPTV_REXMTMAX); and a little.
pub(super) const DYING_MS_MAX: u64 = 900_000;

/// How long the hooks of a jail may take before they are killed (the adapter's bound on jail(8)), and a little.
pub(super) const BUSY_MS_MAX: u64 = 660_000;

/// How large a console log may become before it is emptied, in octets: with what is kept of it, a jail takes twice this on the agent's disk, and what it writes between two looks.
const CONSOLE_BYTES_MAX: u64 = 1 << 20;

/// What is left of a jail in the kernel.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Life<'a> {
    /// It runs.
    Alive(&'a ObservedJail),
    /// Its hooks run: it is not there yet, or not there any more.
    Busy,
    /// It was removed and something still holds it. Nothing that we make has to wait for that: its name is free (the siblings' loop of `kern_jail_set`, sys/kern/kern_jail.c, with
    /// `JAIL_CREATE` only an active one is in the way, in 13.2 as in 15.1), its addresses are nobody's (`prison_ip_conflict_check`), and the epair that it holds goes with its host end:
    /// vnet_destroy and the destruction of a clone exclude each other (`ifnet_detach_sxlock`, sys/net/vnet.c, sys/net/if_clone.c). Only its root stays held.
    Dying,
    /// Nothing.
    Gone,
}

impl<'a> Planner<'a> {
    /// What is left of the jail `uid` in the kernel.
    pub(super) fn life(&self, uid: &Uid) -> Life<'a> {
        let mut life = Life::Gone;
        for jail in self.index.incarnations(uid) {
            if jail.dying {
                life = Life::Dying;
            } else {
                return Life::Alive(jail);
            }
        }
        let busy = |ours: &OwnedJail| self.observed.busy.contains_key(&ours.name);
        if self.ledger.jails.get(uid).is_some_and(busy) {
            Life::Busy
        } else {
            life
        }
    }

    /// Whether the kernel runs nothing of the jail any more, and neither do we.
    pub(super) fn is_over(&self, uid: &Uid) -> bool {
        match self.life(uid) {
            Life::Alive(_) | Life::Busy => false,
            Life::Dying | Life::Gone => true,
        }
    }

    /// Waits for the hooks of a jail that an earlier operation is starting or stopping.
    pub(super) fn wait_for_busy(&mut self, uid: &Uid, name: &str) {
        let subject = Subject::Jail(uid.clone());
        let is_said = |found: &Waiting| found.subject == subject && found.reason == reason::BUSY;
        if self.waiting.iter().any(is_said) {
            return;
        }
        let verb = self.observed.busy.get(name).map_or("busy", String::as_str);
        let message = format!("the jail is {verb}: its hooks run");
        self.wait(&subject, reason::BUSY, message, BUSY_MS_MAX);
    }

    /// Whether the view wants the jail to run, blocked or not.
    pub(super) fn shall_run(&self, uid: &Uid) -> bool {
        self.view
            .jails
            .get(uid)
            .is_some_and(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped)
    }

    pub(super) fn plan_teardown(&mut self) {
        let observed = self.observed;
        for jail in observed.jails.iter().filter(|jail| !jail.dying) {
            let owner = self.index.owner_of(jail).map(|uid| Uid(uid.to_owned()));
            if let Some(uid) = owner.filter(|uid| !self.shall_run(uid)) {
                if self.observed.busy.contains_key(&jail.name) {
                    self.wait_for_busy(&uid, &jail.name);
                } else {
                    self.plan_stop(&uid, jail, None);
                }
            }
        }
        for jail in observed.jails.iter().filter(|jail| jail.dying) {
            let owner = self.index.owner_of(jail).map(|uid| Uid(uid.to_owned()));
            if let Some(uid) = owner.filter(|uid| !self.shall_run(uid)) {
                self.wait_for_dying(&uid);
            }
        }
        for uid in self.view.jails.keys() {
            if !self.shall_run(uid) && self.life(uid) == Life::Busy {
                self.wait_for_own_hooks(uid);
            }
        }
        self.plan_leftover_mounts();
        self.plan_leftover_aliases();
        self.plan_leftover_epairs();
        self.plan_leftover_host_ends();
        self.plan_leftover_nics();
        self.plan_leftover_nodes();
        self.plan_leftover_switches();
        self.plan_leftover_uplinks();
        self.plan_leftover_roots();
        self.plan_leftover_files();
    }

    /// Stops a jail: for good, or to start it again, for `restart`'s reason. Its connections live as long as it does, so that `exec.stop` can end them in order.
    pub(super) fn plan_stop(&mut self, uid: &Uid, jail: &ObservedJail, restart: Option<String>) {
        let subject = Subject::Jail(uid.clone());
        let ours = self.ledger.jails.get(uid);
        let conf = ours.map_or_else(|| self.settings.conf(&jail.name), |ours| ours.conf.clone());
        let conf = self.observed.files.contains_key(&conf).then_some(conf);
        let reason = restart.clone().unwrap_or_default();
        let record = ours.filter(|ours| ours.restart != reason).map(|ours| {
            let remembered = OwnedJail {
                restart: reason,
                ..ours.clone()
            };
            Record::Jail(uid.clone(), remembered)
        });
        self.plan_return_nics(jail, |_| true);
        let op = Op::StopJail {
            name: jail.name.clone(),
            jid: jail.jid,
            conf,
            restart,
        };
        self.step(Phase::StopJail, &subject, op)
            .record
            .extend(record);
    }

    /// Of a jail that is dying too, as jail(8) itself does it: a new self starts beside the dying one, and the ledger forgets then what the former one had mounted.
    fn plan_leftover_mounts(&mut self) {
        let (ledger, observed) = (self.ledger, self.observed);
        let over = ledger.jails.iter().filter(|(uid, _)| self.is_over(uid));
        let left: BTreeMap<&str, &Uid> = over
            .flat_map(|(uid, ours)| ours.mounts.iter().map(move |target| (target.as_str(), uid)))
            .collect();
        for mount in observed.mounts.iter().rev() {
            let Some(uid) = left.get(mount.target.as_str()) else {
                continue;
            };
            let op = Op::Unmount {
                target: mount.target.clone(),
            };
            self.step(Phase::Unmount, &Subject::Jail((*uid).clone()), op);
        }
    }

    fn plan_leftover_epairs(&mut self) {
        let observed = self.observed;
        for interface in &observed.interfaces {
            let Some((uid, link)) = self.host_end(interface) else {
                continue;
            };
            let subject = Subject::Jail(uid.clone());
            let name = &interface.name;
            let half_made = !self.is_host_end_of(&uid, &link, name);
            let wanted = self
                .desired
                .jails
                .get(&uid)
                .is_some_and(|jail| jail.has_link(name));
            if !half_made
                && (wanted || (self.shall_run(&uid) && !self.desired.jails.contains_key(&uid)))
            {
                continue;
            }
            let waits_for_stop = match self.life(&uid) {
                Life::Alive(jail) => jail.vnet && !self.shall_run(&uid),
                Life::Busy => {
                    self.wait_for_own_hooks(&uid);
                    true
                }
                // Whatever is left of it reaches nobody from here on.
                Life::Dying | Life::Gone => false,
            };
            if half_made || !waits_for_stop {
                self.plan_destroy_epair(&subject, interface);
            }
        }
    }

    /// Whether an incarnation of the jail is dying, beside a running one or alone.
    pub(super) fn has_dying(&self, uid: &Uid) -> bool {
        self.index.incarnations(uid).any(|jail| jail.dying)
    }

    /// The jail and attachment whose epair's host end `interface` is, by mark and name.
    pub(super) fn host_end(&self, interface: &Interface) -> Option<(Uid, String)> {
        let mark = Mark::parse(interface.description.as_deref()?)?;
        if mark.cluster != self.view.cluster {
            return None;
        }
        let Role::HostEnd(link) = mark.role else {
            return None;
        };
        let ours = self.is_host_end_of(&mark.uid, &link, &interface.name)
            || is_driver_name(&interface.name, "epair");
        ours.then_some((mark.uid, link))
    }

    /// Whether `name` is that of the host end of an attachment's epair. Of an attachment that shall stand the name is known already.
    fn is_host_end_of(&self, uid: &Uid, link: &str, name: &str) -> bool {
        let jail = self.desired.jails.get(uid);
        let mut links = jail.map_or(&[][..], DesiredJail::links).iter();
        let wanted = links.find(|wanted| wanted.interface == link);
        match wanted.and_then(DesiredLink::epair) {
            Some(epair) => epair.host_end == name,
            None => names::epair_host_end(uid, link) == name,
        }
    }

    pub(super) fn plan_destroy_epair(&mut self, subject: &Subject, interface: &Interface) {
        if self.index.is_ambiguous(&interface.name) {
            let message = format!(
                "two interfaces are called `{}`, one of them came back from a jail; destroy the one that is no host end of an epair",
                interface.name
            );
            return self.block(subject, reason::AMBIGUOUS_INTERFACE, message);
        }
        let description = interface.description.clone().unwrap_or_default();
        self.step(
            Phase::DestroyEpair,
            subject,
            Op::DestroyInterface {
                name: interface.name.clone(),
                description,
            },
        );
    }

    /// Waits for the kernel to let go of a jail that shall not run. One that is to go altogether is not waited for: with its interfaces and addresses it has lost everything that somebody
    /// else could be given.
    fn wait_for_dying(&mut self, uid: &Uid) {
        if self.life(uid) == Life::Busy {
            return self.wait_for_own_hooks(uid);
        }
        if self.has_eiface(uid) {
            return self.wait_for_eiface(uid);
        }
        if self.wait_for_nic(uid) {
            return;
        }
        let stays = self.view.jails.get(uid).is_some_and(|jail| !jail.deleting);
        if !stays || self.life(uid) != Life::Dying || !self.waits_for_dying.insert(uid.clone()) {
            return;
        }
        let message = "the jail was removed and the kernel still holds it and its root, as for an open TCP connection (jls -d shows it); its interfaces and addresses are gone".to_owned();
        let subject = Subject::Jail(uid.clone());
        self.wait(&subject, reason::DYING, message, DYING_MS_MAX);
    }

    /// Waits for the hooks of a jail under the name that the ledger has for it.
    pub(super) fn wait_for_own_hooks(&mut self, uid: &Uid) {
        if let Some(name) = self.ledger.jails.get(uid).map(|ours| ours.name.clone()) {
            self.wait_for_busy(uid, &name);
        }
    }

    fn plan_leftover_switches(&mut self) {
        let (view, observed) = (self.view, self.observed);
        let used = self.used_networks();
        let networks: BTreeMap<&Uid, &str> = view
            .networks
            .values()
            .map(|network| (&network.uid, network.name.as_str()))
            .collect();
        let named = |uid: &Uid| networks.get(uid).copied();
        for interface in &observed.interfaces {
            let description = interface.description.as_deref();
            let written =
                description.filter(|text| Written::read(text).is_some_and(|mark| mark.is_switch()));
            let Some(mark) = written.and_then(Mark::parse) else {
                continue;
            };
            if mark.cluster != self.view.cluster {
                continue;
            }
            let (name, driver, wanted) = match mark.role {
                Role::Bridge => (
                    names::bridge(&mark.uid),
                    "bridge",
                    self.desired.bridges.contains_key(&interface.name),
                ),
                Role::Loopback => (
                    names::loopback(&mark.uid),
                    "lo",
                    self.desired.loopbacks.contains_key(&interface.name),
                ),
                Role::Port
                | Role::Lagg(_)
                | Role::Vlan(_)
                | Role::HostEnd(_)
                | Role::JailEnd(_) => continue,
            };
            let half_made = is_driver_name(&interface.name, driver);
            if wanted
                || self.is_held_switch(interface)
                || (interface.name != name && !half_made)
                || !half_made && named(&mark.uid).is_some_and(|name| used.contains(name))
            {
                continue;
            }
            self.plan_destroy_switch(&mark.uid, interface);
        }
    }

    /// The names of the networks that a jail of the view is attached to which shall run, blocked or not, or which still runs.
    pub(super) fn used_networks(&self) -> BTreeSet<&'a str> {
        let view = self.view;
        view.jails
            .values()
            .filter(|jail| self.shall_run(&jail.uid) || !self.is_over(&jail.uid))
            .flat_map(|jail| &jail.binding.attachments)
            .map(|attachment| attachment.network.as_str())
            .collect()
    }

    fn plan_destroy_switch(&mut self, network: &Uid, interface: &Interface) {
        let subject = Subject::Network(network.clone());
        let ledger = self.ledger;
        let mut ours = BTreeSet::new();
        for owned in &ledger.owned {
            if let Owned::Member { bridge, member } = owned
                && *bridge == interface.name
                && interface.members.contains_key(member)
            {
                ours.insert(member.clone());
                let op = Op::RemoveMember {
                    bridge: bridge.clone(),
                    member: member.clone(),
                };
                self.step(Phase::RemoveMember, &subject, op)
                    .forget
                    .push(Record::Owned(owned.clone()));
                self.plan_bring_down(&subject, member);
            }
        }
        let stays: Vec<String> = interface
            .members
            .keys()
            .filter(|member| !ours.contains(*member) && !self.going.contains(*member))
            .cloned()
            .collect();
        let marked = |member: &String| {
            self.index
                .interfaces_named(member)
                .any(|found| found.description.as_deref().and_then(Mark::parse).is_some())
        };
        let strangers: Vec<&str> = stays
            .iter()
            .filter(|member| !marked(member))
            .map(String::as_str)
            .collect();
        if !strangers.is_empty() {
            let message = format!(
                "bridge `{}` is no longer needed, but somebody made {} a member of it; take it out (ifconfig {} deletem {})",
                interface.name,
                strangers.join(", "),
                interface.name,
                strangers[0]
            );
            return self.block(&subject, reason::UPLINK_IN_USE, message);
        }
        if !stays.is_empty() {
            return;
        }
        if self.index.is_ambiguous(&interface.name) {
            let message = format!(
                "two interfaces are called `{}`, one of them came back from a jail",
                interface.name
            );
            return self.block(&subject, reason::AMBIGUOUS_INTERFACE, message);
        }
        let kept: Vec<String> = interface
            .addresses
            .iter()
            .filter(|entry| {
                entry.scope.is_none() && !self.is_owned_address(&interface.name, entry.address)
            })
            .map(|entry| entry.address.to_string())
            .collect();
        if !kept.is_empty() {
            let message = format!(
                "`{}` is no longer needed, but somebody put {} on it; take it off",
                interface.name,
                kept.join(", ")
            );
            return self.block(&subject, reason::ADDRESS_TAKEN, message);
        }
        let description = interface.description.clone().unwrap_or_default();
        self.step(
            Phase::DestroyInterface,
            &subject,
            Op::DestroyInterface {
                name: interface.name.clone(),
                description,
            },
        );
    }

    /// Bounds a console log, whatever the jail writes.
    fn plan_console(&mut self, path: &str) {
        let size = self.observed.consoles.get(path);
        if size.is_some_and(|size| *size > CONSOLE_BYTES_MAX) {
            let subject = Subject::HostPart(format!("file {path}"));
            let path = path.to_owned();
            self.step(Phase::WriteFile, &subject, Op::RotateConsole { path });
        }
    }

    /// What a jail(8) has left that an agent which is no more had begun. Only that a start was cut off is worth keeping, as long as the jail, `standing`, is there.
    fn plan_work_file(&mut self, path: &str, standing: Option<&str>) {
        if path.ends_with(JID) && standing.is_some_and(|name| self.was_cut_off(name)) {
            return;
        }
        let op = Op::RemoveFile {
            path: path.to_owned(),
        };
        let subject = Subject::HostPart(format!("file {path}"));
        self.step(Phase::RemoveFile, &subject, op);
    }

    /// The rules that a jail's own pf was given at its start, which nobody needs once the next start is without them.
    fn plan_pf_file(&mut self, path: &str, is_used: bool) {
        if is_used {
            return;
        }
        let op = Op::RemoveFile {
            path: path.to_owned(),
        };
        let subject = Subject::HostPart(format!("file {path}"));
        self.step(Phase::RemoveFile, &subject, op);
    }

    fn plan_leftover_files(&mut self) {
        let (ledger, observed) = (self.ledger, self.observed);
        let staying = self.view.jails.values().filter(|jail| !jail.deleting);
        let staying: BTreeSet<&str> = staying.map(|jail| jail.jail_name()).collect();
        let present: BTreeSet<&str> = observed
            .jails
            .iter()
            .filter(|jail| !jail.dying && self.index.owner_of(jail).is_some())
            .map(|jail| jail.name.as_str())
            .collect();
        let filtered = self.view.jails.values();
        let filtered =
            filtered.filter(|jail| !jail.deleting && jail.spec.firewall_inside().is_some());
        let filtered: BTreeSet<&str> = filtered.map(|jail| jail.jail_name()).collect();
        let mut owners: BTreeMap<&str, (&Uid, &OwnedJail)> = BTreeMap::new();
        for (uid, ours) in &ledger.jails {
            owners.entry(&ours.conf).or_insert((uid, ours));
        }
        for path in observed.files.keys() {
            let name = self.settings.jail_of(path);
            // While jail(8) works, its files are its own.
            if name.is_some_and(|name| observed.busy.contains_key(name)) {
                continue;
            }
            if path.ends_with(STDERR) || path.ends_with(JID) {
                self.plan_work_file(path, name.filter(|name| present.contains(name)));
                continue;
            }
            if path.ends_with(PF_RULES) || path.ends_with(PF_MAIN) {
                let is_used = name.is_some_and(|name| filtered.contains(name));
                self.plan_pf_file(path, is_used);
                continue;
            }
            if name.is_some_and(|name| staying.contains(name) || present.contains(name)) {
                self.plan_console(path);
                continue;
            }
            let owner = owners.get(path.as_str()).copied();
            // Where jails have no mark, only the ledger tells whose a dying one is that is waited for, and nothing else whose node cannot be seen.
            let is_kept = |uid| {
                !self.is_over(uid)
                    || self.waits_for_dying.contains(uid)
                    || self.observed.netgraph.unread.is_some() && self.has_eiface(uid)
            };
            if owner.is_some_and(|(uid, _)| is_kept(uid)) {
                continue;
            }
            let subject = owner.map_or_else(
                || Subject::HostPart(format!("file {path}")),
                |(uid, _)| Subject::Jail(uid.clone()),
            );
            // Before the addresses can be given to somebody else, and not before the jail has ended, which could make them anew. One jail after the other, because nothing but the file that
            // is gone shows that it was done.
            if let Some((_, ours)) = owner.filter(|_| self.observed.pf.has_states_to_kill()) {
                for address in ours.addresses.iter().chain(&ours.former) {
                    let op = Op::KillStates { address: *address };
                    self.step(Phase::RemoveFile, &subject, op);
                }
            }
            // While an address of it stands on the host the ledger knows whose it was.
            let forget = owner
                .filter(|(_, ours)| !ours.has_aliases(ledger))
                .map(|(uid, ours)| Record::Jail(uid.clone(), ours.clone()));
            self.step(
                Phase::RemoveFile,
                &subject,
                Op::RemoveFile { path: path.clone() },
            )
            .forget
            .extend(forget);
        }
    }
}

/// Whether `name` is what the driver called a clone that nobody has renamed yet: `epair7a`, `bridge0`, `lo3`.
pub(super) fn is_driver_name(name: &str, driver: &str) -> bool {
    let Some(rest) = name.strip_prefix(driver) else {
        return false;
    };
    let digits = if driver == "epair" {
        rest.strip_suffix('a')
    } else {
        Some(rest)
    };
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
