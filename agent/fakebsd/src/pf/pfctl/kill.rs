//! `-k` and `-K`: which states die (`pf_killstates_row` of sys/netpfil/pf/pf_ioctl.c).

use std::net::IpAddr;

use super::{Done, Run};
use crate::pf::address::{self, parse_bounded, parse_host};
use crate::pf::kernel::State;
use crate::pf::names;

/// A network, compared only with states of its family.
type Net = (IpAddr, u8);

impl Run<'_> {
    pub(super) fn kill_states(&mut self) -> Done {
        let kill = self.options.kill.clone();
        let second = kill.get(1).filter(|second| !second.is_empty()).cloned();
        match kill[0].as_str() {
            "label" | "id" | "gateway" | "key" => {
                let Some(second) = second else {
                    self.warn(&format!("no {} specified", kill[0]));
                    return self.usage();
                };
                let count = match kill[0].as_str() {
                    "label" => self.kill_if(|state| state.labels.contains(&second)),
                    "id" => self.kill_by_id(&second)?,
                    "gateway" => {
                        let (hop, bits) = self.network(&second)?;
                        self.kill_if(|state| {
                            state
                                .route
                                .is_some_and(|route| address::contains(hop, bits, route))
                        })
                    }
                    _ => self.kill_by_key(&second)?,
                };
                self.remark(&format!("killed {count} states"));
                Ok(())
            }
            "nat" if second.is_some() => self.kill_by_net(&kill[1..], true),
            _ => self.kill_by_net(&kill, false),
        }
    }

    /// Removes the states that a condition holds for, on the interface of `-i` if there is one.
    fn kill_if(&mut self, condition: impl Fn(&State) -> bool) -> usize {
        let interface = self.options.interface.clone();
        let on = |state: &State| {
            let name = state
                .interface
                .as_ref()
                .unwrap_or(&state.original_interface);
            interface.as_ref().is_none_or(|wanted| wanted == name)
        };
        let mut ids: Vec<u64> = Vec::new();
        for state in self
            .pf
            .states()
            .filter(|state| condition(state) && on(state))
        {
            ids.push(state.id);
            if self.options.kill_match {
                // The same connection on its way out, or in, of another interface.
                let same = |other: &&State| {
                    other.direction != state.direction
                        && (other.ends(true) == state.ends(true)
                            || other.ends(false) == state.ends(true))
                };
                ids.extend(self.pf.states().filter(same).map(|other| other.id));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            self.remove_state(*id);
        }
        ids.len()
    }

    fn kill_by_id(&mut self, text: &str) -> Done<usize> {
        let (id, creator) = text
            .split_once('/')
            .map_or((text, None), |(id, creator)| (id, Some(creator)));
        let Ok(id) = u64::from_str_radix(id.trim_start_matches("0x"), 16) else {
            self.warn("wrong id format specified");
            return self.usage();
        };
        let creator = creator.and_then(|creator| u32::from_str_radix(creator, 16).ok());
        if id == 0 {
            self.warn("cannot kill id 0");
            return self.usage();
        }
        if creator.is_some_and(|creator| creator != self.pf.host_id) {
            return Ok(0);
        }
        Ok(self.kill_if(|state| state.id == id))
    }

    /// `-k key -k "proto host:port direction host:port"`.
    fn kill_by_key(&mut self, text: &str) -> Done<usize> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [protocol, first, direction, second] = words.as_slice() else {
            return self.die(
                "pfctl_key_kill_states: key must be \"protocol host1:port1 direction host2:port2\" format",
            );
        };
        let Some(number) = names::protocol_number(protocol) else {
            return self.die(&format!("invalid protocol: {protocol}"));
        };
        let (source, destination) = match *direction {
            "->" => (*first, *second),
            "<-" => (*second, *first),
            other => return self.die(&format!("invalid direction: {other}")),
        };
        let Some(from) = end_of_key(source) else {
            return self.die(&format!("invalid host: {source}"));
        };
        let Some(to) = end_of_key(destination) else {
            return self.die(&format!("invalid host: {destination}"));
        };
        Ok(self.kill_if(|state| state.wire.protocol == number && state.ends(false) == (from, to)))
    }

    /// A host or network (`pfctl_addrprefix`).
    fn network(&mut self, text: &str) -> Done<Net> {
        let (host, prefix) = text
            .split_once('/')
            .map_or((text, None), |(host, prefix)| (host, Some(prefix)));
        let found = parse_host(host).or_else(|| {
            let named = if prefix.is_none() {
                self.facts.resolve(host)
            } else {
                Vec::new()
            };
            named.first().copied()
        });
        let Some(found) = found else {
            return self.die("getaddrinfo: Name does not resolve");
        };
        let width = if found.is_ipv4() { 32 } else { 128 };
        match prefix.map(|prefix| (prefix, parse_bounded(prefix, width))) {
            None => Ok((found, u8::try_from(width).expect("a width is at most 128"))),
            Some((_, Ok(bits))) => Ok((found, u8::try_from(bits).expect("the number was bounded"))),
            Some((prefix, Err(reason))) => self.die(&format!("prefix is {reason}: {prefix}")),
        }
    }

    /// `-k SOURCE [-k DESTINATION]`. With two of them pfctl puts the second address where the first belongs and compares
    /// the destination with nothing (`pfctl_net_kill_states`): it finds no state, as recording `09` shows.
    fn kill_by_net(&mut self, kill: &[String], stack: bool) -> Done {
        let source = self.network(&kill[0])?;
        let Some(second) = kill.get(1) else {
            let count = self.kill_if(|state| within(source, state.ends(stack).0.0));
            self.remark(&format!(
                "killed {count} states from 1 sources and 0 destinations"
            ));
            return Ok(());
        };
        let destination = self.network(second)?;
        if destination.0.is_ipv4() != source.0.is_ipv4() {
            self.remark("killed 0 states from 1 sources and 0 destinations");
            return Ok(());
        }
        let zero: IpAddr = if source.0.is_ipv4() {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        };
        let (from, to) = ((destination.0, source.1), (zero, destination.1));
        let count = self.kill_if(|state| {
            let (first, last) = state.ends(stack);
            within(from, first.0) && within(to, last.0)
        });
        self.remark(&format!(
            "killed {count} states from 1 sources and 1 destinations"
        ));
        Ok(())
    }

    /// `-K`: source nodes are not kept, so that none die.
    pub(super) fn kill_sources(&mut self) -> Done {
        let kill = self.options.kill_sources.clone();
        self.network(&kill[0])?;
        let destinations = match kill.get(1) {
            Some(second) => {
                self.network(second)?;
                1
            }
            None => 0,
        };
        self.remark(&format!(
            "killed 0 src nodes from 1 sources and {destinations} destinations"
        ));
        Ok(())
    }
}

/// Whether a state's address lies in a network; one that the kernel masks with zero means everything of the family.
fn within((network, bits): Net, address: IpAddr) -> bool {
    address::contains(address::masked(network, bits), bits, address)
}

/// `host:port`, or `host[port]` for IPv6.
fn end_of_key(text: &str) -> Option<(IpAddr, u16)> {
    let (host, port) = match text.split_once('[') {
        Some((host, rest)) => (host, rest.strip_suffix(']')?),
        None if text.matches(':').count() == 1 => text.split_once(':')?,
        None => (text, "0"),
    };
    Some((parse_host(host)?, port.parse().ok()?))
}
