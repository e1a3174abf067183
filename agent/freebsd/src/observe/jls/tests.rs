//! The parser against the recordings, and against what a jail's root may call its host.

use proptest::prelude::*;

use super::parse;
use crate::observe::recording::stdout;

#[test]
fn no_jails() {
    assert_eq!(
        parse(&stdout("01-observe", "jls --libxo=json", 0)).expect("readable"),
        []
    );
}

#[test]
fn every_parameter_of_a_vnet_jail() {
    let jails = parse(&stdout(
        "02-epair-bridge-vnet",
        "jls -j www --libxo=json -n",
        0,
    ))
    .expect("readable");
    let [www] = jails.as_slice() else {
        panic!("one jail was printed")
    };
    assert_eq!(
        (www.jid, www.name.as_str(), www.dying, www.vnet),
        (1, "www", false, true)
    );
    assert_eq!(
        (www.path.as_str(), www.hostname.as_str()),
        ("/", "www.example.org")
    );
    assert_eq!(www.meta, None);
    assert!(www.ip4.is_empty() && www.ip6.is_empty());
}

#[test]
fn addresses_marks_and_scopes() {
    let text = r#"{"__version": "2", "jail-information": {"jail": [{"dying":true,"jid":"7","meta":"gen=7\ncellblock=c1:u1:abc\n","name":"tom","path":"/","vnet":"inherit", "ip4.addr": ["192.0.2.3","10.0.2.50"], "ip6.addr": ["fe80:9::cb:1","fd00::1"]}]}}"#;
    let jails = parse(text).expect("readable");
    let meta = jails[0].meta.clone().expect("the mark stands in meta");
    assert_eq!(
        (meta.cluster.as_str(), meta.uid.as_str(), meta.hash.as_str()),
        ("c1", "u1", "abc")
    );
    assert!(jails[0].dying && !jails[0].vnet);
    let ip4: Vec<String> = jails[0].ip4.iter().map(ToString::to_string).collect();
    let ip6: Vec<String> = jails[0].ip6.iter().map(ToString::to_string).collect();
    assert_eq!(
        (ip4, ip6),
        (
            vec!["192.0.2.3".to_owned(), "10.0.2.50".to_owned()],
            vec!["fe80::cb:1".to_owned(), "fd00::1".to_owned()]
        )
    );
    let local = "fe80::cb:1".parse().expect("an address");
    assert_eq!(jails[0].zones, [(local, 9)].into());
}

#[test]
fn addresses_as_one_string() {
    let text = r#"{"jail-information": {"jail": [{"jid":3,"name":"a b","ip4.addr":"192.0.2.3,192.0.2.4","ip6.addr":""}]}}"#;
    let jails = parse(text).expect("readable");
    assert_eq!(
        (
            jails[0].name.as_str(),
            jails[0].ip4.len(),
            jails[0].ip6.len()
        ),
        ("a b", 2, 0)
    );
}

#[test]
fn a_host_name_cannot_blind_us_nor_forge_a_mark() {
    let text = "{\"jail-information\": {\"jail\": [{\"jid\":\"3\",\"name\":\"evil\",\"host.hostname\":\"\u{1}x\t\\\"}]}\u{7f}\",\"meta\":\"\"}]}}";
    let jails = parse(text).expect("readable");
    assert_eq!(jails.len(), 1);
    assert_eq!(jails[0].meta, None);
}

#[test]
fn what_is_no_list_of_jails_is_an_error() {
    for text in [
        "",
        "{}",
        "[]",
        "{\"jail-information\": {\"jail\": [3]}}",
        "{\"jail-information\": {\"jail\": [{\"name\":\"x\"}]}}",
    ] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse(&format!("{{\"jail-information\": {{\"jail\": [{{\"jid\":1,\"host.hostname\":{}}}]}}}}", serde_json::Value::String(text)));
    }
}
