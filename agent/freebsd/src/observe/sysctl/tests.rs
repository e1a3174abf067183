//! The parsers against the recordings, and against values of several lines.

use proptest::prelude::*;

use super::{parse, parse_boot_id, parse_boot_time, parse_jail_parameters};
use crate::observe::recording::stdout;

#[test]
fn several_oids_and_absent_ones() {
    let asked = [
        "net.fibs",
        "net.my_fibnum",
        "net.add_addr_allfibs",
        "net.nosuch",
    ];
    let values = parse(
        &stdout(
            "01-observe",
            "sysctl net.fibs net.my_fibnum net.add_addr_allfibs",
            0,
        ),
        asked,
    );
    assert_eq!(values.len(), 3);
    assert_eq!(values["net.fibs"], "1");
    assert_eq!(values.get("net.nosuch"), None);
}

#[test]
fn a_value_of_several_lines_and_one_with_colons() {
    let text = "kern.version: FreeBSD 15.1\n  built: today\n\nkern.boottime: { sec = 1750000000, usec = 42 } Sun Jun 15 15:06:40 2025\nnet.fibs: 2\n";
    let values = parse(text, ["kern.version", "kern.boottime", "net.fibs"]);
    assert_eq!(values["kern.version"], "FreeBSD 15.1\n  built: today\n");
    assert_eq!(values["net.fibs"], "2");
    assert_eq!(
        parse_boot_time(&values["kern.boottime"]).as_deref(),
        Some("1750000000.42")
    );
    assert_eq!(parse_boot_time("0"), None);
}

#[test]
fn the_parameters_of_jails() {
    let parameters =
        parse_jail_parameters(&stdout("01-observe", "sysctl -N security.jail.param", 0));
    for name in [
        "meta",
        "vnet",
        "allow.raw_sockets",
        "ip4.addr",
        "ip4",
        "jid",
        "host",
    ] {
        assert!(parameters.contains(name), "{name}");
    }
    assert!(parameters.iter().all(|name| !name.ends_with('.')));
}

#[test]
fn the_boot_id() {
    assert_eq!(
        parse_boot_id("kern.boot_id: Format: Length:16 Dump:0x00112233445566778899aabbccddeeff\n")
            .as_deref(),
        Some("00112233445566778899aabbccddeeff")
    );
    assert_eq!(
        parse_boot_id("kern.boot_id: Format: Length:16 Dump:0x\n"),
        None
    );
    assert_eq!(parse_boot_id(""), None);
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in "\\PC*") {
        let _ = (parse(&text, ["a"]), parse_jail_parameters(&text), parse_boot_id(&text), parse_boot_time(&text));
    }
}
