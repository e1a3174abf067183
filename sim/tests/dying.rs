//! Jails that the kernel still holds after their removal, as for a TCP connection whose other side does not close: nothing waits for them, and they reach nobody.

use std::time::Duration;

use cellblock_fakebsd::Release;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build};

/// Far more than a start takes, and far less than a jail may be dying.
const ROUNDS_MAX: usize = 20;

/// Longer than any of these connections is kept.
const OPEN: Duration = Duration::from_secs(3600);

/// 9 × 75 s, in which a connection is kept whose other side does not close.
const FIN_WAIT_2_MS: u64 = 675_000;

fn one(network: usize) -> HostView {
    let sketch = Sketch {
        networks: vec![network],
        devfs: true,
        mount: true,
        securelevel: -1,
        ..Sketch::default()
    };
    build(&Default::default(), &[Some(sketch), None, None, None])
}

/// The networks of `sim::views`, by index.
const SHARED_IP: usize = 0;
const SWITCH: usize = 2;

fn jails(world: &World) -> Vec<String> {
    let output = world.host.emulator().sh("jls -d -h name dying");
    output.stdout.lines().skip(1).map(str::to_owned).collect()
}

fn changed(view: &HostView, change: impl Fn(&mut cellblock_schemas::view::JailView)) -> HostView {
    let mut view = view.clone();
    for jail in view.jails.values_mut() {
        change(jail);
    }
    view
}

/// A jail `a` on that network with a connection that nobody closes on the other side.
fn connected(release: Release, network: usize) -> (World, HostView) {
    let mut world = World::new(release);
    let view = one(network);
    world.take(view.clone());
    world.converge(ROUNDS_MAX).expect("it starts");
    world.host.emulator().open_tcp("a", OPEN);
    (world, view)
}

#[test]
fn a_restart_does_not_wait_for_the_jail_that_is_dying() {
    for release in [Release::V15_1, Release::V14_3] {
        let (mut world, view) = connected(release, SWITCH);
        let began = world.now_ms();
        world.take(changed(&view, |jail| {
            jail.spec.parameters.insert(
                "osreldate".to_owned(),
                cellblock_schemas::jail::ParameterValue::Number(1_400_000),
            );
        }));
        world.converge(ROUNDS_MAX).expect("it is restarted");
        assert!(world.now_ms() - began < 10_000, "{release:?}: it waited");
        assert_eq!(jails(&world), ["a true", "a false"], "{release:?}");
        // The dying one has no interface left that answers for its addresses.
        let kernel = world.fingerprint();
        let holders = kernel
            .iter()
            .filter(|line| line.contains(" inet 10.10.0.10 "));
        assert_eq!(holders.count(), 1, "{release:?}: {kernel:#?}");
        world.sleep(FIN_WAIT_2_MS);
        assert_eq!(jails(&world), ["a false"], "{release:?}");
        let before = world.changing_commands();
        world.converge(ROUNDS_MAX).expect("it is at rest");
        assert_eq!(world.changing_commands(), before, "{release:?}");
    }
}

#[test]
fn a_jail_that_died_by_itself_is_started_beside_its_former_self() {
    for network in [SHARED_IP, SWITCH] {
        let (mut world, _) = connected(Release::V15_1, network);
        // Without jail.conf: what it had mounted stays.
        assert_eq!(world.host.emulator().sh("jail -R a").status, 0);
        world.converge(ROUNDS_MAX).expect("it is started again");
        let living = jails(&world);
        assert_eq!(
            living.last().map(String::as_str),
            Some("a false"),
            "{living:?}"
        );
    }
}

#[test]
fn a_deleted_jail_is_gone_once_it_reaches_nobody() {
    for release in [Release::V15_1, Release::V14_3] {
        let (mut world, view) = connected(release, SWITCH);
        world.take(changed(&view, |jail| jail.deleting = true));
        let rest = world.converge(ROUNDS_MAX).expect("it is taken away");
        let report = &rest.last.report.jails[0];
        assert!(report.gone, "{release:?}: {report:?}");
        assert_eq!(jails(&world), ["a true"], "{release:?}");
        let kernel = world.fingerprint();
        assert!(
            !kernel.iter().any(|line| line.contains("10.10.0.10")),
            "{kernel:#?}"
        );
        // Another Jail of the same name and addresses, applied anew.
        let mut anew = one(SWITCH);
        let mut jail = anew.jails.pop_first().expect("there is one").1;
        jail.uid.0 = "another".to_owned();
        anew.jails.insert(jail.uid.clone(), jail);
        world.take(anew);
        world.converge(ROUNDS_MAX).expect("it starts");
        assert_eq!(jails(&world), ["a true", "a false"], "{release:?}");
    }
}

#[test]
fn a_stopped_jail_says_that_the_kernel_holds_it_and_has_no_interface() {
    let (mut world, view) = connected(Release::V15_1, SWITCH);
    world.take(changed(&view, |jail| {
        jail.spec.run_policy = RunPolicy::Stopped
    }));
    for _ in 0..5 {
        world.pass().expect("the host can be observed");
    }
    let passed = world.pass().expect("the host can be observed");
    assert_eq!(passed.report.jails[0].phase, "Dying");
    assert!(passed.plan.is_empty(), "{:?}", passed.plan.lines());
    assert!(passed.plan.waiting[0].wait_ms_max > FIN_WAIT_2_MS);
    let kernel = world.fingerprint();
    assert!(
        !kernel.iter().any(|line| line.starts_with("host if cb")),
        "{kernel:#?}"
    );
    world.sleep(FIN_WAIT_2_MS);
    world.converge(ROUNDS_MAX).expect("it is over");
}
