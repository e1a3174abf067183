//! What shall stand on the host, resolved from the view: names, addresses, rules and files, nothing about how to get there.
//!
//! What the view asks for and cannot be resolved on this host (a missing uplink, an unknown parameter) is blocked here, with everything else going on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::feature;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{Addressing, BoundAttachment, JailSpec, ParameterValue, RunPolicy};
use cellblock_schemas::net::{Family, Mac, is_link_local};
use cellblock_schemas::network::{GatewayOwner, Isolation, Mode, Subnet};
use cellblock_schemas::validate::parameters;
use cellblock_schemas::view::{HostView, JailView, NetworkView};

mod switch;
pub(super) mod uplink;

use super::index::Index;
use super::roots::Roots;
use super::routed::{self, HostEnd};
use super::{Blocks, Settings, limits, order, reason, tables};
use crate::ledger::{Ledger, Owned};
use crate::mark::{Mark, Role};
use crate::names;
use crate::observed::{EtherSettings, Interface, Observed, ObservedJail};
use crate::op::{Blocked, Epair, Subject, Waiting};
use crate::render::jailconf::{self, JailConf};
use crate::render::rcconf;
use uplink::Uplinks;

/// The MTU of our interfaces unless the Network or its uplink says otherwise, in octets.
const MTU_DEFAULT: u32 = 1500;

/// The devfs ruleset of jail(8) where `mount.devfs` stands without `devfs_ruleset` (usr.sbin/jail/command.c).
const DEVFS_RULESET_DEFAULT: i64 = 4;

/// How long a network waits for a lagg or a vlan that is made first, in milliseconds: what it stands upon may have to leave something else, each in a pass of its own.
const PENDING_MS_MAX: u64 = 60_000;

/// What shall stand.
pub struct Desired<'a> {
    /// Laggs and vlans.
    pub uplinks: Uplinks<'a>,
    /// Loopbacks by name.
    pub loopbacks: BTreeMap<String, DesiredLoopback<'a>>,
    /// Bridges by name.
    pub bridges: BTreeMap<String, DesiredBridge<'a>>,
    /// Netgraph switches by their nodes' names.
    pub switches: BTreeMap<String, DesiredSwitch<'a>>,
    /// Jails that shall run, by uid; blocked ones are not among them.
    pub jails: BTreeMap<Uid, DesiredJail<'a>>,
}

/// A cloned loopback.
pub struct DesiredLoopback<'a> {
    /// Its network.
    pub network: &'a NetworkView,
    /// Its mark.
    pub description: String,
}

/// A bridge.
pub struct DesiredBridge<'a> {
    /// Its network.
    pub network: &'a NetworkView,
    /// Its mark.
    pub description: String,
    /// In octets.
    pub mtu: u32,
    /// The interface of its uplink.
    pub uplink: Option<String>,
    /// Gateways that the host owns, with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Members cannot talk to each other.
    pub private: bool,
    /// The uplink's member takes part in the spanning tree.
    pub stp: bool,
}

/// A netgraph switch.
pub struct DesiredSwitch<'a> {
    /// Its network.
    pub network: &'a NetworkView,
    /// The interface of its uplink.
    pub uplink: Option<String>,
    /// How the uplink's ng_ether(4) shall treat frames.
    pub settings: EtherSettings,
    /// In octets.
    pub mtu: u32,
    /// The host's own interface at it, where the host owns a gateway.
    pub port: Option<DesiredEiface>,
    /// Gateways that the host owns, with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// An ng_eiface(4) at a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEiface {
    /// Its node's name.
    pub node: String,
    /// The switch, by its node's name.
    pub switch: String,
    /// Its interface's name on the host.
    pub interface: String,
    /// Its interface's mark.
    pub description: String,
    /// Its MAC address.
    pub mac: Mac,
    /// In octets.
    pub mtu: u32,
}

/// A jail that shall run.
pub struct DesiredJail<'a> {
    /// The view's part.
    pub view: &'a JailView,
    /// Its root on the host, without symbolic links.
    pub path: String,
    /// Its root as the manifest has it.
    pub root: String,
    /// The basejail that it shares with others, on the host.
    pub base: Option<String>,
    /// Its jail.conf.
    pub conf: JailConf,
    /// Where that stands.
    pub conf_path: String,
    /// How it is attached.
    pub networking: Networking,
    /// Aliases that it needs on interfaces of the host.
    pub aliases: Vec<DesiredAlias>,
    /// The networks that it leans on.
    pub networks: BTreeSet<Uid>,
    /// The routing table of its processes.
    pub fib: u16,
}

/// How a jail is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Networking {
    /// Not at all, or by parameters alone (`ip4 = inherit`).
    None,
    /// Addresses of the host.
    Shared {
        /// `ip4.addr`, in order.
        ip4: Vec<IpAddr>,
        /// `ip6.addr`, in order, without scopes.
        ip6: Vec<IpAddr>,
        /// The loopbacks that the link-local ones among them are on.
        zones: BTreeMap<IpAddr, Zone>,
        /// `exec.fib` by its networks' word; none: the first table, or the jail's own parameter.
        fib: Option<u16>,
    },
    /// A network stack of its own.
    Vnet {
        /// Its interfaces, in order.
        links: Vec<DesiredLink>,
    },
}

/// What a link-local address is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The interface.
    pub interface: String,
    /// Its number in the kernel, which an address inside has in its second group (recording `12`): another one after each boot, so it is looked up and never remembered. None: it is not known yet.
    pub index: Option<u32>,
}

impl Networking {
    fn zones(&self) -> impl Iterator<Item = (&IpAddr, &Zone)> {
        let zones = match self {
            Self::Shared { zones, .. } => Some(zones),
            Self::None | Self::Vnet { .. } => None,
        };
        zones.into_iter().flatten()
    }

    /// An interface whose index is part of an address, and not known yet.
    pub(super) fn unknown_zone(&self) -> Option<&str> {
        let mut zones = self.zones().map(|(_, zone)| zone);
        let unknown = zones.find(|zone| zone.index.is_none())?;
        Some(&unknown.interface)
    }

    /// Why a running jail cannot use a link-local address of its own: the interface was made anew since.
    pub(super) fn other_zone(&self, running: &ObservedJail) -> Option<String> {
        self.zones().find_map(|(address, zone)| {
            let (now, started) = (zone.index?, running.zones.get(address)?);
            (now != *started).then(|| {
                format!(
                    "`{}` was made anew: it is interface {now} now, and {address} of the jail is on interface {started}",
                    zone.interface
                )
            })
        })
    }
}

/// An address on an interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredAlias {
    /// The interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_length: u8,
}

/// One interface of a VNET jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredLink {
    /// Its name inside.
    pub interface: String,
    /// What it is, and what it is attached to.
    pub attach: Attach,
    /// Where others than `addresses` come from.
    pub addressing: Addressing,
    /// Its addresses with prefix lengths, in order: those that are known.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Addresses that it reaches on the link though no prefix of it covers them.
    pub on_link: Vec<IpAddr>,
    /// Default gateways that lie this way, at most one of each family.
    pub gateways: Vec<IpAddr>,
}

impl DesiredLink {
    /// The pair that it is one end of, if it is of one.
    #[must_use]
    pub fn epair(&self) -> Option<&Epair> {
        match &self.attach {
            Attach::Bridged { epair, .. } | Attach::Routed { epair, .. } => Some(epair),
            Attach::Switched(_) | Attach::Passed(_) => None,
        }
    }

    /// Its name while it is on the host.
    #[must_use]
    pub fn on_host(&self) -> &str {
        match &self.attach {
            Attach::Bridged { epair, .. } | Attach::Routed { epair, .. } => &epair.jail_end,
            Attach::Switched(eiface) => &eiface.interface,
            Attach::Passed(nic) => &nic.interface,
        }
    }

    /// Its MTU in octets; none: what it has.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        match &self.attach {
            Attach::Bridged { epair, .. } | Attach::Routed { epair, .. } => Some(epair.mtu),
            Attach::Switched(eiface) => Some(eiface.mtu),
            Attach::Passed(nic) => nic.mtu,
        }
    }
}

/// What a VNET jail's interface is, and what it is attached to: one variant per way of being made, mended and taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// One end of an epair(4) whose other end is a member of a bridge.
    Bridged {
        /// The pair.
        epair: Epair,
        /// The bridge.
        bridge: String,
    },
    /// One end of an epair(4) whose other end the host routes by.
    Routed {
        /// The pair.
        epair: Epair,
        /// What stands on the host's end.
        end: HostEnd,
    },
    /// An ng_eiface(4) at a netgraph switch.
    Switched(DesiredEiface),
    /// A NIC of the host.
    Passed(DesiredNic),
}

/// A NIC that a jail shall have for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredNic {
    /// Its name on the host.
    pub interface: String,
    /// In octets; none: what it has.
    pub mtu: Option<u32>,
}

/// The interface of an uplink that is one by name, if this host has it.
///
/// # Errors
/// A message that names what is there instead.
pub(super) fn plain_interface(
    view: &HostView,
    observed: &Observed,
    index: &Index<'_>,
    uplink: &str,
) -> Result<String, String> {
    let Some(spec) = view.host.uplinks.get(uplink) else {
        return Err(format!(
            "host `{}` has no uplink `{uplink}` (it has: {}); add it to the Host's spec.uplinks",
            view.host_name,
            uplink::known(&view.host.uplinks)
        ));
    };
    let Some(interface) = &spec.interface else {
        return Err(format!(
            "uplink `{uplink}` of host `{}` names no single interface",
            view.host_name
        ));
    };
    if index.interfaces_named(interface).next().is_some() {
        return Ok(interface.clone());
    }
    let present: Vec<&str> = observed
        .interfaces
        .iter()
        .filter(|interface| {
            interface
                .description
                .as_deref()
                .and_then(Mark::parse)
                .is_none()
        })
        .map(|interface| interface.name.as_str())
        .collect();
    Err(format!(
        "uplink `{uplink}` is interface `{interface}`, which host `{}` does not have (it has: {})",
        view.host_name,
        list_or_none(&present)
    ))
}

fn list_or_none(words: &[&str]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// Resolves a view on a host.
pub(super) fn resolve<'a>(
    view: &'a HostView,
    observed: &'a Observed,
    index: &Index<'a>,
    ledger: &'a Ledger,
    settings: &'a Settings,
) -> (Desired<'a>, Blocks, Vec<Waiting>) {
    let mut resolver = Resolver {
        view,
        observed,
        index,
        ledger,
        settings,
        roots: Roots::new(view, observed, index, ledger, settings),
        desired: Desired {
            uplinks: Uplinks::default(),
            loopbacks: BTreeMap::new(),
            bridges: BTreeMap::new(),
            switches: BTreeMap::new(),
            jails: BTreeMap::new(),
        },
        blocked: Blocks::default(),
        pending: BTreeMap::new(),
    };
    for unknown in feature::unknown(&view.needs) {
        let message =
            format!("the Host needs `{unknown}`, which this agent does not know; update it");
        resolver.block(Subject::Host, reason::AGENT_TOO_OLD, message);
    }
    resolver.uplinks();
    let mut used = BTreeSet::new();
    for jail in view
        .jails
        .values()
        .filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped)
    {
        used.extend(
            jail.binding
                .attachments
                .iter()
                .map(|attachment| attachment.network.as_str()),
        );
    }
    for network in view
        .networks
        .values()
        .filter(|network| used.contains(network.name.as_str()))
    {
        resolver.network(network);
    }
    for jail in view
        .jails
        .values()
        .filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped)
    {
        resolver.jail(jail);
    }
    let waiting = resolver.pending.into_iter().map(|(uid, message)| Waiting {
        subject: Subject::Network(uid),
        reason: reason::UPLINK_PENDING,
        message,
        wait_ms_max: PENDING_MS_MAX,
    });
    (resolver.desired, resolver.blocked, waiting.collect())
}

struct Resolver<'a, 'o> {
    view: &'a HostView,
    observed: &'a Observed,
    index: &'o Index<'a>,
    ledger: &'a Ledger,
    settings: &'a Settings,
    roots: Roots<'a, 'o>,
    desired: Desired<'a>,
    blocked: Blocks,
    /// Networks that wait for their uplink, with what for.
    pending: BTreeMap<Uid, String>,
}

impl<'a> Resolver<'a, '_> {
    fn block(&mut self, subject: Subject, reason: &'static str, message: String) {
        self.blocked.push(Blocked {
            subject,
            reason,
            message,
        });
    }

    /// A network's uplink is not there yet; its jails wait with it.
    fn wait(&mut self, network: &NetworkView, message: String) {
        self.pending.insert(network.uid.clone(), message);
    }

    fn network(&mut self, network: &'a NetworkView) {
        let subject = Subject::Network(network.uid.clone());
        let cluster = self.view.cluster.clone();
        match network.spec.mode() {
            Some(Mode::SharedIp(mode)) if mode.uplink.is_none() => {
                let mark = Mark {
                    cluster,
                    uid: network.uid.clone(),
                    role: Role::Loopback,
                };
                let description = mark.description(&network.name);
                self.desired.loopbacks.insert(
                    names::loopback(&network.uid),
                    DesiredLoopback {
                        network,
                        description,
                    },
                );
            }
            Some(Mode::SharedIp(mode)) => {
                let uplink = mode.uplink.as_deref().unwrap_or_default();
                match self.uplink_interface(uplink) {
                    Ok(_) => {}
                    Err((reason::UPLINK_PENDING, message)) => self.wait(network, message),
                    Err((reason, message)) => self.block(subject, reason, message),
                }
            }
            Some(Mode::Bridge(mode)) => {
                if network.bridge_mac.is_none() {
                    let message = format!(
                        "network `{}` came without a MAC address for its bridge",
                        network.name
                    );
                    return self.block(subject, reason::REFERENCE_MISSING, message);
                }
                let uplink = mode.uplink.as_deref().map(|name| {
                    let interface = self.uplink_interface(name)?;
                    self.check_uplink(network, &interface)?;
                    Ok(interface)
                });
                let uplink = match uplink {
                    None => None,
                    Some(Ok(interface)) => Some(interface),
                    // Until it has it, the bridge lets go of the one that it had.
                    Some(Err((reason::UPLINK_PENDING, message))) => {
                        self.wait(network, message);
                        None
                    }
                    Some(Err((reason, message))) => return self.block(subject, reason, message),
                };
                // While it waits for another uplink it keeps the MTU that it has.
                let ours = names::bridge(&network.uid);
                let waits = self.pending.contains_key(&network.uid);
                let uplink_mtu = uplink
                    .as_deref()
                    .or_else(|| waits.then_some(ours.as_str()))
                    .and_then(|name| self.index.interface(name))
                    .map(|interface| interface.mtu);
                let mark = Mark {
                    cluster,
                    uid: network.uid.clone(),
                    role: Role::Bridge,
                };
                self.desired.bridges.insert(
                    names::bridge(&network.uid),
                    DesiredBridge {
                        network,
                        description: mark.description(&network.name),
                        mtu: network.spec.mtu.or(uplink_mtu).unwrap_or(MTU_DEFAULT),
                        uplink,
                        addresses: host_gateways(network),
                        private: mode.private_members || network.spec.isolation == Isolation::Jails,
                        stp: mode.stp,
                    },
                );
            }
            // Its links are the jails', and the network has nothing of its own.
            Some(Mode::Routed(_)) => {}
            Some(Mode::Netgraph(mode)) => {
                if let Err((reason, message)) = self.switch(network, mode) {
                    self.block(subject, reason, message);
                }
            }
            // It has nothing but NICs, which are the jails'.
            Some(Mode::Passthrough(_)) => {}
            None => {
                let message = format!(
                    "network `{}` has no mode that this agent knows; update it",
                    network.name
                );
                self.block(subject, reason::AGENT_TOO_OLD, message);
            }
        }
    }

    /// Whether a bridge of ours may take the interface of the uplink.
    fn check_uplink(
        &self,
        network: &NetworkView,
        uplink: &str,
    ) -> Result<(), (&'static str, String)> {
        let ours = names::bridge(&network.uid);
        let holder = self.index.bridge_of(uplink);
        match holder {
            Some(holder) if holder.name == ours => return Ok(()),
            Some(holder) => {
                let message = format!(
                    "`{uplink}` is a member of bridge `{}` already, and can be in one bridge only",
                    holder.name
                );
                return Err((reason::UPLINK_IN_USE, message));
            }
            None => {}
        }
        if let Some(user) = self.netgraph_user(uplink) {
            let message = format!(
                "`{uplink}` is connected to netgraph node `{user}`, and can be in one switch only"
            );
            return Err((reason::UPLINK_IN_USE, message));
        }
        let Some(interface) = self.index.interface(uplink) else {
            let message = format!(
                "two interfaces are called `{uplink}`, one of them came back from a jail; rename or destroy that one"
            );
            return Err((reason::AMBIGUOUS_INTERFACE, message));
        };
        let own = host_addresses(interface);
        if !own.is_empty() {
            let message = format!(
                "`{uplink}` carries the host's own {own}; a bridge member must not (bridge(4)), and moving it could cut the host off: use another interface as the uplink, or have rc.conf make the bridge with these addresses, in the place of what it says of `{uplink}`, and start the machine anew: {}",
                self.bridge_lines(network, interface).join("  ")
            );
            return Err((reason::UPLINK_HAS_ADDRESSES, message));
        }
        let takes_none = self.observed.sysctls.get("net.link.bridge.member_ifaddrs");
        let takes_none = takes_none.is_some_and(|value| value.as_deref() == Some("0"));
        // One that comes up gets a link-local address by itself.
        let gets_one =
            !interface.nd6.contains("IFDISABLED") && interface.nd6.contains("AUTO_LINKLOCAL");
        let bridge = self.index.interface(&ours);
        // It takes those of its members away.
        let bridge_has_one = bridge.is_some_and(|bridge| bridge.link_local().is_some());
        if takes_none && (gets_one || interface.link_local().is_some()) && !bridge_has_one {
            let message = format!(
                "`{uplink}` has IPv6 turned on, and so a link-local address, and with net.link.bridge.member_ifaddrs=0 a bridge takes no member with any address; run `ifconfig {uplink} inet6 -auto_linklocal ifdisabled`, delete the address, and leave `{uplink}` out of IPv6 in rc.conf"
            );
            return Err((reason::UPLINK_HAS_ADDRESSES, message));
        }
        self.check_above(uplink)?;
        match network.spec.mtu {
            Some(mtu) if mtu != interface.mtu => {
                let message = format!(
                    "spec.mtu is {mtu} and `{uplink}` has {}; all members of a bridge have one MTU, so set the interface's in rc.conf or leave spec.mtu out",
                    interface.mtu
                );
                Err((reason::UPLINK_IN_USE, message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What rc.conf says for the bridge of a network to have the addresses that the host has on its uplink.
    fn bridge_lines(&self, network: &NetworkView, uplink: &Interface) -> Vec<String> {
        let mark = Mark {
            cluster: self.view.cluster.clone(),
            uid: network.uid.clone(),
            role: Role::Bridge,
        };
        let ours = |address| {
            self.ledger.owned.contains(&Owned::Alias {
                interface: uplink.name.clone(),
                address,
            })
        };
        rcconf::bridge(
            &names::bridge(&network.uid),
            network
                .bridge_mac
                .expect("resolve blocks a bridge without MAC address"),
            &mark.description(&network.name),
            uplink,
            ours,
            self.observed,
        )
    }

    /// Whether nothing stands upon the interface that its frames would be taken from. A bridge, and a switch, has a member's frames before the vlans upon it (`ether_input_internal`, sys/net/if_ethersubr.c),
    /// and a port's frames are its lagg's.
    pub(super) fn check_above(&self, uplink: &str) -> Result<(), (&'static str, String)> {
        let interfaces = self.observed.interfaces.iter();
        for above in interfaces.filter(|interface| interface.below.contains(uplink)) {
            let name = &above.name;
            if above.groups.contains("lagg") && uplink::marked(above, self.index).is_some() {
                let message = format!("`{uplink}` leaves lagg `{name}` first");
                return Err((reason::UPLINK_PENDING, message));
            }
            if above.groups.contains("lagg") {
                let message = format!(
                    "`{uplink}` is a port of `{name}`; use `{name}` as the uplink, or take the port out of it"
                );
                return Err((reason::UPLINK_IN_USE, message));
            }
            let further = uplink::all_upon(name, self.observed);
            let mut further = std::iter::once(above).chain(further);
            let carries = further.find_map(|above| {
                let own = uplink::own_addresses(above, self.ledger);
                (!own.is_empty()).then_some((&above.name, own))
            });
            if let Some((name, own)) = carries {
                let message = format!(
                    "`{name}`, which stands upon `{uplink}`, carries the host's own {own}; with `{uplink}` in a bridge or at a switch the host could be cut off: use another interface as the uplink"
                );
                return Err((reason::UPLINK_HAS_ADDRESSES, message));
            }
        }
        Ok(())
    }

    fn jail(&mut self, jail: &'a JailView) {
        let subject = Subject::Jail(jail.uid.clone());
        let blocked_before = self.blocked.list.len();
        let root = jail.spec.root.as_ref().map(|root| root.path.clone());
        let path = match self.roots.resolve(jail) {
            Ok(path) => path,
            Err((reason, message)) => {
                self.block(subject.clone(), reason, message);
                String::new()
            }
        };
        for unknown in feature::unknown(&jail.needs) {
            let message =
                format!("it needs `{unknown}`, which this agent does not know; update it");
            self.block(subject.clone(), reason::AGENT_TOO_OLD, message);
        }
        self.check_parameters(jail, &subject);
        if let Some((reason, message)) = limits::refusal(self.observed, jail) {
            self.block(subject.clone(), reason, message);
        }
        let mut networks = BTreeSet::new();
        let mut waits = false;
        for attachment in &jail.binding.attachments {
            match self.view.networks.get(&attachment.network) {
                Some(network) => {
                    networks.insert(network.uid.clone());
                    if network.spec.passthrough.is_some() && attachment.nic.is_none() {
                        let message = format!(
                            "the binding names no NIC for interface `{}`",
                            attachment.interface
                        );
                        self.block(subject.clone(), reason::REFERENCE_MISSING, message);
                    }
                    waits |= self.pending.contains_key(&network.uid);
                    let on = Subject::Network(network.uid.clone());
                    if let Some(blocked) = self.blocked.of(&on) {
                        let (reason, message) = (
                            blocked.reason,
                            format!("network `{}`: {}", network.name, blocked.message),
                        );
                        self.block(subject.clone(), reason, message);
                    }
                }
                None => {
                    let message =
                        format!("the view does not contain network `{}`", attachment.network);
                    self.block(subject.clone(), reason::REFERENCE_MISSING, message);
                }
            }
        }
        self.check_fib(jail, &subject);
        if waits || self.blocked.list.len() > blocked_before {
            return;
        }
        let (networking, aliases) = self.networking(jail);
        if matches!(networking, Networking::Vnet { .. })
            && !self
                .observed
                .facts
                .features
                .iter()
                .any(|feature| feature == "vimage")
        {
            let message = "this kernel has no VIMAGE (kern.features.vimage), so no jail can have a network stack of its own".to_owned();
            return self.block(subject, reason::NOT_CAPABLE, message);
        }
        let cluster = self
            .observed
            .jail_parameters
            .contains("meta")
            .then(|| self.view.cluster.as_str());
        let files = self.settings.pf_files(jail.jail_name());
        let base = super::images::base(self.view, self.observed, jail);
        let conf = jailconf::render(
            jail,
            &jailconf::Place {
                path: &path,
                base: base.as_deref(),
                console: &self.settings.console(jail.jail_name()),
                stops_before: &order::stops_before(self.view, jail),
            },
            &networking,
            jail.spec.firewall_inside().map(|_| &files),
            cluster,
        );
        let conf_path = self.settings.conf(jail.jail_name());
        self.desired.jails.insert(
            jail.uid.clone(),
            DesiredJail {
                view: jail,
                path,
                root: root.unwrap_or_default(),
                base,
                conf,
                conf_path,
                networking,
                aliases,
                networks,
                fib: tables::fib(self.view, jail),
            },
        );
    }

    fn check_fib(&mut self, jail: &JailView, subject: &Subject) {
        let fib = tables::fib(self.view, jail);
        match tables::count(self.view, self.observed) {
            Some(count) if fib >= count => {
                let message = format!(
                    "the jail's routing table is {fib}, and host `{}` has {count} (net.fibs), numbered from 0; set spec.fibs of the Host to {} or more",
                    self.view.host_name,
                    fib + 1
                );
                self.block(subject.clone(), reason::FIB_MISSING, message);
            }
            Some(_) | None => {}
        }
    }

    fn check_parameters(&mut self, jail: &JailView, subject: &Subject) {
        for parameter in jail.spec.parameters.keys() {
            if !is_known_parameter(parameter, &self.observed.jail_parameters) {
                let message = format!(
                    "spec.parameters: this kernel's jails have no parameter `{parameter}`; correct it, or load the module that brings it"
                );
                self.block(subject.clone(), reason::PARAMETER_UNKNOWN, message);
            }
        }
        if !parameters::is_on(&jail.spec, "mount.devfs") {
            return;
        }
        let ruleset = devfs_ruleset(&jail.spec);
        let loaded = u32::try_from(ruleset)
            .is_ok_and(|ruleset| self.observed.devfs_rulesets.contains(&ruleset));
        if ruleset != 0 && !loaded {
            let message = format!(
                "devfs ruleset {ruleset} is not loaded on host `{}`, so the jail would see every device; run `service devfs restart` (or add the ruleset to /etc/devfs.rules first)",
                self.view.host_name
            );
            self.block(subject.clone(), reason::DEVFS_RULESET_MISSING, message);
        }
    }

    /// The jail's networking and the aliases that it needs. Admission refused mixtures of shared-IP and VNET networks.
    fn networking(&self, jail: &JailView) -> (Networking, Vec<DesiredAlias>) {
        let mut aliases = Vec::new();
        let mut links = Vec::with_capacity(jail.binding.attachments.len());
        let (mut ip4, mut ip6, mut zones) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (index, attachment) in jail.binding.attachments.iter().enumerate() {
            let Some(network) = self.view.networks.get(&attachment.network) else {
                continue;
            };
            match network.spec.mode() {
                Some(Mode::SharedIp(mode)) => {
                    let interface = match &mode.uplink {
                        Some(uplink) => self.uplink_interface(uplink).unwrap_or_default(),
                        None => names::loopback(&network.uid),
                    };
                    let stated = jail.spec.networks.get(index);
                    for bound in &attachment.addresses {
                        let family = Family::of(bound.address);
                        let prefix_length = stated
                            .and_then(|spec| {
                                spec.addresses
                                    .iter()
                                    .find(|stated| stated.address == bound.address)
                            })
                            .and_then(|stated| stated.prefix_length)
                            .unwrap_or_else(|| family.host_prefix_length());
                        aliases.push(DesiredAlias {
                            interface: interface.clone(),
                            address: bound.address,
                            prefix_length,
                        });
                        match family {
                            Family::Ipv4 => ip4.push(bound.address),
                            Family::Ipv6 => ip6.push(bound.address),
                        }
                        if is_link_local(bound.address) {
                            zones.insert(bound.address, self.zone(&interface));
                        }
                    }
                }
                Some(
                    Mode::Bridge(_) | Mode::Routed(_) | Mode::Netgraph(_) | Mode::Passthrough(_),
                ) => {
                    links.push(self.link(jail, index, network));
                }
                None => {}
            }
        }
        if !links.is_empty() {
            (Networking::Vnet { links }, Vec::new())
        } else if aliases.is_empty() {
            (Networking::None, aliases)
        } else {
            let own = jail.spec.own_fib();
            let fib = Some(tables::fib(self.view, jail)).filter(|fib| *fib > 0 && own.is_none());
            let networking = Networking::Shared {
                ip4,
                ip6,
                zones,
                fib,
            };
            (networking, aliases)
        }
    }

    fn zone(&self, interface: &str) -> Zone {
        Zone {
            interface: interface.to_owned(),
            index: self
                .index
                .interface(interface)
                .and_then(|found| found.index),
        }
    }

    /// The epair of an attachment.
    fn epair(&self, jail: &JailView, index: usize, network: &NetworkView) -> Epair {
        let attachment = &jail.binding.attachments[index];
        let interface = &attachment.interface;
        let jail_mac = jail_mac(attachment);
        let mut host_mac = jail_mac;
        host_mac.0[0] = 0x06;
        host_mac.0[1] = 0xcb;
        let mark = |role| Mark {
            cluster: self.view.cluster.clone(),
            uid: jail.uid.clone(),
            role,
        };
        let (host_end, jail_end) = names::epair_ends(&jail.uid, interface);
        let mtu = self
            .desired
            .bridges
            .get(&names::bridge(&network.uid))
            .map_or(network.spec.mtu.unwrap_or(MTU_DEFAULT), |bridge| bridge.mtu);
        Epair {
            host_end,
            host_description: mark(Role::HostEnd(interface.clone())).description(&jail.name),
            host_mac,
            jail_end,
            jail_description: mark(Role::JailEnd(interface.clone())).description(&jail.name),
            jail_mac,
            mtu,
        }
    }

    fn link(&self, jail: &JailView, index: usize, network: &NetworkView) -> DesiredLink {
        let attachment = &jail.binding.attachments[index];
        let bound = attachment.addresses.iter().map(|bound| {
            let subnet = network
                .spec
                .subnet_of(bound.address)
                .map(|subnet| subnet.cidr.net().prefix_len());
            let fallback = Family::of(bound.address).host_prefix_length();
            (
                bound.address,
                bound.prefix_length.or(subnet).unwrap_or(fallback),
            )
        });
        let is_netgraph = matches!(network.spec.mode(), Some(Mode::Netgraph(_)));
        let (attach, of_link, on_link) = match routed::sides(&network.spec, attachment) {
            Some(sides) => {
                let (epair, end) = (self.epair(jail, index, network), sides.host);
                (Attach::Routed { epair, end }, sides.jail, sides.on_link)
            }
            None if is_netgraph => (self.switched(jail, index, network), Vec::new(), Vec::new()),
            None if network.spec.passthrough.is_some() => {
                let nic = DesiredNic {
                    interface: attachment.nic.clone().unwrap_or_default(),
                    mtu: network.spec.mtu,
                };
                (Attach::Passed(nic), Vec::new(), Vec::new())
            }
            None => {
                let bridge = names::bridge(&network.uid);
                let epair = self.epair(jail, index, network);
                (Attach::Bridged { epair, bridge }, Vec::new(), Vec::new())
            }
        };
        DesiredLink {
            interface: attachment.interface.clone(),
            attach,
            addressing: jail.addressing(index),
            addresses: of_link.into_iter().chain(bound).collect(),
            on_link,
            gateways: [Family::Ipv4, Family::Ipv6]
                .into_iter()
                .filter_map(|family| {
                    self.default_gateway(jail, family)
                        .filter(|(via, _)| *via == index)
                        .map(|(_, gateway)| gateway)
                })
                .collect(),
        }
    }

    /// The attachment that the default route of `family` goes by, and its gateway.
    fn default_gateway(&self, jail: &JailView, family: Family) -> Option<(usize, IpAddr)> {
        let gateway = |index: usize| {
            let attachment = jail.binding.attachments.get(index)?;
            let network = self.view.networks.get(&attachment.network)?;
            attachment
                .addresses
                .iter()
                .filter(|bound| Family::of(bound.address) == family)
                .find_map(|bound| network.spec.jail_gateway(bound.address))
                .map(|gateway| (index, gateway))
        };
        let wish = |index: usize| {
            jail.spec
                .networks
                .get(index)
                .and_then(|attachment| attachment.default_route)
        };
        let count = jail.binding.attachments.len();
        let chosen = (0..count).find(|index| wish(*index) == Some(true));
        match chosen {
            Some(index) => gateway(index),
            None => (0..count)
                .filter(|index| wish(*index) != Some(false))
                .find_map(gateway),
        }
    }
}

/// The MAC address of a jail's interface.
fn jail_mac(attachment: &BoundAttachment) -> Mac {
    attachment.mac.unwrap_or(Mac([0x02, 0xcb, 0, 0, 0, 0]))
}

/// The gateways of a network that the host itself owns.
fn host_gateways(network: &NetworkView) -> Vec<(IpAddr, u8)> {
    network
        .spec
        .subnets
        .iter()
        .filter_map(|subnet| host_gateway(network, subnet))
        .collect()
}

fn host_gateway(network: &NetworkView, subnet: &Subnet) -> Option<(IpAddr, u8)> {
    let gateway = subnet.gateway.as_ref()?;
    let owner = network.spec.gateway_owner(gateway);
    (owner == GatewayOwner::Host).then(|| (gateway.address, subnet.cidr.net().prefix_len()))
}

/// The devfs ruleset of a jail that has a devfs.
pub(super) fn devfs_ruleset(spec: &JailSpec) -> i64 {
    match spec.parameters.get("devfs_ruleset") {
        None => DEVFS_RULESET_DEFAULT,
        Some(ParameterValue::Number(number)) => *number,
        Some(ParameterValue::Text(text)) => text.parse().unwrap_or(-1),
        Some(ParameterValue::Flag(_) | ParameterValue::List(_)) => -1,
    }
}

/// Whether `parameter` is one of jail(8)'s pseudo-parameters, or one that the kernel has. `no` forms were resolved by admission.
fn is_known_parameter(parameter: &str, kernel: &BTreeSet<String>) -> bool {
    const PSEUDO: [&str; 9] = [
        "command",
        "depend",
        "stop.timeout",
        "mount",
        "mount.fstab",
        "mount.devfs",
        "mount.fdescfs",
        "mount.procfs",
        "zfs.dataset",
    ];
    parameter.starts_with("exec.")
        || PSEUDO.contains(&parameter)
        || kernel.contains(parameter)
        || ["meta.", "env."].iter().any(|prefix| {
            parameter.starts_with(prefix) && kernel.contains(&prefix[..prefix.len() - 1])
        })
}

/// The addresses of an interface but for link-local ones, in words.
pub(super) fn host_addresses(interface: &Interface) -> String {
    let entries = interface.addresses.iter();
    let own = entries.filter(|entry| entry.scope.is_none());
    let own: Vec<String> = own.map(|entry| entry.address.to_string()).collect();
    own.join(", ")
}
