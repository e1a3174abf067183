//! What a line becomes, as pfctl prints it back (the words of sbin/pfctl/tests and of the recordings).

use super::host::{Rig, interface};

/// Loads a text into an anchor and prints its rules.
fn loaded(text: &str) -> String {
    let mut rig = Rig::with_anchors();
    rig.host.interfaces.push(interface(
        "igb0",
        9,
        &["198.51.100.7/24", "2001:db8::7/64", "fe80::7/64"],
    ));
    let output = rig.run(&["-a", "t", "-o", "none", "-f", "-"], text);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{text}");
    format!(
        "{}{}",
        rig.print(&["-a", "t", "-sn"]),
        rig.print(&["-a", "t", "-sr"])
    )
}

#[track_caller]
fn becomes(text: &str, expected: &[&str]) {
    let printed = loaded(&format!("{text}\n"));
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed, expected, "{text}");
}

#[test]
fn defaults_of_pass_and_block() {
    becomes("pass", &["pass all flags S/SA keep state"]);
    becomes("block", &["block drop all"]);
    becomes("pass proto udp", &["pass proto udp all keep state"]);
    becomes("pass no state", &["pass all no state"]);
    becomes("pass flags any", &["pass all flags any keep state"]);
    becomes("block return in quick", &["block return in quick all"]);
    becomes(
        "match in scrub (max-mss 1380)",
        &["match in all scrub( max-mss 1380)"],
    );
}

#[test]
fn lists_multiply_in_pfctls_order() {
    becomes(
        "pass in on { igb0, lo0 } proto { tcp, udp } from any to any port { 53, 853 }",
        &[
            "pass in on igb0 proto tcp from any to any port = domain flags S/SA keep state",
            "pass in on igb0 proto tcp from any to any port = domain-s flags S/SA keep state",
            "pass in on igb0 proto udp from any to any port = domain keep state",
            "pass in on igb0 proto udp from any to any port = domain-s keep state",
            "pass in on lo0 proto tcp from any to any port = domain flags S/SA keep state",
            "pass in on lo0 proto tcp from any to any port = domain-s flags S/SA keep state",
            "pass in on lo0 proto udp from any to any port = domain keep state",
            "pass in on lo0 proto udp from any to any port = domain-s keep state",
        ],
    );
}

#[test]
fn families_are_deduced_and_kept_apart() {
    becomes(
        "pass to 192.0.2.1",
        &["pass inet from any to 192.0.2.1 flags S/SA keep state"],
    );
    becomes(
        "pass from { 192.0.2.1, 2001:db8::1 } to { 192.0.2.2, 2001:db8::2 }",
        &[
            "pass inet from 192.0.2.1 to 192.0.2.2 flags S/SA keep state",
            "pass inet6 from 2001:db8::1 to 2001:db8::2 flags S/SA keep state",
        ],
    );
    becomes(
        "pass from 10/8 to ! 192.0.2.77/28",
        &["pass inet from 10.0.0.0/8 to ! 192.0.2.64/28 flags S/SA keep state"],
    );
}

#[test]
fn interfaces_as_addresses() {
    becomes(
        "pass to igb0",
        &[
            "pass inet from any to 198.51.100.7 flags S/SA keep state",
            "pass inet6 from any to 2001:db8::7 flags S/SA keep state",
            "pass on igb0 inet6 from any to fe80::7 flags S/SA keep state",
        ],
    );
    becomes(
        "pass inet to igb0:network",
        &["pass inet from any to 198.51.100.0/24 flags S/SA keep state"],
    );
    becomes(
        "pass to (igb0:network)",
        &["pass from any to (igb0:network) flags S/SA keep state"],
    );
    becomes(
        "block inet from (self)/24",
        &["block drop inet from (self)/24 to any"],
    );
}

#[test]
fn ports_and_ids() {
    becomes(
        "pass proto tcp from any port > 1023 to any port 8000:8080",
        &["pass proto tcp from any port > 1023 to any port 8000:8080 flags S/SA keep state"],
    );
    becomes(
        "block out proto tcp to port { != 25, 1000 >< 2000, 5 <> 9 } user { root, > 1000 }",
        &[
            "block drop out proto tcp from any to any port != smtp user = 0",
            "block drop out proto tcp from any to any port != smtp user > 1000",
            "block drop out proto tcp from any to any port 1000 >< 2000 user = 0",
            "block drop out proto tcp from any to any port 1000 >< 2000 user > 1000",
            "block drop out proto tcp from any to any port 5 <> 9 user = 0",
            "block drop out proto tcp from any to any port 5 <> 9 user > 1000",
        ],
    );
}

#[test]
fn old_translations() {
    becomes(
        "nat on igb0 from 10.0.0.0/24 -> (igb0)",
        &["nat on igb0 inet from 10.0.0.0/24 to any -> (igb0) round-robin"],
    );
    becomes(
        "nat on igb0 inet from <t> -> 198.51.100.7 static-port",
        &["nat on igb0 inet from <t> to any -> 198.51.100.7 static-port"],
    );
    becomes(
        "rdr pass on igb0 proto tcp to port 8000:8010 -> <web> port 9000:*",
        &[
            "rdr pass on igb0 proto tcp from any to any port 8000:8010 -> <web> port 9000:9010 round-robin",
        ],
    );
    becomes(
        "no nat on igb0 from 10.0.0.1",
        &["no nat on igb0 inet from 10.0.0.1 to any"],
    );
    becomes(
        "rdr on igb0 inet proto tcp to igb0:0 port 80 -> { 10.0.0.1, 10.0.0.2 } round-robin sticky-address",
        &[
            "rdr on igb0 inet proto tcp from any to 198.51.100.7 port = http -> { 10.0.0.1, 10.0.0.2 } round-robin sticky-address",
        ],
    );
}

#[test]
fn new_translations() {
    becomes(
        "pass out on igb0 inet from 10.0.0.0/8 nat-to (igb0:0)",
        &["pass out on igb0 inet from 10.0.0.0/8 to any flags S/SA keep state nat-to (igb0:0)"],
    );
    becomes(
        "pass on igb0 inet from 10.0.0.1 binat-to 198.51.100.9",
        &[
            "pass out on igb0 inet from 10.0.0.1 to any flags S/SA keep state nat-to 198.51.100.9 static-port",
            "pass in on igb0 inet from any to 198.51.100.9 flags S/SA keep state rdr-to 10.0.0.1",
        ],
    );
    becomes(
        "pass in inet6 to 64:ff9b::/96 af-to inet from 198.51.100.7",
        &[
            "pass in inet6 from any to 64:ff9b::/96 flags S/SA keep state af-to inet from 198.51.100.7",
        ],
    );
    becomes(
        "pass in on igb0 route-to (lo0 10.0.0.1) from 10.0.0.0/24",
        &[
            "pass in on igb0 route-to (lo0 10.0.0.1) inet from 10.0.0.0/24 to any flags S/SA keep state",
        ],
    );
}

#[test]
fn options_behind() {
    becomes(
        "pass in proto tcp to port 22 flags S/SAFR synproxy state (max 100, source-track rule, max-src-conn 3, overload <bad> flush global) label \"a\" label b tag T",
        &[
            "pass in proto tcp from any to any port = ssh flags S/FSRA synproxy state (max 100, source-track rule, max-src-conn 3, overload <bad> flush global) label \"a\" label \"b\" tag T",
        ],
    );
    becomes(
        "pass inet proto icmp icmp-type { echoreq, unreach code needfrag } allow-opts probability 50%",
        &[
            "pass inet proto icmp all icmp-type echoreq keep state probability 50% allow-opts",
            "pass inet proto icmp all icmp-type unreach code needfrag keep state probability 50% allow-opts",
        ],
    );
    becomes(
        "pass inet6 proto icmp6",
        &["pass inet6 proto ipv6-icmp all keep state"],
    );
    becomes(
        "block log (all, to pflog1) from any os \"Linux\"",
        &["block drop log (all, to pflog1) from any os \"Linux\" to any"],
    );
    becomes(
        "block return-icmp(host-unr) inet label \"$if:$proto:$dstaddr\"",
        &["block return-icmp(host-unr) inet all label \"any:ip:any\""],
    );
}

#[test]
fn macros_and_joined_lines() {
    becomes(
        "web = \"192.0.2.4\"\nports = \"{ 80, 443 }\"\npass proto tcp to $web \\\n  port $ports",
        &[
            "pass inet proto tcp from any to 192.0.2.4 port = http flags S/SA keep state",
            "pass inet proto tcp from any to 192.0.2.4 port = https flags S/SA keep state",
        ],
    );
}

#[test]
fn antispoof_names_the_network_and_the_address() {
    becomes(
        "antispoof quick for igb0 inet",
        &[
            "block drop in quick on ! igb0 inet from 198.51.100.0/24 to any",
            "block drop in quick inet from 198.51.100.7 to any",
        ],
    );
    becomes(
        "antispoof for (igb0)",
        &[
            "block drop in on ! igb0 from (igb0:network) to any",
            "block drop in from (igb0) to any",
        ],
    );
}

#[test]
fn inline_anchors_are_shown_with_their_rules() {
    let mut rig = Rig::new();
    rig.load("", "anchor in on vtnet0 {\n  pass proto tcp\n  anchor \"deep\" {\n    block\n  }\n}\nanchor \"named\" quick {\n pass\n}\n");
    let expected = "anchor in on vtnet0 all {\n  pass proto tcp all flags S/SA keep state\n  anchor \"deep\" all\n}\nanchor \"named\" quick all\n";
    assert_eq!(rig.print(&["-sr"]), expected);
    assert_eq!(rig.print(&["-sA"]), "  named\n");
    assert_eq!(rig.print(&["-v", "-sA"]), "  _1\n  _1/deep\n  named\n");
    assert_eq!(
        rig.print(&["-a", "named", "-sr"]),
        "pass all flags S/SA keep state\n"
    );
}

#[test]
fn a_wildcard_shows_every_anchor_below() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/a", "block\n");
    rig.load("cellblock/b", "pass\n");
    let expected = "anchor \"cellblock/*\" all {\n  anchor \"a\" all {\n    block drop all\n  }\n  anchor \"b\" all {\n    pass all flags S/SA keep state\n  }\n}\n";
    assert_eq!(rig.print(&["-a", "*", "-sr"]), expected);
}

#[test]
fn load_anchor_reads_another_file_in_the_same_transaction() {
    let mut rig = Rig::new();
    rig.host
        .files
        .insert("/etc/more.conf".to_owned(), "block in\n".to_owned());
    rig.load(
        "",
        "anchor \"more\"\nload anchor \"more\" from \"/etc/more.conf\"\n",
    );
    assert_eq!(rig.print(&["-a", "more", "-sr"]), "block drop in all\n");
    rig.host
        .files
        .insert("/etc/more.conf".to_owned(), "nonsense here\n".to_owned());
    let output = rig.run(
        &["-f", "-"],
        "pass\nload anchor \"more\" from \"/etc/more.conf\"\n",
    );
    assert_eq!(output.status, 1);
    assert_eq!(rig.print(&["-sr"]), "anchor \"more\" all\n");
}
