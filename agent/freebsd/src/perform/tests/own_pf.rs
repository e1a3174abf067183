//! The pf of a VNET jail's own stack.

use std::time::Duration;

use cellblock_agent_core::host::{Firewalled, Host as _, Wanted};
use cellblock_agent_core::names::ANCHOR_INSIDE;
use cellblock_agent_core::observed::{JailMeta, Observed, ObservedJail, VnetPf};
use cellblock_agent_core::op::Op;

use super::Bench;
use crate::command::Command;
use crate::observe;

const RULES: &str = "block drop in quick on net0 all\npass in quick on cbnone0 all no state label \"cellblock:cfg:0123456789abcdef-0\"\n";

fn bench() -> Bench {
    let bench = Bench::new();
    let made = |path| {
        let files = &mut bench.emulated.emulator().files;
        files.create_directories(path).expect("a directory");
    };
    made("/jails/www/dev");
    for line in [
        "kldload -n pf",
        "devfs rule -s 4 add hide",
        "devfs rule -s 5 add include 4",
        "devfs rule -s 5 add path pf unhide",
        "jail -c name=www vnet persist path=/jails/www mount.devfs devfs_ruleset=5",
    ] {
        bench.sh(line);
    }
    bench
}

fn seen(bench: &Bench) -> VnetPf {
    observe::packet_filter(&bench.emulated, Some("www")).expect("it can be looked at")
}

fn load() -> Op {
    Op::LoadAnchorInVnet {
        jail: "www".to_owned(),
        anchor: ANCHOR_INSIDE.to_owned(),
        rules: RULES.to_owned(),
    }
}

fn raise(refer: bool, enable: bool) -> Op {
    Op::RaiseInVnet {
        jail: "www".to_owned(),
        refer,
        enable,
    }
}

#[test]
fn rules_are_loaded_and_put_in_force_in_that_stack_alone() {
    let bench = bench();
    assert!(seen(&bench).is_bare);
    bench.perform(&load()).expect("they are loaded");
    bench.do_twice(&raise(true, true));
    let found = seen(&bench);
    assert!(found.pf.enabled && !found.is_bare);
    let hash = found.pf.anchors.get(ANCHOR_INSIDE);
    assert_eq!(hash.map(String::as_str), Some("0123456789abcdef-0"));
    assert_eq!(bench.sh("pfctl -sr"), "");
}

#[test]
fn a_main_ruleset_of_the_jails_root_is_not_overwritten() {
    let bench = bench();
    let files = |text| {
        let files = &mut bench.emulated.emulator().files;
        files.write("/jails/www/pf.conf", text).expect("a file");
    };
    files("pass all\n");
    bench.sh("jexec www pfctl -f /pf.conf");
    let error = bench.perform(&raise(true, true)).expect_err("it is his");
    assert_eq!(error.reason, "Changed");
    assert_eq!(
        bench.sh("jexec www pfctl -sr"),
        "pass all flags S/SA keep state\n"
    );
}

#[test]
fn nobody_waits_long_for_what_a_jails_root_can_stop() {
    let words = |inside| Command::pfctl(inside, ["-s", "info"]);
    assert_eq!(words(Some("www")).timeout, Duration::from_secs(5));
    assert!(words(None).timeout > Duration::from_secs(5));
}

#[test]
fn a_look_says_which_rulesets_hide_the_device_and_which_pf_cannot_be_read() {
    let bench = bench();
    let jid = bench.observe().jail("www").expect("it runs").jid;
    let ours = |jid| Firewalled {
        place: Some((jid, "/jails/www".to_owned())),
        ..Firewalled::default()
    };
    let wanted = |jid| Wanted {
        rulesets_of_pf: [4, 5, 77].into(),
        firewalled: [("www".to_owned(), ours(jid))].into(),
        ..Wanted::default()
    };
    let look_for = |jid| bench.host.observe(&wanted(jid)).expect("a look");
    let look = || look_for(jid);
    let observed = look();
    assert_eq!(observed.hides_pf, [4].into());
    for stranger in [0, jid + 1] {
        let vnets = look_for(stranger).vnets;
        assert_eq!(vnets[&jid].pf, None, "nothing is run in a stranger's jail");
    }
    let pf = |observed: &Observed| {
        let pf = observed.vnets.get(&jid).and_then(|vnet| vnet.pf.clone());
        pf.expect("it was asked for")
    };
    assert!(pf(&observed).pf.loaded);
    bench.emulated.emulator().fail_next(
        &format!("cellblock-agent pfctl {jid} -sr"),
        1,
        "pfctl: DIOCGETRULES: Operation not permitted",
    );
    let unread = pf(&look()).unread.expect("it is told");
    assert!(unread.contains("DIOCGETRULES"), "{unread}");
    bench.sh("umount /jails/www/dev");
    let gone = pf(&look());
    assert!(!gone.pf.loaded && gone.unread.is_none());
}

#[test]
fn only_a_jail_that_is_ours_is_looked_into() {
    let ours = Firewalled {
        cluster: "c1".to_owned(),
        uid: "u1".to_owned(),
        place: Some((0, "/jails/www".to_owned())),
    };
    let marked = |text| ObservedJail {
        jid: 3,
        path: "/jails/www".to_owned(),
        meta: JailMeta::parse(text),
        ..ObservedJail::default()
    };
    assert!(ours.is(&marked("c1:u1:0123456789abcdef"), true));
    for stranger in ["c2:u1:0123456789abcdef", "c1:u2:0123456789abcdef", ""] {
        assert!(!ours.is(&marked(stranger), true), "{stranger}");
    }
    // Without `meta` there are announced starts.
    assert!(ours.is(&marked(""), false));
}
