//! Who reaches whom among jails, by tracing from each to each.

use std::fmt;
use std::net::IpAddr;

use super::source::restricted;
use super::{Origin, Probe};
use crate::emulator::Emulator;
use crate::kernel::jail::Jail;

/// What came of one family between two jails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The address asked for.
    pub to: IpAddr,
    /// Whether it was reached and the answer came back.
    pub reached: bool,
    /// Through what, or why not: `switch bridge0`, `lo1`, `NAT`, `no route`, `blocked`.
    pub through: String,
}

/// One jail asking another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Who asks.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// Over IPv4; `None` if the one asked has no address of that family.
    pub inet: Option<Answer>,
    /// Over IPv6; `None` likewise.
    pub inet6: Option<Answer>,
}

/// A table of all ordered pairs of different jails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachability {
    /// The TCP port that was asked for.
    pub port: u16,
    /// The pairs, in the order of the names given.
    pub pairs: Vec<Pair>,
}

impl Emulator {
    /// Traces TCP to `port` from each of the jails to each other one, over both families. Of several addresses the first that is
    /// reached counts.
    pub fn reachability(&self, jails: &[&str], port: u16) -> Reachability {
        let addresses: Vec<(&str, Vec<IpAddr>)> = jails
            .iter()
            .map(|name| (*name, self.addresses_of(name)))
            .collect();
        let mut pairs = Vec::new();
        for from in jails {
            for (to, own) in addresses.iter().filter(|(to, _)| to != from) {
                let asked = |six: bool| {
                    self.ask(
                        from,
                        own.iter().filter(|address| address.is_ipv6() == six),
                        port,
                    )
                };
                pairs.push(Pair {
                    from: (*from).to_owned(),
                    to: (*to).to_owned(),
                    inet: asked(false),
                    inet6: asked(true),
                });
            }
        }
        Reachability { port, pairs }
    }

    fn ask<'a>(
        &self,
        from: &str,
        addresses: impl Iterator<Item = &'a IpAddr>,
        port: u16,
    ) -> Option<Answer> {
        let mut first = None;
        for address in addresses {
            let trace = self.trace(&Probe::tcp(Origin::Jail(from.to_owned()), *address, port));
            let answer = Answer {
                to: *address,
                reached: trace.reached(),
                through: trace.summary(),
            };
            if answer.reached {
                return Some(answer);
            }
            first.get_or_insert(answer);
        }
        first
    }

    /// The addresses under which others would know a jail: those it is held to, or those of its own stack, without loopback
    /// and link-local ones. A jail that inherits the host's has none of its own.
    fn addresses_of(&self, name: &str) -> Vec<IpAddr> {
        let Some(jail) = self.kernel.find_jail(0, name) else {
            return Vec::new();
        };
        let all = if jail.owns_stack {
            self.stack_addresses(jail)
        } else {
            [false, true]
                .into_iter()
                .flat_map(|six| restricted(jail, six).unwrap_or_default())
                .collect()
        };
        let foreign = |address: &IpAddr| match address {
            IpAddr::V4(address) => !address.is_loopback(),
            IpAddr::V6(address) => {
                !address.is_loopback() && !crate::kernel::addr::is_link_local(*address)
            }
        };
        all.into_iter().filter(foreign).collect()
    }

    fn stack_addresses(&self, jail: &Jail) -> Vec<IpAddr> {
        let interfaces = self.kernel.interfaces(jail.stack);
        interfaces
            .flat_map(|ifnet| {
                let inet = ifnet.inet.iter().map(|entry| IpAddr::V4(entry.address));
                inet.chain(ifnet.inet6.iter().map(|entry| IpAddr::V6(entry.address)))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

fn cell(answer: Option<&Answer>) -> String {
    match answer {
        None => "-".to_owned(),
        Some(Answer {
            reached: true,
            through,
            ..
        }) => format!("yes: {through}"),
        Some(Answer { through, .. }) => format!("no: {through}"),
    }
}

/// Four columns: from, to, IPv4, IPv6.
impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["FROM", "TO", "IPV4", "IPV6"].map(str::to_owned);
        let rows = self.pairs.iter().map(|pair| {
            [
                pair.from.clone(),
                pair.to.clone(),
                cell(pair.inet.as_ref()),
                cell(pair.inet6.as_ref()),
            ]
        });
        let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        for [from, to, inet, inet6] in &rows {
            let [a, b, c] = widths;
            writeln!(f, "{from:a$}  {to:b$}  {inet:c$}  {inet6}")?;
        }
        Ok(())
    }
}
