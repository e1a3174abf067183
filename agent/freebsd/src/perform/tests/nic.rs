//! NICs that go into a jail and come back: what is asked before anything is done to one, and what is made again.

use cellblock_agent_core::host::{Host as _, Wanted};
use cellblock_agent_core::nic::NicState;
use cellblock_agent_core::observed::Interface;
use cellblock_agent_core::op::Op;

use super::Bench;

fn look(bench: &Bench) -> cellblock_agent_core::observed::Observed {
    let wanted = Wanted {
        drivers: true,
        ..Wanted::default()
    };
    bench.host.observe(&wanted).expect("it can be observed")
}

fn nic(bench: &Bench) -> NicState {
    let looked = look(bench);
    NicState::of(looked.interface("vtnet3").expect("a card")).expect("a NIC")
}

/// A jail with the card, which was configured before.
fn lent() -> (Bench, NicState, u32) {
    let bench = Bench::new();
    bench.sh("ifconfig vtnet3 description lab mtu 1400 group lab debug");
    bench.sh("ifconfig vtnet3 inet6 -ifdisabled");
    bench.sh("ifconfig vtnet3 up");
    let state = nic(&bench);
    bench.sh("jail -c name=www vnet persist path=/");
    bench.sh("ifconfig vtnet3 vnet www");
    let jid = look(&bench).jail("www").expect("it runs").jid;
    (bench, state, jid)
}

fn take(state: &NicState, jid: u32, from: &str, to: &str) -> Op {
    Op::ReturnNic {
        jail: "www".to_owned(),
        jid,
        nic: state.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn inside(bench: &Bench, jid: u32, state: &NicState) -> Option<Interface> {
    let looked = look(bench);
    let mut interfaces = looked.vnets.get(&jid)?.interfaces.iter();
    interfaces.find(|found| state.is(found)).cloned()
}

#[test]
fn it_comes_back_under_its_name_and_is_made_what_it_was() {
    for name in ["evil0", "-x", "vtnet0"] {
        let (bench, state, jid) = lent();
        bench.sh(&format!("ifconfig -j www vtnet3 name {name}"));
        for line in ["ether 02:00:00:00:00:66", "mtu 900", "monitor", "-debug"] {
            bench.sh(&format!("ifconfig -j www -- {name} {line}"));
        }
        assert_eq!(
            inside(&bench, jid, &state)
                .map(|found| found.name)
                .as_deref(),
            Some(name)
        );
        bench.do_twice(&take(&state, jid, name, "cbnicp"));
        let restore = Op::RestoreNic {
            from: "cbnicp".to_owned(),
            nic: state.clone(),
        };
        bench.perform(&restore).expect("it is made what it was");
        assert_eq!(nic(&bench), state, "{name}");
        bench
            .perform(&Op::RestoreNic {
                from: "vtnet3".to_owned(),
                nic: state.clone(),
            })
            .expect("it is already");
    }
}

#[test]
fn what_only_looks_like_it_is_left_where_it_is() {
    let (bench, state, jid) = lent();
    // Another interface under its name, with its MAC address, and with a description that says it is the card.
    bench.sh("ifconfig -j www vtnet3 name hidden0");
    bench.sh("ifconfig -j www epair create name wire0");
    bench.sh("ifconfig -j www wire0 ether 52:54:00:12:34:59");
    let forged =
        "a\n\tdrivername: vtnet3\nb: flags=8843<UP> metric 0 mtu 1500\n\tdrivername: vtnet3";
    let words = ["ifconfig", "-j", "www", "wire0", "description", forged];
    let words = words.map(str::to_owned);
    bench.emulated.emulator().run(&words, "");
    assert_eq!(
        inside(&bench, jid, &state)
            .map(|found| found.name)
            .as_deref(),
        Some("hidden0")
    );
    let refused = bench.perform(&take(&state, jid, "wire0", "vtnet3"));
    assert!(refused.is_err(), "{refused:?}");
    assert!(!bench.has("wire0") && !bench.has("vtnet3"));
    // A name that the host has is given to nothing that comes back.
    let refused = bench.perform(&take(&state, jid, "hidden0", "vtnet0"));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(look(&bench).interfaces_named("vtnet0").count(), 1);
}

#[test]
fn of_two_with_one_name_none_is_touched() {
    let (bench, state, jid) = lent();
    bench.sh("ifconfig -j www vtnet3 name vtnet0");
    bench.sh(&format!("ifconfig vtnet0 -vnet {jid}"));
    let before = bench.emulated.emulator().fingerprint();
    let refused = bench.perform(&Op::RestoreNic {
        from: "vtnet0".to_owned(),
        nic: state,
    });
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(bench.emulated.emulator().fingerprint(), before);
}

#[test]
fn a_jail_that_is_somebody_elses_by_now_keeps_what_it_has() {
    let (bench, state, jid) = lent();
    let Op::ReturnNic { nic, from, to, .. } = take(&state, jid, "vtnet3", "vtnet3") else {
        unreachable!("it was made so");
    };
    let of_another = Op::ReturnNic {
        jail: "theirs".to_owned(),
        jid,
        nic,
        from,
        to,
    };
    bench
        .perform(&of_another)
        .expect("there is nothing to take back");
    assert!(inside(&bench, jid, &state).is_some());
}
