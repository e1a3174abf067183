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
        (
            "cellblock:host:a",
            &[],
            &["cellblock:host:b"],
            "several hosts (a, b)",
        ),
    ] {
        let (der, _) = certificate(name, groups, uris);
        let Caller::Nobody(reason) = identify(true, &[der]) else {
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
