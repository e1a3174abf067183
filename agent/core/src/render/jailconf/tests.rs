//! What stands in a rendered jail.conf, to the letter.

use std::collections::BTreeMap;

use cellblock_schemas::ids::{Generation, Uid};
use cellblock_schemas::jail::{JailSpec, Mount, ParameterValue};
use cellblock_schemas::view::JailView;

use super::*;

fn jail(parameters: &[(&str, ParameterValue)]) -> JailView {
    JailView {
        name: "www".to_owned(),
        uid: Uid("u-1".to_owned()),
        generation: Generation(1),
        spec: JailSpec {
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            ..JailSpec::default()
        },
        ..JailView::default()
    }
}

fn place<'a>(path: &'a str, console: &'a str) -> Place<'a> {
    Place {
        path,
        console,
        ..Place::default()
    }
}

#[test]
fn shared_ip_jail_has_its_addresses_in_order() {
    let networking = Networking::Shared {
        ip4: vec![
            "192.0.2.3".parse().expect("an address"),
            "203.0.113.10".parse().expect("an address"),
        ],
        ip6: vec!["fd00:20::3".parse().expect("an address")],
        zones: BTreeMap::new(),
        fib: None,
    };
    let conf = render(
        &jail(&[("securelevel", ParameterValue::Number(3))]),
        &place("/jails/www", "/var/db/cellblock/jails/www.console"),
        &networking,
        None,
        Some("c1"),
    );
    assert_eq!(
        conf.text,
        format!(
            "# Jail www of Cellblock (uid u-1). Rewritten whenever it differs from the manifest.\n\"www\" {{\n    meta = \"cellblock=c1:u-1:{}\";\n    path = \"/jails/www\";\n    host.hostname = \"www\";\n    exec.consolelog = \"/var/db/cellblock/jails/www.console\";\n    persist;\n    ip4.addr = \"192.0.2.3\", \"203.0.113.10\";\n    ip6.addr = \"fd00:20::3\";\n    securelevel = 3;\n}}\n",
            conf.digest
        )
    );
}

#[test]
fn nothing_breaks_out_of_a_value() {
    let evil = "x\"; } evil { path = \"/\"; $(id) ${name} \\";
    let conf = render(
        &jail(&[("exec.start", ParameterValue::Text(evil.to_owned()))]),
        &place("/", "/c"),
        &Networking::None,
        None,
        None,
    );
    assert!(
        conf.text.contains(
            "exec.start += \"x\\\"; } evil { path = \\\"/\\\"; \\$(id) \\${name} \\\\\";\n"
        ),
        "{}",
        conf.text
    );
}

#[test]
fn the_digest_knows_nothing_of_the_mark_nor_of_where_the_console_goes() {
    let base = render(
        &jail(&[]),
        &place("/jails/www", "/c"),
        &Networking::None,
        None,
        None,
    );
    assert_eq!(
        base.digest,
        render(
            &jail(&[]),
            &place("/jails/www", "/elsewhere"),
            &Networking::None,
            None,
            Some("c1")
        )
        .digest
    );
    assert_ne!(
        base.digest,
        render(
            &jail(&[]),
            &place("/jails/other", "/c"),
            &Networking::None,
            None,
            None
        )
        .digest
    );
    let mut mounted = jail(&[]);
    mounted.spec.mounts.push(Mount {
        target: "/data".to_owned(),
        fs_type: "nullfs".to_owned(),
        source: Some("/srv/data".to_owned()),
        options: vec!["ro".to_owned()],
    });
    let mounted = render(
        &mounted,
        &place("/jails/www/", "/c"),
        &Networking::None,
        None,
        None,
    );
    assert!(
        mounted
            .text
            .contains("mount += \"/srv/data /jails/www/data nullfs ro 0 0\";"),
        "{}",
        mounted.text
    );
    assert_ne!(base.digest, mounted.digest);
}

#[test]
fn link_local_addresses_have_the_number_of_their_interface() {
    let local: IpAddr = "fe80::cb:3".parse().expect("an address");
    let networking = |index| Networking::Shared {
        ip4: Vec::new(),
        ip6: vec![local, "fd00:20::3".parse().expect("an address")],
        zones: BTreeMap::from([(
            local,
            Zone {
                interface: "cbxlo".to_owned(),
                index: Some(index),
            },
        )]),
        fib: None,
    };
    let render = |index| {
        render(
            &jail(&[]),
            &place("/jails/www", "/console"),
            &networking(index),
            None,
            None,
        )
    };
    let conf = render(0x1f);
    let line = "    ip6.addr = \"fe80:1f::cb:3\", \"fd00:20::3\";\n";
    assert!(conf.text.contains(line), "{}", conf.text);
    assert_eq!(
        conf.digest,
        render(6).digest,
        "after a reboot it is the same jail"
    );
}
