//! NICs that are passed through: given to jails, taken back before these are removed, and made what they were before.
//!
//! A NIC is taken only where nothing of the host leans on it, and known again by what no jail's root can change (`nic`). One that the ledger does not name is nobody's but the host's.

use cellblock_schemas::ids::Uid;

use super::desired::uplink::is_of_driver;
use super::desired::{DesiredJail, DesiredLink, DesiredNic, host_addresses};
use super::index::Index;
use super::phase::Phase;
use super::teardown::{BUSY_MS_MAX, DYING_MS_MAX};
use super::{Planner, reason};
use crate::ledger::Owned;
use crate::names;
use crate::nic::NicState;
use crate::observed::{Interface, Observed, ObservedJail};
use crate::op::{Op, Record, Subject};

/// The cloners of interfaces that stand for no card (sys/net, sys/netgraph): a clone is in the group of its cloner.
const CLONERS: [&str; 14] = [
    "bridge", "edsc", "epair", "gif", "gre", "lagg", "lo", "pflog", "stf", "tap", "tun", "vlan",
    "vxlan", "wg",
];

/// Where a NIC is.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// On the host, under whatever name.
    Host(&'a Interface),
    /// In a living jail.
    Jail(&'a ObservedJail, &'a Interface),
    /// Nowhere that can be seen: with a jail that is dying, or that answered nothing.
    Hidden,
    /// On the host, as the second of two interfaces of this name: nothing names it there.
    Ambiguous(&'a str),
    /// Nowhere, and no jail is there that could have it: its jail's network stack is ending at this moment, which happens when jls(8) does not show the jail any more (`prison_deref`,
    /// sys/kern/kern_jail.c), or it was taken out of the machine.
    Gone,
}

/// Whom what is done to a NIC concerns: a NIC that does not come back keeps no jail from being stopped.
pub(super) fn subject(nic: &str) -> Subject {
    Subject::HostPart(format!("NIC {nic}"))
}

fn place<'a>(observed: &'a Observed, index: &Index<'a>, state: &NicState) -> Place<'a> {
    // Of two interfaces with one name ifconfig(8) asks the first for the driver, whichever it prints (`ifconfig_get_orig_name`, lib/libifconfig/libifconfig.c).
    let on_host = observed.interfaces.iter().find(|interface| {
        state.is(interface) && index.interface(&interface.name) == Some(*interface)
    });
    if let Some(interface) = on_host {
        return Place::Host(interface);
    }
    for jail in &observed.jails {
        let vnet = observed.vnets.get(&jail.jid).filter(|_| !jail.dying);
        let mut inside = vnet.iter().flat_map(|vnet| &vnet.interfaces);
        if let Some(interface) = inside.find(|interface| state.is(interface)) {
            return Place::Jail(jail, interface);
        }
    }
    let mut alike = observed.interfaces.iter();
    let alike = alike.find(|found| state.is_card_of(found) && index.is_ambiguous(&found.name));
    if let Some(found) = alike {
        return Place::Ambiguous(&found.name);
    }
    let mut stacks = observed.jails.iter().filter(|jail| jail.vnet);
    if stacks.any(|jail| jail.dying || !observed.vnets.contains_key(&jail.jid)) {
        return Place::Hidden;
    }
    Place::Gone
}

/// Whether a jail has the NIC, or is about to, or it is not yet again what it was.
pub(super) fn is_lent<'a>(observed: &'a Observed, index: &Index<'a>, state: &NicState) -> bool {
    match place(observed, index, state) {
        // A jail that is being started may take it at any moment.
        Place::Host(found) => !state.is_restored(found) || !observed.busy.is_empty(),
        Place::Jail(..) | Place::Hidden | Place::Ambiguous(_) | Place::Gone => true,
    }
}

/// Whether a NIC that was given to a jail is in this machine, as far as can be told.
pub(crate) fn is_in_machine<'a>(
    observed: &'a Observed,
    index: &Index<'a>,
    state: &NicState,
) -> bool {
    !matches!(place(observed, index, state), Place::Gone)
}

impl<'a> Planner<'a> {
    /// What the ledger remembers of a NIC.
    fn lent(&self, nic: &str) -> Option<&'a NicState> {
        self.index.lent().find(|state| state.interface == nic)
    }

    fn place(&self, state: &NicState) -> Place<'a> {
        place(self.observed, &self.index, state)
    }

    /// Why nothing can be made of a NIC that is in a jail, as a block or a wait of `subject`.
    fn plan_without_nic(&mut self, subject: &Subject, nic: &str, place: Place<'a>) {
        match place {
            Place::Host(_) => {}
            Place::Jail(jail, _) if self.index.owner_of(jail).is_some() => {
                let message = format!(
                    "`{nic}` is still in jail `{}` (jid {}), which gives it back",
                    jail.name, jail.jid
                );
                self.wait(subject, reason::NIC_IN_USE, message, BUSY_MS_MAX);
            }
            Place::Jail(jail, inside) => {
                let message = format!(
                    "`{nic}` is in jail `{0}` (jid {1}), which is not ours; take it back (ifconfig {2} -vnet {1})",
                    jail.name, jail.jid, inside.name
                );
                self.block(subject, reason::NIC_IN_USE, message);
            }
            Place::Hidden => {
                let message = format!(
                    "`{nic}` is with a jail that was removed and that the kernel still holds, as for an open TCP connection (jls -d shows it), and comes back with its end"
                );
                self.wait(subject, reason::DYING, message, DYING_MS_MAX);
            }
            Place::Ambiguous(name) => {
                let message = format!(
                    "two interfaces are called `{name}`, and the second is `{nic}`, which came back from a jail: rename the first (ifconfig {name} name tmp0), then the second (ifconfig {name} name {nic}), then the first back (ifconfig tmp0 name {name})"
                );
                self.block(subject, reason::AMBIGUOUS_INTERFACE, message);
            }
            Place::Gone => {
                let message = format!(
                    "`{nic}` was given to a jail that is no more, and is not back yet; if it was taken out of the machine, put it in again"
                );
                self.wait(subject, reason::DYING, message, DYING_MS_MAX);
            }
        }
    }

    /// A NIC that a jail shall have and has not: what the ledger must know before it is moved. Nothing, with a block or a wait, where it cannot be had now.
    pub(super) fn plan_new_nic(&mut self, subject: &Subject, nic: &DesiredNic) -> Option<Record> {
        let name = &nic.interface;
        if let Some(state) = self.lent(name) {
            let place = self.place(state);
            let Place::Host(found) = place else {
                self.plan_without_nic(subject, name, place);
                return None;
            };
            if !self.is_free(subject, found) {
                return None;
            }
            if found.name != *name && self.index.interfaces_named(name).next().is_some() {
                let message = format!(
                    "`{name}` came back from a jail as `{}`, and another interface is called `{name}` now; rename that one",
                    found.name
                );
                self.block(subject, reason::NAME_TAKEN, message);
                return None;
            }
            // Where it is not yet what it was it is made so first, and the start needs that.
            return Some(Record::Owned(Owned::Nic(state.clone())));
        }
        if self.index.is_ambiguous(name) {
            let message = format!(
                "two interfaces are called `{name}`, one of them came back from a jail; rename that one"
            );
            self.block(subject, reason::AMBIGUOUS_INTERFACE, message);
            return None;
        }
        let Some(found) = self.index.interface(name) else {
            self.plan_strange_nic(subject, name);
            return None;
        };
        if !self.is_free(subject, found) {
            return None;
        }
        let Some(state) = NicState::of(found) else {
            let message = format!(
                "`{name}` is no NIC: it has no MAC address, or no driver that ifconfig(8) names"
            );
            self.block(subject, reason::NOT_CAPABLE, message);
            return None;
        };
        Some(Record::Owned(Owned::Nic(state)))
    }

    /// A NIC that the host does not have and that we gave nobody.
    fn plan_strange_nic(&mut self, subject: &Subject, name: &str) {
        let observed = self.observed;
        let holder = observed.jails.iter().find_map(|jail| {
            let vnet = observed.vnets.get(&jail.jid).filter(|_| !jail.dying)?;
            let mut inside = vnet.interfaces.iter();
            let inside = inside.find(|inside| inside.driver.as_deref() == Some(name))?;
            Some(Place::Jail(jail, inside))
        });
        if let Some(holder) = holder {
            return self.plan_without_nic(subject, name, holder);
        }
        let message = format!(
            "the NIC `{name}` is not on host `{}`; put it in, or take it out of the Host's spec.uplinks",
            self.view.host_name
        );
        self.block(subject, reason::UPLINK_MISSING, message);
    }

    /// Whether nothing of the host leans on an interface, so that the host cannot be cut off by giving it away; a block of `subject` says what does.
    fn is_free(&mut self, subject: &Subject, found: &Interface) -> bool {
        let blocked = self.lifeline(found).map_or_else(
            || {
                self.user_of(found)
                    .map(|message| (reason::UPLINK_IN_USE, message))
            },
            |message| Some((reason::UPLINK_HAS_ADDRESSES, message)),
        );
        if let Some((reason, message)) = blocked {
            self.block(subject, reason, message);
            return false;
        }
        true
    }

    /// What of the host goes by an interface.
    fn lifeline(&self, found: &Interface) -> Option<String> {
        let name = &found.name;
        let own = host_addresses(found);
        let what = if !own.is_empty() {
            format!("`{name}` carries {own} of the host")
        } else if self.observed.leads_a_route(name) {
            format!("a route of the host goes by `{name}`")
        } else {
            return None;
        };
        Some(format!(
            "{what}, and a NIC that a jail gets loses them: the host could be cut off; take them off in rc.conf, or pass another NIC through"
        ))
    }

    /// What else an interface is part of.
    fn user_of(&self, found: &Interface) -> Option<String> {
        let name = &found.name;
        if let Some(cloner) = CLONERS
            .iter()
            .find(|cloner| found.groups.contains(cloner) || is_of_driver(found, cloner))
        {
            return Some(format!(
                "`{name}` is no NIC, but made by {cloner}(4); pass a NIC through"
            ));
        }
        let planned = |(name_of, bridge): (&String, &super::desired::DesiredBridge<'_>)| {
            (bridge.uplink.as_ref() == Some(name)).then(|| name_of.clone())
        };
        let bridge = self.index.bridge_of(name).map(|bridge| bridge.name.clone());
        if let Some(bridge) = bridge.or_else(|| self.desired.bridges.iter().find_map(planned)) {
            return Some(format!("`{name}` is a member of bridge `{bridge}`"));
        }
        let mut interfaces = self.observed.interfaces.iter();
        if let Some(above) = interfaces.find(|above| above.below.contains(name)) {
            return Some(format!("`{}` stands upon `{name}`", above.name));
        }
        let node = self.index.node(&names::ether_node(name));
        let hook = node.filter(|node| node.kind == "ether");
        if let Some(peer) = hook.and_then(|node| node.hooks.values().next()) {
            return Some(format!(
                "`{name}` is connected to netgraph node `{}`",
                peer.node
            ));
        }
        let mut switches = self.desired.switches.values();
        if switches.any(|switch| switch.uplink.as_ref() == Some(name)) {
            return Some(format!("`{name}` is the uplink of a netgraph switch"));
        }
        let jails = self.view.jails.values();
        let networks = jails
            .filter(|jail| self.shall_run(&jail.uid))
            .flat_map(|jail| &jail.binding.attachments);
        let mut networks = networks.filter_map(|bound| self.view.networks.get(&bound.network));
        let shared = networks.find(|network| {
            let uplink = network.spec.shared_ip.as_ref();
            let uplink = uplink.and_then(|mode| mode.uplink.as_ref());
            let uplink = uplink.and_then(|uplink| self.view.host.uplinks.get(uplink));
            uplink.is_some_and(|uplink| uplink.interface.as_ref() == Some(name))
        });
        shared.map(|network| {
            format!(
                "`{name}` has the addresses of the shared-IP network `{}`",
                network.name
            )
        })
    }

    /// The NIC of a running jail: named, addressed and moved in from outside, without a restart.
    pub(super) fn plan_running_nic(
        &mut self,
        subject: &Subject,
        jail: &DesiredJail<'a>,
        link: &DesiredLink,
        nic: &DesiredNic,
        running: &'a ObservedJail,
    ) {
        let observed = self.observed;
        let Some(vnet) = observed.vnets.get(&running.jid) else {
            return;
        };
        let name = jail.view.jail_name();
        let state = self.lent(&nic.interface);
        let inside = vnet.interfaces.iter().find(|inside| match state {
            Some(state) => state.is(inside),
            None => inside.driver.as_ref() == Some(&nic.interface),
        });
        let mut others = vnet.interfaces.iter();
        let taken = others.any(|other| {
            other.name == link.interface && inside.is_none_or(|inside| inside.name != other.name)
        });
        if taken {
            let message = format!(
                "in the jail another interface is called `{}`, which `{}` shall be called",
                link.interface, nic.interface
            );
            return self.block(subject, reason::NAME_TAKEN, message);
        }
        if let Some(inside) = inside {
            if inside.name != link.interface {
                let op = Op::RenameInVnet {
                    jail: name.to_owned(),
                    from: inside.name.clone(),
                    to: link.interface.clone(),
                };
                self.step(Phase::RepairVnet, subject, op);
            }
            return self.plan_inside(subject, name, link, Some(inside), vnet);
        }
        let Some(record) = self.plan_new_nic(subject, nic) else {
            return;
        };
        let first = self.steps.len();
        self.plan_move(subject, name, link);
        if let Some(mtu) = nic.mtu {
            let op = Op::SetMtuInVnet {
                jail: name.to_owned(),
                interface: link.interface.clone(),
                mtu,
            };
            self.step(Phase::RepairVnet, subject, op);
        }
        self.plan_inside(subject, name, link, None, vnet);
        for (_, step) in &mut self.steps[first..] {
            step.needs.push(self::subject(&nic.interface));
        }
        self.steps[first].1.record.push(record);
    }

    /// What to write down of NICs that a running jail of ours has, and of which the ledger knows nothing any more.
    pub(super) fn unknown_nics(
        &self,
        jail: &DesiredJail<'a>,
        running: &ObservedJail,
    ) -> Vec<Record> {
        let vnet = self.observed.vnets.get(&running.jid);
        let unknown = jail.nics().filter(|nic| self.lent(nic).is_none());
        unknown
            .filter_map(|nic| {
                let mut inside = vnet?.interfaces.iter();
                let inside = inside.find(|inside| inside.driver.as_deref() == Some(nic))?;
                let state = NicState::untouched(nic, inside)?;
                Some(Record::Owned(Owned::Nic(state)))
            })
            .collect()
    }

    /// NICs that a running jail has and shall not have any more.
    pub(super) fn plan_other_nics(&mut self, jail: &DesiredJail<'a>, running: &'a ObservedJail) {
        self.plan_return_nics(running, |nic| jail.nics().all(|wanted| wanted != nic));
    }

    /// Takes NICs that we lent back out of a jail that is alive, while its processes are there: afterwards they would stay with its network stack for as long as a connection does.
    pub(super) fn plan_return_nics(&mut self, jail: &ObservedJail, goes: impl Fn(&str) -> bool) {
        let Some(vnet) = self.observed.vnets.get(&jail.jid) else {
            return;
        };
        let leaving: Vec<&NicState> = self
            .index
            .lent()
            .filter(|state| goes(&state.interface))
            .collect();
        for state in leaving {
            let Some(inside) = vnet.interfaces.iter().find(|inside| state.is(inside)) else {
                continue;
            };
            let is_taken = |name: &str| {
                let mut others = vnet.interfaces.iter();
                others.any(|other| other.name == name && other.name != inside.name)
                    || self.index.interfaces_named(name).next().is_some()
            };
            let own = state.interface.clone();
            let to = if is_taken(&own) {
                names::returned_nic(&own)
            } else {
                own
            };
            let op = Op::ReturnNic {
                jail: jail.name.clone(),
                jid: jail.jid,
                nic: state.clone(),
                from: inside.name.clone(),
                to,
            };
            let subject = subject(&state.interface);
            self.step(Phase::ReturnNic, &subject, op);
        }
    }

    /// NICs that are back on the host and not yet what they were.
    pub(super) fn plan_leftover_nics(&mut self) {
        let ledger = self.ledger;
        for state in ledger.nics() {
            let subject = subject(&state.interface);
            match self.place(state) {
                Place::Host(found) if state.is_restored(found) => {}
                Place::Host(found) => {
                    let own = self.index.interfaces_named(&state.interface).next();
                    if found.name != state.interface && own.is_some() {
                        let message = format!(
                            "`{0}` came back from a jail as `{1}`, and another interface is called `{0}` now; rename that one",
                            state.interface, found.name
                        );
                        self.block(&subject, reason::NAME_TAKEN, message);
                        continue;
                    }
                    let op = Op::RestoreNic {
                        from: found.name.clone(),
                        nic: state.clone(),
                    };
                    self.step(Phase::Restore, &subject, op);
                }
                place @ (Place::Ambiguous(_) | Place::Hidden | Place::Gone) => {
                    self.plan_without_nic(&subject, &state.interface, place);
                }
                Place::Jail(..) => {}
            }
        }
    }

    /// Waits for the NIC of a removed jail that the kernel still holds; whether there is one.
    pub(super) fn wait_for_nic(&mut self, uid: &Uid) -> bool {
        let Some(jail) = self.view.jails.get(uid) else {
            return false;
        };
        let mut attachments = jail.binding.attachments.iter();
        let held = attachments.find_map(|bound| {
            let state = self.lent(bound.nic.as_deref()?)?;
            let place = self.place(state);
            matches!(place, Place::Hidden).then_some((&state.interface, place))
        });
        let Some((nic, place)) = held else {
            return false;
        };
        if self.waits_for_dying.insert(uid.clone()) {
            self.plan_without_nic(&Subject::Jail(uid.clone()), nic, place);
        }
        true
    }
}
