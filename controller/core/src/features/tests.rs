//! What an agent that lacks something is shown.

use cellblock_schemas::HostView;
use cellblock_schemas::feature::{self, NEEDS, PROBES};
use serde_json::{Value, json};

use super::Features;
use crate::host_view;
use crate::testing::{World, jail};

fn probed(policy: &str) -> Value {
    let probes = json!({"ready": {"exec": {"command": ["/usr/bin/true"]}}});
    jail(
        "www",
        &[],
        json!({"host": "a", "probes": probes, "runPolicy": policy}),
    )
}

fn knowing(names: &[&str]) -> Features {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The view of host a as an agent that knows these is sent it.
fn shown(world: &World, names: &[&str]) -> HostView {
    let mut view = host_view(&world.index, "a").expect("a host");
    knowing(names).withhold(&mut view);
    view
}

#[test]
fn a_jail_that_needs_more_is_at_a_network_that_no_agent_knows() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(probed("Running")).expect("a jail");
    world
        .apply(jail("plain", &[], json!({"host": "a"})))
        .expect("a jail");
    let all = shown(&world, &feature::ALL);
    assert!(all.networks.is_empty());
    assert_eq!(shown(&world, &[NEEDS]), all, "it says so itself");
    assert_eq!(shown(&world, &[PROBES, "later"]), all);
    let old = shown(&world, &[]);
    let network = &old.networks["feature:probes"];
    assert_eq!(network.spec.mode(), None);
    for jail in old.jails.values() {
        let attachments = &jail.binding.attachments;
        let is_withheld = attachments.iter().any(|one| one.network == network.name);
        assert_eq!(is_withheld, jail.name == "www");
    }
}

/// Every agent knows how to stop a jail, and how to take it away.
#[test]
fn what_stops_or_goes_is_not_withheld() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(probed("Running")).expect("a jail");
    assert!(!shown(&world, &[]).networks.is_empty());
    world.apply(probed("Stopped")).expect("a jail");
    assert!(shown(&world, &[]).networks.is_empty());
}
