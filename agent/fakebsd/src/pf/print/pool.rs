//! Targets of translations and routes: `print_pool`.

use super::{address_text, kind_text};
use crate::pf::rule::{Address, Pool};

/// Nat chooses a port of 50001 to 65535 unless told; that is not printed.
const DEFAULT_NAT_PORTS: [u16; 2] = [50_001, 65_535];

/// What the pool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolUse {
    Nat,
    Rdr,
    Binat,
    Route,
}

pub(super) fn pool_text(pool: &Pool, ports: [u16; 2], use_: PoolUse) -> String {
    let entries: Vec<String> = pool
        .addresses
        .iter()
        .map(|entry| match use_ {
            PoolUse::Nat | PoolUse::Rdr | PoolUse::Binat => address_text(&entry.address, entry.af),
            PoolUse::Route if entry.address == Address::Any => entry.interface.clone(),
            PoolUse::Route => format!(
                "({} {})",
                entry.interface,
                address_text(&entry.address, entry.af)
            ),
        })
        .collect();
    let mut text = if entries.len() > 1 {
        format!("{{ {} }}", entries.join(", "))
    } else {
        entries.concat()
    };
    let [first, last] = ports;
    match use_ {
        PoolUse::Nat if ports != DEFAULT_NAT_PORTS && ports != [0, 0] => {
            if first == last {
                text.push_str(&format!(" port {first}"));
            } else {
                text.push_str(&format!(" port {first}:{last}"));
            }
        }
        PoolUse::Rdr if first != 0 => {
            text.push_str(&format!(" port {first}"));
            if last != 0 && last != first {
                text.push_str(&format!(":{last}"));
            }
        }
        PoolUse::Nat | PoolUse::Rdr | PoolUse::Binat | PoolUse::Route => {}
    }
    text.push_str(&kind_text(pool.kind));
    if pool.sticky {
        text.push_str(" sticky-address");
    }
    if pool.endpoint_independent {
        text.push_str(" endpoint-independent");
    }
    if use_ == PoolUse::Nat && ports == [0, 0] {
        text.push_str(" static-port");
    }
    if let Some((offset, length, id)) = pool.map_e {
        text.push_str(&format!(" map-e-portset {offset}/{length}/{id}"));
    }
    if pool.ipv6_nexthop {
        text.push_str(" prefer-ipv6-nexthop");
    }
    text
}
