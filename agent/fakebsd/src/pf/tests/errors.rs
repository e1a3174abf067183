//! Messages, and that a text with an error loads nothing.

use super::host::Rig;

const REFUSED: &str = "pfctl: Syntax error in config file: pf rules not loaded\n";

#[track_caller]
fn refused(text: &str, messages: &[&str]) {
    let mut rig = Rig::new();
    rig.load(
        "t",
        "table <kept> persist { 192.0.2.1 }\nblock in quick from <kept>\n",
    );
    let before = rig.pf.fingerprint();
    let output = rig.run(&["-a", "t", "-f", "-"], text);
    let expected: String = messages
        .iter()
        .map(|message| format!("{message}\n"))
        .collect();
    assert_eq!(output.stderr, format!("{expected}{REFUSED}"), "{text}");
    assert_eq!(output.status, 1);
    assert_eq!(
        rig.pf.fingerprint(),
        before,
        "nothing may be loaded: {text}"
    );
}

#[test]
fn syntax_errors_are_said_once_per_stumble() {
    refused("this is not a rule\n", &["stdin:1: syntax error"]);
    // Three tokens must pass before the next one is reported.
    refused(
        "foo bar\nx y\npass pass\npass in all in\n",
        &["stdin:1: syntax error", "stdin:4: syntax error"],
    );
    refused(
        "pass from $nobody\npass\n",
        &[
            "stdin:1: macro 'nobody' not defined",
            "stdin:1: syntax error",
        ],
    );
}

#[test]
fn several_errors_are_all_reported() {
    refused(
        "pass proto tcp to port nosuch\npass to no.such.host\nblock proto quux\n",
        &[
            "stdin:1: unknown port nosuch",
            "no IP address found for no.such.host",
            "stdin:2: could not parse host specification",
            "stdin:3: unknown protocol quux",
        ],
    );
}

#[test]
fn rules_that_contradict_themselves() {
    let skipped = |problem: &str| {
        [
            format!("stdin:1: {problem}"),
            "stdin:1: skipping rule due to errors".to_owned(),
            "stdin:1: rule expands to no valid combination".to_owned(),
        ]
    };
    for (text, problem) in [
        ("pass to port 80\n", "port only applies to tcp/udp/sctp"),
        (
            "pass inet6 proto icmp\n",
            "proto icmp doesn't match address family inet6",
        ),
        (
            "block keep state\n",
            "keep state is great, but only for pass rules",
        ),
        (
            "pass proto tcp rdr-to 192.0.2.1\n",
            "nat-to and rdr-to require a direction",
        ),
        (
            "rdr on lo0 inet to port 80 -> 192.0.2.1\n",
            "dst port only applies to tcp/udp/sctp",
        ),
        (
            "block return-rst proto udp\n",
            "return-rst can only be applied to TCP rules",
        ),
    ] {
        let messages = skipped(problem);
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        refused(text, &messages);
    }
    refused(
        "pass inet to 2001:db8::1\n",
        &["stdin:1: rule expands to no valid combination"],
    );
    refused(
        "pass in inet rdr-to 2001:db8::1\n",
        &["stdin:1: no translation address with matching address family found."],
    );
}

/// `binatrule` of sbin/pfctl/parse.y. What may be left out is taken for left out before the next word is looked at, so that some mistakes are told as a missing target.
#[test]
fn what_binat_may_not_say() {
    for (rule, problem) in [
        (
            "binat on igb0 from any to any -> 203.0.113.2 port",
            "syntax error",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to any",
            "'binat' rule requires '-> address'",
        ),
        (
            "no binat on igb0 inet from 192.0.2.4 to any -> 203.0.113.2",
            "'no binat' rule does not need '->'",
        ),
        (
            "no binat pass on igb0 inet from 192.0.2.4 to any",
            "\"pass\" not valid with \"no\"",
        ),
        (
            "no binat on igb0 proto ipv6-icmp from any to any",
            "address family (inet/inet6) undefined",
        ),
        (
            "binat on igb0 inet from fd00::4 to any -> 203.0.113.2",
            "binat ip versions must match",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to fd00::1 -> 203.0.113.2",
            "binat ip versions must match",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to any -> 2001:db8::2",
            "no translation address with matching address family found.",
        ),
        (
            "binat on igb0 inet from 192.0.2.0/28 to any -> 203.0.113.2",
            "'binat' source mask and redirect mask must be the same",
        ),
        (
            "binat on igb0 inet from { 192.0.2.4, 192.0.2.5 } to any -> 203.0.113.2",
            "multiple binat ip addresses",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 port 80 to any -> 203.0.113.2",
            "'binat' rule requires '-> address'",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to any -> { 203.0.113.2, 203.0.113.3 }",
            "syntax error",
        ),
        (
            "binat on igb0 inet from <t> to any -> 203.0.113.2",
            "invalid use of table <t> as the source address of a binat rule",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to any -> <t>",
            "invalid use of table <t> as the redirect address of a binat rule",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to any label \"x\" -> 203.0.113.2",
            "'binat' rule requires '-> address'",
        ),
        (
            "binat on igb0 inet from 192.0.2.4 to any -> 203.0.113.2 static-port",
            "syntax error",
        ),
    ] {
        refused(&format!("{rule}\n"), &[&format!("stdin:1: {problem}")]);
    }
    let long = "x".repeat(64);
    let rule = format!("binat on igb0 inet from 192.0.2.4 to any tag {long} -> 203.0.113.2\n");
    refused(&rule, &["stdin:1: tag too long, max 63 chars"]);
}

#[test]
fn tables_and_names() {
    refused("table <t> foo\n", &["stdin:1: invalid table option 'foo'"]);
    refused(
        "table <t> { <u> }\n",
        &["stdin:1: tables cannot contain tables"],
    );
    refused(
        "pass from <a-name-that-is-longer-than-31-characters>\n",
        &["stdin:1: table name 'a-name-that-is-longer-than-31-characters' too long"],
    );
    refused(
        "pass on averyveryverylongname0\n",
        &["stdin:1: interface name too long"],
    );
    refused(
        "anchor \"_mine\"\n",
        &["stdin:1: anchor names beginning with '_' are reserved for internal use"],
    );
    refused("pass rtable 9\n", &["stdin:1: invalid rtable id"]);
}

#[test]
fn order_of_sections() {
    let message = "Rules must be in order: options, ethernet, normalization, queueing, translation, filtering";
    refused("pass\nscrub in\n", &[&format!("stdin:2: {message}")]);
    refused(
        "pass\nset limit states 5\n",
        &[&format!("stdin:2: {message}")],
    );
    let mut rig = Rig::new();
    rig.load(
        "",
        "set require-order no\npass\nnat on vtnet0 inet -> 10.0.2.15\n",
    );
    // `set skip` and tables keep to no order.
    rig.load("", "pass\nset skip on lo0\ntable <t> { 192.0.2.1 }\n");
}

#[test]
fn quoted_strings_must_end() {
    let mut rig = Rig::new();
    let output = rig.run(&["-nf", "-"], "block label \"abc\n");
    assert_eq!(output.status, 1);
    assert!(
        output
            .stderr
            .starts_with("stdin:1: reached end of file while parsing quoted string\n"),
        "{}",
        output.stderr
    );
}

#[test]
fn the_command_line() {
    let mut rig = Rig::new();
    assert_eq!(rig.run(&[], "").status, 1);
    assert!(
        rig.run(&["-s", "nonsense"], "")
            .stderr
            .starts_with("pfctl: Unknown show modifier 'nonsense'\nusage: pfctl ")
    );
    assert_eq!(rig.run(&["-d"], "").stderr, "pfctl: pf not enabled\n");
    assert_eq!(rig.run(&["-a", "_x", "-F", "rules"], "").status, 1);
    assert!(
        rig.run(&["-a", "x"], "")
            .stderr
            .starts_with("pfctl: anchors apply to -f, -F, -s, and -T only\n")
    );
    assert_eq!(rig.run(&["-f", "/nowhere"], "").status, 1);
    // Settings in an anchor are read and mean nothing.
    rig.load("t", "set skip on lo0\nset limit states 5\npass\n");
    assert!(!rig.print(&["-vsI"]).contains("skip"));
    assert!(
        rig.print(&["-sm"])
            .contains("states        hard limit   100000\n")
    );
}
