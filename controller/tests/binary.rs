//! The real `cellblockd`: where its settings come from, its metrics, and how it goes.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cellblock_proto::v1;
use cellblock_proto::v1::objects_client::ObjectsClient;
use common::{DEADLINE, applied, get, host};

struct Daemon {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Daemon {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cellblockd"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo has built it");
        let lines = BufReader::new(child.stderr.take().expect("it is a pipe"));
        Self { child, lines }
    }

    /// Reads the log up to a line that contains `wanted`; an empty text if the log ends before.
    fn line_with(&mut self, wanted: &str) -> String {
        for line in self.lines.by_ref().lines() {
            let line = line.expect("the log is text");
            if line.contains(wanted) {
                return line;
            }
        }
        String::new()
    }

    fn terminate(mut self) -> std::process::ExitStatus {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.is_ok_and(|status| status.success()));
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line of the JSON log.
fn address_in(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).expect("the log is JSON");
    line["fields"]["address"]
        .as_str()
        .expect("the line names the address")
        .to_owned()
}

fn store_in(folder: &Path) -> String {
    format!("embedded:{}", folder.join("store.redb").display())
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cellblockd.toml");
    // Were the file to win, the store could not be opened; were the environment to win over the flag, the log format could
    // not be read.
    let text = "listen = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"\nstore = \"embedded:/nowhere/at/all\"\n";
    std::fs::write(&file, text).expect("room for it");
    let file = file.display().to_string();
    let store = store_in(folder.path());
    let mut daemon = Daemon::start(
        &["--config", &file, "--log-format", "json"],
        &[
            ("CELLBLOCKD_STORE", &store),
            ("CELLBLOCKD_LOG_FORMAT", "text"),
        ],
    );
    let address = address_in(&daemon.line_with("\"listening\""));
    let endpoint =
        tonic::transport::Channel::from_shared(format!("http://{address}")).expect("an address");
    let mut objects = ObjectsClient::new(endpoint.connect().await.expect("it listens"));
    let waiting = async {
        while objects.version(v1::VersionRequest {}).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .expect("it becomes ready");
    applied(&mut objects, &[host("a")]).await;
    get(&mut objects, "Host", "a").await.expect("there");
    drop(objects);
    let ended = tokio::task::spawn_blocking(move || daemon.terminate());
    assert!(ended.await.expect("it is waited for").success());
    assert!(folder.path().join("store.redb").exists());
}

#[test]
fn metrics_are_served_to_prometheus() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = store_in(folder.path());
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--store",
        &store,
        "--log-format",
        "json",
    ];
    let mut daemon = Daemon::start(&arguments, &[]);
    let address = address_in(&daemon.line_with("\"serving metrics\""));
    let began = std::time::Instant::now();
    let page = loop {
        let page = scrape(&address);
        if page.contains("cellblock_objects{kind=\"Jail\"}") || began.elapsed() > DEADLINE {
            break page;
        }
    };
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(
        page.contains("cellblock_objects{kind=\"Jail\"} 0"),
        "{page}"
    );
    assert!(daemon.terminate().success());
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    page
}

#[test]
fn what_cannot_start_says_why_in_one_sentence() {
    for (arguments, wanted) in [
        (vec!["--store", "redis://x"], "is no store"),
        (
            vec!["--listen", "0.0.0.0:7443", "--store", "embedded:/tmp/x"],
            "must show certificates",
        ),
        (
            vec!["--config", "/nowhere.toml"],
            "cannot read /nowhere.toml",
        ),
        (
            vec![
                "--listen",
                "127.0.0.1:0",
                "--store",
                "embedded:/nowhere/at/all",
            ],
            "cannot open the store",
        ),
    ] {
        let mut daemon = Daemon::start(&arguments, &[]);
        let mut said = String::new();
        daemon.lines.read_to_string(&mut said).expect("it is text");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
        assert!(!daemon.child.wait().expect("it is our child").success());
    }
}
