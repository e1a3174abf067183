//! What changes while a host runs, and what must come of it: which jails are tried again, whose connections end, what is released and when, and why a jail was restarted.

use std::net::IpAddr;

use cellblock_agent_core::names;
use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Probe};
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::{ParameterValue, Publish};
use cellblock_schemas::net::{Family, HostAddress, PortRange, Protocol};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::views::{Sketch, build};

const ROUNDS_MAX: usize = 100;

/// Jails `a`, `b` … of this release's networks, one for each entry.
fn jails(networks: &[&[usize]]) -> HostView {
    let sketch = |index: usize| {
        networks.get(index).map(|networks| Sketch {
            networks: networks.to_vec(),
            securelevel: -1,
            ..Sketch::default()
        })
    };
    build(&Default::default(), &std::array::from_fn(sketch))
}

fn jail<'v>(view: &'v mut HostView, name: &str) -> &'v mut JailView {
    let mut jails = view.jails.values_mut();
    jails
        .find(|jail| jail.name == name)
        .expect("it is in the view")
}

/// The next view, in which `name` says another osreldate: a restart.
fn with_osreldate(view: &HostView, name: &str, number: i64) -> HostView {
    let mut next = view.clone();
    next.mark.generation.0 += 1;
    let jail = jail(&mut next, name);
    jail.generation.0 += 1;
    let number = ParameterValue::Number(1_400_000 + number);
    jail.spec.parameters.insert("osreldate".to_owned(), number);
    next
}

/// How often a command that begins with these words has run.
fn runs_of(world: &World, words: &str) -> usize {
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let emulator = world.host.emulator();
    let runs = emulator.log.iter();
    runs.filter(|logged| logged.argv.starts_with(&words))
        .count()
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn condition<'r>(report: &'r HostReport, jail: usize, kind: &str) -> &'r Condition {
    let mut conditions = report.jails[jail].conditions.iter();
    let found = conditions.find(|condition| condition.kind == kind);
    found.expect("it is reported")
}

fn is_ready(report: &HostReport, jail: usize) -> bool {
    condition(report, jail, "Ready").status == ConditionStatus::True
}

fn jid(world: &World, name: &str) -> u32 {
    let observed = world.observe();
    observed.jail(name).expect("it runs").jid
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// From now on commands that begin with these words fail.
fn break_command(world: &World, words: &str) {
    for _ in 0..1_000 {
        world.host.emulator().fail_next(words, 1, "it is broken");
    }
}

#[test]
fn changes_of_other_jails_do_not_make_a_failing_one_tried_at_once() {
    let mut world = World::new(Release::V15_1);
    let start = "jail -f /var/db/cellblock/jails/a.conf -J /var/db/cellblock/jails/a.jid -c a";
    break_command(&world, start);
    let mut view = jails(&[&[], &[]]);
    for round in 0..30 {
        view = with_osreldate(&view, "b", round % 3);
        world.take(view.clone());
        for _ in 0..4 {
            world.pass().expect("a pass");
        }
        world.sleep(1_000);
    }
    // After 0, 1, 3, 7 and 15 s.
    assert_eq!(runs_of(&world, start), 5);
    // Its own change is a reason to try at once.
    world.take(with_osreldate(&view, "a", 1));
    world.pass().expect("a pass");
    assert_eq!(runs_of(&world, start), 6);
}

/// Port `port` of the host, which leads to port 80 inside.
fn published(port: u16) -> Publish {
    Publish {
        name: format!("p{port}"),
        protocol: Protocol::Tcp,
        ports: vec![PortRange {
            first: port,
            last: port,
        }],
        to: Some(80),
        uplink: "external".to_owned(),
        address: Some("main".to_owned()),
        network: None,
        shared: None,
        sticky: false,
    }
}

/// Somebody outside connects to that port of the host.
fn connect(world: &World, port: u16) {
    let outside = Origin::Outside {
        interface: "vtnet0".to_owned(),
        source: address("10.0.2.2"),
    };
    let probe = Probe::tcp(outside, address("10.0.2.15"), port);
    world.host.emulator().send(&probe);
}

/// The states of pf, one a line, without those of the host itself.
fn states(world: &World) -> Vec<String> {
    let states = world.run("pfctl -ss");
    states.lines().map(str::to_owned).collect()
}

/// How many states have all these words.
fn states_with(world: &World, words: &[&str]) -> usize {
    let states = states(world);
    let states = states.iter();
    states
        .filter(|state| words.iter().all(|word| state.contains(word)))
        .count()
}

#[test]
fn states_of_a_withdrawn_port_end_and_those_of_every_other_stay() {
    for network in [0, 2] {
        // Both lead to the same port inside; only the tag tells them apart.
        for (left, gone) in [(81, 80), (80, 81)] {
            let mut world = World::new(Release::V15_1);
            let mut view = jails(&[&[network], &[network]]);
            jail(&mut view, "a").spec.publish = vec![published(80), published(81)];
            jail(&mut view, "b").spec.publish = vec![published(82)];
            world.take(view.clone());
            rest(&mut world);
            for port in [80, 81, 82] {
                connect(&world, port);
            }
            let made = states(&world);
            assert!(made.len() >= 3, "{made:#?}");
            let mut next = view.clone();
            jail(&mut next, "a").spec.publish = vec![published(left)];
            world.take(next);
            let report = rest(&mut world);
            assert!(is_ready(&report, 0));
            let now = states(&world);
            let of = |port: u16| format!("10.0.2.15:{port}");
            assert_eq!(states_with(&world, &[&of(gone)]), 0, "{now:#?}");
            for kept in [left, 82] {
                assert!(states_with(&world, &[&of(kept)]) > 0, "{kept} of {now:#?}");
            }
            assert_eq!(now.len(), made.len() - made.len() / 3, "{now:#?}");
        }
    }
}

#[test]
fn states_of_a_withdrawn_port_end_although_the_agent_died_between_rules_and_states() {
    let mut view = jails(&[&[0]]);
    jail(&mut view, "a").spec.publish = vec![published(80), published(81)];
    let mut next = view.clone();
    jail(&mut next, "a").spec.publish = vec![published(81)];
    let mut effects = 0;
    loop {
        let mut world = World::new(Release::V15_1);
        world.take(view.clone());
        rest(&mut world);
        connect(&world, 80);
        connect(&world, 81);
        world.start(Some(Moment::After(effects)));
        world.take(next.clone());
        rest(&mut world);
        let now = states(&world);
        assert_eq!(states_with(&world, &["10.0.2.15:80"]), 0, "{now:#?}");
        assert_eq!(states_with(&world, &["10.0.2.15:81"]), 1, "{now:#?}");
        effects += 1;
        if world.effects() > 0 && effects > 6 {
            return;
        }
    }
}

#[test]
fn states_of_a_withdrawn_nat_and_of_a_former_address_end() {
    let mut world = World::new(Release::V15_1);
    let mut view = jails(&[&[0], &[2]]);
    world.take(view.clone());
    rest(&mut world);
    let out = |world: &World, jail: &str| {
        let probe = Probe::tcp(Origin::Jail(jail.to_owned()), address("10.0.2.2"), 443);
        world.host.emulator().send(&probe);
    };
    out(&world, "a");
    out(&world, "b");
    assert_eq!(states_with(&world, &["(192.0.2.3:"]), 1);
    assert_eq!(
        states_with(&world, &["(10.10.0.11:"]),
        1,
        "{:#?}",
        states(&world)
    );
    // The first jail's address changes, the other one's network is not translated any more.
    let bound = &mut jail(&mut view, "a").binding.attachments[0].addresses;
    bound[0] = "192.0.2.9/32".parse().expect("an address");
    world.take(view.clone());
    rest(&mut world);
    assert_eq!(states_with(&world, &["192.0.2.3"]), 0);
    assert_eq!(states_with(&world, &["(10.10.0.11:"]), 1);
    let switch = view.networks.get_mut("switch").expect("a network");
    switch.spec.egress = None;
    world.take(view);
    rest(&mut world);
    assert_eq!(
        states_with(&world, &["(10.10.0.11:"]),
        0,
        "{:#?}",
        states(&world)
    );
}

/// Those that came in by a published port too; a port that is withdrawn from a jail that stays takes its own with it.
#[test]
fn connections_to_published_ports_live_until_their_jail_has_ended() {
    for network in [0, 2] {
        let mut world = World::new(Release::V15_1);
        let mut view = jails(&[&[network]]);
        jail(&mut view, "a").spec.publish = vec![published(8080), published(8081)];
        world.take(view.clone());
        rest(&mut world);
        connect(&world, 8080);
        connect(&world, 8081);
        let labelled = "pfctl -k label";
        jail(&mut view, "a").spec.publish.pop();
        world.take(view.clone());
        rest(&mut world);
        assert_eq!(runs_of(&world, labelled), 1, "{network}");
        assert_eq!(states_with(&world, &[":8081"]), 0, "{network}");
        assert_ne!(states_with(&world, &[":8080"]), 0, "{network}");
        jail(&mut view, "a").deleting = true;
        world.take(view);
        rest(&mut world);
        assert_eq!(states_with(&world, &[":8080"]), 0, "{network}");
        let emulator = world.host.emulator();
        let mut log = emulator.log.iter();
        let stopped = log.position(|logged| {
            logged.argv[0] == "jail" && logged.argv.iter().any(|word| word == "-r")
        });
        assert!(stopped.is_some(), "{network}");
        let kills = log.filter(|logged| logged.argv.join(" ").starts_with(labelled));
        assert_eq!(kills.count(), 1, "{network}");
    }
}

#[test]
fn connections_live_until_their_jail_has_ended_and_no_longer() {
    for network in [0, 2, 4, 6] {
        let mut world = World::new(Release::V15_1);
        let mut view = jails(&[&[network], &[network]]);
        world.take(view.clone());
        rest(&mut world);
        let of = |name: &str| {
            let jails = view.jails.values();
            let found = jails.clone().find(|jail| jail.name == name);
            let attachment = &found.expect("a jail").binding.attachments[0];
            attachment.address_of(Family::Ipv4).expect("it has IPv4")
        };
        let (gone, kept) = (format!("({}:", of("a")), format!("({}:", of("b")));
        for jail in ["a", "b"] {
            let probe = Probe::tcp(Origin::Jail(jail.to_owned()), address("10.0.2.2"), 443);
            world.host.emulator().send(&probe);
        }
        assert_eq!(states_with(&world, &[&gone]), 1, "{:#?}", states(&world));
        jail(&mut view, "a").deleting = true;
        world.take(view);
        rest(&mut world);
        assert_eq!(states_with(&world, &[&gone]), 0, "{network}");
        assert_eq!(states_with(&world, &[&kept]), 1, "{network}");
        let emulator = world.host.emulator();
        let last_of = |program: &str, flag: &str| {
            let mut log = emulator.log.iter();
            let is_it =
                |argv: &[String]| argv[0] == program && argv.iter().any(|word| word == flag);
            log.rposition(|logged| is_it(&logged.argv))
        };
        let (stopped, killed) = (last_of("jail", "-r"), last_of("pfctl", "-k"));
        assert!(
            stopped.is_some() && stopped < killed,
            "{stopped:?} {killed:?}"
        );
    }
}

/// The prefix length of an address on an interface of the host.
fn prefix_on(world: &World, interface: &str, of: &str) -> Option<u8> {
    let observed = world.observe();
    let interface = observed.interface(interface).expect("it is there");
    interface
        .address(address(of))
        .map(|entry| entry.prefix_length)
}

#[test]
fn a_changed_prefix_length_of_an_alias_is_taken_over_live() {
    let mut world = World::new(Release::V15_1);
    let mut view = jails(&[&[1]]);
    world.take(view.clone());
    rest(&mut world);
    let before = jid(&world, "a");
    assert_eq!(prefix_on(&world, "vtnet0", "10.0.2.50"), Some(32));
    let stated: [HostAddress; 2] =
        ["10.0.2.50/24", "fd00:2::50/64"].map(|text| text.parse().expect("an address"));
    jail(&mut view, "a").spec.networks[0].addresses = stated.to_vec();
    world.take(view);
    let report = rest(&mut world);
    assert!(is_ready(&report, 0));
    assert_eq!(prefix_on(&world, "vtnet0", "10.0.2.50"), Some(24));
    assert_eq!(prefix_on(&world, "vtnet0", "fd00:2::50"), Some(64));
    assert_eq!(jid(&world, "a"), before, "nothing was restarted");
    assert_eq!(
        runs_of(&world, "ifconfig vtnet0 inet 10.0.2.50/32 -alias"),
        0
    );
}

#[test]
fn a_changed_prefix_length_of_a_subnet_is_taken_over_live() {
    let mut world = World::new(Release::V15_1);
    let mut view = jails(&[&[2]]);
    world.take(view.clone());
    rest(&mut world);
    let before = jid(&world, "a");
    let bridge = names::bridge(&view.networks["switch"].uid);
    let subnets = &mut view
        .networks
        .get_mut("switch")
        .expect("a network")
        .spec
        .subnets;
    subnets[0].cidr = "10.10.0.0/16".parse().expect("a subnet");
    subnets[1].cidr = "fd00:10::/56".parse().expect("a subnet");
    let bound = &mut jail(&mut view, "a").binding.attachments[0].addresses;
    *bound = ["10.10.0.10/16", "fd00:10::10/56"]
        .map(|text| text.parse().expect("an address"))
        .to_vec();
    world.take(view);
    let report = rest(&mut world);
    assert!(is_ready(&report, 0));
    assert_eq!(prefix_on(&world, &bridge, "10.10.0.1"), Some(16));
    assert_eq!(prefix_on(&world, &bridge, "fd00:10::1"), Some(56));
    assert_eq!(jid(&world, "a"), before, "nothing was restarted");
    let observed = world.observe();
    let inside = &observed.vnets[&before];
    let interface = inside
        .interfaces
        .iter()
        .find(|found| found.name == "switch0");
    let interface = interface.expect("the jail's interface");
    for (of, prefix_length) in [("10.10.0.10", 16), ("fd00:10::10", 56)] {
        let entry = interface.address(address(of)).expect("its address");
        assert_eq!(entry.prefix_length, prefix_length);
    }
    let defaults = inside
        .routes
        .iter()
        .filter(|route| route.destination == "default");
    assert_eq!(defaults.count(), 2, "the default routes are back");
}

#[test]
fn an_address_is_not_released_before_it_is_off_the_host() {
    let mut world = World::new(Release::V15_1);
    let mut view = jails(&[&[1]]);
    world.take(view.clone());
    rest(&mut world);
    break_command(&world, "ifconfig vtnet0 inet 10.0.2.50/32 -alias");
    let bound = &mut jail(&mut view, "a").binding.attachments[0].addresses;
    bound[0] = "10.0.2.60/32".parse().expect("an address");
    world.take(view.clone());
    world.converge(20).expect_err("the old address stays");
    let report = world.pass().expect("a pass").report;
    for kind in ["Ready", "NetworkReady"] {
        let condition = condition(&report, 0, kind);
        assert_eq!(condition.status, ConditionStatus::False, "{condition:?}");
        assert!(condition.message.contains("10.0.2.50"), "{condition:?}");
    }
    assert!(
        world.observe().jail("a").is_some(),
        "the jail has the new one and runs"
    );
    // Deleted meanwhile, it is not gone either.
    let mut deleted = view.clone();
    jail(&mut deleted, "a").deleting = true;
    world.take(deleted.clone());
    world.converge(20).expect_err("the old address stays");
    assert!(!world.pass().expect("a pass").report.jails[0].gone);
    // The agent is started anew, and the command works again.
    world.host.emulator().repair();
    world.start(None);
    world.take(deleted);
    let report = rest(&mut world);
    assert!(report.jails[0].gone, "{:#?}", report.jails[0]);
    assert_eq!(prefix_on(&world, "vtnet0", "10.0.2.50"), None);
}

#[test]
fn the_reason_of_a_restart_is_told_before_and_after() {
    let mut world = World::new(Release::V15_1);
    let view = with_osreldate(&jails(&[&[2]]), "a", 1);
    world.take(view.clone());
    let report = rest(&mut world);
    assert_eq!(condition(&report, 0, "Ready").message, "");
    let cause = "spec.parameters.osreldate changed from `1400001` to `1400002`";
    let next = with_osreldate(&view, "a", 2);
    let mut held = next.clone();
    held.host.paused = true;
    world.take(held);
    let report = world.pass().expect("a pass").report;
    let told = report.pending_plan.iter().any(|line| line.contains(cause));
    assert!(told, "{:?}", report.pending_plan);
    world.take(next.clone());
    let report = world.pass().expect("a pass").report;
    let ready = condition(&report, 0, "Ready");
    assert!(
        ready.message.contains(&format!("restarting: {cause}")),
        "{ready:?}"
    );
    let report = rest(&mut world);
    let ready = condition(&report, 0, "Ready");
    assert_eq!(ready.message, format!("restarted: {cause}"));
    // A jail that died is started again, and that is not what the change was.
    world.run("jail -R a");
    let report = rest(&mut world);
    assert_eq!(condition(&report, 0, "Ready").message, "");
}

#[test]
fn another_rendering_of_the_same_meaning_restarts_nothing() {
    for release in [Release::V15_1, Release::V14_3] {
        let mut world = World::new(release);
        let view = jails(&[&[2], &[0]]);
        world.take(view);
        rest(&mut world);
        let before = [jid(&world, "a"), jid(&world, "b")];
        for name in ["a", "b"] {
            let path = format!("/var/db/cellblock/jails/{name}.conf");
            let mut emulator = world.host.emulator();
            let text = emulator.files.read_text(&path).expect("it is there");
            let older = text.replace("    persist;\n", "    persist = true;\n");
            emulator.files.write(&path, older).expect("it takes a file");
        }
        world.start(None);
        rest(&mut world);
        assert_eq!([jid(&world, "a"), jid(&world, "b")], before, "{release:?}");
    }
}

#[test]
fn an_attachment_given_up_is_not_ready_before_the_restart_that_takes_it_away() {
    for networks in [[1, 0].as_slice(), &[2, 3]] {
        let mut world = World::new(Release::V15_1);
        let mut view = jails(&[networks]);
        world.take(view.clone());
        rest(&mut world);
        let jail = jail(&mut view, "a");
        jail.generation.0 += 1;
        jail.spec.networks.pop();
        let given_up = jail.binding.attachments.pop().expect("two networks");
        let given_up = given_up.addresses[0].address.to_string();
        view.mark.generation.0 += 1;
        let mut held = view.clone();
        held.host.paused = true;
        world.take(held);
        let report = world.pass().expect("a pass").report;
        let condition = condition(&report, 0, "NetworkReady");
        assert_eq!(condition.reason, "AddressNotReleased", "{condition:?}");
        assert!(condition.message.contains(&given_up), "{condition:?}");
        world.take(view);
        let report = rest(&mut world);
        assert!(is_ready(&report, 0));
    }
}

#[test]
fn another_mac_address_is_a_restart() {
    for network in [2, 5] {
        let mut world = World::new(Release::V15_1);
        let mut view = jails(&[&[network]]);
        world.take(view.clone());
        rest(&mut world);
        let before = jid(&world, "a");
        let jail = jail(&mut view, "a");
        jail.generation.0 += 1;
        let mac = "02:11:22:33:44:55".parse().expect("a MAC address");
        jail.spec.networks[0].mac = Some(mac);
        jail.binding.attachments[0].mac = Some(mac);
        view.mark.generation.0 += 1;
        world.take(view);
        let report = rest(&mut world);
        assert!(is_ready(&report, 0));
        let after = jid(&world, "a");
        assert_ne!(after, before, "network {network}");
        let observed = world.observe();
        let inside = &observed.vnets[&after];
        let macs: Vec<_> = inside
            .interfaces
            .iter()
            .filter_map(|found| found.mac)
            .collect();
        assert!(macs.contains(&mac), "{macs:?}");
    }
}

#[test]
fn no_address_of_ours_is_the_hosts_own_router() {
    let mut world = World::new(Release::V15_1);
    let mut view = jails(&[&[1]]);
    jail(&mut view, "a").binding.attachments[0].addresses[0] =
        "10.0.2.2/32".parse().expect("an address");
    world.take(view);
    let report = rest(&mut world);
    let ready = condition(&report, 0, "Ready");
    assert_eq!(ready.reason, "AddressTaken", "{ready:?}");
    assert!(ready.message.contains("next hop"), "{ready:?}");
    assert_eq!(prefix_on(&world, "vtnet0", "10.0.2.2"), None);
}

#[test]
fn a_mount_that_somebody_took_away_is_told_until_it_is_back() {
    let mut world = World::new(Release::V15_1);
    let mut view = jails(&[&[1]]);
    let devfs = ParameterValue::Flag(true);
    let parameters = &mut jail(&mut view, "a").spec.parameters;
    parameters.insert("mount.devfs".to_owned(), devfs);
    world.take(view);
    assert!(is_ready(&rest(&mut world), 0));
    let before = jid(&world, "a");
    world.run("umount -f /jails/a/dev");
    let report = rest(&mut world);
    let ready = condition(&report, 0, "Ready");
    assert_eq!(ready.reason, "MountMissing", "{ready:?}");
    assert!(ready.message.contains("/jails/a/dev"), "{ready:?}");
    assert_eq!(jid(&world, "a"), before, "it runs on");
    world.run("jail -r a");
    assert!(
        is_ready(&rest(&mut world), 0),
        "started anew, it has it again"
    );
}

#[test]
fn what_keeps_a_network_that_nobody_speaks_of_any_more_is_told_of_the_host() {
    let mut world = World::new(Release::V15_1);
    let view = jails(&[&[2]]);
    world.take(view.clone());
    rest(&mut world);
    let bridge = names::bridge(&view.networks["switch"].uid);
    let stranger = world.run("ifconfig epair create");
    world.run(&format!("ifconfig {bridge} addm {}", stranger.trim()));
    let mut gone = view;
    gone.mark.generation.0 += 1;
    gone.jails.clear();
    gone.networks.clear();
    world.take(gone);
    let report = rest(&mut world);
    let of_host = |report: &HostReport| {
        let mut conditions = report.conditions.iter();
        let ready = conditions.find(|condition| condition.kind == "Ready");
        ready.expect("it is reported").clone()
    };
    let ready = of_host(&report);
    assert_eq!(ready.status, ConditionStatus::False, "{ready:?}");
    assert!(ready.message.contains(stranger.trim()), "{ready:?}");
    world.run(&format!("ifconfig {} destroy", stranger.trim()));
    let ready = of_host(&rest(&mut world));
    assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
}

#[test]
fn a_gateway_that_a_stranger_has_is_not_added_a_second_time() {
    let mut world = World::new(Release::V15_1);
    world.run("ifconfig bridge create name theirs");
    world.run("ifconfig theirs inet 10.10.0.1/24 up");
    let view = jails(&[&[2]]);
    let bridge = names::bridge(&view.networks["switch"].uid);
    world.take(view);
    let report = rest(&mut world);
    let ready = condition(&report, 0, "Ready");
    assert_eq!(ready.reason, "AddressTaken", "{ready:?}");
    assert!(ready.message.contains("theirs"), "{ready:?}");
    assert_eq!(prefix_on(&world, &bridge, "10.10.0.1"), None);
}
