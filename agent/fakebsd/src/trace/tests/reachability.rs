//! The table of who reaches whom.

use super::{host, load, run};

#[test]
fn the_table_says_through_what_and_why_not() {
    let mut host = host(
        "ifconfig lo1 create
         ifconfig lo1 inet 192.0.2.3/32 alias
         ifconfig lo1 inet 192.0.2.4/32 alias
         jail -c name=tom persist path=/ ip4.addr=192.0.2.3
         jail -c name=dick persist path=/ ip4.addr=192.0.2.4
         ifconfig bridge create
         ifconfig bridge0 inet 10.9.0.254/24 up
         ifconfig epair create
         ifconfig bridge0 addm epair0a
         ifconfig epair0a up
         jail -c name=www vnet persist path=/
         ifconfig epair0b vnet www
         ifconfig -j www epair0b inet 10.9.0.1/24 up
         ifconfig -j www epair0b inet6 fd00::1/64 no_dad",
    );
    let expected = "\
FROM  TO    IPV4          IPV6
tom   dick  yes: lo1      -
tom   www   no: no route  no: no address
dick  tom   yes: lo1      -
dick  www   no: no route  no: no address
www   tom   no: no route  -
www   dick  no: no route  -
";
    let names = ["tom", "dick", "www"];
    assert_eq!(host.reachability(&names, 80).to_string(), expected);
    run(
        &mut host,
        "route -j www -n add default 10.9.0.254\nkldload -n pf\npfctl -e",
    );
    load(
        &mut host,
        "",
        "pass\nblock in quick on lo1 inet from 192.0.2.4 to 192.0.2.3\n",
    );
    let expected = "\
FROM  TO    IPV4                 IPV6
tom   dick  yes: lo1             -
tom   www   yes: switch bridge0  no: no address
dick  tom   no: blocked          -
dick  www   yes: switch bridge0  no: no address
www   tom   yes: switch bridge0  -
www   dick  yes: switch bridge0  -
";
    assert_eq!(host.reachability(&names, 80).to_string(), expected);
}
