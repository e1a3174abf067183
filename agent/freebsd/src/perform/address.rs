//! Addresses on interfaces of the host.

use std::net::IpAddr;

use cellblock_agent_core::observed::Interface;
use cellblock_schemas::net::Family;

use super::{Performer, effect, interface_word};
use crate::command::words;
use crate::error::Failure;

/// The nd6 option of an interface without IPv6.
const IFDISABLED: &str = "IFDISABLED";

impl Performer<'_> {
    /// `alias`, which adds beside what is there; without it ifconfig(8) would replace the first address.
    pub(super) fn add_address(
        &self,
        interface: &str,
        address: IpAddr,
        prefix_length: u8,
        no_dad: bool,
    ) -> Result<(), Failure> {
        let interface = interface_word(interface)?;
        if has(&self.expect(interface)?, address, prefix_length) {
            return Ok(());
        }
        self.ifconfig(alias_words(interface, address, prefix_length, no_dad))
            .map_err(|failure| lost(failure, interface, address))?;
        effect(
            has(&self.expect(interface)?, address, prefix_length),
            || format!("{address}/{prefix_length} is not on {interface}"),
        )
    }

    /// `-alias`. Absent is fine (recording `03` shows the complaint), and so is the whole interface's absence.
    pub(super) fn remove_address(
        &self,
        interface: &str,
        address: IpAddr,
        prefix_length: u8,
    ) -> Result<(), Failure> {
        let interface = interface_word(interface)?;
        let there = |found: Option<Interface>| {
            found.is_some_and(|interface| interface.address(address).is_some())
        };
        if !there(self.find(interface)?) {
            return Ok(());
        }
        let family = Family::of(address).keyword();
        self.ifconfig(words![
            interface,
            family,
            format!("{address}/{prefix_length}"),
            "-alias"
        ])?;
        effect(!there(self.find(interface)?), || {
            format!("{address} is still on {interface}")
        })
    }

    /// `ifdisabled`, which leaves the addresses that are there. The link-local one that the kernel had added is taken off afterwards, by an operation of its own:
    /// before, any event that brings the link up would add it again (`in6_if_up`, sys/netinet6/in6.c).
    pub(super) fn disable_inet6(&self, interface: &str) -> Result<(), Failure> {
        let Some(found) = self.find(interface)? else {
            return Ok(());
        };
        let mut addresses = found.addresses.iter();
        let global = addresses.find(|entry| match entry.address {
            IpAddr::V6(address) => !address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        });
        if let Some(entry) = global {
            return Err(Failure::Changed(format!(
                "{interface} has the IPv6 address {} of somebody else, so IPv6 stays enabled on it",
                entry.address
            )));
        }
        if found.nd6.contains(IFDISABLED) {
            return Ok(());
        }
        self.ifconfig(words![interface, "inet6", "ifdisabled"])?;
        let disabled = self.expect(interface)?.nd6.contains(IFDISABLED);
        effect(disabled, || format!("IPv6 is still enabled on {interface}"))
    }
}

/// Whether the address is there with that prefix length.
pub(super) fn has(interface: &Interface, address: IpAddr, prefix_length: u8) -> bool {
    interface
        .address(address)
        .is_some_and(|entry| entry.prefix_length == prefix_length)
}

/// `File exists` of an IPv6 address that is not there.
fn lost(failure: Failure, interface: &str, address: IpAddr) -> Failure {
    if let Failure::Command { stderr, .. } = &failure
        && address.is_ipv6()
        && stderr.contains("(SIOCAIFADDR): File exists")
    {
        return Failure::AddressLost {
            interface: interface.to_owned(),
            address,
        };
    }
    failure
}

/// `IF inet A/32 alias`, `IF inet6 A/128 no_dad alias`.
pub(super) fn alias_words(
    interface: &str,
    address: IpAddr,
    prefix_length: u8,
    no_dad: bool,
) -> Vec<String> {
    let family = Family::of(address);
    let mut arguments = words![
        interface,
        family.keyword(),
        format!("{address}/{prefix_length}")
    ];
    if no_dad && family == Family::Ipv6 {
        arguments.push("no_dad".to_owned());
    }
    arguments.push("alias".to_owned());
    arguments
}
