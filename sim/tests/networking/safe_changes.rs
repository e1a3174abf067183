//! Changes of an uplink that the host itself lives by: they are confirmed by a connection made after them, or taken back, whoever dies when.

use std::net::IpAddr;
use std::time::Duration;

use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::lifeline::Controller;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{HOST, ROUNDS_MAX, Row, manifest};

const N11: &str = "n11-lagg/lagg.yaml";

/// The example with these ports of its lagg.
fn with_ports(ports: &str) -> String {
    manifest(N11).replace("[vtnet1, vtnet2]", ports)
}

/// A host that lives by a VLAN on a lagg of one port, behind which its controller is.
fn living_by_a_lagg() -> Row {
    let mut row = Row::of(&with_ports("[vtnet1]"));
    row.rest();
    let office = interface(&row, " office");
    row.world
        .run(&format!("ifconfig {office} inet 10.30.0.7/24"));
    row.world.lifeline.controller = Some(Controller {
        address: "10.30.0.99".parse::<IpAddr>().expect("an address"),
        behind: "vtnet1.30".to_owned(),
    });
    assert!(row.world.lifeline.is_reached());
    row.rest();
    row
}

fn interface(row: &Row, ends: &str) -> String {
    let observed = row.world.observe();
    let mut interfaces = observed.interfaces.iter();
    let found = interfaces.find(|found| {
        let text = found.description.as_deref();
        text.is_some_and(|text| text.starts_with("cellblock:") && text.ends_with(ends))
    });
    found.expect("it is there").name.clone()
}

/// What of the host a change of the lagg is about.
fn network(world: &mut World) -> Vec<String> {
    let lines = world.settled();
    let lines = lines.into_iter();
    lines
        .filter(|line| !line.starts_with("file ") && !line.contains(" pf "))
        .collect()
}

pub(super) fn same(now: &[String], wanted: &[String], what: &str) {
    let gained: Vec<_> = now.iter().filter(|line| !wanted.contains(line)).collect();
    let lost: Vec<_> = wanted.iter().filter(|line| !now.contains(line)).collect();
    assert!(
        gained.is_empty() && lost.is_empty(),
        "{what}: gained {gained:#?}, lost {lost:#?}"
    );
}

fn view(row: &mut Row, text: &str) -> HostView {
    row.fleet.apply(text).expect("it is admitted");
    row.fleet.view(HOST).expect("the host is there")
}

fn give(row: &mut Row, text: &str) {
    let view = view(row, text);
    row.world.take(view);
}

/// Passes until nothing happens any more, and what the host says of itself then.
pub(super) fn ready(world: &mut World) -> Condition {
    let mut last = None;
    for _ in 0..ROUNDS_MAX {
        match world.pass() {
            Ok(passed) => {
                let (done, again) = (passed.done, passed.again_ms);
                let conditions = passed.report.conditions.into_iter();
                last = conditions.into_iter().find(|one| one.kind == "Ready");
                if done == 0 && again.is_none_or(|again_ms| again_ms > 4_000) {
                    break;
                }
                world.sleep(again.unwrap_or(1_000));
            }
            Err(_) if world.is_dead() => world.start(None),
            Err(_) => world.sleep(1_000),
        }
    }
    last.expect("the host can be observed")
}

pub(super) fn says(row: &mut Row, text: &str) -> Condition {
    give(row, text);
    ready(&mut row.world)
}

#[test]
fn a_change_after_which_the_controller_is_reached_stays() {
    let mut row = living_by_a_lagg();
    let said = says(&mut row, &with_ports("[vtnet1, vtnet2]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    let wan = interface(&row, " wan");
    let shown = row.world.run(&format!("ifconfig {wan}"));
    assert!(shown.contains("laggport: vtnet2"), "{shown}");
    assert!(!row.world.lifeline.is_open());
    assert!(row.world.ledger().rolled_back.is_empty());
    row.rest();
    assert!(row.world.lifeline.is_reached());
    // A tag that the host lives by is changed in the same way.
    row.world.lifeline.controller = Some(Controller {
        address: "10.30.0.99".parse().expect("an address"),
        behind: "vtnet1.31".to_owned(),
    });
    assert!(!row.world.lifeline.is_reached());
    let moved = with_ports("[vtnet1, vtnet2]").replace("{id: 30,", "{id: 31,");
    let said = says(&mut row, &moved);
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
}

#[test]
fn a_change_that_cuts_the_host_off_is_taken_back_and_not_tried_again() {
    let mut row = living_by_a_lagg();
    let before = network(&mut row.world);
    let other = with_ports("[vtnet2]");
    let said = says(&mut row, &other);
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    assert!(
        said.message.contains("no controller was reached"),
        "{said:?}"
    );
    same(&network(&mut row.world), &before, "");
    assert!(row.world.lifeline.is_reached());
    assert!(!row.world.lifeline.is_open());
    let commands = row.world.changing_commands();
    // Neither by itself, nor by an agent that was started anew, nor for another part of the Host.
    row.world.sleep(3_600_000);
    assert_eq!(ready(&mut row.world).reason, "RolledBack");
    row.world.start(None);
    assert_eq!(ready(&mut row.world).reason, "RolledBack");
    assert_eq!(row.world.changing_commands(), commands);
    // The operator has the plan shown, and says that it be tried.
    let mut paused = row.world.view.clone();
    paused.host.paused = true;
    row.world.take(paused.clone());
    let shown = row.world.pass().expect("a look").report.pending_plan;
    let step = shown.iter().find(|line| line.contains("set lagg"));
    let step = step.unwrap_or_else(|| panic!("{shown:?}"));
    assert!(step.contains("taken back unless"), "{step}");
    paused.host.paused = false;
    row.world.take(paused);
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    assert!(row.world.changing_commands() > commands, "it was tried");
    // Another declaration is another matter.
    let said = says(&mut row, &with_ports("[vtnet1]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    let said = says(&mut row, &with_ports("[vtnet1, vtnet2]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    assert!(row.world.ledger().rolled_back.is_empty());
}

#[test]
fn what_was_taken_back_is_known_until_the_lagg_itself_is_declared_otherwise() {
    let mut row = living_by_a_lagg();
    let said = says(&mut row, &with_ports("[vtnet2]"));
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    let commands = row.world.changing_commands();
    let ports = "        ports: [vtnet2]";
    let elsewhere = with_ports("[vtnet2]").replace(
        ports,
        &format!("{ports}\n      publicAddresses: {{one: 198.51.100.7}}"),
    );
    assert_ne!(elsewhere, with_ports("[vtnet2]"));
    assert_eq!(says(&mut row, &elsewhere).reason, "RolledBack");
    assert_eq!(row.world.changing_commands(), commands);
    let said = says(&mut row, &with_ports("[vtnet1]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    assert!(row.world.ledger().rolled_back.is_empty());
}

#[test]
fn what_was_taken_back_is_not_made_after_a_boot_either() {
    let mut row = living_by_a_lagg();
    let said = says(&mut row, &with_ports("[vtnet2]"));
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    row.world.host.emulator().reboot();
    row.world.start(None);
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    let shown = row.world.run("ifconfig -g lagg");
    assert_eq!(shown, "");
    // What stood before is made again.
    let said = says(&mut row, &with_ports("[vtnet1]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    let wan = interface(&row, " wan");
    let shown = row.world.run(&format!("ifconfig {wan}"));
    assert!(shown.contains("laggport: vtnet1"), "{shown}");
}

#[test]
fn with_no_controller_in_reach_it_does_not_begin() {
    let mut row = living_by_a_lagg();
    let controller = row.world.lifeline.controller.take();
    let before = network(&mut row.world);
    let said = says(&mut row, &with_ports("[vtnet1, vtnet2]"));
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
    same(&network(&mut row.world), &before, "");
    assert!(row.world.ledger().rolled_back.is_empty());
    // One that answers elsewhere under its address is not it.
    row.world.lifeline.controller = controller.map(|controller| Controller {
        behind: "vtnet2.30".to_owned(),
        ..controller
    });
    row.world.sleep(60_000);
    assert_eq!(ready(&mut row.world).reason, "ControllerUnreachable");
    row.world.lifeline.controller = Some(Controller {
        address: "10.30.0.99".parse().expect("an address"),
        behind: "vtnet1.30".to_owned(),
    });
    row.world.sleep(60_000);
    let said = ready(&mut row.world);
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
}

#[test]
fn what_the_host_lives_by_may_stand_any_number_of_interfaces_above() {
    let row = || {
        let mut row = Row::of(&with_ports("[vtnet1]"));
        row.rest();
        row
    };
    // lagg, vlan, bridge.
    let mut bridged = row();
    let office = interface(&bridged, " office");
    let observed = bridged.world.observe();
    let mut interfaces = observed.interfaces.iter();
    let bridge = interfaces.find(|found| found.members.contains_key(&office));
    let bridge = &bridge.expect("the bridge of office").name;
    bridged
        .world
        .run(&format!("ifconfig {bridge} inet 10.30.0.7/24 alias"));
    // lagg, vlan, vlan.
    let mut tagged = row();
    let lab = interface(&tagged, " lab");
    tagged.world.run(&format!(
        "ifconfig vlan create vlan 7 vlandev {lab} inet 10.7.0.7/24 up"
    ));
    for row in [&mut bridged, &mut tagged] {
        let said = says(row, &with_ports("[vtnet1, vtnet2]"));
        assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
        let wan = interface(row, " wan");
        let shown = row.world.run(&format!("ifconfig {wan}"));
        assert!(!shown.contains("vtnet2"), "{shown}");
    }
}

#[test]
fn a_lagg_has_the_mac_address_of_before_again() {
    let mut row = living_by_a_lagg();
    let wan = interface(&row, " wan");
    row.world
        .run(&format!("ifconfig {wan} ether 02:00:5e:00:53:07"));
    let before = network(&mut row.world);
    let said = says(&mut row, &with_ports("[vtnet2]"));
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    same(&network(&mut row.world), &before, "");
    let shown = row.world.run(&format!("ifconfig {wan}"));
    assert!(shown.contains("ether 02:00:5e:00:53:07"), "{shown}");
}

#[test]
fn a_jail_is_restarted_although_its_uplink_waits_for_a_controller() {
    let mut row = living_by_a_lagg();
    row.world.lifeline.controller = None;
    // The vlan of the jail moves to the lagg, and the host has come to live by it.
    let cameras = interface(&row, " cameras");
    row.world
        .run(&format!("ifconfig {cameras} inet 10.50.0.7/24 alias"));
    let moved = with_ports("[vtnet1]").replace("{id: 50,", "{id: 51,");
    let said = says(&mut row, &moved);
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
    let jails = || "jls name".to_owned();
    let shown = row.world.run(&jails());
    let recorder = shown.lines().find(|line| line.contains("recorder"));
    let recorder = recorder.expect("the jail").trim().to_owned();
    row.world.run(&format!("jail -r {recorder}"));
    ready(&mut row.world);
    let shown = row.world.run(&jails());
    assert!(shown.contains(&recorder), "{shown}");
}

#[test]
fn what_carries_nothing_any_more_is_mended_with_no_controller_in_reach() {
    let mut row = living_by_a_lagg();
    row.world.lifeline.controller = None;
    let (wan, office) = (interface(&row, " wan"), interface(&row, " office"));
    row.world.run(&format!("ifconfig {wan} -laggport vtnet1"));
    row.world.run(&format!("ifconfig {office} -vlandev"));
    let said = says(&mut row, &with_ports("[vtnet2]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    let shown = row.world.run(&format!("ifconfig {wan}"));
    assert!(shown.contains("laggport: vtnet2"), "{shown}");
    let shown = row.world.run(&format!("ifconfig {office}"));
    assert!(
        shown.contains(&format!("parent interface: {wan}")),
        "{shown}"
    );
}

#[test]
fn what_is_not_confirmed_in_time_is_taken_back_under_a_living_agent() {
    let mut row = living_by_a_lagg();
    let before = network(&mut row.world);
    row.world.lifeline.hangs = Duration::from_secs(600);
    let said = says(&mut row, &with_ports("[vtnet1, vtnet2]"));
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    assert!(said.message.contains("not confirmed in time"), "{said:?}");
    same(&network(&mut row.world), &before, "");
}

#[test]
fn a_nic_that_the_host_has_come_to_live_by_gets_its_mtu_back_under_guard() {
    let mut row = living_by_a_lagg();
    // A port of another MTU gets the lagg's, and keeps it when it leaves.
    row.world.run("ifconfig vtnet2 mtu 1400");
    let said = says(&mut row, &with_ports("[vtnet1, vtnet2]"));
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
    let mtu = |row: &Row| {
        let shown = row.world.run("ifconfig vtnet2");
        let words: Vec<&str> = shown.split_whitespace().collect();
        let place = words.iter().position(|word| *word == "mtu");
        words[place.expect("an MTU") + 1].to_owned()
    };
    assert_eq!(mtu(&row), "1500");
    let mut world = row.world.fork();
    // The agent is not there when the port leaves and its operator puts it to another use.
    for (world, reason, wanted) in [
        (&mut world, "ControllerUnreachable", "1500"),
        (&mut row.world, "Converged", "1400"),
    ] {
        let wan = {
            let observed = world.observe();
            let mut interfaces = observed.interfaces.iter();
            let wan = interfaces.find(|found| {
                let text = found.description.as_deref();
                text.is_some_and(|text| text.ends_with(" wan"))
            });
            wan.expect("the lagg").name.clone()
        };
        world.run(&format!("ifconfig {wan} -laggport vtnet2"));
        world.run("ifconfig vtnet2 inet 203.0.113.7/24 up");
        let mut view = world.view.clone();
        let lagg = view.host.uplinks.get_mut("wan");
        let lagg = lagg.and_then(|uplink| uplink.lagg.as_mut());
        lagg.expect("the lagg").ports.pop();
        world.take(view);
        if reason == "ControllerUnreachable" {
            world.lifeline.controller = None;
        }
        assert_eq!(ready(world).reason, reason);
        let shown = world.run("ifconfig vtnet2");
        assert!(shown.contains(&format!("mtu {wanted}")), "{shown}");
    }
}

/// What becomes of an agent, its guard and its host.
#[derive(Clone, Copy, Debug)]
struct Fate {
    agent: Option<Moment>,
    guard: Option<Moment>,
    power: bool,
}

/// Ends in the state of before or in the new one; the controller is reached as soon as whoever is to take the change back has.
fn ends_in_one_of_two(from: &World, fate: Fate, to: &HostView, ends: &Ends) {
    let mut world = from.fork();
    world.lifeline.guard_dies = fate.guard;
    world.start(fate.agent);
    world.take(to.clone());
    for _ in 0..20 {
        if world.pass().is_err() || world.is_dead() {
            break;
        }
        world.sleep(1_000);
    }
    if fate.power && world.is_dead() {
        world.lifeline.power_cut();
        world.host.emulator().reboot();
        world.start(None);
        world.converge(ROUNDS_MAX).expect("it comes to rest");
        assert!(!world.lifeline.is_open(), "{fate:?}");
        return;
    }
    // Nobody starts the agent again: what the guard holds must be enough.
    world.lifeline.agent_ended();
    if fate.guard.is_none() {
        assert!(world.lifeline.is_reached(), "{fate:?}");
    }
    if world.is_dead() {
        world.start(None);
    }
    let said = ready(&mut world);
    assert!(!world.lifeline.is_open(), "{fate:?}");
    assert!(world.lifeline.is_reached(), "{fate:?}");
    let now = network(&mut world);
    if said.status == ConditionStatus::True {
        same(&now, &ends.after, &format!("{fate:?}"));
    } else {
        assert_eq!(said.reason, "RolledBack", "{fate:?} {said:?}");
        same(&now, &ends.before, &format!("{fate:?}"));
    }
}

/// The host before a change, and after it where nothing went wrong; and how many effects it had.
struct Ends {
    before: Vec<String>,
    after: Vec<String>,
    effects: usize,
}

fn undisturbed(from: &World, to: &HostView) -> Ends {
    let before = network(&mut from.fork());
    let mut world = from.fork();
    world.start(None);
    world.take(to.clone());
    ready(&mut world);
    Ends {
        before,
        effects: world.effects(),
        after: network(&mut world),
    }
}

#[test]
fn killed_at_every_effect_it_ends_as_before_or_as_declared() {
    let mut row = living_by_a_lagg();
    for ports in ["[vtnet1, vtnet2]", "[vtnet2]"] {
        let to = view(&mut row, &with_ports(ports));
        let ends = undisturbed(&row.world, &to);
        assert!(ends.effects > 4, "{}", ends.effects);
        for number in 0..ends.effects {
            for agent in [Moment::Before(number), Moment::After(number)] {
                for power in [false, true] {
                    let fate = Fate {
                        agent: Some(agent),
                        guard: None,
                        power,
                    };
                    ends_in_one_of_two(&row.world, fate, &to, &ends);
                }
            }
        }
    }
}

fn moment() -> impl Strategy<Value = Option<Moment>> {
    prop_oneof![
        1 => Just(None),
        3 => (0_usize..16).prop_map(|number| Some(Moment::Before(number))),
        3 => (0_usize..16).prop_map(|number| Some(Moment::After(number))),
    ]
}

/// Agent and guard die at any of their effects.
#[test]
fn whoever_dies_when_it_ends_as_before_or_as_declared() {
    let mut row = living_by_a_lagg();
    let changes = ["[vtnet1, vtnet2]", "[vtnet2]"].map(|ports| {
        let to = view(&mut row, &with_ports(ports));
        let ends = undisturbed(&row.world, &to);
        (to, ends)
    });
    let fates = (moment(), moment(), 0..changes.len());
    let mut runner = TestRunner::new(Config::with_cases(96));
    let ran = runner.run(&fates, |(agent, guard, which)| {
        let (to, ends) = &changes[which];
        let fate = Fate {
            agent,
            guard,
            power: false,
        };
        ends_in_one_of_two(&row.world, fate, to, ends);
        Ok(())
    });
    ran.expect("no death matters");
}
