//! The article's rules, to the letter, their labels too: a label that changes without its rule having changed ends connections when the agent is updated.

use std::collections::BTreeMap;

use super::*;
use crate::isolation::{Apart, Crossing};

#[test]
fn the_article_behind_nat() {
    let dick = Uid("dick-uid".to_owned());
    let port = |first: u16| PortRange { first, last: first };
    let text = render(&AnchorRules {
        nats: vec![NatRule {
            interface: "igb0".to_owned(),
            from: "192.0.2.0/28".parse().expect("a prefix"),
            to: Some("203.0.113.1".parse().expect("an address")),
            static_port: false,
            filtered: false,
        }],
        redirects: vec![
            RedirectRule {
                jail: dick.clone(),
                interface: "igb0".to_owned(),
                public: "203.0.113.1".parse().expect("an address"),
                protocol: Protocol::Tcp,
                ports: vec![port(21), port(80), port(443)],
                target: "192.0.2.4".parse().expect("an address"),
                target_port: None,
                forwarded_by: None,
                pool: None,
            },
            RedirectRule {
                jail: dick,
                interface: "igb0".to_owned(),
                public: "203.0.113.1".parse().expect("an address"),
                protocol: Protocol::Tcp,
                ports: vec![port(81)],
                target: "192.0.2.5".parse().expect("an address"),
                target_port: Some(80),
                forwarded_by: Some("cbxbr".to_owned()),
                pool: None,
            },
        ],
        ..AnchorRules::default()
    })
    .expect("rules");
    let expected = format!(
        "nat pass on igb0 inet from 192.0.2.0/28 to any -> 203.0.113.1\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 21 tag \"cellblock:dick-uid:l4xq4hpafk\" -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 80 tag \"cellblock:dick-uid:pblp7raonf\" -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 443 tag \"cellblock:dick-uid:icbea4vnbu\" -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 81 tag \"cellblock:dick-uid:j2mkx2jam3\" -> 192.0.2.5 port 80\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port 21 tagged \"cellblock:dick-uid:l4xq4hpafk\" keep state label \"cellblock:dick-uid:l4xq4hpafk\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port 80 tagged \"cellblock:dick-uid:pblp7raonf\" keep state label \"cellblock:dick-uid:pblp7raonf\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port 443 tagged \"cellblock:dick-uid:icbea4vnbu\" keep state label \"cellblock:dick-uid:icbea4vnbu\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.5 port 80 tagged \"cellblock:dick-uid:j2mkx2jam3\" keep state label \"cellblock:dick-uid:j2mkx2jam3\"\n\
         pass out quick on cbxbr inet proto tcp from any to 192.0.2.5 port 80 tagged \"cellblock:dick-uid:j2mkx2jam3\" keep state label \"cellblock:dick-uid:j2mkx2jam3\"\n\
         pass in quick on cbnone0 all no state label \"cellblock:cfg:{}\"\n",
        text.hash
    );
    assert_eq!(text.rules, expected);
    assert!(
        text.hash.ends_with("-5"),
        "one NAT and four ports: {}",
        text.hash
    );
    assert_eq!(render(&AnchorRules::default()), None);
}

/// Jails with their addresses on the network and elsewhere.
fn isolation(jails: &[(&str, &[&str], &[&str])], at: Crossing) -> Isolation {
    let parse = |texts: &[&str]| -> BTreeSet<IpAddr> {
        let texts = texts.iter();
        texts
            .map(|text| text.parse().expect("an address"))
            .collect()
    };
    let jails = jails.iter().map(|(uid, here, elsewhere)| {
        let here = parse(here);
        let own = here.union(&parse(elsewhere)).copied().collect();
        (Uid((*uid).to_owned()), Apart { own, here })
    });
    Isolation {
        network: Uid("net".to_owned()),
        jails: jails.collect(),
        at,
        beside: BTreeMap::new(),
    }
}

#[test]
fn jails_with_addresses_of_the_host_that_must_not_reach_each_other() {
    let text = render(&AnchorRules {
        isolation: Some(isolation(
            &[
                ("www", &["127.0.1.3", "fe80::cb:3"], &["203.0.113.3"]),
                ("db", &["127.0.1.4", "fd00:127::4"], &[]),
            ],
            Crossing::Stack {
                loopback: Some("cbxlo".to_owned()),
            },
        )),
        ..AnchorRules::default()
    })
    .expect("rules");
    let set = text.rules.lines().next().expect("a table of www's own");
    let name = &set["table <".len()..][..17];
    let expected = format!(
        "table <{name}> const {{ 127.0.1.3, 203.0.113.3 }}\n\
         table <members> const {{ 127.0.1.3, 127.0.1.4, 203.0.113.3, fd00:127::4, fe80::cb:3 }}\n\
         table <isolated> const {{ 127.0.1.3, 127.0.1.4, fd00:127::4 }}\n\
         table <isolatedlocal> const {{ fe80::cb:3 }}\n\
         match on lo inet from 127.0.1.4 to 127.0.1.4 tag \"cellblock:own\"\n\
         match on lo inet6 from fd00:127::4 to fd00:127::4 tag \"cellblock:own\"\n\
         match on lo inet from <{name}> to 127.0.1.3 tag \"cellblock:own\"\n\
         match on lo inet6 from fe80::cb:3 to fe80::cb:3 tag \"cellblock:own\"\n\
         block drop quick inet from <members> to <isolated> ! tagged \"cellblock:own\"\n\
         block drop quick inet6 from <members> to <isolated> ! tagged \"cellblock:own\"\n\
         block drop quick on lo inet6 from <members> to <isolatedlocal> ! tagged \"cellblock:own\"\n\
         pass in quick on cbnone0 all no state label \"cellblock:cfg:{}\"\n",
        text.hash
    );
    assert_eq!(text.rules, expected);
    assert!(text.hash.ends_with("+11-0"), "{}", text.hash);
}

#[test]
fn the_way_around_private_members_by_the_hosts_own_routing() {
    let text = render(&AnchorRules {
        isolation: Some(isolation(
            &[("www", &["172.16.1.10"], &[])],
            Crossing::Routed {
                interfaces: ["cbxbr", "cbya"].map(str::to_owned).into(),
                subnets: ["172.16.1.0/24".parse().expect("a prefix")].into(),
                gateways: ["172.16.1.1".parse().expect("an address")].into(),
                spanning: false,
            },
        )),
        ..AnchorRules::default()
    })
    .expect("rules");
    let expected = "table <isolated> const { 172.16.1.0/24, !172.16.1.1 }\n\
         block drop in quick on cbxbr from any to <isolated>\n\
         block drop in quick on cbya from any to <isolated>\n";
    assert!(text.rules.starts_with(expected), "{}", text.rules);
    assert!(text.hash.ends_with("+2-0"), "{}", text.hash);
}

#[test]
fn what_isolated_jails_send_by_other_networks() {
    let links = Crossing::Links(["cbxa".to_owned()].into());
    let mut isolation = isolation(&[("www", &["10.40.0.10"], &[])], links);
    let own = ["10.10.0.10", "fd00:10::10"].map(|text| text.parse().expect("an address"));
    isolation.beside = [("cbxbr".to_owned(), own.into())].into();
    let text = render(&AnchorRules {
        isolation: Some(isolation),
        ..AnchorRules::default()
    })
    .expect("rules");
    let expected = "table <isolated> const { 10.40.0.10 }\n\
         block drop in quick on cbxa from any to <isolated>\n\
         block drop in quick on cbxbr inet from 10.10.0.10 to <isolated>\n\
         block drop in quick on cbxbr inet6 from fd00:10::10 to <isolated>\n";
    assert!(text.rules.starts_with(expected), "{}", text.rules);
}

#[test]
fn jails_that_must_not_reach_each_other() {
    let text = render(&AnchorRules {
        isolation: Some(isolation(
            &[
                ("www", &["10.40.0.10", "fd00:40::10"], &[]),
                ("db", &["10.40.0.11"], &[]),
            ],
            Crossing::Links(["cbya", "cbxa"].map(str::to_owned).into()),
        )),
        ..AnchorRules::default()
    })
    .expect("rules");
    let expected = format!(
        "table <isolated> const {{ 10.40.0.10, 10.40.0.11, fd00:40::10 }}\n\
         block drop in quick on cbxa from any to <isolated>\n\
         block drop in quick on cbya from any to <isolated>\n\
         pass in quick on cbnone0 all no state label \"cellblock:cfg:{}\"\n",
        text.hash
    );
    assert_eq!(text.rules, expected);
    assert!(text.hash.ends_with("+3-0"), "{}", text.hash);
}

#[test]
fn ports_that_are_closed_on_a_public_address() {
    let text = render(&AnchorRules {
        blocks: vec![BlockRule {
            interface: "igb0".to_owned(),
            public: "203.0.113.1".parse().expect("an address"),
            protocol: Protocol::Tcp,
            ports: vec![
                PortRange {
                    first: 111,
                    last: 111,
                },
                PortRange {
                    first: 6000,
                    last: 6063,
                },
            ],
        }],
        ..AnchorRules::default()
    })
    .expect("rules");
    let rule = "block drop in quick on igb0 inet proto tcp from any to 203.0.113.1 port 111\n\
                block drop in quick on igb0 inet proto tcp from any to 203.0.113.1 port 6000:6063\n";
    assert!(text.rules.starts_with(rule), "{}", text.rules);
    assert!(text.hash.ends_with("-0"), "{}", text.hash);
}

#[test]
fn shared_ports_lead_to_a_table_and_pass_with_each_jails_own_label() {
    let member = |jail: &str, target: &str, way: Option<&str>, is_guarded: bool| PoolMember {
        redirect: RedirectRule {
            jail: Uid(jail.to_owned()),
            interface: "igb0".to_owned(),
            public: "203.0.113.1".parse().expect("an address"),
            protocol: Protocol::Tcp,
            ports: vec![PortRange {
                first: 443,
                last: 443,
            }],
            target: target.parse().expect("an address"),
            target_port: Some(8443),
            forwarded_by: way.map(str::to_owned),
            pool: Some(Pool {
                name: "web".to_owned(),
                sticky: true,
            }),
        },
        is_guarded,
        is_behind: true,
    };
    let members = vec![
        member("one", "192.0.2.4", None, false),
        member("two", "192.0.2.5", Some("cbxbr"), false),
        member("three", "192.0.2.6", None, true),
    ];
    let text = render(&AnchorRules {
        pools: vec![PoolRule { members }],
        ..AnchorRules::default()
    })
    .expect("rules");
    let lines: Vec<&str> = text.rules.lines().collect();
    let table = lines[0].split(['<', '>']).nth(1).expect("a name");
    assert_eq!(
        lines[0],
        format!("table <{table}> const {{ 192.0.2.4, 192.0.2.5, 192.0.2.6 }}")
    );
    let tag = lines[1].split('"').nth(1).expect("a tag");
    assert!(
        tag.starts_with("cellblock:pool:") && tag.len() < 64,
        "{tag}"
    );
    assert_eq!(
        lines[1],
        format!(
            "rdr on igb0 inet proto tcp from any to 203.0.113.1 port 443 tag \"{tag}\" -> <{table}> port 8443 round-robin sticky-address"
        )
    );
    let passes = [
        ("in", "igb0", "192.0.2.4", "cellblock:one:"),
        ("in", "igb0", "192.0.2.5", "cellblock:two:"),
        ("out", "cbxbr", "192.0.2.5", "cellblock:two:"),
    ];
    for (line, (way, interface, to, label)) in lines[2..].iter().zip(passes) {
        let begins = format!(
            "pass {way} quick on {interface} inet proto tcp from any to {to} port 8443 tagged \"{tag}\" keep state label \"{label}"
        );
        assert!(line.starts_with(&begins), "{line}");
    }
    assert_eq!(
        lines.len(),
        6,
        "the guarded one's pass stands with its firewall"
    );
    assert!(text.hash.ends_with("+3-1"), "{}", text.hash);
}

#[test]
fn a_label_fits_and_is_another_one_wherever_the_rule_is() {
    let rule = RedirectRule {
        jail: Uid("7f7675c7-3acf-4f06-8114-6ad12eb97677".to_owned()),
        interface: "igb0".to_owned(),
        public: "203.0.113.1".parse().expect("an address"),
        protocol: Protocol::Tcp,
        ports: Vec::new(),
        target: "192.0.2.4".parse().expect("an address"),
        target_port: None,
        forwarded_by: None,
        pool: None,
    };
    let port = |first: u16, last: u16| PortRange { first, last };
    let other_target = RedirectRule {
        target: "192.0.2.5".parse().expect("an address"),
        ..rule.clone()
    };
    let elsewhere = RedirectRule {
        target_port: Some(8080),
        ..rule.clone()
    };
    let labels = [
        rule.label(&port(80, 80)),
        rule.label(&port(80, 81)),
        rule.label(&port(81, 81)),
        other_target.label(&port(80, 80)),
        elsewhere.label(&port(80, 80)),
    ];
    for (index, label) in labels.iter().enumerate() {
        assert!(label.len() <= 63, "{label}");
        assert!(!labels[..index].contains(label), "{label}");
    }
}

fn public(public: &str, inside: &str, whole: bool, forwarded_by: Option<&str>) -> PublicRule {
    PublicRule {
        jail: Uid("dick-uid".to_owned()),
        interface: "igb0".to_owned(),
        public: public.parse().expect("an address"),
        inside: inside.parse().expect("an address"),
        whole,
        forwarded_by: forwarded_by.map(str::to_owned),
        within: Vec::new(),
    }
}

#[test]
fn what_a_network_that_spans_hosts_sends_to_itself_keeps_its_source() {
    let within = ["10.40.0.0/22", "10.42.0.0/24", "fd00:40::/64"];
    let within: Vec<_> = within
        .iter()
        .map(|net| net.parse().expect("a prefix"))
        .collect();
    let nat = NatRule {
        interface: "igb0".to_owned(),
        from: "10.40.0.0/22".parse().expect("a prefix"),
        to: Some("203.0.113.1".parse().expect("an address")),
        static_port: false,
        filtered: false,
    };
    let text = render(&AnchorRules {
        within: within.clone(),
        nats: vec![nat],
        backs: vec![public("203.0.113.2", "10.40.0.4", false, Some("cbxa"))],
        ..AnchorRules::default()
    });
    let text = text.expect("rules").rules;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("nat")).collect();
    assert_eq!(
        lines[..5],
        [
            "no nat on igb0 inet from 10.40.0.0/22 to 10.40.0.0/22",
            "no nat on igb0 inet from 10.40.0.0/22 to 10.42.0.0/24",
            "no nat on igb0 inet from 10.42.0.0/24 to 10.40.0.0/22",
            "no nat on igb0 inet from 10.42.0.0/24 to 10.42.0.0/24",
            "no nat on igb0 inet6 from fd00:40::/64 to fd00:40::/64",
        ],
        "{text}"
    );
    assert!(
        lines[5].starts_with("nat on igb0 inet from 10.40.0.4 to any"),
        "{text}"
    );
    assert!(
        lines[6].starts_with("nat pass on igb0 inet from 10.40.0.0/22 to any"),
        "{text}"
    );

    let whole = PublicRule {
        within,
        ..public("203.0.113.2", "10.40.0.4", true, Some("cbxa"))
    };
    let text = render(&AnchorRules {
        publics: vec![whole],
        ..AnchorRules::default()
    });
    let text = text.expect("rules").rules;
    let lines: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(
        lines[0],
        "no binat on igb0 inet from 10.40.0.4 to 10.40.0.0/22"
    );
    assert_eq!(
        lines[1],
        "no binat on igb0 inet from 10.40.0.4 to 10.42.0.0/24"
    );
    assert!(
        lines[2].starts_with("binat on igb0 inet from 10.40.0.4 to any"),
        "{text}"
    );
}

#[test]
fn whole_public_addresses_in_both_families() {
    let text = render(&AnchorRules {
        publics: vec![
            public("203.0.113.2", "192.0.2.4", true, None),
            public("2001:db8::2", "fd00:20::4", true, Some("cbxbr")),
        ],
        ..AnchorRules::default()
    })
    .expect("rules");
    let expected = format!(
        "binat on igb0 inet from 192.0.2.4 to any tag \"cellblock:dick-uid:yhoc5bxxne\" -> 203.0.113.2\n\
         no binat on igb0 inet6 proto ipv6-icmp from any to 2001:db8::2\n\
         binat on igb0 inet6 from fd00:20::4 to any tag \"cellblock:dick-uid:d4v7oyrwtp\" -> 2001:db8::2\n\
         pass in quick on igb0 inet from any to 192.0.2.4 tagged \"cellblock:dick-uid:yhoc5bxxne\" keep state label \"cellblock:dick-uid:xt4xeccyn5\"\n\
         pass out quick on igb0 inet from 203.0.113.2 to any tagged \"cellblock:dick-uid:yhoc5bxxne\" keep state label \"cellblock:dick-uid:yhoc5bxxne\"\n\
         pass in quick on igb0 inet6 from any to fd00:20::4 tagged \"cellblock:dick-uid:d4v7oyrwtp\" keep state label \"cellblock:dick-uid:6ysbsx4hyw\"\n\
         pass out quick on cbxbr inet6 from any to fd00:20::4 tagged \"cellblock:dick-uid:d4v7oyrwtp\" keep state label \"cellblock:dick-uid:6ysbsx4hyw\"\n\
         pass out quick on igb0 inet6 from 2001:db8::2 to any tagged \"cellblock:dick-uid:d4v7oyrwtp\" keep state label \"cellblock:dick-uid:d4v7oyrwtp\"\n\
         pass in quick on cbnone0 all no state label \"cellblock:cfg:{}\"\n",
        text.hash
    );
    assert_eq!(text.rules, expected);
    assert!(
        text.hash.ends_with("-3"),
        "`no binat` is one too: {}",
        text.hash
    );
}

#[test]
fn the_way_out_of_a_jail_with_some_ports_comes_before_its_networks_nat() {
    let rule = public("203.0.113.2", "192.0.2.4", false, None);
    let network = render(&AnchorRules {
        nats: vec![NatRule {
            interface: "igb0".to_owned(),
            from: "192.0.2.0/28".parse().expect("a prefix"),
            to: Some("203.0.113.1".parse().expect("an address")),
            static_port: false,
            filtered: false,
        }],
        backs: vec![rule.clone()],
        ..AnchorRules::default()
    })
    .expect("rules");
    let lines: Vec<&str> = network.rules.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "nat on igb0 inet from 192.0.2.4 to any tag \"cellblock:dick-uid:yhoc5bxxne\" -> 203.0.113.2",
            "nat pass on igb0 inet from 192.0.2.0/28 to any -> 203.0.113.1",
        ]
    );
    assert!(network.hash.ends_with("-2"), "{}", network.hash);
    let own = render(&AnchorRules {
        publics: vec![rule],
        ..AnchorRules::default()
    })
    .expect("rules");
    assert_eq!(
        own.rules.lines().next(),
        Some(
            "pass out quick on igb0 inet from 203.0.113.2 to any tagged \"cellblock:dick-uid:yhoc5bxxne\" keep state label \"cellblock:dick-uid:yhoc5bxxne\""
        )
    );
    assert!(own.hash.ends_with("-0"), "{}", own.hash);
}

#[test]
fn a_public_addresss_labels_are_other_ones_wherever_the_rule_is() {
    let rule = public("203.0.113.2", "192.0.2.4", true, None);
    let ports = PublicRule {
        whole: false,
        ..rule.clone()
    };
    assert_eq!(
        rule.label_out(),
        ports.label_out(),
        "what the jail began lives on"
    );
    let rules = [
        rule.clone(),
        public("203.0.113.3", "192.0.2.4", true, None),
        public("203.0.113.2", "192.0.2.5", true, None),
        PublicRule {
            interface: "igb1".to_owned(),
            ..rule
        },
    ];
    let labels: Vec<String> = rules
        .iter()
        .flat_map(|rule| [rule.label_in(), rule.label_out()])
        .collect();
    for (index, label) in labels.iter().enumerate() {
        assert!(!labels[..index].contains(label), "{label}");
        assert_eq!(jail_of_label(label), Some("dick-uid"));
    }
}

#[test]
fn what_an_uplink_scrubs_is_seen_by_what_leaves_by_nat() {
    let nat = |from: &str, to: &str| NatRule {
        interface: "igb0".to_owned(),
        from: from.parse().expect("a prefix"),
        to: Some(to.parse().expect("an address")),
        static_port: false,
        filtered: true,
    };
    let network = render(&AnchorRules {
        nats: vec![
            nat("192.0.2.0/28", "203.0.113.1"),
            nat("fd00::/64", "2001:db8::1"),
        ],
        ..AnchorRules::default()
    })
    .expect("rules");
    let lines: Vec<&str> = network.rules.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "nat on igb0 inet from 192.0.2.0/28 to any tag \"cellblock:nat\" -> 203.0.113.1",
            "nat on igb0 inet6 from fd00::/64 to any tag \"cellblock:nat\" -> 2001:db8::1",
            "pass out quick on igb0 inet all flags any tagged \"cellblock:nat\" keep state",
            "pass out quick on igb0 inet6 all flags any tagged \"cellblock:nat\" keep state",
        ]
    );
    let scrub = |max_mss, no_df, random_id| {
        let rule = ScrubRule {
            interface: "igb0".to_owned(),
            max_mss,
            no_df,
            random_id,
        };
        let host = AnchorRules {
            scrubs: vec![rule],
            ..AnchorRules::default()
        };
        render(&host).expect("rules").rules
    };
    let all = scrub(Some(1452), true, true);
    assert!(all.starts_with("match on igb0 all scrub (no-df random-id max-mss 1452)\n"));
    assert!(scrub(None, true, false).starts_with("match on igb0 all scrub (no-df)\n"));
}
