//! Jails: what each needs before it starts, its start, and what drifted around and inside a running one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::Addressing;
use cellblock_schemas::net::{Family, is_link_local};
use cellblock_schemas::validate::parameters;

use super::desired::{Attach, DesiredAlias, DesiredJail, DesiredLink, Networking};
use super::networks::Standing;
use super::nics;
use super::phase::Phase;
use super::teardown::Life;
use super::{Planner, reason};
use crate::image::BASEJAIL;
use crate::ledger::{Owned, OwnedJail};
use crate::observed::{Address, Interface, ObservedJail, Vnet, is_only_way};
use crate::op::{Epair, MemberFlag, Op, Record, Subject};
use crate::render::digest::{self, Meaning};
use crate::render::jailconf;

/// Why a jail is started again whose last start was cut off.
const CUT_OFF: &str = "its last start did not come to its end";

/// An interface that is made, or gets its first address, shows its index in the next look.
const SCOPE_MS_MAX: u64 = 5_000;

/// DAD takes about a second (recording `12`); the kernel may delay its probe by another.
const DAD_MS_MAX: u64 = 5_000;

impl DesiredJail<'_> {
    /// Its interfaces, if it has a network stack of its own.
    pub(super) fn links(&self) -> &[DesiredLink] {
        match &self.networking {
            Networking::Vnet { links } => links,
            Networking::None | Networking::Shared { .. } => &[],
        }
    }

    /// The NICs that it shall have for itself, by their names on the host.
    pub(super) fn nics(&self) -> impl Iterator<Item = &str> {
        self.links().iter().filter_map(|link| match &link.attach {
            Attach::Passed(nic) => Some(nic.interface.as_str()),
            Attach::Bridged { .. } | Attach::Routed { .. } | Attach::Switched(_) => None,
        })
    }

    /// Whether it has an interface at a netgraph switch.
    fn is_switched(&self) -> bool {
        let mut links = self.links().iter();
        links.any(|link| matches!(link.attach, Attach::Switched(_)))
    }

    /// Whether the epair with that host end is one of its own.
    pub(super) fn has_link(&self, host_end: &str) -> bool {
        let mut epairs = self.links().iter().filter_map(DesiredLink::epair);
        epairs.any(|epair| epair.host_end == host_end)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let of_links = self
            .links()
            .iter()
            .flat_map(|link| link.addresses.iter().map(|(address, _)| *address))
            .filter(|address| !is_link_local(*address));
        self.aliases
            .iter()
            .map(|alias| alias.address)
            .chain(of_links)
            .collect()
    }

    /// What only a restart changes, by field of the manifest.
    pub(super) fn fields(&self) -> BTreeMap<String, String> {
        Meaning::of(self.view, &self.path, &self.networking).fields()
    }

    fn ledger_entry(&self) -> OwnedJail {
        let base = self.base.iter();
        let own = self.view.spec.mounts.iter();
        let mut mounts: Vec<String> = base
            .map(|_| jailconf::mount_target(&self.path, BASEJAIL))
            .chain(own.map(|mount| jailconf::mount_target(&self.path, &mount.target)))
            .collect();
        for (parameter, target) in [
            ("mount.devfs", "dev"),
            ("mount.fdescfs", "dev/fd"),
            ("mount.procfs", "proc"),
        ] {
            if parameters::is_on(&self.view.spec, parameter) {
                mounts.push(jailconf::mount_target(&self.path, target));
            }
        }
        OwnedJail {
            name: self.view.jail_name().to_owned(),
            jid: 0,
            hash: self.conf.digest.clone(),
            path: self.path.clone(),
            root: self.root.clone(),
            fields: self.fields(),
            mounts,
            addresses: self.addresses(),
            attachments: self.view.binding.attachments.clone(),
            conf: self.conf_path.clone(),
            ..OwnedJail::default()
        }
    }
}

impl<'a> Planner<'a> {
    pub(super) fn plan_jails(&mut self) {
        let jails = std::mem::take(&mut self.desired.jails);
        for uid in self.order.arrange(jails.keys()) {
            let Some(jail) = jails.get(uid) else {
                continue;
            };
            let first = self.steps.len();
            self.plan_jail(uid, jail);
            for (_, step) in &mut self.steps[first..] {
                step.needs
                    .extend(jail.networks.iter().cloned().map(Subject::Network));
            }
        }
        self.desired.jails = jails;
    }

    fn plan_jail(&mut self, uid: &Uid, jail: &DesiredJail<'a>) {
        let subject = Subject::Jail(uid.clone());
        let name = jail.view.jail_name();
        if self.observed.busy.contains_key(name) {
            return self.wait_for_busy(uid, name);
        }
        if let Some(other) = self.stranger_called(name, uid) {
            let message = format!(
                "a jail called `{name}` (jid {}) runs on this host and is not ours; remove it, or give this one another spec.jailName",
                other.jid
            );
            return self.block(&subject, reason::NAME_TAKEN, message);
        }
        match self.life(uid) {
            Life::Alive(running) => self.plan_running(uid, jail, running),
            Life::Busy => self.wait_for_own_hooks(uid),
            Life::Dying if jail.is_switched() && self.has_eiface(uid) => self.wait_for_eiface(uid),
            Life::Dying | Life::Gone if !self.plan_root(jail) => {}
            Life::Dying | Life::Gone if self.waits_for_dependencies(jail) => {}
            Life::Dying | Life::Gone => self.plan_start(uid, jail),
        }
    }

    /// The living jail of that name, if it is not the jail `uid`.
    pub(super) fn stranger_called(&self, name: &str, uid: &Uid) -> Option<&'a ObservedJail> {
        let living = self.index.living(name);
        living.filter(|jail| self.index.owner_of(jail) != Some(uid.as_str()))
    }

    fn plan_running(&mut self, uid: &Uid, jail: &DesiredJail<'a>, running: &'a ObservedJail) {
        let subject = Subject::Jail(uid.clone());
        if self.is_half_made(running) {
            return self.plan_stop(uid, running, Some(CUT_OFF.to_owned()));
        }
        if let Some(cause) = self.revival(uid, jail, running) {
            return self.plan_revival(uid, running, cause);
        }
        let live = match self.changes_of(uid, jail, running) {
            Ok(live) => live,
            Err(cause) => return self.plan_stop(uid, running, Some(cause)),
        };
        self.check_mounts(uid, running);
        self.plan_live(uid, jail, running, &live);
        if !self.ledger.jails.contains_key(uid) {
            // The mark says that the jail is ours and the ledger does not know it: the file's rewrite records it.
            let op = Op::WriteFile {
                path: jail.conf_path.clone(),
                content: jail.conf.text.clone(),
            };
            let record = Record::Jail(
                uid.clone(),
                OwnedJail {
                    jid: running.jid,
                    ..jail.ledger_entry()
                },
            );
            let nics = self.unknown_nics(jail, running);
            let step = self.step(Phase::WriteFile, &subject, op);
            step.record.push(record);
            step.record.extend(nics);
        } else if jail.networking.unknown_zone().is_none() {
            let entry = self.entry_of_change(uid, jail);
            let record = entry.map(|entry| Record::Jail(uid.clone(), entry));
            self.plan_file(&subject, jail, record);
        }
        for alias in &jail.aliases {
            self.plan_alias(uid, alias, true);
        }
        for link in jail.links() {
            if let Some(message) = self.stranger_beside(link) {
                self.block(&subject, reason::ADDRESS_TAKEN, message);
                continue;
            }
            match &link.attach {
                Attach::Bridged { epair, .. } | Attach::Routed { epair, .. } => {
                    self.plan_running_epair(&subject, jail, link, epair, running);
                }
                Attach::Switched(eiface) => {
                    self.plan_running_switched(&subject, jail, link, eiface, running);
                }
                Attach::Passed(nic) => {
                    self.plan_running_nic(&subject, jail, link, nic, running);
                }
            }
        }
        self.plan_other_nics(jail, running);
        if !jail.links().is_empty() {
            self.plan_loopback_inside(&subject, jail.view.jail_name(), running);
        }
        self.plan_own_pf(uid, running);
    }

    /// The parameters to change in a running jail.
    ///
    /// # Errors
    /// Why it must be started again instead.
    pub(super) fn changes_of(
        &self,
        uid: &Uid,
        jail: &DesiredJail<'a>,
        running: &ObservedJail,
    ) -> Result<BTreeSet<String>, String> {
        let ours = self.ledger.jails.get(uid);
        let marked = running.meta.as_ref().map(|meta| &meta.hash);
        let started_with = marked.or(ours.map(|ours| &ours.hash));
        let mut live = ours.map(|ours| ours.changing.clone()).unwrap_or_default();
        if started_with != Some(&jail.conf.digest) {
            let fields = jail.fields();
            let known = ours.filter(|ours| Some(&ours.hash) == started_with);
            let known = known.filter(|ours| !ours.fields.is_empty());
            let changes = known.and_then(|ours| digest::live_changes(&ours.fields, &fields));
            let Some(changes) = changes else {
                let unknown = BTreeMap::new();
                let before = ours.map_or(&unknown, |ours| &ours.fields);
                return Err(digest::cause(before, &fields));
            };
            live.extend(changes.into_iter().map(str::to_owned));
        }
        match jail.networking.other_zone(running) {
            Some(cause) => Err(cause),
            None => Ok(live),
        }
    }

    /// Mounts of a running jail that somebody has taken away. Nothing mounts them again beneath programs that run: it is told.
    fn check_mounts(&mut self, uid: &Uid, running: &ObservedJail) {
        let Some(ours) = self.ledger.jails.get(uid) else {
            return;
        };
        let missing: Vec<&str> = ours
            .mounts
            .iter()
            .filter(|target| !self.index.is_mounted(target))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "not mounted any more: {}; mount it again, or have the jail started anew (jail -r {})",
                missing.join(", "),
                running.name
            );
            self.block(&Subject::Jail(uid.clone()), reason::MOUNT_MISSING, message);
        }
    }

    /// Whether jail(8) began to start it, has not come to the end of `exec.start` and `exec.poststart`, and does not work on it any more: it was killed, as where memory ran out.
    /// The kernel shows such a jail as any other. Where there is no such file, as for jails that an older agent started, nothing says so.
    pub(super) fn is_half_made(&self, running: &ObservedJail) -> bool {
        self.was_cut_off(&running.name) && !self.observed.busy.contains_key(&running.name)
    }

    pub(super) fn was_cut_off(&self, name: &str) -> bool {
        let text = self.observed.files.get(&self.settings.jid_file(name));
        text.is_some_and(|text| text.trim().is_empty())
    }

    /// The loopback of a running VNET jail, as `exec.created` left it.
    fn plan_loopback_inside(&mut self, subject: &Subject, jail: &str, running: &ObservedJail) {
        let observed = self.observed;
        let inside = observed.vnets.get(&running.jid);
        let Some(loopback) = inside.and_then(|vnet| {
            let mut interfaces = vnet.interfaces.iter();
            interfaces.find(|interface| interface.name == jailconf::LOOPBACK)
        }) else {
            return;
        };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if loopback.address(address).is_none() || !loopback.is_up() {
            let op = Op::AddAddressInVnet {
                jail: jail.to_owned(),
                interface: jailconf::LOOPBACK.to_owned(),
                address,
                prefix_length: jailconf::LOOPBACK_PREFIX_LENGTH,
            };
            self.step(Phase::RepairVnet, subject, op);
        }
    }

    fn plan_file(&mut self, subject: &Subject, jail: &DesiredJail<'a>, record: Option<Record>) {
        if record.is_some() || self.observed.files.get(&jail.conf_path) != Some(&jail.conf.text) {
            let op = Op::WriteFile {
                path: jail.conf_path.clone(),
                content: jail.conf.text.clone(),
            };
            let step = self.step(Phase::WriteFile, subject, op);
            step.record.extend(record);
        }
        self.plan_files_inside(subject, jail);
    }

    fn plan_start(&mut self, uid: &Uid, jail: &DesiredJail<'a>) {
        let subject = Subject::Jail(uid.clone());
        let (first, waiting) = (self.steps.len(), self.waiting.len());
        let mut records = Vec::new();
        for alias in &jail.aliases {
            self.plan_alias(uid, alias, false);
        }
        for link in jail.links() {
            if let Some(message) = self.stranger_beside(link) {
                self.block(&subject, reason::ADDRESS_TAKEN, message);
                continue;
            }
            match &link.attach {
                Attach::Bridged { epair, .. } | Attach::Routed { epair, .. } => {
                    self.plan_new_epair(&subject, epair, &link.attach);
                }
                Attach::Switched(eiface) => self.plan_new_switched(&subject, eiface),
                Attach::Passed(nic) => records.extend(self.plan_new_nic(&subject, nic)),
            }
        }
        if self.is_blocked(&subject)
            || jail
                .networks
                .iter()
                .any(|network| self.is_blocked(&Subject::Network(network.clone())))
        {
            self.steps.truncate(first);
            self.waiting.truncate(waiting);
            return;
        }
        if let Some(interface) = jail.networking.unknown_zone() {
            let message = format!(
                "the index of `{interface}`, which is part of the jail's link-local addresses"
            );
            self.wait(&subject, reason::SCOPE_PENDING, message, SCOPE_MS_MAX);
            return;
        }
        self.plan_file(&subject, jail, None);
        if self.waiting.len() > waiting {
            return;
        }
        let op = Op::StartJail {
            name: jail.view.jail_name().to_owned(),
            conf: jail.conf_path.clone(),
        };
        let entry = self.entry_of_start(uid, jail);
        let launch = self.steps.len();
        let filtered = self.started_inside(uid);
        self.plan_former_states(uid, &entry);
        let step = self.step(Phase::StartJail, &subject, op);
        step.record.push(Record::Jail(uid.clone(), entry));
        step.record.extend(records);
        step.record.extend(filtered);
        // What is done for the start alone waits with it, or it would be done over and over meanwhile.
        let mut needs: Vec<Subject> = jail.nics().map(nics::subject).collect();
        needs.extend(self.table_needs(jail));
        needs.extend(self.anchors_of_firewall(uid));
        needs.extend(self.anchors_of_isolation(uid));
        for (_, step) in &mut self.steps[launch..] {
            step.needs.extend(needs.iter().cloned());
        }
        let interfaces: BTreeSet<&str> = jail
            .aliases
            .iter()
            .map(|alias| alias.interface.as_str())
            .collect();
        let interfaces = interfaces.into_iter();
        let uplinks: Vec<Subject> = interfaces
            .flat_map(|interface| self.uplink_needs(interface))
            .collect();
        for (_, step) in &mut self.steps[first..] {
            step.needs.extend(uplinks.iter().cloned());
        }
    }

    /// What the ledger says of a jail from its start on: with addresses that it had before and that still stand, and with the reason for which it was stopped if this start is the answer to it.
    fn entry_of_start(&self, uid: &Uid, jail: &DesiredJail<'a>) -> OwnedJail {
        let mut entry = jail.ledger_entry();
        if self.was_cut_off(&entry.name) {
            CUT_OFF.clone_into(&mut entry.restart);
        }
        let Some(before) = self.ledger.jails.get(uid) else {
            return entry;
        };
        let given_up = before.addresses.iter().chain(&before.former);
        entry.former = given_up
            .filter(|address| {
                !entry.addresses.contains(address) && self.ledger.has_alias(**address)
            })
            .copied()
            .collect();
        let is_other = before.fields != entry.fields;
        // Another jail than the one that was not alive.
        entry.revived.count = if is_other { 0 } else { before.revived.count };
        // A start that failed is tried again for the same reason; a jail that died is not.
        let is_answer = is_other || before.jid == 0 || before.revived.jid != 0;
        if entry.restart.is_empty() && is_answer {
            entry.restart.clone_from(&before.restart);
        }
        entry
    }

    /// States of addresses that the jail had when it was started last and has no more.
    fn plan_former_states(&mut self, uid: &Uid, entry: &OwnedJail) {
        let Some(before) = self
            .ledger
            .jails
            .get(uid)
            .filter(|_| self.observed.pf.has_states_to_kill())
        else {
            return;
        };
        for address in &before.addresses {
            if !entry.addresses.contains(address) {
                let op = Op::KillStates { address: *address };
                self.step(Phase::StartJail, &Subject::Jail(uid.clone()), op);
            }
        }
    }

    /// The stranger who has an address that a jail needs, so that stopping it to start it anew would only stop it. What is ours may move in the very plan.
    pub(super) fn stranger_at(&self, alias: &DesiredAlias) -> Option<String> {
        let mut tenants = self.tenants(alias);
        if let Some(jail) = tenants.find(|jail| self.index.owner_of(jail).is_none()) {
            return Some(format!(
                "{} is an address of jail `{}` (jid {}) on this host; the jail runs on as it was",
                alias.address, jail.name, jail.jid
            ));
        }
        let mut holders = self.holders(alias);
        let found = holders.find(|(found, _)| !self.is_owned_address(&found.name, alias.address));
        let Some((interface, _)) = found else {
            let standing = self.holders(alias).next().is_some();
            return self.router_at(alias).filter(|_| !standing);
        };
        Some(format!(
            "{} is on `{}` and was not put there by us; take it off (and out of rc.conf), or give the jail another address; the jail runs on as it was",
            alias.address, interface.name
        ))
    }

    /// The stranger's interface of the host that has an address of a VNET jail: what the host sends there, a published port's connections among it, ends at the host itself, and a route of ours
    /// gives way to that address's own (seen on 15.1).
    pub(super) fn stranger_beside(&self, link: &DesiredLink) -> Option<String> {
        let mut addresses = link.addresses.iter().map(|(address, _)| address);
        addresses.find_map(|address| {
            let mut holders = self.index.holders(address);
            let (interface, _) = holders.find(|(found, _)| {
                !is_link_local(*address) && !self.is_owned_address(&found.name, *address)
            })?;
            Some(format!(
                "{address} is on `{}` of the host and was not put there by us, so that nothing of the host reaches the jail; take it off (and out of rc.conf), or give the jail another address",
                interface.name
            ))
        })
    }

    /// The interfaces that have the address: of a link-local one, the one that it shall be on, since it means nothing beside it.
    fn holders<'m>(
        &'m self,
        alias: &'m DesiredAlias,
    ) -> impl Iterator<Item = (&'a Interface, &'a Address)> + 'm {
        let holders = self.index.holders(&alias.address);
        holders.filter(|(found, _)| !is_link_local(alias.address) || found.name == alias.interface)
    }

    /// The living jails that have the address: of a link-local one, those that have it on the same interface.
    fn tenants<'m>(
        &'m self,
        alias: &'m DesiredAlias,
    ) -> impl Iterator<Item = &'a ObservedJail> + 'm {
        let interface = self.index.interface(&alias.interface);
        let index = interface.and_then(|interface| interface.index);
        let tenants = self.index.tenants(&alias.address);
        tenants.filter(move |jail| {
            !is_link_local(alias.address) || jail.zones.get(&alias.address).copied() == index
        })
    }

    /// Why an alias must not become an address of the host. Next hops on other links are not it.
    fn router_at(&self, alias: &DesiredAlias) -> Option<String> {
        self.router(alias.address)
            .filter(|_| !is_link_local(alias.address))
    }

    /// An alias that a jail needs. `running`: the jail holds the address already.
    fn plan_alias(&mut self, uid: &Uid, alias: &DesiredAlias, running: bool) {
        let subject = Subject::Jail(uid.clone());
        let holder = self
            .tenants(alias)
            .find(|jail| self.index.owner_of(jail) != Some(uid.as_str()));
        if let Some(holder) = holder {
            let message = format!(
                "{} is an address of jail `{}` (jid {}) on this host",
                alias.address, holder.name, holder.jid
            );
            return self.block(&subject, reason::ADDRESS_TAKEN, message);
        }
        if self.index.is_ambiguous(&alias.interface) {
            let message = format!(
                "two interfaces are called `{}`, one of them came back from a jail; rename or destroy that one",
                alias.interface
            );
            return self.block(&subject, reason::AMBIGUOUS_INTERFACE, message);
        }
        // One of ours goes in this very plan, before it is added where it shall be.
        let elsewhere = self.holders(alias).find(|(interface, _)| {
            interface.name != alias.interface
                && !self.is_owned_address(&interface.name, alias.address)
        });
        if let Some((elsewhere, _)) = elsewhere {
            let message = format!(
                "{} is already on `{}` and was not put there by us; it shall be on `{}`: take it off (and out of rc.conf), or give the jail another address",
                alias.address, elsewhere.name, alias.interface
            );
            return self.block(&subject, reason::ADDRESS_TAKEN, message);
        }
        let present = self
            .index
            .holders(&alias.address)
            .find(|(interface, _)| interface.name == alias.interface)
            .map(|(_, entry)| entry);
        match present {
            Some(entry) if entry.duplicated => {
                let message = format!(
                    "somebody else on the wire of `{on}` has {address}; give the jail another address, or take it from the other and then off `{on}` (`ifconfig {on} inet6 {address} -alias`), so that it is asked for again",
                    on = alias.interface,
                    address = alias.address,
                );
                self.block(&subject, reason::ADDRESS_DUPLICATED, message);
            }
            Some(_) if !running && !self.is_owned_address(&alias.interface, alias.address) => {
                let message = format!(
                    "{} is already on `{}` and was not put there by us; take it off (and out of rc.conf), or give the jail another address",
                    alias.address, alias.interface
                );
                self.block(&subject, reason::ADDRESS_TAKEN, message);
            }
            Some(entry) if entry.prefix_length != alias.prefix_length => {
                self.plan_other_prefix(&subject, alias, entry.prefix_length);
            }
            Some(entry) if entry.tentative => self.wait_for_dad(&subject, alias),
            Some(_) => {}
            None => match self.router_at(alias) {
                Some(message) => self.block(&subject, reason::ADDRESS_TAKEN, message),
                None => {
                    self.plan_add_alias(&subject, alias, self.index.interface(&alias.interface));
                }
            },
        }
    }

    /// The address stands with another prefix length. Adding it again replaces an IPv4 address within one call (`in_aifaddr_ioctl`, sys/netinet/in.c), and is refused for an IPv6 address
    /// (`in6_validate_ifra`, sys/netinet6/in6.c), which goes first. Connections and sockets of the jail live on either way.
    fn plan_other_prefix(&mut self, subject: &Subject, alias: &DesiredAlias, present: u8) {
        if !self.is_owned_address(&alias.interface, alias.address) {
            let message = format!(
                "{}/{present} is on `{}` and was not put there by us; it shall be /{}: take it off, or state that prefix length",
                alias.address, alias.interface, alias.prefix_length
            );
            return self.block(subject, reason::ADDRESS_TAKEN, message);
        }
        if alias.address.is_ipv6() {
            let op = Op::RemoveAddress {
                interface: alias.interface.clone(),
                address: alias.address,
                prefix_length: present,
            };
            self.step(Phase::RemoveAddress, subject, op);
        }
        self.plan_add_alias(subject, alias, self.index.interface(&alias.interface));
    }

    fn plan_add_alias(
        &mut self,
        subject: &Subject,
        alias: &DesiredAlias,
        interface: Option<&Interface>,
    ) {
        let on_nic = !self.desired.loopbacks.contains_key(&alias.interface);
        let op = Op::AddAddress {
            interface: alias.interface.clone(),
            address: alias.address,
            prefix_length: alias.prefix_length,
            no_dad: false,
        };
        // Where it stood before its uplink became another interface.
        let before = self.ledger.owned.iter().filter_map(|owned| {
            let Owned::Alias { interface, address } = owned else {
                return None;
            };
            (*address == alias.address && *interface != alias.interface)
                .then(|| Subject::address(interface, *address))
        });
        let step = self.step(Phase::AddAddress, subject, op);
        step.needs.extend(before);
        step.record.push(Record::Owned(Owned::Alias {
            interface: alias.interface.clone(),
            address: alias.address,
        }));
        if on_nic {
            step.record.extend(side_effects(interface, alias.address));
        }
        if alias.address.is_ipv6() && on_nic {
            self.wait_for_dad(subject, alias);
        }
    }

    fn wait_for_dad(&mut self, subject: &Subject, alias: &DesiredAlias) {
        let message = format!(
            "duplicate address detection of {} on `{}`",
            alias.address, alias.interface
        );
        self.wait(subject, reason::ADDRESS_TENTATIVE, message, DAD_MS_MAX);
    }

    /// The epair of a jail that does not run: whole and fresh on the host, its host end where it belongs.
    fn plan_new_epair(&mut self, subject: &Subject, epair: &Epair, attach: &Attach) {
        match self.standing(subject, &epair.host_end, &epair.host_description) {
            Standing::Taken => {}
            Standing::Nothing => self.plan_create_epair(subject, epair, attach),
            Standing::Ours(host_end) => {
                let jail_end = self.jail_end_on_host(&epair.jail_end, &epair.jail_description);
                let fresh = jail_end
                    .is_some_and(|end| end.mac == Some(epair.jail_mac) && end.mtu == epair.mtu)
                    && host_end.mtu == epair.mtu
                    && host_end.mac == Some(epair.host_mac);
                if fresh {
                    self.plan_attached(subject, attach, Some(host_end));
                } else {
                    self.plan_destroy_epair(subject, host_end);
                    self.plan_create_epair(subject, epair, attach);
                }
            }
        }
    }

    fn plan_create_epair(&mut self, subject: &Subject, epair: &Epair, attach: &Attach) {
        self.step(Phase::CreateEpair, subject, Op::CreateEpair(epair.clone()));
        self.plan_attached(subject, attach, None);
    }

    /// What the host end is attached to. `host_end`: the end as it stands; none where it is about to be made.
    fn plan_attached(&mut self, subject: &Subject, attach: &Attach, host_end: Option<&Interface>) {
        match attach {
            Attach::Bridged { epair, bridge } => {
                self.plan_membership(subject, epair, bridge, host_end);
            }
            Attach::Routed { epair, end } => self.plan_host_end(subject, epair, end, host_end),
            // It has no host end.
            Attach::Switched(_) | Attach::Passed(_) => {}
        }
    }

    fn plan_membership(
        &mut self,
        subject: &Subject,
        epair: &Epair,
        on: &str,
        host_end: Option<&Interface>,
    ) {
        // Whatever is called like our bridge and is not surely ours is left alone.
        let bridge = self.desired.bridges.get(on);
        if bridge
            .is_some_and(|bridge| self.is_blocked(&Subject::Network(bridge.network.uid.clone())))
        {
            return;
        }
        let member = &epair.host_end;
        let present = self
            .index
            .interface(on)
            .and_then(|bridge| bridge.members.get(member))
            .filter(|_| host_end.is_some());
        let private = self
            .desired
            .bridges
            .get(on)
            .is_some_and(|bridge| bridge.private);
        if present.is_none() {
            // An interface is a member of one bridge only: of the former network's, or where somebody put it.
            let elsewhere = self.index.bridge_of(member).filter(|_| host_end.is_some());
            if let Some(elsewhere) = elsewhere {
                let op = Op::RemoveMember {
                    bridge: elsewhere.name.clone(),
                    member: member.clone(),
                };
                self.step(Phase::RemoveMember, subject, op);
            }
            let op = Op::AddMember {
                bridge: on.to_owned(),
                member: member.clone(),
            };
            self.step(Phase::AddMember, subject, op);
        }
        if present.is_some_and(|present| MemberFlag::Private.is_of(present)) != private {
            let op = Op::SetMemberFlag {
                bridge: on.to_owned(),
                member: member.clone(),
                flag: MemberFlag::Private,
                on: private,
            };
            self.step(Phase::AddMember, subject, op);
        }
        if host_end.is_some_and(|end| !end.is_up()) {
            self.step(
                Phase::AddMember,
                subject,
                Op::SetUp {
                    interface: member.clone(),
                    up: true,
                },
            );
        }
    }

    /// The epair of a running jail: mended from outside, without a restart.
    fn plan_running_epair(
        &mut self,
        subject: &Subject,
        jail: &DesiredJail<'a>,
        link: &DesiredLink,
        epair: &Epair,
        running: &'a ObservedJail,
    ) {
        let observed = self.observed;
        let Some(vnet) = observed.vnets.get(&running.jid) else {
            return;
        };
        let attach = &link.attach;
        let inside = vnet
            .interfaces
            .iter()
            .find(|interface| interface.name == link.interface);
        let renamed = vnet.interfaces.iter().find(|interface| {
            interface.description.as_deref() == Some(&epair.jail_description)
                || interface.mac == Some(epair.jail_mac)
        });
        let name = jail.view.jail_name();
        match (
            self.standing(subject, &epair.host_end, &epair.host_description),
            inside.or(renamed),
        ) {
            (Standing::Taken, _) => return,
            (Standing::Ours(host_end), Some(end)) => {
                self.plan_attached(subject, attach, Some(host_end));
                if end.name != link.interface {
                    let op = Op::RenameInVnet {
                        jail: name.to_owned(),
                        from: end.name.clone(),
                        to: link.interface.clone(),
                    };
                    self.step(Phase::RepairVnet, subject, op);
                }
                return self.plan_inside(subject, name, link, Some(end), vnet);
            }
            (Standing::Ours(host_end), None) => {
                if self
                    .jail_end_on_host(&epair.jail_end, &epair.jail_description)
                    .is_some()
                {
                    self.plan_attached(subject, attach, Some(host_end));
                } else {
                    self.plan_destroy_epair(subject, host_end);
                    self.plan_create_epair(subject, epair, attach);
                }
            }
            (Standing::Nothing, _) => self.plan_create_epair(subject, epair, attach),
        }
        self.plan_move(subject, name, link);
        self.plan_inside(subject, name, link, None, vnet);
    }

    /// Moves an interface that is fresh on the host into a running jail.
    pub(super) fn plan_move(&mut self, subject: &Subject, name: &str, link: &DesiredLink) {
        self.step(
            Phase::RepairVnet,
            subject,
            Op::MoveToVnet {
                interface: link.on_host().to_owned(),
                jail: name.to_owned(),
            },
        );
        let op = Op::RenameInVnet {
            jail: name.to_owned(),
            from: link.on_host().to_owned(),
            to: link.interface.clone(),
        };
        self.step(Phase::RepairVnet, subject, op);
    }

    pub(super) fn plan_inside(
        &mut self,
        subject: &Subject,
        jail: &str,
        link: &DesiredLink,
        end: Option<&Interface>,
        vnet: &Vnet,
    ) {
        for (address, prefix_length) in &link.addresses {
            let present = end.and_then(|end| end.address(*address));
            if let Some(other) = present.filter(|entry| entry.prefix_length != *prefix_length)
                && address.is_ipv6()
            {
                // As for an alias of the host.
                let op = Op::RemoveAddressInVnet {
                    jail: jail.to_owned(),
                    interface: link.interface.clone(),
                    address: *address,
                    prefix_length: other.prefix_length,
                };
                self.step(Phase::RepairVnet, subject, op);
            }
            if present.is_none_or(|entry| entry.prefix_length != *prefix_length) {
                let op = Op::AddAddressInVnet {
                    jail: jail.to_owned(),
                    interface: link.interface.clone(),
                    address: *address,
                    prefix_length: *prefix_length,
                };
                self.step(Phase::RepairVnet, subject, op);
            }
        }
        // One that is still on the host has it from when it was made.
        if let Some(mtu) = link.mtu()
            && end.is_some_and(|end| end.mtu != mtu)
        {
            let op = Op::SetMtuInVnet {
                jail: jail.to_owned(),
                interface: link.interface.clone(),
                mtu,
            };
            self.step(Phase::RepairVnet, subject, op);
        }
        if end.is_none_or(|end| !end.is_up()) {
            let op = Op::UpInVnet {
                jail: jail.to_owned(),
                interface: link.interface.clone(),
            };
            self.step(Phase::RepairVnet, subject, op);
        }
        // Routers advertise without being asked, too. A program of the jail is not run here.
        if link.addressing == Addressing::Slaac && !end.is_some_and(Interface::accepts_rtadv) {
            let op = Op::AcceptRtadvInVnet {
                jail: jail.to_owned(),
                interface: link.interface.clone(),
            };
            self.step(Phase::RepairVnet, subject, op);
        }
        let default_of = |family| {
            let mut routes = vnet.routes.iter();
            routes.find(|route| route.is_default_of(family))
        };
        for destination in &link.on_link {
            let text = destination.to_string();
            // A look without `netstat -j` sees default routes alone; one by this gateway could not have been added without the route to it.
            let there = vnet
                .routes
                .iter()
                .any(|route| route.destination == text && route.interface == link.interface)
                || default_of(Family::of(*destination)).is_some_and(|route| route.gateway == text);
            if !there {
                let op = Op::AddLinkRouteInVnet {
                    jail: jail.to_owned(),
                    destination: *destination,
                    interface: link.interface.clone(),
                };
                self.step(Phase::RepairVnet, subject, op);
            }
        }
        for gateway in &link.gateways {
            let family = Family::of(*gateway);
            let present = default_of(family);
            if !is_only_way(&vnet.routes, *gateway) {
                let op = Op::SetDefaultRouteInVnet {
                    jail: jail.to_owned(),
                    family,
                    gateway: *gateway,
                    scope: is_link_local(*gateway).then(|| link.interface.clone()),
                    replace: present.is_some(),
                };
                self.step(Phase::RepairVnet, subject, op);
            }
        }
    }
}

/// What else the kernel does to an interface of the host with an address that is put on it, as records of what to undo: it brings the link up (`ether_ioctl`, sys/net/if_ethersubr.c),
/// a first IPv6 address enables IPv6 (`in6_addifaddr`, sys/netinet6/in6.c), and a link that comes up with IPv6 enabled gets a link-local address.
fn side_effects(interface: Option<&Interface>, address: IpAddr) -> Vec<Record> {
    let Some(interface) = interface else {
        return Vec::new();
    };
    let name = &interface.name;
    let disabled = interface.nd6.contains("IFDISABLED");
    let mut records = Vec::new();
    if !interface.is_up() {
        records.push(Record::Owned(Owned::BroughtUp {
            interface: name.clone(),
        }));
    }
    if disabled && address.is_ipv6() {
        records.push(Record::Owned(Owned::Inet6Enabled {
            interface: name.clone(),
        }));
    }
    let comes_up = !interface.is_up() && !disabled || disabled && address.is_ipv6();
    if comes_up && interface.link_local().is_none() {
        records.push(Record::Owned(Owned::LinkLocal {
            interface: name.clone(),
        }));
    }
    records
}
