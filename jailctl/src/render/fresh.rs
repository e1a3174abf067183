//! A host that nothing has been done to yet: what is rendered is what is done to it.
//!
//! Its operator has prepared it: pf is enabled and pf.conf has our lines, it forwards, roots and what is mounted into them are there. It has the interfaces that the Host's status tells, without what is ours of
//! their addresses; where no agent has told any, those that the Host's uplinks name, with their public addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_agent::emulated::prepared_as;
use cellblock_fakebsd::hardware::Nic;
use cellblock_fakebsd::{Emulator, HardwareProfile, Release};
use cellblock_schemas::host::HostFacts;
use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::net::Family;
use cellblock_schemas::view::HostView;

/// The first `kern.osreldate` of FreeBSD 15.
const OSRELDATE_15: u32 = 1_500_000;

/// How long duplicate address detection takes, and a little.
const DAD: Duration = Duration::from_secs(5);

/// Interfaces that a kernel makes when it is told to, by the beginnings of their names: what a host has of them is no part of the machine, unless an uplink names one.
const CLONED: [&str; 8] = [
    "lo", "bridge", "epair", "ngeth", "tap", "tun", "pflog", "enc",
];

/// One interface of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Port {
    /// Its MAC address, where it is known.
    mac: Option<[u8; 6]>,
    /// Its addresses with prefix lengths, in order.
    addresses: Vec<(IpAddr, u8)>,
    /// Whether IPv6 is enabled on it, so that addresses there are asked for before they are used, and it is up.
    has_inet6: bool,
}

/// What is known of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    /// Its release.
    pub(super) release: Release,
    /// Its interfaces by name.
    pub(super) ports: BTreeMap<String, Port>,
}

impl Fresh {
    /// What is known of the machine of a view's host.
    pub(super) fn of(view: &HostView, facts: Option<&HostFacts>) -> Self {
        let mut fresh = match facts {
            Some(facts) => told(view, facts),
            None => declared(view),
        };
        // A NIC that a jail has is not among what the host sees.
        let bound = view
            .jails
            .values()
            .flat_map(|jail| &jail.binding.attachments);
        for nic in bound.filter_map(|bound| bound.nic.as_ref()) {
            fresh.ports.entry(nic.clone()).or_default();
        }
        // That an interface is up, or has IPv6, an agent may have brought about: what it has addresses of, and where jails have IPv6 addresses on the NIC itself, its operator did.
        for port in fresh.ports.values_mut() {
            port.has_inet6 = port.addresses.iter().any(|(address, _)| address.is_ipv6());
        }
        for (name, uplink) in &view.host.uplinks {
            let port = uplink.interface.as_ref();
            let port = port.and_then(|interface| fresh.ports.get_mut(interface));
            if let Some(port) = port.filter(|_| shares_inet6(view, name)) {
                port.has_inet6 = true;
            }
        }
        fresh
    }

    /// The interfaces with their addresses, in words.
    pub(super) fn words(&self) -> String {
        let ports = self.ports.iter().map(|(name, port)| {
            let addresses = port.addresses.iter();
            let addresses: Vec<String> = addresses
                .map(|(address, length)| format!("{address}/{length}"))
                .collect();
            if addresses.is_empty() {
                name.clone()
            } else {
                format!("{name} ({})", addresses.join(", "))
            }
        });
        let ports: Vec<String> = ports.collect();
        if ports.is_empty() {
            "no interfaces".to_owned()
        } else {
            ports.join(", ")
        }
    }

    /// The machine, switched on and prepared.
    ///
    /// # Errors
    /// The emulator refuses what its operator does.
    pub(super) fn start(&self, view: &HostView) -> anyhow::Result<Emulator> {
        let nics = (0_u32..)
            .zip(&self.ports)
            .map(|(number, (name, port))| Nic {
                name: name.clone(),
                mac: port.mac.unwrap_or_else(|| {
                    let [a, b, c, d] = number.to_be_bytes();
                    [0x02, 0, a, b, c, d]
                }),
                inet: port
                    .addresses
                    .iter()
                    .filter_map(|(address, length)| match address {
                        IpAddr::V4(address) => Some((*address, *length)),
                        IpAddr::V6(_) => None,
                    })
                    .collect(),
            });
        let hardware = HardwareProfile {
            hostname: view.host_name.clone(),
            nics: nics.collect(),
            default_gateway: None,
            racct: true,
            ..HardwareProfile::recorded()
        };
        let mut emulator = prepared_as(self.release, hardware)?;
        for line in self.lines(view) {
            let output = emulator.sh(&line);
            ensure!(
                output.status == 0,
                "`{line}` on the host that is rendered for: {}",
                output.stderr.trim()
            );
        }
        for image in view.jails.values().filter_map(|jail| jail.image.as_ref()) {
            let (tarball, digest) = (&image.release.tarball, &image.release.sha256);
            let made = emulator.add_base(tarball, digest);
            made.map_err(|error| anyhow::anyhow!("{error}"))
                .with_context(|| format!("{tarball} on the host that is rendered for"))?;
        }
        for directory in directories(view) {
            let made = emulator.files.create_directories(&directory);
            made.map_err(|error| anyhow::anyhow!("{error}"))
                .with_context(|| format!("{directory} on the host that is rendered for"))?;
        }
        emulator.advance(DAD);
        emulator.log.clear();
        Ok(emulator)
    }

    /// What its operator has done beside what all have.
    fn lines(&self, view: &HostView) -> Vec<String> {
        let mut lines = Vec::new();
        let storage = view.host.storage.as_ref();
        if let Some(dataset) = storage.and_then(|storage| storage.dataset.as_ref()) {
            let pool = dataset.split('/').next().unwrap_or(dataset);
            lines.push(format!("zpool create {pool} /dev/ada0"));
            lines.push(format!("zfs create -p {dataset}"));
        }
        for (name, port) in &self.ports {
            if port.has_inet6 {
                lines.push(format!("ifconfig {name} inet6 -ifdisabled up"));
            }
            let v6 = port.addresses.iter().filter(|(one, _)| one.is_ipv6());
            lines.extend(
                v6.map(|(one, length)| format!("ifconfig {name} inet6 {one}/{length} alias")),
            );
        }
        // What the Host declares is done to it, so it is not so yet.
        for oid in ["net.inet.ip.forwarding", "net.inet6.ip6.forwarding"] {
            if view.host.sysctls.contains_key(oid) {
                lines.push(format!("sysctl {oid}=0"));
            }
        }
        let parameters = view.jails.values().map(|jail| &jail.spec.parameters);
        let rulesets = parameters.filter_map(|all| match all.get("devfs_ruleset")? {
            ParameterValue::Number(number) => u32::try_from(*number).ok(),
            ParameterValue::Text(text) => text.parse().ok(),
            ParameterValue::Flag(_) | ParameterValue::List(_) => None,
        });
        let rulesets: BTreeSet<u32> = rulesets.filter(|number| *number > 0).collect();
        lines.extend(
            rulesets
                .iter()
                .map(|number| format!("devfs rule -s {number} add path null unhide")),
        );
        lines
    }
}

/// What an agent has told. Addresses of jails are ours, and so not there yet.
fn told(view: &HostView, facts: &HostFacts) -> Fresh {
    let bound = view
        .jails
        .values()
        .flat_map(|jail| &jail.binding.attachments);
    let ours: BTreeSet<IpAddr> = bound
        .flat_map(|bound| bound.addresses.iter().map(|one| one.address))
        .collect();
    let uplinks = view.host.uplinks.values();
    let named: BTreeSet<&String> = uplinks.flat_map(|uplink| &uplink.interface).collect();
    let is_machine = |name: &String| {
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
        named.contains(name) || !CLONED.contains(&kind) && !name.starts_with("epair")
    };
    let interfaces = facts.interfaces.iter();
    let ports = interfaces.filter(|one| is_machine(&one.name)).map(|one| {
        let addresses = one.addresses.iter().filter(|one| {
            let is_link_local = match one.address {
                IpAddr::V4(_) => false,
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            !is_link_local && !ours.contains(&one.address)
        });
        let single = |address: IpAddr| Family::of(address).host_prefix_length();
        let addresses = addresses.map(|one| {
            let length = one.prefix_length.unwrap_or(single(one.address));
            (one.address, length)
        });
        let port = Port {
            mac: one.mac.map(|mac| mac.0),
            addresses: addresses.collect(),
            has_inet6: false,
        };
        (one.name.clone(), port)
    });
    Fresh {
        release: if facts.osreldate < OSRELDATE_15 {
            Release::V14_3
        } else {
            Release::V15_1
        },
        ports: ports.collect(),
    }
}

/// What the Host declares. Addresses that are given to jails stand behind the others: the first is the one that the host sends from. Node addresses are taken to be on the first uplink.
fn declared(view: &HostView) -> Fresh {
    let publics = view
        .jails
        .values()
        .flat_map(|jail| &jail.spec.public_addresses);
    let publics: Vec<_> = publics.collect();
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for (name, uplink) in &view.host.uplinks {
        let lagg = uplink.lagg.iter().flat_map(|lagg| &lagg.ports);
        for nic in uplink.interfaces.iter().chain(lagg) {
            ports.entry(nic.clone()).or_default();
        }
        let Some(interface) = &uplink.interface else {
            continue;
        };
        let port = ports.entry(interface.clone()).or_default();
        let is_jails = |address: &String| {
            let mut publics = publics.iter();
            publics.any(|public| public.uplink == *name && public.address == *address)
        };
        let (jails, own): (Vec<_>, Vec<_>) = uplink
            .public_addresses
            .iter()
            .partition(|(address, _)| is_jails(address));
        for (_, address) in own.into_iter().chain(jails) {
            port.add(*address);
        }
    }
    let mut uplinks = view.host.uplinks.values();
    let first = uplinks.find_map(|uplink| uplink.interface.as_ref());
    if let Some(port) = first.and_then(|first| ports.get_mut(first)) {
        for address in view.host.addresses.values() {
            port.add_on_link(*address);
        }
    }
    Fresh {
        release: Release::V15_1,
        ports,
    }
}

/// Whether jails have IPv6 addresses of their own on an uplink.
fn shares_inet6(view: &HostView, uplink: &str) -> bool {
    let mut networks = view.networks.values();
    networks.any(|network| {
        let shared = network.spec.shared_ip.as_ref();
        let mut subnets = network.spec.subnets.iter();
        shared.is_some_and(|shared| shared.uplink.as_deref() == Some(uplink))
            && subnets.any(|subnet| subnet.cidr.family() == Family::Ipv6)
    })
}

impl Port {
    /// The first address of a family has its segment's prefix, the others stand for themselves.
    fn add(&mut self, address: IpAddr) {
        if self.addresses.iter().any(|(known, _)| *known == address) {
            return;
        }
        let family = Family::of(address);
        let mut known = self.addresses.iter();
        let is_first = !known.any(|(known, _)| Family::of(*known) == family);
        let length = match (family, is_first) {
            (Family::Ipv4, true) => 24,
            (Family::Ipv6, true) => 64,
            (Family::Ipv4 | Family::Ipv6, false) => family.host_prefix_length(),
        };
        self.addresses.push((address, length));
    }

    /// An address by which neighbours reach the host has its segment's prefix.
    fn add_on_link(&mut self, address: IpAddr) {
        if self.addresses.iter().any(|(known, _)| *known == address) {
            return;
        }
        let length = match Family::of(address) {
            Family::Ipv4 => 24,
            Family::Ipv6 => 64,
        };
        self.addresses.push((address, length));
    }
}

/// The roots of jails with what a jail(8) needs in them, and what is mounted into them.
fn directories(view: &HostView) -> BTreeSet<String> {
    let mut directories = BTreeSet::new();
    let storage = view.host.storage.as_ref();
    directories.extend(storage.and_then(|storage| storage.path.clone()));
    for jail in view.jails.values() {
        let Some(root) = &jail.spec.root else {
            continue;
        };
        let root = root.path.trim_end_matches('/');
        for below in ["dev", "dev/fd", "proc", "tmp"] {
            directories.insert(format!("{root}/{below}"));
        }
        for mount in &jail.spec.mounts {
            directories.insert(format!("{root}/{}", mount.target.trim_start_matches('/')));
            let source = mount.source.as_ref();
            directories.extend(source.filter(|source| source.starts_with('/')).cloned());
        }
    }
    directories
}

#[cfg(test)]
mod tests;
