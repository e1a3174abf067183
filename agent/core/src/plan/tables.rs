//! Routing tables other than the first (fibs): the routes in them that shared-IP jails need. What `slices` wants of the first is kept here, too.
//!
//! What a jail with a table of its own sends goes by that table alone. Unless `net.add_addr_allfibs` is 1 the kernel puts the routes of an interface into the interface's own table only (recording
//! `04`), and such a jail would reach nobody, itself included. So its table gets what the first one has by itself, and no more: the jail's own addresses and those beside them on the interface, the
//! prefixes of its networks, the loopback, and a default route where the network names a gateway. Without one it is reached by its neighbours, and cannot go out (recording `12`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, is_link_local};
use cellblock_schemas::network::{Fib, Mode, fib_of};
use cellblock_schemas::view::{HostView, JailView, NetworkView};
use ipnet::IpNet;

use super::desired::DesiredJail;
use super::index::Index;
use super::phase::Phase;
use super::{Planner, reason, slices};
use crate::ledger::{Owned, OwnedJail};
use crate::observed::Observed;
use crate::op::{Op, Record, Subject, TableRoute, Via};
use crate::render::digest;

/// How many tables there are.
pub(crate) const FIBS: &str = "net.fibs";

/// How many tables are looked at, and mended: `net.fibs` may be 65,536. A jail that names a higher one routes by itself.
pub const FIBS_MAX: u16 = 16;

/// Routes by table and destination.
pub(super) type Tables = BTreeMap<(u16, IpNet), WantedRoute>;

/// The tables that stay as they are, each with one of the jails that run by it.
pub(super) type Held<'a> = BTreeMap<u16, &'a str>;

/// A route that shall stand.
pub(super) struct WantedRoute {
    via: Via,
    /// Whom it is for: a jail, a network, or all jails of the table.
    subject: Subject,
}

/// The routing table of a jail's processes.
pub(crate) fn fib(view: &HostView, jail: &JailView) -> u16 {
    let attachments = jail.binding.attachments.iter();
    let networks = attachments.filter_map(|bound| view.networks.get(&bound.network));
    fib_of(&jail.spec, networks.map(|network| &network.spec))
}

/// The routing table that a jail was started with, and a default one if it had none of its own.
fn started_fib(ours: &OwnedJail) -> u16 {
    let fib = digest::FIB_FIELDS
        .iter()
        .find_map(|field| ours.fields.get(*field));
    fib.and_then(|fib| fib.parse().ok()).unwrap_or_default()
}

/// How many tables the host has, or has once what the Host declares is set; none if the kernel did not say.
pub(super) fn count(view: &HostView, observed: &Observed) -> Option<u16> {
    let present = observed.sysctls.get(FIBS)?.as_ref()?.parse().ok()?;
    Some(view.host.fibs.map_or(present, |wanted| wanted.max(present)))
}

/// A network of a jail on an interface of the host, and the interface.
fn on_uplinks<'p>(
    planner: &'p Planner<'_>,
    jail: &'p JailView,
) -> impl Iterator<Item = (&'p NetworkView, String, BTreeSet<Family>)> {
    let attachments = jail.binding.attachments.iter();
    attachments.filter_map(|bound| {
        let network = planner.view.networks.get(&bound.network)?;
        let Some(Mode::SharedIp(mode)) = network.spec.mode() else {
            return None;
        };
        let uplink = mode.uplink.as_deref()?;
        let interface = planner.uplink_interface(uplink).ok()?;
        let addresses = bound.addresses.iter();
        let families = addresses.map(|bound| Family::of(bound.address)).collect();
        Some((network, interface, families))
    })
}

fn loopback(family: Family) -> IpNet {
    IpNet::from(match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    })
}

fn default_route(gateway: IpAddr) -> IpNet {
    let any = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(any, 0)
}

impl WantedRoute {
    pub(super) fn new(via: Via, subject: Subject) -> Self {
        Self { via, subject }
    }
}

impl<'a> Planner<'a> {
    /// Finds out what shall stand in the tables, and which jails cannot have theirs: these are blocked, and go on as they are if they run.
    pub(super) fn resolve_tables(&mut self) {
        // A jail that goes on as it is holds its table as it is, which others may need otherwise.
        loop {
            let held = self.held_fibs();
            let mut tables = Tables::new();
            let blocked = self.fill_tables(&held, &mut tables);
            if blocked.is_empty() {
                self.add_neighbours(&held, &mut tables);
                self.add_slices(&mut tables);
                self.tables = tables;
                return;
            }
            for (uid, message) in blocked {
                self.desired.jails.remove(&uid);
                self.block(&Subject::Jail(uid), reason::ROUTE_TAKEN, message);
            }
        }
    }

    /// Adds what the jails need. Those that cannot have it, and why.
    fn fill_tables(&self, held: &Held<'_>, tables: &mut Tables) -> Vec<(Uid, String)> {
        let mut blocked = Vec::new();
        for (uid, jail) in &self.desired.jails {
            if !(1..FIBS_MAX).contains(&jail.fib) || jail.aliases.is_empty() {
                continue;
            }
            let taken = self
                .routes_of(uid, jail)
                .into_iter()
                .find_map(|(key, wanted)| {
                    let message = self.in_the_way(held, tables, key, &wanted.via);
                    if message.is_none() {
                        tables.entry(key).or_insert(wanted);
                    }
                    message
                });
            if let Some(message) = taken {
                blocked.push((uid.clone(), message));
            }
        }
        blocked
    }

    /// What a jail needs in its table, for itself and by its networks.
    fn routes_of(&self, uid: &Uid, jail: &DesiredJail<'a>) -> Vec<((u16, IpNet), WantedRoute)> {
        let fib = jail.fib;
        let all = Subject::table(fib);
        let mut routes = Vec::new();
        let mut push = |destination: IpNet, via: Via, subject: &Subject| {
            let subject = subject.clone();
            routes.push(((fib, destination), WantedRoute { via, subject }));
        };
        let own = Subject::Jail(uid.clone());
        // Link-local addresses are reached by the first table only; admission refuses them in others.
        let aliases = jail.aliases.iter();
        for alias in aliases.filter(|alias| !is_link_local(alias.address)) {
            let family = Family::of(alias.address);
            push(loopback(family), Via::loopback(), &all);
            push(alias.address.into(), self.own_way(&alias.interface), &own);
        }
        for (network, interface, families) in on_uplinks(self, jail.view) {
            let subject = Subject::Network(network.uid.clone());
            let subnets = network.spec.subnets.iter();
            for subnet in subnets.filter(|subnet| families.contains(&subnet.cidr.family())) {
                push(
                    subnet.cidr.net(),
                    Via::Interface(interface.clone()),
                    &subject,
                );
                let gateway = subnet.gateway.as_ref();
                let gateway = gateway.filter(|_| network.spec.fib == Some(Fib::Number(fib)));
                if let Some(gateway) = gateway.map(|gateway| gateway.address) {
                    push(default_route(gateway), Via::Gateway(gateway), &subject);
                }
            }
        }
        routes
    }

    /// As the kernel leads to an address on an interface of this host: by the loopback, or by the address's own where that is one (seen on 15.1).
    fn own_way(&self, interface: &str) -> Via {
        if self.desired.loopbacks.contains_key(interface) {
            Via::Interface(interface.to_owned())
        } else {
            Via::loopback()
        }
    }

    /// Addresses beside those of the jails: what a prefix's route leads to on the link would be asked for there, though the host itself has it.
    fn add_neighbours(&self, held: &Held<'_>, tables: &mut Tables) {
        let links: Vec<(u16, IpNet, String)> = tables
            .iter()
            .filter_map(|((fib, net), wanted)| match &wanted.via {
                Via::Interface(interface) if net.prefix_len() < net.max_prefix_len() => {
                    Some((*fib, *net, interface.clone()))
                }
                Via::Interface(_) | Via::Gateway(_) => None,
            })
            .collect();
        if links.is_empty() {
            return;
        }
        let jails = self.desired.jails.values();
        let aliases = jails.flat_map(|jail| &jail.aliases);
        let aliases = aliases.map(|alias| (alias.interface.as_str(), alias.address));
        let interfaces = self.observed.interfaces.iter();
        let standing = interfaces.flat_map(|interface| {
            let own = interface.addresses.iter();
            let own = own.filter(|entry| entry.scope.is_none());
            own.map(|entry| (interface.name.as_str(), entry.address))
        });
        let standing = standing.filter(|(interface, address)| {
            let alias = Owned::Alias {
                interface: (*interface).to_owned(),
                address: *address,
            };
            !self.ledger.owned.contains(&alias)
        });
        let hosts: Vec<(&str, IpAddr)> = aliases.chain(standing).collect();
        for (fib, net, link) in &links {
            for (interface, address) in &hosts {
                if interface == link && net.contains(address) {
                    let key = (*fib, IpNet::from(*address));
                    let via = Via::loopback();
                    if self.in_the_way(held, tables, key, &via).is_none() {
                        let subject = Subject::table(*fib);
                        tables.entry(key).or_insert(WantedRoute { via, subject });
                    }
                }
            }
        }
    }

    /// Why a route cannot stand: somebody else's leads there another way, or another jail needs it to.
    pub(super) fn in_the_way(
        &self,
        held: &Held<'_>,
        tables: &Tables,
        (fib, to): (u16, IpNet),
        via: &Via,
    ) -> Option<String> {
        if let Some(other) = tables.get(&(fib, to)).filter(|other| other.via != *via) {
            return Some(format!(
                "in routing table {fib} {} shall go {via}, and {} by another network with this fib; give one of them another fib",
                named(to),
                other.via
            ));
        }
        let route = TableRoute {
            fib,
            destination: to,
            via: via.clone(),
        };
        if stands(&self.index, &route) {
            return None;
        }
        let present = self.index.table_routes(fib, to).next()?;
        if self.ledger.has_table_route(fib, present) {
            let holder = held.get(&fib)?;
            return Some(format!(
                "in routing table {fib} the route to {} goes by {} ({}) and not {via} as long as jail `{holder}` runs as it is; see what keeps that from changing",
                named(to),
                present.gateway,
                present.interface
            ));
        }
        let help = if fib == 0 {
            format!("take it away (route delete {})", named(to))
        } else {
            format!(
                "take it away (route delete -fib {fib} {}), or choose another fib",
                named(to)
            )
        };
        Some(format!(
            "in routing table {fib} somebody's route to {} goes by {} ({}) and not {via}; {help}",
            named(to),
            present.gateway,
            present.interface
        ))
    }

    /// What is missing, and what no jail needs any more.
    pub(super) fn plan_tables(&mut self) {
        let ledger = self.ledger;
        let tables = std::mem::take(&mut self.tables);
        // A router must lie on a link of the table before a route can lead to it (recording `04`).
        let by_gateway = |wanted: &WantedRoute| matches!(wanted.via, Via::Gateway(_));
        let links = tables.iter().filter(|(_, wanted)| !by_gateway(wanted));
        let gateways = tables.iter().filter(|(_, wanted)| by_gateway(wanted));
        for ((fib, destination), wanted) in links.chain(gateways) {
            let route = TableRoute {
                fib: *fib,
                destination: *destination,
                via: wanted.via.clone(),
            };
            if stands(&self.index, &route) {
                continue;
            }
            let owned = Owned::TableRoute(route.clone());
            let op = Op::AddTableRoute { route };
            self.step(Phase::AddRoute, &wanted.subject, op)
                .record
                .push(Record::Owned(owned));
        }
        let held = self.held_fibs();
        for owned in &ledger.owned {
            let Owned::TableRoute(route) = owned else {
                continue;
            };
            let wanted = tables.get(&(route.fib, route.destination));
            // Jails hold the tables that their processes send by; what is forwarded belongs to no jail.
            let is_held = held.contains_key(&route.fib);
            if wanted.is_some_and(|wanted| wanted.via == route.via) || is_held {
                continue;
            }
            let subject = match route.fib {
                0 => slices::subject(route.destination),
                fib => Subject::table(fib),
            };
            let op = Op::RemoveTableRoute {
                route: route.clone(),
            };
            self.step(Phase::RemoveAddress, &subject, op)
                .forget
                .push(Record::Owned(owned.clone()));
        }
    }

    /// The tables, but for the first, of jails that are there and not in this plan: those that are blocked, and those that are being stopped.
    fn held_fibs(&self) -> Held<'a> {
        let ledger = self.ledger;
        let jails = ledger.jails.iter();
        let held =
            jails.filter(|(uid, _)| !self.desired.jails.contains_key(*uid) && !self.is_over(uid));
        held.map(|(_, ours)| (started_fib(ours), ours.name.as_str()))
            .filter(|(fib, _)| *fib > 0)
            .collect()
    }

    /// What a jail's start needs of its table.
    pub(super) fn table_needs(&self, jail: &DesiredJail<'a>) -> Vec<Subject> {
        if jail.fib == 0 {
            return Vec::new();
        }
        let of_host = [Subject::sysctl(FIBS), Subject::table(jail.fib)];
        let networks = jail.networks.iter().cloned().map(Subject::Network);
        of_host.into_iter().chain(networks).collect()
    }
}

/// Whether the route stands, alone or beside somebody's by another gateway.
pub(super) fn stands(index: &Index<'_>, route: &TableRoute) -> bool {
    let mut present = index.table_routes(route.fib, route.destination);
    present.any(|present| route.is(present))
}

/// A destination as netstat(1) prints it.
pub(super) fn named(destination: IpNet) -> String {
    if destination.prefix_len() == 0 {
        "default".to_owned()
    } else if destination.prefix_len() == destination.max_prefix_len() {
        destination.addr().to_string()
    } else {
        destination.to_string()
    }
}
