//! Reads what ifconfig(8) prints of interfaces.
//!
//! Names and descriptions are printed raw, and neither is checked for line ends by the kernel (`SIOCSIFNAME`, `SIOCSIFDESCR`, sys/net/if.c): the root of a VNET jail can write a
//! description that looks like another interface, and it comes back to the host with it (recording `12`). So the list of all interfaces is believed only if it has exactly the
//! interfaces that `ifconfig -l`, which prints no descriptions, has; see [`is_sound`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_agent_core::observed::{Address, Interface, Lagg, Member, Vlan};
use cellblock_schemas::net::Mac;

/// Reads `ifconfig -a`, or `ifconfig NAME`: every interface in the order printed. Lines that are not known are passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for line in text.lines() {
        if let Some(interface) = header(line) {
            interfaces.push(interface);
        } else if let Some(interface) = interfaces.last_mut() {
            detail(interface, line);
        }
    }
    // A look is kept, and half of what a list has grown to is room for more.
    for interface in &mut interfaces {
        interface.addresses.shrink_to_fit();
    }
    interfaces.shrink_to_fit();
    interfaces
}

/// Reads `ifconfig -l`: the names in order.
#[must_use]
pub fn parse_names(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Reads `ifconfig NAME`: all that is printed is of one interface, whatever its description looks like. What ifconfig prints itself stands behind the description, so the last of its lines count.
#[must_use]
pub fn parse_one(text: &str) -> Option<Interface> {
    let mut parsed = parse(text).into_iter();
    let mut interface = parsed.next()?;
    if let Some(last) = parsed.next_back() {
        interface = Interface {
            name: interface.name,
            flags: interface.flags,
            mtu: interface.mtu,
            description: interface.description,
            ..last
        };
    }
    Some(interface)
}

/// Whether `interfaces`, read from `ifconfig -a`, are those that `ifconfig -l` names, in its order. If not, a name or a description contains a line end, or an interface came or went meanwhile.
#[must_use]
pub fn is_sound(interfaces: &[Interface], names: &[&str]) -> bool {
    interfaces.len() == names.len()
        && interfaces
            .iter()
            .zip(names)
            .all(|(interface, name)| interface.name == **name)
}

/// `vtnet0: flags=1008843<UP,…> metric 0 mtu 1500`
fn header(line: &str) -> Option<Interface> {
    if line.starts_with(['\t', ' ']) {
        return None;
    }
    // A name may itself contain `: `; the flags begin at the last place that looks like them.
    let (name, rest) = line.rsplit_once(": flags=")?;
    let (flags, rest) = match rest.split_once('>') {
        Some((flags, rest)) => (flags.split_once('<').map_or("", |(_, words)| words), rest),
        // An interface without any flag has no `<>` (print_bits, sbin/ifconfig/ifconfig.c).
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let mtu = loop {
        match words.next() {
            Some("mtu") => break words.next()?.parse().ok()?,
            Some(_) => {}
            None => return None,
        }
    };
    Some(Interface {
        name: name.to_owned(),
        flags: comma_words(flags).collect(),
        mtu,
        ..Interface::default()
    })
}

/// One line below the header; a tab stands before each.
fn detail(interface: &mut Interface, line: &str) {
    let Some(line) = line.strip_prefix('\t') else {
        return;
    };
    if let Some(description) = line.strip_prefix("description: ") {
        // Only the first is ifconfig's own: it stands directly below the header.
        interface
            .description
            .get_or_insert_with(|| description.to_owned());
        return;
    }
    let mut words = line.split_whitespace();
    match words.next() {
        // A hwaddr before it stood in the description.
        Some("ether") => {
            interface.mac = words.next().and_then(|mac| mac.parse().ok());
            interface.hwaddr = None;
        }
        Some("hwaddr") => interface.hwaddr = hwaddr(words.next()),
        Some("inet") => interface.addresses.extend(inet(words)),
        Some("inet6") => {
            interface.index = scope_id(line).or(interface.index);
            interface.addresses.extend(inet6(words));
        }
        Some("groups:") => interface.groups = interface.groups.iter().chain(words).collect(),
        Some("member:") => {
            if let Some(name) = words.next() {
                let flags = words.find_map(|word| word.strip_prefix("flags="));
                let flags = comma_words(between(flags.unwrap_or_default(), '<', '>')).collect();
                interface.members.insert(name.to_owned(), Member { flags });
            }
        }
        // `laggproto failover lagghash l2,l3,l4` (recording `07`). Of two such lines the first stood in the description.
        Some("laggproto") => {
            let protocol = words.next().unwrap_or_default().to_owned();
            let hash = words.skip_while(|word| *word != "lagghash").nth(1);
            interface.lagg = Some(Box::new(Lagg {
                protocol,
                hash: hash.unwrap_or_default().to_owned(),
                ports: std::collections::BTreeMap::new(),
            }));
        }
        // `laggport: vtnet1 flags=5<MASTER,ACTIVE>`
        Some("laggport:") => {
            let port = words.next();
            interface.below = interface.below.iter().chain(port).collect();
            if let (Some(lagg), Some(port)) = (&mut interface.lagg, port) {
                let flags = comma_words(between(line, '<', '>')).collect();
                lagg.ports.insert(port.to_owned(), flags);
            }
        }
        // `vlan: 30 vlanproto: 802.1q vlanpcp: 0 parent interface: lagg0` (recording `07`), or `<none>` (sbin/ifconfig/ifvlan.c).
        Some("vlan:") => {
            let id = words.next().and_then(|id| id.parse().ok()).unwrap_or(0);
            let parent = words.skip_while(|word| *word != "interface:").nth(1);
            let parent = parent.filter(|parent| *parent != "<none>");
            interface.vlan = Some(Box::new(Vlan {
                id,
                parent: parent.map(str::to_owned),
            }));
            interface.below = interface.below.iter().chain(parent).collect();
        }
        Some("nd6") => {
            let more = comma_words(between(line, '<', '>'));
            interface.nd6 = interface.nd6.iter().chain(more).collect();
        }
        // The last is ifconfig's own: it stands at the end (`status_nl`, sbin/ifconfig/ifconfig_netlink.c).
        Some("drivername:") => interface.driver = words.next().map(str::to_owned),
        Some("fib:") => interface.fib = words.next().and_then(|fib| fib.parse().ok()).unwrap_or(0),
        Some(_) | None => {}
    }
}

/// A lagg shows a hwaddr of zeros (recording `07`), which says nothing.
fn hwaddr(word: Option<&str>) -> Option<Mac> {
    word.and_then(|mac| mac.parse().ok())
        .filter(|mac: &Mac| mac.0 != [0; 6])
}

/// `10.0.2.15 netmask 0xffffff00 broadcast 10.0.2.255`, with `--> peer` behind the address on a point-to-point interface (sbin/ifconfig/af_inet.c).
fn inet<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Address> {
    let address: Ipv4Addr = words.next()?.parse().ok()?;
    words.find(|word| *word == "netmask")?;
    let mask = words.next()?.strip_prefix("0x")?;
    let mask = u32::from_str_radix(mask, 16).ok()?;
    Some(Address {
        address: IpAddr::V4(address),
        prefix_length: u8::try_from(mask.leading_ones()).ok()?,
        scope: None,
        tentative: false,
        duplicated: false,
    })
}

/// `fe80::1%lo0 prefixlen 64 tentative scopeid 0x5` (sbin/ifconfig/af_inet6.c).
fn inet6<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Address> {
    let word = words.next()?;
    let (address, scope) = match word.split_once('%') {
        Some((address, scope)) => (address, Some(scope.to_owned())),
        None => (word, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    words.find(|word| *word == "prefixlen")?;
    let prefix_length = words.next()?.parse().ok().filter(|length| *length <= 128)?;
    let flags: Vec<&str> = words.take_while(|word| *word != "scopeid").collect();
    Some(Address {
        address: IpAddr::V6(address),
        prefix_length,
        scope,
        tentative: flags.contains(&"tentative"),
        duplicated: flags.contains(&"duplicated"),
    })
}

/// The number behind `scopeid`, which is the interface's own.
fn scope_id(line: &str) -> Option<u32> {
    let (_, number) = line.rsplit_once("scopeid 0x")?;
    u32::from_str_radix(number.trim(), 16).ok()
}

fn between(text: &str, open: char, close: char) -> &str {
    text.split_once(open)
        .and_then(|(_, rest)| rest.split_once(close))
        .map_or("", |(words, _)| words)
}

fn comma_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
