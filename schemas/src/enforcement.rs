//! Where a feature of a network is enforced, mode by mode: the one table that admission refuses by, and that `docs/networking/enforcement.md` shows.
//!
//! A feature that nothing on a packet's way could enforce is refused with the reason, never accepted without effect. Called by the validation of a Network and, for what a Jail asks of
//! its networks, by `controller/core`.

use crate::net::Family;
use crate::network::{GatewayOwner, Mode, NetworkSpec};

#[cfg(test)]
mod tests;

/// What a packet filter somewhere must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `egress.nat` of a Network.
    EgressNat,
    /// `publish` of a Jail.
    Publish,
    /// `publicAddresses` of a Jail: 1:1 NAT.
    OneToOne,
    /// `firewall` of a Jail. On a bridge the host's pf sees the jail's frames only with [`MEMBER_FILTER`], which the jail's Host must declare.
    Firewall,
    /// `user` and `group` of a rule in `firewall`.
    SocketOwner,
    /// `firewall` of a Jail with `enforcedBy: jail`, `user` and `group` among its rules: the pf of its own network stack sees all that the jail sends and gets, and has the sockets.
    FirewallInside,
    /// `isolation: jails` of a Network.
    Isolation,
}

/// The sysctl with which pf is asked about what goes from member to member of a bridge (`bridge_pfil`, sys/net/if_bridge.c).
pub const MEMBER_FILTER: &str = "net.link.bridge.pfil_member";

/// The one with which it is asked on the member, too, about what is for the bridge's own stack (`GRAB_OUR_PACKETS`, sys/net/if_bridge.c).
pub const LOCAL_MEMBER_FILTER: &str = "net.link.bridge.pfil_local_phys";

/// The sysctls that a firewall of a jail on the network needs: none but on a bridge. The host has an address at a bridge without uplink only.
pub fn member_filters(spec: &NetworkSpec) -> impl Iterator<Item = &'static str> {
    let bridge = spec.bridge.as_ref();
    let mut subnets = spec.subnets.iter();
    let is_host = bridge.is_some_and(|bridge| bridge.uplink.is_none())
        && subnets.any(|subnet| subnet.gateway.is_some());
    let local = is_host.then_some(LOCAL_MEMBER_FILTER);
    bridge.map(|_| MEMBER_FILTER).into_iter().chain(local)
}

/// Who enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// The host's pf: every packet in question is routed by the host, or is the host's own.
    HostPf,
    /// if_bridge(4), whose private members get no frames of each other; and the host's pf where the host is their router.
    PrivateMembers,
    /// The pf of the jail's own network stack, which the jail's root can change.
    JailPf,
    /// Nobody, and why.
    Refused(Refusal),
}

impl Enforcement {
    /// Why nobody does; none where somebody does.
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::HostPf | Self::PrivateMembers | Self::JailPf => None,
            Self::Refused(refusal) => Some(refusal),
        }
    }
}

/// Why nobody can enforce a feature, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub message: &'static str,
    /// The way out.
    pub help: &'static str,
}

/// Jails on a bridge with an uplink. Their frames go from member to member. The host's pf sees those only where `net.link.bridge.pfil_member` or `pfil_bridge` is 1, which neither is unless set
/// (recordings `01`, `09`); and a translation there would be of no use, because the frame goes on under the Ethernet header that it had (`bridge_pfil`, sys/net/if_bridge.c): to the router
/// outside and not to the host, and what answers has no way back by the host.
const BRIDGED: Refusal = Refusal {
    message: "the jails of a bridge with an uplink are on the wire behind a router outside: their packets are bridged, never routed by this host, so its pf cannot translate them (not with net.link.bridge.pfil_member either)",
    help: "let the router outside do it, or use a bridge without uplink",
};

/// Jails on a netgraph switch with an uplink.
const HOOKED: Refusal = Refusal {
    message: "the jails of a netgraph network with an uplink are on the wire, and the host's pf never sees their traffic",
    help: "let the router outside do it, or use a netgraph network without uplink",
};

/// A switch at which the host has no address.
const NO_GATEWAY: Refusal = Refusal {
    message: "the host has no address of this family at the switch, so that nothing goes between its jails and the outside",
    help: "give a subnet of this family a gateway, which the host then has",
};

/// Jails of a netgraph switch, which the host's stack has no part in.
const SWITCHED: Refusal = Refusal {
    message: "what goes between the jails of a netgraph switch, and to the wire by it, never comes by the host's pf",
    help: "set `enforcedBy: jail`, so that the rules stand in the jail's own pf, or use a bridge or a routed network",
};

/// Sockets of a network stack of their own. `pf_socket_lookup` looks for the socket in the stack that pf filters for (sys/netpfil/pf/pf.c).
const OTHER_STACK: Refusal = Refusal {
    message: "the host's pf matches `user` and `group` by the socket, and the sockets of a jail with a network stack of its own are not the host's",
    help: "set `enforcedBy: jail`, so that the rules stand in the jail's own pf, use a sharedIP network, or leave `user` and `group` out",
};

/// Jails with addresses of the host.
const NO_STACK: Refusal = Refusal {
    message: "a jail with addresses of the host has no network stack of its own, and so no pf of its own",
    help: "leave `enforcedBy` out: the host's pf filters for it",
};

/// Jails with a NIC of their own, for whom the host's pf shall filter.
const UNSEEN_NIC: Refusal = Refusal {
    message: "jails with a NIC of their own are on the wire, and the host's pf never sees their traffic",
    help: "set `enforcedBy: jail`, so that the rules stand in the jail's own pf, or use another mode",
};

/// Jails with a NIC of their own.
const OWN_NIC: Refusal = Refusal {
    message: "jails with a NIC of their own are on the wire, and the host's pf never sees their traffic",
    help: "let the router outside do it, or use another mode",
};

/// Jails of a netgraph switch, of which none can be kept from another: ng_bridge(4) sends a frame to the link that its address was learnt on, whichever it came by (sys/netgraph/ng_bridge.c).
const NO_PRIVATE_LINKS: Refusal = Refusal {
    message: "ng_bridge(4) has no private links, and the host's pf never sees what goes by it from jail to jail",
    help: "use a bridge or a routed network, or give each jail a switch of its own",
};

/// Jails with a NIC of their own, which meet outside.
const OUTSIDE: Refusal = Refusal {
    message: "jails with a NIC of their own meet at a switch outside, which this host has no part in",
    help: "let that switch keep its ports apart, or use another mode",
};

/// Who enforces `feature` for what the jails of a network send and get in `family`.
#[must_use]
pub fn enforcement(spec: &NetworkSpec, feature: Feature, family: Family) -> Enforcement {
    match (spec.mode(), feature) {
        (Some(Mode::SharedIp(_)), Feature::FirewallInside) => Enforcement::Refused(NO_STACK),
        (
            Some(Mode::Bridge(_) | Mode::Routed(_) | Mode::Netgraph(_) | Mode::Passthrough(_)),
            Feature::FirewallInside,
        ) => Enforcement::JailPf,
        // Addresses of the host, whose stack it is.
        (Some(Mode::SharedIp(_)) | None, _) => Enforcement::HostPf,
        (
            Some(Mode::Bridge(_) | Mode::Routed(_) | Mode::Netgraph(_) | Mode::Passthrough(_)),
            Feature::SocketOwner,
        ) => Enforcement::Refused(OTHER_STACK),
        (Some(Mode::Routed(_)), Feature::Isolation) => Enforcement::HostPf,
        (Some(Mode::Bridge(_)), Feature::Isolation) => Enforcement::PrivateMembers,
        (Some(Mode::Netgraph(_)), Feature::Isolation) => Enforcement::Refused(NO_PRIVATE_LINKS),
        (Some(Mode::Passthrough(_)), Feature::Isolation) => Enforcement::Refused(OUTSIDE),
        // Links that lead nowhere but into the host's routing table.
        (
            Some(Mode::Routed(_)),
            Feature::EgressNat | Feature::Publish | Feature::OneToOne | Feature::Firewall,
        ) => Enforcement::HostPf,
        // The host's end of the epair is a member of the bridge, and pf can be asked about what goes by it.
        (Some(Mode::Bridge(_)), Feature::Firewall) => Enforcement::HostPf,
        (Some(Mode::Netgraph(_)), Feature::Firewall) => Enforcement::Refused(SWITCHED),
        (Some(Mode::Bridge(bridge)), Feature::EgressNat | Feature::Publish | Feature::OneToOne) => {
            behind_a_switch(spec, family, bridge.uplink.is_some(), BRIDGED)
        }
        (
            Some(Mode::Netgraph(netgraph)),
            Feature::EgressNat | Feature::Publish | Feature::OneToOne,
        ) => behind_a_switch(spec, family, netgraph.uplink.is_some(), HOOKED),
        (Some(Mode::Passthrough(_)), Feature::EgressNat | Feature::Publish | Feature::OneToOne) => {
            Enforcement::Refused(OWN_NIC)
        }
        (Some(Mode::Passthrough(_)), Feature::Firewall) => Enforcement::Refused(UNSEEN_NIC),
    }
}

/// A switch inside the host is left by the host's address at it, one with an uplink by the wire.
fn behind_a_switch(
    spec: &NetworkSpec,
    family: Family,
    has_uplink: bool,
    on_the_wire: Refusal,
) -> Enforcement {
    if has_uplink {
        Enforcement::Refused(on_the_wire)
    } else if has_host_gateway(spec, family) {
        Enforcement::HostPf
    } else {
        Enforcement::Refused(NO_GATEWAY)
    }
}

/// Whether the host itself is the gateway of a subnet of the family.
#[must_use]
pub fn has_host_gateway(spec: &NetworkSpec, family: Family) -> bool {
    let gateways = spec
        .subnets
        .iter()
        .filter_map(|subnet| subnet.gateway.as_ref());
    gateways
        .filter(|gateway| Family::of(gateway.address) == family)
        .any(|gateway| spec.gateway_owner(gateway) == GatewayOwner::Host)
}
