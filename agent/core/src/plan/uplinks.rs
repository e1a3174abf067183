//! Laggs and vlans of the Host's uplinks: made, kept as they shall be, and taken away when no uplink declares them any more.
//!
//! What the host itself lives by is changed under guard alone (`crate::guard`), and never taken away.

use cellblock_schemas::view::HostView;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::desired::uplink::{DesiredUplink, Found, Made, all_upon, lives_by, marked};
use super::phase::Phase;
use super::{Planner, reason};
use crate::guard::{Back, Guard, Protocol};
use crate::ledger::{Ledger, Owned};
use crate::mark::{Mark, Role};
use crate::names;
use crate::observed::{Interface, Lagg};
use crate::op::{Op, Record, Step, Subject};

/// Whom what is done to an uplink concerns.
fn subject(uplink: &str) -> Subject {
    Subject::HostPart(part(uplink))
}

/// The words under which a guard and the ledger know an uplink.
fn part(uplink: &str) -> String {
    format!("uplink {uplink}")
}

/// Whether an uplink of ours may be changed.
#[derive(Clone, Debug, PartialEq)]
enum Leave {
    /// Nobody lives by it.
    Given,
    /// The host does.
    UnderGuard(Box<Guard>),
    /// A block says why.
    Refused,
}

impl Leave {
    fn guard(self) -> Option<Box<Guard>> {
        match self {
            Self::UnderGuard(guard) => Some(guard),
            Self::Given | Self::Refused => None,
        }
    }
}

/// The words under which they know an interface of the host.
fn interface_part(interface: &str) -> String {
    format!("interface {interface}")
}

/// A digest of what shall be.
pub(super) fn digest(wanted: &impl Serialize) -> String {
    let text = serde_json::to_vec(wanted).expect("it has a JSON form");
    data_encoding::HEXLOWER.encode(&Sha256::digest(text)[..16])
}

/// A digest of what is declared of a lagg or a vlan itself, and of nothing that is done with it.
fn declared(view: &HostView, uplink: &str) -> String {
    let uplink = view.host.uplinks.get(uplink);
    let vlan = uplink.and_then(|uplink| uplink.vlan.as_ref());
    let carrier = vlan.and_then(|vlan| view.host.uplinks.get(&vlan.uplink));
    digest(&(
        uplink.map(|uplink| &uplink.lagg),
        vlan,
        carrier.map(|carrier| &carrier.interface),
    ))
}

/// The ports that a step's record is about: one that is in the ledger counts as one that has been in its lagg.
fn new_ports(record: &[Record]) -> Vec<Owned> {
    let owned = record.iter().filter_map(|record| match record {
        Record::Owned(owned @ Owned::LaggPort { .. }) => Some(owned.clone()),
        Record::Owned(_) | Record::Jail(..) => None,
    });
    owned.collect()
}

/// Whether a lagg or a vlan carries anything: one without port or carrier cannot be cut off any more.
fn carries(found: &Interface) -> bool {
    let lagg = found.lagg.as_ref();
    let vlan = found.vlan.as_ref();
    lagg.is_some_and(|lagg| !lagg.ports.is_empty())
        || vlan.is_some_and(|vlan| vlan.parent.is_some())
}

/// How a vlan becomes again what it is now; none where it has no carrier.
fn vlan_back(found: &Interface, is_member: bool) -> Option<Vec<Back>> {
    let vlan = found.vlan.as_ref()?;
    let name = &found.name;
    let mut back = vec![Back::Vlan {
        name: name.clone(),
        id: vlan.id,
        parent: vlan.parent.clone()?,
    }];
    // A member of a bridge has the bridge's, and refuses another.
    if !is_member {
        back.push(Back::Mtu {
            interface: name.clone(),
            mtu: found.mtu,
        });
    }
    Some(back)
}

/// That a change to that target was taken back once, in words.
pub(super) fn verdict(ledger: &Ledger, part: &str, target: &str) -> Option<String> {
    let judged = ledger.rolled_back.get(part);
    let judged = judged.filter(|judged| judged.target == target)?;
    Some(format!(
        "{judged}; it is not tried again before something else is declared, or the host has been paused (jailctl host pause, jailctl host resume)"
    ))
}

/// Why a lagg or a vlan that a boot has taken away is not made as it is declared: that was taken back once.
pub(super) fn verdict_of(view: &HostView, ledger: &Ledger, uplink: &str) -> Option<String> {
    verdict(ledger, &part(uplink), &declared(view, uplink))
}

/// Whether the ledger need not know any more that a change was taken back: what it was about is declared otherwise or not at all, or the operator has paused the host.
pub(super) fn is_acquitted(view: &HostView, ledger: &Ledger, of: &str) -> bool {
    let mut ports = ledger.owned.iter();
    let is_port = ports
        .any(|owned| matches!(owned, Owned::LaggPort { port, .. } if interface_part(port) == of));
    let mut uplinks = view.host.uplinks.keys();
    let is_declared = uplinks
        .find(|uplink| part(uplink) == of)
        .is_some_and(|uplink| {
            let judged = ledger.rolled_back.get(of);
            judged.is_some_and(|judged| judged.target == declared(view, uplink))
        });
    view.host.paused || !is_declared && !is_port
}

impl<'a> Planner<'a> {
    /// The interface of an uplink, for rules that name it: they may name one that is about to be made.
    ///
    /// # Errors
    /// A message that names what is there instead.
    pub(super) fn uplink_interface(&self, uplink: &str) -> Result<String, String> {
        match self.desired.uplinks.found.get(uplink) {
            Some(Found::Standing(interface) | Found::Pending(interface, _)) => {
                Ok(interface.clone())
            }
            Some(Found::Refused(_, message)) => Err(message.clone()),
            None => super::desired::plain_interface(self.view, self.observed, &self.index, uplink),
        }
    }

    /// What must have become of an interface before anything is put on it: until a lagg has a port it, and each vlan upon it, has no MAC address, and an IPv6 address would bring a link-local one made
    /// of nothing.
    pub(super) fn uplink_needs(&self, interface: &str) -> Vec<Subject> {
        let mut needs = Vec::new();
        let mut below = self.desired.uplinks.of(interface);
        while let Some(uplink) = below {
            // One that carries already has a MAC address, and may be waiting for a controller to be changed further.
            if !self.index.interface(&uplink.interface).is_some_and(carries) {
                needs.push(subject(uplink.uplink));
            }
            below = match &uplink.made {
                Made::Vlan { parent, .. } => self.desired.uplinks.of(parent),
                Made::Lagg { .. } => None,
            };
        }
        needs
    }

    pub(super) fn plan_uplinks(&mut self) {
        let uplinks = std::mem::take(&mut self.desired.uplinks.made);
        for uplink in &uplinks {
            self.plan_module(match uplink.made {
                Made::Lagg { .. } => "if_lagg",
                Made::Vlan { .. } => "if_vlan",
            });
            let present = self.index.interface(&uplink.interface);
            match &uplink.made {
                Made::Lagg {
                    protocol,
                    hash,
                    ports,
                } => self.plan_lagg(uplink, present, protocol, hash.as_deref(), ports),
                Made::Vlan { id, parent } => self.plan_vlan(uplink, &uplinks, present, *id, parent),
            }
        }
        self.desired.uplinks.made = uplinks;
    }

    /// How an uplink of ours may be changed; a block says why not.
    fn leave_to_change(
        &mut self,
        uplink: &str,
        present: &Interface,
        back: Option<Vec<Back>>,
    ) -> Leave {
        if !carries(present) {
            return Leave::Given;
        }
        let Some(message) = self.life_upon(present) else {
            return Leave::Given;
        };
        let Some(back) = back else {
            let message = format!(
                "spec.uplinks[{uplink}]: {message}; changing `{}` could cut the host off, and there would be no way back: declare it as it was, or take the host's addresses off it first",
                present.name
            );
            self.block(&Subject::Host, reason::UPLINK_HAS_ADDRESSES, message);
            return Leave::Refused;
        };
        self.leave_under_guard(
            Guard {
                part: part(uplink),
                target: declared(self.view, uplink),
                back,
                disown: Vec::new(),
            },
            &format!("spec.uplinks[{uplink}]"),
        )
    }

    /// A change under guard, unless it was taken back.
    fn leave_under_guard(&mut self, guard: Guard, whose: &str) -> Leave {
        let judged = verdict(self.ledger, &guard.part, &guard.target);
        let Some(judged) = judged else {
            return Leave::UnderGuard(Box::new(guard));
        };
        self.block(
            &Subject::Host,
            reason::ROLLED_BACK,
            format!("{whose}: {judged}"),
        );
        Leave::Refused
    }

    /// How a lagg becomes again what it is now.
    fn lagg_back(&self, name: &str, lagg: &Lagg, ports: &[String]) -> Option<Vec<Back>> {
        let protocol = Protocol::read(&lagg.protocol)?;
        let master = lagg.master();
        let others = lagg.ports.keys().map(String::as_str);
        let others = others.filter(|port| Some(*port) != master);
        let added = || {
            let added = ports.iter().filter(|port| !lagg.ports.contains_key(*port));
            added.filter_map(|port| self.index.interface(port))
        };
        let mut back = vec![Back::Lagg {
            name: name.to_owned(),
            protocol,
            hash: lagg.hash.clone(),
            ports: master
                .into_iter()
                .chain(others)
                .map(str::to_owned)
                .collect(),
            remove: added().map(|port| port.name.clone()).collect(),
        }];
        let mac = self.index.interface(name).and_then(|lagg| lagg.mac);
        back.extend(mac.map(|mac| Back::Mac {
            interface: name.to_owned(),
            mac,
        }));
        back.extend(added().map(|port| Back::Mtu {
            interface: port.name.clone(),
            mtu: port.mtu,
        }));
        let down = added().filter(|port| !port.is_up());
        back.extend(down.map(|port| Back::Down {
            interface: port.name.clone(),
        }));
        Some(back)
    }

    /// What of the host goes by an interface, or by what stands upon it.
    fn life_upon(&self, found: &Interface) -> Option<String> {
        let own = lives_by(found, self.observed, self.ledger);
        own.or_else(|| {
            let mut above = all_upon(&found.name, self.observed).into_iter();
            above.find_map(|above| lives_by(above, self.observed, self.ledger))
        })
    }

    fn plan_lagg(
        &mut self,
        uplink: &DesiredUplink<'_>,
        present: Option<&'a Interface>,
        protocol: &'static str,
        hash: Option<&str>,
        ports: &[String],
    ) {
        let subject = subject(uplink.uplink);
        let name = &uplink.interface;
        let Some(found) = present else {
            let op = Op::CreateLagg {
                name: name.clone(),
                description: uplink.description.clone(),
            };
            self.step(Phase::CreateInterface, &subject, op);
            self.plan_ports(uplink, None, protocol, hash, ports, Vec::new());
            return;
        };
        if !found.is_up() {
            let op = Op::SetUp {
                interface: name.clone(),
                up: true,
            };
            self.step(Phase::ShapeInterface, &subject, op);
        }
        let fresh = Lagg::default();
        let lagg = found.lagg.as_deref().unwrap_or(&fresh);
        let remove: Vec<String> = lagg
            .ports
            .keys()
            .filter(|port| !ports.contains(port) && self.is_our_port(name, port))
            .cloned()
            .collect();
        let strangers = lagg.ports.keys();
        let mut strangers =
            strangers.filter(|port| !ports.contains(port) && !remove.contains(port));
        let stranger = strangers.next();
        if let Some(port) = stranger {
            let message = format!(
                "spec.uplinks[{0}]: somebody made `{port}` a port of `{name}`; take it out (ifconfig {name} -laggport {port}), or name it in the lagg's ports",
                uplink.uplink
            );
            self.block(&Subject::Host, reason::UPLINK_IN_USE, message);
        }
        // The preferred one may be away; it is the preferred one again when it is back. For another to become it all but that one leave for a moment, which a stranger's port does not.
        let is_preferred = protocol != "failover"
            || stranger.is_some()
            || lagg.master() == ports.first().map(String::as_str);
        let is_bent = lagg.protocol != protocol
            || hash.is_some_and(|hash| lagg.hash != hash)
            || !remove.is_empty()
            || !is_preferred && !ports.is_empty();
        let away = ports.iter().filter(|port| !lagg.ports.contains_key(*port));
        // A new port is given its share of what the host lives by. One of ours that fell out had it already.
        let (fallen, new): (Vec<_>, Vec<_>) = away.partition(|port| self.is_our_port(name, port));
        if is_bent || !new.is_empty() {
            let back = self.lagg_back(name, lagg, ports);
            let leave = self.leave_to_change(uplink.uplink, found, back);
            if leave != Leave::Refused {
                let step = self.plan_ports(uplink, Some(lagg), protocol, hash, ports, remove);
                step.guard = leave.guard();
                if let Some(guard) = &mut step.guard {
                    guard.disown = new_ports(&step.record);
                }
                return;
            }
        } else if !fallen.is_empty() {
            self.plan_ports(uplink, Some(lagg), protocol, hash, ports, remove);
            return;
        }
        for port in ports.iter().filter(|port| lagg.ports.contains_key(*port)) {
            self.plan_uplink_up(&subject, port);
        }
    }

    fn is_our_port(&self, of: &str, name: &str) -> bool {
        let mut owned = self.ledger.owned.iter();
        owned.any(
            |owned| matches!(owned, Owned::LaggPort { lagg, port, .. } if lagg == of && port == name),
        )
    }

    fn plan_ports(
        &mut self,
        uplink: &DesiredUplink<'_>,
        present: Option<&Lagg>,
        protocol: &'static str,
        hash: Option<&str>,
        ports: &[String],
        remove: Vec<String>,
    ) -> &mut Step {
        let name = &uplink.interface;
        let mut records = Vec::new();
        for port in ports {
            let Some(found) = self.index.interface(port) else {
                continue;
            };
            let is_port = present.is_some_and(|lagg| lagg.ports.contains_key(port));
            // One that fell out still has the MTU of the lagg, and not the one that it gets back.
            if !is_port && !self.is_our_port(name, port) {
                records.push(Owned::LaggPort {
                    lagg: name.clone(),
                    port: port.clone(),
                    mtu: found.mtu,
                });
            }
            if !found.is_up() {
                records.push(Owned::BroughtUp {
                    interface: port.clone(),
                });
                if !found.nd6.contains("IFDISABLED") && found.link_local().is_none() {
                    records.push(Owned::LinkLocal {
                        interface: port.clone(),
                    });
                }
            }
        }
        let op = Op::SetLagg {
            name: name.clone(),
            protocol,
            hash: hash.map(str::to_owned),
            ports: ports.to_vec(),
            remove,
        };
        let step = self.step(Phase::ShapeInterface, &subject(uplink.uplink), op);
        step.record.extend(records.into_iter().map(Record::Owned));
        step
    }

    fn plan_vlan(
        &mut self,
        uplink: &DesiredUplink<'_>,
        all: &[DesiredUplink<'_>],
        present: Option<&'a Interface>,
        id: u16,
        parent: &str,
    ) {
        let subject = subject(uplink.uplink);
        let name = &uplink.interface;
        if all.iter().all(|other| other.interface != parent) {
            self.plan_uplink_up(&subject, parent);
        }
        let mut guard = None;
        if let Some(found) = present {
            if !found.is_up() {
                let op = Op::SetUp {
                    interface: name.clone(),
                    up: true,
                };
                self.step(Phase::ShapeInterface, &subject, op);
            }
            let is_so = found
                .vlan
                .as_ref()
                .is_some_and(|vlan| vlan.id == id && vlan.parent.as_deref() == Some(parent));
            if is_so {
                return;
            }
            let back = vlan_back(found, self.index.bridge_of(name).is_some());
            let leave = self.leave_to_change(uplink.uplink, found, back);
            if leave == Leave::Refused {
                return;
            }
            guard = leave.guard();
        }
        // A lagg of ours whose ports are still somebody else's: there is nothing to be upon yet. A vlan keeps what carries it meanwhile, unless that is a port which the lagg waits for.
        let is_there = self.index.interface(parent).is_some()
            || all.iter().any(|other| other.interface == parent);
        if !is_there && guard.is_none() {
            let carried = present.and_then(|found| found.vlan.as_ref()?.parent.as_ref());
            if carried.is_some_and(|carried| self.is_declared_port(parent, carried)) {
                let op = Op::UnsetVlan { name: name.clone() };
                self.step(Phase::RemoveMember, &subject, op);
            }
            return;
        }
        // Two names of one interface, which admission does not know to be one.
        let twin = all.iter().find(|other| {
            let has_tag = other.made.is_vlan_of(id, parent);
            has_tag && other.interface < *name
        });
        if let Some(twin) = twin {
            let message = format!(
                "spec.uplinks[{}]: VLAN {id} of `{parent}` is uplink `{}` already; name one uplink in both networks, or give another VLAN id",
                uplink.uplink, twin.uplink
            );
            return self.block(&subject, reason::UPLINK_IN_USE, message);
        }
        if present.is_none() {
            let op = Op::CreateVlan {
                name: name.clone(),
                description: uplink.description.clone(),
            };
            self.step(Phase::CreateInterface, &subject, op);
        }
        self.plan_free_tag(name, id, parent);
        let op = Op::SetVlan {
            name: name.clone(),
            id,
            parent: parent.to_owned(),
        };
        self.step(Phase::ShapeInterface, &subject, op).guard = guard;
    }

    /// Whether the lagg of that name, which may not be there yet, shall have the port.
    fn is_declared_port(&self, lagg: &str, port: &str) -> bool {
        let view = self.view;
        let mut uplinks = view.host.uplinks.iter();
        uplinks.any(|(uplink, spec)| {
            let ports = spec.lagg.as_ref().map(|lagg| &lagg.ports);
            ports.is_some_and(|ports| ports.iter().any(|one| one == port))
                && names::lagg(&view.host_uid, uplink) == lagg
        })
    }

    /// Another vlan of ours that has the tag, and shall not keep it, gives it up first: two may change places.
    fn plan_free_tag(&mut self, name: &str, id: u16, parent: &str) {
        let mut interfaces = self.observed.interfaces.iter();
        let holder = interfaces.find(|found| {
            found
                .vlan
                .as_ref()
                .is_some_and(|vlan| vlan.id == id && vlan.parent.as_deref() == Some(parent))
        });
        let Some(holder) = holder.filter(|holder| holder.name != name) else {
            return;
        };
        let Some((mark, _)) = marked(holder, &self.index) else {
            return;
        };
        if mark.cluster != self.view.cluster || self.life_upon(holder).is_some() {
            return;
        }
        let uplink = match &mark.role {
            Role::Vlan(uplink) | Role::Lagg(uplink) => uplink.as_str(),
            Role::Bridge | Role::Loopback | Role::Port | Role::HostEnd(_) | Role::JailEnd(_) => "",
        };
        let op = Op::UnsetVlan {
            name: holder.name.clone(),
        };
        self.step(Phase::RemoveMember, &subject(uplink), op);
    }

    /// Laggs and vlans of ours that no uplink declares any more, and ports that have left one.
    pub(super) fn plan_leftover_made(&mut self) {
        let observed = self.observed;
        for found in &observed.interfaces {
            let Some((mark, _)) = marked(found, &self.index) else {
                continue;
            };
            if mark.cluster == self.view.cluster && !self.is_declared(&mark, found) {
                self.plan_destroy_made(&mark, found);
            }
        }
        self.plan_leftover_ports();
    }

    /// Whether an uplink of the view is this one, made or not. Where somebody else's is used instead, ours is not.
    fn is_declared(&self, mark: &Mark, found: &Interface) -> bool {
        let (uplink, name) = match &mark.role {
            Role::Lagg(uplink) => (uplink, names::lagg(&mark.uid, uplink)),
            Role::Vlan(uplink) => (uplink, names::vlan(&mark.uid, uplink)),
            Role::Bridge | Role::Loopback | Role::Port | Role::HostEnd(_) | Role::JailEnd(_) => {
                return true;
            }
        };
        // Half made under the driver's name.
        if found.name != name || mark.uid != self.view.host_uid {
            return false;
        }
        let Some(spec) = self.view.host.uplinks.get(uplink) else {
            return false;
        };
        let is_kind = match mark.role {
            Role::Lagg(_) => spec.lagg.is_some(),
            Role::Vlan(_) => spec.vlan.is_some(),
            Role::Bridge | Role::Loopback | Role::Port | Role::HostEnd(_) | Role::JailEnd(_) => {
                false
            }
        };
        is_kind && !self.desired.uplinks.is_adopted(uplink)
    }

    fn plan_destroy_made(&mut self, mark: &Mark, found: &Interface) {
        let uplink = match &mark.role {
            Role::Lagg(uplink) | Role::Vlan(uplink) => uplink.as_str(),
            Role::Bridge | Role::Loopback | Role::Port | Role::HostEnd(_) | Role::JailEnd(_) => "",
        };
        let subject = subject(uplink);
        let name = &found.name;
        if let Some((reason, message)) = self.strangers_upon(found) {
            let message = format!("`{name}` is no longer declared, but {message}");
            return self.block(&Subject::Host, reason, message);
        }
        self.plan_off(found);
        if self.leans_upon(found) {
            return;
        }
        if let Some(lagg) = &found.lagg {
            for port in lagg.ports.keys() {
                let op = Op::RemovePort {
                    lagg: name.clone(),
                    port: port.clone(),
                };
                self.step(Phase::RemoveMember, &subject, op);
            }
        }
        let op = Op::DestroyInterface {
            name: name.clone(),
            description: found.description.clone().unwrap_or_default(),
        };
        self.step(Phase::DestroyInterface, &subject, op);
    }

    /// Vlans of ours that stand upon what is to go, and wait for another interface, leave it.
    fn plan_off(&mut self, found: &Interface) {
        let observed = self.observed;
        for above in &observed.interfaces {
            let stays = || {
                let made = self.desired.uplinks.of(&above.name);
                made.is_some_and(|made| made.is_upon(&found.name))
            };
            let Some((mark, _)) = marked(above, &self.index).filter(|_| above.vlan.is_some())
            else {
                continue;
            };
            let is_declared = self.is_declared(&mark, above);
            if !above.below.contains(&found.name) || !is_declared || stays() {
                continue;
            }
            let op = Op::UnsetVlan {
                name: above.name.clone(),
            };
            self.step(Phase::RemoveMember, &subject(&above.name), op);
        }
    }

    /// What somebody else has made of a lagg or vlan of ours.
    fn strangers_upon(&self, found: &Interface) -> Option<(&'static str, String)> {
        let name = &found.name;
        if let Some(message) = self.life_upon(found) {
            let message = format!("{message}; take that off");
            return Some((reason::UPLINK_HAS_ADDRESSES, message));
        }
        let in_use = |message| Some((reason::UPLINK_IN_USE, message));
        if let Some(bridge) = self.index.bridge_of(name) {
            let is_ours = bridge
                .description
                .as_deref()
                .and_then(Mark::parse)
                .is_some();
            if !is_ours {
                return in_use(format!(
                    "somebody made it a member of bridge `{0}`; take it out (ifconfig {0} deletem {name})",
                    bridge.name
                ));
            }
        }
        let mut above = self.observed.interfaces.iter();
        let above =
            above.find(|above| above.below.contains(name) && marked(above, &self.index).is_none());
        if let Some(above) = above {
            return in_use(format!(
                "somebody made `{0}` upon it; destroy that first (ifconfig {0} destroy)",
                above.name
            ));
        }
        let lagg = found.lagg.as_ref()?;
        let mut ports = lagg.ports.keys();
        let port = ports.find(|port| !self.is_our_port(name, port))?;
        in_use(format!(
            "somebody made `{port}` a port of it; take it out (ifconfig {name} -laggport {port})"
        ))
    }

    /// Whether something of ours still stands upon it, which goes first.
    fn leans_upon(&self, found: &Interface) -> bool {
        let name = &found.name;
        let node = self.index.node(&names::ether_node(name));
        let mut above = self.observed.interfaces.iter();
        let mut owned = self.ledger.owned.iter();
        self.index.bridge_of(name).is_some()
            || above.any(|above| above.below.contains(name))
            || node.is_some_and(|node| node.kind == "ether" && !node.hooks.is_empty())
            || owned.any(|owned| match owned {
                Owned::Alias { interface, .. }
                | Owned::Inet6Enabled { interface }
                | Owned::NgUplink { interface, .. }
                | Owned::NgEther { interface, .. } => interface == name,
                Owned::TableRoute(route) => {
                    let mut present = self.index.table_routes(route.fib, route.destination);
                    present.any(|present| present.interface == *name)
                }
                Owned::BroughtUp { .. }
                | Owned::LinkLocal { .. }
                | Owned::LaggPort { .. }
                | Owned::Storage { .. }
                | Owned::Dataset { .. }
                | Owned::Member { .. }
                | Owned::Redirect { .. }
                | Owned::Firewall { .. }
                | Owned::Rejected { .. }
                | Owned::Unchecked { .. }
                | Owned::UncheckedNetwork { .. }
                | Owned::Route { .. }
                | Owned::Limit { .. }
                | Owned::Sysctl { .. }
                | Owned::Nic(_)
                | Owned::PfConf { .. }
                | Owned::Translation { .. } => false,
            })
    }

    /// Ports that have left their lagg get their MTU back; their MAC address the kernel has given back.
    fn plan_leftover_ports(&mut self) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            let Owned::LaggPort { lagg, port, mtu } = owned else {
                continue;
            };
            let mut interfaces = self.observed.interfaces.iter();
            let is_port = interfaces.any(|found| {
                found
                    .lagg
                    .as_ref()
                    .is_some_and(|lagg| lagg.ports.contains_key(port))
            });
            let wanted = self.desired.uplinks.of(lagg);
            let comes_back = wanted.is_some_and(|wanted| wanted.is_upon(port));
            let found = self.index.interface(port).filter(|found| found.mtu != *mtu);
            let stays = is_port || comes_back || self.index.bridge_of(port).is_some();
            let Some(found) = found.filter(|_| !stays) else {
                continue;
            };
            // Somebody has given it an address meanwhile.
            let leave = if self.life_upon(found).is_some() {
                let guard = Guard {
                    part: interface_part(port),
                    target: digest(mtu),
                    back: vec![Back::Mtu {
                        interface: port.clone(),
                        mtu: found.mtu,
                    }],
                    disown: Vec::new(),
                };
                self.leave_under_guard(guard, &format!("`{port}`"))
            } else {
                Leave::Given
            };
            if leave == Leave::Refused {
                continue;
            }
            let op = Op::SetMtu {
                interface: port.clone(),
                mtu: *mtu,
            };
            let subject = Subject::HostPart(interface_part(port));
            let step = self.step(Phase::Restore, &subject, op);
            step.forget.push(Record::Owned(owned.clone()));
            step.guard = leave.guard();
        }
    }
}
