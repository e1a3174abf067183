use cellblock_schemas::jail::{ExecProbe, Probe, TcpProbe};

use super::*;

fn job(probe: Probe, address: &str, fib: u16) -> Job {
    Job {
        number: 1,
        jid: 7,
        probe,
        address: address.parse().expect("an address"),
        fib,
    }
}

fn exec(words: &[&str], user: Option<&str>) -> Probe {
    Probe {
        exec: Some(ExecProbe {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            user: user.map(str::to_owned),
        }),
        ..Probe::default()
    }
}

fn tcp(port: u16) -> Probe {
    Probe {
        tcp: Some(TcpProbe { port }),
        timeout: Some("2s".to_owned()),
        ..Probe::default()
    }
}

fn http(path: Option<&str>) -> Probe {
    Probe {
        http: Some(HttpProbe {
            port: 8080,
            path: path.map(str::to_owned),
        }),
        ..Probe::default()
    }
}

fn output(status: i32, stdout: &str, stderr: &str) -> Result<Output, SystemError> {
    Ok(Output {
        status,
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    })
}

#[test]
fn every_kind_is_a_command_in_the_jail_that_is_ended_with_all_it_started() {
    let line = |job: &Job| command(job).line();
    assert_eq!(
        line(&job(tcp(80), "10.0.0.2", 0)),
        "/usr/bin/timeout -s KILL 2 /usr/sbin/jexec -d / 7 /usr/bin/nc -nvz -w 2 10.0.0.2 80"
    );
    let asked = command(&job(http(Some("/up?a=1")), "fd00::2", 3));
    assert_eq!(
        asked.line(),
        "/usr/bin/timeout -s KILL 5 /usr/sbin/setfib 3 /usr/sbin/jexec -d / 7 /usr/bin/nc -nv -w 5 fd00::2 8080"
    );
    let said = asked.stdin.expect("a request");
    assert!(
        said.starts_with("GET /up?a=1 HTTP/1.1\r\nHost: [fd00::2]:8080\r\n")
            && said.ends_with("\r\n\r\n"),
        "{said}"
    );
    let probe = exec(&["/bin/sh", "-c", "a; b"], Some("www"));
    let asked = command(&job(probe, "10.0.0.2", 0));
    assert_eq!(
        asked.line(),
        "/usr/bin/timeout -s KILL 5 /usr/sbin/jexec -d / -l -U www 7 /bin/sh -c a; b"
    );
    // A pipe without anything in it, not the host's /dev/null.
    assert_eq!(asked.stdin.as_deref(), Some(""));
    assert_eq!(asked.timeout, Duration::from_secs(10));
}

#[test]
fn an_answer_is_read_from_the_exit_status_and_of_http_from_its_own() {
    let tcp = job(tcp(80), "10.0.0.2", 0);
    assert_eq!(answer(&tcp, output(0, "", "Connection to …")), Answer::Well);
    let refused = "nc: connect to 10.0.0.2 port 80 (tcp) failed: Connection refused\n";
    assert_eq!(
        answer(&tcp, output(1, "", refused)),
        Answer::Ill(refused.trim().to_owned())
    );
    assert_eq!(
        answer(&tcp, output(124, "", "")),
        Answer::Ill("no answer within 2 s".to_owned())
    );
    let http = job(http(None), "10.0.0.2", 0);
    for (said, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Answer::Well),
        ("HTTP/1.0 302 Found\r\n", Answer::Well),
        ("HTTP/1.1 204", Answer::Well),
        (
            "HTTP/1.1 503 Busy\r\n",
            Answer::Ill("HTTP status 503".to_owned()),
        ),
        (
            "HTTP/1.1 2000\r\n",
            Answer::Ill("what answered is no HTTP".to_owned()),
        ),
        (
            "HTTP/1.é 200\r\n",
            Answer::Ill("what answered is no HTTP".to_owned()),
        ),
        (
            "HTTP/1.1 2é0\r\n",
            Answer::Ill("what answered is no HTTP".to_owned()),
        ),
        (
            "220 mail\r\n",
            Answer::Ill("what answered is no HTTP".to_owned()),
        ),
        ("", Answer::Ill("what answered is no HTTP".to_owned())),
    ] {
        assert_eq!(answer(&http, output(0, said, "")), expected, "{said:?}");
    }
    // One that answers and does not close.
    assert_eq!(
        answer(&http, output(124, "HTTP/1.1 200 OK\r\n", "")),
        Answer::Well
    );
    assert_eq!(
        answer(&http, output(124, "", "")),
        Answer::Ill("no answer within 5 s".to_owned())
    );

    let exec = job(exec(&["/check"], None), "10.0.0.2", 0);
    assert_eq!(answer(&exec, output(0, "fine", "")), Answer::Well);
    assert_eq!(
        answer(&exec, output(3, "looked\n", "lag 12 s\n\n")),
        Answer::Ill("exit status 3: lag 12 s".to_owned())
    );
    assert_eq!(
        answer(&exec, output(1, "", "")),
        Answer::Ill("exit status 1".to_owned())
    );
}

fn not_made(job: &Job, status: i32, stderr: &str) -> bool {
    matches!(
        answer(job, output(status, "", stderr)),
        Answer::Unknown(why) if !why.is_empty()
    )
}

#[test]
fn a_probe_that_was_not_made_is_told_from_one_that_failed() {
    let tcp = job(tcp(80), "10.0.0.2", 0);
    let missing = "jexec: execvp: /usr/bin/nc: No such file or directory\n";
    let Answer::Unknown(told) = answer(&tcp, output(1, "", missing)) else {
        panic!("nobody was asked");
    };
    assert!(told.contains("has no /usr/bin/nc"), "{told}");
    let denied = "jexec: execvp: /usr/bin/nc: Permission denied\n";
    let told = answer(&tcp, output(1, "", denied));
    assert_eq!(told, Answer::Unknown(denied.trim().to_owned()));

    let exec_in = |fib| job(exec(&["/check", "x"], Some("www")), "10.0.0.2", fib);
    let (exec, in_table) = (exec_in(0), exec_in(3));
    for (status, said) in [
        (1, "timeout: fork(): Resource temporarily unavailable\n"),
        (1, "timeout: procctl(PROC_REAP_ACQUIRE): Device busy\n"),
        (
            127,
            "timeout: exec(/usr/sbin/jexec): No such file or directory\n",
        ),
        (126, "timeout: exec(/usr/sbin/jexec): Permission denied\n"),
        (125, "timeout: duration is not a number\n"),
        (1, "jexec: jail_attach(7): Operation not permitted\n"),
        (1, "jexec: jail 7 not found\n"),
        (1, "jexec: www: no such user\n"),
        (1, "jexec: getpwclass: www: Cannot allocate memory\n"),
        (1, "jexec: execvp: /check: No such file or directory\n"),
    ] {
        assert!(not_made(&exec, status, said), "{said}");
    }
    for (status, said) in [
        (1, "setfib: 3: invalid FIB (max 0)\n"),
        (127, "setfib: /usr/sbin/jexec: No such file or directory\n"),
    ] {
        assert!(not_made(&in_table, status, said), "{said}");
        assert!(!not_made(&exec, status, said), "{said}");
    }
    // What the command in the jail has to say, whatever it runs itself.
    for (status, said) in [
        (127, "/check: 3: curl: not found\n"),
        (126, ""),
        (127, "timeout: exec(curl): No such file or directory\n"),
        (1, "jexec: jail \"inner\" not found\n"),
        (1, "jexec: execvp: /bin/inside: No such file or directory\n"),
        (1, "looked\njexec: jail 7 not found\n"),
    ] {
        assert!(!not_made(&exec, status, said), "{said}");
    }
    assert_eq!(answer(&exec, output(0, "", missing)), Answer::Well);

    let long = |began: &str| {
        Err(SystemError::TooLong {
            line: String::new(),
            bytes_max: OUTPUT_BYTES_MAX,
            began: began.to_owned(),
        })
    };
    // The page may be as long as it likes.
    let http = job(http(None), "10.0.0.2", 0);
    assert_eq!(
        answer(&http, long("HTTP/1.1 200 OK\r\n<html>")),
        Answer::Well
    );
    for (job, began) in [
        (&http, "HTTP/1.1 500 No\r\n"),
        (&http, "220 mail"),
        (&exec, "HTTP/1.1 200 OK\r\n"),
    ] {
        assert!(
            matches!(answer(job, long(began)), Answer::Ill(_)),
            "{began}"
        );
    }

    let spawn = SystemError::Spawn {
        line: "timeout".to_owned(),
        source: std::io::Error::other("too many processes"),
    };
    assert_eq!(
        answer(&exec, Err(spawn)),
        Answer::Unknown("cannot run `timeout`: too many processes".to_owned())
    );
    let hung = SystemError::TimedOut {
        line: String::new(),
        timeout: Duration::ZERO,
        stderr: String::new(),
    };
    assert!(matches!(answer(&exec, Err(hung)), Answer::Stuck(_)));
}
