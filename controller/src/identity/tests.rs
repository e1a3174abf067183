//! What certificates say.

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData, SanType};

use super::*;

fn identify<C: AsRef<[u8]>>(secured: bool, certificates: &[C]) -> Caller {
    let caller = Identifier::new(secured, None).identify(certificates, None);
    caller.expect("without tokens there is always somebody")
}

fn certificate(name: &str, groups: &[&str], uris: &[&str]) -> (Vec<u8>, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params
            .distinguished_name
            .push(DnType::OrganizationName, *group);
    }
    let uris = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().expect("letters of ASCII")));
    params.subject_alt_names = uris.collect();
    let key = KeyPair::generate().expect("a key");
    let fingerprint = fingerprint(&key.subject_public_key_info());
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.der().to_vec(), fingerprint)
}

#[test]
fn the_subject_carries_the_role() {
    let (operator, _) = certificate("olga", &[OPERATORS], &[]);
    assert_eq!(
        identify(true, &[operator]),
        Caller::Operator("olga".to_owned())
    );
    for (groups, caller) in [
        (&[METRICS][..], Caller::Scraper("olga".to_owned())),
        (&[METRICS, OPERATORS], Caller::Operator("olga".to_owned())),
    ] {
        let (both, _) = certificate("olga", groups, &[]);
        assert_eq!(identify(true, &[both]), caller);
    }
    let long = format!("{HOST}{}", "a".repeat(63));
    for (name, uris) in [
        ("cellblock:host:a", &[][..]),
        ("x", &["cellblock:host:a"]),
        ("cellblock:host:a", &["cellblock:host:a"]),
    ] {
        let (agent, key) = certificate(name, &[], uris);
        let expected = Caller::Host {
            name: "a".to_owned(),
            key,
        };
        assert_eq!(identify(true, &[agent]), expected);
    }
    let (agent, _) = certificate("x", &[], &[&long]);
    assert!(matches!(identify(true, &[agent]), Caller::Host { name, .. } if name.len() == 63));
}

#[test]
fn what_has_no_role_or_two_is_nobody_and_says_why() {
    for (name, groups, uris, why) in [
        ("controller.example.org", &[][..], &[][..], "gives no role"),
        ("cellblock:host:a", &[OPERATORS], &[], "at once"),
        ("cellblock:host:a", &[METRICS], &[], "at once"),
        (
            "cellblock:host:a",
            &[],
            &["cellblock:host:b"],
            "several hosts (a, b)",
        ),
    ] {
        let (der, _) = certificate(name, groups, uris);
        let (Caller::Nobody(reason) | Caller::Roleless { why: reason, .. }) =
            identify(true, &[der])
        else {
            panic!("{name} has a role");
        };
        assert!(reason.contains(why), "{reason}");
    }
    assert!(matches!(
        identify(true, &[b"no certificate"]),
        Caller::Nobody(_)
    ));
    assert!(matches!(identify::<&[u8]>(true, &[]), Caller::Nobody(_)));
    assert_eq!(identify::<&[u8]>(false, &[]), Caller::Local);
}

#[test]
fn a_certificate_counts_before_a_token_and_a_token_before_the_machine() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let lines =
        format!("right,olga,1,\"{OPERATORS}\"\nplain,tom,2\nscrape,prometheus,3,{METRICS}\n");
    std::fs::write(file.path(), lines).expect("room for it");
    let (agent, key) = certificate("cellblock:host:a", &[], &[]);
    let name = "a".to_owned();
    let agent_of_a = Caller::Host { name, key };
    let olga = Caller::Operator("olga".to_owned());
    let with = |secured: bool, certificates: &[&[u8]], authorization: Option<&[u8]>| {
        let tokens = Tokens::read(file.path()).expect("it is right");
        let identifier = Identifier::new(secured, Some(tokens));
        identifier.identify(certificates, authorization).ok()
    };
    let shown: &[&[u8]] = &[&agent];
    let right: Option<&[u8]> = Some(b"Bearer right");
    for (secured, certificates, authorization, caller) in [
        (true, shown, right, Some(&agent_of_a)),
        (
            true,
            shown,
            Some(b"Bearer wrong".as_slice()),
            Some(&agent_of_a),
        ),
        (true, &[], right, Some(&olga)),
        (true, &[], Some(b"Bearer wrong".as_slice()), None),
        (true, &[], Some(b"Bearer \xff".as_slice()), None),
        (true, &[], Some(b"\xff".as_slice()), None),
        (true, &[], None, None),
        (false, &[], right, Some(&olga)),
        (false, &[], Some(b"Bearer wrong".as_slice()), None),
        (false, &[], Some(b"Bearer \xff".as_slice()), None),
        (false, &[], None, Some(&Caller::Local)),
    ] {
        let found = with(secured, certificates, authorization);
        assert_eq!(found.as_ref(), caller, "{secured} {authorization:?}");
    }
    assert!(matches!(
        with(true, &[], Some(b"Bearer plain")),
        Some(Caller::Roleless { name, .. }) if name == "tom"
    ));
    assert_eq!(
        with(true, &[], Some(b"Bearer scrape")),
        Some(Caller::Scraper("prometheus".to_owned()))
    );
    // Without tokens, nobody is asked for one.
    let identifier = Identifier::new(false, None);
    let found = identifier.identify::<&[u8]>(&[], Some(b"\xff"));
    assert_eq!(found.ok(), Some(Caller::Local));
}
