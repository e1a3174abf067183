//! Arithmetic of addresses: masks, and the text forms that inet_net_pton(3) and inet_aton(3) accept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address as 128 bits, an IPv4 one in the upper 32 so that prefix lengths count alike.
pub(crate) fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The inverse of [`to_bits`] in the family of `like`.
pub(crate) fn from_bits(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(
            u32::try_from(bits >> 96).expect("a value shifted by 96 bits fits 32"),
        )),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
    }
}

/// A mask of so many leading bits.
pub(crate) fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        1..=127 => u128::MAX << (128 - bits),
        _ => u128::MAX,
    }
}

/// The address with everything behind the prefix cleared.
pub(crate) fn masked(address: IpAddr, bits: u8) -> IpAddr {
    from_bits(to_bits(address) & mask(bits), address)
}

/// Whether `address` lies in the network.
pub(crate) fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    network.is_ipv4() == address.is_ipv4()
        && (to_bits(network) ^ to_bits(address)) & mask(bits) == 0
}

/// `fe80::/10`.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

/// The dotted form of a network, as inet_net_pton(3) takes it: `10`, `10.1`, up to four octets.
pub(crate) fn parse_net(text: &str) -> Option<IpAddr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    let mut octets = [0_u8; 4];
    for (octet, part) in octets.iter_mut().zip(&parts) {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// A host's address as inet_aton(3) or inet_pton(3) takes it: `127.1` is 127.0.0.1.
pub(crate) fn parse_host(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address));
    }
    let mut values = Vec::new();
    for part in text.split('.') {
        values.push(parse_c_number(part)?);
    }
    let (last, leading) = values.split_last()?;
    if leading.len() > 3 || leading.iter().any(|value| *value > 255) {
        return None;
    }
    let room = 8 * (4 - u32::try_from(leading.len()).ok()?);
    if u64::from(*last) >= 1_u64 << room {
        return None;
    }
    let mut bits = *last;
    for (place, value) in (0_u32..).zip(leading) {
        bits |= value << (24 - 8 * place);
    }
    Some(IpAddr::V4(Ipv4Addr::from(bits)))
}

/// A number as strtoul(3) with base 0 reads it: decimal, `0x…`, or octal behind a zero.
pub(crate) fn parse_c_number(text: &str) -> Option<u32> {
    let (digits, radix) =
        if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            (hex, 16)
        } else if text.len() > 1 && text.starts_with('0') {
            (&text[1..], 8)
        } else {
            (text, 10)
        };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// What strtonum(3) says about a number that is not within its limits.
pub(crate) fn parse_bounded(text: &str, highest: i64) -> Result<i64, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid");
    }
    let value: i64 = match text.parse() {
        Ok(value) => value,
        Err(_) if text.starts_with('-') => return Err("too small"),
        Err(_) => return Err("too large"),
    };
    if value < 0 {
        Err("too small")
    } else if value > highest {
        Err("too large")
    } else {
        Ok(value)
    }
}
