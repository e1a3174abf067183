//! The uplinks of a Host: which interface each is, and the laggs and vlans that are to be made for them.
//!
//! One that exists and is equal is used as it is, whoever made it, and never changed. A port that the host lives by is not taken: it would receive nothing itself any more, and the
//! host's addresses are its operator's to move. What of ours the host has come to live by is changed under guard (`crate::guard`).

use std::collections::BTreeMap;

use cellblock_schemas::host::{Lagg, LaggProtocol, Uplink, Vlan};

use super::{Resolver, list_or_none};
use crate::ledger::{Ledger, Owned};
use crate::mark::{Mark, Role, Written};
use crate::names::{self, LOWER, UPPER};
use crate::observed::{Interface, Observed};
use crate::op::Subject;
use crate::plan::index::Index;
use crate::plan::reason;
use crate::plan::uplinks::verdict_of;

/// Interfaces that no lagg takes: they are no Ethernet (EPROTONOSUPPORT), or a lagg themselves (EINVAL; `lagg_port_create`, sys/net/if_lagg.c).
const NO_PORTS: [&str; 7] = ["bridge", "gif", "gre", "lagg", "lo", "tun", "wg"];

/// A lagg or a vlan that shall stand.
#[derive(Clone, Debug)]
pub struct DesiredUplink<'a> {
    /// The uplink's name.
    pub uplink: &'a str,
    /// The interface's name.
    pub interface: String,
    /// Its mark.
    pub description: String,
    /// What it is.
    pub made: Made,
}

/// What an uplink of ours is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A lagg.
    Lagg {
        /// `laggproto`
        protocol: &'static str,
        /// `lagghash`; none: as it is.
        hash: Option<String>,
        /// The ports that can be had now.
        ports: Vec<String>,
    },
    /// A vlan.
    Vlan {
        /// The VLAN id.
        id: u16,
        /// The interface that carries it.
        parent: String,
    },
}

impl Made {
    /// Whether it is this VLAN of that interface.
    #[must_use]
    pub fn is_vlan_of(&self, of: u16, on: &str) -> bool {
        match self {
            Self::Lagg { .. } => false,
            Self::Vlan { id, parent, .. } => *id == of && parent == on,
        }
    }
}

impl DesiredUplink<'_> {
    /// Whether it is made upon that interface.
    #[must_use]
    pub fn is_upon(&self, interface: &str) -> bool {
        match &self.made {
            Made::Lagg { ports, .. } => ports.iter().any(|port| port == interface),
            Made::Vlan { parent, .. } => parent == interface,
        }
    }
}

/// The laggs and vlans of a Host.
#[derive(Default)]
pub struct Uplinks<'a> {
    /// Those that are ours to make and to keep, each behind what it stands upon.
    pub made: Vec<DesiredUplink<'a>>,
    /// What has become of each, by uplink.
    pub(in crate::plan) found: BTreeMap<&'a str, Found>,
}

/// What has become of a lagg or a vlan.
#[derive(Clone, Debug)]
pub(in crate::plan) enum Found {
    /// It stands, under this name.
    Standing(String),
    /// It will be made under this name, or waits for what it stands upon; why it is not there yet.
    Pending(String, String),
    /// It cannot be; why not.
    Refused(&'static str, String),
}

impl Uplinks<'_> {
    /// The one of ours with that name.
    pub(in crate::plan) fn of(&self, interface: &str) -> Option<&DesiredUplink<'_>> {
        self.made.iter().find(|made| made.interface == interface)
    }

    /// Whether a lagg or a vlan that shall stand is made upon an interface.
    pub(in crate::plan) fn is_below(&self, interface: &str) -> bool {
        self.made.iter().any(|made| made.is_upon(interface))
    }

    /// Whether a lagg or a vlan of that uplink is somebody else's.
    pub(in crate::plan) fn is_adopted(&self, uplink: &str) -> bool {
        let Some(Found::Standing(name)) = self.found.get(uplink) else {
            return false;
        };
        self.of(name).is_none()
    }
}

/// The word of `laggproto`.
pub(in crate::plan) fn word(protocol: LaggProtocol) -> &'static str {
    match protocol {
        LaggProtocol::Failover => "failover",
        LaggProtocol::Lacp => "lacp",
        LaggProtocol::Loadbalance => "loadbalance",
        LaggProtocol::Roundrobin => "roundrobin",
    }
}

/// Whether `interface` is a clone of that driver: no jail's root can change the driver's name, which is asked for where a Host has such uplinks.
pub(in crate::plan) fn is_of_driver(interface: &Interface, driver: &str) -> bool {
    let unit = interface.driver.as_deref();
    let unit = unit.and_then(|name| name.strip_prefix(driver));
    unit.is_some_and(|unit| unit.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The addresses of the host itself on an interface, in words: neither link-local ones nor those that we put there.
pub(in crate::plan) fn own_addresses(interface: &Interface, ledger: &Ledger) -> String {
    let entries = interface.addresses.iter();
    let own = entries
        .filter(|entry| entry.scope.is_none())
        .map(|entry| entry.address)
        .filter(|address| {
            let alias = Owned::Alias {
                interface: interface.name.clone(),
                address: *address,
            };
            !ledger.owned.contains(&alias)
        });
    let own: Vec<String> = own.map(|address| address.to_string()).collect();
    own.join(", ")
}

/// What of the host goes by an interface, in words; none: nothing does.
pub(in crate::plan) fn lives_by(
    interface: &Interface,
    observed: &Observed,
    ledger: &Ledger,
) -> Option<String> {
    let name = &interface.name;
    let own = own_addresses(interface, ledger);
    if !own.is_empty() {
        return Some(format!("`{name}` carries the host's own {own}"));
    }
    let tables = observed.routes.iter();
    let mut routes = tables.flat_map(|(fib, routes)| routes.iter().map(move |route| (*fib, route)));
    let is_led = routes.any(|(fib, route)| {
        route.interface == *name && route.is_made() && !ledger.has_table_route(fib, route)
    });
    is_led.then(|| format!("a route of the host goes by `{name}`"))
}

/// Everything that stands upon an interface, however far up: vlans, laggs, and the bridges that have it, or one of those, as a member.
pub(in crate::plan) fn all_upon<'o>(interface: &str, observed: &'o Observed) -> Vec<&'o Interface> {
    let mut found: Vec<&Interface> = Vec::new();
    let mut next = 0;
    let mut below = Some(interface);
    while let Some(name) = below {
        for above in &observed.interfaces {
            let is_upon = above.below.contains(name) || above.members.contains_key(name);
            let is_new =
                above.name != interface && found.iter().all(|known| known.name != above.name);
            if is_upon && is_new {
                found.push(above);
            }
        }
        below = found.get(next).map(|above| above.name.as_str());
        next += 1;
    }
    found
}

/// The marked lagg or vlan that an interface is, by mark, name and driver.
pub(in crate::plan) fn marked<'i>(
    interface: &'i Interface,
    index: &Index<'_>,
) -> Option<(Mark, &'i str)> {
    let mark = Mark::parse(interface.description.as_deref()?)?;
    let (name, driver) = match &mark.role {
        Role::Lagg(uplink) => (names::lagg(&mark.uid, uplink), "lagg"),
        Role::Vlan(uplink) => (names::vlan(&mark.uid, uplink), "vlan"),
        Role::Bridge | Role::Loopback | Role::Port | Role::HostEnd(_) | Role::JailEnd(_) => {
            return None;
        }
    };
    let ours = interface.name == name || is_of_name(&interface.name, driver);
    let ours = ours && interface.groups.contains(driver) && !index.is_ambiguous(&interface.name);
    ours.then_some((mark, interface.name.as_str()))
}

/// Whether `name` is one that the driver gives.
fn is_of_name(name: &str, driver: &str) -> bool {
    let unit = name.strip_prefix(driver);
    unit.is_some_and(|unit| !unit.is_empty() && unit.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A reason, or that it is only a matter of time, and a message.
type Refusal = (&'static str, String);

impl<'a> Resolver<'a, '_> {
    /// Resolves every lagg and vlan that the Host declares, used or not.
    pub(super) fn uplinks(&mut self) {
        let view = self.view;
        for (name, uplink) in &view.host.uplinks {
            if (uplink.lagg.is_some() || uplink.vlan.is_some())
                && let Found::Refused(reason, message) = self.uplink(name)
            {
                let message = format!("spec.uplinks[{name}]: {message}");
                self.block(Subject::Host, reason, message);
            }
        }
    }

    fn uplink(&mut self, name: &'a str) -> Found {
        if let Some(found) = self.desired.uplinks.found.get(name) {
            return found.clone();
        }
        // Admission refuses circles.
        let circle = Found::Refused(
            reason::UPLINK_MISSING,
            format!("uplink `{name}` stands upon itself"),
        );
        self.desired.uplinks.found.insert(name, circle);
        let view = self.view;
        let found = match view.host.uplinks.get(name) {
            Some(Uplink {
                lagg: Some(lagg), ..
            }) => self.lagg(name, lagg),
            Some(Uplink {
                vlan: Some(vlan), ..
            }) => self.vlan(name, vlan),
            Some(_) | None => match super::plain_interface(view, self.observed, self.index, name) {
                Ok(interface) => Found::Standing(interface),
                Err(message) => Found::Refused(reason::UPLINK_MISSING, message),
            },
        };
        self.desired.uplinks.found.insert(name, found.clone());
        found
    }

    /// The interface of an uplink that something is to be attached to.
    ///
    /// # Errors
    /// A reason, and a message that names what is there instead; `UplinkPending` where it is only a matter of time.
    pub(super) fn uplink_interface(&self, name: &str) -> Result<String, Refusal> {
        match self.desired.uplinks.found.get(name) {
            Some(Found::Standing(interface)) => Ok(interface.clone()),
            Some(Found::Pending(_, message)) => Err((reason::UPLINK_PENDING, message.clone())),
            Some(Found::Refused(reason, message)) => Err((reason, message.clone())),
            None => super::plain_interface(self.view, self.observed, self.index, name)
                .map_err(|message| (reason::UPLINK_MISSING, message)),
        }
    }

    /// What stands under a name of ours.
    fn ours(&self, interface: &str, description: &str) -> Result<Option<&'a Interface>, Refusal> {
        if self.index.is_ambiguous(interface) {
            let message = format!(
                "two interfaces are called `{interface}`, one of them came back from a jail"
            );
            return Err((reason::AMBIGUOUS_INTERFACE, message));
        }
        if let Some(found) = self.index.interface(interface) {
            if marked(found, self.index).is_some()
                && found.description.as_deref().and_then(Written::read)
                    == Written::read(description)
            {
                return Ok(Some(found));
            }
            let message = format!(
                "an interface called `{interface}` exists and does not carry our mark; rename or destroy it"
            );
            return Err((reason::NAME_TAKEN, message));
        }
        let Some(renamed) = self.index.renamed(description) else {
            return Ok(None);
        };
        let message = format!(
            "somebody renamed `{interface}` to `{to}`; name it back (ifconfig {to} name {interface}), or destroy it",
            to = renamed.name
        );
        Err((reason::INTERFACE_RENAMED, message))
    }

    /// Whether an interface is somebody else's, as far as marks say.
    fn is_strangers(&self, interface: &Interface) -> bool {
        let mark = interface.description.as_deref().and_then(Mark::parse);
        mark.is_none() && !self.index.is_ambiguous(&interface.name)
    }

    fn lagg(&mut self, uplink: &'a str, lagg: &'a Lagg) -> Found {
        let interface = names::lagg(&self.view.host_uid, uplink);
        let mark = Mark {
            cluster: self.view.cluster.clone(),
            uid: self.view.host_uid.clone(),
            role: Role::Lagg(uplink.to_owned()),
        };
        let description = mark.description(uplink);
        let standing = match self.ours(&interface, &description) {
            Ok(standing) => standing,
            Err((reason, message)) => return Found::Refused(reason, message),
        };
        if standing.is_none()
            && let Some(equal) = self.equal_lagg(lagg)
        {
            return Found::Standing(equal);
        }
        if standing.is_none()
            && let Some(message) = verdict_of(self.view, self.ledger, uplink)
        {
            return Found::Refused(reason::ROLLED_BACK, message);
        }
        let (mut ports, mut refused, mut pending) = (Vec::new(), None, None);
        for port in &lagg.ports {
            match self.check_port(port, &interface) {
                Ok(()) => ports.push(port.clone()),
                Err((reason::UPLINK_PENDING, message)) => pending = pending.or(Some(message)),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        let is_missing = matches!(refused, Some((reason::UPLINK_MISSING, _)));
        let has_port = standing.is_some_and(|found| {
            let standing = found.lagg.as_ref();
            standing.is_some_and(|lagg| !lagg.ports.is_empty())
        });
        if !has_port {
            match (refused.clone(), pending) {
                (Some((reason, message)), _) if !is_missing || ports.is_empty() => {
                    return Found::Refused(reason, message);
                }
                (_, Some(message)) => return Found::Pending(interface, message),
                (_, None) => {}
            }
        }
        // With the ports that are there it does what it can.
        if let Some((reason, message)) = refused {
            let message = format!("spec.uplinks[{uplink}]: {message}");
            self.block(Subject::Host, reason, message);
        }
        self.desired.uplinks.made.push(DesiredUplink {
            uplink,
            interface: interface.clone(),
            description,
            made: Made::Lagg {
                protocol: word(lagg.protocol),
                hash: lagg.hash.clone(),
                ports,
            },
        });
        if has_port {
            return Found::Standing(interface);
        }
        let message = format!("the lagg of uplink `{uplink}` is made first");
        Found::Pending(interface, message)
    }

    /// A lagg of somebody else's that is as this one shall be.
    fn equal_lagg(&self, wanted: &Lagg) -> Option<String> {
        let mut interfaces = self.observed.interfaces.iter();
        let found = interfaces.find(|found| {
            let Some(lagg) = found.lagg.as_ref().filter(|_| self.is_strangers(found)) else {
                return false;
            };
            let first = wanted.ports.first().map(String::as_str);
            is_of_driver(found, "lagg")
                && lagg.protocol == word(wanted.protocol)
                && lagg.ports.len() == wanted.ports.len()
                && wanted
                    .ports
                    .iter()
                    .all(|port| lagg.ports.contains_key(port))
                && wanted.hash.as_ref().is_none_or(|hash| *hash == lagg.hash)
                && (wanted.protocol != LaggProtocol::Failover || lagg.master() == first)
        });
        found.map(|found| found.name.clone())
    }

    /// Whether an interface can be a port of the lagg of that name, and the host can do without it.
    fn check_port(&self, port: &str, lagg: &str) -> Result<(), Refusal> {
        let Some(found) = self.index.interface(port) else {
            if self.index.is_ambiguous(port) {
                let message = format!(
                    "two interfaces are called `{port}`, one of them came back from a jail; rename or destroy that one"
                );
                return Err((reason::AMBIGUOUS_INTERFACE, message));
            }
            let message = format!(
                "port `{port}` is not on host `{}`; put it in, or take it out of the lagg",
                self.view.host_name
            );
            return Err((reason::UPLINK_MISSING, message));
        };
        let mut interfaces = self.observed.interfaces.iter();
        let holder = interfaces.find(|above| {
            above
                .lagg
                .as_ref()
                .is_some_and(|lagg| lagg.ports.contains_key(port))
        });
        match holder {
            Some(holder) if holder.name == lagg => return Ok(()),
            Some(holder) if marked(holder, self.index).is_some() => {
                let message = format!("`{port}` leaves lagg `{}` first", holder.name);
                return Err((reason::UPLINK_PENDING, message));
            }
            Some(holder) => {
                let message = format!(
                    "`{port}` is a port of `{0}`, which is not as this lagg shall be; make the two agree, destroy `{0}`, or name it as an uplink's `interface`",
                    holder.name
                );
                return Err((reason::UPLINK_IN_USE, message));
            }
            None => {}
        }
        if let Some(group) = NO_PORTS.iter().find(|group| found.groups.contains(group)) {
            let message = format!("`{port}` is a {group}(4), which cannot be a port of a lagg");
            return Err((reason::NOT_CAPABLE, message));
        }
        if let Some(what) = lives_by(found, self.observed, self.ledger) {
            let message = format!(
                "{what}, and a port of a lagg receives nothing itself: the host would be cut off; make the lagg in rc.conf, with the addresses on it, and name it as an uplink's `interface`, or take another port"
            );
            return Err((reason::UPLINK_HAS_ADDRESSES, message));
        }
        self.check_users(port)
    }

    /// Whether nothing but what leaves it has an interface's frames.
    fn check_users(&self, port: &str) -> Result<(), Refusal> {
        if let Some(bridge) = self.index.bridge_of(port) {
            let member = Owned::Member {
                bridge: bridge.name.clone(),
                member: port.to_owned(),
            };
            let (name, leaves) = (&bridge.name, self.ledger.owned.contains(&member));
            return Err(if leaves {
                let message = format!("`{port}` leaves bridge `{name}` first");
                (reason::UPLINK_PENDING, message)
            } else {
                let message = format!("`{port}` is a member of bridge `{name}`; take it out of it");
                (reason::UPLINK_IN_USE, message)
            });
        }
        let node = self.index.node(&names::ether_node(port));
        let mut hooks = [LOWER, UPPER].into_iter();
        if let Some(peer) = hooks.find_map(|hook| node?.hooks.get(hook)) {
            let hooked = Owned::NgUplink {
                switch: peer.node.clone(),
                interface: port.to_owned(),
            };
            let (name, leaves) = (&peer.node, self.ledger.owned.contains(&hooked));
            return Err(if leaves {
                let message = format!("`{port}` leaves netgraph switch `{name}` first");
                (reason::UPLINK_PENDING, message)
            } else {
                let message = format!(
                    "`{port}` is connected to netgraph node `{name}`, which has its frames; disconnect it"
                );
                (reason::UPLINK_IN_USE, message)
            });
        }
        let mut interfaces = self.observed.interfaces.iter();
        if let Some(above) = interfaces.find(|above| above.below.contains(port)) {
            let name = &above.name;
            return Err(if marked(above, self.index).is_some() {
                (
                    reason::UPLINK_PENDING,
                    format!("`{name}` leaves `{port}` first"),
                )
            } else {
                let message = format!(
                    "`{name}` stands upon `{port}`, and would receive nothing any more; destroy it, or make it upon the lagg"
                );
                (reason::UPLINK_IN_USE, message)
            });
        }
        Ok(())
    }

    fn vlan(&mut self, uplink: &'a str, vlan: &'a Vlan) -> Found {
        let parent = match self.uplink(&vlan.uplink) {
            Found::Standing(parent) | Found::Pending(parent, _) => parent,
            Found::Refused(reason, message) => {
                return Found::Refused(reason, format!("uplink `{}`: {message}", vlan.uplink));
            }
        };
        if let Err((reason, message)) = self.check_carrier(&parent) {
            let interface = names::vlan(&self.view.host_uid, uplink);
            return if reason == reason::UPLINK_PENDING {
                Found::Pending(interface, message)
            } else {
                Found::Refused(reason, message)
            };
        }
        let interface = names::vlan(&self.view.host_uid, uplink);
        let mark = Mark {
            cluster: self.view.cluster.clone(),
            uid: self.view.host_uid.clone(),
            role: Role::Vlan(uplink.to_owned()),
        };
        let description = mark.description(uplink);
        let standing = match self.ours(&interface, &description) {
            Ok(standing) => standing,
            Err((reason, message)) => return Found::Refused(reason, message),
        };
        let mut interfaces = self.observed.interfaces.iter();
        let holder = interfaces.find(|found| {
            found
                .vlan
                .as_ref()
                .is_some_and(|found| found.id == vlan.id && found.parent.as_ref() == Some(&parent))
        });
        if let Some(holder) = holder.filter(|holder| holder.name != interface)
            && self.is_strangers(holder)
        {
            if is_of_driver(holder, "vlan") {
                return Found::Standing(holder.name.clone());
            }
            let message = format!(
                "`{}` says that it is VLAN {} on `{parent}`, and is no vlan(4)",
                holder.name, vlan.id
            );
            return Found::Refused(reason::UPLINK_IN_USE, message);
        }
        if standing.is_none()
            && let Some(message) = verdict_of(self.view, self.ledger, uplink)
        {
            return Found::Refused(reason::ROLLED_BACK, message);
        }
        self.desired.uplinks.made.push(DesiredUplink {
            uplink,
            interface: interface.clone(),
            description,
            made: Made::Vlan {
                id: vlan.id,
                parent,
            },
        });
        // One that has lost its parent stays where it is until it has it again.
        let stands = standing.is_some_and(|found| {
            let tagged = found
                .vlan
                .as_ref()
                .is_some_and(|vlan| vlan.parent.is_some());
            tagged || self.index.bridge_of(&interface).is_some()
        });
        if stands {
            return Found::Standing(interface);
        }
        let message = format!("the vlan of uplink `{uplink}` is made first");
        Found::Pending(interface, message)
    }

    /// Whether an interface can carry vlans: what comes in must get as far as them.
    fn check_carrier(&self, parent: &str) -> Result<(), Refusal> {
        let Some(found) = self.index.interface(parent) else {
            if self.index.is_ambiguous(parent) {
                let message = format!(
                    "two interfaces are called `{parent}`, one of them came back from a jail; rename or destroy that one"
                );
                return Err((reason::AMBIGUOUS_INTERFACE, message));
            }
            // Ours, and made with it.
            return Ok(());
        };
        if found.groups.contains("lo") {
            let message = format!("`{parent}` is a lo(4), which carries no VLAN");
            return Err((reason::NOT_CAPABLE, message));
        }
        let mut interfaces = self.observed.interfaces.iter();
        let holder = interfaces.find(|above| {
            let lagg = above.lagg.as_ref();
            lagg.is_some_and(|lagg| lagg.ports.contains_key(parent))
        });
        if let Some(holder) = holder {
            let name = &holder.name;
            return Err(if marked(holder, self.index).is_some() {
                let message = format!("`{parent}` leaves lagg `{name}` first");
                (reason::UPLINK_PENDING, message)
            } else {
                let message =
                    format!("`{parent}` is a port of `{name}`, which has its frames; use `{name}`");
                (reason::UPLINK_IN_USE, message)
            });
        }
        let node = self.index.node(&names::ether_node(parent));
        let mut hooks = [LOWER, UPPER].into_iter();
        let Some(peer) = hooks.find_map(|hook| node?.hooks.get(hook)) else {
            return Ok(());
        };
        let hooked = Owned::NgUplink {
            switch: peer.node.clone(),
            interface: parent.to_owned(),
        };
        let is_ours = self.ledger.owned.contains(&hooked);
        let name = &peer.node;
        // netgraph has an interface's frames before its vlans (`ether_input_internal`, sys/net/if_ethersubr.c).
        let message = format!(
            "`{parent}` is connected to netgraph node `{name}`, which has its frames before any vlan; use another interface for one of the two"
        );
        let is_wanted = self.view.networks.values().any(|network| {
            let mode = network.spec.netgraph.as_ref();
            let uplink = mode.and_then(|mode| mode.uplink.as_deref());
            let found = uplink.and_then(|uplink| self.uplink_interface(uplink).ok());
            found.is_some_and(|found| found == parent)
        });
        Err(if is_ours && !is_wanted {
            (
                reason::UPLINK_PENDING,
                format!("`{parent}` leaves netgraph switch `{name}` first"),
            )
        } else {
            (reason::UPLINK_IN_USE, message)
        })
    }
}

/// The names of the uplinks that a Host has, for messages.
pub(super) fn known(uplinks: &BTreeMap<String, Uplink>) -> String {
    let known: Vec<&str> = uplinks.keys().map(String::as_str).collect();
    list_or_none(&known)
}
