//! Words, and what an exit status stands for.

use super::*;

#[test]
fn a_command_is_run_under_the_jails_table_and_as_its_user() {
    let argv = ["ls", "-l", "a b"].map(str::to_owned);
    assert_eq!(
        command(3, 0, "", &argv),
        ["/usr/sbin/jexec", "-d", "/", "3", "ls", "-l", "a b"]
    );
    assert_eq!(
        command(3, 2, "www", &argv[..1]),
        [
            "/usr/sbin/setfib",
            "2",
            "/usr/sbin/jexec",
            "-d",
            "/",
            "-l",
            "-U",
            "www",
            "3",
            "ls"
        ]
    );
}

#[test]
fn what_could_not_be_executed_has_the_shells_exit_status() {
    for (said, expected) in [
        (
            "jexec: execvp: nope: No such file or directory\n",
            Some(127),
        ),
        (
            "jexec: execvp: nope: No such file or directory\r\n",
            Some(127),
        ),
        ("jexec: execvp: nope: Permission denied\n", Some(126)),
        ("jexec: execvp: nope: Exec format error\n", Some(126)),
        ("jexec: execvp: other: Permission denied\n", None),
        ("jexec: www: no such user\n", None),
        ("x\njexec: execvp: nope: Permission denied\n", None),
        ("jexec: execvp: nope: Permission denied\nand more\n", None),
        ("", None),
    ] {
        assert_eq!(not_executed("nope", said.as_bytes()), expected, "{said}");
    }
}
