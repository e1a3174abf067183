//! How ifconfig(8) reads the words that are no verbs: masks, MAC addresses, and the switches that show nowhere.

use std::net::Ipv4Addr;

use super::Verdict;
use crate::emulator::Emulator;
use crate::kernel::ifnet::Mac;

/// Verbs that switch something the emulation does not show.
pub(super) fn is_plain_flag(verb: &str) -> bool {
    let word = verb.strip_prefix('-').unwrap_or(verb);
    matches!(
        word,
        "promisc"
            | "rxcsum"
            | "txcsum"
            | "rxcsum6"
            | "txcsum6"
            | "tso"
            | "lro"
            | "vlanhwtag"
            | "vlanhwfilter"
            | "vlanmtu"
            | "vlanhwtso"
            | "vlanhwcsum"
            | "mextpg"
    )
}

/// The bit of IFF_* that a verb sets or clears and that shows, and whether it sets it (the commands of sbin/ifconfig/ifconfig.c).
pub(super) fn user_flag(verb: &str) -> Option<(u32, bool)> {
    let (word, on) = match verb.strip_prefix('-') {
        Some(word) => (word, false),
        None => (verb, true),
    };
    let bit = match word {
        "debug" => 0x4,
        "arp" => return Some((0x80, !on)),
        "link0" => 0x1000,
        "link1" => 0x2000,
        "link2" => 0x4000,
        "monitor" => 0x4_0000,
        "staticarp" => 0x8_0000,
        _ => return None,
    };
    Some((bit, on))
}

pub(super) fn width_error(prefix: &str) -> &'static str {
    if prefix.starts_with(|c: char| c.is_ascii_digit()) {
        "too large"
    } else {
        "invalid"
    }
}

/// The historical class of an address, which only loopbacks still fall back to.
pub(super) fn classful(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=255 => 24,
    }
}

pub(super) fn netmask(text: &str) -> Verdict<u8> {
    let bits = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse::<Ipv4Addr>().ok().map(u32::from),
    };
    bits.map(|bits| bits.count_ones() as u8)
        .ok_or_else(|| format!("{text}: bad value"))
}

pub(super) fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

pub(super) fn random_mac(host: &mut Emulator) -> Mac {
    let b = host.kernel.random().to_be_bytes();
    [(b[0] & 0xfe) | 0x02, b[1], b[2], b[3], b[4], b[5]]
}
