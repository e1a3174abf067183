//! `cellblock-agent console`: an operator at the console of an emulated host.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cellblock_agent::emulated;

fn console(socket: &Path, line: &str, stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cellblock-agent"))
        .args(["console", "--socket"])
        .arg(socket)
        .args(line.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    let mut pipe = child.stdin.take().expect("it was piped");
    pipe.write_all(stdin.as_bytes()).expect("it reads or ends");
    drop(pipe);
    child.wait_with_output().expect("it ends")
}

#[test]
fn commands_run_on_the_emulated_host_and_end_as_they_do_there() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let socket = folder.path().join("emulated.sock");
    let live = emulated::Live::new(emulated::prepared("fbsd-01", 1).expect("a host"));
    let listening = socket.clone();
    std::thread::spawn(move || emulated::serve(&listening, &live));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < deadline, "the host is not served");
        std::thread::yield_now();
    }
    let ok = |line: &str, stdin: &str| {
        let output = console(&socket, line, stdin);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    ok("mkdir -p /jails/www", "");
    ok("jail -c name=www path=/jails/www persist", "");
    assert!(ok("jls", "").contains("/jails/www"));
    ok(
        "pfctl -a theirs -f -",
        "pass in quick proto tcp to port 22\n",
    );
    assert!(ok("pfctl -a theirs -sr", "").contains("port = ssh"));

    let refused = console(&socket, "ifconfig nosuch0", "");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr).trim(),
        "ifconfig: interface nosuch0 does not exist"
    );
    let nobody = console(&folder.path().join("none"), "jls", "");
    assert!(!nobody.status.success() && !nobody.stderr.is_empty());
}
