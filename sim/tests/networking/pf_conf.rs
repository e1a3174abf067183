//! `spec.pf.anchors: manage`: the block in pf.conf, written and loaded under guard, mended and taken out; the operator's own text, rules, tables and states stay.

use std::time::Duration;

use cellblock_agent_core::ledger::Owned;
use cellblock_agent_core::pf_conf::own;
use cellblock_fakebsd::fault::When;
use cellblock_fakebsd::trace::{Origin, Probe, Verdict};
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::lifeline::Controller;
use cellblock_sim::views::emptied;

use super::safe_changes::{ready, same, says};
use super::{HOST, ROUNDS_MAX, Row, in_jail, jail, manifest, outside};

const EXAMPLE: &str = "n03-managed-pf-conf/managed-pf-conf.yaml";

const PF_CONF: &str = "/etc/pf.conf";

/// An operator's own, without a word of us: a table that is filled at run time, a list that pfctl makes a table of, and NAT of his own.
const OWN: &str = "# mine\next = \"vtnet0\"\ntable <bad> persist\nset skip on lo0\nscrub in all\nnat on $ext from 172.31.0.0/16 to any -> ($ext)\n\
# what is let in\nblock in quick from <bad>\nblock in on $ext proto tcp to port 23\n\
pass in on $ext proto tcp from { 10.9.0.1, 10.9.0.3, 10.9.0.5, 10.9.0.7, 10.9.0.9, 10.9.0.11, 10.9.0.13 } to any port 25\npass\n";

fn controller() -> Controller {
    Controller {
        address: "10.0.2.2".parse().expect("an address"),
        behind: "vtnet0".to_owned(),
    }
}

fn written(world: &World) -> Option<String> {
    world.host.emulator().files.read_text(PF_CONF).ok()
}

fn write(world: &World, text: &str) {
    let mut emulator = world.host.emulator();
    emulator.files.write(PF_CONF, text).expect("a file");
}

/// A host with that pf.conf, loaded; none: without one.
fn host_with(conf: Option<&str>) -> Row {
    let mut row = Row::of(&manifest(EXAMPLE));
    match conf {
        Some(text) => {
            write(&row.world, text);
            row.world.run("pfctl -f /etc/pf.conf");
        }
        None => {
            row.world.run("pfctl -f /dev/null");
            row.world.run("rm /etc/pf.conf");
        }
    }
    row.world.lifeline.controller = Some(controller());
    assert!(row.world.lifeline.is_reached());
    // The tables of the rules before are purged.
    row.before = row.world.fork().settled();
    row
}

fn fine(said: &Condition) {
    assert_eq!(said.status, ConditionStatus::True, "{said:?}");
}

/// What is printed of the main ruleset.
fn main_ruleset(world: &World) -> String {
    ["pfctl -sn", "pfctl -sr"]
        .map(|line| world.run(line))
        .concat()
}

fn refers(world: &World) -> usize {
    main_ruleset(world)
        .matches("anchor \"cellblock/*\" all")
        .count()
}

fn published(row: &Row) -> bool {
    let trace = row.tcp(&outside("vtnet0", "10.0.2.77"), "10.0.2.15", 443);
    matches!(&trace.verdict, Verdict::Reached { by, .. } if by.place == in_jail("www"))
}

/// The Host and all that is on it are gone.
fn take_away(row: &mut Row) {
    row.world.take(emptied(&row.world.view));
    row.world.converge(ROUNDS_MAX).expect("it comes to rest");
}

fn traceless(row: &mut Row) {
    let (after, before) = (row.world.settled(), row.before.clone());
    same(&after, &before, "a trace");
    let ledger = row.world.ledger();
    assert!(ledger.owned.is_empty(), "{:?}", ledger.owned);
}

#[test]
fn the_block_is_written_loaded_and_taken_out() {
    let mut row = host_with(Some(OWN));
    let view = row.fleet.view(HOST).expect("the host");
    // Without the lines nothing of ours has an effect.
    assert!(!published(&row));
    row.world.run("pfctl -t bad -T add 203.0.113.66");
    row.before = row.world.fork().settled();
    row.world.take(view);
    let said = ready(&mut row.world);
    fine(&said);
    let text = written(&row.world).expect("a file");
    let (head, rest) = text.split_once("# cellblock begin").expect("the block");
    let (_, tail) = rest.split_once("# cellblock end\n").expect("its end");
    assert_eq!(format!("{head}{tail}"), OWN);
    assert!(head.ends_with("# what is let in\n"), "{head}");
    assert_eq!(refers(&row.world), 4, "{}", main_ruleset(&row.world));
    assert!(published(&row));
    row.blocked(&outside("vtnet0", "203.0.113.66"), "10.0.2.15", 22);
    let table = row.world.run("pfctl -t bad -T show");
    assert!(table.contains("203.0.113.66"), "{table}");
    // At rest nothing is done.
    let commands = row.world.changing_commands();
    row.world.sleep(60_000);
    fine(&ready(&mut row.world));
    assert_eq!(row.world.changing_commands(), commands);
    take_away(&mut row);
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
    traceless(&mut row);
}

#[test]
fn states_outlive_it() {
    let mut row = host_with(Some(OWN));
    let to = "203.0.113.9".parse().expect("an address");
    let sent = row
        .world
        .host
        .emulator()
        .send(&Probe::tcp(Origin::Host, to, 443));
    assert!(sent.trace.reached(), "{}", sent.trace);
    let before = row.world.run("pfctl -ss");
    assert!(before.contains("203.0.113.9:443"), "{before}");
    let view = row.fleet.view(HOST).expect("the host");
    row.world.take(view);
    fine(&ready(&mut row.world));
    let after = row.world.run("pfctl -ss");
    assert!(after.contains("203.0.113.9:443"), "{after}");
}

#[test]
fn a_host_without_pf_conf_has_one_with_the_block_alone() {
    let mut row = host_with(None);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let text = written(&row.world).expect("a file");
    assert!(text.starts_with("# cellblock begin") && text.ends_with("# cellblock end\n"));
    assert!(published(&row));
    take_away(&mut row);
    assert_eq!(written(&row.world), None);
    traceless(&mut row);
}

#[test]
fn pf_is_loaded_and_enabling_it_stays_the_operators() {
    let mut row = host_with(None);
    row.world.run("pfctl -d");
    row.world.run("kldunload pf");
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    assert!(written(&row.world).is_some());
    let report = row.world.pass().expect("a pass").report;
    let effective = report
        .conditions
        .iter()
        .find(|one| one.kind == "PfEffective");
    let effective = effective.expect("it is told");
    assert!(effective.message.contains("pfctl -e"), "{effective:?}");
    row.world.run("pfctl -e");
    row.rest();
    assert!(published(&row));
}

#[test]
fn what_an_operator_adds_to_a_file_that_we_made_is_his() {
    let mut row = host_with(None);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let text = written(&row.world).expect("a file");
    write(&row.world, &format!("{text}pass\n"));
    row.world.run("pfctl -f /etc/pf.conf");
    fine(&ready(&mut row.world));
    take_away(&mut row);
    assert_eq!(written(&row.world).as_deref(), Some("pass\n"));
    assert_eq!(refers(&row.world), 0);
}

#[test]
fn lines_of_the_operators_own_are_not_doubled() {
    let lines = "rdr-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\npass\n";
    let mut row = host_with(Some(lines));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    assert_eq!(refers(&row.world), 4, "{}", main_ruleset(&row.world));
    let text = written(&row.world).expect("a file");
    assert_eq!(text.matches("\nanchor \"cellblock").count(), 1, "{text}");
    assert!(
        text.starts_with("rdr-anchor \"cellblock/*\"\n# cellblock begin"),
        "{text}"
    );
    // All his own: none of ours.
    let all = format!("nat-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\n{lines}");
    write(&row.world, &all);
    fine(&ready(&mut row.world));
    assert_eq!(written(&row.world).as_deref(), Some(all.as_str()));
    assert!(
        row.world
            .ledger()
            .owned
            .iter()
            .all(|owned| !format!("{owned:?}").starts_with("PfConf"))
    );
    // They may stand in a file that pf.conf includes.
    let mut emulator = row.world.host.emulator();
    emulator.files.write("/etc/pf.more", &all).expect("a file");
    drop(emulator);
    write(&row.world, "include \"/etc/pf.more\"\n");
    fine(&ready(&mut row.world));
    assert_eq!(
        written(&row.world).as_deref(),
        Some("include \"/etc/pf.more\"\n")
    );
    // Where among the rules his lines stand, only his file knows.
    row.world.run("pfctl -F rules");
    refused(&mut row.world, "is not loaded");
    row.world.run("pfctl -f /etc/pf.conf");
    fine(&ready(&mut row.world));
    assert_eq!(refers(&row.world), 4);
}

/// Nothing is changed, and the reason is told.
fn refused(world: &mut World, words: &str) {
    let (text, rules) = (written(world), main_ruleset(world));
    ready(world);
    let commands = world.changing_commands();
    world.sleep(60_000);
    let said = ready(world);
    assert_eq!(said.reason, "PfConfRefused", "{said:?}");
    assert!(said.message.contains(words), "{said:?}");
    assert_eq!((written(world), main_ruleset(world)), (text, rules));
    assert_eq!(world.changing_commands(), commands);
}

#[test]
fn rules_that_somebody_flushed_stay_flushed_and_it_is_told() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    for line in ["pfctl -F all", "pfctl -F rules", "pfctl -F nat"] {
        row.world.run(line);
        assert_ne!(refers(&row.world), 4, "{line}");
        refused(&mut row.world, "service pf reload");
        row.world.run("pfctl -f /etc/pf.conf");
        fine(&ready(&mut row.world));
        assert!(published(&row), "{line}");
    }
    // What has no rules but ours is whole with them.
    let mut row = host_with(None);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    row.world.run("pfctl -F rules");
    fine(&ready(&mut row.world));
    assert_eq!(refers(&row.world), 4);
}

#[test]
fn rules_in_force_that_pf_conf_does_not_say_are_not_touched() {
    for is_there in [false, true] {
        let mut row = host_with(Some(OWN));
        if is_there {
            write(&row.world, "# being written\n");
        } else {
            row.world.run("rm /etc/pf.conf");
        }
        row.world.take(row.fleet.view(HOST).expect("the host"));
        refused(&mut row.world, "service pf reload");
    }
    // He has edited, and not loaded.
    let mut row = host_with(Some(OWN));
    write(&row.world, &OWN.replace("port 23", "port 24"));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    refused(&mut row.world, "service pf reload");
    row.world.run("pfctl -f /etc/pf.conf");
    fine(&ready(&mut row.world));
}

/// What pfctl shows of these is not all there is to them.
#[test]
fn what_is_not_shown_whole_is_not_loaded_again() {
    for rule in [
        "anchor \"ext\" on vtnet0 {\n block in proto tcp to port 99\n}\n",
        "pass in proto tcp to port 99 keep state (tcp.established 60)\n",
    ] {
        let mut row = host_with(Some(&format!("{OWN}{rule}")));
        row.world.take(row.fleet.view(HOST).expect("the host"));
        refused(&mut row.world, "service pf reload");
    }
}

/// Tables with a list are not made what the list says, neither on the way nor on the way back.
#[test]
fn tables_and_settings_stay() {
    let own = OWN.replace("persist", "persist { 192.0.2.66 }");
    for hangs in [false, true] {
        let mut row = host_with(Some(&own));
        row.world.run("pfctl -t bad -T add 203.0.113.66");
        row.world.run("pfctl -t bad -T delete 192.0.2.66");
        if hangs {
            row.world.lifeline.hangs = Duration::from_secs(600);
        }
        let automatic = main_ruleset(&row.world);
        row.world.take(row.fleet.view(HOST).expect("the host"));
        let said = ready(&mut row.world);
        assert_eq!(said.reason == "RolledBack", hangs, "{said:?}");
        let table = row.world.run("pfctl -t bad -T show");
        assert_eq!(table.trim(), "203.0.113.66");
        let without: String = main_ruleset(&row.world)
            .split_inclusive('\n')
            .filter(|line| !line.contains("cellblock/"))
            .collect();
        assert_eq!(without, automatic);
        let mail = row.tcp(&outside("vtnet0", "10.9.0.7"), "10.0.2.15", 25);
        assert!(!matches!(mail.verdict, Verdict::Blocked { .. }), "{mail}");
    }
}

/// As rc.d/pf reads it.
#[test]
fn rc_conf_may_say_what_is_not_managed() {
    for (path, line, words) in [
        ("/etc/rc.conf.d/pf", "pf_flags=\"-D a=b\"", "pf_flags"),
        (
            "/etc/rc.conf",
            "pf_program=/usr/local/sbin/pfctl",
            "pf_program",
        ),
        ("/etc/rc.conf", "if", "Syntax error"),
    ] {
        let mut row = host_with(Some(OWN));
        row.world.run("mkdir -p /etc/rc.conf.d");
        let mut emulator = row.world.host.emulator();
        emulator.files.write(path, line).expect("a file");
        drop(emulator);
        row.world.take(row.fleet.view(HOST).expect("the host"));
        let said = ready(&mut row.world);
        assert_eq!(said.reason, "PfConfUnusable", "{said:?}");
        assert!(said.message.contains(words), "{said:?}");
        assert_eq!(written(&row.world).as_deref(), Some(OWN));
    }
}

#[test]
fn another_file_of_rc_conf_waits_for_the_former() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let block = written(&row.world).expect("a file");
    let mut emulator = row.world.host.emulator();
    let files = &mut emulator.files;
    files
        .create_directories("/etc/rc.conf.d")
        .expect("a folder");
    files
        .write("/etc/rc.conf.d/pf", "pf_rules=/etc/pf.mine # mine\n")
        .expect("a file");
    files.write("/etc/pf.mine", OWN).expect("a file");
    drop(emulator);
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "PfConfUnusable", "{said:?}");
    assert!(said.message.contains("/etc/pf.conf"), "{said:?}");
    assert_eq!(row.world.run("cat /etc/pf.mine"), OWN);
    assert_eq!(written(&row.world), Some(block));
    write(&row.world, OWN);
    fine(&ready(&mut row.world));
    assert!(
        row.world
            .run("cat /etc/pf.mine")
            .contains("cellblock begin")
    );
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
}

#[test]
fn what_is_being_written_is_left_alone() {
    let mut row = host_with(Some(OWN));
    let mut emulator = row.world.host.emulator();
    let now = emulator.kernel.now;
    emulator.files.touch(PF_CONF, now);
    drop(emulator);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    let said = row.world.pass().expect("a pass").report;
    let said = said.conditions.iter().find(|one| one.kind == "Ready");
    assert!(
        said.expect("it is told").message.contains("30 s"),
        "{said:?}"
    );
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
    row.world.sleep(60_000);
    fine(&ready(&mut row.world));
}

/// What a write that did not come to its end has left goes, and nothing is loaded for it.
#[test]
fn litter_goes_without_a_load() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let mut emulator = row.world.host.emulator();
    emulator
        .files
        .write("/etc/.pf.conf.cellblock", "half")
        .expect("a file");
    drop(emulator);
    row.world.lifeline.controller = None;
    let rules = main_ruleset(&row.world);
    fine(&ready(&mut row.world));
    assert!(!row.world.run("ls -a /etc").contains(".cellblock"));
    assert_eq!(main_ruleset(&row.world), rules);
}

#[test]
fn where_root_may_not_load_rules_it_is_told() {
    for level in [2, 3] {
        let mut row = host_with(Some(OWN));
        row.world.run(&format!("sysctl kern.securelevel={level}"));
        row.world.take(row.fleet.view(HOST).expect("the host"));
        let said = ready(&mut row.world);
        assert!(said.message.contains("kern.securelevel"), "{said:?}");
        assert_eq!(written(&row.world).as_deref(), Some(OWN));
    }
}

#[test]
fn where_root_may_not_read_rules_the_block_stays_and_is_known() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let text = written(&row.world);
    row.world.run("sysctl kern.securelevel=3");
    let said = ready(&mut row.world);
    assert!(said.message.contains("kern.securelevel"), "{said:?}");
    assert_eq!(written(&row.world), text);
    let mut known = row.world.ledger().owned.iter();
    assert!(known.any(|one| matches!(one, Owned::PfConf { .. })));
}

#[test]
fn a_pf_conf_with_a_mistake_is_told_and_not_loaded() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let text = written(&row.world).expect("a file");
    let wrong = text.replace("block in quick", "blok in quick");
    write(&row.world, &wrong);
    row.world.run("pfctl -F rules");
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "PfConfRefused", "{said:?}");
    assert!(said.message.contains("syntax error"), "{said:?}");
    assert_eq!(written(&row.world), Some(wrong));
    assert_eq!(row.world.run("pfctl -sr"), "");
    write(&row.world, &text);
    row.world.run("pfctl -f /etc/pf.conf");
    fine(&ready(&mut row.world));
    assert_eq!(refers(&row.world), 4);
}

#[test]
fn what_cannot_be_managed_is_told() {
    for (line, words) in [
        ("ln -s /etc/pf.conf.mine /etc/pf.conf", "symbolic link"),
        ("mkdir /etc/pf.conf", "regular file"),
    ] {
        let mut row = host_with(None);
        let mut emulator = row.world.host.emulator();
        emulator
            .files
            .write("/etc/pf.conf.mine", OWN)
            .expect("a file");
        drop(emulator);
        row.world.run(line);
        row.world.take(row.fleet.view(HOST).expect("the host"));
        let said = ready(&mut row.world);
        assert_eq!(said.reason, "PfConfUnusable", "{said:?}");
        assert!(said.message.contains(words), "{said:?}");
        let mut emulator = row.world.host.emulator();
        assert_eq!(
            emulator.files.read_text("/etc/pf.conf.mine").as_deref(),
            Ok(OWN)
        );
        drop(std::mem::take(&mut emulator.log));
    }
    let mut row = host_with(Some("pass\n"));
    write(&row.world, "# cellblock end\npass\n");
    row.world.take(row.fleet.view(HOST).expect("the host"));
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "PfConfUnusable", "{said:?}");
    assert!(said.message.contains("take out what is left"), "{said:?}");
    // rc.conf names another file.
    let mut row = host_with(Some(OWN));
    let mut emulator = row.world.host.emulator();
    emulator
        .files
        .write("/etc/rc.conf", "pf_rules=\"/etc/pf.mine\"\n")
        .expect("a file");
    emulator
        .files
        .write("/etc/pf.mine", "pass\n")
        .expect("a file");
    drop(emulator);
    row.world.run("pfctl -f /etc/pf.mine");
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
    let mine = row.world.run("cat /etc/pf.mine");
    assert!(mine.contains("cellblock begin"), "{mine}");
}

#[test]
fn the_block_stays_while_rules_need_it() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let text = written(&row.world).expect("a file");
    let expect = manifest(EXAMPLE).replace("anchors: manage", "anchors: expect");
    let said = says(&mut row, &expect);
    assert_eq!(said.reason, "PfConfNeeded", "{said:?}");
    assert_eq!(written(&row.world).as_ref(), Some(&text));
    assert!(published(&row));
    // Once the lines are the operator's own, or nothing needs them, it goes.
    let lines = "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\n";
    let mut other = row.world.fork();
    let own = OWN.replace("# what is let in\n", lines);
    write(&other, &text.replace("# what is let in\n", lines));
    fine(&ready(&mut other));
    assert_eq!(written(&other), Some(own));
    assert_eq!(refers(&other), 4);
    take_away(&mut row);
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
    traceless(&mut row);
}

#[test]
fn without_a_controller_it_does_not_begin() {
    let mut row = host_with(Some(OWN));
    row.world.lifeline.controller = None;
    row.world.take(row.fleet.view(HOST).expect("the host"));
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
    row.world.lifeline.controller = Some(controller());
    row.world.sleep(60_000);
    fine(&ready(&mut row.world));
}

/// What of the host it is about, and of the anchors what refers to them.
fn conf_and_rules(world: &mut World) -> Vec<String> {
    let mut lines: Vec<String> = written(world).into_iter().collect();
    lines.push(main_ruleset(world));
    lines.push(
        world
            .run("pfctl -vsI")
            .lines()
            .filter(|line| line.contains("skip"))
            .collect(),
    );
    lines.push(world.run("ls -a /etc"));
    lines
}

/// Rules of somebody's below our name, which cut the host off once anything refers to them.
fn with_a_trap() -> Row {
    let row = host_with(Some(OWN));
    let mut emulator = row.world.host.emulator();
    emulator
        .files
        .write("/etc/pf.trap", "block quick all\n")
        .expect("a file");
    drop(emulator);
    row.world.run("pfctl -a cellblock/trap -f /etc/pf.trap");
    row
}

#[test]
fn what_cuts_the_host_off_is_taken_back_and_not_tried_again() {
    let mut row = with_a_trap();
    let before = conf_and_rules(&mut row.world);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    assert!(row.world.lifeline.is_reached());
    let now: Vec<String> = conf_and_rules(&mut row.world);
    assert_eq!(now, before);
    // Those whom the list was about are let in as before.
    let mail = row.tcp(&outside("vtnet0", "10.9.0.7"), "10.0.2.15", 25);
    assert!(!matches!(mail.verdict, Verdict::Blocked { .. }), "{mail}");
    let commands = row.world.changing_commands();
    row.world.sleep(3_600_000);
    row.world.start(None);
    assert_eq!(ready(&mut row.world).reason, "RolledBack");
    assert_eq!(row.world.changing_commands(), commands);
    // Another text is another matter.
    row.world.run("pfctl -a cellblock/trap -F rules");
    write(&row.world, &format!("# mended\n{OWN}"));
    fine(&ready(&mut row.world));
    assert!(row.world.ledger().rolled_back.is_empty());
}

#[test]
fn what_is_not_confirmed_in_time_is_taken_back() {
    let mut row = host_with(Some(OWN));
    let before = conf_and_rules(&mut row.world);
    row.world.lifeline.hangs = Duration::from_secs(600);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    let said = ready(&mut row.world);
    assert_eq!(said.reason, "RolledBack", "{said:?}");
    assert_eq!(written(&row.world).as_deref(), Some(OWN));
    assert_eq!(conf_and_rules(&mut row.world), before);
    assert_eq!(refers(&row.world), 0);
}

#[test]
fn an_edit_of_the_operators_meanwhile_is_his() {
    let mut row = host_with(Some(OWN));
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    let text = written(&row.world).expect("a file");
    // He edits within and outside of the block; what is within is ours.
    let edited = text
        .replace("binat-anchor", "#binat-anchor")
        .replace("port 23", "port 24");
    write(&row.world, &edited);
    fine(&ready(&mut row.world));
    assert_eq!(
        written(&row.world),
        Some(text.replace("port 23", "port 24"))
    );
    row.world.run("pfctl -f /etc/pf.conf");
    take_away(&mut row);
    assert_eq!(written(&row.world), Some(OWN.replace("port 23", "port 24")));
}

/// A disk that takes no file is no reason to leave the host cut off.
#[test]
fn rules_go_back_though_the_file_cannot() {
    let mut row = with_a_trap();
    let rules = main_ruleset(&row.world);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    row.world.start(Some(Moment::After(0)));
    let effects = {
        let mut calm = row.world.fork();
        calm.start(None);
        ready(&mut calm);
        calm.effects()
    };
    let mut seen = 0;
    for number in 0..effects {
        let mut world = row.world.fork();
        world.start(Some(Moment::After(number)));
        for _ in 0..20 {
            if world.pass().is_err() || world.is_dead() {
                break;
            }
            world.sleep(1_000);
        }
        if refers(&world) == 0 || !world.is_dead() {
            continue;
        }
        seen += 1;
        let mut emulator = world.host.emulator();
        emulator.files.set_immutable(PF_CONF, true);
        drop(emulator);
        world.start(None);
        let error = world.pass().expect_err("nothing else is done");
        assert!(format!("{error:?}").contains("NotTakenBack"), "{error:?}");
        assert!(world.lifeline.is_reached(), "{number}");
        assert_eq!(main_ruleset(&world), rules);
        let mut emulator = world.host.emulator();
        emulator.files.set_immutable(PF_CONF, false);
        drop(emulator);
        assert_eq!(ready(&mut world).reason, "RolledBack");
        assert_eq!(written(&world).as_deref(), Some(OWN));
    }
    assert!(seen > 0);
}

/// What the operator has written and loaded while agent and guard were dead is his.
#[test]
fn nothing_stale_is_loaded_over_the_operators() {
    let row = host_with(Some(OWN));
    let view = row.fleet.view(HOST).expect("the host");
    let effects = {
        let mut calm = row.world.fork();
        calm.start(None);
        calm.take(view.clone());
        ready(&mut calm);
        calm.effects()
    };
    let his = OWN.replace("port 23", "port 2323");
    for number in 0..effects {
        let mut world = row.world.fork();
        world.start(Some(Moment::After(number)));
        world.take(view.clone());
        for _ in 0..20 {
            if world.pass().is_err() || world.is_dead() {
                break;
            }
            world.sleep(1_000);
        }
        write(&world, &his);
        world.run("pfctl -f /etc/pf.conf");
        let rules = world.run("pfctl -sr");
        world.lifeline.controller = None;
        world.start(None);
        ready(&mut world);
        assert_eq!(written(&world).as_ref(), Some(&his), "{number}");
        assert_eq!(world.run("pfctl -sr"), rules, "{number}");
    }
}

/// The load of the main ruleset.
const LOAD: &str = "pfctl -N -R -o none -f -";

/// Beside which commands of the first pass the operator writes or loads, and whether before them.
const MOMENTS: [(&str, When); 6] = [
    ("pfctl -n -v -N -R", When::Before),
    ("pfctl -n -v -N -R", When::After),
    ("pfctl -n -f -", When::Before),
    ("pfctl -n -f -", When::After),
    ("pfctl -n -v -f -", When::After),
    ("sysrc -s pf", When::After),
];

/// What he writes or loads while his text is checked stays, whatever is met; the block comes beside it later.
#[test]
fn what_the_operator_does_during_the_checks_is_his() {
    let row = host_with(Some(OWN));
    let view = row.fleet.view(HOST).expect("the host");
    let his = OWN.replace("port 23", "port 2323");
    let saves = "cp /tmp/his.conf /etc/pf.conf";
    let loads = "pfctl -f /tmp/his.conf";
    let mut moments: Vec<(&str, When, usize)> = MOMENTS
        .into_iter()
        .map(|(beside, when)| (beside, when, 0))
        .collect();
    // And after each look at the rules up to the load, but for the last: behind that one the kernel has nothing to compare with.
    let looks = {
        let mut calm = row.world.fork();
        let earlier = calm.host.emulator().log.len();
        calm.take(view.clone());
        fine(&ready(&mut calm));
        let emulator = calm.host.emulator();
        let lines = emulator.log[earlier..].iter().map(|run| run.argv.join(" "));
        let before = lines.take_while(|line| line != LOAD);
        before.filter(|line| line == "pfctl -sr").count()
    };
    assert!(looks >= 4, "{looks}");
    moments.extend((0..looks - 1).map(|number| ("pfctl -sr", When::After, number)));
    for (beside, when, skipped) in moments {
        for did in [&[saves][..], &[loads][..], &[saves, loads][..]] {
            let mut world = row.world.fork();
            let mut emulator = world.host.emulator();
            emulator.files.write("/tmp/his.conf", &his).expect("a file");
            for _ in 0..skipped {
                emulator.meet_next(beside, when, &[]);
            }
            emulator.meet_next(beside, when, did);
            drop(emulator);
            world.take(view.clone());
            for _ in 0..6 {
                world.pass().expect("a pass");
                world.sleep(1_000);
            }
            let case = format!("{did:?} {when:?} {beside} {skipped}");
            assert!(world.host.emulator().faults.is_empty(), "{case} was met");
            let text = written(&world).expect("a file");
            let saved = if did.contains(&saves) { &his } else { OWN };
            assert_eq!(own(&text).as_deref(), Ok(saved), "{case}");
            let rules = world.run("pfctl -sr");
            let is_his = rules.contains("port = 2323");
            assert_eq!(is_his, did.contains(&loads), "{case}: {rules}");
        }
    }
}

/// A load that lost its ticket lost it to somebody, whose rules are in force by then.
#[test]
fn a_retry_loads_nothing_over_what_somebody_has_just_loaded() {
    for is_loaded in [false, true] {
        let mut row = host_with(Some(OWN));
        let his = OWN.replace("port 23", "port 2323");
        let mut emulator = row.world.host.emulator();
        emulator.files.write("/tmp/his.conf", &his).expect("a file");
        emulator.fail_next(LOAD, 1, "pfctl: DIOCXCOMMIT: Device busy\n");
        if is_loaded {
            emulator.meet_next(LOAD, When::After, &["pfctl -f /tmp/his.conf"]);
        }
        drop(emulator);
        row.world.take(row.fleet.view(HOST).expect("the host"));
        let said = ready(&mut row.world);
        let rules = row.world.run("pfctl -sr");
        if is_loaded {
            assert!(rules.contains("port = 2323"), "{rules}");
            assert_eq!(refers(&row.world), 0);
            assert_eq!(written(&row.world).as_deref(), Some(OWN));
            assert_eq!(said.reason, "PfConfRefused", "{said:?}");
            let ledger = row.world.ledger();
            assert!(
                !ledger
                    .owned
                    .iter()
                    .any(|owned| matches!(owned, Owned::PfConf { .. }))
            );
        } else {
            fine(&said);
        }
    }
}

/// Killed at every effect while it is made and while it is taken away, with power or without, it comes to the same end, and to what was there before.
#[test]
fn killed_at_every_effect_it_comes_to_the_same_end() {
    for (conf, is_trap) in [(Some(OWN), false), (None, false), (Some(OWN), true)] {
        let row = if is_trap {
            with_a_trap()
        } else {
            host_with(conf)
        };
        let view = row.fleet.view(HOST).expect("the host");
        let gone = emptied(&view);
        dies_everywhere(&row, &view, is_trap);
        let mut up = row;
        if is_trap {
            continue;
        }
        up.world.take(view);
        fine(&ready(&mut up.world));
        dies_everywhere(&up, &gone, false);
    }
}

fn dies_everywhere(row: &Row, to: &HostView, is_trap: bool) {
    let mut calm = row.world.fork();
    calm.start(None);
    calm.take(to.clone());
    ready(&mut calm);
    let (effects, text) = (calm.effects(), written(&calm));
    assert!(effects > 5, "{effects}");
    for number in 0..effects {
        for moment in [
            Moment::Before(number),
            Moment::Within(number),
            Moment::After(number),
        ] {
            for power in [false, true] {
                let mut world = row.world.fork();
                world.start(Some(moment));
                world.take(to.clone());
                for _ in 0..20 {
                    if world.pass().is_err() || world.is_dead() {
                        break;
                    }
                    world.sleep(1_000);
                }
                let what = format!("{moment:?} {power}");
                if power && world.is_dead() {
                    world.lifeline.power_cut();
                    world.host.emulator().reboot();
                    for line in ["kldload -n pf", "pfctl -e"] {
                        world.run(line);
                    }
                    // As rc.d/pf does.
                    let loads = world.host.emulator().sh("pfctl -f /etc/pf.conf");
                    assert!(loads.status == 0 || written(&world).is_none(), "{what}");
                }
                world.start(None);
                let mut said = ready(&mut world);
                assert!(!world.lifeline.is_open(), "{what}");
                if said.reason == "RolledBack" && !is_trap {
                    // Its operator has read why.
                    let mut paused = world.view.clone();
                    paused.host.paused = true;
                    world.take(paused);
                    ready(&mut world);
                    world.take(to.clone());
                    said = ready(&mut world);
                }
                if is_trap && power && said.reason != "RolledBack" {
                    // The trap is gone with the boot.
                    fine(&said);
                    assert_eq!(refers(&world), 4, "{what}");
                    continue;
                }
                if is_trap {
                    assert!(world.lifeline.is_reached(), "{what}");
                } else {
                    fine(&said);
                }
                assert_eq!(written(&world), text, "{what}");
                let litter = world.run("ls -a /etc");
                assert!(!litter.contains(".cellblock"), "{what}: {litter}");
                assert_eq!(refers(&world), refers(&calm), "{what}");
            }
        }
    }
}

#[test]
fn the_jail_of_the_example_goes_out_by_nat() {
    let mut row = host_with(Some(OWN));
    row.lost(&jail("www"), "203.0.113.9", 80);
    row.world.take(row.fleet.view(HOST).expect("the host"));
    fine(&ready(&mut row.world));
    row.reaches(
        &jail("www"),
        "203.0.113.9",
        80,
        &super::behind("vtnet0"),
        "10.0.2.15",
    );
    row.rest();
    take_away(&mut row);
    traceless(&mut row);
}
