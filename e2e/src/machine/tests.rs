//! What stays by design is passed over, and nothing else.

use super::difference;

fn new(line: &str) -> Vec<String> {
    difference(&[], &[line.to_owned()])
}

#[test]
fn what_the_list_has_is_passed_over() {
    for line in [
        "module if_bridge",
        "module ng_ether",
        "module fdescfs",
        "module linux_common",
        "host fib 1",
        "host pf anchor cellblock",
        "file of the agent ledger.json",
    ] {
        assert!(new(line).is_empty(), "{line}");
    }
}

#[test]
fn what_the_list_does_not_have_is_told() {
    for line in [
        "module ipfw",
        "module if_bridge2",
        "sysctl net.inet.ip.forwarding=1",
        "host pf anchor cellblock/j07",
        "host pf anchor stranger/cellblock",
        "host pf rule cellblock pass all",
        "host pf table cellblock <t> const false persist true",
        "www pf anchor cellblock",
        "file of the agent core",
        "file /var/db/cellblock/jails/www.conf \"\"",
        "www fib 1",
        "host route 1 10.0.2.0/24 link 801 vtnet0",
    ] {
        assert_eq!(new(line), [format!("+ {line}")]);
    }
}

#[test]
fn what_was_there_before_is_missed_even_if_it_may_stay() {
    assert_eq!(
        difference(&["module if_bridge".to_owned()], &[]),
        ["- module if_bridge"]
    );
}
