//! How ifconfig(8) shows an interface. Line order is that of the program's families and "other status" printers.

use super::Af;
use crate::cmd::Context;
use crate::kernel::Kernel;
use crate::kernel::addr::mask4;
use crate::kernel::bridge::Member;
use crate::kernel::ifnet::{Driver, IfId, Ifnet, mac_text};
use crate::kernel::jail::Addresses;

/// IFF_* by bit, as ifconfig prints them.
const FLAG_NAMES: &[(u32, &str)] = &[
    (0x1, "UP"),
    (0x2, "BROADCAST"),
    (0x4, "DEBUG"),
    (0x8, "LOOPBACK"),
    (0x40, "RUNNING"),
    (0x80, "NOARP"),
    (0x100, "PROMISC"),
    (0x800, "SIMPLEX"),
    (0x1000, "LINK0"),
    (0x2000, "LINK1"),
    (0x4000, "LINK2"),
    (0x8000, "MULTICAST"),
    (0x4_0000, "MONITOR"),
    (0x8_0000, "STATICARP"),
    (0x100_0000, "LOWER_UP"),
];

/// IFCAP_* by bit.
const OPTION_NAMES: &[(u32, &str)] = &[
    (0x1, "RXCSUM"),
    (0x2, "TXCSUM"),
    (0x8, "VLAN_MTU"),
    (0x10, "VLAN_HWTAGGING"),
    (0x20, "JUMBO_MTU"),
    (0x8_0000, "LINKSTATE"),
    (0x20_0000, "RXCSUM_IPV6"),
    (0x40_0000, "TXCSUM_IPV6"),
    (0x80_0000, "HWSTATS"),
];

/// ND6_IFF_* by bit.
const ND_NAMES: &[(u32, &str)] = &[
    (0x1, "PERFORMNUD"),
    (0x2, "ACCEPT_RTADV"),
    (0x8, "IFDISABLED"),
    (0x20, "AUTO_LINKLOCAL"),
    (0x40, "NO_RADR"),
    (0x80, "NO_PREFER_IFACE"),
    (0x100, "NO_DAD"),
];

/// Bridge member flags in printb(3)'s order of its table (IFBIFBITS of sbin/ifconfig/ifbridge.c).
const MEMBER_FLAG_NAMES: &[(u32, &str)] = &[
    (0x1, "LEARNING"),
    (0x2, "DISCOVER"),
    (0x4, "STP"),
    (0x8, "SPAN"),
    (0x10, "STICKY"),
    (0x800, "PRIVATE"),
    (0x20, "EDGE"),
    (0x40, "AUTOEDGE"),
    (0x80, "PTP"),
    (0x100, "AUTOPTP"),
];

/// LAGG_PORT_* by bit (`LAGG_PORT_BITS`, sys/net/if_lagg.h).
const PORT_FLAG_NAMES: &[(u32, &str)] = &[
    (0x1, "MASTER"),
    (0x2, "STACK"),
    (0x4, "ACTIVE"),
    (0x8, "COLLECTING"),
    (0x10, "DISTRIBUTING"),
];

/// `1c3<LEARNING,DISCOVER,…>`.
fn bits(value: u32, names: &[(u32, &str)]) -> String {
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| value & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    format!("{value:x}<{}>", set.join(","))
}

/// Whether anybody has asked an interface, or what stands upon it, for promiscuous mode: vlans and laggs pass it on (`vlan_setflags`, sys/net/if_vlan.c; `lagg_setflags`, sys/net/if_lagg.c).
fn is_promiscuous(kernel: &Kernel, ifnet: &Ifnet) -> bool {
    let vlans = &kernel.vnet(ifnet.vnet).vlans;
    let mut vlans = vlans.range((ifnet.id, 0)..=(ifnet.id, u16::MAX));
    ifnet.promiscuous > 0
        || vlans.any(|(_, vlan)| is_promiscuous(kernel, kernel.ifnet(*vlan)))
        || ifnet
            .lagg
            .is_some_and(|lagg| is_promiscuous(kernel, kernel.ifnet(lagg)))
}

fn flags(kernel: &Kernel, ifnet: &Ifnet) -> u32 {
    let mut value = 0x8000;
    let mut set = |on: bool, bit: u32| value |= if on { bit } else { 0 };
    set(ifnet.up, 0x1);
    set(ifnet.is_loopback(), 0x8);
    set(!ifnet.is_loopback(), 0x802);
    set(ifnet.running, 0x40);
    set(is_promiscuous(kernel, ifnet), 0x100);
    set(ifnet.lower_up(), 0x100_0000);
    value | ifnet.user_flags
}

fn options(kernel: &Kernel, ifnet: &Ifnet) -> u32 {
    match &ifnet.driver {
        Driver::Nic => 0x88_0028,
        Driver::Loopback => 0x68_0003,
        Driver::Epair { .. } if kernel.release.epair_has_offloads() => 0x60_001b,
        Driver::Epair { .. } => 0x8,
        Driver::Bridge(_) => 0x10,
        Driver::Lagg(softc) => softc
            .ports
            .first()
            .map_or(0, |port| options(kernel, kernel.ifnet(*port))),
        Driver::Vlan(_) => 0x8_0000,
        Driver::Eiface { .. } => 0x28,
    }
}

/// What a process may see of a family: all, some addresses, or no sockets of that family at all.
fn visible<A: PartialEq>(list: Option<&Addresses<A>>, owns_stack: bool) -> Option<&[A]> {
    match list {
        None | Some(Addresses::Inherit) => None,
        Some(Addresses::Restricted(_)) if owns_stack => None,
        Some(Addresses::Restricted(list)) => Some(list),
    }
}

/// The interface's addresses of both families as lines, as the process may see them.
struct Lines {
    inet: Vec<String>,
    inet6: Vec<String>,
    /// Whether IPv6 sockets can be opened, without which no nd6 options are read.
    has_inet6: bool,
}

fn address_lines(kernel: &Kernel, context: &Context, ifnet: &Ifnet) -> Lines {
    let jail = kernel.jail(context.jid);
    let own = jail.is_some_and(|jail| jail.owns_stack);
    let only4 = visible(jail.map(|jail| &jail.ip4), own);
    let only6 = visible(jail.map(|jail| &jail.ip6), own);
    let inet = ifnet
        .inet
        .iter()
        .filter(|entry| only4.is_none_or(|list| list.contains(&entry.address)))
        .map(|entry| {
            let broadcast = entry
                .broadcast
                .map(|address| format!(" broadcast {address}"))
                .unwrap_or_default();
            format!(
                "\tinet {} netmask 0x{:08x}{broadcast}",
                entry.address,
                mask4(entry.prefix)
            )
        });
    let inet6 = ifnet
        .inet6
        .iter()
        .filter(|entry| {
            only6.is_none_or(|list| {
                list.iter().any(|address| {
                    *address == entry.address
                        || *address == crate::kernel::addr::embed_scope(entry.address, ifnet.index)
                })
            })
        })
        .map(|entry| {
            let zone = if entry.is_link_local() {
                format!("%{}", ifnet.name)
            } else {
                String::new()
            };
            let mut line = format!("\tinet6 {}{zone} prefixlen {}", entry.address, entry.prefix);
            for (on, word) in [
                (entry.anycast, " anycast"),
                (entry.tentative, " tentative"),
                (entry.duplicated, " duplicated"),
                (entry.deprecated, " deprecated"),
                (entry.autoconf, " autoconf"),
            ] {
                line.push_str(if on { word } else { "" });
            }
            if entry.is_link_local() {
                line.push_str(&format!(" scopeid 0x{:x}", ifnet.index));
            }
            // Lifetimes are shown of addresses that have them; those of rtadvd.conf(5) (seen on 15.1).
            if entry.autoconf {
                line.push_str(" pltime 604800 vltime 2592000");
            }
            line
        });
    Lines {
        inet: inet.collect(),
        inet6: inet6.collect(),
        has_inet6: only6.is_none_or(|list| !list.is_empty()),
    }
}

/// Whether `ifconfig -l FAMILY` lists the interface.
pub(super) fn has_family(kernel: &Kernel, context: &Context, id: IfId, af: Option<Af>) -> bool {
    let ifnet = kernel.ifnet(id);
    match af {
        None => true,
        Some(Af::Inet) => !address_lines(kernel, context, ifnet).inet.is_empty(),
        Some(Af::Inet6) => !address_lines(kernel, context, ifnet).inet6.is_empty(),
        Some(Af::Link) => ifnet.mac.is_some(),
    }
}

/// The status of one interface. With a family that it has no address of, nothing (recording `14`).
pub(super) fn print(kernel: &Kernel, context: &Context, id: IfId, af: Option<Af>) -> String {
    let ifnet = kernel.ifnet(id);
    if !has_family(kernel, context, id, af) {
        return String::new();
    }
    let mut lines = vec![format!(
        "{}: flags={} metric 0 mtu {}",
        ifnet.name,
        bits(flags(kernel, ifnet), FLAG_NAMES),
        ifnet.mtu
    )];
    if let Some(description) = &ifnet.description {
        lines.push(format!("\tdescription: {description}"));
    }
    let capabilities = options(kernel, ifnet);
    if capabilities != 0 {
        lines.push(format!("\toptions={}", bits(capabilities, OPTION_NAMES)));
    }
    if af.is_none() || af == Some(Af::Link) {
        lines.extend(link_lines(ifnet));
    }
    let addresses = address_lines(kernel, context, ifnet);
    if af.is_none() || af == Some(Af::Inet) {
        lines.extend(addresses.inet.iter().cloned());
    }
    if af.is_none() || af == Some(Af::Inet6) {
        lines.extend(addresses.inet6.iter().cloned());
    }
    if af.is_none() {
        lines.extend(other_lines(kernel, ifnet));
    }
    if addresses.has_inet6 && (af.is_none() || af == Some(Af::Inet6)) {
        lines.push(format!("\tnd6 options={}", bits(ifnet.nd, ND_NAMES)));
    }
    lines.join("\n") + "\n"
}

fn link_lines(ifnet: &Ifnet) -> Vec<String> {
    let Some(mac) = ifnet.mac else {
        return Vec::new();
    };
    let mut lines = vec![format!("\tether {}", mac_text(mac))];
    let remembers = match ifnet.driver {
        Driver::Nic | Driver::Epair { .. } | Driver::Lagg(_) | Driver::Eiface { .. } => true,
        Driver::Loopback | Driver::Bridge(_) | Driver::Vlan(_) => false,
    };
    if let Some(hardware) = ifnet
        .hardware_mac
        .filter(|hardware| remembers && *hardware != mac)
    {
        lines.push(format!("\thwaddr {}", mac_text(hardware)));
    }
    lines
}

/// Bridge and lagg state, groups, vlan, fib, media: in the order in which their printers are registered.
fn other_lines(kernel: &Kernel, ifnet: &Ifnet) -> Vec<String> {
    let mut lines = match &ifnet.driver {
        Driver::Bridge(_) => bridge_lines(kernel, ifnet.id),
        Driver::Lagg(_) => lagg_lines(kernel, ifnet.id),
        Driver::Nic
        | Driver::Loopback
        | Driver::Epair { .. }
        | Driver::Vlan(_)
        | Driver::Eiface { .. } => Vec::new(),
    };
    let groups: Vec<&str> = ifnet
        .groups
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != "all")
        .collect();
    if !groups.is_empty() {
        lines.push(format!("\tgroups: {}", groups.join(" ")));
    }
    if let Driver::Vlan(softc) = &ifnet.driver {
        let protocol = if softc.parent.is_some() {
            "802.1q"
        } else {
            "0x0000"
        };
        let parent = softc
            .parent
            .map_or("<none>", |id| kernel.ifnet(id).name.as_str());
        lines.push(format!(
            "\tvlan: {} vlanproto: {protocol} vlanpcp: 0 parent interface: {parent}",
            softc.tag
        ));
    }
    if ifnet.fib != 0 {
        lines.push(format!("\tfib: {}", ifnet.fib));
    }
    if let Some((media, active)) = media(kernel, ifnet) {
        lines.push(format!("\tmedia: {media}"));
        lines.push(format!(
            "\tstatus: {}",
            if active { "active" } else { "no carrier" }
        ));
    }
    lines
}

fn media(kernel: &Kernel, ifnet: &Ifnet) -> Option<(&'static str, bool)> {
    match &ifnet.driver {
        Driver::Nic => Some(("Ethernet autoselect (10Gbase-T <full-duplex>)", true)),
        Driver::Epair { .. } => Some(("Ethernet 10Gbase-T (10Gbase-T <full-duplex>)", true)),
        Driver::Lagg(softc) => {
            let mut ports = softc.ports.iter();
            let is_active = ports.any(|port| kernel.ifnet(*port).up);
            Some(("Ethernet autoselect", is_active))
        }
        Driver::Vlan(softc) => softc
            .parent
            .and_then(|parent| media(kernel, kernel.ifnet(parent))),
        Driver::Eiface { linked: true } => {
            Some(("Ethernet autoselect (1000baseT <full-duplex>)", true))
        }
        Driver::Eiface { linked: false } => Some(("Ethernet autoselect", false)),
        Driver::Loopback | Driver::Bridge(_) => None,
    }
}

fn bridge_lines(kernel: &Kernel, id: IfId) -> Vec<String> {
    let Some(softc) = kernel.bridge(id) else {
        return Vec::new();
    };
    let mut lines = vec![
        "\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15".to_owned(),
        "\tmaxage 20 holdcnt 6 proto rstp maxaddr 2000 timeout 1200".to_owned(),
        format!(
            "\troot id 00:00:00:00:00:00 priority {} ifcost 0 port 0",
            softc.root_priority
        ),
    ];
    if kernel.release.has_bridge_vlan_filter() {
        lines.push(format!(
            "\tbridge flags={}",
            bits(u32::from(softc.vlan_filter), &[(1, "VLANFILTER")])
        ));
    }
    for member in &softc.members {
        lines.extend(member_lines(kernel, member));
    }
    lines
}

fn member_lines(kernel: &Kernel, member: &Member) -> [String; 2] {
    let ifnet = kernel.ifnet(member.id);
    let mut second = format!(
        "\t        port {} priority 128 path cost {}",
        ifnet.index, member.path_cost
    );
    if kernel.release.has_bridge_vlan_filter() {
        second.push_str(" vlan protocol 802.1q");
        if let Some(tag) = member.untagged {
            second.push_str(&format!(" untagged {tag}"));
        }
        if !member.tagged.is_empty() {
            let ranges: Vec<String> = member
                .tagged
                .iter()
                .map(|(low, high)| {
                    if low == high {
                        low.to_string()
                    } else {
                        format!("{low}-{high}")
                    }
                })
                .collect();
            second.push_str(&format!(" tagged {}", ranges.join(",")));
        }
    }
    [
        format!(
            "\tmember: {} flags={}",
            ifnet.name,
            bits(member.flags, MEMBER_FLAG_NAMES)
        ),
        second,
    ]
}

fn lagg_lines(kernel: &Kernel, id: IfId) -> Vec<String> {
    let Some(softc) = kernel.lagg(id) else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "\tlaggproto {} lagghash {}",
        softc.protocol, softc.hash
    )];
    for port in &softc.ports {
        let flags = bits(kernel.lagg_port_flags(id, *port), PORT_FLAG_NAMES);
        lines.push(format!(
            "\tlaggport: {} flags={flags}",
            kernel.ifnet(*port).name
        ));
    }
    lines
}

/// `ifconfig BRIDGE addr`: what the bridge has learned.
pub(super) fn bridge_addresses(kernel: &Kernel, id: IfId) -> String {
    let Some(softc) = kernel.bridge(id) else {
        return String::new();
    };
    softc
        .addresses
        .iter()
        .map(|(mac, member)| {
            format!(
                "{} Vlan0 {} 1200 flags=0<>\n",
                mac_text(*mac),
                kernel.ifnet(*member).name
            )
        })
        .collect()
}
