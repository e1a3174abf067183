//! Rules for a Host: uplinks that name one thing each, addresses, storage, sysctls, taints.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::host::{BlockedPorts, HostSpec, Lagg, LaggProtocol, Scrub, SysctlValue, Uplink};
use crate::net::{Family, is_link_local};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::validate::{exactly_one, names, paths};
use crate::violation::{Cause, Findings};

/// The hexadecimal digits of a SHA-256.
const KEY_DIGITS: usize = 64;

/// `LAGG_MAX_PORTS`, sys/net/if_lagg.h.
const LAGG_PORTS_MAX: usize = 32;

/// `net.inet.tcp.minmss` as it comes (TCP_MINMSS, sys/netinet/tcp.h): FreeBSD's TCP makes no smaller segments, whatever it is offered.
const MSS_MIN: u16 = 216;

/// Sysctls whose value can only be raised while the system runs (`sysctl_fibs` in sys/net/route/route_tables.c, `sysctl_kern_securelvl` in sys/kern/kern_mib.c), so that what they were could not be put back.
const RAISED_ONLY: [&str; 2] = ["net.fibs", "kern.securelevel"];

/// How many routing tables an agent gives its host: it reads no more than these.
const FIBS: RangeInclusive<u16> = 1..=16;

pub(super) fn validate(spec: &HostSpec, path: &FieldPath, findings: &mut Findings) {
    let uplinks = path.field("uplinks");
    for (name, uplink) in &spec.uplinks {
        let at = uplinks.key(name);
        findings.check(&at, names::entry(name));
        validate_uplink(spec, name, uplink, &at, findings);
    }
    claimed_nics(spec, &uplinks, findings);
    claimed_tags(spec, &uplinks, findings);
    scrubbed_once(spec, &uplinks, findings);
    for (name, address) in &spec.addresses {
        let at = path.field("addresses").key(name);
        findings.check(&at, names::entry(name));
        unicast(*address, &at, findings);
        if is_link_local(*address) {
            findings.add(
                &at,
                format!("{address} is on every link, and other hosts would have to know which"),
                "give an address that is the host's own on the link that it shares with the others",
            );
        }
    }
    for (name, family) in [("node", Family::Ipv4), ("node6", Family::Ipv6)] {
        if spec
            .addresses
            .get(name)
            .is_some_and(|address| Family::of(*address) != family)
        {
            let message = format!(
                "is the next hop of {} routes, but has the other family",
                family.keyword()
            );
            findings.add(
                &path.field("addresses").key(name),
                message,
                "`node` is IPv4, `node6` is IPv6",
            );
        }
    }
    if let Some(storage) = &spec.storage {
        let at = path.field("storage");
        exactly_one(
            &at,
            &[
                ("dataset", storage.dataset.is_some()),
                ("path", storage.path.is_some()),
            ],
            findings,
        );
        if let Some(dataset) = &storage.dataset {
            findings.check(&at.field("dataset"), paths::dataset(dataset));
        }
        if let Some(root) = &storage.path {
            findings.check(&at.field("path"), paths::absolute(root));
        }
    }
    if let Some(key) = &spec.key_fingerprint
        && !(key.len() == KEY_DIGITS && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    {
        findings.add(
            &path.field("keyFingerprint"),
            format!("`{}` is no fingerprint of a key", cut(key)),
            format!("{KEY_DIGITS} hexadecimal digits in lower case, as the refusal of the agent shows them"),
        );
    }
    for (name, value) in &spec.sysctls {
        sysctl(name, value, &path.field("sysctls").key(name), findings);
    }
    if spec.fibs.is_some_and(|fibs| !FIBS.contains(&fibs)) {
        findings.add(
            &path.field("fibs"),
            format!(
                "a host can be given {} to {} routing tables",
                FIBS.start(),
                FIBS.end()
            ),
            "write one more than the highest fib of its networks: the first table is 0",
        );
    }
    for (index, taint) in spec.taints.iter().enumerate() {
        let at = path.field("taints").index(index);
        findings.check(&at.field("key"), names::qualified(&taint.key));
        findings.check(&at.field("value"), names::label_value(&taint.value));
    }
}

fn validate_uplink(
    spec: &HostSpec,
    name: &str,
    uplink: &Uplink,
    path: &FieldPath,
    findings: &mut Findings,
) {
    exactly_one(
        path,
        &[
            ("interface", uplink.interface.is_some()),
            ("interfaces", !uplink.interfaces.is_empty()),
            ("lagg", uplink.lagg.is_some()),
            ("vlan", uplink.vlan.is_some()),
        ],
        findings,
    );
    if let Some(interface) = &uplink.interface {
        findings.check(&path.field("interface"), names::host_interface(interface));
        if interface == "lo0" {
            findings.add(
                &path.field("interface"),
                "`lo0` leads nowhere outside",
                "name a NIC",
            );
        }
    }
    for (index, interface) in uplink.interfaces.iter().enumerate() {
        findings.check(
            &path.field("interfaces").index(index),
            names::host_interface(interface),
        );
    }
    if !uplink.interfaces.is_empty() && !uplink.public_addresses.is_empty() {
        findings.add(
            &path.field("publicAddresses"),
            "the NICs of a pool go to jails, and the host has no address on them",
            "remove it, or name an uplink with one interface",
        );
    }
    if let Some(lagg) = &uplink.lagg {
        validate_lagg(lagg, &path.field("lagg"), findings);
    }
    if let Some(vlan) = &uplink.vlan {
        let at = path.field("vlan");
        if !(1..=4094).contains(&vlan.id) {
            findings.add(
                &at.field("id"),
                format!("{} is not a VLAN id", vlan.id),
                "1 to 4094",
            );
        }
        carrier(spec, name, &vlan.uplink, &at.field("uplink"), findings);
    }
    for (name, address) in &uplink.public_addresses {
        let at = path.field("publicAddresses").key(name);
        findings.check(&at, names::entry(name));
        unicast(*address, &at, findings);
    }
    for (index, block) in uplink.block.iter().enumerate() {
        validate_block(uplink, block, &path.field("block").index(index), findings);
    }
    if let Some(scrub) = &uplink.scrub {
        validate_scrub(uplink, scrub, &path.field("scrub"), findings);
    }
}

fn validate_scrub(uplink: &Uplink, scrub: &Scrub, path: &FieldPath, findings: &mut Findings) {
    if *scrub == Scrub::default() {
        findings.add(
            path,
            "changes nothing",
            "name at least one of maxMss, noDf and randomId (what puts fragments together is `set reassemble yes` in pf.conf)",
        );
    }
    if !uplink.interfaces.is_empty() {
        findings.add(
            path,
            "the NICs of a pool go to jails, and the host's pf sees nothing of them",
            "remove it, or name an uplink with one interface",
        );
    }
    if let Some(size) = scrub.max_mss.filter(|size| *size < MSS_MIN) {
        findings.add(
            &path.field("maxMss"),
            format!("{size} is less than any TCP sends"),
            format!("{MSS_MIN} or more; 1452 is usual behind PPPoE"),
        );
    }
}

/// Scrubbing is an interface's, whatever the names of the uplinks that it is.
fn scrubbed_once(spec: &HostSpec, path: &FieldPath, findings: &mut Findings) {
    let mut scrubbed: BTreeMap<&str, FieldPath> = BTreeMap::new();
    for (name, uplink) in &spec.uplinks {
        let Some(interface) = uplink
            .interface
            .as_deref()
            .filter(|_| uplink.scrub.is_some())
        else {
            continue;
        };
        let at = path.key(name).field("scrub");
        match scrubbed.get(interface) {
            Some(first) => findings.add(
                &at,
                format!("what comes in and leaves by {interface} is {first}'s to change"),
                "say all of it in one of the two uplinks",
            ),
            None => {
                scrubbed.insert(interface, at);
            }
        }
    }
}

/// A vlan's carrier is an uplink of this host that has an interface, and not the vlan itself in the end.
fn carrier(spec: &HostSpec, name: &str, carrier: &str, path: &FieldPath, findings: &mut Findings) {
    let Some(uplink) = spec.uplinks.get(carrier) else {
        let names: Vec<&str> = spec
            .uplinks
            .keys()
            .map(String::as_str)
            .filter(|other| *other != name)
            .collect();
        let help = crate::suggest::help(carrier, &names, "this host's uplinks are");
        findings.add_as(
            Cause::NotFound,
            path,
            format!("there is no uplink `{}` on this host", cut(carrier)),
            help,
        );
        return;
    };
    if !uplink.interfaces.is_empty() {
        findings.add(
            path,
            format!("`{carrier}` is a pool of NICs for pass-through"),
            "name an uplink with one interface",
        );
    }
    let mut at = carrier;
    for _ in 0..=spec.uplinks.len() {
        if at == name {
            findings.add(
                path,
                "the vlan would carry itself",
                "end the chain at an interface or a lagg",
            );
            return;
        }
        match spec.uplinks.get(at).and_then(|uplink| uplink.vlan.as_ref()) {
            Some(vlan) => at = &vlan.uplink,
            None => return,
        }
    }
}

fn validate_lagg(lagg: &Lagg, path: &FieldPath, findings: &mut Findings) {
    let ports = path.field("ports");
    if lagg.ports.is_empty() {
        findings.add_as(
            Cause::Required,
            &ports,
            "an aggregate needs a port",
            "name at least one NIC",
        );
    }
    if lagg.ports.len() > LAGG_PORTS_MAX {
        findings.add(
            &ports,
            format!("{} ports", lagg.ports.len()),
            format!("at most {LAGG_PORTS_MAX}"),
        );
    }
    for (index, port) in lagg.ports.iter().enumerate() {
        findings.check(&ports.index(index), names::host_interface(port));
        if let Some(first) = lagg.ports[..index].iter().position(|other| other == port) {
            findings.add_as(
                Cause::Duplicate,
                &ports.index(index),
                format!("`{port}` is {} already", ports.index(first)),
                "name each NIC once",
            );
        }
    }
    let Some(hash) = &lagg.hash else { return };
    let at = path.field("hash");
    // In the order in which ifconfig(8) prints them, so that what is read back is what was written.
    let layers: Vec<&str> = hash.split(',').collect();
    let fits = layers
        .iter()
        .all(|layer| matches!(*layer, "l2" | "l3" | "l4"))
        && layers.windows(2).all(|pair| pair[0] < pair[1]);
    if !fits {
        findings.add(
            &at,
            format!("`{}` is not a hash of a lagg", cut(hash)),
            "l2, l3, l4, or several of them in this order: l3,l4",
        );
    }
    match lagg.protocol {
        LaggProtocol::Lacp | LaggProtocol::Loadbalance => {}
        LaggProtocol::Failover | LaggProtocol::Roundrobin => {
            findings.add(
                &at,
                "only lacp and loadbalance spread by hash",
                "remove it, or take another protocol",
            );
        }
    }
}

fn validate_block(
    uplink: &Uplink,
    block: &BlockedPorts,
    path: &FieldPath,
    findings: &mut Findings,
) {
    findings.check(&path.field("name"), names::entry(&block.name));
    if block.ports.is_empty() {
        findings.add_as(
            Cause::Required,
            &path.field("ports"),
            "no port is named",
            "name at least one",
        );
    }
    if uplink.public_addresses.is_empty() {
        findings.add(
            path,
            "the uplink names no public address to block the ports on",
            "add it to publicAddresses",
        );
    }
    if let Some(address) = &block.address
        && !uplink.public_addresses.contains_key(address)
    {
        let names: Vec<&str> = uplink.public_addresses.keys().map(String::as_str).collect();
        let help = crate::suggest::help(address, &names, "its public addresses are");
        findings.add_as(
            Cause::NotFound,
            &path.field("address"),
            format!("the uplink has no public address `{}`", cut(address)),
            help,
        );
    }
}

/// A NIC that a lagg or a pass-through pool takes belongs to it alone.
fn claimed_nics(spec: &HostSpec, path: &FieldPath, findings: &mut Findings) {
    let mut uses: BTreeMap<&str, Vec<(FieldPath, bool)>> = BTreeMap::new();
    for (name, uplink) in &spec.uplinks {
        let at = path.key(name);
        if let Some(interface) = &uplink.interface {
            uses.entry(interface)
                .or_default()
                .push((at.field("interface"), false));
        }
        for (index, interface) in uplink.interfaces.iter().enumerate() {
            uses.entry(interface)
                .or_default()
                .push((at.field("interfaces").index(index), true));
        }
        for (index, port) in uplink
            .lagg
            .iter()
            .flat_map(|lagg| lagg.ports.iter().enumerate())
        {
            uses.entry(port)
                .or_default()
                .push((at.field("lagg").field("ports").index(index), true));
        }
    }
    for (nic, places) in uses {
        // Ports of one lagg twice are reported there.
        let parents = |place: &FieldPath| place.as_str().split(']').next().map(str::to_owned);
        for (index, (place, exclusive)) in places.iter().enumerate().skip(1) {
            let Some((earlier, _)) = places[..index]
                .iter()
                .find(|(other, alone)| (*alone || *exclusive) && parents(other) != parents(place))
            else {
                continue;
            };
            findings.add(
                place,
                format!("`{nic}` is taken by {earlier}"),
                "a NIC of a lagg or a pass-through pool belongs to it alone",
            );
        }
    }
}

/// An interface carries each VLAN once (EEXIST, `vlan_inshash`, sys/net/if_vlan.c), whatever the names of the uplinks that it is.
fn claimed_tags(spec: &HostSpec, path: &FieldPath, findings: &mut Findings) {
    let mut tags: BTreeMap<(&str, u16), FieldPath> = BTreeMap::new();
    for (name, uplink) in &spec.uplinks {
        let Some(vlan) = &uplink.vlan else { continue };
        let at = path.key(name).field("vlan");
        let carrier = spec.uplinks.get(&vlan.uplink);
        let interface = carrier.and_then(|carrier| carrier.interface.as_deref());
        let key = (interface.unwrap_or(&vlan.uplink), vlan.id);
        match tags.get(&key) {
            Some(first) => findings.add_as(
                Cause::Duplicate,
                &at.field("id"),
                format!("VLAN {} of `{}` is {first} already", vlan.id, key.0),
                "name one uplink in both networks, or give another VLAN id",
            ),
            None => {
                tags.insert(key, at);
            }
        }
    }
}

/// An address that an interface of the host can have.
fn unicast(address: IpAddr, path: &FieldPath, findings: &mut Findings) {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
        findings.add(
            path,
            format!("{address} is not an address that a host can be reached at"),
            "give a unicast address of the host",
        );
    }
}

fn sysctl(name: &str, value: &SysctlValue, path: &FieldPath, findings: &mut Findings) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%');
    if !name.contains('.')
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(plain)
        || name.ends_with('.')
    {
        findings.add(
            path,
            format!("`{}` is not the name of a sysctl", cut(name)),
            "as in net.link.bridge.pfil_member",
        );
    }
    if RAISED_ONLY.contains(&name) {
        findings.add(
            path,
            format!("{name} can only be raised while the host runs, so it could not be put back"),
            if name == "net.fibs" {
                "say how many with spec.fibs"
            } else {
                "set it in the host's /etc/sysctl.conf or /boot/loader.conf"
            },
        );
    }
    if let SysctlValue::Text(text) = value
        && text.chars().any(char::is_control)
    {
        findings.add(
            path,
            "the value has a control character",
            "write it on one line",
        );
    }
}
