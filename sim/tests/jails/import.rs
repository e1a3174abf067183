//! `examples/jails/j09-import`: what was imported runs, as jail.conf(5) had it.

use super::Row;

#[test]
fn imported_jails_run() {
    let mut row = Row::up("j09-import/import.yaml");
    assert!(row.is_ready("www") && row.is_ready("db"));
    let shown = row.run("jls -j www host.hostname path ip4.addr ip6.addr allow.raw_sockets");
    assert_eq!(
        shown,
        "www.example.org /jails/www 203.0.113.21 2001:db8:113::21 true"
    );
    let shown = row.run("jls -j db host.hostname ip4.addr sysvshm sysvsem allow.sysvipc");
    assert_eq!(shown, "db.example.org 203.0.113.22 new new false");
    let nic = row.run("ifconfig vtnet0");
    assert!(
        nic.contains("inet 203.0.113.22 netmask 0xffffffff"),
        "{nic}"
    );
}
