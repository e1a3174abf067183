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
    assert_eq!(answer(&tcp, output(0, "", "Connection to …")), Ok(()));
    let refused = "nc: connect to 10.0.0.2 port 80 (tcp) failed: Connection refused\n";
    assert_eq!(
        answer(&tcp, output(1, "", refused)),
        Err(refused.trim().to_owned())
    );
    assert_eq!(
        answer(&tcp, output(124, "", "")),
        Err("no answer within 2 s".to_owned())
    );
    let missing = "jexec: execvp: /usr/bin/nc: No such file or directory\n";
    let told = answer(&tcp, output(1, "", missing)).expect_err("there is none");
    assert!(told.contains("has no /usr/bin/nc"), "{told}");

    let http = job(http(None), "10.0.0.2", 0);
    for (said, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.0 302 Found\r\n", Ok(())),
        ("HTTP/1.1 204", Ok(())),
        ("HTTP/1.1 503 Busy\r\n", Err("HTTP status 503".to_owned())),
        (
            "HTTP/1.1 2000\r\n",
            Err("what answered is no HTTP".to_owned()),
        ),
        (
            "HTTP/1.é 200\r\n",
            Err("what answered is no HTTP".to_owned()),
        ),
        (
            "HTTP/1.1 2é0\r\n",
            Err("what answered is no HTTP".to_owned()),
        ),
        ("220 mail\r\n", Err("what answered is no HTTP".to_owned())),
        ("", Err("what answered is no HTTP".to_owned())),
    ] {
        assert_eq!(answer(&http, output(0, said, "")), expected, "{said:?}");
    }
    // One that answers and does not close.
    assert_eq!(
        answer(&http, output(124, "HTTP/1.1 200 OK\r\n", "")),
        Ok(())
    );
    assert_eq!(
        answer(&http, output(124, "", "")),
        Err("no answer within 5 s".to_owned())
    );

    let exec = job(exec(&["/check"], None), "10.0.0.2", 0);
    assert_eq!(answer(&exec, output(0, "fine", "")), Ok(()));
    assert_eq!(
        answer(&exec, output(3, "looked\n", "lag 12 s\n\n")),
        Err("exit status 3: lag 12 s".to_owned())
    );
    assert_eq!(
        answer(&exec, output(1, "", "")),
        Err("exit status 1".to_owned())
    );
    let hung = SystemError::TimedOut {
        line: String::new(),
        timeout: Duration::ZERO,
        stderr: String::new(),
    };
    assert_eq!(
        answer(&exec, Err(hung)),
        Err("no answer within 5 s".to_owned())
    );
}
