//! Names that pfctl knows: services, protocols, ICMP types and codes, timeouts, limits.
//!
//! Protocols are the common part of protocols(5); one beyond them is printed as its number and refused as unknown.

use super::rule::Af;

mod services;

/// Name, number, aliases of protocols(5).
#[rustfmt::skip]
const PROTOCOLS: &[(&str, u8, &[&str])] = &[
    ("ip", 0, &["IP"]), ("icmp", 1, &["ICMP"]), ("igmp", 2, &["IGMP"]), ("ipencap", 4, &["IP-ENCAP"]),
    ("tcp", 6, &["TCP"]), ("egp", 8, &["EGP"]), ("igp", 9, &["IGP"]), ("udp", 17, &["UDP"]), ("ipv6", 41, &["IPV6"]),
    ("ipv6-route", 43, &["IPV6-ROUTE"]), ("ipv6-frag", 44, &["IPV6-FRAG"]), ("rsvp", 46, &["RSVP"]),
    ("gre", 47, &["GRE"]), ("esp", 50, &["ESP"]), ("ah", 51, &["AH"]), ("mobile", 55, &["MOBILE"]),
    ("ipv6-icmp", 58, &["IPV6-ICMP", "icmp6"]), ("ipv6-nonxt", 59, &["IPV6-NONXT"]),
    ("ipv6-opts", 60, &["IPV6-OPTS"]), ("eigrp", 88, &["EIGRP"]), ("ospf", 89, &["OSPFIGP"]), ("ipip", 94, &["IPIP"]),
    ("etherip", 97, &["ETHERIP"]), ("encap", 98, &["ENCAP"]), ("pim", 103, &["PIM"]), ("ipcomp", 108, &["IPComp"]),
    ("carp", 112, &["CARP", "vrrp"]), ("l2tp", 115, &["L2TP"]), ("sctp", 132, &["SCTP"]),
    ("udplite", 136, &["UDPLite"]), ("hip", 139, &["HIP"]), ("shim6", 140, &["SHIM6"]), ("pfsync", 240, &["PFSYNC"]),
];

/// ICMP types by name (`icmp_type` of sbin/pfctl/pfctl_parser.c).
#[rustfmt::skip]
const ICMP_TYPES: &[(&str, u8)] = &[
    ("echoreq", 8), ("echorep", 0), ("unreach", 3), ("squench", 4), ("redir", 5), ("althost", 6), ("routeradv", 9),
    ("routersol", 10), ("timex", 11), ("paramprob", 12), ("timereq", 13), ("timerep", 14), ("inforeq", 15),
    ("inforep", 16), ("maskreq", 17), ("maskrep", 18), ("trace", 30), ("dataconv", 31), ("mobredir", 32),
    ("ipv6-where", 33), ("ipv6-here", 34), ("mobregreq", 35), ("mobregrep", 36), ("skip", 39), ("photuris", 40),
];

/// ICMPv6 types by name (`icmp6_type` of sbin/pfctl/pfctl_parser.c).
#[rustfmt::skip]
const ICMP6_TYPES: &[(&str, u8)] = &[
    ("unreach", 1), ("toobig", 2), ("timex", 3), ("paramprob", 4), ("echoreq", 128), ("echorep", 129),
    ("groupqry", 130), ("listqry", 130), ("grouprep", 131), ("listenrep", 131), ("groupterm", 132),
    ("listendone", 132), ("routersol", 133), ("routeradv", 134), ("neighbrsol", 135), ("neighbradv", 136),
    ("redir", 137), ("routrrenum", 138), ("wrureq", 139), ("wrurep", 140), ("fqdnreq", 139), ("fqdnrep", 140),
    ("niqry", 139), ("nirep", 140), ("mtraceresp", 200), ("mtrace", 201), ("listenrepv2", 143),
];

/// ICMP codes by name (`icmp_code` of sbin/pfctl/pfctl_parser.c).
#[rustfmt::skip]
const ICMP_CODES: &[(&str, u8, u8)] = &[
    ("net-unr", 3, 0), ("host-unr", 3, 1), ("proto-unr", 3, 2), ("port-unr", 3, 3), ("needfrag", 3, 4),
    ("srcfail", 3, 5), ("net-unk", 3, 6), ("host-unk", 3, 7), ("isolate", 3, 8), ("net-prohib", 3, 9),
    ("host-prohib", 3, 10), ("net-tos", 3, 11), ("host-tos", 3, 12), ("filter-prohib", 3, 13), ("host-preced", 3, 14),
    ("cutoff-preced", 3, 15), ("redir-net", 5, 0), ("redir-host", 5, 1), ("redir-tos-net", 5, 2),
    ("redir-tos-host", 5, 3), ("normal-adv", 9, 0), ("common-adv", 9, 16), ("transit", 11, 0), ("reassemb", 11, 1),
    ("badhead", 12, 0), ("optmiss", 12, 1), ("badlen", 12, 2), ("unknown-ind", 40, 1), ("auth-fail", 40, 2),
    ("decrypt-fail", 40, 3),
];

/// ICMPv6 codes by name (`icmp6_code` of sbin/pfctl/pfctl_parser.c).
#[rustfmt::skip]
const ICMP6_CODES: &[(&str, u8, u8)] = &[
    ("admin-unr", 1, 1), ("noroute-unr", 1, 0), ("notnbr-unr", 1, 2), ("beyond-unr", 1, 2), ("addr-unr", 1, 3),
    ("port-unr", 1, 4), ("transit", 3, 0), ("reassemb", 3, 1), ("badhead", 4, 0), ("nxthdr", 4, 1),
    ("redironlink", 137, 0), ("redirrouter", 137, 1),
];

/// The timeouts of `set timeout` in the order of pfctl's `pf_timeouts`, with their defaults (sys/netpfil/pf/pf.h).
#[rustfmt::skip]
pub(crate) const TIMEOUTS: &[(&str, u32)] = &[
    ("tcp.first", 120), ("tcp.opening", 30), ("tcp.established", 86400), ("tcp.closing", 900), ("tcp.finwait", 45),
    ("tcp.closed", 90), ("tcp.tsdiff", 30), ("sctp.first", 120), ("sctp.opening", 30), ("sctp.established", 86400),
    ("sctp.closing", 900), ("sctp.closed", 90), ("udp.first", 60), ("udp.single", 30), ("udp.multiple", 60),
    ("icmp.first", 20), ("icmp.error", 10), ("other.first", 60), ("other.single", 30), ("other.multiple", 60),
    ("frag", 60), ("interval", 10), ("adaptive.start", 60000), ("adaptive.end", 120000), ("src.track", 0),
];

/// Pool limits in pfctl's order, with the kernel's defaults; pfctl itself sets the last two to 0 (recording `05`).
pub(crate) const LIMITS: &[(&str, u32)] = &[
    ("states", 100_000),
    ("src-nodes", 10_000),
    ("frags", 5_000),
    ("table-entries", 200_000),
    ("anchors", 512),
    ("eth-anchors", 512),
];

/// The place of a timeout in [`TIMEOUTS`], by exact name.
pub(crate) fn timeout_index(name: &str) -> Option<usize> {
    TIMEOUTS.iter().position(|(known, _)| *known == name)
}

/// A line of services(5).
struct Service {
    name: &'static str,
    port: u16,
    tcp: bool,
    udp: bool,
    aliases: &'static str,
}

fn services() -> impl Iterator<Item = Service> {
    services::SERVICES.split(' ').filter_map(|entry| {
        let (name, rest) = entry.split_once('=')?;
        let (number, aliases) = rest.split_once(',').unwrap_or((rest, ""));
        let (number, tcp, udp) = match number.split_once('/') {
            None => (number, true, true),
            Some((number, transport)) => (number, transport == "t", transport == "u"),
        };
        Some(Service {
            name,
            port: number.parse().ok()?,
            tcp,
            udp,
            aliases,
        })
    })
}

/// The name that getservbyport(3) gives for a port.
pub(crate) fn service_name(port: u16, tcp: bool) -> Option<&'static str> {
    services()
        .find(|service| service.port == port && if tcp { service.tcp } else { service.udp })
        .map(|service| service.name)
}

/// The port of a service name, looked for in tcp and then in udp, as `getservice` of parse.y does.
pub(crate) fn service_port(name: &str) -> Option<u16> {
    let named = |service: &Service| {
        service.name == name
            || service
                .aliases
                .split(',')
                .any(|alias| !alias.is_empty() && alias == name)
    };
    services()
        .find(|service| service.tcp && named(service))
        .or_else(|| services().find(named))
        .map(|service| service.port)
}

/// The number of a protocol name.
pub(crate) fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS
        .iter()
        .find(|entry| entry.0 == name || entry.2.contains(&name))
        .map(|entry| entry.1)
}

/// The name of a protocol number.
pub(crate) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS
        .iter()
        .find(|entry| entry.1 == number)
        .map(|entry| entry.0)
}

fn types(af: Af) -> &'static [(&'static str, u8)] {
    match af {
        Af::Inet => ICMP_TYPES,
        Af::Inet6 => ICMP6_TYPES,
    }
}

fn codes(af: Af) -> &'static [(&'static str, u8, u8)] {
    match af {
        Af::Inet => ICMP_CODES,
        Af::Inet6 => ICMP6_CODES,
    }
}

/// The ICMP type of a name.
pub(crate) fn icmp_type(name: &str, af: Af) -> Option<u8> {
    types(af)
        .iter()
        .find(|entry| entry.0 == name)
        .map(|entry| entry.1)
}

/// The name of an ICMP type.
pub(crate) fn icmp_type_name(number: u8, af: Af) -> Option<&'static str> {
    types(af)
        .iter()
        .find(|entry| entry.1 == number)
        .map(|entry| entry.0)
}

/// The code of a name below a type.
pub(crate) fn icmp_code(icmp_type: u8, name: &str, af: Af) -> Option<u8> {
    codes(af)
        .iter()
        .find(|entry| entry.1 == icmp_type && entry.0 == name)
        .map(|entry| entry.2)
}

/// The name of a code below a type.
pub(crate) fn icmp_code_name(icmp_type: u8, code: u8, af: Af) -> Option<&'static str> {
    codes(af)
        .iter()
        .find(|entry| entry.1 == icmp_type && entry.2 == code)
        .map(|entry| entry.0)
}

/// The value of a `tos` word (`map_tos` of parse.y), which ignores case.
pub(crate) fn tos_value(name: &str) -> Option<u8> {
    const WORDS: &[(&str, u8)] = &[
        ("af11", 0x28),
        ("af12", 0x30),
        ("af13", 0x38),
        ("af21", 0x48),
        ("af22", 0x50),
        ("af23", 0x58),
        ("af31", 0x68),
        ("af32", 0x70),
        ("af33", 0x78),
        ("af41", 0x88),
        ("af42", 0x90),
        ("af43", 0x98),
        ("critical", 0xa0),
        ("cs0", 0x00),
        ("cs1", 0x20),
        ("cs2", 0x40),
        ("cs3", 0x60),
        ("cs4", 0x80),
        ("cs5", 0xa0),
        ("cs6", 0xc0),
        ("cs7", 0xe0),
        ("ef", 0xb8),
        ("inetcontrol", 0xc0),
        ("lowdelay", 0x10),
        ("netcontrol", 0xe0),
        ("reliability", 0x04),
        ("throughput", 0x08),
        ("va", 0xb0),
    ];
    WORDS
        .iter()
        .find(|entry| entry.0.eq_ignore_ascii_case(name))
        .map(|entry| entry.1)
}
