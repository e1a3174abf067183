//! What getent(1) prints (usr.bin/getent/getent.c).

use super::parse;

#[test]
fn numbers_stand_where_each_database_has_them() {
    let root = "root:*:0:0:Charlie &:/root:/bin/sh\n";
    assert_eq!(parse("passwd", root), Some(0));
    assert_eq!(parse("group", "wheel:*:0:root\n"), Some(0));
    assert_eq!(parse("group", "www:*:80:\n"), Some(80));
    assert_eq!(parse("protocols", "gre               47  GRE\n"), Some(47));
    assert_eq!(parse("passwd", ""), None);
    assert_eq!(parse("passwd", "odd"), None);
}
