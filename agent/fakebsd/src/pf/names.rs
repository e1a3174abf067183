//! Names that pfctl knows: services, protocols, ICMP types and codes, timeouts, limits.
//!
//! Services are the common part of FreeBSD's services(5), protocols that of protocols(5); a name or a port beyond
//! them is printed as its number and refused as unknown.

use super::rule::Af;

/// Whom a service name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Both,
    Tcp,
    Udp,
}

use Transport::{Both, Tcp, Udp};

/// Name, port, transport, aliases, in the order of services(5): the first of a port is the one printed.
#[rustfmt::skip]
const SERVICES: &[(&str, u16, Transport, &[&str])] = &[
    ("echo", 7, Both, &[]), ("discard", 9, Both, &["sink", "null"]), ("systat", 11, Both, &["users"]),
    ("daytime", 13, Both, &[]), ("qotd", 17, Both, &["quote"]), ("chargen", 19, Both, &["ttytst", "source"]),
    ("ftp-data", 20, Both, &[]), ("ftp", 21, Both, &[]), ("ssh", 22, Both, &[]), ("telnet", 23, Both, &[]),
    ("smtp", 25, Both, &["mail"]), ("time", 37, Both, &["timserver"]), ("nameserver", 42, Both, &["name"]),
    ("nicname", 43, Both, &["whois"]), ("tacacs", 49, Both, &[]), ("domain", 53, Both, &[]),
    ("bootps", 67, Both, &["dhcps"]), ("bootpc", 68, Both, &["dhcpc"]), ("tftp", 69, Both, &[]),
    ("gopher", 70, Both, &[]), ("finger", 79, Both, &[]), ("http", 80, Both, &["www", "www-http"]),
    ("xfer", 82, Both, &[]), ("kerberos-sec", 88, Both, &["kerberos"]), ("supdup", 95, Both, &[]),
    ("hostname", 101, Both, &["hostnames"]), ("iso-tsap", 102, Both, &["tsap"]), ("rtelnet", 107, Both, &[]),
    ("pop2", 109, Both, &["postoffice"]), ("pop3", 110, Both, &[]), ("sunrpc", 111, Both, &["rpcbind"]),
    ("auth", 113, Both, &["ident", "tap"]), ("sftp", 115, Both, &[]), ("uucp-path", 117, Both, &[]),
    ("nntp", 119, Both, &["usenet"]), ("ntp", 123, Both, &[]), ("epmap", 135, Both, &[]), ("profile", 136, Both, &[]),
    ("netbios-ns", 137, Both, &[]), ("netbios-dgm", 138, Both, &[]), ("netbios-ssn", 139, Both, &[]),
    ("imap", 143, Both, &["imap2", "imap4"]), ("snmp", 161, Both, &[]), ("snmptrap", 162, Both, &["snmp-trap"]),
    ("xdmcp", 177, Both, &[]), ("bgp", 179, Both, &[]), ("irc", 194, Both, &[]), ("smux", 199, Both, &[]),
    ("at-rtmp", 201, Both, &[]), ("ipx", 213, Both, &[]), ("imap3", 220, Both, &[]), ("bgmp", 264, Both, &[]),
    ("pkix-timestamp", 318, Both, &[]), ("ldap", 389, Both, &[]), ("netware-ip", 396, Both, &[]),
    ("svrloc", 427, Both, &[]), ("https", 443, Both, &[]), ("snpp", 444, Both, &[]), ("microsoft-ds", 445, Both, &[]),
    ("kpasswd", 464, Both, &["kpasswd5"]), ("smtps", 465, Both, &[]), ("urd", 465, Tcp, &[]),
    ("submissions", 465, Tcp, &[]), ("igmpv3lite", 465, Udp, &[]), ("isakmp", 500, Both, &[]),
    ("mbap", 502, Both, &[]), ("exec", 512, Tcp, &[]), ("biff", 512, Udp, &["comsat"]), ("login", 513, Tcp, &[]),
    ("who", 513, Udp, &["whod"]), ("shell", 514, Tcp, &["cmd"]), ("syslog", 514, Udp, &[]),
    ("printer", 515, Both, &["spooler"]), ("talk", 517, Both, &[]), ("ntalk", 518, Both, &[]), ("efs", 520, Tcp, &[]),
    ("router", 520, Udp, &["route", "routed"]), ("ripng", 521, Both, &[]), ("timed", 525, Both, &["timeserver"]),
    ("tempo", 526, Both, &["newdate"]), ("courier", 530, Both, &["rpc"]), ("conference", 531, Both, &["chat"]),
    ("netnews", 532, Both, &["readnews"]), ("uucp", 540, Both, &["uucpd"]), ("klogin", 543, Both, &[]),
    ("kshell", 544, Both, &["krcmd"]), ("dhcpv6-client", 546, Both, &[]), ("dhcpv6-server", 547, Both, &[]),
    ("afpovertcp", 548, Both, &[]), ("new-rwho", 550, Both, &["new-who"]), ("rtsp", 554, Both, &[]),
    ("remotefs", 556, Both, &["rfs", "rfs_server"]), ("nntps", 563, Both, &["snntp"]), ("submission", 587, Both, &[]),
    ("http-alt", 591, Both, &[]), ("http-rpc-epmap", 593, Both, &[]), ("syslog-conn", 601, Both, &[]),
    ("asf-rmcp", 623, Both, &[]), ("ipp", 631, Both, &["ipps"]), ("ldaps", 636, Both, &["sldap"]),
    ("msdp", 639, Both, &[]), ("ldp", 646, Both, &[]), ("dhcp-failover", 647, Both, &[]), ("rrp", 648, Both, &[]),
    ("repscmd", 653, Both, &[]), ("mdqs", 666, Both, &[]), ("doom", 666, Both, &[]), ("acap", 674, Both, &[]),
    ("msexch-routing", 691, Both, &[]), ("ha-cluster", 694, Both, &[]), ("silc", 706, Both, &[]),
    ("kerberos-adm", 749, Both, &[]), ("rfile", 750, Tcp, &[]), ("loadav", 750, Udp, &[]),
    ("kerberos-iv", 750, Udp, &["kdc"]), ("pump", 751, Both, &[]), ("ns", 760, Both, &[]),
    ("netconf-ssh", 830, Both, &[]), ("netconf-beep", 831, Both, &[]), ("netconfsoaphttp", 832, Both, &[]),
    ("netconfsoapbeep", 833, Both, &[]), ("domain-s", 853, Both, &[]), ("iscsi", 860, Both, &[]),
    ("rsync", 873, Both, &[]), ("accessbuilder", 888, Both, &[]), ("swat", 901, Tcp, &[]),
    ("smpnameres", 901, Both, &[]), ("ftps-data", 989, Both, &[]), ("ftps", 990, Both, &[]),
    ("telnets", 992, Both, &[]), ("imaps", 993, Both, &[]), ("ircs", 994, Both, &[]),
    ("pop3s", 995, Both, &["spop3"]), ("socks", 1080, Both, &[]), ("kpop", 1109, Both, &[]),
    ("skkserv", 1178, Tcp, &[]), ("openvpn", 1194, Both, &[]), ("h323hostcallsc", 1300, Both, &[]),
    ("ms-sql-s", 1433, Both, &[]), ("ms-sql-m", 1434, Both, &[]), ("ingreslock", 1524, Both, &[]),
    ("orasrv", 1525, Both, &[]), ("prospero-np", 1525, Both, &[]), ("l2f", 1701, Both, &[]),
    ("l2tp", 1701, Both, &[]), ("pptp", 1723, Tcp, &[]), ("radius", 1812, Udp, &[]), ("radacct", 1813, Udp, &[]),
    ("ssdp", 1900, Both, &[]), ("licensedaemon", 1986, Both, &[]), ("gdp-port", 1997, Both, &[]),
    ("cfingerd", 2003, Tcp, &[]), ("nfsd", 2049, Both, &["nfs"]), ("gnunet", 2086, Both, &[]),
    ("rtcm-sc104", 2101, Both, &[]), ("zephyr-srv", 2102, Both, &[]), ("zephyr-clt", 2103, Udp, &[]),
    ("zephyr-hm", 2104, Udp, &[]), ("minipay", 2105, Both, &[]), ("eklogin", 2105, Both, &[]),
    ("cvspserver", 2401, Both, &[]), ("venus", 2430, Both, &[]), ("codasrv", 2432, Both, &[]),
    ("codasrv-se", 2433, Both, &[]), ("hpstgmgr", 2600, Both, &[]), ("discp-client", 2601, Both, &[]),
    ("discp-server", 2602, Both, &[]), ("servicemeter", 2603, Both, &[]), ("nsc-ccs", 2604, Both, &[]),
    ("nsc-posa", 2605, Both, &[]), ("netmon", 2606, Both, &[]), ("connection", 2607, Both, &[]),
    ("wag-service", 2608, Both, &[]), ("dict", 2628, Both, &[]), ("www-dev", 2784, Both, &[]),
    ("gds_db", 3050, Both, &[]), ("iscsi-target", 3260, Both, &[]), ("mysql", 3306, Both, &[]),
    ("ms-wbt-server", 3389, Both, &["rdp"]), ("nut", 3493, Both, &[]), ("daap", 3689, Both, &[]),
    ("svn", 3690, Both, &[]), ("lockd", 4045, Both, &[]), ("sieve", 4190, Both, &[]), ("rwhois", 4321, Both, &[]),
    ("epmd", 4369, Both, &[]), ("krb524", 4444, Both, &[]), ("nv-video", 4444, Both, &[]),
    ("ipsec-nat-t", 4500, Both, &[]), ("hylafax", 4559, Both, &[]), ("rfe", 5002, Both, &[]),
    ("mmcc", 5050, Both, &[]), ("sip", 5060, Both, &[]), ("sip-tls", 5061, Both, &[]),
    ("xmpp-client", 5222, Both, &[]), ("xmpp-server", 5269, Both, &[]), ("cfengine", 5308, Both, &[]),
    ("mdns", 5353, Both, &[]), ("mdnsresponder", 5354, Both, &[]), ("postgresql", 5432, Both, &[]),
    ("personal-agent", 5555, Tcp, &[]), ("rplay", 5555, Udp, &[]), ("amqps", 5671, Both, &[]),
    ("amqp", 5672, Both, &[]), ("canna", 5680, Tcp, &[]), ("auriga-router", 5680, Udp, &[]),
    ("vnc-server", 5900, Both, &[]), ("cvsup", 5999, Tcp, &[]), ("x11", 6000, Both, &[]),
    ("x11-ssh", 6010, Both, &[]), ("sge_qmaster", 6444, Both, &[]), ("sane-port", 6566, Both, &[]),
    ("ircd", 6667, Tcp, &[]), ("afs3-fileserver", 7000, Both, &[]), ("afs3-callback", 7001, Both, &[]),
    ("font-service", 7100, Both, &[]), ("ftp-proxy", 8021, Tcp, &[]), ("intu-ec-client", 8021, Udp, &[]),
    ("http-alt", 8080, Both, &[]), ("puppet", 8140, Tcp, &[]), ("jetdirect", 9100, Tcp, &[]),
    ("pdl-datastream", 9100, Both, &[]), ("bacula-dir", 9101, Both, &[]), ("bacula-fd", 9102, Both, &[]),
    ("bacula-sd", 9103, Both, &[]), ("git", 9418, Both, &[]), ("sd", 9876, Both, &[]),
    ("zabbix-agent", 10050, Both, &[]), ("zabbix-trapper", 10051, Both, &[]), ("amanda", 10080, Both, &[]),
    ("amandaidx", 10082, Tcp, &[]), ("amidxtape", 10083, Tcp, &[]), ("wnn6", 22273, Tcp, &["wnn4"]),
    ("dbbrowse", 47557, Both, &[]),
];

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

/// The name that getservbyport(3) gives for a port.
pub(crate) fn service_name(port: u16, tcp: bool) -> Option<&'static str> {
    SERVICES
        .iter()
        .find(|(_, known, transport, _)| *known == port && matches_transport(*transport, tcp))
        .map(|(name, ..)| *name)
}

/// The port of a service name, looked for in tcp and then in udp, as `getservice` of parse.y does.
pub(crate) fn service_port(name: &str) -> Option<u16> {
    let named = |entry: &&(&str, u16, Transport, &[&str])| entry.0 == name || entry.3.contains(&name);
    SERVICES
        .iter()
        .filter(named)
        .find(|entry| matches_transport(entry.2, true))
        .or_else(|| SERVICES.iter().find(named))
        .map(|entry| entry.1)
}

fn matches_transport(transport: Transport, tcp: bool) -> bool {
    match transport {
        Both => true,
        Tcp => tcp,
        Udp => !tcp,
    }
}

/// The number of a protocol name.
pub(crate) fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|entry| entry.0 == name || entry.2.contains(&name)).map(|entry| entry.1)
}

/// The name of a protocol number.
pub(crate) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|entry| entry.1 == number).map(|entry| entry.0)
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
    types(af).iter().find(|entry| entry.0 == name).map(|entry| entry.1)
}

/// The name of an ICMP type.
pub(crate) fn icmp_type_name(number: u8, af: Af) -> Option<&'static str> {
    types(af).iter().find(|entry| entry.1 == number).map(|entry| entry.0)
}

/// The code of a name below a type.
pub(crate) fn icmp_code(icmp_type: u8, name: &str, af: Af) -> Option<u8> {
    codes(af).iter().find(|entry| entry.1 == icmp_type && entry.0 == name).map(|entry| entry.2)
}

/// The name of a code below a type.
pub(crate) fn icmp_code_name(icmp_type: u8, code: u8, af: Af) -> Option<&'static str> {
    codes(af).iter().find(|entry| entry.1 == icmp_type && entry.2 == code).map(|entry| entry.0)
}

/// The value of a `tos` word (`map_tos` of parse.y), which ignores case.
pub(crate) fn tos_value(name: &str) -> Option<u8> {
    const WORDS: &[(&str, u8)] = &[
        ("af11", 0x28), ("af12", 0x30), ("af13", 0x38), ("af21", 0x48), ("af22", 0x50), ("af23", 0x58),
        ("af31", 0x68), ("af32", 0x70), ("af33", 0x78), ("af41", 0x88), ("af42", 0x90), ("af43", 0x98),
        ("critical", 0xa0), ("cs0", 0x00), ("cs1", 0x20), ("cs2", 0x40), ("cs3", 0x60), ("cs4", 0x80),
        ("cs5", 0xa0), ("cs6", 0xc0), ("cs7", 0xe0), ("ef", 0xb8), ("inetcontrol", 0xc0), ("lowdelay", 0x10),
        ("netcontrol", 0xe0), ("reliability", 0x04), ("throughput", 0x08), ("va", 0xb0),
    ];
    WORDS.iter().find(|entry| entry.0.eq_ignore_ascii_case(name)).map(|entry| entry.1)
}
