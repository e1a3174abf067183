//! Tests of the wrapper scripts, run with a zig that only prints its arguments.

use std::path::Path;
use std::process::Command;

use super::{Need, Toolchain, wrappers};
use crate::run;

#[test]
fn the_wrapper_drops_what_zig_does_not_know_and_keeps_the_rest() {
    let [(name, script), ..] = wrappers(Path::new("/bin/echo"), Path::new("/cache"));
    assert_eq!(name, "cc");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "cc"]).args([
        "-o",
        "a file",
        "-lkvm",
        "-lc",
        "--target=x86_64-unknown-freebsd",
        "-Wl,-O1",
    ]);
    assert_eq!(
        run::output(&mut command).expect("sh is there").trim_end(),
        "cc -target x86_64-freebsd.14.0 -o a file -lc"
    );
}

#[test]
fn debians_compiler_does_not_meet_rustups_environment() {
    let toolchain = Toolchain::Debian {
        tools: "/tools".into(),
        sysroot: "/sysroot".into(),
    };
    let command = toolchain.cargo();
    let removed = |name: &str| {
        command
            .get_envs()
            .any(|(key, value)| key == name && value.is_none())
    };
    assert!(removed("RUSTUP_TOOLCHAIN") && removed("RUSTFLAGS") && removed("CARGO"));
    assert_eq!(command.get_program(), "/usr/bin/cargo");
}

#[test]
fn a_check_does_not_use_up_the_place_of_the_whole_library() {
    assert_ne!(Need::Check.sysroot(), Need::Link.sysroot());
}
