//! Every field of every kind can be explained, and a slip is met with the nearest name.

use super::*;

fn text(path: &str) -> String {
    explain(path, false).expect(path).join("\n")
}

#[test]
fn kinds_and_fields_are_explained_from_the_schema() {
    let jail = text("jail");
    assert!(
        jail.starts_with("KIND:     Jail (cellblock.dev/v1alpha1)"),
        "{jail}"
    );
    assert!(jail.contains("  spec <object>"), "{jail}");
    let networks = text("jail.spec.networks");
    assert!(
        networks.contains("FIELD:    spec.networks <list of object>"),
        "{networks}"
    );
    assert!(
        networks.contains("  network <string> -required-"),
        "{networks}"
    );
    assert_eq!(
        networks.lines().skip(2).collect::<Vec<_>>(),
        text("j.spec.networks[0]")
            .lines()
            .skip(2)
            .collect::<Vec<_>>()
    );
    let protocol = text("jail.spec.publish.protocol");
    assert!(protocol.contains("DEFAULT:  tcp"), "{protocol}");
    assert!(protocol.contains("ONE OF:   tcp, udp"), "{protocol}");
    let parameter = text("jail.spec.parameters.exec.start");
    assert!(
        parameter.contains("<boolean or integer or string or list of string>"),
        "{parameter}"
    );
    let uplink = text("host.spec.uplinks");
    assert!(
        uplink.contains("<map of object>") && uplink.contains("  interface <string>"),
        "{uplink}"
    );
}

#[test]
fn what_recursion_names_can_be_explained() {
    for kind in Kind::ALL {
        let lines = explain(kind.plural(), true).expect("a kind");
        assert!(lines.len() > 20, "{kind}: {lines:?}");
        assert!(
            lines
                .iter()
                .all(|line| line.contains("fieldsV1") || !line.contains("<value>")),
            "{lines:#?}"
        );
    }
}

#[test]
fn a_slip_is_met_with_the_nearest_name() {
    for (path, expected) in [
        ("jial", "did you mean `jails`?"),
        (
            "jail.spec.netwroks",
            "Jail.spec has no field `netwroks`; did you mean `networks`?",
        ),
        (
            "jail.spec.host.x",
            "Jail.spec.host has no field `x`; it has no fields",
        ),
    ] {
        let error = explain(path, false).expect_err(path);
        assert!(error.to_string().contains(expected), "{path}: {error}");
    }
}

#[test]
fn what_entries_of_a_map_have_is_explained_with_and_without_their_names() {
    for path in [
        "host.spec.uplinks.scrub",
        "host.spec.uplinks.external.scrub",
        "host.spec.uplinks[external].scrub",
    ] {
        let told = text(path);
        assert!(told.contains("FIELD:") && told.contains("maxMss"), "{told}");
    }
    assert!(text("host.spec.uplinks.external").contains("publicAddresses"));
    for path in [
        "host.spec.uplinks.scrubb",
        "host.spec.uplinks.x.scrub.maxMs",
    ] {
        let refused = explain(path, false).expect_err("there is no such field");
        assert!(refused.to_string().contains("did you mean"), "{refused}");
    }
    explain("host.spec.uplinks.x.y", false).expect_err("an uplink has no `y`");
}
