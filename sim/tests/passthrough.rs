//! NICs that jails have for themselves: `examples/networking/n06-passthrough` by packet trace, changed and taken away, and whatever a jail's root, an operator and the kernel's timers make of a NIC on the way.
//!
//! A NIC comes back as it was, or the host says what keeps it; no jail gets one that the host lives by.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Place, Probe, Trace, Verdict};
use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_sim::World;
use cellblock_sim::fleet::Fleet;
use cellblock_sim::trouble::Trouble;

/// How many passes a host may take to come to rest.
const ROUNDS_MAX: usize = 400;

/// The Host of the example.
const HOST: &str = "fbsd-01";

/// How long somebody outside keeps a connection open.
const OPEN: Duration = Duration::from_secs(100);

/// What an operator configured on the NICs before.
const CONFIGURED: [&str; 5] = [
    "kldload -n if_vlan",
    "kldload -n if_lagg",
    "ifconfig vtnet2 description lab mtu 1480 group lab",
    "ifconfig vtnet2 inet6 -ifdisabled",
    "ifconfig vtnet2 debug up",
];

struct Site {
    fleet: Fleet,
    world: World,
    before: Vec<String>,
}

fn manifest() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/networking");
    let path = folder.join("n06-passthrough/passthrough.yaml");
    std::fs::read_to_string(path).expect("examples are committed")
}

fn third_jail() -> String {
    manifest()
        .split("---")
        .last()
        .expect("a jail")
        .replace("probe", "third")
}

impl Site {
    /// The host as its operator has it; nothing of the example is on it.
    fn new(release: Release) -> Self {
        let mut world = World::new(release);
        for line in CONFIGURED {
            world.run(line);
        }
        for name in ["router", "probe", "third"] {
            let root = format!("/jails/{name}/dev");
            let files = &mut world.host.emulator().files;
            files
                .create_directories(&root)
                .expect("an empty file tree takes directories");
        }
        world.sleep(5_000);
        let before = world.fork().settled();
        Self {
            fleet: Fleet::default(),
            world,
            before,
        }
    }

    /// The example, realised.
    fn up() -> Self {
        Self::up_on(Release::V15_1)
    }

    fn up_on(release: Release) -> Self {
        let mut site = Self::new(release);
        site.apply(&manifest());
        site.ready("router");
        site.ready("probe");
        site
    }

    fn apply(&mut self, manifest: &str) {
        self.fleet.apply(manifest).expect("it is admitted");
        self.take();
    }

    /// Gives the host its view, until nothing is left to do, and folds what it reports.
    fn take(&mut self) {
        let view = self.fleet.view(HOST).expect("the host is there");
        self.world.take(view);
        self.rest();
    }

    fn rest(&mut self) {
        let rest = self.world.converge(ROUNDS_MAX).expect("it comes to rest");
        let wrongs = self.world.wrongs().iter();
        // What stands upon a NIC has its MAC address.
        let wrongs = wrongs.filter(|wrong| !["vl9", "lg9"].iter().any(|upon| wrong.contains(upon)));
        assert_eq!(wrongs.collect::<Vec<_>>(), Vec::<&String>::new());
        let report = rest.last.report;
        self.fleet.hear(HOST, &report).expect("it is folded");
    }

    fn delete(&mut self, jail: &str) {
        self.fleet.delete(Kind::Jail, jail).expect("it may go");
        self.take();
        self.take();
    }

    /// Deletes every jail; the host is what it was.
    fn take_away(mut self) {
        let jails = self.fleet.index.jails_of_host(HOST);
        let jails: Vec<String> = jails.map(|jail| jail.metadata.name.clone()).collect();
        for jail in &jails {
            self.delete(jail);
        }
        assert_eq!(self.fleet.index.jails_of_host(HOST).count(), 0);
        self.as_before();
    }

    fn as_before(&mut self) {
        let after = self.world.settled();
        let differing = |one: &[String], other: &[String]| -> Vec<String> {
            let lines = one.iter().filter(|line| !other.contains(line));
            lines.cloned().collect()
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(
            (
                differing(&after, &self.before),
                differing(&self.before, &after)
            ),
            (none.clone(), none),
            "gained, lost"
        );
        let owned = &self.world.ledger().owned;
        assert!(owned.is_empty(), "{owned:?}");
    }

    fn condition(&self, jail: &str, kind: &str) -> Condition {
        let jail = self.fleet.index.jail(jail).expect("a jail");
        let status = jail.status.as_ref().expect("a status");
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|condition| condition.kind == kind);
        found.expect("it is reported").clone()
    }

    fn ready(&self, jail: &str) {
        let ready = self.condition(jail, "Ready");
        assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
    }

    fn not_ready(&self, jail: &str, reason: &str, words: &str) {
        let ready = self.condition(jail, "Ready");
        assert_eq!(
            (ready.status, ready.reason.as_str()),
            (ConditionStatus::False, reason),
            "{ready:?}"
        );
        assert!(ready.message.contains(words), "{ready:?}");
    }

    fn nic_of(&self, jail: &str) -> Option<String> {
        let jail = self.fleet.index.jail(jail)?;
        jail.binding()?.attachments.first()?.nic.clone()
    }

    fn jid(&self, jail: &str) -> u32 {
        self.world.observe().jail(jail).expect("it runs").jid
    }

    /// As the jail's root.
    fn root(&self, jail: &str, line: &str) {
        self.world.run(&format!("ifconfig -j {jail} {line}"));
    }

    fn tcp(&self, from: &Origin, to: &str) -> Trace {
        let to = to.parse().expect("an address");
        let probe = Probe::tcp(from.clone(), to, 80);
        self.world.host.emulator().trace(&probe)
    }

    fn reaches(&self, from: &Origin, to: &str, place: &Place, seen: &str) {
        let trace = self.tcp(from, to);
        let Verdict::Reached { by, source } = &trace.verdict else {
            panic!("{trace}");
        };
        assert_eq!((&by.place, source.to_string().as_str()), (place, seen));
    }

    fn lost(&self, from: &Origin, to: &str) {
        let trace = self.tcp(from, to);
        assert!(matches!(trace.verdict, Verdict::Lost { .. }), "{trace}");
    }
}

fn jail(name: &str) -> Origin {
    Origin::Jail(name.to_owned())
}

fn in_jail(name: &str) -> Place {
    Place::Jail(name.to_owned())
}

fn outside(interface: &str, source: &str) -> Origin {
    Origin::Outside {
        interface: interface.to_owned(),
        source: source.parse().expect("an address"),
    }
}

fn behind(interface: &str) -> Place {
    Place::Outside(interface.to_owned())
}

#[test]
fn n06_each_jail_is_on_the_wire_of_its_own_nic() {
    for release in [Release::V15_1, Release::V14_3] {
        let site = Site::up_on(release);
        assert_eq!(site.nic_of("router").as_deref(), Some("vtnet2"));
        assert_eq!(site.nic_of("probe").as_deref(), Some("vtnet3"));
        let (router, out) = (jail("router"), "203.0.113.9");
        site.reaches(&router, "198.51.100.1", &behind("vtnet2"), "198.51.100.10");
        site.reaches(&router, out, &behind("vtnet2"), "198.51.100.10");
        site.reaches(
            &router,
            "2001:db8:99::9",
            &behind("vtnet2"),
            "2001:db8:51::10",
        );
        let wire = outside("vtnet2", "198.51.100.1");
        site.reaches(&wire, "198.51.100.10", &in_jail("router"), "198.51.100.1");
        let wire6 = outside("vtnet2", "2001:db8:51::1");
        site.reaches(
            &wire6,
            "2001:db8:51::10",
            &in_jail("router"),
            "2001:db8:51::1",
        );
        site.reaches(
            &jail("probe"),
            "198.51.100.1",
            &behind("vtnet3"),
            "198.51.100.20",
        );
        // It is another wire, unless a cable joins the two.
        site.lost(&outside("vtnet3", "198.51.100.1"), "198.51.100.10");
        site.lost(&outside("vtnet1", "198.51.100.1"), "198.51.100.10");
        // The host is on neither.
        site.lost(&Origin::Host, "198.51.100.10");
        site.take_away();
    }
}

#[test]
fn n06_an_address_changes_while_the_other_jail_runs() {
    let with_mtu = manifest().replace(
        "passthrough: {uplinks: [spare]}",
        "passthrough: {uplinks: [spare]}\n  mtu: 1400",
    );
    let mut site = Site::new(Release::V15_1);
    site.apply(&with_mtu);
    let other = site.jid("probe");
    site.apply(&with_mtu.replace("addresses: [198.51.100.10,", "addresses: [198.51.100.11,"));
    site.ready("router");
    let wire = outside("vtnet2", "198.51.100.1");
    site.reaches(&wire, "198.51.100.11", &in_jail("router"), "198.51.100.1");
    site.lost(&wire, "198.51.100.10");
    assert_eq!(site.jid("probe"), other, "the other jail ran on");
    let inside = site.world.run("ifconfig -j probe wire0");
    assert!(inside.contains("mtu 1400"), "{inside}");
    site.take_away();
}

#[test]
fn n06_a_third_jail_waits_for_a_nic_and_gets_the_first_that_comes_free() {
    let mut site = Site::up();
    site.apply(&third_jail());
    assert_eq!(site.nic_of("third"), None);
    let scheduled = site.condition("third", "Scheduled");
    assert_eq!(
        (scheduled.status, scheduled.reason.as_str()),
        (ConditionStatus::False, "NicsExhausted")
    );
    let who = "vtnet2 by jail router, vtnet3 by jail probe";
    assert!(scheduled.message.contains(who), "{}", scheduled.message);
    site.delete("probe");
    assert_eq!(site.nic_of("third").as_deref(), Some("vtnet3"));
    site.take();
    site.ready("third");
    let wire = outside("vtnet3", "198.51.100.1");
    let address = site.fleet.index.jail("third").expect("a jail");
    let address = address.binding().expect("bound").attachments[0].addresses[0];
    site.reaches(
        &wire,
        &address.address.to_string(),
        &in_jail("third"),
        "198.51.100.1",
    );
    site.take_away();
}

#[test]
fn n06_a_nic_that_leaves_the_pool_is_exchanged_in_the_running_jail() {
    let mut site = Site::up();
    site.delete("probe");
    let jid = site.jid("router");
    site.apply(
        &manifest()
            .split("---\n")
            .next()
            .expect("the Host")
            .replace("interfaces: [vtnet2, vtnet3]", "interfaces: [vtnet3]"),
    );
    assert_eq!(site.nic_of("router").as_deref(), Some("vtnet3"));
    site.take();
    site.ready("router");
    assert_eq!(site.jid("router"), jid, "it ran on");
    let wire = outside("vtnet3", "198.51.100.1");
    site.reaches(&wire, "198.51.100.10", &in_jail("router"), "198.51.100.1");
    let back = site.world.run("ifconfig vtnet2");
    assert!(
        back.contains("UP") && back.contains("description: lab"),
        "{back}"
    );
    site.take_away();
}

/// What a jail's root can make of his NIC.
const ABUSES: [&[&str]; 6] = [
    &["wire0 name vtnet0"],
    &[
        "wire0 name vtnet3x",
        "vtnet3x ether 02:00:00:00:00:66",
        "vtnet3x mtu 900",
    ],
    &["wire0 name -x"],
    &[
        "wire0 monitor",
        "wire0 -arp",
        "wire0 down",
        "wire0 inet6 ifdisabled",
    ],
    &["wire0 name other0", "epair create name vtnet2"],
    &["wire0 description cellblock:c1:net:bridge name lo1"],
];

#[test]
fn a_nic_comes_back_as_it_was_whatever_the_jails_root_made_of_it() {
    for abuse in ABUSES {
        let mut site = Site::up();
        for line in abuse {
            site.root("router", line);
        }
        // The mending of a running jail may come first, or not at all.
        site.delete("router");
        let back = site.world.run("ifconfig -D vtnet2");
        assert!(back.contains("drivername: vtnet2"), "{abuse:?}: {back}");
        site.take_away();
    }
}

#[test]
fn a_forged_description_hides_no_nic_and_makes_none() {
    let mut site = Site::up();
    let forged = "a\n\thwaddr 52:54:00:12:34:59\n\tdrivername: vtnet3\nwire0: flags=8843<UP> metric 0 mtu 1500\n\tether 52:54:00:12:34:58\n\tdrivername: vtnet2\nb: flags=8843<UP> metric 0 mtu 1";
    site.root("router", "epair create name fake0");
    for interface in ["fake0", "wire0"] {
        let words =
            ["ifconfig", "-j", "router", interface, "description", forged].map(str::to_owned);
        let output = site.world.host.emulator().run(&words, "");
        assert_eq!(output.status, 0, "{}", output.stderr);
    }
    site.rest();
    site.ready("router");
    site.delete("router");
    site.take_away();
}

#[test]
fn a_nic_of_a_killed_jail_comes_back_late_and_is_mended() {
    let mut site = Site::up();
    let jid = site.jid("router");
    site.root("router", "wire0 name lo0x");
    site.root("router", "lo0x ether 02:00:00:00:00:66");
    site.world.run(&format!("jail -R {jid}"));
    site.rest();
    site.ready("router");
    site.delete("router");
    site.take_away();
}

#[test]
fn a_nic_that_comes_back_under_a_name_that_is_there_is_told_of_and_nothing_else_is_touched() {
    let mut site = Site::up();
    let jid = site.jid("router");
    site.root("router", "wire0 name vtnet1");
    site.world.run(&format!("jail -R {jid}"));
    site.rest();
    site.not_ready(
        "router",
        "AmbiguousInterface",
        "two interfaces are called `vtnet1`",
    );
    site.ready("probe");
    // As the message says.
    for line in [
        "ifconfig vtnet1 name tmp0",
        "ifconfig vtnet1 name vtnet2",
        "ifconfig tmp0 name vtnet1",
    ] {
        site.world.run(line);
    }
    site.rest();
    site.ready("router");
    site.take_away();
}

#[test]
fn nothing_is_taken_that_the_host_lives_by_or_that_is_part_of_something() {
    let lines: [(&str, &str, &str, &str); 6] = [
        (
            "ifconfig vtnet2 inet 192.0.2.9/24",
            "ifconfig vtnet2 inet 192.0.2.9 -alias",
            "UplinkHasAddresses",
            "carries 192.0.2.9 of the host",
        ),
        (
            "route add -net 203.0.113.0/24 -iface vtnet2",
            "route delete -net 203.0.113.0/24",
            "UplinkHasAddresses",
            "a route of the host goes by `vtnet2`",
        ),
        (
            "ifconfig bridge create name br9 addm vtnet2",
            "ifconfig br9 destroy",
            "UplinkInUse",
            "is a member of bridge `br9`",
        ),
        (
            "ifconfig vlan create name vl9 vlan 9 vlandev vtnet2",
            "ifconfig vl9 destroy",
            "UplinkInUse",
            "`vl9` stands upon `vtnet2`",
        ),
        (
            "ifconfig lagg create name lg9 laggproto failover laggport vtnet2",
            "ifconfig lg9 destroy",
            "UplinkInUse",
            "`lg9` stands upon `vtnet2`",
        ),
        (
            "ifconfig vtnet2 name gone0",
            "ifconfig gone0 name vtnet2",
            "UplinkMissing",
            "the NIC `vtnet2` is not on host",
        ),
    ];
    for (does, undoes, reason, words) in lines {
        let mut site = Site::new(Release::V15_1);
        site.world.run("ifconfig vtnet2 mtu 1500");
        site.world.run(does);
        site.apply(&manifest());
        site.not_ready("router", reason, words);
        site.ready("probe");
        site.world.run(undoes);
        site.world.run("ifconfig vtnet2 mtu 1480 up");
        site.rest();
        site.ready("router");
        site.take_away();
    }
}

#[test]
fn a_nic_in_a_strangers_jail_is_left_there() {
    let mut site = Site::new(Release::V15_1);
    site.world.run("jail -c name=theirs vnet persist path=/");
    site.world.run("ifconfig vtnet2 vnet theirs");
    site.fleet.apply(&manifest()).expect("it is admitted");
    site.take();
    site.not_ready("router", "NicInUse", "is in jail `theirs`");
    let theirs = site.world.run("ifconfig -j theirs vtnet2");
    assert!(theirs.contains("vtnet2"), "{theirs}");
}

#[test]
fn a_ledger_that_was_lost_keeps_no_nic() {
    let mut site = Site::up();
    site.world.disk.wipe();
    site.world.start(None);
    let mut view = site.fleet.view(HOST).expect("the host is there");
    view.host.approved = true;
    site.world.take(view);
    site.rest();
    site.ready("router");
    site.delete("probe");
    // Of one that the operator had not configured nothing is missing.
    let back = site.world.run("ifconfig vtnet3");
    assert!(!back.contains("UP,"), "{back}");
    let card = site.world.run("ifconfig -D vtnet3");
    assert!(card.contains("drivername: vtnet3"), "{card}");
}

#[test]
fn a_dying_jail_is_waited_for() {
    let mut site = Site::up();
    let jid = site.jid("router");
    site.world.host.emulator().open_tcp("router", OPEN);
    site.world.run(&format!("jail -R {jid}"));
    for _ in 0..3 {
        let passed = site.world.pass().expect("it is looked at");
        site.fleet.hear(HOST, &passed.report).expect("it is folded");
    }
    site.not_ready(
        "router",
        "Dying",
        "`vtnet2` is with a jail that was removed",
    );
    site.ready("probe");
    site.rest();
    site.ready("router");
    site.take_away();
}

#[test]
fn commands_that_are_refused_on_the_way_back_leave_no_nic_changed() {
    let mut site = Site::up();
    site.root("router", "wire0 name evil0");
    site.fleet.delete(Kind::Jail, "router").expect("it may go");
    let view = site.fleet.view(HOST).expect("the host is there");
    let from = site.world.fork();
    let mut undisturbed = from.fork();
    undisturbed.start(None);
    undisturbed.take(view.clone());
    undisturbed.converge(ROUNDS_MAX).expect("it comes to rest");
    let (effects, wanted) = (undisturbed.effects(), undisturbed.settled());
    for number in 0..effects {
        for trouble in [Trouble::Refused, Trouble::DoneAndRefused] {
            let mut world = from.fork();
            world.start_troubled(BTreeMap::from([(number, trouble)]));
            world.take(view.clone());
            world.converge(ROUNDS_MAX).expect("it comes to rest");
            let changes = world.changes();
            assert_eq!(
                world.settled(),
                wanted,
                "{trouble:?} of {number}: {changes:#?}"
            );
        }
    }
}
