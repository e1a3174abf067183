//! The laws of the architecture, on generated views, hosts, strangers, hands and crashes.
//!
//! `CELLBLOCK_CASES` says how many cases each runs: 256 in CI, 10,000 in the nightly run.

use cellblock_agent_core::pass::{ViewRefused, accept};
use cellblock_agent_core::plan::{Settings, plan};
use cellblock_fakebsd::Release;
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::ids::Generation;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::HostView;
use cellblock_sim::crash::Moment;
use cellblock_sim::drift::{act, hand, make_strangers};
use cellblock_sim::views::view;
use cellblock_sim::world::FOLDER;
use cellblock_sim::{World, cases};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// How many passes any world may take, waits included.
const ROUNDS_MAX: usize = 400;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: cases(),
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

/// Every jail that can run runs as rendered; every other says why not.
fn assert_outcome(world: &mut World) -> Result<(), TestCaseError> {
    let passed = world
        .pass()
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    for report in &passed.report.jails {
        let jail = &world.view.jails[&report.uid];
        let rootless = jail
            .spec
            .root
            .as_ref()
            .is_some_and(|root| root.path.starts_with("/nowhere"));
        let ready = report
            .conditions
            .iter()
            .find(|condition| condition.kind == "Ready")
            .expect("always reported");
        let runs = !rootless && jail.spec.run_policy != RunPolicy::Stopped;
        prop_assert_eq!(
            ready.status == ConditionStatus::True,
            runs,
            "{} {:?} {:#?}",
            jail.name,
            ready,
            passed.plan.lines()
        );
        if rootless && jail.spec.run_policy != RunPolicy::Stopped {
            prop_assert_eq!(&ready.reason, "RootMissing");
        }
    }
    Ok(())
}

/// Everything of ours is gone, and everything else is there.
fn assert_no_trace(before: &[String], after: &[String]) -> Result<(), TestCaseError> {
    let gained: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    let lost: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    prop_assert!(
        gained.is_empty() && lost.is_empty(),
        "gained {gained:#?} lost {lost:#?}"
    );
    Ok(())
}

fn converge(world: &mut World) -> Result<(), TestCaseError> {
    match world.converge(ROUNDS_MAX) {
        Ok(_) => Ok(()),
        Err(stuck) => Err(TestCaseError::fail(format!("{stuck:#?}"))),
    }
}

proptest! {
    #![proptest_config(config())]

    /// Laws 1, 2 and 6: it converges, then rests, and what cannot be done for one jail does not keep the others.
    #[test]
    fn converges_and_rests(release in release(), first in view(), second in view(), hands in prop::collection::vec(hand(), 0..4)) {
        let mut world = World::new(release);
        world.take(first);
        converge(&mut world)?;
        assert_outcome(&mut world)?;
        for hand in hands {
            act(&mut world.host.emulator(), hand);
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

    /// Law 3: killed at any effect, before it or after it, it converges to the same host.
    #[test]
    fn survives_a_crash_at_any_effect(first in view(), second in view(), at in any::<prop::sample::Index>(), after in any::<bool>()) {
        let mut reference = World::new(Release::V15_1);
        reference.take(first.clone());
        converge(&mut reference)?;
        reference.start(None);
        reference.take(second.clone());
        converge(&mut reference)?;
        prop_assume!(reference.effects() > 0);
        let number = at.index(reference.effects());

        let mut world = World::new(Release::V15_1);
        let before = world.fingerprint();
        world.take(first);
        converge(&mut world)?;
        world.start(Some(if after { Moment::After(number) } else { Moment::Before(number) }));
        world.take(second);
        converge(&mut world)?;
        prop_assert!(!world.is_dead());
        assert_outcome(&mut world)?;
        world.take(HostView { jails: Default::default(), networks: Default::default(), ..world.view.clone() });
        converge(&mut world)?;
        assert_no_trace(&before, &world.fingerprint())?;
    }

    /// Law 4: strangers keep everything they have, throughout, and taking everything of ours away leaves the host as it was.
    #[test]
    fn leaves_strangers_alone_and_no_trace(release in release(), first in view(), second in view()) {
        let mut world = World::new(release);
        make_strangers(&mut world.host.emulator());
        let before = world.fingerprint();
        for view in [first, second] {
            world.take(view);
            converge(&mut world)?;
            let now = world.fingerprint();
            let lost: Vec<&String> = before.iter().filter(|line| is_strangers(line) && !now.contains(line)).collect();
            prop_assert!(lost.is_empty(), "strangers lost {lost:#?}");
        }
        world.take(HostView { jails: Default::default(), networks: Default::default(), ..world.view.clone() });
        converge(&mut world)?;
        assert_no_trace(&before, &world.fingerprint())?;
    }

    /// Law 5: the same view, look and ledger give the same plan.
    #[test]
    fn plans_the_same_twice(first in view(), second in view()) {
        let mut world = World::new(Release::V15_1);
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
        let ledger = cellblock_agent_core::Ledger { view: Some(numbered(epoch, generation).into()), ..Default::default() };
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

/// Whether a line of a fingerprint speaks of what `make_strangers` made.
fn is_strangers(line: &str) -> bool {
    ["their", "127.0.9.1", "172.31.0.", "198.18.0.0", "epair0a"]
        .iter()
        .any(|word| line.contains(word))
}
