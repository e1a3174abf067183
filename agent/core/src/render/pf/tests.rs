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
    let [web, alt] = [
        "tcp 203.0.113.1 80 192.0.2.4 0",
        "tcp 203.0.113.1 81 192.0.2.5 80",
    ]
    .map(|ports| digest(&format!("igb0 {ports}")));
    let [ftp, https] =
        ["21", "443"].map(|port| digest(&format!("igb0 tcp 203.0.113.1 {port} 192.0.2.4 0")));
    let expected = format!(
        "nat pass on igb0 inet from 192.0.2.0/28 to any -> 203.0.113.1\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 21 -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 80 -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 443 -> 192.0.2.4\n\
         rdr on igb0 inet proto tcp from any to 203.0.113.1 port 81 -> 192.0.2.5 port 80\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port 21 keep state label \"cellblock:dick-uid\" label \"cellblock:dick-uid:{ftp}\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port 80 keep state label \"cellblock:dick-uid\" label \"cellblock:dick-uid:{web}\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.4 port 443 keep state label \"cellblock:dick-uid\" label \"cellblock:dick-uid:{https}\"\n\
         pass in quick on igb0 inet proto tcp from any to 192.0.2.5 port 80 keep state label \"cellblock:dick-uid\" label \"cellblock:dick-uid:{alt}\"\n\
         pass out quick on cbxbr inet proto tcp from any to 192.0.2.5 port 80 keep state label \"cellblock:dick-uid\" label \"cellblock:dick-uid:{alt}\"\n\
         pass in quick on cbnone0 all no state label \"cellblock:cfg:{}\"\n",
        text.hash
    );
    assert_eq!(text.rules, expected);
    assert!(
        text.hash.ends_with("-5"),
        "one NAT and four ports: {}",
        text.hash
    );
    let labels = [ftp, web, https, alt].map(|hash| format!("cellblock:dick-uid:{hash}"));
    assert_eq!(text.labels, BTreeSet::from(labels));
    assert!(text.labels.iter().all(|label| is_ports_label(label)));
    assert!(!is_ports_label("cellblock:dick-uid"));
    assert!(!is_ports_label(&format!("cellblock:cfg:{}", text.hash)));
    assert_eq!(render(&[], &[]), None);
}

fn digest(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()))[..8].to_owned()
}

#[test]
fn an_anchor_that_loses_ports_keeps_their_labels_and_states_no_hash() {
    let text = AnchorText {
        rules: "rdr a\npass in quick on cbnone0 all no state label \"cellblock:cfg:ab-1\"\n"
            .to_owned(),
        hash: "ab-1".to_owned(),
        labels: BTreeSet::new(),
    };
    let gone = BTreeSet::from(["cellblock:uid:01234567".to_owned()]);
    let label = "pass in quick on cbnone0 all no state label \"cellblock:uid:01234567\"\n";
    assert_eq!(retiring(Some(&text), &gone), format!("rdr a\n{label}"));
    assert_eq!(retiring(None, &gone), label);
}
