//! Messages: everything that an operator needs is in one line, whatever a program printed.

use std::io;
use std::time::Duration;

use cellblock_agent_core::host::{HostError, Retry};

use super::{Failure, STDERR_CHARS_MAX, excerpt};
use crate::system::SystemError;

#[test]
fn a_command_error_carries_argv_status_and_stderr() {
    let failure = Failure::Command {
        line: "/usr/sbin/jail -f /x -c www".to_owned(),
        status: 1,
        stderr: excerpt(
            "jail: www: exec /bin/false: No such file or directory\njail: www: /bin/false: failed\n",
        ),
    };
    let error = HostError::from(failure);
    assert_eq!(error.reason, "CommandFailed");
    assert_eq!(error.retry, Retry::After);
    assert_eq!(
        error.message,
        "`/usr/sbin/jail -f /x -c www` ended with exit status 1: jail: www: exec /bin/false: No such file or directory; jail: www: /bin/false: failed"
    );
}

#[test]
fn a_full_disk_is_told_from_other_file_errors() {
    let full = Failure::from(SystemError::File {
        action: "write",
        path: "/x".to_owned(),
        source: io::Error::from(io::ErrorKind::StorageFull),
    });
    assert_eq!(full.reason(), "DiskFull");
    let denied = Failure::from(SystemError::File {
        action: "write",
        path: "/x".to_owned(),
        source: io::Error::from(io::ErrorKind::PermissionDenied),
    });
    let denied = HostError::from(denied);
    assert_eq!(
        (denied.reason, denied.message.as_str()),
        ("FileFailed", "cannot write /x: permission denied")
    );
}

#[test]
fn a_timeout_says_what_was_printed_before() {
    let error = HostError::from(Failure::from(SystemError::TimedOut {
        line: "jail -c www".to_owned(),
        timeout: Duration::from_secs(7),
        stderr: "waiting for the network\n".to_owned(),
    }));
    assert_eq!(
        error.message,
        "`jail -c www` did not end within 7 s and was killed: waiting for the network"
    );
}

#[test]
fn an_excerpt_is_one_bounded_line_without_control_characters() {
    assert_eq!(excerpt(" a\n\n\u{1b}[31mb\u{7}\n"), "a; [31mb");
    assert_eq!(excerpt("\n"), "it said nothing");
    assert_eq!(
        excerpt(&"é".repeat(STDERR_CHARS_MAX + 1)).chars().count(),
        STDERR_CHARS_MAX + 1
    );
    let whole = "é".repeat(STDERR_CHARS_MAX);
    assert_eq!(excerpt(&whole), whole);
}

/// As jail(8) after a hook that wrote 200 KiB to its standard error.
#[test]
fn an_excerpt_keeps_what_was_said_first_and_last() {
    let noise = "a hook that talks too much\n".repeat(8_000);
    let said = excerpt(&format!(
        "/root/noisy: not found\n{noise}jail: www: /root/noisy: failed\n"
    ));
    assert!(said.starts_with("/root/noisy: not found; a hook"), "{said}");
    assert!(said.contains('…'), "{said}");
    assert!(
        said.ends_with("much; jail: www: /root/noisy: failed"),
        "{said}"
    );
}
