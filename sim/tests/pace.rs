//! How much of a plan one pass does.

use cellblock_fakebsd::Release;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build};

/// On a switch, by index of `sim::views`.
const SWITCH: usize = 2;

fn jails() -> HostView {
    let sketch = || {
        Some(Sketch {
            networks: vec![SWITCH],
            securelevel: -1,
            ..Sketch::default()
        })
    };
    build(
        &Default::default(),
        &[sketch(), sketch(), sketch(), sketch()],
    )
}

/// Looking at a host is not free: were it looked at anew for every operation, a slow one would never be done.
#[test]
fn a_host_that_is_slow_to_look_at_is_worked_on_for_several_times_as_long() {
    for look_ms in [100, 3_000, 12_000, 60_000] {
        let mut world = World::new(Release::V15_1);
        world.look_ms = look_ms;
        world.take(jails());
        let passed = world.pass().expect("the host can be looked at");
        assert!(passed.done >= 4, "{} at {look_ms} ms a look", passed.done);
    }
}
