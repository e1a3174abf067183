use super::{parse, validate};
use crate::path::FieldPath;
use crate::violation::Findings;

#[test]
fn limits_are_written_as_rctl_writes_them() {
    for limit in [
        "vmemoryuse:deny=512M",
        "pcpu:deny=50",
        "maxproc:deny=200",
        "memoryuse:sigkill=1g",
        "readbps:throttle=10m",
        "openfiles:deny=1000/process",
    ] {
        assert!(parse(limit).is_ok(), "{limit}");
    }
    for limit in [
        "",
        "vmemoryuse",
        "vmemoryuse:deny",
        "vmemoryuse:deny=",
        "vmemoryuse:deny=x",
        "vmemoryuse:deny=-1",
        "vmemoryuse:deny=1.5g",
        "vmemoryuse:deny=9e",
        "memory:deny=1",
        "vmemoryuse:kill=1",
        "memoryuse:deny=1g",
        "cputime:deny=1",
        "cputime:log=3600",
        "wallclock:devctl=0",
        "pcpu:throttle=5",
        "maxproc:deny=1/jails",
        "jail:www:maxproc:deny=5",
        "maxproc:deny=1\nx",
        "vmemoryuse:deny=99999999999999999999",
    ] {
        assert!(parse(limit).is_err(), "{limit:?}");
    }
}

#[test]
fn the_reason_is_given_for_what_the_kernel_would_take() {
    let refusal = parse("memoryuse:deny=1g").expect_err("it does nothing");
    assert!(refusal.message.contains("does nothing"));
    assert!(refusal.help.contains("vmemoryuse:deny"));
}

#[test]
fn what_outlives_the_jail_is_no_limit_of_it() {
    for limit in ["cputime:sigterm=3600", "wallclock:log=60/process"] {
        let refusal = parse(limit).expect_err("its sum outlives the jail");
        assert!(refusal.message.contains("a restarted jail"), "{limit}");
        assert!(refusal.help.contains("pcpu"));
    }
}

#[test]
fn one_limit_per_resource_and_action() {
    let mut findings = Findings::default();
    let limits = ["pcpu:deny=50", "pcpu:log=40", "pcpu:deny=60"].map(str::to_owned);
    validate(&limits, &FieldPath::new("l"), &mut findings);
    assert_eq!(findings.0.len(), 1);
    assert_eq!(findings.0[0].field, "l[2]");
}

#[test]
fn a_limit_is_known_as_the_kernel_prints_it() {
    let normalised = |limit| super::normalised(limit).expect("it is a limit");
    assert_eq!(
        normalised("vmemoryuse:deny=512M"),
        "vmemoryuse:deny=536870912"
    );
    assert_eq!(normalised("pcpu:deny=50/jail"), "pcpu:deny=50");
    assert_eq!(normalised("maxproc:log=1k/user"), "maxproc:log=1024/user");
    assert_eq!(super::normalised("nosuch:deny=1"), None);
    assert_eq!(super::normalised("shmsize:deny=1m/process"), None);
    assert_eq!(super::normalised("pcpu:deny=9e"), None);
}
