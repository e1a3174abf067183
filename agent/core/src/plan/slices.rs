//! Networks that span hosts: the routes to what the other hosts have of their subnets, by these hosts' node addresses.
//!
//! ```text
//!   jail ── cb…a  host  10.40.0.32/27 by 198.51.100.12 ── wire ── 198.51.100.12  host  10.40.0.40 over cb…a ── jail
//! ```
//!
//! They stand in the first routing table, as the routes to the host's own jails do (`routed`), and are kept as those of other tables are (`tables`). They hang on what the view says alone: a host
//! that is not heard keeps its jails, and so its routes. One that cannot be made keeps no jail from running here, and is told of the network.

use std::net::IpAddr;

use cellblock_schemas::host::node_field;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::Family;
use cellblock_schemas::view::{NetworkView, SliceView};
use ipnet::IpNet;

use super::tables::{Held, Tables, WantedRoute, stands};
use super::{Planner, reason};
use crate::op::{Subject, TableRoute, Via};

/// The routing table that packets from wires and links are forwarded by.
const FORWARDING: u16 = 0;

/// What a route to a slice is told as.
pub(crate) fn subject(slice: IpNet) -> Subject {
    Subject::HostPart(format!("route to {slice}"))
}

fn route(slice: &SliceView) -> TableRoute {
    TableRoute {
        fib: FORWARDING,
        destination: slice.cidr.net(),
        via: Via::Gateway(slice.next_hop),
    }
}

/// The links of the host that other hosts may be on: its addresses there, with their prefixes.
type Links = Vec<(IpAddr, IpNet)>;

impl<'a> Planner<'a> {
    /// Adds the routes that can stand to those of the routing tables.
    pub(super) fn add_slices(&self, tables: &mut Tables) {
        let links = self.links();
        for (_, slice) in self.slices() {
            let route = route(slice);
            let key = (route.fib, route.destination);
            // One that stands stays: an address of the host may be gone for a moment only.
            if stands(&self.index, &route) || self.slice_problem(tables, &links, slice).is_none() {
                let subject = subject(route.destination);
                tables.insert(key, WantedRoute::new(route.via, subject));
            }
        }
    }

    /// Says which slices of other hosts cannot be reached, once the jails are planned: these run without them.
    pub(super) fn tell_slices(&mut self) {
        let (none, links) = (Tables::new(), self.links());
        for (network, slice) in self.slices() {
            if let Some((reason, message)) = self.slice_problem(&none, &links, slice) {
                self.block(&Subject::Network(network.clone()), reason, message);
            }
        }
        for network in self.view.networks.values() {
            for family in [Family::Ipv4, Family::Ipv6] {
                if let Some(message) = self.missing_node(network, family) {
                    let subject = Subject::Network(network.uid.clone());
                    self.block(&subject, reason::NODE_ADDRESS_MISSING, message);
                }
            }
        }
    }

    /// Why other hosts do not reach this one's jails.
    fn missing_node(&self, network: &NetworkView, family: Family) -> Option<String> {
        network.spec.slice_length(family)?;
        let node = self.view.host.node(family)?;
        let is_here = self.index.holders(&node).next().is_some();
        (!is_here).then(|| {
            format!(
                "other hosts send what is for the jails of `{}` to {node}, and it is not on this host; add it to an interface in rc.conf, or correct spec.addresses.{} of the Host",
                network.name,
                node_field(family)
            )
        })
    }

    fn slices(&self) -> impl Iterator<Item = (&'a Uid, &'a SliceView)> + use<'a> {
        let networks = self.view.networks.values();
        networks.flat_map(|network| {
            let slices = network.slices.iter();
            slices.map(|slice| (&network.uid, slice))
        })
    }

    /// Why packets for a slice would not get to its host.
    fn slice_problem(
        &self,
        tables: &Tables,
        links: &Links,
        slice: &SliceView,
    ) -> Option<(&'static str, String)> {
        let route = route(slice);
        let key = (route.fib, route.destination);
        if let Some(message) = self.in_the_way(&Held::new(), tables, key, &route.via) {
            return Some((reason::ROUTE_TAKEN, message));
        }
        let next_hop = slice.next_hop;
        let mut links = links.iter();
        let is_on_link = links.any(|(own, link)| *own != next_hop && link.contains(&next_hop));
        (!is_on_link).then(|| {
            let SliceView { cidr, host, .. } = slice;
            let message = format!(
                "{cidr} is host `{host}`'s, by its node address {next_hop}, and no interface of this host has an address whose prefix {next_hop} lies in; give both hosts addresses of one link, and correct spec.addresses of Host `{host}`"
            );
            (reason::NODE_NOT_ON_LINK, message)
        })
    }

    /// None where there is nobody to reach. Ends of links to jails lead to jails alone.
    fn links(&self) -> Links {
        if self.slices().next().is_none() {
            return Links::new();
        }
        let interfaces = self.observed.interfaces.iter();
        let addresses = interfaces.flat_map(|interface| {
            let entries = interface.addresses.iter();
            entries.map(move |entry| (interface, entry))
        });
        let links = addresses.filter_map(|(interface, entry)| {
            let link = IpNet::new(entry.address, entry.prefix_length).ok()?;
            let is_wide = link.prefix_len() < link.max_prefix_len();
            let is_link = is_wide && self.host_end(interface).is_none();
            is_link.then_some((entry.address, link))
        });
        links.collect()
    }
}
