//! Which hooks the emulated jail(8) is spared.

use super::*;

#[test]
fn only_the_operators_hooks_are_left_out() {
    let text = "# Jail www\nwww {\n    vnet;\n    exec.created += \"/sbin/ifconfig cb1b vnet www\";\n    exec.created += \"/usr/local/bin/ours-too\";\n    exec.clean;\n    exec.start += \"/usr/local/bin/serve\";\n    exec.stop += \"/bin/kill\";\n    exec.fib = 1;\n}\n";
    let kept = without_hooks(text, 1, &BTreeSet::new());
    assert_eq!(
        kept,
        "# Jail www\nwww {\n    vnet;\n    exec.created += \"/sbin/ifconfig cb1b vnet www\";\n    exec.clean;\n    exec.fib = 1;\n}\n"
    );
    let all = without_hooks(text, 0, &BTreeSet::new());
    assert!(all.contains("ours-too"), "{all}");
    assert!(!without_hooks(text, 5, &BTreeSet::new()).contains("exec.created"));
    let brought = BTreeSet::from(["exec.clean".to_owned(), "vnet".to_owned()]);
    let kept = without_hooks(text, 1, &brought);
    assert!(
        !kept.contains("exec.clean") && !kept.contains("vnet;"),
        "{kept}"
    );
}
