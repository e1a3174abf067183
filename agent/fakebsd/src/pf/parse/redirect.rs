//! Where translations and `route-to` lead: `redirspec` and `pool_opts` of parse.y.

use super::host::{Host, INTERFACE_NAME_MAX};
use super::lex::Token;
use super::port::{PortKind, PortRange};
use super::{Outcome, Parser};
use crate::pf::rule::{Address, Af, PoolKind};

/// A target with its options, before it stands in a rule.
#[derive(Debug, Clone, Default)]
pub(super) struct Redirect {
    pub(super) hosts: Vec<Host>,
    pub(super) port: PortRange,
    pub(super) options: PoolOptions,
    /// The family behind `af-to`.
    pub(super) af: Option<Af>,
    pub(super) binat: bool,
}

/// `pool_opts`.
#[derive(Debug, Clone, Default)]
pub(super) struct PoolOptions {
    pub(super) kind: Option<PoolKind>,
    pub(super) static_port: bool,
    pub(super) sticky: bool,
    pub(super) endpoint_independent: bool,
    pub(super) ipv6_nexthop: bool,
    pub(super) map_e: Option<(u8, u8, u16)>,
}

impl Parser<'_> {
    /// `port_redirspec`: hosts, perhaps a port, options.
    pub(super) fn redirect(&mut self) -> Outcome<Redirect> {
        let hosts: Vec<Host> = self
            .one_or_braced(Self::host)?
            .into_iter()
            .flatten()
            .collect();
        let port = if self.key("port") {
            self.port_range(true, true)?
        } else {
            PortRange::default()
        };
        let options = self.pool_options()?;
        Ok(Redirect {
            hosts,
            port,
            options,
            af: None,
            binat: false,
        })
    }

    /// `binat_redirspec` behind its arrow: one host, no options.
    pub(super) fn binat_redirect(&mut self) -> Outcome<Redirect> {
        let hosts = self.host()?;
        let port = if self.key("port") {
            self.port_range(true, true)?
        } else {
            PortRange::default()
        };
        Ok(Redirect {
            hosts,
            port,
            ..Redirect::default()
        })
    }

    /// `route_redirspec`: interfaces, with addresses or without.
    pub(super) fn route_redirect(&mut self) -> Outcome<Redirect> {
        let hosts = self
            .one_or_braced(Self::route_host)?
            .into_iter()
            .flatten()
            .collect();
        let options = self.pool_options()?;
        Ok(Redirect {
            hosts,
            options,
            ..Redirect::default()
        })
    }

    fn route_host(&mut self) -> Outcome<Vec<Host>> {
        if self.char('(') {
            let interface = self.word()?;
            let mut hosts = self.host()?;
            self.expect_char(')')?;
            if interface.len() > INTERFACE_NAME_MAX {
                return self.fail("interface name too long");
            }
            for host in &mut hosts {
                host.interface.clone_from(&interface);
            }
            return Ok(hosts);
        }
        let interface = self.word()?;
        if interface.len() > INTERFACE_NAME_MAX {
            return self.fail("interface name too long");
        }
        Ok(vec![Host {
            interface,
            ..Host::default()
        }])
    }

    fn pool_options(&mut self) -> Outcome<PoolOptions> {
        let mut options = PoolOptions::default();
        loop {
            let kind = match self.peek_key() {
                "bitmask" => Some(PoolKind::Bitmask),
                "random" => Some(PoolKind::Random),
                "round-robin" => Some(PoolKind::RoundRobin),
                "source-hash" => {
                    self.bump();
                    let key = self.hash_key()?;
                    self.set_kind(&mut options, PoolKind::SourceHash(key))?;
                    continue;
                }
                "static-port"
                | "sticky-address"
                | "endpoint-independent"
                | "prefer-ipv6-nexthop" => None,
                "map-e-portset" => {
                    self.bump();
                    self.map_e(&mut options)?;
                    continue;
                }
                _ => return Ok(options),
            };
            let Token::Key(key) = self.bump() else {
                continue;
            };
            match kind {
                Some(kind) => self.set_kind(&mut options, kind)?,
                None => {
                    let place = match key {
                        "static-port" => &mut options.static_port,
                        "sticky-address" => &mut options.sticky,
                        "endpoint-independent" => &mut options.endpoint_independent,
                        _ => &mut options.ipv6_nexthop,
                    };
                    if std::mem::replace(place, true) {
                        return self.fail(&format!("{key} cannot be redefined"));
                    }
                }
            }
        }
    }

    fn set_kind(&mut self, options: &mut PoolOptions, kind: PoolKind) -> Outcome<()> {
        if options.kind.replace(kind).is_some() {
            self.fail("pool type cannot be redefined")
        } else {
            Ok(())
        }
    }

    /// A key of 128 bits in hexadecimal; a word is hashed, nothing stands for a random one, both reproducibly.
    fn hash_key(&mut self) -> Outcome<[u32; 4]> {
        if !self.at_word() {
            self.hash_keys += 1;
            let line = self.lexer.line;
            return Ok(scramble(&format!("{line} {}", self.hash_keys)));
        }
        let word = self.words()?;
        let Some(digits) = word.strip_prefix("0x") else {
            return Ok(scramble(&word));
        };
        if digits.len() != 32 {
            return self.fail("hex key must be 128 bits (32 hex digits) long");
        }
        match u128::from_str_radix(digits, 16) {
            Ok(key) => Ok(split(key)),
            Err(_) => self.fail("invalid hex key"),
        }
    }

    fn map_e(&mut self, options: &mut PoolOptions) -> Outcome<()> {
        let offset = self.any_number()?;
        self.expect_char('/')?;
        let length = self.any_number()?;
        self.expect_char('/')?;
        let id = self.any_number()?;
        let problem = if options.map_e.is_some() {
            "map-e-portset cannot be redefined"
        } else if options.kind.is_some() {
            "map-e-portset cannot be used with address pools"
        } else if !(1..16).contains(&offset) {
            "MAP-E PSID offset must be 1-15"
        } else if !(0..16).contains(&length) || offset + length > 16 {
            "Invalid MAP-E PSID length"
        } else if length == 0 {
            "PSID Length = 0: this means you do not need MAP-E"
        } else if !(0..=65_535).contains(&id) {
            "Invalid MAP-E PSID"
        } else {
            let fits = "the number was bounded";
            options.map_e = Some((
                u8::try_from(offset).expect(fits),
                u8::try_from(length).expect(fits),
                u16::try_from(id).expect(fits),
            ));
            return Ok(());
        };
        self.fail(problem)
    }

    /// `remove_invalid_hosts`: drops the other family, or takes the first one found as the rule's.
    pub(super) fn keep_family(hosts: &mut Vec<Host>, af: &mut Option<Af>) {
        hosts.retain(|host| match (*af, host.af) {
            (Some(wanted), Some(found)) => wanted == found,
            (None, Some(found)) => {
                *af = Some(found);
                true
            }
            (_, None) => true,
        });
    }

    /// What every translation does to its target before the rule is expanded.
    pub(super) fn settle_redirect(
        &mut self,
        redirect: &mut Redirect,
        af: &mut Option<Af>,
    ) -> Outcome<()> {
        if af.is_none() && redirect.hosts.first().is_some_and(|host| host.scope == 0) {
            *af = redirect.hosts.first().and_then(|host| host.af);
        }
        Self::keep_family(&mut redirect.hosts, af);
        self.check_redirect(&redirect.hosts, *af)?;
        if redirect.hosts.first().is_some_and(Host::is_interface) {
            let first = redirect.hosts[0].fitted(*af);
            redirect.hosts = vec![first];
        }
        if self.netmask_fits(&redirect.hosts, *af) {
            Ok(())
        } else {
            Err(super::Abandon)
        }
    }

    /// `invalid_redirect`.
    pub(super) fn check_redirect(&mut self, hosts: &[Host], af: Option<Af>) -> Outcome<()> {
        let familyless =
            |host: &Host| matches!(host.address, Address::Table(_) | Address::Interface { .. });
        if af.is_none() && !hosts.iter().all(familyless) {
            return self
                .fail("address family not given and translation address expands to multiple address families");
        }
        if hosts.is_empty() {
            return self.fail("no translation address with matching address family found.");
        }
        Ok(())
    }

    /// `check_netmask`: it looks at the first host only, and speaks without file and line.
    pub(super) fn netmask_fits(&mut self, hosts: &[Host], af: Option<Af>) -> bool {
        let Some(first) = hosts.first() else {
            return true;
        };
        let bits = match &first.address {
            Address::Net { bits, .. } | Address::Interface { bits, .. } => *bits,
            Address::Any
            | Address::Range { .. }
            | Address::Table(_)
            | Address::NoRoute
            | Address::UrpfFailed => 0,
        };
        let fits = af != Some(Af::Inet) || bits <= 32;
        if !fits {
            self.warn(&format!("netmask {bits} invalid for IPv4 address"));
        }
        fits
    }

    /// The second number of a target's port for `rdr`.
    pub(super) fn rdr_ports(
        &mut self,
        redirect: &Redirect,
        destination: (u16, u16),
    ) -> Result<[u16; 2], ()> {
        let port = redirect.port;
        let last = match port.kind {
            PortKind::Star => port
                .first
                .wrapping_add(destination.1.wrapping_sub(destination.0)),
            PortKind::Single => 0,
            PortKind::Range if port.first > port.last => {
                self.complain("invalid rdr-to port range");
                return Err(());
            }
            PortKind::Range => port.last,
        };
        let options = &redirect.options;
        if options.static_port || options.map_e.is_some() {
            let name = if options.static_port {
                "static-port"
            } else {
                "map-e-portset"
            };
            self.complain(&format!("the '{name}' option is only valid with nat rules"));
            return Err(());
        }
        Ok([port.first, last])
    }
}

/// Stands in for arc4random(3) and MD5: 128 bits of a text, always the same.
fn scramble(text: &str) -> [u32; 4] {
    // FNV-1a, 128 bits.
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for byte in text.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    split(hash)
}

fn split(key: u128) -> [u32; 4] {
    let word = |shift: u32| {
        u32::try_from((key >> shift) & 0xffff_ffff).expect("the value was cut to 32 bits")
    };
    [word(96), word(64), word(32), word(0)]
}
