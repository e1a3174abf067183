//! Public addresses of jails while their host runs: whose connections end when one is taken back, cut down or given, and that nobody else's do.

use std::net::IpAddr;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Probe};
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::jail::PublicAddress;
use cellblock_schemas::net::PortRange;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::views::{Sketch, build};

const ROUNDS_MAX: usize = 100;

/// Generated networks by how the host reaches their jails: its own addresses, a switch, a routed link, a netgraph switch.
const NETWORKS: [usize; 4] = [0, 2, 4, 6];

/// Two jails on one network, `a` with a public address of its own and `b` without.
fn view(network: usize, ports: &[u16]) -> HostView {
    let sketch = || Sketch {
        networks: vec![network],
        securelevel: -1,
        ..Sketch::default()
    };
    let mut view = build(
        &Default::default(),
        &[Some(sketch()), Some(sketch()), None, None],
    );
    jail(&mut view, "a").spec.public_addresses = vec![own(ports)];
    view
}

fn own(ports: &[u16]) -> PublicAddress {
    let port = |first: u16| PortRange { first, last: first };
    PublicAddress {
        name: "own".to_owned(),
        uplink: "external".to_owned(),
        address: "own-a".to_owned(),
        network: None,
        ports: ports.iter().copied().map(port).collect(),
        protocol: None,
    }
}

/// The public address of `a`, and the one that its network's NAT takes.
const OWN: &str = "10.0.2.101";
const MAIN: &str = "10.0.2.15";

fn jail<'v>(view: &'v mut HostView, name: &str) -> &'v mut JailView {
    let mut jails = view.jails.values_mut();
    jails
        .find(|jail| jail.name == name)
        .expect("it is in the view")
}

fn host(release: Release, view: &HostView) -> World {
    let mut world = World::new(release);
    world.add_public_addresses(&view.host);
    world.take(view.clone());
    rest(&mut world);
    world
}

/// Until nothing is left to do; every jail must be ready then.
fn rest(world: &mut World) {
    let report = world
        .converge(ROUNDS_MAX)
        .expect("it comes to rest")
        .last
        .report;
    for condition in report.jails.iter().flat_map(|jail| &jail.conditions) {
        assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn come_in(world: &World, port: u16) {
    let outside = Origin::Outside {
        interface: "vtnet0".to_owned(),
        source: address("10.0.2.2"),
    };
    let probe = Probe::tcp(outside, address(OWN), port);
    let trace = world.host.emulator().send(&probe).trace;
    assert!(trace.reached(), "{trace}");
}

fn go_out(world: &World, name: &str, port: u16) {
    let probe = Probe::tcp(Origin::Jail(name.to_owned()), address("198.51.100.1"), port);
    let trace = world.host.emulator().send(&probe).trace;
    assert!(trace.reached(), "{trace}");
}

/// How many states on the card have all these words.
fn states(world: &World, words: &[&str]) -> usize {
    let shown = world.run("pfctl -ss");
    let found = shown
        .lines()
        .filter(|state| words.iter().all(|word| state.contains(word)));
    found.count()
}

/// The states on the way in by the address, of what `a` began, and of what `b` began.
fn all(world: &World) -> [usize; 3] {
    [
        states(world, &["10.0.2.2:", OWN]),
        states(world, &[OWN, "198.51.100.1:443"]),
        states(world, &[MAIN, "198.51.100.1:443"]),
    ]
}

#[test]
fn connections_of_an_address_that_is_taken_back_end_and_no_others() {
    for (release, network) in NETWORKS
        .into_iter()
        .flat_map(|network| [(Release::V15_1, network), (Release::V14_3, network)])
    {
        let mut view = view(network, &[]);
        let mut world = host(release, &view);
        come_in(&world, 80);
        go_out(&world, "a", 443);
        go_out(&world, "b", 443);
        assert_eq!(all(&world), [1, 1, 1], "{}", world.run("pfctl -ss"));
        // Another jail's change, and the same address once more, end nothing.
        jail(&mut view, "b").spec.public_addresses = vec![PublicAddress {
            address: "own-b".to_owned(),
            ..own(&[25])
        }];
        world.take(view.clone());
        rest(&mut world);
        assert_eq!(all(&world), [1, 1, 1], "{}", world.run("pfctl -ss"));
        jail(&mut view, "a").spec.public_addresses = Vec::new();
        world.take(view);
        rest(&mut world);
        assert_eq!(all(&world), [0, 0, 1], "{}", world.run("pfctl -ss"));
        assert_eq!(
            states(&world, &["10.0.2.2:"]),
            0,
            "on the way to the jail neither"
        );
    }
}

#[test]
fn what_a_jail_began_lives_on_when_its_address_is_cut_down_to_ports_and_given_back_whole() {
    for network in NETWORKS {
        let mut world = host(Release::V15_1, &view(network, &[]));
        come_in(&world, 80);
        go_out(&world, "a", 443);
        world.take(view(network, &[22]));
        rest(&mut world);
        assert_eq!(all(&world)[..2], [0, 1], "{}", world.run("pfctl -ss"));
        go_out(&world, "a", 993);
        world.take(view(network, &[]));
        rest(&mut world);
        come_in(&world, 80);
        assert_eq!(all(&world)[..2], [1, 1], "{}", world.run("pfctl -ss"));
        assert_eq!(states(&world, &[OWN, "198.51.100.1:993"]), 1);
    }
}

#[test]
fn a_networks_nat_that_goes_takes_its_own_connections_only() {
    // To the address that is named, or to the card's first.
    for named in [true, false] {
        let mut view = view(2, &[22]);
        let network = view.networks.get_mut("switch").expect("a network");
        let nat = network
            .spec
            .egress
            .as_mut()
            .and_then(|egress| egress.nat.as_mut());
        nat.expect("it is translated").address = named.then(|| "main".to_owned());
        let mut world = host(Release::V15_1, &view);
        go_out(&world, "a", 443);
        go_out(&world, "b", 443);
        assert_eq!(all(&world)[1..], [1, 1], "{}", world.run("pfctl -ss"));
        let network = view.networks.get_mut("switch").expect("a network");
        network.spec.egress = None;
        world.take(view);
        rest(&mut world);
        assert_eq!(all(&world)[1..], [1, 0], "{}", world.run("pfctl -ss"));
        go_out(&world, "a", 993);
    }
}

#[test]
fn connections_of_an_address_that_is_taken_back_end_although_the_agent_died_in_between() {
    for ports in [&[][..], &[80]] {
        let mut without = view(0, &[]);
        jail(&mut without, "a").spec.public_addresses = Vec::new();
        let mut effects = 0;
        loop {
            let mut world = host(Release::V15_1, &view(0, ports));
            come_in(&world, 80);
            go_out(&world, "a", 443);
            go_out(&world, "b", 443);
            world.start(Some(Moment::After(effects)));
            world.take(without.clone());
            rest(&mut world);
            assert_eq!(all(&world), [0, 0, 1], "{}", world.run("pfctl -ss"));
            effects += 1;
            if world.deaths() == 0 {
                assert!(effects > 3, "{effects}");
                break;
            }
        }
    }
}
