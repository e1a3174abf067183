//! The laws of the architecture, on generated views, hosts, strangers, hands and crashes.
//!
//! `PROPTEST_CASES` says how many cases each runs: 256 in CI, 10,000 in the nightly run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_agent_core::ledger::{Contents, Owned};
use cellblock_agent_core::op::Op;
use cellblock_agent_core::pass::{ViewRefused, accept};
use cellblock_agent_core::plan::{Settings, plan};
use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Probe};
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::ids::Generation;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::network::Isolation;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::drift::{Hand, TAKEN, act, hand, make_strangers, take_addresses};
use cellblock_sim::trouble::{Trouble, trouble};
use cellblock_sim::views::{build, emptied, obstacles, out_of_order, view};
use cellblock_sim::world::FOLDER;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

/// How many passes any world may take, waits included.
const ROUNDS_MAX: usize = 400;

fn config() -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 2_000,
        // Beside this file: proptest's own default looks for a `lib.rs` above it, and there is none above an integration test.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    }
}

fn release() -> impl Strategy<Value = Release> {
    prop_oneof![3 => Just(Release::V15_1), 1 => Just(Release::V14_3)]
}

/// A fresh host with every public address that a generated view names.
fn host(release: Release) -> World {
    let world = World::new(release);
    add_public_addresses(&world);
    world
}

fn add_public_addresses(world: &World) {
    world.add_public_addresses(&build(&Default::default(), &Default::default()).host);
}

/// Somebody does something; after a reboot rc(8) has put the public addresses on the NIC again.
fn lay_hand_on(world: &World, hand: Hand) {
    act(&mut world.host.emulator(), hand);
    if matches!(hand, Hand::Reboot) {
        add_public_addresses(world);
    }
}

/// Every jail that can run runs as rendered; every other says why not.
fn assert_outcome(world: &mut World) -> Result<(), TestCaseError> {
    let passed = world
        .pass()
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    // A jail that cannot be changed runs as it was, and holds the routing table that it was started with.
    let holds_table = passed.report.jails.iter().any(|report| {
        let jail = &world.view.jails[&report.uid];
        let is_held =
            !obstacles(&world.view, jail).is_empty() || !out_of_order(&world.view, jail).is_empty();
        report.jid.is_some() && is_held
    });
    for report in &passed.report.jails {
        let jail = &world.view.jails[&report.uid];
        let ready = report
            .conditions
            .iter()
            .find(|condition| condition.kind == "Ready")
            .expect("always reported");
        let wanted = !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped;
        let obstacles = obstacles(&world.view, jail);
        if holds_table && ready.reason == "RouteTaken" {
            continue;
        }
        let depends = !jail.spec.depends_on.is_empty();
        if holds_table && depends && ready.reason == "DependencyNotReady" {
            continue;
        }
        // One that runs goes on without those that it depends on.
        if wanted && out_of_order(&world.view, jail).contains(&ready.reason.as_str()) {
            prop_assert_ne!(ready.status, ConditionStatus::True);
            prop_assert!(!report.gone, "{} stays", jail.name);
            continue;
        }
        if wanted && obstacles.is_empty() && report.jid.is_none() {
            prop_assert!(
                false,
                "{} does not run {:?} {:#?}",
                jail.name,
                ready,
                passed.plan.lines()
            );
        }
        prop_assert_eq!(
            ready.status == ConditionStatus::True,
            wanted && obstacles.is_empty(),
            "{} {:?} {:#?}",
            jail.name,
            ready,
            passed.plan.lines()
        );
        if wanted && !obstacles.is_empty() {
            prop_assert!(
                obstacles.contains(&ready.reason.as_str()),
                "{} {ready:?}, not {obstacles:?}",
                jail.name
            );
        }
        prop_assert_eq!(report.gone, jail.deleting, "{} is to go", jail.name);
    }
    let ready = passed.report.jails.iter().filter(|report| {
        let mut conditions = report.conditions.iter();
        conditions.any(|found| found.kind == "Ready" && found.status == ConditionStatus::True)
    });
    let ready: Vec<&JailView> = ready.map(|report| &world.view.jails[&report.uid]).collect();
    assert_apart(world, &ready)
}

/// No jail of an isolated network reaches another's address there, and each with addresses of the host reaches its own.
fn assert_apart(world: &World, jails: &[&JailView]) -> Result<(), TestCaseError> {
    let observed = world.observe();
    let emulator = world.host.emulator();
    let networks = world.view.networks.values();
    for network in networks.filter(|network| network.spec.isolation == Isolation::Jails) {
        for (from, to) in jails
            .iter()
            .flat_map(|from| jails.iter().map(move |to| (from, to)))
        {
            let is_here = |jail: &JailView| {
                let mut attachments = jail.binding.attachments.iter();
                attachments.any(|bound| bound.network == network.name)
            };
            if !(is_here(from) && is_here(to)) {
                continue;
            }
            let attachments = to.binding.attachments.iter();
            let here = attachments.filter(|bound| bound.network == network.name);
            for bound in here.flat_map(|bound| &bound.addresses) {
                let running = observed.jail(to.jail_name()).expect("it is ready");
                let address = scoped(bound.address, running.zones.get(&bound.address));
                let origin = Origin::Jail(from.jail_name().to_owned());
                let trace = emulator.trace(&Probe::tcp(origin, address, 80));
                let is_own = from.uid == to.uid;
                prop_assert!(
                    trace.reached() == is_own || is_own && network.spec.shared_ip.is_none(),
                    "{} on {}: {trace}",
                    from.name,
                    network.name
                );
            }
        }
    }
    Ok(())
}

/// An address as a socket has it.
fn scoped(address: IpAddr, zone: Option<&u32>) -> IpAddr {
    match (address, zone) {
        (IpAddr::V6(address), Some(zone)) => {
            IpAddr::V6((address.to_bits() | u128::from(*zone) << 96).into())
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => address,
    }
}

/// Everything of ours is gone, console logs too, and everything else is there.
fn assert_no_trace(before: &[String], world: &mut World) -> Result<(), TestCaseError> {
    assert_no_difference(before, &world.settled())?;
    let after = world.fingerprint();
    let left = after.iter().find(|line| line.contains(".console "));
    prop_assert_eq!(left, None);
    Ok(())
}

fn assert_no_difference(before: &[String], after: &[String]) -> Result<(), TestCaseError> {
    let gained: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    let lost: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    prop_assert!(
        gained.is_empty() && lost.is_empty(),
        "gained {gained:#?} lost {lost:#?}"
    );
    Ok(())
}

/// It comes to rest, and at no moment before was anything wrong.
fn converge(world: &mut World) -> Result<(), TestCaseError> {
    let came = world.converge(ROUNDS_MAX);
    let none = BTreeSet::new();
    prop_assert_eq!(world.wrongs(), &none);
    match came {
        Ok(_) => Ok(()),
        Err(stuck) => Err(TestCaseError::fail(format!("{stuck:#?}"))),
    }
}

/// Settled, the two hosts differ in nothing, see [`World::settled`].
fn assert_same(reference: &mut World, world: &mut World) -> Result<(), TestCaseError> {
    // An ng_ether(4) node that nothing is connected to says nothing: of two interfaces that come back from jails under one name, only the first gets one, and which is the first is the kernel's.
    let is_idle = |line: &String| line.contains(" ether {} persistent=false promisc=false");
    let settled = |world: &mut World| {
        let mut lines = world.settled();
        lines.retain(|line| !is_idle(line));
        lines
    };
    let compared = assert_no_difference(&settled(reference), &settled(world));
    compared.map_err(|error| TestCaseError::fail(format!("{error}\n{:#?}", world.changes())))
}

/// Effects, by their number among about `effects`, that do not go well.
fn numbered(troubles: &[(Index, Trouble)], effects: usize) -> BTreeMap<usize, Trouble> {
    let number = |(at, trouble): &(Index, Trouble)| (at.index(effects.max(1)), *trouble);
    troubles.iter().map(number).collect()
}

/// The jails in whose rules, alone in an anchor, there is a word.
fn whose_rules_have(world: &World, word: &str) -> BTreeSet<Uid> {
    let mut observed = world.observe();
    observed.pf.anchors.clear();
    let settings = Settings {
        folder: FOLDER.to_owned(),
    };
    let plan = plan(&world.view, &observed, world.ledger(), &settings);
    let parts = plan.steps.iter().filter_map(|step| {
        if let Op::LoadAnchor { parts, .. } = &step.op {
            Some(parts)
        } else {
            None
        }
    });
    let having = parts.flatten().filter(|(_, rules)| rules.contains(word));
    having.map(|(jail, _)| jail.clone()).collect()
}

/// The loaded lines by which something comes to a jail from outside, or leaves under an address that is translated.
fn led_to(world: &World, jail: &Uid) -> Vec<String> {
    let mut lines = Vec::new();
    for anchor in world.observe().pf.anchors.keys() {
        for what in ["-sn", "-sr"] {
            let shown = world.run(&format!("pfctl -a {anchor} {what}"));
            lines.extend(shown.lines().map(str::to_owned));
        }
    }
    let label = format!("cellblock:{jail}:");
    lines.retain(|line| line.contains(&label) && !line.starts_with("block"));
    lines
}

proptest! {
    #![proptest_config(config())]

    /// Laws 1, 2 and 6: it converges, then rests, and what cannot be done for one jail does not keep the others; however little of a plan a pass has time for.
    #[test]
    fn converges_and_rests(
        release in release(),
        first in view(),
        second in view(),
        hands in prop::collection::vec(hand(), 0..4),
        look_ms in prop_oneof![3 => Just(0_u64), 1 => 150..1_000_u64],
    ) {
        let mut world = host(release);
        world.look_ms = look_ms;
        world.take(first);
        converge(&mut world)?;
        assert_outcome(&mut world)?;
        for hand in hands {
            lay_hand_on(&world, hand);
        }
        world.take(second);
        converge(&mut world)?;
        assert_outcome(&mut world)?;
        let before = world.changing_commands();
        let effects = world.effects();
        converge(&mut world)?;
        prop_assert_eq!(world.changing_commands(), before, "a host at rest ran a changing command");
        prop_assert_eq!(world.effects(), effects, "a host at rest wrote something");
    }

    /// Laws 3, 7 and 10: killed at any effect, before it or after it, it converges to the host that it would have made anyway, and leaves no trace of it; on the way no address stands
    /// anywhere twice, and the host is not cut off.
    #[test]
    fn survives_a_crash_at_any_effect(first in view(), second in view(), at in any::<Index>(), after in any::<bool>()) {
        let mut reference = host(Release::V15_1);
        let before = reference.fork().settled();
        reference.take(first.clone());
        converge(&mut reference)?;
        let mut world = reference.fork();
        reference.start(None);
        reference.take(second.clone());
        converge(&mut reference)?;
        prop_assume!(reference.effects() > 0);
        let number = at.index(reference.effects());

        world.start(Some(if after { Moment::After(number) } else { Moment::Before(number) }));
        world.take(second);
        converge(&mut world)?;
        prop_assert!(!world.is_dead());
        assert_outcome(&mut world)?;
        assert_same(&mut reference, &mut world)?;
        world.take(emptied(&world.view));
        converge(&mut world)?;
        assert_no_trace(&before, &mut world)?;
    }

    /// Laws 1, 3, 4, 7 and 10: commands that are refused or hang, files that find no room, at any moments of a change and of the teardown: it converges to the host that it would have made
    /// anyway, beside strangers that keep what they have, and leaves no trace of it.
    #[test]
    fn survives_failing_commands(
        release in release(),
        first in view(),
        second in view(),
        changing in prop::collection::vec((any::<Index>(), trouble()), 1..5),
        ending in prop::collection::vec((any::<Index>(), trouble()), 0..3),
    ) {
        let mut reference = host(release);
        make_strangers(&mut reference.host.emulator());
        let before = reference.fork().settled();
        reference.take(first);
        converge(&mut reference)?;
        let mut world = reference.fork();
        reference.start(None);
        reference.take(second.clone());
        converge(&mut reference)?;
        let effects = reference.effects();

        world.start_troubled(numbered(&changing, effects));
        world.take(second);
        converge(&mut world)?;
        assert_outcome(&mut world)?;
        assert_same(&mut reference, &mut world)?;
        world.start_troubled(numbered(&ending, effects));
        world.take(emptied(&world.view));
        converge(&mut world)?;
        assert_no_trace(&before, &mut world)?;
    }

    /// Law 4: strangers keep everything they have, throughout, addresses that our jails want among it, and taking everything of ours away leaves the host as it was.
    #[test]
    fn leaves_strangers_alone_and_no_trace(release in release(), first in view(), second in view()) {
        let mut world = host(release);
        make_strangers(&mut world.host.emulator());
        take_addresses(&mut world.host.emulator());
        let before = world.fingerprint();
        let settled = world.fork().settled();
        for view in [first, second] {
            world.take(view);
            converge(&mut world)?;
            let now = world.fingerprint();
            let lost: Vec<&String> = before.iter().filter(|line| is_strangers(line) && !now.contains(line)).collect();
            prop_assert!(lost.is_empty(), "strangers lost {lost:#?}");
        }
        world.take(emptied(&world.view));
        converge(&mut world)?;
        assert_no_trace(&settled, &mut world)?;
    }

    /// Law 4: a paused agent, and one that nobody has approved on a host with strangers, changes nothing, says what it would do, and does it once it may.
    #[test]
    fn a_held_agent_only_looks(first in view(), second in view(), approved in any::<bool>(), hands in prop::collection::vec(hand(), 0..3)) {
        let mut world = host(Release::V15_1);
        make_strangers(&mut world.host.emulator());
        if approved {
            world.take(first);
            converge(&mut world)?;
            for hand in hands {
                lay_hand_on(&world, hand);
            }
        } else {
            world.disk.wipe();
            world.start(None);
        }
        let mut held = second.clone();
        held.host.paused = approved;
        world.take(held);
        // Nothing waits for it: the kernel takes a moment to let go of the last jails, and to end a duplicate address detection that somebody began.
        world.sleep(5_000);
        let before = world.fingerprint();
        let commands = world.changing_commands();
        for _ in 0..3 {
            let passed = world.pass().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(passed.done, 0);
            prop_assert_eq!(passed.again_ms, None);
            prop_assert_eq!(passed.report.pending_plan, passed.plan.lines());
        }
        prop_assert_eq!(world.changing_commands(), commands, "a held agent ran a changing command");
        assert_no_difference(&before, &world.fingerprint())?;
        let mut free = second;
        free.host.approved = true;
        world.take(free);
        converge(&mut world)?;
        assert_outcome(&mut world)?;
    }

    /// Laws 1, 2 and 6: rules that pf does not take are their jail's trouble alone, and nothing is left of it once pf takes them.
    #[test]
    fn rules_that_pf_rejects_concern_their_jail_alone(
        release in release(),
        view in view(),
        lacks in prop_oneof![Just("user > 1000"), Just("port 8001 tag"), Just("port 9000 tag"), Just("port 9001 tag"), Just("port 8443 tag")],
    ) {
        let mut reference = host(release);
        let before = reference.fork().settled();
        let mut world = reference.fork();
        world.host.emulator().kernel.pf_lacks.insert(lacks.to_owned());
        for world in [&mut reference, &mut world] {
            world.take(view.clone());
            converge(world)?;
        }
        let (effects, commands) = (world.effects(), world.changing_commands());
        let whole = reference.pass().map_err(|error| TestCaseError::fail(error.to_string()))?.report;
        let found = world.pass().map_err(|error| TestCaseError::fail(error.to_string()))?.report;
        prop_assert_eq!((world.effects(), world.changing_commands()), (effects, commands), "a host at rest did something");
        // They are those in whose rules it is, and no others.
        let guilty = whose_rules_have(&reference, lacks);
        let ledger = &world.ledger().owned;
        let rejected = ledger.iter().filter_map(|owned| {
            if let Owned::Rejected { jail, .. } = owned {
                Some(jail.clone())
            } else {
                None
            }
        });
        let rejected: BTreeSet<Uid> = rejected.collect();
        prop_assert_eq!(&rejected, &guilty);
        for jail in &guilty {
            let open = led_to(&world, jail);
            prop_assert!(open.is_empty(), "{open:#?}");
        }
        for (whole, found) in whole.jails.iter().zip(&found.jails) {
            let is_rejected = found.conditions.iter().any(|condition| condition.reason == "RuleRejected");
            let waits = found.conditions.iter().any(|condition| condition.reason.starts_with("Depend"));
            prop_assert!(!is_rejected || guilty.contains(&found.uid));
            if !guilty.contains(&found.uid) && !waits {
                // What is told may name what the others have.
                let told = |report: &JailReport| -> Vec<_> {
                    let conditions = report.conditions.iter();
                    conditions.map(|found| (found.kind.clone(), found.status, found.reason.clone())).collect()
                };
                prop_assert_eq!(told(whole), told(found));
            }
        }
        world.host.emulator().kernel.pf_lacks.clear();
        converge(&mut world)?;
        assert_outcome(&mut world)?;
        world.take(emptied(&world.view));
        converge(&mut world)?;
        assert_no_trace(&before, &mut world)?;
        let is_left = world.ledger().owned.iter().any(|owned| matches!(owned, Owned::Rejected { .. }));
        prop_assert!(!is_left);
    }

    /// Law 5: the same view, look and ledger give the same plan.
    #[test]
    fn plans_the_same_twice(first in view(), second in view()) {
        let mut world = host(Release::V15_1);
        world.take(first);
        converge(&mut world)?;
        let observed = world.observe();
        let settings = Settings { folder: FOLDER.to_owned() };
        let one = plan(&second, &observed, world.ledger(), &settings);
        let two = plan(&second.clone(), &observed.clone(), &world.ledger().clone(), &settings);
        prop_assert_eq!(one, two);
    }

    /// Law 9: never back, never into another cluster, never into a new epoch by itself.
    #[test]
    fn refuses_stale_views(epoch in 1_u64..4, generation in 1_u64..4, offered_epoch in 1_u64..4, offered in 1_u64..4) {
        let numbered = |epoch, generation| {
            let mut view = HostView::default();
            view.mark.epoch = epoch;
            view.mark.generation = Generation(generation);
            view
        };
        let ledger = Contents { view: Some(numbered(epoch, generation).into()), ..Contents::default() }.into();
        let accepted = accept(&ledger, &numbered(offered_epoch, offered));
        if offered_epoch > epoch {
            let is_new_epoch = matches!(accepted, Err(ViewRefused::NewEpoch { .. }));
            prop_assert!(is_new_epoch);
        } else {
            prop_assert_eq!(accepted.is_ok(), offered_epoch == epoch && offered >= generation);
        }
        let mut foreign = numbered(epoch, generation + 1);
        foreign.cluster.0 = "other".to_owned();
        let is_foreign = matches!(accept(&ledger, &foreign), Err(ViewRefused::OtherCluster { .. }));
        prop_assert!(is_foreign);
    }
}

/// Whether a line of a fingerprint speaks of what `make_strangers` and `take_addresses` made.
fn is_strangers(line: &str) -> bool {
    let made = [
        "their",
        "127.0.9.1",
        "172.31.0.",
        "198.18.0.0",
        "epair0a",
        "ngeth0",
    ];
    made.iter().chain(&TAKEN).any(|word| line.contains(word))
}
