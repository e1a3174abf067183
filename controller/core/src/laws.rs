//! The laws as properties over random histories: requests, reports, reconciliation, agents that act without saying so,
//! controllers that decide from an old index, and an index that is built anew.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::jail::Binding;
use cellblock_schemas::net::{AddressRange, Mac, PortRange, Protocol};
use cellblock_schemas::network::Fib;
use cellblock_schemas::{ConditionStatus, Kind, Uid};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::admit::{Outcome, Request, Through, admit};
use crate::allocate::{allocatable, scope_host};
use crate::index::{Index, wanted_ports};
use crate::testing::{World, bridge, host, jail, shared};
use crate::view::{Delta, Parts, host_view};
use crate::{claim::Resource, reconcile};

const HOSTS: [&str; 3] = ["a", "b", "c"];
const JAILS: [&str; 6] = ["j0", "j1", "j2", "j3", "j4", "j5"];

/// Networks that come and go on the wire of the hosts' uplink `external`.
const WIRE: [&str; 3] = ["east", "west", "north"];

/// Prefixes for them, most of which overlap others.
const PREFIXES: [&str; 5] = [
    "10.10.0.0/28",
    "10.10.0.0/29",
    "10.10.0.8/29",
    "10.10.0.0/30",
    "10.11.0.0/29",
];

/// One step of a history. Numbers choose among [`HOSTS`], [`JAILS`] and [`WIRE`].
#[derive(Clone, Debug)]
enum Step {
    Apply(Wish),
    /// Decided from the index as it was when the last `Remember` was taken.
    ApplyStale(Wish),
    /// A network on the wire, as it is said anew; decided from the old index or from the newest.
    Wire(Wire, bool),
    Unwire(usize),
    Remember,
    Delete(usize),
    /// The agent realises its view and says nothing yet.
    Act(usize),
    /// The agent realises its view and reports.
    Report(usize),
    Reconcile,
    Cordon(usize, bool),
    /// The controller starts anew and reads the store.
    Restart,
}

/// A network on the wire.
#[derive(Clone, Debug)]
struct Wire {
    network: usize,
    prefix: usize,
    /// The only host that it is on.
    host: Option<usize>,
    netgraph: bool,
}

impl Wire {
    fn document(&self) -> Value {
        let mut document = shared(WIRE[self.network]);
        let mode = if self.netgraph {
            "netgraph"
        } else {
            "sharedIP"
        };
        document["spec"] =
            json!({mode: {"uplink": "external"}, "subnets": [{"cidr": PREFIXES[self.prefix]}]});
        // Not by chance, as below: of its own, or one that may be shared.
        if !self.netgraph {
            document["spec"]["fib"] = match self.prefix {
                0 | 2 | 4 => json!("auto"),
                prefix => json!(prefix),
            };
        }
        if let Some(host) = self.host {
            document["spec"]["hostSelector"] = json!({"matchLabels": {"host": HOSTS[host]}});
        }
        document
    }
}

/// What a jail is attached to.
#[derive(Clone, Copy, Debug)]
enum Attached {
    Nothing,
    Lan,
    Inside,
    Wire(usize),
}

#[derive(Clone, Debug)]
struct Wish {
    jail: usize,
    host: Option<usize>,
    attached: Attached,
    address: Option<u8>,
    mac: Option<Mac>,
    port: Option<u16>,
}

impl Wish {
    fn document(&self) -> Value {
        let attachment = |network: &str, given: Option<String>| match given {
            Some(address) => json!([{"network": network, "addresses": [address]}]),
            None => json!([{"network": network}]),
        };
        let given = |prefix: &str| self.address.map(|last| format!("{prefix}.{last}"));
        let networks = match self.attached {
            Attached::Nothing => json!([]),
            Attached::Lan => attachment("lan", given("10.30.0")),
            Attached::Inside if self.is_spanning() => attachment("span", given("10.40.0")),
            Attached::Inside => json!([{"network": "inside"}]),
            // 10.10.0.10 to 10.10.0.15 lie in some of the prefixes.
            Attached::Wire(wire) => attachment(WIRE[wire], given("10.10.0")),
        };
        let mut document = jail(JAILS[self.jail], &[], json!({"networks": networks}));
        if let Some(host) = self.host {
            document["spec"]["host"] = json!(HOSTS[host]);
        }
        if let (Some(mac), Attached::Lan) = (self.mac, self.attached) {
            document["spec"]["networks"][0]["mac"] = json!(mac);
        }
        if let (Some(port), Attached::Lan | Attached::Inside) = (self.port, self.attached) {
            let ports = json!([format!("{port}-{}", port + 1)]);
            let mut entry = json!({"name": "web", "uplink": "external"});
            // Published, some ports of the address as its own, or all of it.
            let field = if port < 82 {
                entry["ports"] = ports;
                // Some share theirs. Not by chance, as below.
                if port == 80 && self.address.is_none() {
                    entry["shared"] = json!("web");
                }
                "publish"
            } else {
                entry["address"] = json!("main");
                if port == 82 {
                    entry["ports"] = ports;
                }
                "publicAddresses"
            };
            document["spec"][field] = json!([entry]);
        }
        self.select(&mut document);
        // Not by chance either.
        if self.mac.is_some() {
            document["spec"]["userIds"] = json!({"count": 10});
        }
        if let (Some(port), Attached::Nothing) = (self.port, self.attached) {
            document["spec"]["parameters"] = json!({"exec.fib": port - 79});
        }
        document
    }

    /// Whether it is on the network that spans hosts. Not by chance, as below.
    fn is_spanning(&self) -> bool {
        self.mac.is_some()
    }

    /// Labels, and rules about jails with labels. Not by chance, so that what is in regressions stays what it was.
    fn select(&self, document: &mut Value) {
        let role = if self.address.is_some() { "web" } else { "db" };
        document["metadata"]["labels"] = json!({ "role": role });
        if let Attached::Lan | Attached::Inside = self.attached {
            let role = if self.mac.is_some() { "web" } else { "db" };
            let from = json!([{ "jails": { "matchLabels": { "role": role } } }]);
            let rule = json!({ "name": "peers", "action": "pass", "from": from });
            document["spec"]["firewall"] = json!({ "ingress": [rule] });
        }
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    (
        0..JAILS.len(),
        prop::option::of(0..HOSTS.len()),
        prop_oneof![
            1 => Just(Attached::Nothing),
            4 => Just(Attached::Lan),
            2 => Just(Attached::Inside),
            4 => (0..WIRE.len()).prop_map(Attached::Wire),
        ],
        prop::option::weighted(0.3, 10_u8..16),
        prop::option::weighted(0.3, mac()),
        prop::option::weighted(0.4, 80_u16..84),
    )
        .prop_map(|(jail, host, attached, address, mac, port)| Wish {
            jail,
            host,
            attached,
            address,
            mac,
            port,
        })
}

/// MAC addresses that an operator may give, few enough to meet each other.
fn mac() -> impl Strategy<Value = Mac> {
    let begins = prop_oneof![Just(0xaa), Just(0xbb), Just(0xcb)];
    (begins, 0_u8..4).prop_map(|(second, last)| Mac([0x02, second, 0, 0, 0, last]))
}

fn wire() -> impl Strategy<Value = Wire> {
    (
        0..WIRE.len(),
        0..PREFIXES.len(),
        prop::option::weighted(0.3, 0..HOSTS.len()),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(network, prefix, host, netgraph)| Wire {
            network,
            prefix,
            host,
            netgraph,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => wish().prop_map(Step::Apply),
        2 => wish().prop_map(Step::ApplyStale),
        3 => (wire(), prop::bool::weighted(0.3)).prop_map(|(wire, stale)| Step::Wire(wire, stale)),
        1 => (0..WIRE.len()).prop_map(Step::Unwire),
        2 => Just(Step::Remember),
        3 => (0..JAILS.len()).prop_map(Step::Delete),
        2 => (0..HOSTS.len()).prop_map(Step::Act),
        3 => (0..HOSTS.len()).prop_map(Step::Report),
        3 => Just(Step::Reconcile),
        1 => (0..HOSTS.len(), any::<bool>()).prop_map(|(host, on)| Step::Cordon(host, on)),
        1 => Just(Step::Restart),
    ]
}

/// Whether every network of a jail still gives out what the jail has: who has something keeps it longer than it is to be had.
fn may_be_had_again(world: &World, binding: &Binding) -> bool {
    binding.attachments.iter().all(|bound| {
        let entry = world.index.get(Kind::Network, &bound.network);
        let Some(network) = entry.and_then(|entry| entry.network()) else {
            return false;
        };
        let is_given_out = |address| {
            let subnet = network.spec.subnet_of(address);
            subnet.is_some_and(|subnet| {
                let (ranges, holes) = allocatable(subnet);
                let is_in =
                    |ranges: &[AddressRange]| ranges.iter().any(|one| one.contains(address));
                is_in(&ranges) && !is_in(&holes)
            })
        };
        let mut addresses = bound.addresses.iter().map(|address| address.address);
        network.metadata.deletion_timestamp.is_none() && addresses.all(is_given_out)
    })
}

/// What one jail uses on one host: everything that must not be used twice.
type Uses = BTreeSet<Resource>;

struct History {
    world: World,
    old: Index,
    /// What each agent has realised: by host and jail.
    live: BTreeMap<String, BTreeMap<Uid, Uses>>,
    /// The routing tables that were networks' own when each agent acted.
    tables: BTreeMap<String, BTreeSet<(u16, Uid)>>,
}

/// A host that others can reach the jails of.
fn node(place: usize) -> Value {
    let mut document = host(HOSTS[place]);
    document["spec"]["addresses"] = json!({"node": format!("198.51.100.{}", place + 1)});
    document
}

/// A routed network with as many slices as there are hosts and one more, of few addresses each.
fn span() -> Value {
    let mut document = shared("span");
    document["spec"] = json!({
        "routed": {"hostPrefixLength": {"ipv4": 30}}, "scope": "fleet", "subnets": [{"cidr": "10.40.0.0/28"}],
    });
    document
}

impl History {
    fn new() -> Self {
        let mut world = World::with_hosts(&HOSTS);
        for place in 0..HOSTS.len() {
            world.apply(node(place)).expect("the host is right");
        }
        world.apply(span()).expect("a network");
        world.apply(bridge("lan")).expect("a network");
        world.apply(shared("inside")).expect("a network");
        let east = Wire {
            network: 0,
            prefix: 0,
            host: None,
            netgraph: false,
        };
        world.apply(east.document()).expect("a network");
        world.reconcile();
        let old = world.index.clone();
        Self {
            world,
            old,
            live: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            // Refusals are part of life here; what matters is what was accepted.
            Step::Apply(wish) => drop(self.world.apply(wish.document())),
            Step::ApplyStale(wish) => self.apply_stale(Kind::Jail, wish.document()),
            Step::Wire(wire, false) => drop(self.world.apply(wire.document())),
            Step::Wire(wire, true) => self.apply_stale(Kind::Network, wire.document()),
            Step::Unwire(network) => drop(self.world.delete(Kind::Network, WIRE[*network])),
            Step::Remember => self.old = self.world.index.clone(),
            Step::Delete(jail) => drop(self.world.delete(Kind::Jail, JAILS[*jail])),
            Step::Act(host) => self.act(HOSTS[*host]),
            Step::Report(host) => {
                self.act(HOSTS[*host]);
                self.world.report(HOSTS[*host]);
            }
            Step::Reconcile => self.world.reconcile(),
            Step::Cordon(name, cordoned) => {
                let mut document = node(*name);
                document["spec"]["unschedulable"] = json!(cordoned);
                self.world
                    .apply(document)
                    .expect("a host can always be cordoned");
            }
            Step::Restart => self.world.restart(),
        }
    }

    /// Another controller decides from the index as it was.
    fn apply_stale(&mut self, kind: Kind, document: Value) {
        let now = self.world.now();
        let request = Request::Apply {
            kind,
            document,
            through: Through::Object,
            manager: "other".to_owned(),
            together: std::sync::Arc::default(),
            force: true,
        };
        if let Ok(admitted) = admit(&self.old, request, &now)
            && let Some(write) = admitted.write
        {
            self.world.commit(&write);
        }
    }

    /// The agent makes its host as its view says, whole.
    fn act(&mut self, host: &str) {
        let index = &self.world.index;
        let view = host_view(index, host).expect("hosts stay");
        let jails = view.jails.values().filter(|jail| !jail.deleting);
        let live = jails.map(|jail| (jail.uid.clone(), uses(index, &jail.name, &jail.binding)));
        self.live.insert(host.to_owned(), live.collect());
        let networks = view.networks.values().filter_map(|network| {
            let own = index.network(&network.name)?.spec.fib == Some(Fib::Auto);
            let number = network.spec.fib?.number().filter(|_| own)?;
            Some((number, network.uid.clone()))
        });
        self.tables.insert(host.to_owned(), networks.collect());
    }

    /// A network's own routing table is no other's, and nobody names it.
    fn own_tables(&self) -> Result<(), TestCaseError> {
        let index = &self.world.index;
        let decided = index
            .networks()
            .filter(|network| network.spec.fib == Some(Fib::Auto));
        let decided = decided.map(|network| {
            let number = network.status.as_ref().and_then(|status| status.fib);
            (
                number.expect("it was admitted"),
                network.metadata.uid.clone(),
            )
        });
        let mut owners: BTreeMap<u16, Uid> = BTreeMap::new();
        for (number, network) in decided.chain(self.tables.values().flatten().cloned()) {
            let owner = owners.entry(number).or_insert_with(|| network.clone());
            prop_assert_eq!(&*owner, &network, "table {} is two networks' own", number);
            let own = index.by_uid(&network).map_or("", |entry| entry.name());
            prop_assert!(
                !index.is_fib_named(number, own),
                "table {} is named",
                number
            );
        }
        Ok(())
    }

    /// Law 7: nothing is used by two jails, neither by decision nor in fact, nor by one in fact and another by decision.
    fn never_twice(&self) -> Result<(), TestCaseError> {
        let index = &self.world.index;
        let mut users: BTreeMap<Resource, Vec<(Uid, Uid)>> = BTreeMap::new();
        let decided = index
            .list(Kind::Jail, None)
            .filter_map(|entry| entry.jail());
        let decided = decided.filter_map(|jail| {
            let uses = uses(index, &jail.metadata.name, jail.binding()?);
            Some((jail.metadata.uid.clone(), uses))
        });
        let live = self
            .live
            .values()
            .flatten()
            .map(|(uid, uses)| (uid.clone(), uses.clone()));
        for (uid, uses) in decided.chain(live) {
            for resource in uses {
                let (resource, by) = by_whom(resource, &uid);
                let known = users.entry(resource.clone()).or_default();
                for (jail, other) in &*known {
                    // A jail may come to share what it has had alone.
                    prop_assert!(*jail == uid || *other == by, "{resource} is used twice");
                }
                known.push((uid.clone(), by));
            }
        }
        Ok(())
    }
}

impl History {
    /// What a jail has of the network that spans hosts is of a slice of its host's, by decision and in fact: the routes of the others lead there.
    fn in_their_slices(&self) -> Result<(), TestCaseError> {
        let index = &self.world.index;
        let decided = index.list(Kind::Jail, None);
        let decided = decided.filter_map(|entry| entry.jail()?.binding());
        let decided = decided.flat_map(|binding| {
            let bound = binding.attachments.iter();
            let bound = bound.filter(|bound| bound.network == "span");
            let addresses = bound.flat_map(|bound| &bound.addresses);
            addresses.map(|bound| (binding.host.as_str(), bound.address))
        });
        let live = self.live.iter().flat_map(|(host, jails)| {
            let uses = jails.values().flatten();
            uses.filter_map(move |resource| {
                let Resource::Address {
                    network, address, ..
                } = resource
                else {
                    return None;
                };
                (network == "span").then_some((host.as_str(), *address))
            })
        });
        for (host, address) in decided.chain(live) {
            let slices = index.claims().slices("span");
            let mut holders = slices.filter(|(net, _)| net.contains(&address));
            let holder = holders
                .next()
                .and_then(|(_, claim)| claim.owner.slice_host());
            prop_assert_eq!(holder, Some(host), "{} of {}", address, host);
            prop_assert!(holders.next().is_none(), "slices do not overlap");
        }
        Ok(())
    }
}

/// Who uses it: a jail, or a pool that shares a port.
fn by_whom(resource: Resource, jail: &Uid) -> (Resource, Uid) {
    let mut resource = resource;
    if let Resource::Port { share, .. } = &mut resource
        && let Some(share) = share.take()
    {
        return (resource, Uid(format!("pool {}", share.pool)));
    }
    (resource, jail.clone())
}

/// Everything that a binding uses, single ports one by one.
fn uses(index: &Index, jail: &str, binding: &Binding) -> Uses {
    let mut uses = Uses::new();
    let ids = binding.user_ids.map(|ids| ids.first..=ids.last);
    uses.extend(ids.into_iter().flatten().map(Resource::UserIds));
    for attachment in &binding.attachments {
        let network = index.network(&attachment.network);
        let spec = &network.expect("a network stays while it is used").spec;
        // Not by its network is an address used, but on a wire.
        let uplink = spec.mode().and_then(|mode| mode.uplink());
        let wire = uplink.map_or_else(
            || attachment.network.clone(),
            |uplink| format!("uplink {uplink}"),
        );
        for address in &attachment.addresses {
            uses.insert(Resource::Address {
                network: wire.clone(),
                host: scope_host(spec, &binding.host).map(str::to_owned),
                address: address.address,
            });
        }
        // The host's end of the link has the lower four octets of the jail's.
        let number = |mac: Mac| u32::from_be_bytes([mac.0[2], mac.0[3], mac.0[4], mac.0[5]]);
        uses.extend(attachment.mac.map(|mac| Resource::MacNumber(number(mac))));
    }
    if let (Some(host), Some(jail)) = (index.host(&binding.host), index.jail(jail)) {
        for resource in wanted_ports(host, jail).0 {
            let (host, address, protocol, ports, share) = match resource {
                Resource::Port {
                    host,
                    address,
                    protocol,
                    ports,
                    share,
                } => (host, address, protocol, ports, share),
                // All of its ports; the wishes are for these.
                Resource::PublicAddress { host, address } => {
                    let (first, last) = (80, 85);
                    (
                        host,
                        address,
                        Protocol::Tcp,
                        PortRange { first, last },
                        None,
                    )
                }
                Resource::Address { .. }
                | Resource::MacNumber(_)
                | Resource::JailName { .. }
                | Resource::Nic { .. }
                | Resource::Root { .. }
                | Resource::Slice { .. }
                | Resource::UserIds(_)
                | Resource::Fib(_) => continue,
            };
            uses.extend((ports.first..=ports.last).map(|port| Resource::Port {
                host: host.clone(),
                address,
                protocol,
                ports: PortRange {
                    first: port,
                    last: port,
                },
                share: share.clone(),
            }));
        }
    }
    uses
}

/// What the agent's side does with a change.
fn add(mut parts: Parts, delta: Delta) -> Parts {
    if let Some(host) = delta.host {
        parts.host = host;
    }
    parts.networks.extend(delta.networks);
    parts.jails.extend(delta.jails);
    parts
        .networks
        .retain(|name, _| !delta.removed_networks.contains(name));
    parts
        .jails
        .retain(|uid, _| !delta.removed_jails.contains(uid));
    parts
}

fn parts(index: &Index, host: &str) -> Parts {
    Parts::of(&host_view(index, host).expect("hosts stay"))
}

// 256 cases unless PROPTEST_CASES says otherwise.
proptest! {
    #[test]
    fn nothing_is_ever_given_to_two_jails(steps in prop::collection::vec(step(), 1..24)) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
            history.never_twice()?;
            history.own_tables()?;
            history.in_their_slices()?;
        }
    }

    #[test]
    fn everything_is_given_back_in_the_end(steps in prop::collection::vec(step(), 1..24)) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
        for jail in JAILS {
            drop(history.world.delete(Kind::Jail, jail));
        }
        for host in HOSTS {
            history.world.report(host);
        }
        history.world.reconcile();
        prop_assert_eq!(history.world.index.count(Kind::Jail), 0);
        for network in ["lan", "inside", "span"] {
            history.world.delete(Kind::Network, network).expect("accepted");
        }
        for network in WIRE {
            drop(history.world.delete(Kind::Network, network));
        }
        history.world.reconcile();
        prop_assert!(history.world.index.claims().is_empty());
    }

    #[test]
    fn who_comes_back_before_somebody_else_takes_it_has_what_it_had(
        steps in prop::collection::vec(step(), 1..24),
        jail in 0..JAILS.len(),
    ) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
        let name = JAILS[jail];
        let world = &mut history.world;
        let Some(entry) = world.index.get(Kind::Jail, name).cloned() else {
            return Ok(());
        };
        let document = entry.document();
        let Some(had) = world.binding(name).cloned() else {
            return Ok(());
        };
        if world.scheduled(name).0 != ConditionStatus::True || !may_be_had_again(world, &had) {
            return Ok(());
        }
        world.delete(Kind::Jail, name).expect("it may go");
        world.report(&had.host);
        prop_assert!(world.index.jail(name).is_none());
        world.restart();
        let mut again = self::jail(name, &[], document["spec"].clone());
        // Where it was.
        again["spec"]["host"] = json!(had.host);
        again["metadata"]["labels"] = document["metadata"]["labels"].clone();
        world.apply(again).expect("it was accepted before");
        prop_assert_eq!(world.binding(name), Some(&had));
        prop_assert!(world.index.kept(name).is_none());
    }

    #[test]
    fn the_same_history_leads_to_the_same_store(steps in prop::collection::vec(step(), 1..20)) {
        let run = || {
            let mut history = History::new();
            for step in &steps {
                history.take(step);
            }
            history.world.contents()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn an_index_built_anew_is_the_one_that_grew(steps in prop::collection::vec(step(), 1..20)) {
        let mut history = History::new();
        for step in steps.iter().filter(|step| !matches!(step, Step::Restart)) {
            history.take(step);
        }
        let grown = history.world.index.clone();
        history.world.restart();
        let anew = &history.world.index;
        prop_assert_eq!(reconcile::due(&grown, jiff::Timestamp::UNIX_EPOCH), reconcile::due(anew, jiff::Timestamp::UNIX_EPOCH));
        prop_assert!(grown.claims().iter().eq(anew.claims().iter()));
        prop_assert!(grown.claims().kept_behind(None).eq(anew.claims().kept_behind(None)));
        prop_assert!(grown.kept_by_age().eq(anew.kept_by_age()));
        for network in ["lan", "span"].iter().chain(&WIRE) {
            prop_assert_eq!(grown.claims().busy(network, None), anew.claims().busy(network, None));
            prop_assert!(grown.claims().spare(network, None).eq(anew.claims().spare(network, None)));
            let within = ["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"].map(|range| range.parse().expect("a range"));
            let within: BTreeSet<_> = within.iter().flat_map(|range| grown.claims().spare_within(network, None, range)).collect();
            prop_assert!(within.into_iter().map(|(_, address)| address).eq(grown.claims().spare(network, None)));
        }
        let load = |index: &Index| -> Vec<_> { index.hosts_by_load().map(|host| host.metadata.name.clone()).collect() };
        prop_assert_eq!(load(&grown), load(anew));
        for host in HOSTS {
            prop_assert_eq!(parts(&grown, host), parts(anew, host));
        }
    }

    #[test]
    fn a_change_added_to_a_view_is_the_next_view(
        before in prop::collection::vec(step(), 1..12),
        after in prop::collection::vec(step(), 1..12),
    ) {
        let mut history = History::new();
        before.iter().for_each(|step| history.take(step));
        let was: Vec<_> = HOSTS.iter().map(|host| parts(&history.world.index, host)).collect();
        let revisions: Vec<_> = HOSTS.iter().map(|host| history.world.index.view_revision(host)).collect();
        after.iter().for_each(|step| history.take(step));
        for ((host, was), revision) in HOSTS.iter().zip(was).zip(revisions) {
            let now = parts(&history.world.index, host);
            let delta = now.since(Some(&was.summary()));
            prop_assert_eq!(now == was, delta == Delta::default());
            if now != was {
                prop_assert!(history.world.index.view_revision(host) > revision, "a change without a new number");
            }
            prop_assert_eq!(now.summary().digest() == was.summary().digest(), now == was);
            prop_assert_eq!(add(was, delta), now);
        }
    }

    #[test]
    fn repeating_what_was_accepted_writes_nothing(steps in prop::collection::vec(step(), 0..20), wish in wish()) {
        let mut history = History::new();
        steps.iter().for_each(|step| history.take(step));
        if history.world.apply(wish.document()).is_err() {
            return Ok(());
        }
        let revision = history.world.revision();
        let again = history.world.apply(wish.document()).expect("accepted before");
        prop_assert_eq!(again.outcome, Outcome::Unchanged);
        prop_assert_eq!(history.world.revision(), revision);
    }

    #[test]
    fn jails_spread_within_one(hosts in 1_usize..6, jails in 0_usize..40) {
        let names: Vec<String> = (0..hosts).map(|host| format!("h{host}")).collect();
        let mut world = World::with_hosts(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for number in 0..jails {
            world.apply(jail(&format!("j{number}"), &[], json!({}))).expect("there is room");
        }
        let loads: Vec<_> = names.iter().map(|name| world.index.load(name)).collect();
        let (least, most) = (loads.iter().min(), loads.iter().max());
        prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{:?}", loads);
    }
}
