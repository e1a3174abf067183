//! The article's rules, to the letter.

use super::*;

#[test]
fn the_article_behind_nat() {
    let dick = Uid("dick-uid".to_owned());
    let port = |first: u16| PortRange { first, last: first };
    let text = render(
        &[NatRule {
            interface: "igb0".to_owned(),
            from: "192.0.2.0/28".parse().expect("a prefix"),
            to: Some("203.0.113.1".parse().expect("an address")),
            static_port: false,
        }],
        &[
            RedirectRule {
                jail: dick.clone(),
                interface: "igb0".to_owned(),
                public: "203.0.113.1".parse().expect("an address"),
                protocol: Protocol::Tcp,
                ports: vec![port(21), port(80), port(443)],
                target: "192.0.2.4".parse().expect("an address"),
                target_port: None,
                forwarded_by: None,
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
            },
        ],
    )
    .expect("rules");
    let expected = format!(
        "nat pass on igb0 inet from 192.0.2.0/28 to any -> 203.0.113.1\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port {{ 21, 80, 443 }} -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 81 -> 192.0.2.5 port 80\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port {{ 21, 80, 443 }} keep state label \"cellblock:dick-uid\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.5 port 80 keep state label \"cellblock:dick-uid\"\n\
         pass out quick on cbxbr inet proto tcp from any to 192.0.2.5 port 80 keep state label \"cellblock:dick-uid\"\n\
         pass in quick on cbnone0 all no state label \"cellblock:cfg:{}\"\n",
        text.hash
    );
    assert_eq!(text.rules, expected);
    assert!(
        text.hash.ends_with("-5"),
        "one NAT and four ports: {}",
        text.hash
    );
    assert_eq!(render(&[], &[]), None);
}
