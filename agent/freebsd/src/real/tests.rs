//! The real spawner and the real files, on whatever Unix the tests run on.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::{Real, own_program, visit_by};
use crate::command::{Command, OUTPUT_BYTES_MAX};
use crate::system::{System as _, SystemError};
use crate::visit::Visit;

fn sh(script: &str) -> Command {
    Command {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        stdin: None,
        timeout: Duration::from_secs(60),
        bytes_max: OUTPUT_BYTES_MAX,
        discards_stdout: false,
        stdout_file: None,
        stderr_file: None,
    }
}

#[test]
fn status_and_both_streams_come_back() {
    let output = Real
        .run(&sh("echo out; echo err >&2; exit 3"))
        .expect("sh runs");
    assert_eq!(
        (
            output.status,
            output.stdout.as_str(),
            output.stderr.as_str()
        ),
        (3, "out\n", "err\n")
    );
}

#[test]
fn discarded_output_goes_to_nobody_and_harms_nobody() {
    let command = sh("echo out; echo err >&2; yes | head -c 1000000; exit 3").discard_stdout();
    let output = Real.run(&command).expect("sh runs");
    assert_eq!(
        (
            output.status,
            output.stdout.as_str(),
            output.stderr.as_str()
        ),
        (3, "", "err\n")
    );
}

#[test]
fn the_environment_is_clean_and_words_are_not_expanded() {
    let output = Real.run(&sh("env | sort")).expect("sh runs");
    let names: Vec<&str> = output
        .stdout
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert!(names.contains(&"PATH") && names.contains(&"HOME"));
    assert!(
        names
            .iter()
            .all(|name| ["HOME", "PATH", "PWD", "_", "SHLVL", "OLDPWD"].contains(name)),
        "{names:?}"
    );
    let echo = Command {
        argv: vec!["/bin/echo".to_owned(), "$HOME; *".to_owned()],
        stdin: None,
        timeout: Duration::from_secs(60),
        bytes_max: OUTPUT_BYTES_MAX,
        discards_stdout: false,
        stdout_file: None,
        stderr_file: None,
    };
    assert_eq!(Real.run(&echo).expect("echo runs").stdout, "$HOME; *\n");
}

#[test]
fn stdin_longer_than_a_pipe_is_read_while_output_is_written() {
    let text = "line of text\n".repeat(100_000);
    let output = Real.run(&sh("cat").stdin(text.clone())).expect("cat runs");
    assert_eq!(output.stdout, text);
}

#[test]
fn a_child_that_does_not_read_its_stdin_is_no_error() {
    let output = Real
        .run(&sh("exec <&-; exit 5").stdin("x".repeat(1 << 20)))
        .expect("sh runs");
    assert_eq!(output.status, 5);
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let pid_file = folder.path().join("pid");
    let script = format!(
        "sleep 1000 & echo $! > {}; echo begun >&2; wait",
        pid_file.display()
    );
    let began = Instant::now();
    let error = Real
        .run(&sh(&script).timeout(Duration::from_millis(300)))
        .expect_err("it cannot end in time");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(
        matches!(&error, SystemError::TimedOut { stderr, .. } if stderr == "begun\n"),
        "{error:?}"
    );
    let pid = fs::read_to_string(&pid_file).expect("the child wrote its pid");
    // The kernel has the signal; on a busy machine the process takes a moment to heed it.
    let mut state = String::new();
    while began.elapsed() < Duration::from_secs(30) {
        let alive = Real
            .run(&sh(&format!(
                "kill -0 {} 2>/dev/null && ps -o stat= -p {0}",
                pid.trim()
            )))
            .expect("sh runs");
        state = alive.stdout.trim().to_owned();
        if !alive.is_success() || state.is_empty() || state.starts_with('Z') {
            return;
        }
    }
    panic!("it is alive after 30 s: {state}");
}

#[test]
fn a_daemon_that_keeps_the_output_open_does_not_hold_us() {
    let began = Instant::now();
    let output = Real.run(&sh("sleep 20 & echo started")).expect("sh runs");
    assert_eq!(output.stdout, "started\n");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn endless_output_is_cut_off() {
    let error = Real.run(&sh("while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done | cat; exit 0"));
    // A slow machine may reach the timeout first; either way the command is gone.
    match error {
        Err(SystemError::TooLong {
            bytes_max, began, ..
        }) => {
            assert_eq!(bytes_max, OUTPUT_BYTES_MAX);
            assert!(began.starts_with("0123456789") && began.len() <= 1024);
        }
        Err(SystemError::TimedOut { .. }) => {}
        other => panic!("endless output came to an end: {other:?}"),
    }
}

#[test]
fn a_missing_program_is_an_error_with_its_name() {
    let command = Command {
        argv: vec!["/nonexistent/program".to_owned()],
        stdin: None,
        timeout: Duration::from_secs(1),
        bytes_max: OUTPUT_BYTES_MAX,
        discards_stdout: false,
        stdout_file: None,
        stderr_file: None,
    };
    let error = Real.run(&command).expect_err("there is no such program");
    assert_eq!(error.to_string(), "cannot run `/nonexistent/program`");
}

#[test]
fn a_visit_whose_helper_is_missing_names_the_helper() {
    let visit = Visit {
        argv: vec!["/bin/sh".to_owned()],
        terminal: None,
    };
    let error = visit_by(
        &["/nonexistent/agent".to_owned(), "enter".to_owned()],
        &visit,
    );
    let error = error.err().expect("there is no such program");
    assert_eq!(
        error.to_string(),
        "cannot run `/nonexistent/agent enter /bin/sh`"
    );
}

#[test]
fn a_visit_is_helped_by_the_running_program_wherever_it_is() {
    let own = std::env::current_exe().expect("this test is a program");
    assert_eq!(own_program(), own.to_string_lossy());
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced() {
    let output = Real.run(&sh("printf 'a\\377b'")).expect("sh runs");
    assert_eq!(output.stdout, "a\u{fffd}b");
}

#[test]
fn no_zombies_stay() {
    for _ in 0..20 {
        Real.run(&sh("exit 0")).expect("sh runs");
    }
    let me = std::process::id();
    let children = Real
        .run(&sh(&format!(
            "ps -A -o ppid=,stat= | grep '^ *{me} *Z' | wc -l"
        )))
        .expect("ps runs");
    assert_eq!(children.stdout.trim(), "0");
}

#[test]
fn files_are_written_whole_and_private() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("jails/www.conf");
    let path = path.to_str().expect("the path is UTF-8");
    assert_eq!(Real.read_file(path).expect("readable"), None);
    Real.write_file(path, "one\n").expect("writable");
    Real.write_file(path, "two\n").expect("writable");
    assert_eq!(
        Real.read_file(path).expect("readable").as_deref(),
        Some("two\n")
    );
    assert_eq!(
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let parent = folder.path().join("jails");
    let parent = parent.to_str().expect("the path is UTF-8");
    assert_eq!(
        Real.list_dir(parent).expect("listable"),
        Some(vec!["www.conf".to_owned()])
    );
    let real = |path: &str| Real.real_path(path).expect("it can be looked at");
    assert!(real(parent).is_some());
    assert_eq!(real(path), None, "a file is no directory");
    Real.remove_file(path).expect("removable");
    Real.remove_file(path)
        .expect("removing what is not there is fine");
    assert_eq!(
        Real.list_dir("/nonexistent").expect("absent is no error"),
        None
    );
    assert_eq!(real("/nonexistent/x"), None);
}

#[test]
fn what_a_crash_left_beside_the_file_is_replaced_and_never_followed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let victim = folder.path().join("victim");
    fs::write(&victim, "untouched").expect("writable");
    std::os::unix::fs::symlink(&victim, folder.path().join(".a.conf.new")).expect("linkable");
    let path = folder.path().join("a.conf");
    Real.write_file(path.to_str().expect("the path is UTF-8"), "new")
        .expect("writable");
    assert_eq!(fs::read_to_string(&victim).expect("readable"), "untouched");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "new");
}

#[test]
fn a_link_is_followed_to_where_the_kernel_will_find_itself() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let base = folder.path().canonicalize().expect("it is there");
    fs::create_dir(base.join("real")).expect("made");
    std::os::unix::fs::symlink("real", base.join("link")).expect("linkable");
    let link = base.join("link");
    let real = Real.real_path(link.to_str().expect("the path is UTF-8"));
    let expected = base.join("real").to_str().map(str::to_owned);
    assert_eq!(real.expect("it can be looked at"), expected);
}

#[test]
fn a_log_is_emptied_where_it_stands_and_its_end_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("the path is UTF-8")
            .to_owned()
    };
    let (log, beside) = (path("www.console"), path("www.console.0"));
    let mut daemon = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&log)
        .expect("opened");
    daemon
        .write_all(b"an old line\na new line\n")
        .expect("written");
    assert_eq!(Real.file_size(&log).expect("it can be looked at"), Some(23));
    Real.rotate_file(&log, &beside, 11).expect("rotated");
    daemon
        .write_all(b"a later line\n")
        .expect("it is still open");
    assert_eq!(fs::read_to_string(&beside).expect("there"), "a new line\n");
    assert_eq!(fs::read_to_string(&log).expect("there"), "a later line\n");
    assert_eq!(
        Real.file_size(&path("nosuch")).expect("absent is no error"),
        None
    );
}

/// What was started has no pipe to whoever started it, so that it does not end by SIGPIPE when that one is gone; what it complains about is told when it has ended.
#[test]
fn what_was_started_goes_on_without_whoever_started_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let script = format!(
        "until [ -e {} ]; do :; done; echo out; echo err >&2; echo done > {}; exit 3",
        path("go"),
        path("end"),
    );
    let command = sh(&script).stderr_file(path("stderr"));
    let mut process = Real.start(&command).expect("sh starts");
    let waited = process.wait(Duration::from_millis(1)).expect("it runs");
    assert_eq!(waited, None, "it goes on");
    assert!(folder.path().join("stderr").exists());
    let mut forgotten = Real
        .start(&command.clone().stderr_file(path("other")))
        .expect("sh starts");
    assert_eq!(forgotten.wait(Duration::ZERO).expect("it runs"), None);
    drop(forgotten);

    fs::write(folder.path().join("go"), "").expect("the folder is writable");
    let output = process.wait(Duration::from_secs(60)).expect("it ends");
    let output = output.expect("it has ended");
    assert_eq!((output.status, output.stderr.as_str()), (3, "err\n"));
    assert!(!folder.path().join("stderr").exists());
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read_to_string(folder.path().join("other")).expect("it is there") != "err\n" {
        assert!(Instant::now() < deadline, "the forgotten one was ended");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_started_and_takes_too_long_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("stderr");
    let command = sh("echo begun >&2; while :; do :; done")
        .timeout(Duration::from_millis(300))
        .stderr_file(file.display().to_string());
    let mut process = Real.start(&command).expect("sh starts");
    let error = process.wait(Duration::from_secs(60));
    assert!(
        matches!(error, Err(SystemError::TimedOut { .. })),
        "{error:?}"
    );
    assert!(!file.exists());
}

/// A hook may write any amount before jail(8) says what failed.
#[test]
fn of_much_that_was_written_the_end_is_kept_in_whole_lines() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("stderr");
    let script = "i=0; while [ $i -lt 6000 ]; do echo 'a hook that talks too much to its end' >&2; i=$((i+1)); done; echo 'jail: www: failed' >&2; exit 1";
    let command = sh(script).stderr_file(file.display().to_string());
    let mut process = Real.start(&command).expect("sh starts");
    let output = process.wait(Duration::from_secs(60));
    let output = output.expect("it is waited for").expect("it has ended");
    assert_eq!(output.status, 1);
    assert!((60_000..65_536).contains(&output.stderr.len()));
    assert!(output.stderr.starts_with("a hook that"), "it begins a line");
    assert!(output.stderr.ends_with("end\njail: www: failed\n"));
}

#[test]
fn a_file_of_somebody_else_keeps_its_mode_and_a_link_is_not_followed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("pf.conf");
    let beside = folder.path().join(".pf.conf.cellblock");
    let (path, other) = (
        file.to_str().expect("the path is UTF-8"),
        beside.to_str().expect("the path is UTF-8"),
    );
    // What was left beside it is never written through.
    std::os::unix::fs::symlink(&file, &beside).expect("a link");
    fs::write(&file, "old\n").expect("writable");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    Real.replace_file(path, other, "new\n").expect("writable");
    let mode = |at: &std::path::Path| fs::metadata(at).expect("it is there").permissions().mode();
    assert_eq!(fs::read_to_string(&file).expect("readable"), "new\n");
    assert_eq!(mode(&file) & 0o7777, 0o640);
    assert!(!beside.exists() && fs::symlink_metadata(&beside).is_err());
    // A new one is its owner's alone.
    fs::remove_file(&file).expect("removable");
    Real.replace_file(path, other, "first\n").expect("writable");
    assert_eq!(mode(&file) & 0o7777, 0o600);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    for at in [link.as_path(), folder.path()] {
        let at = at.to_str().expect("the path is UTF-8");
        assert!(Real.replace_file(at, other, "x").is_err(), "{at}");
    }
    assert_eq!(fs::read_to_string(&file).expect("readable"), "first\n");
}
