//! The formats that the schemas name: addresses, prefixes, ranges, MAC addresses, ports, times, sizes of numbers.

use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Number, Value};

use crate::net::{AddressRange, Cidr, HostAddress, Mac, PortRange};
use crate::structural::cut;
use crate::violation::Refusal;

/// Checks text against a named format. Formats that say nothing about text are passed over.
pub(super) fn text(format: &str, text: &str) -> Result<(), Refusal> {
    match format {
        "address" => text
            .parse::<HostAddress>()
            .map(drop)
            .map_err(|error| address(&error, text)),
        "ip" => text
            .parse::<IpAddr>()
            .map(drop)
            .map_err(|_| address(&crate::net::ParseError::Address(cut(text)), text)),
        "address-range" => text.parse::<AddressRange>().map(drop).map_err(|error| {
            Refusal::new(
                error.to_string(),
                "write it as 192.0.2.3-192.0.2.14, or one address",
            )
        }),
        "cidr" => text.parse::<Cidr>().map(drop).map_err(|_| {
            Refusal::new(
                format!("`{}` is not a prefix", cut(text)),
                "write an address and a prefix length, as in 192.0.2.0/28 or 2001:db8::/64",
            )
        }),
        "mac" => text
            .parse::<Mac>()
            .map(drop)
            .map_err(|error| Refusal::new(error.to_string(), "")),
        "port-range" => text
            .parse::<PortRange>()
            .map(drop)
            .map_err(|error| Refusal::new(error.to_string(), "")),
        "date-time" => text.parse::<Timestamp>().map(drop).map_err(|_| {
            Refusal::new(
                format!("`{}` is not a time", cut(text)),
                "write it as 2026-01-31T12:00:00Z",
            )
        }),
        _ => Ok(()),
    }
}

/// Text of a named format as the types write it. None if it has no such format.
pub(crate) fn canonical(format: &str, text: &str) -> Option<Value> {
    fn written<T: FromStr + Serialize>(text: &str) -> Option<Value> {
        serde_json::to_value(text.parse::<T>().ok()?).ok()
    }
    match format {
        "address" => written::<HostAddress>(text),
        "ip" => written::<IpAddr>(text),
        "address-range" => written::<AddressRange>(text),
        "cidr" => written::<Cidr>(text),
        "mac" => written::<Mac>(text),
        "port-range" => written::<PortRange>(text),
        "date-time" => written::<Timestamp>(text),
        _ => None,
    }
}

fn address(error: &crate::net::ParseError, text: &str) -> Refusal {
    let help = if text.contains('%') {
        "write a link-local address without `%` and interface: its scope is looked up on the host"
    } else if text.contains('/') {
        ""
    } else if text.contains('-') {
        "give single addresses here, not a range"
    } else if text.ends_with(|c: char| c.is_ascii_digit()) && text.contains('.') {
        "four numbers from 0 to 255, without leading zeros"
    } else {
        "give the address itself: names are not resolved"
    };
    Refusal::new(error.to_string(), help)
}

/// Checks a whole number against its bounds and its width.
pub(super) fn integer(schema: &Value, number: &Number) -> Result<(), Refusal> {
    let (low, high): (i128, i128) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, i128::from(u8::MAX)),
        Some("uint16") => (0, i128::from(u16::MAX)),
        Some("uint32") => (0, i128::from(u32::MAX)),
        Some("uint64") => (0, i128::from(u64::MAX)),
        Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Some(_) | None => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
    let low = bound("minimum").map_or(low, |least| least.max(low));
    let high = bound("maximum").map_or(high, |most| most.min(high));
    let value = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
        .unwrap_or(i128::MAX);
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(Refusal::new(
            format!("{number} is out of range"),
            format!("{low} to {high}"),
        ))
    }
}
